"""The content of a model card: the chosen model, its scores, and whether they are good enough to deploy."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from sweepgrad.config import old_names
from sweepgrad.stats.metrics import METRICS, Metric
from sweepgrad.tasks.registry import TASKS
from sweepgrad.tasks.wording import p_value_text

AVERAGE_OF = "average of"  # the key of an ensemble's description among its settings


def _more_or_less(metric: Metric, difference: float) -> str:
    if difference == 0:
        return "the same"
    return f"{metric.gap(abs(difference))} {'more' if difference > 0 else 'less'}"


def settings_as_text(settings: dict[str, str]) -> str:
    """Return the settings in which a candidate differs from others."""
    return (
        ", ".join(
            f"average of {value}" if key == AVERAGE_OF else f"{key}={value}"
            for key, value in settings.items()
        )
        or "the only configuration"
    )


@dataclass(frozen=True)
class Scores:
    """Metrics of a model on n rows.

    Attributes:
        metrics: values by metric name.
        main: the name of the task's default metric.
        interval: the 95 % confidence interval of the default metric.
    """

    n: int
    metrics: dict[str, float]
    main: str
    interval: tuple[float, float]

    @property
    def value(self) -> float:
        """The value of the default metric."""
        return self.metrics[self.main]

    def to_json(self) -> dict[str, Any]:
        """Return a flat mapping: `n`, each metric, and the interval under a key such as `accuracy_ci`."""
        return {"n": self.n, **self.metrics, f"{self.main}_ci": self.interval}

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Scores":
        """Return the scores that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: another version wrote them.
        """
        (key,) = (name for name in values if name.endswith("_ci"))
        low, high = values[key]
        metrics = {name: float(value) for name, value in values.items() if name not in ("n", key)}
        return Scores(values["n"], metrics, key.removesuffix("_ci"), (low, high))


WrittenScores = Annotated[Scores, BeforeValidator(Scores.from_json), PlainSerializer(Scores.to_json)]


@dataclass(frozen=True)
class Decisions:
    """The threshold of a model, and the metrics of its predictions on the validation set and the test set.

    Attributes:
        rule: the value of `select.threshold.rule`.
        false_positive, false_negative: costs of the two kinds of error; None unless the rule is "cost".
        threshold: rows with at least this probability are predicted positive.
        optimism: the mean bias of the tuned metric on validation rows, since the threshold was tuned on
            them; None without tuning.
        validation, test: `accuracy`, `accuracy_at_half`, `f1`, `share` (predicted positive). With costs also
            `cost` per row, and `cost_of_one_answer`, the cost per row of the constant prediction that is
            cheaper on the training rows.
        p_value: of the difference between these two costs on the test set; None without costs.
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
    """Calibration errors on some rows, before and after temperature scaling.

    `by_chance` is the 95 % quantile of the calibration error of perfectly calibrated probabilities on a
    sample of that size.
    """

    before: float
    after: float
    by_chance: float


@dataclass(frozen=True)
class Card:
    """The content of a model card, as data.

    Attributes:
        run_id: the run of the chosen model; for an ensemble, the run of the sweep.
        n_candidates: the number of runs that were compared on validation rows.
        n_configurations: the number of configurations, not counting seeds and folds.
        n_ensembles: the number of ensembles that were compared with them.
        n_unfinished: the number of runs that failed or were killed, and were not compared.
        model: settings of the model; for an ensemble, of its first member.
        members: settings of each network; more than one for an ensemble.
        choice: selection rule and metric, candidates tied with the best, optimism of the best.
        registered: name and version of the registered MLflow model.
        baselines: scores on the test set by name; baselines use the threshold 0.5.
        p_values: of the difference in the default metric to each baseline on the test set.
        temperature: the divisor of the log-odds; 1 without temperature scaling.
        calibration: for "validation" and "test".
        notices: remarks on the temperature, the threshold and ensembles.
        evaluated: when the test set was evaluated for this card, by whom, and for which model.
        earlier_evaluations: the same for each earlier test-set evaluation, by any sweep.
        interrupted_evaluations: the same for earlier evaluations of this model whose results were lost;
            empty in older cards.
        earlier_of_table: the number of earlier evaluations of test rows of this table, with any split; 0 in
            older cards.
        certificate: the result of the leak checks as text; empty in older cards.
        task: the name of the task.
        store_uri: the MLflow store that has the runs and the model; empty in older cards.
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
    store_uri: str = ""

    @property
    def verdict(self) -> str:
        """The verdict as text: whether the model is good enough to deploy, and for what."""
        task = TASKS[self.task]
        wording, metric = task.wording, METRICS[self.test.main]
        simple, linear = task.baselines
        majority, logistic = self.baselines[simple].value, self.baselines[linear].value
        p_simple, p = self.p_values[simple], self.p_values[linear]
        gain = self._gain(metric, majority)
        figures = {
            "majority": metric.figure(majority),
            "linear": metric.figure(logistic),
            "test": metric.figure(self.test.value),
            "gain": metric.gap(gain),
            "linear_gap": _more_or_less(metric, logistic - self.test.value),
        }
        better = wording.linear_wins.format(**figures)
        linear_wins = p < 0.05 and self._gain(metric, logistic) < 0
        if self.decisions.rule == "cost":
            return self._verdict_on_costs()
        if gain <= 0 or p_simple >= 0.05:
            poor = wording.poor.format(**figures, p=p_value_text(p_simple))
            if self.decisions.rule in ("f1", "prevalence"):
                poor += (
                    f" The threshold was chosen by the rule {self.decisions.rule}, not for {metric.title}; F1 is"
                    f" {self.decisions.test['f1']:.3f}."
                )
            return f"{poor} {better}" if linear_wins else poor
        against_linear = (
            wording.linear_ties if p >= 0.05 else wording.linear_wins if linear_wins else wording.linear_loses
        )
        one_in = 1 / max(1 - self.test.value, 1 / self.test.n)
        return " ".join(
            [
                wording.good.format(**figures),
                against_linear.format(**figures, p=p_value_text(p)),
                wording.use.format(in_order=self._in_order, one_in=one_in),
                self._on_calibration,
            ]
        )

    def _gain(self, metric: Metric, other: float) -> float:
        """Return by how much the model is better than a baseline on the test set."""
        return metric.sign * (self.test.value - other)

    def _verdict_on_costs(self) -> str:
        test, p, wording = self.decisions.test, self.decisions.p_value, TASKS[self.task].wording
        assert p is not None
        costs = wording.costs.format(cost=test["cost"], constant=test["cost_of_one_answer"])
        if p >= 0.05 or test["cost"] >= test["cost_of_one_answer"]:
            return wording.costs_poor.format(costs=costs, p=p_value_text(p))
        about = {"in_order": self._in_order, "calibration": self._on_calibration}
        return wording.costs_good.format(costs=costs, p=p_value_text(p), **about)

    @property
    def _in_order(self) -> str:
        task = TASKS[self.task]
        return task.wording.in_order.format(ranking=self.test.metrics[task.ranking])

    @property
    def _on_calibration(self) -> str:
        found, wording = self.calibration["test"], TASKS[self.task].wording
        template = wording.calibrated if found.after <= found.by_chance else wording.miscalibrated
        return template.format(error=found.after, chance=found.by_chance)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `card.json`: the card and its verdict."""
        return {**_CARD.dump_python(self), "verdict": self.verdict}

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Card":
        """Return the card that `to_json` wrote, in this version or an older one.

        Raises:
            ValueError: it is damaged, or an unknown version wrote it.
        """
        try:
            card = _CARD.validate_python(old_names.result(values))
            card.verdict  # noqa: B018 - it reads what the schema does not ask for
        except (LookupError, AttributeError, TypeError, ArithmeticError) as error:
            raise ValueError(f"it is damaged, or of another version: {error!r}") from None
        return card


_CARD = TypeAdapter(Card)
