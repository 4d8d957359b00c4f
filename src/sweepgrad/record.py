"""What a run leaves in its own folder, before anything is sent to MLflow: nothing is lost if sending fails.

record.json            what ran and how it went; written last, at once, so a folder with it is whole
config.yaml            the resolved configuration
learning_curve.png     losses and accuracies by epoch
decision_boundary.png  the model over the plane, where it takes just two number columns
model/                 the bundle of the best epoch
mlflow.json            which MLflow run it became; written once it has been sent
"""

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from sweepgrad.config import Config
from sweepgrad.fit import Epoch, Fit

if TYPE_CHECKING:  # reading records needs no training
    from sweepgrad.experiment import Experiment

Status = Literal["FINISHED", "FAILED", "KILLED"]

RECORD = "record.json"
MODEL = "model"
SENT = "mlflow.json"
PICTURES = ("learning_curve.png", "decision_boundary.png")
SWEEP = "sweep.json"  # in the folder of a sweep's job folders


@dataclass(frozen=True)
class Data:
    """The rows of a run: how many, of which table, in which parts.

    Attributes:
        features: the names of the network's inputs.
        digests: SHA-256 of the table and of the row indices of the parts.
        notices: what the user was told about the table.
    """

    source: str
    n_train: int
    n_val: int
    n_test: int
    features: tuple[str, ...]
    digests: dict[str, str]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """A run as it is kept.

    Attributes:
        job: an identifier of its own, by which MLflow recognises a run that was sent before.
        name: for people.
        started, ended: milliseconds since 1970.
        error: the traceback of a failed run.
        history: one record for each epoch.
        best_epoch: counted from 1; 0 when there is none.
        summary: metrics of the best epoch, by name.
        data: None when the run failed before it had any.
    """

    job: str
    name: str
    status: Status
    started: int
    ended: int
    error: str | None
    config: dict[str, Any]
    history: tuple[Epoch, ...]
    best_epoch: int
    summary: dict[str, float]
    n_parameters: int
    data: Data | None
    environment: dict[str, str]

    @property
    def sweep(self) -> str | None:
        return self.config["sweep"]["id"]  # type: ignore[no-any-return]


def of(
    config: Config,
    *,
    job: str,
    name: str,
    status: Status,
    started: int,
    ended: int,
    error: str | None = None,
    experiment: "Experiment | None" = None,
    fit: Fit | None = None,
) -> Record:
    """The record of a run that ended, in whichever way and however far it came."""
    summary = {}
    if experiment is not None and fit is not None:
        summary = {
            "best/val/accuracy": fit.best.val_accuracy,
            "best/val/nll": fit.best.val_nll,
            "best/val/roc_auc": experiment.val_roc_auc(fit),
            "best/train/accuracy": fit.best.train_accuracy,
            "best/train/nll": fit.best.train_nll,
            "best/epoch": float(fit.best_epoch),
        }
    return Record(
        job=job,
        name=name,
        status=status,
        started=started,
        ended=ended,
        error=error,
        config=config.model_dump(mode="json"),
        history=fit.history if fit else (),
        best_epoch=fit.best_epoch if fit else 0,
        summary=summary,
        n_parameters=experiment.network.n_parameters if experiment else 0,
        data=_data(experiment) if experiment else None,
        environment=environment(),
    )


def write(
    folder: Path, record: Record, experiment: "Experiment | None" = None, fit: Fit | None = None
) -> None:
    """Leave a run in `folder`: its model and picture where there are any, the record last."""
    from sweepgrad import plots  # late: reading records needs no pictures

    folder.mkdir(parents=True, exist_ok=True)
    if (folder / RECORD).exists():  # an earlier run was told to write here: what it left is not this one's
        for name in (RECORD, SENT, *PICTURES, f"{MODEL}/bundle.json", f"{MODEL}/weights.npz"):
            (folder / name).unlink(missing_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(record.config, sort_keys=False), encoding="utf-8")
    if experiment is not None and fit is not None:
        bundle = experiment.bundle(fit)
        bundle.save(folder / MODEL)
        learning_curve, decision_boundary = (folder / name for name in PICTURES)
        plots.learning_curve(fit.history, fit.best_epoch, learning_curve)
        if plots.has_boundary(bundle):
            plots.decision_boundary(bundle, experiment.val, decision_boundary)
    write_json(folder / RECORD, asdict(record))


def read(folder: Path) -> Record:
    """The record in `folder`.

    Raises:
        OSError: it is not there.
        ValueError: it is damaged, or of another version.
    """
    try:
        values = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        data = values.pop("data")
        if data is not None:
            data = Data(**{**data, "features": tuple(data["features"]), "notices": tuple(data["notices"])})
        history = tuple(Epoch(**epoch) for epoch in values.pop("history"))
        return Record(**values, history=history, data=data)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / RECORD} is damaged, or of another version: {error!r}") from None


def sent_as(folder: Path) -> str:
    """The id of the MLflow run that the run in `folder` became."""
    return str(json.loads((folder / SENT).read_text(encoding="utf-8"))["run_id"])


@dataclass(frozen=True)
class SweepRecord:
    """A sweep as a whole.

    Attributes:
        id: its name.
        status: RUNNING until it ends.
        jobs: how many runs it was to have.
        varying: the keys in which they differ.
        command: what started it.
        process, host: what runs it.
    """

    id: str
    status: Status | Literal["RUNNING"]
    jobs: int
    varying: tuple[str, ...]
    command: str
    process: int
    host: str


def read_sweep(folder: Path) -> SweepRecord:
    """The word left in a sweep's folder.

    Raises:
        OSError: it is not there.
        ValueError: it is damaged, or of another version.
    """
    try:
        values = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
        return SweepRecord(**{**values, "varying": tuple(values["varying"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / SWEEP} is damaged, or of another version: {error!r}") from None


def write_json(path: Path, values: Any) -> None:
    """Write a file that is either whole or not there, even if the machine stops."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w", encoding="utf-8") as file:
        file.write(json.dumps(values, indent=1, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def environment() -> dict[str, str]:
    """The versions that a run's numbers depend on."""
    packages = ("sweepgrad", "numpy", "scipy", "pandas", "pyarrow", "hydra-core", "omegaconf", "mlflow")
    compilers = ("numba", "llvmlite")  # without them NumPy takes the engine's place
    return {
        "code": _code_digest(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": " ".join(sys.argv),
        **{package: version(package) for package in packages},
        **{package: _version_or_absent(package) for package in compilers},
    }


def _version_or_absent(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


@cache
def _code_digest() -> str:
    """SHA-256 of our own source files, in the order of their names."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _data(experiment: "Experiment") -> Data:
    training = experiment.training
    return Data(
        source=training.source,
        n_train=training.n_train,
        n_val=training.n_val,
        n_test=training.n_test,
        features=training.preprocessor.names,
        digests=asdict(training.digests),
        notices=training.notices,
    )
