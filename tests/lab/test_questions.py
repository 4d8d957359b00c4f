"""The lab's configurations, and the errors that are reported in them."""

import pytest

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
    assert message.startswith("5 configuration errors; nothing was run.")
    assert "scal: unknown key. Did you mean scales? [from scal=1]" in message
    assert "rates.0: -1 should be greater than 0 [from rates=[-1,2]]" in message
    assert "noise: 0.7 should be less than 0.5 [from noise=0.7]" in message
    assert "epochs: 2.5 should be a valid integer" in message


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
