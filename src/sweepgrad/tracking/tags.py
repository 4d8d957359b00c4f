"""The tags of runs in MLflow."""

import json
import socket
from datetime import UTC, datetime
from importlib.metadata import version

from sweepgrad.errors import DamagedFile
from sweepgrad.runs.ledger import LEDGER, LedgerEntry
from sweepgrad.runs.record import Record
from sweepgrad.runs.sweep_record import SweepRecord
from sweepgrad.tracking import entities
from sweepgrad.tracking.mapping import Logged
from sweepgrad.training.diagnosis import DIAGNOSIS

SWEEP = "sweepgrad.sweep"
JOB = "sweepgrad.job"
CHECKSUM = "sweepgrad.checksum"  # of the run's record, so that neither it nor run.json is exchanged alone
KIND = "sweepgrad.kind"
SWEEP_KIND, JOB_KIND, RUN_KIND = "sweep", "job", "run"  # a sweep's own run, one of its jobs, a single run
IS_JOB = f"tags.`{KIND}` = '{JOB_KIND}'"  # a condition of a search
TEST_KIND = "test_evaluation"
ANSWER_KIND = "answer"  # an answer of `sweepgrad lab`
DIGEST = "sweepgrad.digest."  # + table, train, val, test
PARENT = "mlflow.parentRunId"
HOST, PROCESS = "sweepgrad.host", "sweepgrad.process"
CHOSEN = "sweepgrad.chosen_run"  # several for an ensemble
N_JOBS = "sweepgrad.jobs"
REGISTERED = "sweepgrad.registered_model"  # name and version of the model that was evaluated
TEST_EVALUATED = "sweepgrad.test_evaluated."  # of a sweep's own run; + the beginning of a ledger entry's id
LEAKS, DUPLICATES = "sweepgrad.leaks", "sweepgrad.duplicates_across_parts"
ISOLATION, PASSED, NOT_PASSED = "sweepgrad.isolation_test", "passed", "not passed"


def changed(run: Logged, tag: str) -> str:
    """Return a message that a run lacks a tag, which it was made with."""
    return f"run {run.run_id} in MLflow has no tag {tag}, so it was changed there: restore the tag"


def required(run: Logged, tag: str) -> str:
    """Return the value of a tag that a run was made with.

    Raises:
        DamagedFile: it was deleted.
    """
    if tag not in run.tags:
        raise DamagedFile(changed(run, tag))
    return run.tags[tag]


def of_run(record: Record) -> dict[str, str | None]:
    """Return the tags of a run's results; None for those that it does not have."""
    digests = record.data.digests if record.data is not None else {}
    stopped = f"by halving, after epoch {len(record.history)}" if record.stopped else None
    tags: dict[str, str | None] = {
        "sweepgrad.error": record.error.splitlines()[-1] if record.error else None,
        CHECKSUM: record.checksum or None,
        "sweepgrad.reused": record.reused,
        "sweepgrad.continued": record.continued,
        "sweepgrad.stopped": stopped,
        DIAGNOSIS: record.diagnosis or None,
        **dict.fromkeys((LEAKS, DUPLICATES, ISOLATION)),
        **of_certificate(record),
        **{f"{DIGEST}{part}": value for part, value in digests.items()},
    }
    known = {tag: value for tag, value in tags.items() if value is not None}
    return dict.fromkeys(tags) | entities.tag_values(known)


def of_certificate(record: Record) -> dict[str, str]:
    """Return the tags of a run's certificate."""
    if record.certificate is None:
        return {}
    leaks = record.certificate["leaks"]
    passed = all(record.certificate[part]["unmoved"] for part in ("preprocessing", "weights"))
    return {
        LEAKS: "; ".join(leaks) or "none found",
        DUPLICATES: str(record.certificate["rows_with_duplicates"]),
        ISOLATION: PASSED if passed else NOT_PASSED,
    }


def of_origin(process: str) -> dict[str, str]:
    """Return the tags that every run of ours has.

    Arguments:
        process: the process that trains, see `process.this`.
    """
    return {
        "mlflow.source.name": "sweepgrad",
        "sweepgrad.version": version("sweepgrad"),
        HOST: socket.gethostname(),
        PROCESS: process,
    }


def of_sweep(record: SweepRecord) -> dict[str, str]:
    """Return the tags of a sweep's own run."""
    tags = {
        "sweepgrad.varying": json.dumps(record.varying),
        N_JOBS: str(record.jobs),
        "sweepgrad.command": record.command,
        HOST: record.host,
        PROCESS: record.process,
    }
    return tags | ({"sweepgrad.halving": record.halving} if record.halving else {})


def of_entry(entry: LedgerEntry) -> dict[str, str]:
    """Return the tags of a test-set evaluation, which `ledger_entry` reads."""
    return {
        "sweepgrad.test_evaluation": entry.id,
        "sweepgrad.test_evaluated_at": entry.when,
        "sweepgrad.test_evaluated_for": entry.sweep,
        CHOSEN: entry.run_id,
    }


def ledger_entry(run: Logged) -> LedgerEntry:
    """Return the ledger entry of the MLflow run of a test-set evaluation.

    Runs of versions before the ledger lack some tags.

    Raises:
        DamagedFile: it is not known which rows were evaluated.
    """
    tags = run.tags
    digests = [f"{DIGEST}{part}" for part in ("table", "test")]
    for digest in digests:
        if digest not in tags:  # leaving the evaluation out would forget it
            raise DamagedFile(f"{changed(run, digest)} (the ledger {LEDGER} has it)")
    began = datetime.fromtimestamp(run.started / 1000, UTC).isoformat(timespec="seconds")
    return LedgerEntry(
        id=tags.get("sweepgrad.test_evaluation", run.run_id),
        when=tags.get("sweepgrad.test_evaluated_at", began),
        user=tags.get("mlflow.user", "an unknown user"),
        host=tags.get(HOST, "an unknown machine"),
        sweep=tags.get("sweepgrad.test_evaluated_for", tags.get(PARENT, "")),
        run_id=tags.get(CHOSEN, "an unknown run"),
        table=tags[digests[0]],
        test=tags[digests[1]],
    )
