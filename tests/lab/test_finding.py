"""Writing a finding to a folder."""

import json
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from sweepgrad.drawing.style import DARK, LIGHT, THEMES, Theme, panel
from sweepgrad.errors import UserError
from sweepgrad.lab.finding import FINDING, TEXT, Claim, Finding, table


def drawn(theme: Theme) -> Figure:
    figure, axes = panel()
    axes.plot([0, 1], [1, 0])
    return figure


YES, NO = Claim("one", "1 is 1", "1 = 1", True), Claim("two", "|1| is 2", "1 ≠ 2", False)


def test_it_holds_if_all_its_claims_do():
    assert Finding((YES,), {}).holds
    assert not Finding((YES, NO), {}).holds


def test_claims_are_a_table_on_a_page_and_lines_in_a_terminal():
    finding = Finding((YES, NO), {}, notes=("3 is not tested.",))
    assert finding.markdown.splitlines() == [
        "|  | claim | measured |",
        "| --- | --- | --- |",
        "| ✓ | 1 is 1 | 1 = 1 |",
        "| ✗ | \\|1\\| is 2 | 1 ≠ 2 |",
        "",
        "3 is not tested.",
    ]
    assert finding.text() == "✓ 1 is 1\n    1 = 1\n✗ |1| is 2\n    1 ≠ 2\n\n3 is not tested."
    assert all(len(line) <= 10 for line in finding.text(10).splitlines())


def test_names_of_claims_are_unique():
    with pytest.raises(ValueError, match="same name"):
        Finding((YES, YES), {})


def test_a_table_has_a_line_for_each_row():
    assert table(["a", "b"], [["x", "1"], ["y", "2"]]).splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        "| x | 1 |",
        "| y | 2 |",
    ]


def test_it_is_written_as_json_markdown_and_pictures(tmp_path):
    finding = Finding((YES,), {"share": 0.5}, ("| t |",), pictures={"line": drawn}, pages={"page": "<p>"})
    files = finding.write(tmp_path / "here", {"question": "scale", "rates": [1, 2]})
    assert sorted(file.name for file in files) == [FINDING, TEXT, "line-dark.svg", "line.svg", "page.html"]
    written = json.loads((tmp_path / "here" / FINDING).read_text())
    assert written == {
        "config": {"question": "scale", "rates": [1, 2]},
        "holds": True,
        "claims": [{"name": "one", "text": "1 is 1", "measured": "1 = 1", "holds": True}],
        "notes": [],
        "numbers": {"share": 0.5},
    }
    assert (tmp_path / "here" / TEXT).read_text() == finding.markdown + "\n"
    light, dark = ((tmp_path / "here" / f"line{theme.suffix}.svg").read_text() for theme in THEMES)
    for text, theme in ((light, LIGHT), (dark, DARK)):
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert theme.surface in text
        assert theme.colors[0] in text
    assert DARK.colors[0] not in light


def test_a_picture_of_the_same_numbers_is_the_same_file(tmp_path):
    finding = Finding((), {}, pictures={"line": drawn})
    finding.write(tmp_path / "one", {})
    Finding((), {}, pictures={"line": drawn}).write(tmp_path / "two", {})
    assert (tmp_path / "one" / "line.svg").read_bytes() == (tmp_path / "two" / "line.svg").read_bytes()


def test_where_nothing_can_be_written_the_error_names_the_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Finding((), {}).write(tmp_path / "file" / "below", {})


def test_numbers_that_are_none_are_left_out():
    assert Finding((), {"a": 1, "b": float("nan"), "c": float("inf")}).numbers == {"a": 1.0}


@pytest.mark.parametrize("name", ["finding.json", "finding.md", "page.html", "line.svg", "line-dark.svg"])
def test_a_file_that_no_answer_wrote_is_not_overwritten(tmp_path, name):
    finding = Finding((YES,), {}, pictures={"line": drawn}, pages={"page": "<p>"})
    (tmp_path / name).write_text('{"mine": true}')
    with pytest.raises(UserError, match=f"{name} is not of an answer, and would be overwritten"):
        finding.write(tmp_path, {})
    assert [path.read_text() for path in tmp_path.iterdir()] == ['{"mine": true}']


def test_an_earlier_answer_is_overwritten(tmp_path):
    Finding((NO,), {}).write(tmp_path, {})
    Finding((YES,), {}).write(tmp_path, {})
    assert json.loads((tmp_path / "finding.json").read_text())["holds"]
