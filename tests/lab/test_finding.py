"""Writing a finding to a folder."""

import json
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from sweepgrad.lab.finding import FINDING, TEXT, Claim, Finding, table


def drawn() -> Figure:
    figure = Figure()
    figure.subplots().plot([0, 1], [1, 0])
    return figure


def test_it_holds_if_all_its_claims_do():
    yes, no = Claim("1 is 1", True), Claim("1 is 2", False)
    assert Finding((yes, yes), {}).holds
    assert not Finding((yes, no), {}).holds
    assert Finding((yes, no), {}).markdown == "- ✓ 1 is 1\n- ✗ 1 is 2"


def test_a_table_has_a_line_for_each_row():
    assert table(["a", "b"], [["x", "1"], ["y", "2"]]).splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        "| x | 1 |",
        "| y | 2 |",
    ]


def test_it_is_written_as_json_markdown_and_pictures(tmp_path):
    finding = Finding(
        (Claim("it is ½", True),), {"share": 0.5}, ("| t |",), {"line": drawn()}, {"page": "<p>"}
    )
    files = finding.write(tmp_path / "here", {"question": "scale", "rates": [1, 2]})
    assert sorted(file.name for file in files) == [FINDING, TEXT, "line.svg", "page.html"]
    written = json.loads((tmp_path / "here" / FINDING).read_text())
    assert written == {
        "config": {"question": "scale", "rates": [1, 2]},
        "holds": True,
        "claims": [{"text": "it is ½", "holds": True}],
        "numbers": {"share": 0.5},
    }
    assert (tmp_path / "here" / TEXT).read_text() == "- ✓ it is ½\n\n| t |\n"
    assert ElementTree.parse(tmp_path / "here" / "line.svg").getroot().tag.endswith("svg")


def test_a_picture_of_the_same_numbers_is_the_same_file(tmp_path):
    finding = Finding((), {}, pictures={"line": drawn()})
    finding.write(tmp_path / "one", {})
    Finding((), {}, pictures={"line": drawn()}).write(tmp_path / "two", {})
    assert (tmp_path / "one" / "line.svg").read_bytes() == (tmp_path / "two" / "line.svg").read_bytes()


def test_where_nothing_can_be_written_the_error_names_the_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Finding((), {}).write(tmp_path / "file" / "below", {})


def test_numbers_that_are_none_are_left_out():
    assert Finding((), {"a": 1, "b": float("nan"), "c": float("inf")}).numbers == {"a": 1.0}
