"""Continue the training of a run, with the same bits as training all epochs at once."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sweepgrad.bounded import arrays
from sweepgrad.config.check import ConfigErrors, check
from sweepgrad.config.identity import LENGTH
from sweepgrad.config.schema import Config, Tracking
from sweepgrad.data.access import open_training
from sweepgrad.data.digests import Digests, refuse_changed
from sweepgrad.errors import UserError
from sweepgrad.runs import provenance
from sweepgrad.runs.record import STATE, Record
from sweepgrad.training.bundle import Bundle
from sweepgrad.training.experiment import Experiment, dtype_of, prepare
from sweepgrad.training.loop import Fit
from sweepgrad.verify.differences import same
from sweepgrad.verify.sources import Copy, Kept

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Continuation:
    """A run to be continued.

    Attributes:
        config: of the new run.
        start: the state to continue from.
        origin: the job id of the run to continue.
    """

    config: Config
    start: Fit
    origin: str


def continuation(kept: Kept, changes: Mapping[str, Any], tracking: Tracking) -> Continuation:
    """Return the training that continues a run.

    Arguments:
        changes: new values of the keys of `LENGTH`.
        tracking: where the new run is logged.

    Raises:
        UserError: the run cannot be continued to the same bits.
    """
    kept = _unchanged(kept)
    record = kept.record
    config = _config(kept, changes, tracking)
    _refuse_other_training(kept.name, record, kept.config, config)
    _refuse_other_code_or_rows(kept, config)
    differences = provenance.differences(record.environment, provenance.environment())
    for difference in differences:
        log.info(f"the environment differs, so numbers may be rounded differently: {difference}")
    return Continuation(
        config, _start(kept, provenance.TOLERANCE[config.engine.dtype] if differences else 0.0), record.job
    )


def _unchanged(kept: Kept) -> Kept:
    """Return a run with those of its copies whose record is as it was written.

    Raises:
        UserError: there is none.
    """
    unchanged = tuple(copy for copy in kept.copies if not copy.change)
    if not unchanged:
        problems = "; ".join(copy.damage or "" for copy in kept.copies)
        raise UserError(f"{problems}. Restore the file, or train from scratch")
    return replace(kept, copies=unchanged)


def _config(kept: Kept, changes: Mapping[str, Any], tracking: Tracking) -> Config:
    values = kept.config.model_dump(mode="json")
    for key, value in changes.items():
        if key not in LENGTH:  # everything else has influenced the epochs so far
            raise UserError(
                f"{key}: cannot be changed when a run is continued; only {' and '.join(LENGTH)} can. Train"
                " from scratch with another value"
            )
        values["train"][key.removeprefix("train.")] = value
    values["tracking"] = tracking.model_dump(mode="json")
    # The new run is a single one, even if it continues a job of a sweep.
    values["sweep"] |= {"id": None, "halving": None, "fail_fast": False}
    try:
        return check(values)
    except ConfigErrors as error:
        lines = "".join(f"\n  {found.key}: {found.problem}" for found in error.errors)
        raise UserError(f"nothing was run.{lines}") from None


def _refuse_other_training(name: str, record: Record, before: Config, after: Config) -> None:
    """Refuse to continue if training all epochs at once would give another result."""
    done = len(record.history)
    if record.status == "FAILED" or not done:
        problem = "failed" if done else "ended before its first epoch"
        raise UserError(f"{name} {problem}, so it cannot be continued: train it from scratch")
    if after.train.epochs <= done:
        raise UserError(
            f"train.epochs: {after.train.epochs} is not more than the {done} epochs of {name}. Give more,"
            f" such as train.epochs={2 * done}"
        )
    if after.schedule.name == "cosine" and after.train.epochs != before.train.epochs:
        raise UserError(
            f"schedule: the learning rates of cosine depend on train.epochs, so {name}, trained with"
            f" train.epochs={before.train.epochs}, cannot be continued with"
            f" train.epochs={after.train.epochs}. Train from scratch, or with a schedule that can be"
            " continued: constant, inverse_root, staircase"
        )
    if (patience := after.train.patience) is not None:
        losses = [epoch.val_loss for epoch in record.history]
        for epoch in range(1, done + 1):
            waited = epoch - 1 - losses.index(min(losses[:epoch]))
            if waited >= patience:
                raise UserError(
                    f"train.patience: {patience} ends training after epoch {epoch}, since the lowest"
                    f" validation loss until then is that of epoch {epoch - waited}; but {name} already has"
                    f" {done} epochs. Give more, or train.patience=null"
                )


def _refuse_other_code_or_rows(kept: Kept, config: Config) -> None:
    record = kept.record
    if record.environment.get("code") != provenance.code():
        differences = provenance.differences(record.environment, provenance.environment())
        lines = "".join(f"\n  {difference}" for difference in differences)
        raise UserError(
            f"{kept.name} was trained by another version of the code, so it cannot be continued.{lines}\n"
            f"Go back to that version, or train from scratch with train.epochs={config.train.epochs}"
        )
    training = open_training(config.data, config.split, dtype_of(config))
    assert record.data is not None  # it has an epoch
    refuse_changed(training.source, training.digests, Digests(**record.data.digests), kept.name)


def _start(kept: Kept, tolerance: float) -> Fit:
    """Return the state of a run after its last epoch, from the first copy that is complete."""
    problems = []
    experiment = prepare(kept.config)
    for copy in kept.copies:
        if STATE not in copy.record.files:
            problems.append(f"{copy.place} has no {STATE}: it is of a version before `sweepgrad continue`")
        elif copy.damage:
            problems.append(f"{copy.place}: {copy.damage}")
        else:
            fit = _fit(copy)
            difference = _difference(experiment, fit, tolerance)
            if not difference:
                return fit
            problems.append(f"{copy.place}: its history was changed: {difference}")
    raise UserError(f"{'; '.join(problems)}. Train from scratch")


def _fit(copy: Copy) -> Fit:
    members = Bundle.load(copy.folder / copy.model).members
    if len(members) != 1:
        raise UserError(f"{copy.place}: its model has {len(members)} networks, and a run trains one")
    (member,) = members
    try:
        state = arrays.load(copy.path_of(STATE), (None, member.network.n_parameters), finite=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{copy.path_of(STATE)} cannot be read: {error}. Train from scratch") from None
    return Fit(copy.record.history, member.weights, copy.record.best_epoch, state)


def _difference(experiment: Experiment, fit: Fit, tolerance: float) -> str:
    """Describe how a history differs from the figures of the weights of its best and last epoch."""
    losses = [epoch.val_loss for epoch in fit.history]
    if fit.best_epoch != (best := 1 + losses.index(min(losses))):
        return f"its best epoch is {fit.best_epoch}, but epoch {best} has the lowest validation loss"
    last = experiment.network.divided(fit.state[0])
    for number, weights in ((fit.best_epoch, fit.weights), (len(losses), last)):
        kept = fit.history[number - 1].figures
        for (part, name), now in experiment.evaluated(weights).figures.items():
            recorded = kept.get((part, name))
            if recorded is None or not same(recorded, now, tolerance):
                return f"{part}_{name} after epoch {number} is {recorded!r}, but its weights give {now!r}"
    return ""
