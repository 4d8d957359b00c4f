"""The record of a run, and the files in its folder. They are written first, and then sent to MLflow.

record.json            the configuration and the results; written last, so a folder that has it is complete
config.yaml            the resolved configuration
model/                 the bundle of the best epoch
learning_curve.png     losses and accuracies by epoch; not for the jobs of a sweep, whose curves MLflow draws
state.npy              the state to continue training from: (1 + K, n_parameters), all weights after the last
                       epoch, then the K arrays of the optimizer
validation.npy         the model's scaled scores of the validation rows, in the order of the table; (n_val,)
decision_boundary.png  the model's decisions in the plane, if it has exactly two numeric columns
certificate.json       the leaks that were found, see `data.audit.certificate`
mlflow.json            the id of its MLflow run; written after it has been sent
"""

import re
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    FiniteFloat,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
)

from sweepgrad import files
from sweepgrad.bounded import reading
from sweepgrad.config import old_names
from sweepgrad.errors import DamagedFile
from sweepgrad.runs.validation import LIMITS, Certificate, Count, Many, Milliseconds, Named, Settings
from sweepgrad.training.epoch import Epoch

Status = Literal["FINISHED", "FAILED", "KILLED"]

RECORD = "record.json"
CERTIFICATE = "certificate.json"
MODEL, FILES = "model", ("bundle.json", "weights.npz")
STATE = "state.npy"
VALIDATION = "validation.npy"
SENT = "mlflow.json"
PICTURES = ("learning_curve.png", "decision_boundary.png")

_AS_WRITTEN = ConfigDict(extra="forbid", strict=True)

_CHECKSUM = re.compile(rb'"checksum":\s*"([0-9a-f]{64}|)"\s*\}\s*\Z')  # the last field of a record
_TAIL = 200  # bytes that contain it
_CHANGED = "was changed after it was written"


def _all_digests(digests: dict[str, str]) -> dict[str, str]:
    if absent := [name for name in ("table", "train", "val", "test") if name not in digests]:
        raise ValueError(f"without {', '.join(absent)}")
    return digests


@dataclass(frozen=True)
class Data:
    """The data of a run.

    Attributes:
        features: the names of the network's inputs.
        digests: SHA-256 of the table and of the row indices of each set.
        notices: messages about the table that were shown.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _AS_WRITTEN

    source: str
    n_train: Count
    n_val: Count
    n_test: Count
    features: Many[str]
    digests: Annotated[Named[str], AfterValidator(_all_digests)]
    notices: Many[str]


def _epoch(values: Any) -> Epoch:
    try:
        return Epoch.from_json(old_names.epoch(values))
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"an epoch is damaged: {error!r}") from None


def _known_files(digests: dict[str, str]) -> dict[str, str]:
    if unknown := digests.keys() - {*FILES, STATE, VALIDATION}:  # names become paths
        raise ValueError(f"unknown files: {', '.join(sorted(unknown))}")
    return digests


class Changed(DamagedFile):
    """A record is not as it was written."""


@dataclass(frozen=True)
class Record:
    """The record of a run.

    Attributes:
        digest: SHA-256 of all that determines the result, see `capture.identity`; empty if the run failed
            before its data were read. It is first in the file, so that it is found without reading the rest.
        job: a unique id, by which a run that was sent before is recognised in MLflow.
        name: a readable name.
        overrides: from the command line or the sweeper.
        started, ended: milliseconds since 1970.
        error: the traceback of a failed run.
        history: the figures of each epoch.
        best_epoch: counted from 1; 0 if there is none.
        summary: metrics of the best epoch, by name.
        data: None if the run failed before its data were read.
        stopped: whether successive halving ended it before its last epoch.
        reused: the `job` of the run whose result was reused, if it was not trained again.
        files: SHA-256 of each file of the model, of its state and of its validation scores, by name. Runs of
            versions before `sweepgrad continue` have no state, and those of 0.1.0 no validation scores.
        continued: the `job` of the run that this one continued, if any.
        certificate: the leaks that were found; None if the run failed or is older than certificates.
        diagnosis: what is unusual about training, see `diagnosis.verdict`.
        checksum: SHA-256 of the file without these digits; `write` computes it, `parse` checks it. It is last
            in the file. Records of 0.1.0 have none. It detects damage and careless edits; someone who edits
            the record and computes it again is found by what else is recomputed, see `selection.evidence`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _AS_WRITTEN

    digest: str
    job: str
    name: str
    overrides: Many[str]
    status: Status
    started: Milliseconds
    ended: Milliseconds
    error: str | None
    config: Settings
    history: Many[Annotated[Epoch, PlainValidator(_epoch), PlainSerializer(Epoch.to_json)]]
    best_epoch: Count
    summary: Named[FiniteFloat]
    n_parameters: Count
    data: Data | None
    environment: Named[str]
    stopped: bool = False
    reused: str | None = None
    files: Annotated[Named[str], AfterValidator(_known_files)] = field(default_factory=dict)
    continued: str | None = None
    certificate: Certificate = None
    diagnosis: str = ""
    checksum: str = field(default="", compare=False)

    @property
    def sweep(self) -> str | None:
        return self.config["sweep"]["id"]  # type: ignore[no-any-return]


@cache
def _as_json() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def parse(text: str | bytes, *, checked: bool = True) -> Record:
    """Return the record that a text holds.

    Arguments:
        checked: refuse a record whose checksum does not match; only `sweepgrad verify` compares such records.

    Raises:
        Changed: it was changed after it was written.
        DamagedFile: it is damaged, or of another version.
    """
    content = text.encode() if isinstance(text, str) else text
    record = reading.validated(_as_json(), content, LIMITS)
    if checked and record.best_epoch > len(record.history):
        raise DamagedFile(f"best_epoch is {record.best_epoch}, and history has {len(record.history)} epochs")
    if checked and (problem := change(content, record)):
        raise Changed(problem)
    return record


def change(content: bytes, record: Record) -> str:
    """Describe that a text is not the one that was written as this record; empty if it is.

    A record without a checksum is one of 0.1.0, unless it names a file that these do not have.
    """
    if not record.checksum:
        return f"{_CHANGED}: its checksum was removed" if VALIDATION in record.files else ""
    try:
        return "" if seal(content) == content else f"{_CHANGED}: its checksum does not match"
    except ValueError as error:
        return str(error)


def seal(content: bytes) -> bytes:
    """Return the text of a record with the checksum of everything else in it.

    Raises:
        Changed: its last field is not a checksum.
    """
    found = _CHECKSUM.search(content, max(len(content) - _TAIL, 0))
    if found is None:
        raise Changed(f"{_CHANGED}: its last field is not its checksum")
    start, end = found.span(1)
    before, after = content[:start], content[end:]
    return before + sha256(before + after).hexdigest().encode() + after


def read(folder: Path, *, checked: bool = True) -> Record:
    """Return the record in `folder`; see `parse`.

    Raises:
        OSError: the file cannot be read.
        DamagedFile: it is damaged, was changed, or is of another version.
    """
    try:
        return parse(reading.read(folder / RECORD, LIMITS.size), checked=checked)
    except Changed as error:
        raise Changed(f"{folder / RECORD} {error}") from None
    except ValueError as error:
        raise DamagedFile(f"{folder / RECORD} is damaged, or of another version: {error}") from None


def write(folder: Path, record: Record) -> None:
    """Write a record to `folder`.

    Raises:
        OSError: the file cannot be written.
        ValueError: a figure is not a finite number.
    """
    figures = [*record.summary.values()]
    for epoch in record.history:
        figures += epoch.figures.values()
    if not all(map(isfinite, figures)):  # JSON has neither infinity nor NaN
        raise ValueError(f"run {record.name} has a figure that is not a finite number: {record.summary}")
    content = _as_json().dump_json(replace(record, checksum=""), indent=1) + b"\n"
    files.write_whole(folder / RECORD, seal(content))
