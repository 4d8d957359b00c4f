"""Check what a project holds after a disturbed command was repeated: each job once, with the same bits."""

import collections
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from tests.histories.checker import check

_OF_CARDS = ("validation", "test", "baselines", "temperature", "calibration", "confusion", "certificate")


def bits(folder: Path) -> set[str]:
    """Return the digests of all trained weights and states, and of what cards say of models."""
    found = [*folder.glob("runs/sweeps/*/*/model/weights.npz"), *folder.glob("runs/sweeps/*/*/state.npy")]
    digests = {f"{path.parent.name}/{path.name} {sha256(path.read_bytes()).hexdigest()}" for path in found}
    for path in folder.glob("runs/cards/*/card.json"):
        card = json.loads(path.read_text())
        digests |= {f"card: {name} {card[name]}" for name in _OF_CARDS}
    return digests


def jobs_once(folder: Path, expected: set[str]) -> Iterator[str]:
    """Yield every deviation from: each job is in the store exactly once, whole, with the expected bits."""
    if bits(folder) != expected:
        yield f"other bits: {bits(folder) ^ expected}"
    with closing(sqlite3.connect(folder / "runs" / "mlflow.db")) as store:
        (health,) = store.execute("PRAGMA integrity_check").fetchone()
        if health != "ok":
            yield f"damaged store: {health}"
        runs = store.execute(
            "SELECT kind.value, job.value, runs.run_uuid, status, artifact_uri FROM runs"
            " JOIN tags kind ON kind.run_uuid = runs.run_uuid AND kind.key = 'sweepgrad.kind'"
            " LEFT JOIN tags job ON job.run_uuid = runs.run_uuid AND job.key = 'sweepgrad.job'"
            " WHERE lifecycle_stage = 'active'"
        ).fetchall()
        for kind, _, run, status, _ in runs:
            interrupted = kind == "test_evaluation" and status == "KILLED"
            if status != "FINISHED" and not interrupted:
                yield f"{kind} {run} is {status}"
        if (sweeps := [run for kind, _, run, *_ in runs if kind == "sweep"]) and len(sweeps) != 1:
            yield f"{len(sweeps)} sweeps"
        jobs = collections.Counter(job for kind, job, *_ in runs if kind == "job")
        if len(jobs) != 2 or set(jobs.values()) != {1}:
            yield f"jobs: {dict(jobs)}"
        by_run = {run: Path(artifacts.removeprefix("file://")) for _, _, run, _, artifacts in runs}
        for path in folder.glob("runs/sweeps/*/*/record.json"):
            record, where = json.loads(path.read_text()), path.parent.relative_to(folder)
            try:
                run = json.loads(path.with_name("mlflow.json").read_text())["run_id"]
            except (OSError, ValueError) as error:
                yield f"{where}: {error}"
                continue
            if run not in by_run:
                yield f"{where}: sent as {run}, which is not in the store"
                continue
            if (by_run[run] / "run.json").read_bytes() != path.read_bytes():
                yield f"{where}: the store has another record"
            if (by_run[run] / "bundle" / "weights.npz").read_bytes() != (
                path.parent / "model" / "weights.npz"
            ).read_bytes():
                yield f"{where}: the store has other weights"
            points = store.execute(
                "SELECT key, step, COUNT(*) FROM metrics WHERE run_uuid = ? GROUP BY key, step", (run,)
            ).fetchall()
            if twice := [(key, step) for key, step, count in points if count > 1]:
                yield f"{where}: metrics twice: {twice[:3]}"
            latest = dict(store.execute("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", (run,)))
            if differing := {key for key, value in record["summary"].items() if latest.get(key) != value}:
                yield f"{where}: other metrics: {differing}"


def finalized_once(folder: Path, expected: set[str]) -> Iterator[str]:
    """Yield every deviation from: one model was evaluated, all evaluations are recorded, the card says so."""
    yield from jobs_once(folder, expected)
    cards = list(folder.glob("runs/cards/*/card.json"))
    if len(cards) != 1:
        yield f"{len(cards)} cards"
        return
    (card_file,) = cards
    card = json.loads(card_file.read_text())
    lines = (folder / "runs" / "test_evaluations.jsonl").read_text().splitlines()
    listed = {json.loads(line)["id"]: json.loads(line) for line in lines}
    with closing(sqlite3.connect(folder / "runs" / "mlflow.db")) as store:
        kept = {
            value
            for (value,) in store.execute("SELECT value FROM tags WHERE key = 'sweepgrad.test_evaluation'")
        }
        versions = store.execute("SELECT run_id FROM model_versions").fetchall()
        judged = store.execute("SELECT value FROM tags WHERE key = 'sweepgrad.judged'").fetchall()
    if not set(listed) <= kept:
        yield f"in the ledger, not in the store: {set(listed) - kept}"
    if [(card["evaluated"],)] != judged:
        yield f"the store says {judged}, the card {card['evaluated']}"
    if not any(card["evaluated"].startswith(entry["when"]) for entry in listed.values()):
        yield f"the card's evaluation {card['evaluated']} is not in the ledger"
    if len(kept) != 1 + len(card["interrupted_evaluations"]):
        yield f"{len(kept)} evaluations, and a card that names {len(card['interrupted_evaluations'])}"
    if len(versions) != 1:
        yield f"{len(versions)} registered versions"


def single_once(folder: Path, expected: set[str]) -> Iterator[str]:
    """Yield every deviation from: each run on disk is in the store once, as it ended, with a complete model.

    A run that a disturbance ended is FAILED or KILLED, and the command said so.
    """
    del expected  # a command that is repeated trains another run
    with closing(sqlite3.connect(folder / "runs" / "mlflow.db")) as store:
        for path in folder.glob("runs/single/*/record.json"):
            record = json.loads(path.read_text())
            runs = store.execute(
                "SELECT runs.run_uuid, status FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid"
                " WHERE tags.key = 'sweepgrad.job' AND tags.value = ? AND lifecycle_stage = 'active'",
                (record["job"],),
            ).fetchall()
            if [status for _, status in runs] != [record["status"]]:
                yield f"{path.parent.name}: {record['status']}, and in the store: {runs}"
            if record["status"] != "FINISHED":
                continue
            models = store.execute(
                "SELECT status, artifact_location FROM logged_models"
                " WHERE source_run_id = ? AND lifecycle_stage = 'active'",
                (runs[0][0],),
            ).fetchall()
            if [status for status, _ in models] != [2]:  # READY
                yield f"{path.parent.name}: models: {models}"
                continue
            weights = list(Path(models[0][1].removeprefix("file://"), "artifacts").glob("*/weights.npz"))
            expected_weights = (path.parent / "model" / "weights.npz").read_bytes()
            if [file.read_bytes() for file in weights] != [expected_weights]:
                yield f"{path.parent.name}: another model"


def evaluated_once(folder: Path, expected: set[str]) -> Iterator[str]:
    """Yield every deviation from: each split was evaluated, and each evaluation is recorded."""
    yield from jobs_once(folder, expected)
    yield from check([(folder, f"sqlite:///{folder / 'runs' / 'mlflow.db'}")])
    files = list(folder.glob("runs/evaluations/*/splits.json"))
    splits = [split for file in files for split in json.loads(file.read_text())]
    if sorted(split["split"] for split in splits) != ["split.seed=1", "split.seed=2"]:
        yield f"results: {[split['split'] for split in splits]}"
    for split in splits:
        if split["earlier_evaluations"]:
            yield f"{split['split']} is flagged as a repetition"
    for page in ("splits.json", "evaluation.md"):
        if not list(folder.glob(f"runs/mlartifacts/**/{page}")):
            yield f"{page} is not in the store"
