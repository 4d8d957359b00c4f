"""The evaluation of a whole procedure on several splits: mean test metrics with confidence intervals."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from pydantic import TypeAdapter
from scipy.special import stdtrit

from sweepgrad.config import old_names
from sweepgrad.config.split import Split
from sweepgrad.selection.card import WrittenScores
from sweepgrad.stats.metrics import METRICS, Metric


@dataclass(frozen=True)
class SplitResult:
    """The model that the procedure chose on one split, and its scores on the test set of that split.

    Attributes:
        split: its name, such as "split.seed=1000".
        run_id: the run of the chosen model; for an ensemble, the runs of its members, separated by spaces.
        digest: SHA-256 of the indices of the test rows.
        settings: the settings in which the chosen configuration differs from the others.
        compared: the number of candidates.
        tied: the number of other candidates that are not significantly different from the best.
        mean: of the selection metric over the seeds and folds of the chosen configuration.
        test_mean: the mean of the same models' metric on the test set.
        optimism: the bias of the best mean, because it was selected as the best, by the bootstrap.
        n_learned: the number of training and validation rows.
        validation, test: scores of the chosen model.
        baselines: scores on the same test set, by name.
        evaluated: when this test set was evaluated, and by whom.
        earlier_evaluations: the same for each earlier evaluation.
        interrupted_evaluations: the same for earlier evaluations of this model whose results were lost;
            empty in older files.
    """

    split: str
    run_id: str
    digest: str
    settings: dict[str, str]
    compared: int
    tied: int
    mean: float
    test_mean: float
    optimism: float
    n_learned: int
    n_test_units: int
    validation: WrittenScores
    test: WrittenScores
    baselines: dict[str, WrittenScores]
    evaluated: str
    earlier_evaluations: tuple[str, ...]
    interrupted_evaluations: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the entry of this split in `splits.json`."""
        return _RESULT.dump_python(self)  # type: ignore[no-any-return]

    @staticmethod
    def from_json(values: dict[str, Any]) -> "SplitResult":
        """Return the result that `to_json` wrote, in this version or an older one.

        Raises:
            KeyError, TypeError, ValueError: an unknown version wrote it.
        """
        try:
            return _RESULT.validate_python(old_names.result(values))
        except (AttributeError, ArithmeticError) as error:
            raise TypeError(str(error)) from None


_RESULT = TypeAdapter(SplitResult)


def complete_outer_folds(splits: Sequence[Split]) -> int | None:
    """Return the number of outer folds if every seed has all of them; else None."""
    outer: dict[int, set[int | None]] = {}
    for split in splits:
        outer.setdefault(split.seed, set()).add(split.outer_fold)
    n = splits[0].outer_folds
    return n if all(found == set(range(n)) for found in outer.values()) else None


@dataclass(frozen=True)
class Mean:
    """A mean over splits, with the standard deviation between splits and a 95 % confidence interval."""

    mean: float
    sd: float
    low: float
    high: float


def corrected_mean(values: Sequence[float], ratio: float) -> Mean:
    """Return the mean over J splits with the interval of the corrected resampled t-test.

    Splits of one table share rows, so their scores are correlated, and s² / J underestimates the variance of
    the mean. Nadeau & Bengio (Machine Learning 52, 2003) use

        (1 / J + ratio) s²,

    with Student's t of J - 1 degrees of freedom: the correlation between two splits is approximated by the
    share of test rows. The same correction is used for cross-validation, repeated or not (Bouckaert & Frank,
    PAKDD 2004). It is a heuristic: no unbiased estimator exists (Bengio & Grandvalet, JMLR 5, 2004), and the
    coverage of uncorrected intervals is far too low (Bates, Hastie & Tibshirani, JASA 2023).

    Arguments:
        values: one for each split, at least two.
        ratio: the number of test rows over the number of all other rows: training rows fit the model, and
            validation rows choose it.

    Raises:
        ValueError: there are fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError("at least two splits are needed to estimate the variance between splits")
    mean, sd = fmean(values), stdev(values)
    half = float(stdtrit(n - 1, 0.975)) * sd * sqrt(1 / n + ratio)
    return Mean(mean, sd, mean - half, mean + half)


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a procedure.

    Attributes:
        what: the target and its positive value, and the name of the table.
        grouped: whether all rows of a group are in the same set.
        outer_folds: the number of outer folds, if the splits are outer folds that test each row once; else
            None.
        earlier_of_table: the number of earlier evaluations of test rows of this table, with any split.
        task: the name of the task.
    """

    sweep: str
    what: str
    metric: str
    rule: str
    grouped: bool
    outer_folds: int | None
    earlier_of_table: int
    splits: tuple[SplitResult, ...]
    task: str = "binary"

    @property
    def keys(self) -> list[str]:
        """The keys in which chosen configurations differ; an ensemble may lack some of them."""
        return list(dict.fromkeys(key for split in self.splits for key in split.settings))

    @property
    def main(self) -> Metric:
        """The default metric of the task."""
        return METRICS[self.splits[0].test.main]

    def test(self, metric: str) -> Mean:
        """Return the mean of a metric of the chosen models on their test sets."""
        return self._mean([split.test.metrics[metric] for split in self.splits])

    def ahead_of(self, baseline: str) -> Mean:
        """Return by how much the procedure is better than a baseline on the same test sets."""
        sign = self.main.sign
        return self._mean([sign * (s.test.value - s.baselines[baseline].value) for s in self.splits])

    @property
    def gap(self) -> Mean:
        """The validation mean that the choice is based on, less the test mean of the same models."""
        return self._mean([METRICS[self.metric].sign * (s.mean - s.test_mean) for s in self.splits])

    @property
    def own_gap(self) -> Mean:
        """The same difference for the chosen model alone, which is also the best of its seeds."""
        sign, name = METRICS[self.metric].sign, self.metric
        return self._mean([sign * (s.validation.metrics[name] - s.test.metrics[name]) for s in self.splits])

    @property
    def optimism(self) -> float:
        """The mean optimism by the bootstrap: the expected `gap`."""
        return fmean(split.optimism for split in self.splits)

    @property
    def chosen(self) -> list[tuple[dict[str, str], int]]:
        """The chosen configurations with their number of splits, the most frequent first."""
        counts = Counter(tuple(split.settings.items()) for split in self.splits)
        return [(dict(settings), n) for settings, n in counts.most_common()]

    @property
    def figures(self) -> dict[str, float]:
        """The metrics of the whole evaluation by name, for MLflow."""
        means = {f"test_{metric}": self.test(metric) for metric in self.splits[0].test.metrics}
        means |= {f"ahead_of_{name}": self.ahead_of(name) for name in self.splits[0].baselines}
        means |= {f"{self.metric}_gap": self.gap}
        found = {f"{name}_{part}": value for name, m in means.items() for part, value in asdict(m).items()}
        return {**found, f"{self.metric}_optimism": self.optimism, "splits": float(len(self.splits))}

    def to_json(self) -> dict[str, Any]:
        return {
            "sweep": self.sweep,
            "what": self.what,
            "metric": self.metric,
            "rule": self.rule,
            "grouped": self.grouped,
            "outer_folds": self.outer_folds,
            "earlier_of_table": self.earlier_of_table,
            **{f"test_{metric}": asdict(self.test(metric)) for metric in self.splits[0].test.metrics},
            "baselines": {
                name: {self.main.name: asdict(self.baseline(name)), "behind": asdict(self.ahead_of(name))}
                for name in self.splits[0].baselines
            },
            "gap": asdict(self.gap),
            "own_gap": asdict(self.own_gap),
            "optimism": self.optimism,
            "chosen": [{"settings": settings, "splits": n} for settings, n in self.chosen],
            "splits": [split.to_json() for split in self.splits],
        }

    def baseline(self, name: str) -> Mean:
        """Return the mean of a baseline's default metric on the test sets."""
        return self._mean([split.baselines[name].value for split in self.splits])

    def _mean(self, values: Sequence[float]) -> Mean:
        ratio = sum(split.test.n for split in self.splits) / sum(split.n_learned for split in self.splits)
        return corrected_mean(values, ratio)
