"""What a run leaves in its own folder, before anything is sent to MLflow: nothing is lost if sending fails.

record.json            what ran and how it went; written last, at once, so a folder with it is whole
config.yaml            the resolved configuration
model/                 the bundle of the best epoch
learning_curve.png     losses and accuracies by epoch; not for the jobs of a sweep, whose curves MLflow draws
decision_boundary.png  the model over the plane, where it takes just two number columns
mlflow.json            which MLflow run it became; written once it has been sent
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from sweepgrad import versions
from sweepgrad.config import Config
from sweepgrad.errors import naming
from sweepgrad.fit import Epoch, Fit

if TYPE_CHECKING:  # reading records needs no training
    from sweepgrad.bundle import Bundle
    from sweepgrad.experiment import Experiment

Status = Literal["FINISHED", "FAILED", "KILLED"]

RECORD = "record.json"
MODEL, FILES = "model", ("bundle.json", "weights.npz")
SENT = "mlflow.json"
PICTURES = ("learning_curve.png", "decision_boundary.png")

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the C one is ten times faster, where it was built


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
        digest: of what the result follows from, see `identity`; empty when the run failed before its data
            were read. It stands first in the file, so that it is found without reading the rest.
        job: an identifier of its own, by which MLflow recognises a run that was sent before.
        name: for people.
        overrides: from the command line or the sweeper.
        started, ended: milliseconds since 1970.
        error: the traceback of a failed run.
        history: one record for each epoch.
        best_epoch: counted from 1; 0 when there is none.
        summary: metrics of the best epoch, by name.
        data: None when the run failed before it had any.
        stopped: whether halving ended it before its last epoch.
        reused: the `job` of the run whose result this is, if it was not trained again.
        files: SHA-256 of each file of the model, by name.
    """

    digest: str
    job: str
    name: str
    overrides: tuple[str, ...]
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
    stopped: bool = False
    reused: str | None = None
    files: dict[str, str] = field(default_factory=dict)

    @property
    def sweep(self) -> str | None:
        return self.config["sweep"]["id"]  # type: ignore[no-any-return]


def of(
    config: Config,
    *,
    job: str,
    name: str,
    overrides: tuple[str, ...],
    status: Status,
    started: int,
    ended: int,
    error: str | None = None,
    experiment: "Experiment | None" = None,
    fit: Fit | None = None,
    stopped: bool = False,
) -> Record:
    """The record of a run that ended, in whichever way and however far it came."""
    data = _data(experiment) if experiment else None
    return Record(
        digest=identity(config, data.digests) if data else "",
        job=job,
        name=name,
        overrides=overrides,
        status=status,
        started=started,
        ended=ended,
        error=error,
        config=config.model_dump(mode="json"),
        history=fit.history if fit else (),
        best_epoch=fit.best_epoch if fit else 0,
        summary=experiment.summary(fit) if experiment and fit else {},
        n_parameters=experiment.network.n_parameters if experiment else 0,
        data=data,
        environment=versions.environment(),
        stopped=stopped,
    )


def identity(config: Config, digests: dict[str, str]) -> str:
    """SHA-256 of all that a result follows from: the configuration, the data and the code.

    Where a run is kept, and the sweep that it belongs to, have no say.

    Arguments:
        digests: of the table and of its parts.
    """
    settings = config.model_dump(mode="json", exclude={"tracking", "sweep", "select"})
    whole = {"config": settings, "data": digests, "code": versions.code()}
    return sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def write(
    folder: Path, record: Record, experiment: "Experiment | None" = None, fit: Fit | None = None
) -> Record:
    """Leave a run in `folder`: its model and pictures where there are any, the record last; as written.

    Raises:
        OSError: there is no room, or no right to.
    """
    with naming(folder):
        _make_ready(folder, record)
        if experiment is not None and fit is not None:
            bundle = experiment.bundle(fit)
            bundle.save(folder / MODEL)
            record = replace(record, files=_file_digests(folder / MODEL))
            if record.sweep is None:
                draw(folder, experiment, bundle, fit)
        write_json(folder / RECORD, _plain(record))
    return record


def draw(folder: Path, experiment: "Experiment", bundle: "Bundle", fit: Fit) -> None:
    """The pictures of a run."""
    from sweepgrad import plots  # late: it takes most of a second, and a sweep needs none

    learning_curve, decision_boundary = (folder / name for name in PICTURES)
    plots.learning_curve(fit.history, fit.best_epoch, learning_curve)
    if plots.has_boundary(bundle):
        plots.decision_boundary(bundle, experiment.val, decision_boundary)


def copy(source: Path, folder: Path, record: Record) -> None:
    """Leave in `folder` the result that is kept in `source`, under a record of its own.

    Raises:
        OSError: as `write`.
    """
    place(folder, record, {name: (source / MODEL / name).read_bytes() for name in FILES})


def place(folder: Path, record: Record, model: Mapping[str, bytes]) -> None:
    """Leave in `folder` the result of a job of a sweep that was trained elsewhere.

    Arguments:
        model: its files, by name; none if it has no model.

    Raises:
        OSError: as `write`.
    """
    with naming(folder):
        _make_ready(folder, record)
        if model:
            (folder / MODEL).mkdir(exist_ok=True)
        for name, content in model.items():
            (folder / MODEL / name).write_bytes(content)
        write_json(folder / RECORD, _plain(record))


def _make_ready(folder: Path, record: Record) -> None:
    """Make the folder, with its configuration and without what an earlier run left: it is not this one's."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (RECORD, SENT, *PICTURES, *(f"{MODEL}/{name}" for name in FILES)):
        (folder / name).unlink(missing_ok=True)
    text = yaml.dump(record.config, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")


def damage(folder: Path, record: Record) -> str | None:
    """What is wrong with the files beside a record, if anything."""
    try:
        found = _file_digests(folder / MODEL)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    changed = [name for name in FILES if found[name] != record.files.get(name)]
    return f"{folder / MODEL / changed[0]} is not what was written" if changed else None


def _plain(record: Record) -> dict[str, Any]:
    """For JSON. (`asdict` would copy the configuration, which takes longer than all else.)"""
    data = record.data.__dict__ if record.data else None
    return {**record.__dict__, "data": data, "history": [epoch.__dict__ for epoch in record.history]}


def _file_digests(model: Path) -> dict[str, str]:
    return {name: sha256((model / name).read_bytes()).hexdigest() for name in FILES}


def read(folder: Path) -> Record:
    """The record in `folder`.

    Raises:
        OSError: it is not there.
        ValueError: it is damaged, or of another version.
    """
    try:
        return parse((folder / RECORD).read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / RECORD} is damaged, or of another version: {error!r}") from None


def parse(text: str) -> Record:
    """The record that is written as this text.

    Raises:
        ValueError, KeyError, TypeError: it is damaged, or of another version.
    """
    values = json.loads(text)
    data = values.pop("data")
    if data is not None:
        data = Data(**{**data, "features": tuple(data["features"]), "notices": tuple(data["notices"])})
    history = tuple(Epoch(**epoch) for epoch in values.pop("history"))
    overrides = tuple(values.pop("overrides"))
    return Record(**values, overrides=overrides, history=history, data=data)


def sent_as(folder: Path, record: Record) -> str | None:
    """The id of the MLflow run that this very run became, if it is known to have been sent."""
    try:
        sent = json.loads((folder / SENT).read_text(encoding="utf-8"))
        return str(sent["run_id"]) if sent["ended"] == record.ended else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_json(path: Path, values: Any) -> None:
    """Write a file that is either whole or not there, even if the machine stops."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with naming(path), partial.open("w", encoding="utf-8") as file:
            file.write(json.dumps(values, indent=1, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


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
