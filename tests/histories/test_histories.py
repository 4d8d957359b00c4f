"""The checker finds what it looks for, and commands of two processes never contradict the model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults import system_calls
from tests.histories.checker import check
from tests.support import environment

ENTRY = {
    "id": "a",
    "when": "2026-01-01T00:00:00+00:00",
    "user": "me",
    "host": "here",
    "sweep": "first",
    "run_id": "r1",
    "table": "t",
    "test": "rows",
}


@pytest.fixture
def project(folder) -> Path:
    return Path(folder)


def text(entry: dict[str, str]) -> str:
    who = f"{entry['when']} by {entry['user']} on {entry['host']}"
    return f"{who}, for run {entry['run_id']} of {entry['sweep']}"


def result(project: Path, entry: dict[str, str], *, earlier: tuple[str, ...] = (), interrupted=()) -> None:
    card = project / "runs" / "cards" / f"{entry['sweep']}-{entry['id']}" / "card.json"
    card.parent.mkdir(parents=True)
    values = {"evaluated": text(entry), "run_id": entry["run_id"]}
    values |= {"earlier_evaluations": earlier, "interrupted_evaluations": interrupted}  # type: ignore[dict-item]
    card.write_text(json.dumps(values))


def wrong(project: Path, *entries: dict[str, str]) -> list[str]:
    """Return what is wrong with a project whose ledger has these entries."""
    lines = "".join(json.dumps(entry) + "\n" for entry in entries)
    (project / "runs" / "test_evaluations.jsonl").write_text(lines)
    found = check([(project, f"sqlite:///{project / 'runs' / 'mlflow.db'}")])
    return [each for each in found if "in no store" not in each]


def test_one_result_is_allowed(project):
    result(project, ENTRY)
    assert wrong(project, ENTRY) == []


def test_a_result_without_a_record_is_found(project):
    result(project, ENTRY)
    assert ["recorded nowhere" in each for each in wrong(project)] == [True]


def test_a_second_result_that_is_not_flagged_is_found(project):
    second = {**ENTRY, "id": "b", "sweep": "second", "run_id": "r2"}
    result(project, ENTRY)
    result(project, second)
    assert ["2 results that are not flagged" in each for each in wrong(project, ENTRY, second)] == [True]


def test_a_second_result_that_is_flagged_is_allowed(project):
    second = {**ENTRY, "id": "b", "sweep": "second", "run_id": "r2"}
    result(project, ENTRY)
    result(project, second, earlier=(text(ENTRY),))
    assert wrong(project, ENTRY, second) == []


def test_a_repetition_for_another_model_is_found(project):
    second = {**ENTRY, "id": "b", "run_id": "r2", "when": "2026-01-02T00:00:00+00:00"}
    result(project, second, interrupted=(text(ENTRY),))
    assert ["another model" in each for each in wrong(project, ENTRY, second)] == [True]


@pytest.mark.slow
@pytest.mark.skipif(not system_calls.available(), reason="needs seccomp on x86-64 Linux")
def test_histories_of_two_processes_agree_with_the_model():
    """`make histories` runs more."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.histories.checker", "--histories", "4"],
        env={**environment(), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
