"""The lab's configurations, and the errors that are reported in them."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest

from sweepgrad.config.section import Section
from sweepgrad.errors import UserError
from sweepgrad.lab.configs import GROUP, QUESTIONS, question, settings, titles
from sweepgrad.paths import config_dir

SHIPPED = sorted(file.stem for file in (config_dir() / GROUP).glob("*.yaml"))


def refused(*overrides: str, name: str = "scale", search: tuple[str, ...] = ()) -> str:
    with pytest.raises(UserError) as caught:
        settings(name, overrides, search)
    return str(caught.value)


def test_each_question_has_a_yaml_a_module_and_a_page():
    assert sorted(QUESTIONS) == SHIPPED
    for name in QUESTIONS:
        assert question(name).Settings.model_fields
        assert (config_dir().parent / "docs" / "lab" / f"{name}.md").is_file()


def test_they_are_listed_in_the_order_of_the_assignment():
    found = titles()
    assert [title.number for title in found.values()] == ["1", "2", "3", "4(i)", "4(ii)", "5(iv)", "5(vi)"]
    assert all(title.text.endswith("?") for title in found.values())


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_is_valid(name):
    asked, section = settings(name, [])
    assert asked == name
    assert section == question(name).Settings.model_validate(section.model_dump())


def test_overrides_change_settings():
    _, section = settings("scale", ["noise=0.25", "scales=[2,8]", "+seed=7"])
    values = section.model_dump()
    assert (values["noise"], values["scales"], values["seed"]) == (0.25, (2, 8), 7)


def test_all_errors_are_reported_at_once_with_their_origin():
    message = refused("scal=1", "rates=[-1,2]", "noise=0.7", "epochs=2.5")
    assert message.startswith("4 configuration errors; nothing was run.")
    assert "scal: unknown key. Did you mean scales? [from scal=1]" in message
    assert "rates.0: -1 should be greater than 0 [from rates=[-1,2]]" in message
    assert "noise: 0.7 should be less than 0.5 [from noise=0.7]" in message
    assert "epochs: 2.5 should be a valid integer" in message


def sizes(section: type[Section]) -> Iterator[tuple[str, Any, bool]]:
    """Yield the settings that are whole numbers, or lists of them, but for those that only name something."""
    for key, field in section.model_fields.items():
        listed = get_origin(field.annotation) is tuple
        kind = get_args(field.annotation)[0] if listed else field.annotation
        if (get_args(kind) or [kind])[0] is int and key not in ("seed", "split"):
            yield key, field, listed


@pytest.mark.parametrize("name", SHIPPED)
def test_each_size_has_an_upper_bound(name):
    found = [(key, listed) for key, _, listed in sizes(question(name).Settings)]
    assert found
    for key, listed in found:
        value = "[1000000000]" if listed else "1000000000"
        assert "should be less than or equal to" in refused(f"{key}={value}", name=name), key
    for key, field in question(name).Settings.model_fields.items():
        if get_origin(field.annotation) is tuple and key != "network":
            one = "wide" if get_args(field.annotation)[0] is str else "3"
            assert f"{key}: [" in refused(f"{key}=[{','.join([one] * 100)}]", name=name)


@pytest.mark.parametrize(
    ("name", "overrides", "problem"),
    [
        (
            "sgd",
            ["steps=100000", "seeds=10000"],
            "steps: steps x batch_size x seeds is 8,000,000,000, more than",
        ),
        ("sgd", ["steps=100000", "rows=10000", "batch_size=1"], "steps: steps x rows is 1,000,000,000"),
        (
            "sgd",
            ["features=100", "seeds=10000", "steps=10"],
            "seeds: features x batch_size x seeds is 8,000,000",
        ),
        (
            "gradients",
            ["epochs=2000", "rows=5000"],
            "epochs: 626,000 steps on all 5000 rows need too much memory",
        ),
        ("scale", ["scales=[1e-300,1e300]"], "scales.0: 1e-300 should be greater than or equal to 0.000001"),
        ("scale", ["scales=[1e-300,1e300]"], "scales.1: 1e+300 should be less than or equal to 1000000"),
    ],
)
def test_sizes_that_do_not_fit_into_memory_are_refused(name, overrides, problem):
    assert problem in refused(*overrides, name=name)


def test_a_batch_is_no_larger_than_the_table():
    message = refused("batch_size=101", name="sgd")
    assert "batch_size: 101 should be at most the number of rows, 100" in message


def test_an_error_in_an_element_does_not_make_its_list_too_short():
    message = refused("depths=[1]", name="gradients")
    assert message.startswith("1 configuration error;")
    assert "depths.0: 1 should be greater than or equal to 2" in message
    assert "should have at least 1 item" in refused("depths=[]", name="gradients")


def test_how_to_quote_is_said_where_it_matters():
    assert "double quotes, and the whole in single quotes" in refused("größe=3", name="sgd")
    message = refused("network=[data=simulated,model.dropout=2]", name="backprop")
    assert """'network=["data=simulated","model.dropout=2"]'""" in message


def test_a_registered_question_without_yaml_is_reported(monkeypatch):
    monkeypatch.setitem(QUESTIONS._entries, "mask", "my_course.mask")
    monkeypatch.setitem(QUESTIONS._owners, "mask", "my-course")
    assert refused(name="mask") == (
        "mask is registered by my-course, but its experiment/lab/mask.yaml is not installed"
    )


def test_a_contradiction_names_its_key():
    assert "scales: 1 alone changes nothing; add another [from scales=[1.0]]" in refused("scales=[1.0]")


def test_an_unknown_question_is_reported():
    assert "unknown question 'skale'. Did you mean scale?" in refused(name="skale")
    assert "question: unknown question 'why'; use one of backprop" in refused("question=why")


def test_a_wrong_override_is_reported():
    assert "noise" in refused("noise")
    assert "seed=1,2: give a single value for each key; put lists into []" in refused("seed=1,2")
    assert "=" in refused("=1")


def test_a_folder_of_ones_own_adds_questions(tmp_path):
    mine = tmp_path / GROUP / "mine.yaml"
    mine.parent.mkdir(parents=True)
    shipped = (config_dir() / GROUP / "scale.yaml").read_text()
    mine.write_text(shipped.replace("# 5(vi): What", "# Mine: what", 1).replace("noise: 0.1", "noise: 0.3"))
    asked, section = settings("mine", ["seed=3"], [str(tmp_path)])
    values = section.model_dump()
    assert (asked, values["noise"], values["seed"]) == ("scale", 0.3, 3)
    found = titles([str(tmp_path)])
    assert list(found) == [*titles(), "mine"]
    assert found["mine"].number == ""
    assert found["mine"].text.startswith("Mine: what")
    mine.write_text(mine.read_text().replace("question: scale", "question: scales"))
    wrong = refused(name="mine", search=(str(tmp_path),))
    assert "question: unknown question 'scales'" in wrong
    assert "mine.yaml]" in wrong
    mine.write_text("question: [")
    assert "mine.yaml" in refused(name="mine", search=(str(tmp_path),))
    assert "there is no such folder" in refused(name="mine", search=(str(tmp_path / "nowhere"),))
