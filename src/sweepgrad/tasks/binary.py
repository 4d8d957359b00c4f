"""The binary task: a target of two values, scored by the log-odds of the positive one."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np
from scipy.special import expit, logit

from sweepgrad.autograd.functional import margins
from sweepgrad.autograd.value import Array, Value
from sweepgrad.stats.calibration import greatest_likelihood
from sweepgrad.stats.metrics import METRICS, accuracy_interval, p_value_of_difference
from sweepgrad.tasks.encoding import two_values
from sweepgrad.tasks.task import Baseline, Task, Units
from sweepgrad.tasks.wording import Wording

# p (1 - p) below this: the output is certain, with an error probability of at most one in a thousand.
_CERTAIN = 1e-3
# An output that is certain on more than this share of rows may be right. Then about one in a thousand such
# rows is wrong; ten are tolerated, and half of all other rows.
_CERTAIN_ROWS, _WRONG_THOUGH_CERTAIN, _WRONG_ELSEWHERE = 0.5, 0.01, 0.5
# A class that is predicted for fewer rows than this share of its size is hardly predicted at all: with
# dropout 0.5, three layers of six predict 0 to 8 of 1,184 songs as popular, while 453 are.
_HARDLY_EVER = 0.1
# ROC AUC below which probabilities hardly rank rows.
_RANKS = 0.6


@dataclass(frozen=True)
class ClassWeights:
    """Weights of the losses of positive and negative rows in training.

    Their mean over the training rows is 1, so that the learning rate keeps its meaning.
    """

    positive: float
    negative: float

    @staticmethod
    def of(y: Array, weight: float | Literal["balanced"]) -> "ClassWeights":
        """Return the weights for training labels y (N,).

        Arguments:
            weight: of a positive row, relative to a negative one; "balanced" gives both classes the same
                total (King & Zeng, "Logistic regression in rare events data", Political Analysis 9, 2001,
                section 4.2, with half of the population in each class).

        Raises:
            ValueError: if classes cannot be balanced because one has no row.
        """
        share = float(y.mean(dtype=np.float64))
        if weight == "balanced":
            if share in (0.0, 1.0):
                raise ValueError("cannot balance the classes: all training rows are of one class")
            return ClassWeights(0.5 / share, 0.5 / (1 - share))
        mean = weight * share + 1 - share
        return ClassWeights(weight / mean, 1 / mean)

    @property
    def inputs(self) -> dict[str, float]:
        """The weights by their labels on a tape."""
        return {"positive_weight": self.positive, "negative_weight": self.negative}


def _check(y: Array) -> None:
    if not ((y == 0) | (y == 1)).all():
        raise ValueError("labels must be 0 or 1")


def _losses(y: Value, scores: Value, scale: Value | float) -> tuple[Value, Value]:
    wrong = margins(y, scores, scale)
    return wrong.softplus(), wrong


def _row_weights(y: Value, inputs: Mapping[str, Value]) -> Value:
    negative, positive = inputs["negative_weight"], inputs["positive_weight"]
    return negative + y * (positive - negative)


def _counts(y: Value, scores: Value, _: Value) -> dict[str, Value]:
    positive = 1 - (-scores).step()  # a score of 0 is a probability of ½, which is predicted positive
    return {"wrong": y + positive - 2 * y * positive, "positive": positive}


def _saturated(log_odds: Value) -> Value:
    p = log_odds.sigmoid()
    return (_CERTAIN - p * (1 - p)).step().mean()


def _output_problem(certain: float, figures: Mapping[str, float], scale: str) -> str:
    wrong = 1 - figures["accuracy"]
    tolerated = certain * _WRONG_THOUGH_CERTAIN + (1 - certain) * _WRONG_ELSEWHERE
    if certain <= _CERTAIN_ROWS or wrong <= tolerated:
        return ""
    return (
        f"the output saturates{scale}: probabilities are close to 0 or 1 on {certain:.0%} of the training"
        f" rows, but {wrong:.0%} of all training rows are predicted wrongly"
    )


def _one_answer(y: Array, log_odds: Array) -> tuple[str, str]:
    positive = float(np.mean(Value(log_odds).sigmoid().data >= 0.5))
    is_positive = float(y.mean(dtype="float64"))
    for predicted, actual in ((positive, is_positive), (1 - positive, 1 - is_positive)):
        if predicted < _HARDLY_EVER * actual:
            rows = "every validation row" if predicted == 0 else f"{1 - predicted:.1%} of the validation rows"
            problem = f"predicts the {'majority' if actual <= 0.5 else 'minority'} class for {rows}"
            area = METRICS["roc_auc"].value(y, log_odds, 0.5)
            ranks = (
                f"its probabilities rank rows (ROC AUC {area:.2f}), but a threshold of 0.5 does not fit them"
            )
            return problem, ranks if area >= _RANKS else ""
    return "", ""


def _loss_hint(nll: float) -> str:
    if nll <= log(2):
        return ""
    hint = "lower optimizer.lr" if nll > 2 else "higher optimizer.lr, or more train.epochs"
    return f"worse than a coin flip, whose nll is {log(2):.3f}; try a {hint}"


def _interval(y: Array, log_odds: Array, units: Units, threshold: float) -> tuple[float, float]:
    return accuracy_interval(y, expit(log_odds), units=units, threshold=threshold)


def _p_value(y: Array, log_odds: Array, other: Array, units: Units, threshold: float) -> float:
    return p_value_of_difference(y, expit(log_odds), expit(other), units, threshold=threshold)


def _majority(_: Array, y: Array, X: Array) -> Array:
    """Return the same log-odds for all rows: those of the share of positive rows in training."""
    return np.full(len(X), logit(y.mean(dtype=np.float64)))


def _logistic(X_train: Array, y: Array, X: Array) -> Array:
    """Return the log-odds of scikit-learn's logistic regression."""
    # late: it is slow to import, and training does not need it
    from sklearn.linear_model import LogisticRegression

    return np.asarray(LogisticRegression(max_iter=1000).fit(X_train, y).decision_function(X))


_WORDING = Wording(
    poor=(
        "Not good enough to deploy: its test accuracy of {test} is not significantly better than {majority},"
        " that of always predicting the majority class ({p})."
    ),
    good="Its test accuracy is {test}, {gain} more than that of always predicting the majority class.",
    linear_wins="Logistic regression is better ({linear}): deploy that instead.",
    linear_ties=(
        "Logistic regression reaches {linear}, {linear_gap}; the difference is not significant ({p}): deploy"
        " logistic regression, which is simpler, unless another reason is against it."
    ),
    linear_loses="Better than logistic regression ({linear}, {p}).",
    baselines=(
        "Logistic regression is scikit-learn's, fitted on the same features and training rows.\n"
        "Both baselines use the threshold 0.5, the chosen model its own. McNemar's test gives\n"
        "{p} for the difference from logistic regression, and\n"
        "{p_simple} for the difference from the majority class."
    ),
    use=(
        "{in_order}. About one prediction in {one_in:.0f} is wrong, so decide about single rows only where"
        " mistakes are cheap."
    ),
    in_order="Good enough for ranking (a positive row ranks above a negative one in {ranking:.0%} of pairs)",
    costs=(
        "its mistakes cost {cost:.3f} per test row, always predicting the cheaper class costs {constant:.3f}"
    ),
    costs_poor="Not good enough to deploy: {costs}; the difference is not significant ({p}).",
    costs_good="Worth deploying for these costs: {costs} ({p}). {in_order}. {calibration}",
    calibrated="No miscalibration was detected in its probabilities.",
    miscalibrated=(
        "Its probabilities are off by {error:.1%} on average, more than chance explains ({chance:.1%}): use"
        " them for ranking only."
    ),
)

BINARY = Task(
    name="binary",
    encode=two_values,
    check=_check,
    garbled=lambda y: 1 - y,
    losses=_losses,
    weight_labels=("positive_weight", "negative_weight"),
    row_weights=_row_weights,
    class_weights=ClassWeights.of,
    counts=_counts,
    counted=("wrong",),
    watched=("positive",),
    figures=lambda loss, counts: {"nll": loss, "accuracy": 1 - counts["wrong"]},
    saturated=_saturated,
    output_problem=_output_problem,
    one_answer=_one_answer,
    loss_hint=_loss_hint,
    by_epoch=("nll", "accuracy"),
    default="accuracy",
    ranking="roc_auc",
    when_rare=("nll", "roc_auc"),
    probabilities=lambda log_odds: Value(log_odds).sigmoid().data,
    best_scale=greatest_likelihood,
    interval=_interval,
    p_value=_p_value,
    baselines={
        "majority": Baseline("always the majority class", _majority),
        "logistic": Baseline("logistic regression", _logistic),
    },
    wording=_WORDING,
)
