"""The structure is counted rightly, and the picture of it is the one that the imports give."""

import ast
import re
from xml.etree import ElementTree

import pytest
from tests.structure import SRC, circles, floors, modules, rooms, trees
from tests.structure_picture import PURPOSES, ordered, reduced, size_of, svg
from tests.test_architecture import FLOORS

PAGE = SRC.parent / "docs" / "architecture.md"
PICTURE = PAGE.parent / "pictures" / "architecture.svg"


def module(folder, name, text):
    file = folder / "sweepgrad" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_imports_are_found_wherever_they_stand(tmp_path):
    module(tmp_path, "low.py", "import numpy")
    module(tmp_path, "high/a.py", "def f():\n    from sweepgrad import low")
    module(
        tmp_path,
        "high/b.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sweepgrad.high.a",
    )
    found = modules(trees(tmp_path))
    assert found["sweepgrad.high.a"] == {"sweepgrad.low"}
    assert found["sweepgrad.high.b"] == {"sweepgrad.high.a"}
    assert rooms(found) == {"low": set(), "high": {"low"}}
    assert floors(rooms(found)) == {"low": 1, "high": 2}


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_arrows_that_follow_from_others_are_left_out():
    graph = {"top": {"middle", "low", "lowest"}, "middle": {"low"}, "low": {"lowest"}, "lowest": set()}
    assert reduced(graph) == {"top": {"middle"}, "middle": {"low"}, "low": {"lowest"}, "lowest": set()}


def test_rooms_stand_above_what_they_import():
    arrows = {"a": {"z"}, "b": {"y"}, "c": {"x"}, "x": set(), "y": set(), "z": set()}
    low, high = ordered([["x", "y", "z"], ["a", "b", "c"]], arrows)
    assert [arrows[room] for room in high] == [{room} for room in low]


def test_a_room_counts_its_modules():
    names = [
        "sweepgrad",
        "sweepgrad.a",
        "sweepgrad.a.one",
        "sweepgrad.a.b",
        "sweepgrad.a.b.two",
        "sweepgrad.ab",
    ]
    assert size_of("a", names) == 2
    assert size_of("ab", names) == 1


def test_every_room_is_drawn_with_what_it_is_for():
    picture = ElementTree.parse(PICTURE)
    said = [text.text or "" for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    for room in set().union(*FLOORS):
        assert any(text.split(" · ")[0] == room for text in said), room
        assert PURPOSES[room] in said


def named(page: str) -> list[str]:
    """Return the names of modules, or of what is in them, that stand in a page as code."""
    packages = "|".join(sorted(set().union(*FLOORS)))
    return re.findall(rf"`((?:{packages})(?:\.\w+)+)`", page)


def holds(name: str, found: dict[str, ast.Module]) -> bool:
    """Return whether there is such a module, or such a function or class at the top of a module."""
    module, _, what = f"sweepgrad.{name}".rpartition(".")
    if f"sweepgrad.{name}" in found:
        return True
    kinds = ast.FunctionDef | ast.ClassDef
    return module in found and any(isinstance(n, kinds) and n.name == what for n in found[module].body)


def test_what_the_page_on_architecture_names_is_there():
    found, names = trees(), named(PAGE.read_text(encoding="utf-8"))
    assert len(names) > 50
    assert not [name for name in names if not holds(name, found)]
    assert not holds("training.loop.nothing", found)
    assert not holds("training.nothing", found)


def test_the_page_on_architecture_has_a_line_on_each_package():
    table = PAGE.read_text(encoding="utf-8").partition("## What each package")[2].partition("\n## ")[0]
    firsts = re.findall(r"^\| (`.*?`) \|", table, flags=re.MULTILINE)
    assert set().union(*FLOORS) <= {name for first in firsts for name in re.findall(r"\w+", first)}


def test_the_picture_is_what_the_imports_give():
    found = trees()
    if PICTURE.read_text(encoding="utf-8") != svg(FLOORS, rooms(modules(found)), found):
        pytest.fail("imports have changed since docs/pictures/architecture.svg was drawn: make architecture")
