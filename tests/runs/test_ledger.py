"""Claiming test rows: by one process at a time, and once for a choice of which something was kept."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from sweepgrad.errors import UserError
from sweepgrad.runs import ledger as openings
from sweepgrad.runs.ledger import Opening, Seen

DIGESTS = {"table": "t", "test": "rows"}


def opening(sweep: str = "mine", run_id: str = "r1", **digests: str) -> Opening:
    return openings.opening_now(sweep, run_id, {**DIGESTS, **digests})


def claimed(ledger: Path, wanted: Opening) -> bool:
    try:
        with openings.claim(ledger, [], wanted, kept=False, again=False):
            time.sleep(0.02)
    except Seen:
        return False
    return True


def test_of_many_that_claim_the_same_rows_at_once_one_gets_them(tmp_path):
    wanted = [opening(f"sweep{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda each: claimed(tmp_path / "ledger", each), wanted))
    assert sum(got) == 1
    assert openings.read(tmp_path / "ledger") == [wanted[got.index(True)]]


def test_what_fails_before_the_rows_are_read_spends_no_opening(tmp_path):
    ledger = tmp_path / "ledger"
    with pytest.raises(OSError, match="full"), openings.claim(ledger, [], opening(), kept=False, again=False):
        raise OSError("the disk is full")
    assert openings.read(ledger) == []
    assert claimed(ledger, opening("another"))


def test_rows_that_only_the_store_knows_of_are_seen(tmp_path):
    known = [opening("another")]
    with (
        pytest.raises(Seen) as seen,
        openings.claim(tmp_path / "ledger", known, opening(), kept=False, again=False),
    ):
        pass
    assert seen.value.earlier == tuple(known)
    with openings.claim(tmp_path / "ledger", known, opening(), kept=False, again=True) as before:
        assert before.seen == tuple(known)


def test_only_ones_own_opening_of_which_nothing_was_kept_is_interrupted():
    own, of_other_model, of_other_sweep = opening(), opening(run_id="r2"), opening("another")
    elsewhere = opening(test="others")
    known = [own, of_other_model, of_other_sweep, elsewhere, own, opening(table="another")]
    before = openings.before_of(known, opening(), kept=False)
    assert before.interrupted == (own,)
    assert set(before.seen) == {of_other_model, of_other_sweep}
    assert before.of_table == 4
    assert set(openings.before_of(known, opening(), kept=True).seen) == {own, of_other_model, of_other_sweep}


def test_openings_are_counted_once_in_order():
    late, early = (replace(opening(), when=f"2026-01-0{day}") for day in (2, 1))
    assert openings.once_each([late, early, late], "t") == [early, late]


def test_a_sweep_is_judged_by_one_process_at_a_time(tmp_path):
    with (
        openings.alone(tmp_path),
        pytest.raises(UserError, match="another process is judging"),
        openings.alone(tmp_path),
    ):
        pass
    with openings.alone(tmp_path):
        pass
