"""Averages of a sweep's models as candidates beside the models themselves.

A run says log-odds of the validation rows of its fold. An ensemble averages these over its runs of the same
fold, so that fold after fold every row is spoken of by models that were not trained on it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from scipy.special import expit

from sweepgrad.autograd.value import Array
from sweepgrad.config.schema import Metric
from sweepgrad.selection.ranking import Entry, Estimate, fold_of
from sweepgrad.stats import metrics
from sweepgrad.stats.selection import Candidate, contributions
from sweepgrad.tracking.mapping import Logged


@dataclass(frozen=True, eq=False)
class Said:
    """Log-odds (N,) of a fold's validation rows, and their labels y (N,)."""

    y: Array
    log_odds: Array


def each(metric: Metric, seeds: Sequence[Sequence[Said]]) -> Array:
    """What each of S seeds contributes to a metric, (S, N): its rows fold after fold.

    Rows of a fold count such that the mean is that of the folds' metrics.
    """
    n = sum(said.y.size for said in seeds[0])
    return np.array(
        [
            np.concatenate(
                [
                    contributions(metric, said.y, said.log_odds) * (n / (len(seed) * said.y.size))
                    for said in seed
                ]
            )
            for seed in seeds
        ]
    )


def averaged(
    metric: Metric,
    of: Sequence[tuple[Entry, Sequence[Sequence[Said]]]],
    name: str,
    seeds: Sequence[Sequence[Logged]],
    members: Sequence[Candidate],
    flattered: float = 0.0,
) -> tuple[Entry, Candidate]:
    """All seeds of some configurations, averaged, as an entry and a candidate.

    With S seeds the candidate's contributions are the jackknife's: for each seed the ensemble without it, its
    deviation from the others stretched by S - 1 (Tukey's pseudo-values, centred on the whole ensemble), so
    that their mean is what the ensemble contributes and their spread says what other seeds would have
    changed. Of several configurations the first seeds are left out together, then the second.

    Arguments:
        of: configurations, each with what its seeds say, fold by fold.
        name: what is averaged, in words.
        seeds: the runs of all, fold by fold.
        members, flattered: see `Candidate`.
    """
    n_seeds = min(len(said) for _, said in of)
    blocks: list[list[Sequence[Said]]] = [[] for _ in range(n_seeds)]
    for _, said in of:
        for number, seed in enumerate(said):
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
        n_parameters=sum(entry.n_parameters * len(said) for entry, said in of),
        accuracy=_over_folds(metrics.accuracy(said.y, expit(said.log_odds)) for said in whole),
        nll=_over_folds(
            float(np.mean(np.logaddexp(0.0, (1 - 2 * said.y) * said.log_odds))) for said in whole
        ),
        roc_auc=_over_folds(metrics.roc_auc(said.y, said.log_odds) for said in whole),
        pairs=0,
        behind=None,
        ensemble=name,
    )
    return entry, Candidate(entry.n_parameters, found, flattered, tuple(members))


def _mean(seeds: Iterable[Sequence[Said]]) -> list[Said]:
    """The seeds' mean log-odds, fold by fold."""
    return [
        Said(of_fold[0].y, np.mean([said.log_odds for said in of_fold], axis=0))
        for of_fold in zip(*seeds, strict=True)
    ]


def _over_folds(values: Iterable[float]) -> Estimate:
    return Estimate(fmean(values), None)


def _by_fold(run: Logged) -> int:
    return -1 if fold_of(run) == "null" else int(fold_of(run))
