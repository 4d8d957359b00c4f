"""Fuzz target: the ledger of test-set evaluations, read and added to."""

import random
from pathlib import Path

from hypothesis import strategies as st
from tests.fuzz.mutations import of_bytes, of_json

from sweepgrad.data.digests import Digests
from sweepgrad.runs import ledger
from sweepgrad.runs.ledger import AlreadyEvaluated

_FILE = Path(__file__).parents[1] / "fixtures" / "0.1.0" / "runs" / "openings.jsonl"
_DIGESTS = Digests(table="t", train="", val="", test="rows")


def examples() -> st.SearchStrategy[bytes]:
    """Return ledgers with a changed line or changed bytes."""
    return st.integers(0, 2**62).map(made)


def made(seed: int) -> bytes:
    """Return a ledger with a changed line or changed bytes."""
    rng = random.Random(seed)
    lines = _FILE.read_bytes().splitlines(keepends=True)
    if rng.random() < 0.7:
        at = rng.randrange(len(lines))
        lines[at] = of_json(rng, lines[at]) + rng.choice((b"\n", b"\r\n", b""))
        return b"".join(lines)
    return of_bytes(rng, b"".join(lines) * rng.choice((1, 1, 1, 500)))


def attack(data: bytes) -> None:
    """Read a ledger, add an evaluation, and read it again."""
    file = Path(ledger.LEDGER)
    file.write_bytes(data)
    try:
        known = ledger.read(file)
        str(known)
        entry = ledger.entry_now("sweep", "run", _DIGESTS)
        try:
            with ledger.entering(file, known, entry, kept=False, again=False):
                pass
        except AlreadyEvaluated:
            return
        assert ledger.read(file) == [*known, entry]
    finally:
        file.unlink()
