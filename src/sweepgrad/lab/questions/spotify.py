"""The Spotify model: selected on validation rows, evaluated once on test rows; and the effect of duplicates.

docs/lab/spotify.md explains it.
"""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, PercentFormatter
from pydantic import Field

from sweepgrad import rng
from sweepgrad.compose.plan import PlannedJob, plan
from sweepgrad.config.section import Section, Seed
from sweepgrad.errors import UserError
from sweepgrad.lab.environment import EXPERIMENT, Lab
from sweepgrad.lab.finding import Claim, Finding, table
from sweepgrad.lab.workers import side_by_side
from sweepgrad.selection.card import Card
from sweepgrad.selection.evaluation import corrected_mean
from sweepgrad.selection.finalize import finalize
from sweepgrad.sweeps.train import train
from sweepgrad.tracking.store import Store
from sweepgrad.training.experiment import Experiment, prepare
from sweepgrad.training.loop import Examples
from sweepgrad.training.plots import GREY, TEST, VAL

log = logging.getLogger(__name__)

RUNS = Path("runs")
GOAL = 0.7
"""The accuracy that the assignment asks for."""
AT_RANDOM = (
    "data.group=null",
    "data.drop=[popularity,album_name,key,time_signature,artists,track_name,track_id]",
)
"""Overrides for a split at random, as experiment=assignment, with the same features as the grouped split."""
FIRST_SPLIT = 4000
RATIO = 0.2 / 0.6
"""Validation rows divided by training rows, see `corrected_mean`."""


class Settings(Section):
    """The settings of `conf/experiment/lab/spotify.yaml`."""

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    epochs: Annotated[int, Field(ge=1)]
    seeds: Annotated[int, Field(ge=1)]
    lr: Annotated[float, Field(gt=0)]
    split: Seed
    splits: Annotated[int, Field(ge=2)]

    @property
    def runs(self) -> str:
        """The override that trains each configuration with several seeds."""
        return f"seed={','.join(map(str, range(1, self.seeds + 1)))}"

    def overrides(self, *more: str) -> list[str]:
        """Return the arguments of `sweepgrad train -m`."""
        return [
            "data=spotify",
            "data.name=spotify_lab",  # a registered model of its own, not the user's
            *more,
            "optimizer=adam",
            f"optimizer.lr={self.lr}",
            f"model={','.join(self.models)}",
            f"model.dropout={self.dropout}",
            f"train.epochs={self.epochs}",
        ]


def answer(settings: Settings, lab: Lab) -> Finding:
    """Train and evaluate two sweeps, and measure the effect of duplicates."""
    split = f"split.seed={settings.split}"
    random, by_validation = evaluated(settings.overrides(*AT_RANDOM, settings.runs, split), lab)
    grouped, _ = evaluated(settings.overrides(settings.runs, split), lab)
    log.info(f"training on {settings.splits} splits, with the duplicates of validation rows and without …")
    effects = duplicate_effects(settings)
    share, gain = (
        float(np.mean([share for share, _ in effects])),
        corrected_mean([gain for _, gain in effects], RATIO),
    )
    rows = [_row("at random", random), _row("by song", grouped)]
    header = [
        "rows are split",
        "chosen",
        "parameters",
        "test accuracy",
        "95 % interval",
        "logistic regression",
        "majority class",
    ]
    return Finding(
        claims=(
            Claim(
                f"Validation selects hidden layers {random.model['hidden']} ({random.model['n_parameters']} parameters) from"
                f" {random.n_candidates} runs of {random.choice['compared']} architectures. Its test accuracy is {_interval(random)}"
                f" on {random.test.n:,} songs. The assignment's goal of {GOAL:.0%} is {_against_the_goal(random)}.",
                random.test.interval[1] >= GOAL,
            ),
            _better_than_majority("split at random", random),
            _better_than_majority("split by song", grouped),
            Claim(
                f"Of the validation rows of a random split, {share:.0%} have a duplicate in the training set, equal in every"
                f" feature. On these rows duplicates raise the accuracy by {100 * gain.mean:.1f} points"
                f" ({100 * gain.low:.1f} to {100 * gain.high:.1f}), on all validation rows by {100 * share * gain.mean:.1f} points.",
                gain.low > 0,
            ),
        ),
        numbers={
            "random/test_accuracy": random.test.value,
            "grouped/test_accuracy": grouped.test.value,
            "duplicates/share": share,
            "duplicates/gain": gain.mean,
            "duplicates/gain_low": gain.low,
            "duplicates/gain_high": gain.high,
        },
        tables=(
            "Validation accuracy, rows split at random:\n\n" + _by_architecture(by_validation),
            "On test rows:\n\n" + table(header, rows),
            f"Verdict of the card, rows split at random: {random.verdict}",
            f"Verdict of the card, rows split by song: {grouped.verdict}",
        ),
        pictures={"spotify": _picture(random, grouped, [gain for _, gain in effects])},
    )


def evaluated(overrides: Sequence[str], lab: Lab) -> tuple[Card, dict[str, list[float]]]:
    """Train and finalize a sweep, unless that was done before.

    Returns:
        Its card, and the validation accuracy of each of its runs by the widths of the hidden layers.

    Raises:
        UserError: a run failed; the test set was evaluated before for another model; or as `train`.
    """
    log.info(f"sweepgrad train -m {shlex.join(overrides)} …")
    own = (f'tracking.uri="{lab.uri}"', f"tracking.experiment={EXPERIMENT}")
    launched = train([*overrides, *own], multirun=True, quiet=True)
    if launched.status == "KILLED":
        raise KeyboardInterrupt
    if launched.status == "FAILED" or launched.unsent:
        raise UserError("a run of the sweep failed; its folder has the error")
    store, sweep = Store(lab.uri, EXPERIMENT), launched.sweep
    accuracies: dict[str, list[float]] = {}
    for run in store.children(store.sweep(sweep)):
        accuracies.setdefault(run.params["model.hidden"], []).append(run.metrics["best/val/accuracy"])
    try:
        done = finalize(store, sweep, RUNS)
    except UserError as error:
        raise UserError(f"{error}\nIn the lab the key is split: sweepgrad lab spotify split=NUMBER") from None
    if done.card is None:
        raise UserError(f"{done.folder} has a card of another version of sweepgrad: move it elsewhere")
    return done.card, accuracies


def duplicate_effect(experiment: Experiment, key: int) -> tuple[float, float]:
    """Measure how much duplicates in the training set raise the validation accuracy, in a crossover trial.

    The validation rows with duplicates are divided into two random halves, and the network is trained twice,
    each time without the duplicates of one half. So each such row is predicted once with its duplicates and once
    without, by models that lack equally many rows of the same kind. Removing all duplicates would not do: songs
    with duplicates differ from others, so that model would differ in more than the leak.

    Arguments:
        key: random key, from `rng.key`.

    Returns:
        The share of validation rows that have a duplicate, a training row equal in every feature; and the
        difference of the accuracy on these rows with and without their duplicates.
    """
    train, val = experiment.train, experiment.val
    of_train, of_val = ([row.tobytes() for row in np.ascontiguousarray(X)] for X in (train.X, val.X))
    shared = sorted(set(of_train) & set(of_val))
    halves = dict(zip(shared, rng.permutation(key, len(shared)) % 2, strict=True))
    half_of_train, half_of_val = (
        np.array([halves.get(row, 2) for row in rows]) for rows in (of_train, of_val)
    )
    duplicated = half_of_val < 2
    correct = []
    for half in range(2):
        kept = half_of_train != half
        *_, last = replace(experiment, train=Examples(train.X[kept], train.y[kept])).fits()
        log_odds = experiment.network.scaled_scores(last.weights, val.X)
        correct.append(((log_odds >= 0) == (val.y == 1)).astype(np.float64))
    without, present = np.where(half_of_val == 0, *correct), np.where(half_of_val == 0, *correct[::-1])
    return float(duplicated.mean()), float((present - without)[duplicated].mean())


def duplicate_effects(settings: Settings) -> list[tuple[float, float]]:
    """Return the result of `duplicate_effect` for each split, the mean over architectures and seeds."""
    numbers = f"split.seed=range({FIRST_SPLIT},{FIRST_SPLIT + settings.splits})"
    jobs = plan(settings.overrides(*AT_RANDOM, settings.runs, numbers), multirun=True).jobs

    def effect(job: PlannedJob) -> tuple[float, float]:
        return duplicate_effect(prepare(job.config), rng.key(job.config.split.seed, "lab/spotify"))

    found = np.array(side_by_side(effect, jobs))
    splits = np.array([job.config.split.seed for job in jobs])
    means = [found[splits == split].mean(axis=0) for split in np.unique(splits)]
    return [(float(share), float(gain)) for share, gain in means]


def _against_the_goal(card: Card) -> str:
    if card.test.value >= GOAL:
        return "reached"
    within = card.test.interval[1] >= GOAL
    return f"missed on this split, {'within' if within else 'and outside'} the interval"


def _better_than_majority(how: str, card: Card) -> Claim:
    majority, logistic = card.baselines["majority"].value, card.baselines["logistic"].value
    return Claim(
        f"With rows {how}, the test accuracy of {card.test.value:.1%} is higher than that of the majority class ({majority:.1%});"
        f" logistic regression has {logistic:.1%} (p = {card.p_values['logistic']:.2g} for no difference).",
        card.test.interval[0] > majority,
    )


def _by_architecture(accuracies: dict[str, list[float]]) -> str:
    rows = [
        [hidden, f"{np.mean(found):.1%}", ", ".join(f"{accuracy:.1%}" for accuracy in found)]
        for hidden, found in sorted(accuracies.items(), key=lambda item: -float(np.mean(item[1])))
    ]
    return table(["hidden layers", "mean over seeds", "each seed"], rows)


def _row(how: str, card: Card) -> list[str]:
    low, high = card.test.interval
    return [
        how,
        str(card.model["hidden"]),
        str(card.model["n_parameters"]),
        f"{card.test.value:.1%}",
        f"{low:.1%} to {high:.1%}",
        f"{card.baselines['logistic'].value:.1%}",
        f"{card.baselines['majority'].value:.1%}",
    ]


def _interval(card: Card) -> str:
    low, high = card.test.interval
    return f"{card.test.value:.1%} ({low:.1%} to {high:.1%})"


def _picture(random: Card, grouped: Card, gains: Sequence[float]) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    accuracy, effect = figure.subplots(1, 2)
    for place, card in enumerate((random, grouped)):
        accuracy.plot(card.test.interval, [place, place], color=TEST, linewidth=2)
        for figures, marker, color, label in (
            (card.test, "o", TEST, "network, 95 % interval"),
            (card.baselines["logistic"], "s", VAL, "logistic regression"),
            (card.baselines["majority"], "D", GREY, "majority class"),
        ):
            accuracy.plot(figures.value, place, marker, color=color, label=None if place else label)
    accuracy.axvline(GOAL, color=GREY, linestyle=":", label="the assignment's goal")
    accuracy.set(yticks=[0, 1], yticklabels=["split\nat random", "split\nby song"], ylim=(-0.6, 1.6))
    accuracy.set(xlabel="test accuracy", title="the chosen model")
    accuracy.xaxis.set_major_locator(MultipleLocator(0.02))
    accuracy.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    effect.bar(range(1, len(gains) + 1), [100 * gain for gain in gains], color=VAL)
    effect.axhline(0, color="black", linewidth=0.8)
    title = "rows with duplicates: gain in accuracy"
    effect.set(xlabel="split", ylabel="points of accuracy", title=title)
    effect.xaxis.get_major_locator().set_params(integer=True)
    accuracy.grid(alpha=0.3, axis="x")
    effect.grid(alpha=0.3, axis="y")
    figure.legend(frameon=False, loc="outside lower left", ncols=4, fontsize="small")
    return figure
