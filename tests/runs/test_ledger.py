"""The ledger of test-set evaluations: one process at a time, and each test set once."""

import json
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from sweepgrad.data.digests import Digests
from sweepgrad.errors import UserError
from sweepgrad.runs import ledger
from sweepgrad.runs.ledger import AlreadyEvaluated, LedgerEntry

DIGESTS = Digests(table="t", train="", val="", test="rows")


def entry(sweep: str = "mine", run_id: str = "r1", **digests: str) -> LedgerEntry:
    return ledger.entry_now(sweep, run_id, replace(DIGESTS, **digests))


def claimed(file: Path, wanted: LedgerEntry) -> bool:
    try:
        with ledger.entering(file, [], wanted, kept=False, again=False):
            time.sleep(0.02)
    except AlreadyEvaluated:
        return False
    return True


def test_of_many_that_claim_the_same_rows_at_once_one_gets_them(tmp_path):
    wanted = [entry(f"sweep{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda each: claimed(tmp_path / "ledger", each), wanted))
    assert sum(got) == 1
    assert ledger.read(tmp_path / "ledger") == [wanted[got.index(True)]]


def test_what_fails_before_the_rows_are_read_is_not_recorded(tmp_path):
    file = tmp_path / "ledger"
    with pytest.raises(OSError, match="full"), ledger.entering(file, [], entry(), kept=False, again=False):
        raise OSError("the disk is full")
    assert ledger.read(file) == []
    assert claimed(file, entry("another"))


def test_rows_that_only_the_store_knows_of_are_seen(tmp_path):
    known = [entry("another")]
    with (
        pytest.raises(AlreadyEvaluated) as seen,
        ledger.entering(tmp_path / "ledger", known, entry(), kept=False, again=False),
    ):
        pass
    assert seen.value.earlier == tuple(known)
    with ledger.entering(tmp_path / "ledger", known, entry(), kept=False, again=True) as before:
        assert before.seen == tuple(known)


def test_only_an_own_evaluation_whose_results_were_lost_is_interrupted():
    own, of_other_model, of_other_sweep = entry(), entry(run_id="r2"), entry("another")
    elsewhere = entry(test="others")
    known = [own, of_other_model, of_other_sweep, elsewhere, own, entry(table="another")]
    before = ledger.before_of(known, entry(), kept=False)
    assert before.interrupted == (own,)
    assert set(before.seen) == {of_other_model, of_other_sweep}
    assert before.of_table == 4
    assert set(ledger.before_of(known, entry(), kept=True).seen) == {own, of_other_model, of_other_sweep}


def test_evaluations_are_counted_once_in_order():
    late, early = (replace(entry(), when=f"2026-01-0{day}") for day in (2, 1))
    assert ledger.once_each([late, early, late], "t") == [early, late]


def test_a_sweep_is_evaluated_by_one_process_at_a_time(tmp_path):
    with (
        ledger.reserved(tmp_path),
        pytest.raises(UserError, match="another process is evaluating"),
        ledger.reserved(tmp_path),
    ):
        pass
    with ledger.reserved(tmp_path):
        pass


def test_a_ledger_that_cannot_be_written_whole_stays_as_it_was(tmp_path):
    file = tmp_path / "ledger"
    assert claimed(file, entry())
    before = file.read_bytes()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, unlimited[1]))  # of the next line, 20 bytes
    try:
        with pytest.raises(OSError, match="ledger"):
            claimed(file, entry("another", test="others"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert file.read_bytes() == before


def test_a_last_line_without_its_end_is_kept(tmp_path):
    file = tmp_path / "ledger"
    first, second = entry(), entry("another", test="others")
    assert claimed(file, first)
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    assert claimed(file, second)
    assert ledger.read(file) == [first, second]


def test_each_evaluation_is_one_line(tmp_path):
    file = tmp_path / "ledger"
    wanted = [entry(f"sweep{number}", test=f"rows{number}") for number in range(3)]
    assert all(claimed(file, each) for each in wanted)
    lines = file.read_bytes().split(b"\n")
    assert [json.loads(line)["id"] for line in lines[:-1]] == [each.id for each in wanted]
    assert lines[-1] == b""


def test_a_ledger_that_is_too_large_is_not_read(tmp_path):
    file = tmp_path / "ledger"
    with file.open("wb") as sparse:
        sparse.truncate(64 * 2**20 + 1)
    with pytest.raises(UserError, match="67108865 bytes, and at most 67108864 are read"):
        ledger.read(file)


def test_the_folder_of_the_results_is_made_with_those_above(tmp_path):
    with ledger.reserved(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(("n", "expected"), [(0, "0 times"), (1, "once"), (2, "2 times")])
def test_how_often_is_written_as_text(n, expected):
    assert ledger.times(n) == expected
    assert f"had been evaluated {expected}, counting" in ledger.earlier_of_table(n)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "line 2: .*Invalid JSON"),
        (b'{"id": 3}', "line 2: .*id: Input should be a valid string"),
        (b"[" * 5000, "line 2: .*up to 5001 values, and at most 256 are read"),
        (b" " * 20_000, "line 2: .*20000 bytes, and at most 16384 are read"),
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_evaluated(tmp_path, line, problem):
    file = tmp_path / "ledger"
    assert claimed(file, entry())
    with file.open("ab") as added:
        added.write(line + b"\n")
    before = file.read_bytes()
    with pytest.raises(UserError, match=problem):
        claimed(file, entry("another", test="others"))
    assert file.read_bytes() == before


def test_a_time_that_is_none_is_damage(tmp_path):
    file = tmp_path / "ledger"
    assert claimed(file, entry())
    file.write_bytes(file.read_bytes().replace(b'"when":"20', b'"when":"xx'))
    with pytest.raises(UserError, match="when: "):
        ledger.read(file)
