"""Going on from where a run ended, to the bits that training straight through would have given."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

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
from sweepgrad.verify.differences import TOLERANCE, same
from sweepgrad.verify.sources import Copy, Kept

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Continuation:
    """A run that is to go on.

    Attributes:
        config: of the new run.
        start: what it goes on from.
        origin: the id of the job that this is from.
    """

    config: Config
    start: Fit
    origin: str


def continuation(kept: Kept, changes: Mapping[str, Any], tracking: Tracking) -> Continuation:
    """What is to be trained.

    Arguments:
        changes: new values of the keys of `LENGTH`.
        tracking: where the new run is logged.

    Raises:
        UserError: it cannot be gone on with to the same bits, with the reason and the remedy.
    """
    record = kept.record
    config = _config(kept, changes, tracking)
    _refuse_another_course(kept.name, record, kept.config, config)
    _refuse_other_code_or_rows(kept, config)
    differences = provenance.differences(record.environment, provenance.environment())
    for difference in differences:
        log.info(f"trained where numbers may be rounded otherwise: {difference}")
    return Continuation(
        config, _start(kept, TOLERANCE[config.engine.dtype] if differences else 0.0), record.job
    )


def _config(kept: Kept, changes: Mapping[str, Any], tracking: Tracking) -> Config:
    values = kept.config.model_dump(mode="json")
    for key, value in changes.items():
        if key not in LENGTH:  # all else has had its say in the epochs that are taken over
            raise UserError(
                f"{key}: only {' and '.join(LENGTH)} can be changed where a run goes on, for all else has had"
                " its say in the epochs that it has; train anew with another value"
            )
        values["train"][key.removeprefix("train.")] = value
    values["tracking"] = tracking.model_dump(mode="json")
    # A run on its own, though it may go on from a job.
    values["sweep"] |= {"id": None, "halving": None, "fail_fast": False}
    try:
        return check(values)
    except ConfigErrors as error:
        lines = "".join(f"\n  {found.key}: {found.problem}" for found in error.errors)
        raise UserError(f"nothing was run.{lines}") from None


def _refuse_another_course(name: str, record: Record, before: Config, after: Config) -> None:
    """Refuse what training straight through would not have come to."""
    done = len(record.history)
    if record.status == "FAILED" or not done:
        raise UserError(f"{name} {'failed' if done else 'ended before its first epoch'}: train it anew")
    if after.train.epochs <= done:
        raise UserError(
            f"{name} has been trained for {done} epochs, and train.epochs is {after.train.epochs}: say more,"
            f" such as train.epochs={2 * done}"
        )
    if after.schedule.name == "cosine" and after.train.epochs != before.train.epochs:
        raise UserError(
            f"schedule: cosine goes by the number of epochs, so {name}, which was to have"
            f" {before.train.epochs}, had other learning rates than a run of {after.train.epochs} has. Train"
            f" anew with train.epochs={after.train.epochs}, or with a schedule that can go on: constant,"
            " inverse_root, staircase"
        )
    if (patience := after.train.patience) is not None:
        losses = [epoch.val_loss for epoch in record.history]
        for epoch in range(1, done + 1):
            waited = epoch - 1 - losses.index(min(losses[:epoch]))
            if waited >= patience:
                raise UserError(
                    f"train.patience: with {patience}, training ends after epoch {epoch}, where the loss has"
                    f" not fallen for {waited} epochs, and {name} has {done}. Say a higher one, or"
                    " train.patience=null"
                )


def _refuse_other_code_or_rows(kept: Kept, config: Config) -> None:
    record = kept.record
    if record.environment.get("code") != provenance.code():
        differences = provenance.differences(record.environment, provenance.environment())
        lines = "".join(f"\n  {difference}" for difference in differences)
        raise UserError(
            f"{kept.name} was trained by another version, so what goes on from it would be neither's"
            f" result.{lines}\nGo back to that version, or train anew for {config.train.epochs} epochs"
        )
    training = open_training(config.data, config.split, dtype_of(config))
    assert record.data is not None  # it has an epoch
    refuse_changed(training.source, training.digests, Digests(**record.data.digests), kept.name)


def _start(kept: Kept, tolerance: float) -> Fit:
    """What the run came to, from the first place that has it whole, history and all."""
    problems = []
    experiment = prepare(kept.config)
    for copy in kept.copies:
        if STATE not in copy.record.files:
            problems.append(f"{copy.place} has no {STATE}, as runs that are older than `sweepgrad continue`")
        elif copy.damage:
            problems.append(f"{copy.place}: {copy.damage}")
        else:
            fit = _fit(copy)
            apart = _apart(experiment, fit, tolerance)
            if not apart:
                return fit
            problems.append(f"{copy.place}: its history was changed, for {apart}")
    raise UserError(f"{'; '.join(problems)}: train anew")


def _fit(copy: Copy) -> Fit:
    state = np.load(copy.path_of(STATE), allow_pickle=False)
    (member,) = Bundle.load(copy.folder / copy.model).members
    return Fit(copy.record.history, member.weights, copy.record.best_epoch, state)


def _apart(experiment: Experiment, fit: Fit, tolerance: float) -> str:
    """What a history says otherwise than the weights of its best and its last epoch, in words."""
    losses = [epoch.val_loss for epoch in fit.history]
    if fit.best_epoch != (best := 1 + losses.index(min(losses))):
        return f"its best epoch is {fit.best_epoch}, and its lowest validation loss is that of epoch {best}"
    last = experiment.network.divided(fit.state[0])
    for number, weights in ((fit.best_epoch, fit.weights), (len(losses), last)):
        kept = fit.history[number - 1].figures
        for (part, name), now in experiment.evaluated(weights).figures.items():
            said = kept.get((part, name))
            if said is None or not same(said, now, tolerance):
                return f"{part}_{name} after epoch {number} is {said!r}, and {now!r} with the weights of then"
    return ""
