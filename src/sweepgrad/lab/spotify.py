"""The Spotify model: chosen on validation rows, judged once on test rows; and what twins are worth.

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
from sweepgrad.lab.ask import EXPERIMENT
from sweepgrad.lab.finding import Claim, Finding, table
from sweepgrad.lab.questions import Lab
from sweepgrad.lab.workers import side_by_side
from sweepgrad.selection.card import Card
from sweepgrad.selection.evaluation import corrected_mean
from sweepgrad.selection.finalize import finalize
from sweepgrad.sweep.train import train
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
"""What parts rows at random: as experiment=assignment, with the features that grouped splits have."""
FIRST_SPLIT = 4000
RATIO = 0.2 / 0.6
"""Validation rows to training rows, of which the figures of two splits share some: see `corrected_mean`."""


class Settings(Section):
    """What `conf/experiment/lab/spotify.yaml` says."""

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    epochs: Annotated[int, Field(ge=1)]
    seeds: Annotated[int, Field(ge=1)]
    lr: Annotated[float, Field(gt=0)]
    split: Seed
    splits: Annotated[int, Field(ge=2)]

    @property
    def runs(self) -> str:
        """The override that has each configuration trained several times."""
        return f"seed={','.join(map(str, range(1, self.seeds + 1)))}"

    def overrides(self, *more: str) -> list[str]:
        """What follows `sweepgrad train -m`."""
        return [
            "data=spotify",
            "data.name=spotify_lab",  # under which the model is registered: apart from the user's own
            *more,
            "optimizer=adam",
            f"optimizer.lr={self.lr}",
            f"model={','.join(self.models)}",
            f"model.dropout={self.dropout}",
            f"train.epochs={self.epochs}",
        ]


def answer(settings: Settings, lab: Lab) -> Finding:
    """Two sweeps, their cards, and the worth of twins."""
    split = f"split.seed={settings.split}"
    apart, by_validation = judged(settings.overrides(*AT_RANDOM, settings.runs, split), lab)
    together, _ = judged(settings.overrides(settings.runs, split), lab)
    log.info(f"training on {settings.splits} splits, with the twins of validation rows and without …")
    worth = worths(settings)
    share, gain = (
        float(np.mean([share for share, _ in worth])),
        corrected_mean([gain for _, gain in worth], RATIO),
    )
    rows = [_row("at random", apart), _row("songs together", together)]
    header = [
        "rows are split",
        "chosen",
        "parameters",
        "test accuracy",
        "95 % interval",
        "logistic regression",
        "commoner answer",
    ]
    return Finding(
        claims=(
            Claim(
                f"Of {apart.n_candidates} runs of {apart.choice['compared']} architectures validation chose hidden layers {apart.model['hidden']}"
                f" ({apart.model['n_parameters']} parameters): right on {_interval(apart)} of {apart.test.n:,} test songs."
                f" The assignment's {GOAL:.0%} is {_against_the_goal(apart)}.",
                apart.test.interval[1] >= GOAL,
            ),
            _better_than_nothing("split at random", apart),
            _better_than_nothing("of a song kept together", together),
            Claim(
                f"Of the validation rows of a random split {share:.0%} have a twin among the training rows, equal in every"
                f" feature. On these its twins are worth {100 * gain.mean:.1f} points of accuracy"
                f" ({100 * gain.low:.1f} to {100 * gain.high:.1f}), so {100 * share * gain.mean:.1f} points on all of them.",
                gain.low > 0,
            ),
        ),
        numbers={
            "random/test_accuracy": apart.test.value,
            "together/test_accuracy": together.test.value,
            "twins/share": share,
            "twins/worth": gain.mean,
            "twins/worth_low": gain.low,
            "twins/worth_high": gain.high,
        },
        tables=(
            "Validation accuracy, rows split at random:\n\n" + _by_architecture(by_validation),
            "On test rows:\n\n" + table(header, rows),
            f"The card of the random split says: {apart.verdict}",
            f"The card with songs kept together says: {together.verdict}",
        ),
        pictures={"spotify": _picture(apart, together, [gain for _, gain in worth])},
    )


def judged(overrides: Sequence[str], lab: Lab) -> tuple[Card, dict[str, list[float]]]:
    """The card of a sweep, which is trained and judged unless it was before.

    And the validation accuracy of each of its runs, by the widths of its hidden layers.

    Raises:
        UserError: a run failed; the test rows were opened before for another model; or as `train`.
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
        raise UserError(f"{error}\nIn the lab it is split: sweepgrad lab spotify split=NUMBER") from None
    if done.card is None:
        raise UserError(f"{done.folder} has a card of another version of sweepgrad: move it away")
    return done.card, accuracies


def worth_of_twins(experiment: Experiment, key: int) -> tuple[float, float]:
    """What it does for a validation row to have its twins among the training rows: a crossover trial.

    The validation rows with twins are dealt into two halves by chance, and the network is trained twice, each
    time without the twins of one half. Each such row is predicted once with its twins and once without, by
    models that lack as much of the same kind: rows with twins are not like others, so a model that lacked all
    of theirs would differ in more than the leak.

    Arguments:
        key: the randomness, from `rng.key`.

    Returns:
        The share of validation rows that have a twin, a training row equal in every feature; and by how much
        the accuracy on these is higher with the twins than without.
    """
    train, val = experiment.train, experiment.val
    of_train, of_val = ([row.tobytes() for row in np.ascontiguousarray(X)] for X in (train.X, val.X))
    shared = sorted(set(of_train) & set(of_val))
    halves = dict(zip(shared, rng.permutation(key, len(shared)) % 2, strict=True))
    half_of_train, half_of_val = (
        np.array([halves.get(row, 2) for row in rows]) for rows in (of_train, of_val)
    )
    twins = half_of_val < 2
    right = []
    for half in range(2):
        kept = half_of_train != half
        *_, last = replace(experiment, train=Examples(train.X[kept], train.y[kept])).fits()
        log_odds = experiment.network.scaled_scores(last.weights, val.X)
        right.append(((log_odds >= 0) == (val.y == 1)).astype(np.float64))
    without, present = np.where(half_of_val == 0, *right), np.where(half_of_val == 0, *right[::-1])
    return float(twins.mean()), float((present - without)[twins].mean())


def worths(settings: Settings) -> list[tuple[float, float]]:
    """For each split what `worth_of_twins` gives, the mean over architectures and seeds."""
    numbers = f"split.seed=range({FIRST_SPLIT},{FIRST_SPLIT + settings.splits})"
    jobs = plan(settings.overrides(*AT_RANDOM, settings.runs, numbers), multirun=True).jobs

    def worth(job: PlannedJob) -> tuple[float, float]:
        return worth_of_twins(prepare(job.config), rng.key(job.config.split.seed, "lab/spotify"))

    found = np.array(side_by_side(worth, jobs))
    splits = np.array([job.config.split.seed for job in jobs])
    means = [found[splits == split].mean(axis=0) for split in np.unique(splits)]
    return [(float(share), float(gain)) for share, gain in means]


def _against_the_goal(card: Card) -> str:
    if card.test.value >= GOAL:
        return "reached"
    within = card.test.interval[1] >= GOAL
    return f"missed on this split, {'within' if within else 'and beyond'} its interval"


def _better_than_nothing(how: str, card: Card) -> Claim:
    majority, logistic = card.baselines["majority"].value, card.baselines["logistic"].value
    return Claim(
        f"With rows {how} that is more than always giving the commoner answer ({majority:.1%});"
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


def _picture(apart: Card, together: Card, gains: Sequence[float]) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    accuracy, worth = figure.subplots(1, 2)
    for place, card in enumerate((apart, together)):
        accuracy.plot(card.test.interval, [place, place], color=TEST, linewidth=2)
        for figures, marker, color, label in (
            (card.test, "o", TEST, "network, 95 % interval"),
            (card.baselines["logistic"], "s", VAL, "logistic regression"),
            (card.baselines["majority"], "D", GREY, "commoner answer"),
        ):
            accuracy.plot(figures.value, place, marker, color=color, label=None if place else label)
    accuracy.axvline(GOAL, color=GREY, linestyle=":", label="the assignment's goal")
    accuracy.set(yticks=[0, 1], yticklabels=["rows\nat random", "songs\ntogether"], ylim=(-0.6, 1.6))
    accuracy.set(xlabel="test accuracy", title="the chosen model")
    accuracy.xaxis.set_major_locator(MultipleLocator(0.02))
    accuracy.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    worth.bar(range(1, len(gains) + 1), [100 * gain for gain in gains], color=VAL)
    worth.axhline(0, color="black", linewidth=0.8)
    title = "rows with twins: accuracy with them less without"
    worth.set(xlabel="split", ylabel="points of accuracy", title=title)
    worth.xaxis.get_major_locator().set_params(integer=True)
    accuracy.grid(alpha=0.3, axis="x")
    worth.grid(alpha=0.3, axis="y")
    figure.legend(frameon=False, loc="outside lower left", ncols=4, fontsize="small")
    return figure
