"""How good a whole procedure is: what it came to on several splits, the mean, and how sure that is."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit

from sweepgrad.config.schema import Metric, Split
from sweepgrad.errors import UserError
from sweepgrad.selection.card import Scores
from sweepgrad.stats.metrics import BETTER

METRICS: tuple[Metric, ...] = ("accuracy", "nll", "roc_auc")


@dataclass(frozen=True)
class Judged:
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
        flattery: by how much being the best of many flatters the best mean, by the bootstrap.
        n_learned: training and validation rows.
        validation, test: of the chosen model.
        baselines: on the same test rows, by name.
        opening: when these test rows were opened, by whom.
        earlier_openings: the same of each time before.
        interrupted_openings: the same of those for this very model of which nothing was kept; older
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
    flattery: float
    n_learned: int
    n_test_units: int
    validation: Scores
    test: Scores
    baselines: dict[str, Scores]
    opening: str
    earlier_openings: tuple[str, ...]
    interrupted_openings: tuple[str, ...] = ()

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Judged":
        """What `asdict` and JSON made of one.

        Raises:
            KeyError, TypeError: it is of another version.
        """
        baselines = {name: Scores.from_json(each) for name, each in values["baselines"].items()}
        said = {name: Scores.from_json(values[name]) for name in ("validation", "test")}
        openings = {
            "earlier_openings": tuple(values["earlier_openings"]),
            "interrupted_openings": tuple(values.get("interrupted_openings", ())),
        }
        return Judged(**{**values, **said, **openings, "baselines": baselines})


def kept_in(file: Path) -> list[Judged]:
    """What is known of the splits of a sweep; nothing if the file is not there.

    Raises:
        UserError: it cannot be read. What test rows came to may be in it, so it is not to be written over.
    """
    try:
        return [Judged.from_json(each) for each in json.loads(file.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{file} was written by another version of sweepgrad ({error}), and what test rows came to is not"
            " written over. Its page is evaluation.md beside it; or evaluate with that version"
        ) from None
    except ValueError as error:
        raise UserError(
            f"{file} is damaged ({error}). It says what test rows came to, and is not written over: put it"
            " back as it was, or move it away; where it was sent to the store it comes back from there"
        ) from None


def complete_turns(of_splits: Sequence[Split]) -> int | None:
    """How many turns there are, where every seed has all of them."""
    turns: dict[int, set[int | None]] = {}
    for split in of_splits:
        turns.setdefault(split.seed, set()).add(split.turn)
    n = of_splits[0].turns
    return n if all(found == set(range(n)) for found in turns.values()) else None


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
        turns: how many turns there are, if the splits are turns that test each row once; else None.
        earlier_of_table: how often test rows of this table, of whichever split, had been opened before.
    """

    sweep: str
    what: str
    metric: Metric
    rule: str
    grouped: bool
    turns: int | None
    earlier_of_table: int
    splits: tuple[Judged, ...]

    @property
    def keys(self) -> list[str]:
        """What tells the chosen ones apart; an ensemble does not say all that a configuration does."""
        return list(dict.fromkeys(key for split in self.splits for key in split.settings))

    def test(self, metric: Metric = "accuracy") -> Mean:
        """What a model that the procedure chooses does on rows that had no say in it."""
        return self._mean([split.test.of(metric) for split in self.splits])

    def ahead_of(self, baseline: str) -> Mean:
        """By how much its test accuracy is above a baseline's, on the same splits."""
        return self._mean([s.test.accuracy - s.baselines[baseline].accuracy for s in self.splits])

    @property
    def gap(self) -> Mean:
        """By how much the mean that was chosen by is better than that of the same models on test rows."""
        return self._mean([BETTER[self.metric] * (s.mean - s.test_mean) for s in self.splits])

    @property
    def own_gap(self) -> Mean:
        """The same of the one model that was taken, which was the best of the configuration's seeds, too."""
        sign, metric = BETTER[self.metric], self.metric
        return self._mean([sign * (s.validation.of(metric) - s.test.of(metric)) for s in self.splits])

    @property
    def flattery(self) -> float:
        """What the bootstrap expected of `gap`, on average."""
        return fmean(split.flattery for split in self.splits)

    @property
    def chosen(self) -> list[tuple[dict[str, str], int]]:
        """How often which configuration was chosen, the most frequent first."""
        counts = Counter(tuple(split.settings.items()) for split in self.splits)
        return [(dict(settings), n) for settings, n in counts.most_common()]

    @property
    def figures(self) -> dict[str, float]:
        """For MLflow: the figures of the whole by name."""
        means = {f"test_{metric}": self.test(metric) for metric in METRICS}
        means |= {f"ahead_of_{name}": self.ahead_of(name) for name in self.splits[0].baselines}
        means |= {f"{self.metric}_gap": self.gap}
        found = {f"{name}_{part}": value for name, m in means.items() for part, value in asdict(m).items()}
        return {**found, f"{self.metric}_flattery": self.flattery, "splits": float(len(self.splits))}

    def to_json(self) -> dict[str, Any]:
        return {
            "sweep": self.sweep,
            "what": self.what,
            "metric": self.metric,
            "rule": self.rule,
            "grouped": self.grouped,
            "turns": self.turns,
            "earlier_of_table": self.earlier_of_table,
            **{f"test_{metric}": asdict(self.test(metric)) for metric in METRICS},
            "baselines": {
                name: {"accuracy": asdict(self.baseline(name)), "behind": asdict(self.ahead_of(name))}
                for name in self.splits[0].baselines
            },
            "gap": asdict(self.gap),
            "own_gap": asdict(self.own_gap),
            "flattery": self.flattery,
            "chosen": [{"settings": settings, "splits": n} for settings, n in self.chosen],
            "splits": [asdict(split) for split in self.splits],
        }

    def baseline(self, name: str) -> Mean:
        """Its test accuracy."""
        return self._mean([split.baselines[name].accuracy for split in self.splits])

    def _mean(self, values: Sequence[float]) -> Mean:
        ratio = sum(split.test.n for split in self.splits) / sum(split.n_learned for split in self.splits)
        return corrected_mean(values, ratio)
