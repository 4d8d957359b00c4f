"""What a run leaves in its own folder, before anything is sent to MLflow: nothing is lost if sending fails.

record.json            what ran and how it went; written last, at once, so a folder with it is whole
config.yaml            the resolved configuration
model/                 the bundle of the best epoch
learning_curve.png     losses and accuracies by epoch; not for the jobs of a sweep, whose curves MLflow draws
state.npy              what training can go on from: (1 + K, n_parameters), all weights after the last epoch,
                       and below them the K arrays that the optimizer keeps
decision_boundary.png  the model over the plane, where it takes just two number columns
certificate.json       what leaks, or that nothing does: see `data.audit.certificate`
mlflow.json            which MLflow run it became; written once it has been sent
"""

from dataclasses import dataclass, field
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, FiniteFloat, PlainSerializer, PlainValidator, TypeAdapter

from sweepgrad import files
from sweepgrad.config import old_names
from sweepgrad.training.epoch import Epoch

Status = Literal["FINISHED", "FAILED", "KILLED"]

RECORD = "record.json"
CERTIFICATE = "certificate.json"
MODEL, FILES = "model", ("bundle.json", "weights.npz")
STATE = "state.npy"
SENT = "mlflow.json"
PICTURES = ("learning_curve.png", "decision_boundary.png")

_AS_WRITTEN = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Data:
    """The rows of a run: how many, of which table, in which parts.

    Attributes:
        features: the names of the network's inputs.
        digests: SHA-256 of the table and of the row indices of the parts.
        notices: what the user was told about the table.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _AS_WRITTEN

    source: str
    n_train: int
    n_val: int
    n_test: int
    features: tuple[str, ...]
    digests: dict[str, str]
    notices: tuple[str, ...]


def _epoch(values: Any) -> Epoch:
    try:
        return Epoch.from_json(values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"an epoch is damaged: {error!r}") from None


@dataclass(frozen=True)
class Record:
    """A run as it is kept.

    Attributes:
        digest: of what the result follows from, see `capture.identity`; empty when the run failed before its
            data were read. It stands first in the file, so that it is found without reading the rest.
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

    __pydantic_config__: ClassVar[ConfigDict] = _AS_WRITTEN

    digest: str
    job: str
    name: str
    overrides: tuple[str, ...]
    status: Status
    started: int
    ended: int
    error: str | None
    config: Annotated[dict[str, Any], BeforeValidator(old_names.config)]
    history: tuple[Annotated[Epoch, PlainValidator(_epoch), PlainSerializer(Epoch.to_json)], ...]
    best_epoch: int
    summary: dict[str, FiniteFloat]
    n_parameters: int
    data: Data | None
    environment: dict[str, str]
    stopped: bool = False
    reused: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    continued: str | None = None
    certificate: Annotated[dict[str, Any] | None, BeforeValidator(old_names.certificate)] = None
    diagnosis: str = ""

    @property
    def sweep(self) -> str | None:
        return self.config["sweep"]["id"]  # type: ignore[no-any-return]


@cache
def _as_json() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def parse(text: str | bytes) -> Record:
    """Return the record that is written as this text.

    Raises:
        ValueError: it is damaged, or of another version.
    """
    return _as_json().validate_json(text)


def read(folder: Path) -> Record:
    """Return the record in `folder`.

    Raises:
        OSError: it is not there.
        ValueError: it is damaged, or of another version.
    """
    try:
        return parse((folder / RECORD).read_bytes())
    except ValueError as error:
        raise ValueError(f"{folder / RECORD} is damaged, or of another version: {error!r}") from None


def write(folder: Path, record: Record) -> None:
    """Leave a record in `folder`.

    Raises:
        OSError: there is no room, or no right to.
        ValueError: a figure is not a finite number.
    """
    figures = [*record.summary.values()]
    for epoch in record.history:
        figures += epoch.figures.values()
    if not all(map(isfinite, figures)):  # JSON knows none, and what is no number is never read again
        raise ValueError(f"run {record.name} has a figure that is not a finite number: {record.summary}")
    files.write_whole(folder / RECORD, _as_json().dump_json(record, indent=1) + b"\n")
