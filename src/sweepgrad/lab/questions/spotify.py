"""The Spotify model: selected on validation rows, evaluated once on test rows; and what chance and duplicates do.

docs/lab/spotify.md explains it.
"""

import logging
import shlex
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from sweepgrad.compose.plan import PlannedJob, plan
from sweepgrad.config.section import Section, Seed
from sweepgrad.errors import UserError
from sweepgrad.lab.environment import EXPERIMENT, Lab
from sweepgrad.lab.finding import Claim, Finding
from sweepgrad.lab.songs import pictures, tables
from sweepgrad.lab.songs.duplicates import duplicate_effects
from sweepgrad.lab.songs.splits import RATIO, SplitResult, lead_over_logistic, split_results
from sweepgrad.selection.card import Card
from sweepgrad.selection.evaluation import Mean, corrected_mean
from sweepgrad.selection.finalize import finalize
from sweepgrad.sweeps.train import train
from sweepgrad.tracking.store import Store

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
SIGNIFICANT = 0.05
PRECISION = 0.02
"""Half the width of a 95 % interval must be below this for 'not significant' to be a claim, not a lack of data."""
PUBLISHED = 0.703
"""Test accuracy of experiment=assignment, on the random split with seed 0 (docs/figures.md)."""
ASSIGNMENT = {"models": ("wide", "middle", "deep"), "dropout": 0.5, "epochs": 50, "seeds": 3, "lr": 0.005}
"""The settings of that experiment."""


class Settings(Section):
    """The settings of `conf/experiment/lab/spotify.yaml`."""

    models: Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    epochs: Annotated[int, Field(ge=1, le=1_000)]
    seeds: Annotated[int, Field(ge=1, le=50)]
    lr: Annotated[float, Field(gt=0)]
    split: Seed
    splits: Annotated[int, Field(ge=2, le=200)]

    @property
    def published(self) -> float | None:
        """The test accuracy with the same settings on the random split with seed 0; None if it is not known."""
        same = all(getattr(self, key) == value for key, value in ASSIGNMENT.items())
        return PUBLISHED if same else None

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
    """Train and evaluate two sweeps, and measure on other splits what chance and duplicates do."""
    kinds = {"at random": AT_RANDOM, "by song": ()}
    own = f"split.seed={settings.split}"
    swept = {
        how: evaluated(settings.overrides(*more, settings.runs, own), lab) for how, more in kinds.items()
    }
    cards = {how: card for how, (card, _) in swept.items()}
    random, by_song = cards.values()
    log.info(f"training on {settings.splits} other splits of each kind …")
    results = {how: split_results(jobs_of(settings, *more)) for how, more in kinds.items()}
    log.info("training without the duplicates of validation rows …")
    effects = duplicate_effects(jobs_of(settings, *AT_RANDOM))
    gain = corrected_mean([gain for _, gain in effects], RATIO)
    share = float(np.mean([share for share, _ in effects]))
    accuracy = corrected_mean([result.accuracy for result in results["at random"]], RATIO)
    tested = (
        _better_than_majority(cards),
        _goal(results["at random"], accuracy),
        _chance(settings, random, accuracy),
        _fewer_layers(settings, results["at random"]),
        _no_advantage(results["by song"]),
        _better_ranking(results["by song"]),
        Claim(
            "duplicates",
            "In a random split, a duplicate in the training set, equal in every feature, raises the accuracy on the"
            " validation rows that have one.",
            f"{tables.points(gain)}; {share:.0%} of the validation rows have one, so"
            f" {100 * share * gain.mean:+.1f} points on all",
            gain.low > 0,
        ),
    )
    return Finding(
        claims=tuple(claim for claim in tested if isinstance(claim, Claim)),
        numbers={
            "random/test_accuracy": random.test.value,
            "grouped/test_accuracy": by_song.test.value,
            "splits/accuracy": accuracy.mean,
            "splits/sd": accuracy.sd,
            "duplicates/share": share,
            "duplicates/gain": gain.mean,
            "duplicates/gain_low": gain.low,
            "duplicates/gain_high": gain.high,
        },
        tables=(
            "The chosen model, on test rows:\n\n" + tables.on_test_rows(cards),
            "The evaluated random split; accuracy on its validation rows:\n\n"
            + tables.by_architecture(swept["at random"][1]),
            f"{settings.splits} other splits of each kind; accuracy on validation rows that chose neither epoch nor"
            " model, mean ± standard deviation between splits, in points:\n\n" + tables.over_splits(results),
            tables.leads({how: lead_over_logistic(each) for how, each in results.items()}),
            *(f"Verdict of the card, rows split {how}: {card.verdict}" for how, card in cards.items()),
        ),
        notes=tuple(note for note in tested if isinstance(note, str)),
        pictures={
            "spotify": pictures.test_accuracy(cards, GOAL),
            "spotify_splits": pictures.between_splits(
                [result.accuracy for result in results["at random"]], random.test, settings.published, GOAL
            ),
            "spotify_duplicates": pictures.duplicate_gains([gain for _, gain in effects], gain),
        },
    )


def jobs_of(settings: Settings, *more: str) -> Sequence[PlannedJob]:
    """Return the runs of all splits on which chance and duplicates are measured; no test set is read."""
    numbers = f"split.seed=range({FIRST_SPLIT},{FIRST_SPLIT + settings.splits})"
    return plan(settings.overrides(*more, settings.runs, numbers), multirun=True).jobs


def usual_difference(accuracy: Mean) -> float:
    """Return the difference that the accuracies on two random splits exceed in about 5 % of cases.

    The difference of two independent numbers with standard deviation sd has √2 sd; 1.96 is the normal quantile.
    """
    return 1.96 * sqrt(2) * accuracy.sd


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


def _better_than_majority(cards: dict[str, Card]) -> Claim:
    parts = [
        f"split {how}: {_interval(card)} against {card.baselines['majority'].value:.1%}"
        for how, card in cards.items()
    ]
    return Claim(
        "better than the majority class",
        "On the test rows of both splits, the chosen model is more accurate than always predicting the majority"
        " class (McNemar's test, 5 %).",
        "; ".join(parts),
        all(
            card.test.value > card.baselines["majority"].value and card.p_values["majority"] < SIGNIFICANT
            for card in cards.values()
        ),
    )


def _goal(results: Sequence[SplitResult], accuracy: Mean) -> Claim | str:
    if _imprecise(accuracy):
        return f"Whether the accuracy is below {GOAL:.0%} is not tested: {_too_wide(accuracy)}"
    reached = sum(result.accuracy >= GOAL for result in results)
    return Claim(
        "not significantly below the goal",
        "On validation rows that chose neither epoch nor model, the accuracy of this procedure, averaged over random"
        f" splits, is not significantly below {GOAL:.0%}, the assignment's goal (95 % interval, narrower than"
        f" ± {100 * PRECISION:g} points).",
        f"{accuracy.mean:.1%} ({accuracy.low:.1%} to {accuracy.high:.1%}); standard deviation between splits"
        f" {100 * accuracy.sd:.1f} points; at least {GOAL:.0%} on {reached} of {len(results)} splits",
        accuracy.high >= GOAL,
    )


def _chance(settings: Settings, card: Card, accuracy: Mean) -> Claim | str:
    if settings.published is None:
        return (
            "Chance of the split is not tested: the accuracy on the split with seed 0 is of other settings."
        )
    difference, usual = abs(card.test.value - settings.published), usual_difference(accuracy)
    return Claim(
        "chance of the split",
        f"The test accuracies on the random splits with seeds {settings.split} and 0 differ by no more than those of"
        " two splits usually do: 1.96 · √2 standard deviations between splits.",
        f"{card.test.value:.1%} and {settings.published:.1%}: {100 * difference:.1f} points, where two splits differ by"
        f" up to {100 * usual:.1f}",
        difference <= usual,
    )


def _fewer_layers(settings: Settings, results: Sequence[SplitResult]) -> Claim | str:
    by_depth = sorted(results[0].by_model, key=len)
    if len({len(hidden) for hidden in by_depth}) < max(2, len(by_depth)):
        return "Whether fewer layers are better is not tested: it takes models of different depths."
    gaps = [
        corrected_mean([result.by_model[fewer] - result.by_model[more] for result in results], RATIO)
        for fewer, more in pairwise(by_depth)
    ]
    parts = [
        f"{list(fewer)} before {list(more)} by {tables.points(gap)}"
        for (fewer, more), gap in zip(pairwise(by_depth), gaps, strict=True)
    ]
    text = (
        f"With dropout {settings.dropout:g}, of two of these architectures the one with fewer hidden layers has the"
        " higher accuracy on validation rows, averaged over splits and seeds."
    )
    return Claim("fewer layers", text, "; ".join(parts), all(gap.low > 0 for gap in gaps))


def _no_advantage(results: Sequence[SplitResult]) -> Claim | str:
    lead = lead_over_logistic(results)
    if _imprecise(lead):
        return f"Whether the model is more accurate than logistic regression is not tested: {_too_wide(lead)}"
    return Claim(
        "not significantly more accurate than logistic regression",
        "With the rows of a song kept in one set, the chosen model is not significantly more accurate than logistic"
        f" regression, averaged over splits (95 % interval, narrower than ± {100 * PRECISION:g} points).",
        tables.points(lead),
        lead.low <= 0,
    )


def _better_ranking(results: Sequence[SplitResult]) -> Claim:
    area, logistic = (
        float(np.mean(found))
        for found in ([r.roc_auc for r in results], [r.logistic_roc_auc for r in results])
    )
    lead = corrected_mean([result.roc_auc - result.logistic_roc_auc for result in results], RATIO)
    return Claim(
        "ranks better than logistic regression",
        "With the rows of a song kept in one set, the chosen model ranks songs better than logistic regression: its"
        " area under the ROC curve, averaged over splits, is larger.",
        f"{area:.3f} and {logistic:.3f}: {lead.mean:+.3f} ({lead.low:+.3f} to {lead.high:+.3f})",
        lead.low > 0,
    )


def _interval(card: Card) -> str:
    low, high = card.test.interval
    return f"{card.test.value:.1%} ({low:.1%} to {high:.1%})"


def _imprecise(mean: Mean) -> bool:
    return mean.high - mean.low >= 2 * PRECISION


def _too_wide(mean: Mean) -> str:
    half = 100 * (mean.high - mean.low) / 2
    return f"with so few splits its 95 % interval is ± {half:.1f} points, not below ± {100 * PRECISION:g}."
