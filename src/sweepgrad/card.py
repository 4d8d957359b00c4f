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


@dataclass(frozen=True)
class Card:
    """All that the card says, before it is worded.

    Attributes:
        n_candidates: runs that were compared on validation rows.
        n_configurations: how many they are when seeds are not counted.
        baselines: by name, on the test rows.
        p_value_against_logistic: of McNemar's test on the test rows.
        openings: when the test rows of this sweep were opened, this time last.
    """

    sweep: str
    run_id: str
    n_candidates: int
    n_configurations: int
    model: dict[str, Any]
    data: dict[str, Any]
    validation: Scores
    test: Scores
    baselines: dict[str, Scores]
    p_value_against_logistic: float
    confusion: dict[str, int]
    calibration_error: float
    openings: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Whether this is good enough to deploy, and for what, in plain words."""
        majority, logistic = self.baselines["majority"], self.baselines["logistic"]
        low, high = self.test.accuracy_ci
        one_in = 1 / max(1 - self.test.accuracy, 1 / self.test.n)
        if low <= majority.accuracy:
            return (
                f"Not good enough to deploy. Always answering with the commoner value is right on"
                f" {majority.accuracy:.1%} of the test rows, and the model's {self.test.accuracy:.1%}"
                f" ({low:.1%} to {high:.1%}) is not measurably better."
            )
        words = [
            f"Better than always answering with the commoner value ({majority.accuracy:.1%}), but about one"
            f" answer in {one_in:.0f} is wrong."
            if one_in < 20
            else f"Far better than always answering with the commoner value ({majority.accuracy:.1%})."
        ]
        if self.p_value_against_logistic >= 0.05:
            words.append(
                f"Not measurably better than logistic regression ({logistic.accuracy:.1%}, p ="
                f" {self.p_value_against_logistic:.2f}): if that is simpler to run, run that."
            )
        elif logistic.accuracy > self.test.accuracy:
            words.append(f"Logistic regression is better ({logistic.accuracy:.1%}): deploy that instead.")
        else:
            words.append(f"Better than logistic regression ({logistic.accuracy:.1%}) beyond chance.")
        if self.test.accuracy < 0.8:
            words.append(
                "Good enough to rank many rows or to suggest where to look first; not good enough to decide"
                " about a single one."
            )
        else:
            words.append("Good enough for decisions that can bear such a share of errors.")
        words.append(
            "Its probabilities can be taken at face value."
            if self.calibration_error < 0.05
            else f"Its probabilities are off by {self.calibration_error:.1%} on average; their order counts."
        )
        return " ".join(words)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


def markdown(card: Card) -> str:
    """The card as a page; `calibration.png` is expected beside it."""
    model, data = card.model, card.data
    hidden = " → ".join(map(str, model["layers"]))
    times = "once" if len(card.openings) == 1 else f"{len(card.openings)} times"
    gap = card.validation.accuracy - card.test.accuracy
    c = card.confusion
    split = (
        "Rows of the same group were kept in one part."
        if data["grouped"]
        else "Rows were split at random: if several describe the same thing, the figures flatter."
    )
    if card.n_candidates == 1:
        chosen = "It was trained on its own: there was nothing to choose between."
    else:
        n, n_seeds = card.n_candidates, model["seeds"]
        seeds = "its one seed" if n_seeds == 1 else f"its {n_seeds} seeds, and of these the best one"
        chosen = (
            f"{n} models ({card.n_configurations} configurations) of sweep `{card.sweep}` were compared on"
            f" {data['n_val']} validation rows. The configuration with the highest mean accuracy"
            f" ({model['mean_validation_accuracy']:.1%}) won with {seeds}. The best of {n} looks better on"
            f" the rows it was chosen by than it is: its test accuracy is {abs(gap) * 100:.1f} points"
            f" {'below' if gap >= 0 else 'above'} its validation accuracy."
        )
    rows = [
        ("chosen model, validation", card.validation),
        ("**chosen model, test**", card.test),
        ("always the commoner value, test", card.baselines["majority"]),
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

## How it was chosen

{chosen}

The {data["n_test"]} test rows were seen by no model before. They have been opened {times} for this sweep:
{", ".join(card.openings)}. {split}

## On the test rows

| | taken for positive | taken for negative |
| --- | ---: | ---: |
| is positive | {c["true_positive"]} | {c["false_negative"]} |
| is negative | {c["false_positive"]} | {c["true_negative"]} |

Expected calibration error {card.calibration_error:.3f}:

![predicted probability against observed share](calibration.png)

Intervals are Wilson's, for rows taken as independent. Logistic regression is scikit-learn's, on the same
inputs and training rows; the difference to it has p = {card.p_value_against_logistic:.3f} in McNemar's exact
test.
"""
