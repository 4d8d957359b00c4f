"""How good a whole procedure is: what it came to on several splits, the mean, and how sure that is."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pydantic import TypeAdapter, ValidationError
from scipy.special import stdtrit

from sweepgrad.config import old_names
from sweepgrad.config.split import Split
from sweepgrad.errors import UserError
from sweepgrad.selection.card import WrittenScores
from sweepgrad.stats.metrics import METRICS, Metric


@dataclass(frozen=True)
class SplitResult:
    """What the procedure chose on one split, and what that is worth on the split's test rows.

    Attributes:
        split: its name, such as "split.seed=1000".
        run_id: of the model that was chosen; of an ensemble, its members' parted by blanks.
        digest: SHA-256 of the indices of the test rows.
        settings: what tells the chosen configuration from the others.
        compared: among how many configurations it was chosen.
        tied: how many others could not be told from the best.
        mean: of the declared metric over the configuration's seeds and folds: what it was chosen by.
        test_mean: the same of its models on the test rows.
        optimism: of the best mean, since it is the best of many, by the bootstrap.
        n_learned: training and validation rows.
        validation, test: of the chosen model.
        baselines: on the same test rows, by name.
        evaluated: when this test set was evaluated, by whom.
        earlier_evaluations: the same of each time before.
        interrupted_evaluations: the same of those for this very model of which nothing was kept; older
            figures have none.
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
        """Return what `splits.json` says of it."""
        return _RESULT.dump_python(self)  # type: ignore[no-any-return]

    @staticmethod
    def from_json(values: dict[str, Any]) -> "SplitResult":
        """Return what `to_json` gave, in this version or an older one.

        Raises:
            KeyError, TypeError, ValueError: it is of another version.
        """
        return _RESULT.validate_python(old_names.judgement(values))


_RESULT = TypeAdapter(SplitResult)


def kept_in(file: Path) -> list[SplitResult]:
    """What is known of the splits of a sweep; nothing if the file is not there.

    Raises:
        UserError: it cannot be read. What test rows came to may be in it, so it is not to be written over.
    """
    try:
        return [SplitResult.from_json(each) for each in json.loads(file.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (KeyError, TypeError, ValidationError) as error:
        raise UserError(
            f"{file} was written by another version of sweepgrad ({error}), and what test rows came to is not"
            " written over. Its page is evaluation.md beside it; or evaluate with that version"
        ) from None
    except ValueError as error:
        raise UserError(
            f"{file} is damaged ({error}). It says what test rows came to, and is not written over: put it"
            " back as it was, or move it away; where it was sent to the store it comes back from there"
        ) from None


def complete_outer_folds(of_splits: Sequence[Split]) -> int | None:
    """Return how many outer folds there are, where every seed has all of them; else None."""
    outer: dict[int, set[int | None]] = {}
    for split in of_splits:
        outer.setdefault(split.seed, set()).add(split.outer_fold)
    n = of_splits[0].outer_folds
    return n if all(found == set(range(n)) for found in outer.values()) else None


@dataclass(frozen=True)
class Mean:
    """Over splits, with the standard deviation from one split to another and a 95 % interval."""

    mean: float
    sd: float
    low: float
    high: float


def corrected_mean(values: Sequence[float], ratio: float) -> Mean:
    """The mean of J splits' figures, with the interval of the corrected resampled t-test.

    Splits of one table share rows, so their figures go together and s² / J understates the variance of their
    mean, however many there are. Nadeau & Bengio (Machine Learning 52, 2003) put

        (1 / J + ratio) s²,

    with Student's t of J - 1 degrees of freedom: as if figures of two splits were correlated by the share of
    rows that is tested. Cross-validation, repeated or not, takes the same correction (Bouckaert & Frank,
    PAKDD 2004). It is a rule of thumb: no unbiased estimate exists (Bengio & Grandvalet, JMLR 5, 2004), and
    without it intervals miss far too often (Bates, Hastie & Tibshirani, JASA 2023).

    Arguments:
        values: one for each split, two at least.
        ratio: test rows over the rows that were learned from, which here are all others: training rows fit,
            validation rows choose.

    Raises:
        ValueError: there are fewer than two.
    """
    n = len(values)
    if n < 2:
        raise ValueError("one split says nothing of how splits differ")
    mean, sd = fmean(values), stdev(values)
    half = float(stdtrit(n - 1, 0.975)) * sd * sqrt(1 / n + ratio)
    return Mean(mean, sd, mean - half, mean + half)


@dataclass(frozen=True)
class Evaluation:
    """All that is said of a procedure.

    Attributes:
        what: the target and its positive value, and the table's name.
        grouped: whether rows of a group were kept in one part.
        outer_folds: how many there are, if the splits are outer folds that test each row once; else None.
        earlier_of_table: how often test rows of this table, of whichever split, had been opened before.
        task: the kind of target.
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
        """What tells the chosen ones apart; an ensemble does not say all that a configuration does."""
        return list(dict.fromkeys(key for split in self.splits for key in split.settings))

    @property
    def main(self) -> Metric:
        """Return the metric that is told first."""
        return METRICS[self.splits[0].test.main]

    def test(self, metric: str) -> Mean:
        """What a model that the procedure chooses does on rows that had no say in it."""
        return self._mean([split.test.metrics[metric] for split in self.splits])

    def ahead_of(self, baseline: str) -> Mean:
        """By how much it is better than a baseline on the test rows of the same splits."""
        sign = self.main.sign
        return self._mean([sign * (s.test.value - s.baselines[baseline].value) for s in self.splits])

    @property
    def gap(self) -> Mean:
        """By how much the mean that was chosen by is better than that of the same models on test rows."""
        return self._mean([METRICS[self.metric].sign * (s.mean - s.test_mean) for s in self.splits])

    @property
    def own_gap(self) -> Mean:
        """The same of the one model that was taken, which was the best of the configuration's seeds, too."""
        sign, name = METRICS[self.metric].sign, self.metric
        return self._mean([sign * (s.validation.metrics[name] - s.test.metrics[name]) for s in self.splits])

    @property
    def optimism(self) -> float:
        """What the bootstrap expected of `gap`, on average."""
        return fmean(split.optimism for split in self.splits)

    @property
    def chosen(self) -> list[tuple[dict[str, str], int]]:
        """How often which configuration was chosen, the most frequent first."""
        counts = Counter(tuple(split.settings.items()) for split in self.splits)
        return [(dict(settings), n) for settings, n in counts.most_common()]

    @property
    def figures(self) -> dict[str, float]:
        """For MLflow: the figures of the whole by name."""
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
        """Its main metric on the test rows."""
        return self._mean([split.baselines[name].value for split in self.splits])

    def _mean(self, values: Sequence[float]) -> Mean:
        ratio = sum(split.test.n for split in self.splits) / sum(split.n_learned for split in self.splits)
        return corrected_mean(values, ratio)
