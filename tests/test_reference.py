"""The generated reference is up to date and complete."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sweepgrad.cli.verbs import VERBS
from sweepgrad.compose.plan import plan
from sweepgrad.config.schema import Config
from sweepgrad.config.union import kinds_of

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """Import docs/reference.py, which is not in a package."""
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["keys", "verbs"])
def test_the_pages_are_up_to_date(reference, page):
    written = (DOCS / "reference" / f"{page}.md").read_text(encoding="utf-8")
    assert written == getattr(reference, page)(), "run make reference"


def test_every_key_has_a_row():
    page = (DOCS / "reference" / "keys.md").read_text(encoding="utf-8")
    keys = set(re.findall(r"^\| `([a-z0-9_.]+)` \|", page, flags=re.MULTILINE))
    assert keys >= {"seed", "sweep.halving.first", "optimizer.beta1", "data.noise", "data.target"}
    values = plan([], multirun=False).jobs[0].config.model_dump()
    for section, inner in values.items():
        assert not isinstance(inner, dict) or keys >= {f"{section}.{name}" for name in inner}


def test_every_verb_has_a_heading():
    page = (DOCS / "reference" / "verbs.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (\w+)$", page, flags=re.MULTILINE)) == {"train", *VERBS}


def test_every_key_of_the_schema_has_a_description():
    def classes(annotated: Any) -> list[Any]:
        found = kinds_of(annotated)
        if found is not None:
            return [*found[1].values()]
        return [annotated.annotation] if hasattr(annotated.annotation, "model_fields") else []

    todo: list[Any] = [Config]
    while todo:
        section = todo.pop()
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
            assert field.description.endswith("."), f"{section.__name__}.{name}"
            todo += classes(field)
