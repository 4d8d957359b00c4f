"""The model card: what was chosen, how good it is, and whether that is good enough."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Scores:
    """How good probabilities are on n rows; `accuracy_ci` is a 95 % interval, nll is a mean in nats."""

    n: int
    accuracy: float
    accuracy_ci: tuple[float, float]
    nll: float
    roc_auc: float

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Scores":
        low, high = values["accuracy_ci"]
        return Scores(**{**values, "accuracy_ci": (low, high)})


@dataclass(frozen=True)
class Card:
    """All that the card says, before it is worded.

    Attributes:
        n_candidates: runs that were compared on validation rows.
        n_configurations: how many they are when seeds and folds are not counted.
        n_unfinished: runs that failed or were killed, and so could not be compared.
        choice: by which rule and metric it was chosen, who is tied with the best, by how much being the best
            flatters.
        registered: the name and version under which MLflow has the model.
        baselines: by name, on the test rows.
        p_values: of the difference in accuracy to each baseline on the test rows.
        calibration_error_by_chance: what true probabilities would stay below in 95 of 100 such samples.
        opening: when the test rows were opened for this card, by whom, and for which model.
        earlier_openings: the same of each time that they were opened before, by any sweep.
        certificate: what was found of leaks, in words; older cards have none.
    """

    sweep: str
    run_id: str
    n_candidates: int
    n_configurations: int
    n_unfinished: int
    registered: str
    model: dict[str, Any]
    choice: dict[str, Any]
    data: dict[str, Any]
    validation: Scores
    test: Scores
    baselines: dict[str, Scores]
    p_values: dict[str, float]
    confusion: dict[str, int]
    calibration_error: float
    calibration_error_by_chance: float
    opening: str
    earlier_openings: tuple[str, ...]
    certificate: str = ""

    @property
    def verdict(self) -> str:
        """Whether this is good enough to deploy, and for what, in plain words."""
        majority, logistic = self.baselines["majority"], self.baselines["logistic"]
        gain = self.test.accuracy - majority.accuracy
        better = f"Logistic regression is better ({logistic.accuracy:.1%}): deploy that instead."
        logistic_wins = self.p_values["logistic"] < 0.05 and logistic.accuracy > self.test.accuracy
        if gain <= 0 or self.p_values["majority"] >= 0.05:
            poor = (
                f"Not good enough to deploy: always giving the commoner answer is right on"
                f" {majority.accuracy:.1%} of the test rows, the model on {self.test.accuracy:.1%}, which is not"
                f" measurably better (p = {self.p_values['majority']:.2f})."
            )
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
            f"Good enough to put rows in order, the likelier first (a positive row comes before a negative one in"
            f" {self.test.roc_auc:.0%} of pairs); as about one answer in {one_in:.0f} is wrong, good enough to"
            " decide about a single row only where such a mistake is cheap."
        )
        words.append(
            "Its probabilities are as right as this many rows can show."
            if self.calibration_error <= self.calibration_error_by_chance
            else f"Its probabilities are off by {self.calibration_error:.1%} on average, more than chance explains"
            f" ({self.calibration_error_by_chance:.1%}): go by their order."
        )
        return " ".join(words)

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
        said["earlier_openings"] = tuple(said["earlier_openings"])
        return Card(**said)


def markdown(card: Card) -> str:
    """The card as a page; `calibration.png` is expected beside it."""
    model, data, c = card.model, card.data, card.confusion
    hidden = " → ".join(map(str, model["layers"]))
    of = "by which it was chosen" if data["fold"] is None else f"fold {data['fold']} of {data['folds']}"
    rows = [
        (f"chosen model, validation ({of})", card.validation),
        ("**chosen model, test**", card.test),
        ("always the commoner answer, test", card.baselines["majority"]),
        ("logistic regression, test", card.baselines["logistic"]),
    ]
    table = "\n".join(
        f"| {name} | {s.accuracy:.1%} | {s.accuracy_ci[0]:.1%} to {s.accuracy_ci[1]:.1%} | {s.nll:.4f}"
        f" | {s.roc_auc:.3f} | {s.n} |"
        for name, s in rows
    )
    return f"""# Model card: {data["target"]} = {data["positive"]}, from {data["name"]}

{card.verdict}

| | accuracy | 95 % interval | NLL | ROC AUC | rows |
| --- | ---: | ---: | ---: | ---: | ---: |
{table}

## The model

| | |
| --- | --- |
| layers | {hidden} ({model["n_parameters"]} parameters) |
| activation | {model["activation"] or "none"} |
| dropout | {model["dropout"]:g} |
| scale of the output sigmoid | {model["scale"]:g} |
| optimizer, learning rate | {model["optimizer"]}, {model["learning_rate"]:g} |
| batch size, epochs, best epoch | {model["batch_size"]}, {model["epochs"]}, {model["best_epoch"]} |
| seed | {model["seed"]} |
| MLflow run | `{card.run_id}` |
| registered model | `{card.registered}`, alias `chosen` |

{model.get("diagnosis", "")}

## How it was chosen

{_choice(card)}

{_opening(card)}

{card.certificate}

## On the test rows

| | taken for positive | taken for negative |
| --- | ---: | ---: |
| is positive | {c["true_positive"]} | {c["false_negative"]} |
| is negative | {c["false_positive"]} | {c["true_negative"]} |

Calibration error {card.calibration_error:.3f}; true probabilities would show up to
{card.calibration_error_by_chance:.3f} on so many rows, by chance:

![predicted probability against observed share](calibration.png)

{_intervals(card)} Logistic regression is scikit-learn's, on the same inputs and training rows; the difference to
it has p = {card.p_values["logistic"]:.3f} in McNemar's test, that to the commoner answer
p = {card.p_values["majority"]:.3g}.
"""


def _choice(card: Card) -> str:
    if card.n_candidates == 1 and card.n_unfinished == 0:
        return f"It was trained on its own: there was nothing to choose between.{_fold(card)}"
    model, choice, n, n_seeds = card.model, card.choice, card.n_candidates, card.model["seeds"]
    if card.data["fold"] is None:
        on, kind, accuracy = f"{card.data['n_val']} validation rows", "", card.validation.accuracy
        taken = "its one seed" if n_seeds == 1 else f"its {n_seeds} seeds, and of these the best one"
    else:
        on, kind = "the validation rows of their folds", "mean "
        accuracy = model["mean_validation_accuracy"]
        best = "the one" if n_seeds == 1 else f"the best of {n_seeds} seeds"
        of_these = f"and of these {best} on the first fold, as no fold is better than another"
        taken = "its one run" if model["runs"] == 1 else f"its {model['runs']} runs, {of_these}"
    name = METRIC_NAMES[choice["metric"]]
    mean, best_mean = (_value(choice["metric"], choice[key]) for key in ("mean", "best_mean"))
    if choice["rule"] == "best":
        rule = f"The configuration with the best mean {name} ({mean})"
    else:
        error = _gap(choice["metric"], choice["best_standard_error"])
        rule = (
            f"The smallest configuration within one standard error ({error}) of the best mean {name}"
            f" ({best_mean}), with {mean} itself,"
        )
    gap = 100 * (accuracy - card.test.accuracy)
    unfinished = f" {card.n_unfinished} more did not finish." if card.n_unfinished else ""
    return (
        f"{n} models ({card.n_configurations} configurations) of sweep `{card.sweep}` were compared on"
        f" {on}.{unfinished} {rule} was taken with {taken}. {_ties(card)} The best of"
        f" {choice['compared']} configurations looks better on the rows it was chosen by than it is: its mean"
        f" {name} by {_gap(choice['metric'], choice['flattery'])} on average (a bootstrap over validation rows"
        f" and seeds), and the best of its seeds by more. Here the test accuracy is {abs(gap):.1f} points"
        f" {'below' if gap >= 0 else 'above'} the {kind}validation accuracy.{_fold(card)}"
    )


METRIC_NAMES = {"accuracy": "accuracy", "nll": "negative log-likelihood", "roc_auc": "ROC AUC"}


def _value(metric: str, value: float) -> str:
    return f"{value:.1%}" if metric == "accuracy" else f"{value:.4f}"


def _gap(metric: str, value: float) -> str:
    return f"{100 * value:.1f} points" if metric == "accuracy" else f"{value:.4f}"


def _ties(card: Card) -> str:
    """Who cannot be told from the best."""
    choice = card.choice
    tied, others = choice["tied"], choice["compared"] - 1
    if others == 0:
        return "There was no other configuration."
    if not tied:
        them = "the other one" if others == 1 else f"all {others} others together"
        return f"At 95 % the validation rows tell the best apart from {them}."
    named = "; ".join(_said(settings) for settings in tied[:3]) + ("; …" if len(tied) > 3 else "")
    return (
        f"**{len(tied)} of the {others} others {'is' if len(tied) == 1 else 'are'} tied with the best"
        f" ({_said(choice['best_settings'])})**: at 95 % the validation rows do not tell them apart ({named})."
    )


def _said(settings: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items()) or "the only one"


def _fold(card: Card) -> str:
    """What the validation figures speak of, where the run had a fold."""
    data = card.data
    if data["fold"] is None:
        return ""
    return (
        f" The run is of fold {data['fold']} (from 0) of {data['folds']}: its validation figures speak of the"
        f" {data['n_val']} rows of that fold, and it was trained on the {data['n_train']} rows of the others."
    )


def _opening(card: Card) -> str:
    words = [
        f"No candidate was trained on the {card.data['n_test']} test rows, nor chosen by them. They were opened"
        f" {card.opening}"
    ]
    if card.earlier_openings:
        n = len(card.earlier_openings)
        times = "once" if n == 1 else f"{n} times"
        words[0] += (
            f". **They had been opened {times} before** ({'; '.join(card.earlier_openings)}): what was changed"
            " after seeing a test figure makes this one flatter."
        )
    else:
        words[0] += ": the first time."
    words.append(
        "Rows of the same group were kept in one part."
        if card.data["grouped"]
        else "Rows were split at random: if several describe the same thing, the figures flatter."
    )
    return " ".join(words)


def _intervals(card: Card) -> str:
    if card.data["grouped"]:
        return (
            f"The {card.data['n_test']} test rows are of {card.data['n_test_units']} groups; intervals are"
            " Wilson's with the effective number of rows, and differences are summed within groups."
        )
    return "Intervals are Wilson's, for rows taken as independent."
