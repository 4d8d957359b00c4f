"""Only `sweepgrad.messages` writes to standard output and makes texts for it, so that all text is escaped."""

import ast

import pytest
from tests.structure import trees

MODULES = {name: tree for name, tree in trees().items() if not name.startswith("sweepgrad.messages")}
EXCEPT = {  # numbers and fixed words only
    "sweepgrad.training.mlp": 1,
    "sweepgrad.sweeps.progress": 2,  # its one writer, which gets escaped text
}


def calls(tree: ast.AST, name: str) -> int:
    return sum(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_is_printed_raw(name):
    assert calls(MODULES[name], "print") == EXCEPT.get(name, 0)


def names_imported_from(tree: ast.AST, *modules: str) -> set[str]:
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in modules
        for alias in node.names
    }


@pytest.mark.parametrize("name", sorted(MODULES))
def test_texts_and_consoles_of_rich_and_escaping_of_html_and_csv_come_from_messages(name):
    tree = MODULES[name]
    assert not names_imported_from(tree, "rich.text", "html") | (
        names_imported_from(tree, "rich.console") - {"ConsoleOptions"}
    ) - ({"Console"} if name == "sweepgrad.data.audit.report_text" else set())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not imported & {"html", "csv"}
