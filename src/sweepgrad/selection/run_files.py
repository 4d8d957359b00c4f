"""The files of a run in MLflow: its record, validation scores and model, checked against their digests."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from sweepgrad.autograd.value import Array
from sweepgrad.bounded import arrays, reading
from sweepgrad.bounded.arrays import MOST_BYTES
from sweepgrad.data.split import PARTS
from sweepgrad.errors import DamagedFile, UserError, reason
from sweepgrad.files import naming
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.runs.record import VALIDATION, Changed, Record
from sweepgrad.runs.validation import LIMITS, described
from sweepgrad.stats.metrics import BEST
from sweepgrad.tracking import entities
from sweepgrad.tracking.connection import Missing
from sweepgrad.tracking.mapping import BUNDLE, RECORD_IN_MLFLOW, Logged, local, params
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.tags import CHECKSUM, DIGEST, ISOLATION, JOB, of_run
from sweepgrad.training.diagnosis import DIAGNOSIS

_DIGESTS = tuple(f"{DIGEST}{part}" for part in ("table", *PARTS))


class Damaged(Exception):
    """Something of a run is not as it was written, or contradicts something else of it."""

    def __init__(self, run: Logged, problem: str) -> None:
        super().__init__(problem)
        self.run, self.problem = run, problem


def record_of(store: Store, run: Logged) -> Record:
    """Return the record of a run.

    Raises:
        Damaged: it is missing or was changed, or the run's params, metrics or tags differ from it.
        UserError: it cannot be read.
    """
    try:
        record = records.parse(_content(store, run, RECORD_IN_MLFLOW, LIMITS.size))
    except Changed as error:
        raise Damaged(run, f"its {RECORD_IN_MLFLOW} {error}") from None
    except ValueError as error:
        raise Damaged(run, f"its {RECORD_IN_MLFLOW} is damaged: {described(error)}") from None
    if difference := _contradiction(run, record):
        raise Damaged(run, difference)
    return record


def validation_scores(store: Store, run: Logged, record: Record) -> Array:
    """Return the validation scores that a run kept, (n_val,).

    Raises:
        Damaged: they are missing or were changed.
        UserError: they cannot be read.
    """
    content = _content(store, run, VALIDATION, MOST_BYTES)
    if sha256(content).hexdigest() != record.files[VALIDATION]:
        raise Damaged(run, f"its {VALIDATION} was changed after it was written")
    assert record.data is not None
    try:
        return arrays.parse(content, (record.data.n_val,))
    except DamagedFile as error:
        raise Damaged(run, f"its {VALIDATION} is damaged: {error}") from None


@contextmanager
def model_files(store: Store, run: Logged, record: Record) -> Iterator[Path]:
    """Yield a folder with the files of a run's model.

    Raises:
        Damaged: they were changed, or are missing.
        UserError: they cannot be read.
    """
    with tempfile.TemporaryDirectory() as copies:
        with _readable(run, BUNDLE):
            folder = local(run, BUNDLE) or store.download(run, BUNDLE, Path(copies))
            only_model = replace(record, files={name: record.files.get(name, "") for name in records.FILES})
            problem = folders.difference(folder, only_model, "")
        if problem:
            raise Damaged(run, problem)
        yield folder


def _content(store: Store, run: Logged, name: str, most: int) -> bytes:
    with _readable(run, name):
        if path := local(run, name):
            with naming(path):
                return reading.read(path, most)
        with tempfile.TemporaryDirectory() as copies:
            return reading.read(store.download(run, name, Path(copies)), most)


@contextmanager
def _readable(run: Logged, name: str) -> Iterator[None]:
    """Distinguish a damaged file of a run from one that cannot be read now, on a disk that fails.

    Raises:
        Damaged: the file is missing, or is no file of a run.
        UserError: it cannot be read.
    """
    try:
        yield
    except DamagedFile as error:
        raise Damaged(run, f"its {name} is damaged: {error}") from None
    except (Missing, FileNotFoundError):
        raise Damaged(run, f"its {name} is missing in MLflow") from None
    except OSError as error:
        raise UserError(
            f"{error.filename or name} of run {run.name} cannot be read: {reason(error)}. Make it readable,"
            " and repeat the command"
        ) from None


def _contradiction(run: Logged, record: Record) -> str:
    """Describe a difference between a run's record and its params, metrics, tags or status."""
    for what, logged, recorded in (
        ("status", {"": run.status}, {"": record.status}),
        ("param ", run.params, {param.key: param.value for param in params(record)}),
        ("metric ", _summary(run.metrics), _summary(record.summary)),
        ("tag ", {name: run.tags.get(name) for name in _tags(record)}, _tags(record)),
    ):
        if logged == recorded:
            continue
        name = next(name for name in {**recorded, **logged} if logged.get(name) != recorded.get(name))
        one, other = ("missing" if (v := of.get(name)) is None else v for of in (logged, recorded))
        return f"its {what}{name} in MLflow is {one}; in its {RECORD_IN_MLFLOW}: {other}"
    return ""


def _summary(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.startswith(BEST)}


def _tags(record: Record) -> dict[str, str | None]:
    """Return the tags of a run that decide, or that a leaderboard or card shows."""
    names = (*_DIGESTS, CHECKSUM, ISOLATION, DIAGNOSIS) if record.checksum else _DIGESTS  # words change
    tags = of_run(record)
    return {JOB: entities.tag_value(record.job), **{name: tags.get(name) for name in names}}
