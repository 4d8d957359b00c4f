"""Write the folder of a run, and check its files against their digests."""

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from sweepgrad.autograd.value import Array
from sweepgrad.bounded import reading
from sweepgrad.errors import DamagedFile, reason
from sweepgrad.files import digest, naming
from sweepgrad.runs import record as records
from sweepgrad.runs.record import CERTIFICATE, FILES, MODEL, PICTURES, RECORD, SENT, STATE, VALIDATION, Record
from sweepgrad.training.bundle import Bundle
from sweepgrad.training.experiment import Experiment
from sweepgrad.training.loop import Fit

CONFIG = "config.yaml"
_WRITTEN = (RECORD, SENT, STATE, VALIDATION, CERTIFICATE, *PICTURES, *(f"{MODEL}/{name}" for name in FILES))
_LONGEST_CONFIG, _BEGINNING = 1 << 20, 100  # bytes
_MADE = "# The configuration of a run of sweepgrad, which may overwrite this file."

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the C one, if it is there, is ten times faster


def write(
    folder: Path,
    record: Record,
    experiment: Experiment | None = None,
    fit: Fit | None = None,
    scores: Array | None = None,
) -> Record:
    """Write a run to `folder`: its model and pictures, if any, and the record last. Return that record.

    Arguments:
        scores: the result of `experiment.val_scores(fit)`, if it is known.

    Raises:
        OSError: the folder cannot be written.
    """
    with naming(folder):
        _make_ready(folder, record)
        if experiment is not None and fit is not None:
            bundle = experiment.bundle(fit)
            bundle.save(folder / MODEL)
            np.save(folder / STATE, fit.state, allow_pickle=False)
            scores = experiment.val_scores(fit) if scores is None else scores
            np.save(folder / VALIDATION, scores, allow_pickle=False)
            names = (*FILES, STATE, VALIDATION)
            record = replace(record, files={name: digest(path_of(folder, name)) for name in names})
            if record.sweep is None:
                draw(folder, experiment, bundle, fit)
        records.write(folder, record)
    return record


def draw(folder: Path, experiment: Experiment, bundle: Bundle, fit: Fit) -> None:
    """Draw the pictures of a run."""
    from sweepgrad.training import plots  # late: importing it takes most of a second, and sweeps draw none

    learning_curve, decision_boundary = (folder / name for name in PICTURES)
    plots.learning_curve(fit.history, fit.best_epoch, learning_curve)
    if plots.has_boundary(bundle):
        plots.decision_boundary(bundle, experiment.val, decision_boundary)


def copy(source: Path, folder: Path, record: Record) -> None:
    """Copy the result in folder `source` to `folder`, with another record.

    Raises:
        OSError: as `write`.
    """
    place(folder, record, {name: path_of(source, name).read_bytes() for name in record.files})


def place(folder: Path, record: Record, model: Mapping[str, bytes]) -> None:
    """Write to `folder` the result of a job that another process trained.

    Arguments:
        model: the files of its model and its state, by name; empty if it has no model.

    Raises:
        OSError: as `write`.
    """
    with naming(folder):
        _make_ready(folder, record)
        if model:
            (folder / MODEL).mkdir(exist_ok=True)
        for name, content in model.items():
            path_of(folder, name).write_bytes(content)
        records.write(folder, record)


def in_the_way(folder: Path, sweep: str | None = None) -> Path | None:
    """Return a file in a folder that a run would overwrite, unless a run wrote it; None if there is none.

    Arguments:
        sweep: the id of the sweep that the run is a job of.
    """
    mine = folder / CONFIG
    if mine.is_file() and _is_config(mine, sweep, complete=_is_record(folder / RECORD)):  # written first
        return None
    return next((folder / name for name in (CONFIG, *_WRITTEN) if os.path.lexists(folder / name)), None)


def _is_record(path: Path) -> bool:
    """Return whether a file begins as the record of a run does."""
    try:
        return b'"digest"' in reading.beginning(path, _BEGINNING)
    except (OSError, DamagedFile):
        return False


def _is_config(path: Path, sweep: str | None, *, complete: bool) -> bool:
    """Return whether a file is the configuration of a run, and not what `train --cfg job` prints.

    The configuration of a run that was interrupted is recognised by its first line. Those of 0.1.0 lack it;
    one of the same sweep has the sweep's id, which the configurations of no other command have.

    Arguments:
        complete: whether the run's record is there.
    """
    lines = reading.beginning(path, _LONGEST_CONFIG).decode("utf-8", errors="replace").splitlines()
    of_sweep = sweep is not None and f"  id: {sweep}" in lines
    if not (complete or of_sweep or lines[:1] == [_MADE]):
        return False
    return {"seed", "data", "model", "optimizer", "split", "train"} <= {
        line.partition(":")[0] for line in lines
    }


def _make_ready(folder: Path, record: Record) -> None:
    """Make the folder, write the configuration and delete the files of an earlier run.

    Raises:
        FileExistsError: a file is in the way that no run wrote.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (path := in_the_way(folder, record.sweep)) is not None:
        raise FileExistsError(errno.EEXIST, "is not a run's, and would be overwritten", str(path))
    for name in _WRITTEN:
        (folder / name).unlink(missing_ok=True)
    text = yaml.dump(record.config, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    text = f"{_MADE}\n{text}"
    # Whole or not at all: with a part of it, the folder would not be recognised as a run's.
    partial = folder / f".{CONFIG}.{os.getpid()}"
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / CONFIG)
    finally:
        partial.unlink(missing_ok=True)
    if record.certificate is not None:
        text = json.dumps(record.certificate, indent=1, allow_nan=False, ensure_ascii=False)
        (folder / CERTIFICATE).write_text(f"{text}\n", encoding="utf-8")


def damage(folder: Path, record: Record, model: str = MODEL) -> str | None:
    """Return what is wrong with the files of a run, or None; `model` is the folder of its bundle."""
    try:
        return difference(folder, record, model)
    except OSError as error:
        return f"{error.filename}: {reason(error)}"


def difference(folder: Path, record: Record, model: str = MODEL) -> str | None:
    """Return which file of a run is missing or was changed; None if none is.

    Raises:
        OSError: one cannot be read.
    """
    for name in dict.fromkeys((*FILES, *record.files)):
        path = path_of(folder, name, model)
        try:
            with naming(path):
                if digest(path) != record.files.get(name):
                    return f"{path} was changed after it was written"
        except FileNotFoundError as error:
            return f"{path}: {reason(error)}"
    return None


def path_of(folder: Path, name: str, model: str = MODEL) -> Path:
    """Return the path of a file that `Record.files` names; `model` is the folder of the bundle."""
    return folder / name if name in (STATE, VALIDATION) else folder / model / name


def sent_as(folder: Path, record: Record) -> str | None:
    """Return the id of the MLflow run that this run was sent as, or None if it was not sent."""
    try:
        sent = reading.load(folder / SENT, reading.SMALL)
        return str(sent["run_id"]) if sent["ended"] == record.ended else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
