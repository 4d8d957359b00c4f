"""Successive halving: all jobs pause after some epochs, and only the best continue.

Jamieson & Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.
Each decision waits for all jobs that it concerns, so it does not depend on which of them is faster.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from sweepgrad.config.identity import candidate
from sweepgrad.config.schema import Halving
from sweepgrad.stats.metrics import METRICS

if TYPE_CHECKING:
    from sweepgrad.sweeps.job import Job, Trial


class Rungs:
    """The epochs at which jobs pause, and the choice of those that continue.

    Runs that differ only in seed or fold are one candidate: their mean is compared, and they stop together.
    In a sweep over several splits, candidates are compared within each split.

    Arguments:
        halving: None lets every job train to its end.
        metric: the validation metric that is compared, at the best epoch so far.
    """

    def __init__(self, halving: Halving | None, metric: str, jobs: Sequence["Job"]) -> None:
        self._halving, self._metric = halving, METRICS[metric]
        self._sizes = Counter(candidate(job.config) for job in jobs)
        self.epochs: list[int | None] = []  # None is the end of training
        if halving is not None:
            epoch, last = halving.first, max((job.config.train.epochs for job in jobs), default=0)
            while epoch < last:
                self.epochs.append(epoch)
                epoch *= halving.factor
        self.epochs.append(None)

    def chosen(self, trials: Sequence["Trial"]) -> list["Trial"]:
        """Return the trials that continue: those of the best 1 / `factor` of the candidates, rounded up.

        Arguments:
            trials: all paused ones, and those that early stopping has ended, which count as they are.
        """
        if self._halving is None:
            return list(trials)
        candidates: dict[str, list[Trial]] = defaultdict(list)
        for trial in trials:
            candidates[candidate(trial.job.config)].append(trial)
        scores = {
            key: fmean(self._metric.sign * trial.summary[self._metric.key] for trial in replicates)
            for key, replicates in candidates.items()
        }
        # A candidate with failed seeds ranks last: the mean of its remaining seeds is optimistically biased.
        ranked = sorted(candidates, key=lambda key: (len(candidates[key]) < self._sizes[key], -scores[key]))
        by_split: dict[tuple[int, int | None], list[str]] = defaultdict(list)
        for key in ranked:
            split = candidates[key][0].job.config.split
            by_split[split.seed, split.outer_fold].append(key)
        factor = self._halving.factor
        keep = {key for keys in by_split.values() for key in keys[: -(-len(keys) // factor)]}
        return [trial for trial in trials if candidate(trial.job.config) in keep]
