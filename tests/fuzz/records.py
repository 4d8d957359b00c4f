"""Fuzz target: what else a run or a sweep leaves as JSON: its record, the sweep's, the card, the results."""

import random
from pathlib import Path

from hypothesis import strategies as st
from tests.fuzz.mutations import of_bytes, of_json

from sweepgrad.api.results import run_in
from sweepgrad.bounded import reading
from sweepgrad.runs import folders, sweep_record
from sweepgrad.runs import record as records
from sweepgrad.selection.finalize import _card_in
from sweepgrad.selection.kept_splits import kept_in
from sweepgrad.tracking import mapping, tags

_RUNS = Path(__file__).parents[1] / "fixtures" / "0.1.0" / "runs"
_FILES = {
    name: sorted(_RUNS.rglob(name))
    for name in ("record.json", "sweep.json", "mlflow.json", "card.json", "splits.json")
}


def examples() -> st.SearchStrategy[bytes]:
    """Return files, changed, each after its name and the end of a line."""
    return st.integers(0, 2**62).map(made)


def made(seed: int) -> bytes:
    """Return a file, changed, after its name and the end of a line."""
    rng = random.Random(seed)
    name = rng.choice(("record.json",) * 6 + tuple(_FILES))
    content = rng.choice(_FILES[name]).read_bytes()
    change = of_json if rng.random() < 0.85 else of_bytes
    return name.encode() + b"\n" + change(rng, content)


def attack(data: bytes) -> None:
    """Read a file, and use what it says."""
    name, _, content = data.partition(b"\n")
    path = Path(name.decode())
    path.write_bytes(content)
    try:
        _ATTACKS[path.name](path)
    finally:
        path.unlink()


def _record(path: Path) -> None:
    record = records.read(path.parent, checked=False)
    list(mapping.metrics(record)), mapping.params(record), record.data and mapping.datasets(record)
    tags.of_run(record), folders.damage(path.parent, record)
    try:
        run_in(path.parent)
    finally:
        records.parse(path.read_bytes())


def _sweep(path: Path) -> None:
    tags.of_sweep(sweep_record.read(path.parent))


def _sent(path: Path) -> None:
    record = records.read(_FILES["record.json"][0].parent)
    folders.sent_as(path.parent, record)
    reading.load(path, reading.SMALL)


def _card(path: Path) -> None:
    card = _card_in(path.parent)
    if card is not None:
        card.to_json()


def _splits(path: Path) -> None:
    for each in kept_in(path):
        each.to_json()


_ATTACKS = {
    "record.json": _record,
    "sweep.json": _sweep,
    "mlflow.json": _sent,
    "card.json": _card,
    "splits.json": _splits,
}
