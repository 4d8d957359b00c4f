"""Ensembles of a sweep's models, as further candidates.

A run has scores for the validation rows of its fold. An ensemble averages the scores of its runs on the same
fold, so every row is scored by models that were not trained on it.
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
    """Scaled scores (N,) and targets y (N,) of a fold's validation rows."""

    y: Array
    scores: Array


def each(metric: Metric, seeds: Sequence[Sequence[FoldScores]]) -> Array:
    """Return the contributions of each row to a metric for each of S seeds, (S, N), fold after fold.

    Rows are weighted such that the mean over N is the mean of the folds' metrics.
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
    configurations: Sequence[tuple[Entry, Sequence[Sequence[FoldScores]]]],
    name: str,
    seeds: Sequence[Sequence[Logged]],
    members: Sequence[Candidate],
    optimism: float = 0.0,
) -> tuple[Entry, Candidate]:
    """Return the average of all seeds of some configurations, as an entry and a candidate.

    With S seeds, the candidate's contributions are jackknife pseudo-values (Tukey), one for each seed: the
    deviation of the ensemble without that seed, multiplied by S - 1 and centred on the whole ensemble. Their
    mean is the contribution of the ensemble, and their spread estimates the variance between seeds. With
    several configurations, the first seeds of all are left out together, then the second, and so on.

    Arguments:
        configurations: each with the scores of its seeds, fold by fold.
        name: a short description of the ensemble.
        seeds: the runs of all configurations, fold by fold.
        members, optimism: see `Candidate`.
    """
    n_seeds = min(len(scored) for _, scored in configurations)
    blocks: list[list[Sequence[FoldScores]]] = [[] for _ in range(n_seeds)]
    for _, scored in configurations:
        for number, seed in enumerate(scored):
            blocks[number % n_seeds].append(seed)
    whole = _mean(seed for block in blocks for seed in block)
    found = each(metric, [whole])
    if n_seeds > 1:
        without = each(
            metric,
            [_mean(seed for other in blocks if other is not block for seed in other) for block in blocks],
        )
        found = found + (n_seeds - 1) * (without.mean(axis=0) - without)
    first = configurations[0][0]
    entry = replace(
        first,
        settings=first.settings if len(configurations) == 1 else dict.fromkeys(first.settings, ""),
        runs=tuple(sorted((run for seed in seeds for run in seed), key=_by_fold)),
        unfinished=0,
        n_parameters=sum(entry.n_parameters * len(scored) for entry, scored in configurations),
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
    """Return the mean scores over seeds, fold by fold."""
    return [
        FoldScores(fold[0].y, np.mean([seed.scores for seed in fold], axis=0))
        for fold in zip(*seeds, strict=True)
    ]


def _by_fold(run: Logged) -> int:
    return -1 if fold_of(run) == "null" else int(fold_of(run))
