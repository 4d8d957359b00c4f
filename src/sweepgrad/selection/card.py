"""What the model card says: what was chosen, how good it is, and whether that is good enough."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from sweepgrad.config import old_names
from sweepgrad.stats.metrics import METRICS, Metric
from sweepgrad.tasks.registry import TASKS

AVERAGE_OF = "average of"  # the key under which an ensemble says what it is


def settings_in_words(settings: dict[str, str]) -> str:
    """Return what tells a candidate from others; empty where there is nothing."""
    return ", ".join(
        f"average of {value}" if key == AVERAGE_OF else f"{key}={value}" for key, value in settings.items()
    )


@dataclass(frozen=True)
class Scores:
    """How good a model is on n rows.

    Attributes:
        metrics: by name.
        main: the name of the one that is told first.
        interval: of that one, 95 %.
    """

    n: int
    metrics: dict[str, float]
    main: str
    interval: tuple[float, float]

    @property
    def value(self) -> float:
        """Return the main metric."""
        return self.metrics[self.main]

    def to_json(self) -> dict[str, Any]:
        """Return them flat: `n`, each metric, and the interval as `accuracy_ci` or the like."""
        return {"n": self.n, **self.metrics, f"{self.main}_ci": self.interval}

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Scores":
        """Return what `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: it is of another version.
        """
        (key,) = (name for name in values if name.endswith("_ci"))
        low, high = values[key]
        metrics = {name: float(value) for name, value in values.items() if name not in ("n", key)}
        return Scores(values["n"], metrics, key.removesuffix("_ci"), (low, high))


WrittenScores = Annotated[Scores, BeforeValidator(Scores.from_json), PlainSerializer(Scores.to_json)]


@dataclass(frozen=True)
class Decisions:
    """How a model answers, and what comes of it on the validation and on the test rows.

    Attributes:
        rule: how the threshold was chosen, as `select.threshold` says.
        false_positive, false_negative: what mistakes cost; None but for the rule "cost".
        threshold: rows with at least that probability are taken for positive.
        optimism: by how much the rule's own figure on validation rows is too high on average, since the
            threshold was tuned on them; None where nothing was tuned.
        validation, test: `accuracy`, `accuracy_at_half`, `f1`, `share` taken for positive; with costs `cost` a
            row, and `cost_of_one_answer`, the cheaper one by the training rows, given always.
        p_value: of the difference between these two on the test rows; None without costs.
    """

    rule: str
    false_positive: float | None
    false_negative: float | None
    threshold: float
    optimism: float | None
    validation: dict[str, float]
    test: dict[str, float]
    p_value: float | None


@dataclass(frozen=True)
class Calibrated:
    """Calibration errors on some rows: as the model was trained, and as it is with its temperature.

    `by_chance` is what true probabilities would stay below in 95 of 100 such samples.
    """

    before: float
    after: float
    by_chance: float


@dataclass(frozen=True)
class Card:
    """All that the card says, before it is worded.

    Attributes:
        run_id: the run whose model it is; of an ensemble, the sweep's own.
        n_candidates: runs that were compared on validation rows.
        n_configurations: how many they are when seeds and folds are not counted.
        n_ensembles: averages of these that were compared beside them.
        n_unfinished: runs that failed or were killed, and so could not be compared.
        model: its settings; of an ensemble, those of its first member.
        members: the networks that are averaged, one for a model that is no ensemble.
        choice: by which rule and metric it was chosen, who is tied with the best, how optimistic being the
            best is.
        registered: the name and version under which MLflow has the model.
        baselines: by name, on the test rows; they decide at 0.5.
        p_values: of the difference in accuracy to each baseline on the test rows.
        temperature: what the log-odds were divided by; 1 where they were left alone.
        calibration: on the rows of "validation" and "test".
        notices: what is to be told of temperature and threshold.
        evaluated: when the test set was evaluated for this card, by whom, and for which model.
        earlier_evaluations: the same of each time that it was evaluated before, by any sweep.
        interrupted_evaluations: the same of those for this very model of which nothing was kept; older cards
            have none.
        earlier_of_table: how often test rows of this table, of whichever split, had been evaluated before;
            older cards do not count.
        certificate: what was found of leaks, in words; older cards have none.
        task: the kind of target.
    """

    sweep: str
    run_id: str
    n_candidates: int
    n_configurations: int
    n_ensembles: int
    n_unfinished: int
    registered: str
    model: dict[str, Any]
    members: tuple[dict[str, Any], ...]
    choice: dict[str, Any]
    data: dict[str, Any]
    validation: WrittenScores
    test: WrittenScores
    baselines: dict[str, WrittenScores]
    p_values: dict[str, float]
    decisions: Decisions
    confusion: dict[str, int]
    temperature: float
    calibration: dict[str, Calibrated]
    notices: tuple[str, ...]
    evaluated: str
    earlier_evaluations: tuple[str, ...]
    certificate: str = ""
    interrupted_evaluations: tuple[str, ...] = ()
    earlier_of_table: int = 0
    task: str = "binary"

    @property
    def verdict(self) -> str:
        """Return whether this is good enough to deploy, and for what, in plain words."""
        task = TASKS[self.task]
        words, metric = task.wording, METRICS[self.test.main]
        simple, linear = task.baselines
        majority, logistic = self.baselines[simple].value, self.baselines[linear].value
        p_simple, p = self.p_values[simple], self.p_values[linear]
        gain = self._gain(metric, majority)
        said = {
            "majority": metric.figure(majority),
            "linear": metric.figure(logistic),
            "test": metric.figure(self.test.value),
            "gain": metric.gap(gain),
        }
        better = words.linear_wins.format(**said)
        linear_wins = p < 0.05 and self._gain(metric, logistic) < 0
        if self.decisions.rule == "cost":
            return self._verdict_on_costs()
        if gain <= 0 or p_simple >= 0.05:
            poor = words.poor.format(**said, p=p_simple)
            if self.decisions.rule in ("f1", "prevalence"):
                poor += f" Its threshold was not chosen for that; F1 is {self.decisions.test['f1']:.3f}."
            return f"{poor} {better}" if linear_wins else poor
        beside = words.linear_ties if p >= 0.05 else words.linear_wins if linear_wins else words.linear_loses
        one_in = 1 / max(1 - self.test.value, 1 / self.test.n)
        return " ".join(
            [
                words.good.format(**said),
                beside.format(**said, p=p),
                words.use.format(in_order=self._in_order, one_in=one_in),
                self._on_calibration,
            ]
        )

    def _gain(self, metric: Metric, other: float) -> float:
        """Return by how much the model is better than a baseline on the test rows."""
        return metric.sign * (self.test.value - other)

    def _verdict_on_costs(self) -> str:
        test, p, words = self.decisions.test, self.decisions.p_value, TASKS[self.task].wording
        assert p is not None
        costs = words.costs.format(cost=test["cost"], constant=test["cost_of_one_answer"])
        if p >= 0.05 or test["cost"] >= test["cost_of_one_answer"]:
            return words.costs_poor.format(costs=costs, p=p)
        about = {"in_order": self._in_order, "calibration": self._on_calibration}
        return words.costs_good.format(costs=costs, p=p, **about)

    @property
    def _in_order(self) -> str:
        task = TASKS[self.task]
        return task.wording.in_order.format(ranking=self.test.metrics[task.ranking])

    @property
    def _on_calibration(self) -> str:
        found, words = self.calibration["test"], TASKS[self.task].wording
        chosen = words.calibrated if found.after <= found.by_chance else words.miscalibrated
        return chosen.format(error=found.after, chance=found.by_chance)

    def to_json(self) -> dict[str, Any]:
        """Return what `card.json` says: the card and its verdict."""
        return {**_CARD.dump_python(self), "verdict": self.verdict}

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Card":
        """Return the card that `to_json` gave, in this version or an older one.

        Raises:
            KeyError, ValueError: it is of another version.
        """
        return _CARD.validate_python(old_names.judgement(values))


_CARD = TypeAdapter(Card)
