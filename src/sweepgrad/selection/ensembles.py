"""Averages of a sweep's models as candidates beside the models themselves.

A run has scores of the validation rows of its fold. An ensemble averages these over its runs of the same
fold, so that fold after fold every row is scored by models that were not trained on it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from sweepgrad.autograd.value import Array
from sweepgrad.selection.ranking import Entry, Estimate, fold_of
from sweepgrad.stats.metrics import METRICS, Metric
from sweepgrad.stats.selection import Candidate
from sweepgrad.tracking.mapping import Logged


@dataclass(frozen=True, eq=False)
class FoldScores:
    """Scaled scores (N,) of a fold's validation rows, and their targets y (N,)."""

    y: Array
    scores: Array


def each(metric: Metric, seeds: Sequence[Sequence[FoldScores]]) -> Array:
    """Return what each of S seeds contributes to a metric, (S, N): its rows fold after fold.

    Rows of a fold count such that the mean is that of the folds' metrics.
    """
    n = sum(fold.y.size for fold in seeds[0])
    return np.array(
        [
            np.concatenate(
                [metric.contributions(fold.y, fold.scores) * (n / (len(seed) * fold.y.size)) for fold in seed]
            )
            for seed in seeds
        ]
    )


def averaged(
    metric: Metric,
    of: Sequence[tuple[Entry, Sequence[Sequence[FoldScores]]]],
    name: str,
    seeds: Sequence[Sequence[Logged]],
    members: Sequence[Candidate],
    optimism: float = 0.0,
) -> tuple[Entry, Candidate]:
    """All seeds of some configurations, averaged, as an entry and a candidate.

    With S seeds the candidate's contributions are the jackknife's: for each seed the ensemble without it, its
    deviation from the others stretched by S - 1 (Tukey's pseudo-values, centred on the whole ensemble), so
    that their mean is what the ensemble contributes and their spread says what other seeds would have
    changed. Of several configurations the first seeds are left out together, then the second.

    Arguments:
        of: configurations, each with the scores of its seeds, fold by fold.
        name: what is averaged, in words.
        seeds: the runs of all, fold by fold.
        members, optimism: see `Candidate`.
    """
    n_seeds = min(len(seeds_of) for _, seeds_of in of)
    blocks: list[list[Sequence[FoldScores]]] = [[] for _ in range(n_seeds)]
    for _, seeds_of in of:
        for number, seed in enumerate(seeds_of):
            blocks[number % n_seeds].append(seed)
    whole = _mean(seed for block in blocks for seed in block)
    found = each(metric, [whole])
    if n_seeds > 1:
        without = each(
            metric,
            [_mean(seed for other in blocks if other is not block for seed in other) for block in blocks],
        )
        found = found + (n_seeds - 1) * (without.mean(axis=0) - without)
    first = of[0][0]
    entry = replace(
        first,
        settings=first.settings if len(of) == 1 else dict.fromkeys(first.settings, ""),
        runs=tuple(sorted((run for seed in seeds for run in seed), key=_by_fold)),
        unfinished=0,
        n_parameters=sum(entry.n_parameters * len(seeds_of) for entry, seeds_of in of),
        metrics={
            name: Estimate(fmean(METRICS[name].value(fold.y, fold.scores, 0.5) for fold in whole), None)
            for name in first.metrics
        },
        pairs=0,
        behind=None,
        ensemble=name,
    )
    return entry, Candidate(entry.n_parameters, found, optimism, tuple(members))


def _mean(seeds: Iterable[Sequence[FoldScores]]) -> list[FoldScores]:
    """Return the seeds' mean scores, fold by fold."""
    return [
        FoldScores(of_fold[0].y, np.mean([seed.scores for seed in of_fold], axis=0))
        for of_fold in zip(*seeds, strict=True)
    ]


def _by_fold(run: Logged) -> int:
    return -1 if fold_of(run) == "null" else int(fold_of(run))
