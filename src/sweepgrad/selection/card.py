"""What the model card says: what was chosen, how good it is, and whether that is good enough."""

from dataclasses import asdict, dataclass
from typing import Any

AVERAGE_OF = "average of"  # the key under which an ensemble says what it is
METRIC_NAMES = {"accuracy": "accuracy", "nll": "negative log-likelihood", "roc_auc": "ROC AUC"}


def in_words(metric: str, value: float) -> str:
    """A figure of a metric."""
    return f"{value:.1%}" if metric == "accuracy" else f"{value:.4f}"


def settings_in_words(settings: dict[str, str]) -> str:
    """What tells a candidate from others; empty where there are none."""
    return ", ".join(
        f"average of {value}" if key == AVERAGE_OF else f"{key}={value}" for key, value in settings.items()
    )


def gap_in_words(metric: str, value: float) -> str:
    """A difference of two figures."""
    return f"{100 * value:.1f} points" if metric == "accuracy" else f"{value:.4f}"


@dataclass(frozen=True)
class Scores:
    """How good probabilities and decisions are on n rows; `accuracy_ci` is a 95 % interval, nll a mean in nats."""

    n: int
    accuracy: float
    accuracy_ci: tuple[float, float]
    nll: float
    roc_auc: float

    def of(self, metric: str) -> float:
        """One of them, by the name that `select.metric` gives it."""
        return {"accuracy": self.accuracy, "nll": self.nll, "roc_auc": self.roc_auc}[metric]

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Scores":
        low, high = values["accuracy_ci"]
        return Scores(**{**values, "accuracy_ci": (low, high)})


@dataclass(frozen=True)
class Decisions:
    """How a model answers, and what comes of it on the validation and on the test rows.

    Attributes:
        rule: how the threshold was chosen, as `select.threshold` says.
        false_positive, false_negative: what mistakes cost; None but for the rule "cost".
        threshold: rows with at least that probability are taken for positive.
        flattery: by how much the rule's own figure on validation rows is too high on average, since the
            threshold was tuned on them; None where nothing was tuned.
        validation, test: `accuracy`, `accuracy_at_half`, `f1`, `share` taken for positive; with costs `cost` a
            row, and `cost_of_one_answer`, the cheaper one by the training rows, given always.
        p_value: of the difference between these two on the test rows; None without costs.
    """

    rule: str
    false_positive: float | None
    false_negative: float | None
    threshold: float
    flattery: float | None
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
        choice: by which rule and metric it was chosen, who is tied with the best, by how much being the best
            flatters.
        registered: the name and version under which MLflow has the model.
        baselines: by name, on the test rows; they decide at 0.5.
        p_values: of the difference in accuracy to each baseline on the test rows.
        temperature: what the log-odds were divided by; 1 where they were left alone.
        calibration: on the rows of "validation" and "test".
        notices: what is to be told of temperature and threshold.
        opening: when the test rows were opened for this card, by whom, and for which model.
        earlier_openings: the same of each time that they were opened before, by any sweep.
        interrupted_openings: the same of those for this very model of which nothing was kept; older cards have
            none.
        earlier_of_table: how often test rows of this table, of whichever split, had been opened before; older
            cards do not count.
        certificate: what was found of leaks, in words; older cards have none.
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
    validation: Scores
    test: Scores
    baselines: dict[str, Scores]
    p_values: dict[str, float]
    decisions: Decisions
    confusion: dict[str, int]
    temperature: float
    calibration: dict[str, Calibrated]
    notices: tuple[str, ...]
    opening: str
    earlier_openings: tuple[str, ...]
    certificate: str = ""
    interrupted_openings: tuple[str, ...] = ()
    earlier_of_table: int = 0

    @property
    def verdict(self) -> str:
        """Whether this is good enough to deploy, and for what, in plain words."""
        majority, logistic = self.baselines["majority"], self.baselines["logistic"]
        gain = self.test.accuracy - majority.accuracy
        better = f"Logistic regression is better ({logistic.accuracy:.1%}): deploy that instead."
        logistic_wins = self.p_values["logistic"] < 0.05 and logistic.accuracy > self.test.accuracy
        if self.decisions.rule == "cost":
            return self._verdict_on_costs()
        if gain <= 0 or self.p_values["majority"] >= 0.05:
            poor = (
                f"Not good enough to deploy: always giving the commoner answer is right on"
                f" {majority.accuracy:.1%} of the test rows, the model on {self.test.accuracy:.1%}, which is not"
                f" measurably better (p = {self.p_values['majority']:.2f})."
            )
            if self.decisions.rule in ("f1", "prevalence"):
                poor += f" Its threshold was not chosen for that; F1 is {self.decisions.test['f1']:.3f}."
            return f"{poor} {better}" if logistic_wins else poor
        words = [
            f"Right on {self.test.accuracy:.1%} of the test rows, {100 * gain:.1f} points more than always"
            " giving the commoner answer."
        ]
        p = self.p_values["logistic"]
        if p >= 0.05:
            words.append(
                f"Not measurably better than logistic regression ({logistic.accuracy:.1%}, p = {p:.2f}): where"
                " that is simpler to run, run that."
            )
        elif logistic_wins:
            words.append(better)
        else:
            words.append(f"Better than logistic regression ({logistic.accuracy:.1%}, p = {p:.3f}).")
        one_in = 1 / max(1 - self.test.accuracy, 1 / self.test.n)
        words.append(
            f"{self._in_order}; as about one answer in {one_in:.0f} is wrong, good enough to"
            " decide about a single row only where such a mistake is cheap."
        )
        return " ".join([*words, self._on_calibration])

    def _verdict_on_costs(self) -> str:
        test, p = self.decisions.test, self.decisions.p_value
        assert p is not None
        costs = f"its mistakes cost {test['cost']:.3f} a test row, always giving the cheaper answer"
        costs += f" {test['cost_of_one_answer']:.3f}"
        if p >= 0.05 or test["cost"] >= test["cost_of_one_answer"]:
            return f"Not good enough to deploy: {costs}, which is not measurably more (p = {p:.2f})."
        return f"Worth deploying for these costs: {costs} (p = {p:.3f}). {self._in_order}. {self._on_calibration}"

    @property
    def _in_order(self) -> str:
        return (
            "Good enough to put rows in order, the likelier first (a positive row comes before a negative one in"
            f" {self.test.roc_auc:.0%} of pairs)"
        )

    @property
    def _on_calibration(self) -> str:
        found = self.calibration["test"]
        if found.after <= found.by_chance:
            return "Its probabilities are as right as this many rows can show."
        return (
            f"Its probabilities are off by {found.after:.1%} on average, more than chance explains"
            f" ({found.by_chance:.1%}): go by their order."
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Card":
        """The card that `to_json` gave.

        Raises:
            KeyError, TypeError: it is of another version.
        """
        said = {key: value for key, value in values.items() if key != "verdict"}
        for name in ("validation", "test"):
            said[name] = Scores.from_json(said[name])
        said["baselines"] = {name: Scores.from_json(each) for name, each in said["baselines"].items()}
        said["decisions"] = Decisions(**said["decisions"])
        said["calibration"] = {name: Calibrated(**each) for name, each in said["calibration"].items()}
        for name in ("members", "notices", "earlier_openings", "interrupted_openings"):
            said[name] = tuple(said.get(name, ()) if name == "interrupted_openings" else said[name])
        return Card(**said)
