"""What a run leaves in its own folder, before anything is sent to MLflow: nothing is lost if sending fails.

record.json            what ran and how it went; written last, at once, so a folder with it is whole
config.yaml            the resolved configuration
model/                 the bundle of the best epoch
learning_curve.png     losses and accuracies by epoch; not for the jobs of a sweep, whose curves MLflow draws
state.npy              what training can go on from: (1 + K, n_parameters), all weights after the last epoch,
                       and below them the K arrays that the optimizer keeps
decision_boundary.png  the model over the plane, where it takes just two number columns
certificate.json       what leaks, or that nothing does: see `data.certificate`
mlflow.json            which MLflow run it became; written once it has been sent
"""

import json
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sweepgrad.autograd.value import Array
from sweepgrad.config.schema import Config
from sweepgrad.runs import provenance
from sweepgrad.training import diagnosis
from sweepgrad.training.epoch import Epoch
from sweepgrad.training.loop import Fit

if TYPE_CHECKING:  # reading records needs no training
    from sweepgrad.training.experiment import Experiment

Status = Literal["FINISHED", "FAILED", "KILLED"]

RECORD = "record.json"
CERTIFICATE = "certificate.json"
MODEL, FILES = "model", ("bundle.json", "weights.npz")
STATE = "state.npy"
SENT = "mlflow.json"
PICTURES = ("learning_curve.png", "decision_boundary.png")


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
        files: SHA-256 of each file of the model, and of its state, by name. Runs that are older than
            `sweepgrad continue` have no state.
        continued: the `job` of the run that this one went on from, if it did.
        certificate: what leaks, or that nothing does; None where training did not end well, and of runs that
            are older than certificates.
        diagnosis: what is told of how training went, see `diagnosis.verdict`.
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
    continued: str | None = None
    certificate: dict[str, Any] | None = None
    diagnosis: str = ""

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
    continued: str | None = None,
) -> Record:
    """The record of a run that ended, in whichever way and however far it came."""
    data = _data(experiment) if experiment else None
    log_odds = experiment.log_odds(fit) if experiment and fit else np.zeros(0)
    summary = experiment.summary(fit, log_odds) if experiment and fit else {}
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
        summary=summary,
        n_parameters=experiment.network.n_parameters if experiment else 0,
        data=data,
        environment=provenance.environment(),
        stopped=stopped,
        continued=continued,
        certificate=_certificate(experiment, status) if experiment and fit else None,
        diagnosis=diagnosis_of(experiment, fit, log_odds) if experiment and fit else "",
    )


def identity(config: Config, digests: dict[str, str]) -> str:
    """SHA-256 of all that a result follows from: the configuration, the data and the code.

    Where a run is kept, and the sweep that it belongs to, have no say.

    Arguments:
        digests: of the table and of its parts.
    """
    settings = config.model_dump(mode="json", exclude={"tracking", "sweep", "select"})
    whole = {"config": settings, "data": digests, "code": provenance.code()}
    return sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


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
    history = tuple(map(Epoch.from_json, values.pop("history")))
    overrides = tuple(values.pop("overrides"))
    return Record(**values, overrides=overrides, history=history, data=data)


def _certificate(experiment: "Experiment", status: Status) -> dict[str, Any]:
    """What leaks, or that nothing does. A proof that fails costs no model."""
    from sweepgrad.runs.isolation import proof, unproven  # late: reading records needs no training

    if status == "KILLED":  # nobody waits any more
        weights = unproven("the run was stopped")
    else:
        try:
            weights = proof(experiment).to_json()
        except Exception as error:  # noqa: BLE001 - it takes memory, as all does
            weights = unproven(f"the proof failed with {type(error).__name__}: {error}")
    return {**experiment.training.certificate.to_json(), "weights": weights}


def diagnosis_of(experiment: "Experiment", fit: Fit, log_odds: Array) -> str:
    """Return what is told of how a run went, given its scaled scores of the validation rows, (n_val,)."""
    return diagnosis.verdict(
        experiment.task,
        experiment.network,
        fit.history,
        fit.best_epoch,
        lr=experiment.config.optimizer.lr,
        steps_an_epoch=-(-len(experiment.train.y) // experiment.config.train.batch_size),
        y=experiment.val.y,
        scores=log_odds,
    )


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
