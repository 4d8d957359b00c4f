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

# The output: p (1 - p) < 10⁻³, so that it claims to be wrong on no more than one row in a thousand.
_CERTAIN = 1e-3
# An output that is certain on more rows than this share may be so with good reason. Then it is wrong on one
# such row in a thousand; ten are let pass, and of all other rows half.
_CERTAIN_ROWS, _WRONG_THOUGH_CERTAIN, _WRONG_ELSEWHERE = 0.5, 0.01, 0.5
# An answer that is given to fewer rows than this share of those it is right for is hardly given at all: with
# dropout 0.5, three layers of six take 0 to 8 of 1,184 songs for popular, where 453 are.
_HARDLY_EVER = 0.1
# Below it, probabilities hardly put rows in order.
_RANKS = 0.6


@dataclass(frozen=True)
class ClassWeights:
    """What the loss of a positive and of a negative row is multiplied by in training.

    Over the training rows they are 1 in the mean, so that the learning rate keeps its meaning.
    """

    positive: float
    negative: float

    @staticmethod
    def of(y: Array, weight: float | Literal["balanced"]) -> "ClassWeights":
        """Return those of training labels y (N,).

        Arguments:
            weight: of a positive row, relative to a negative one; "balanced" gives both classes the same sum
                (King & Zeng, "Logistic regression in rare events data", Political Analysis 9, 2001,
                section 4.2, with half of the population in each class).

        Raises:
            ValueError: a class that is to be balanced has no row.
        """
        share = float(y.mean(dtype=np.float64))
        if weight == "balanced":
            if share in (0.0, 1.0):
                raise ValueError("there is nothing to balance: all training rows are of one class")
            return ClassWeights(0.5 / share, 0.5 / (1 - share))
        mean = weight * share + 1 - share
        return ClassWeights(weight / mean, 1 / mean)

    @property
    def inputs(self) -> dict[str, float]:
        """Return them by their labels on a tape."""
        return {"positive_weight": self.positive, "negative_weight": self.negative}


def _check(y: Array) -> None:
    if not ((y == 0) | (y == 1)).all():
        raise ValueError("labels must be 0 or 1")


def _losses(y: Value, scores: Value, scale: Value | float) -> tuple[Value, Value]:
    wrong = margins(y, scores, scale)
    return wrong.softplus(), wrong


def _row_weights(y: Value, inputs: Mapping[str, Value]) -> Value:
    less, more = inputs["negative_weight"], inputs["positive_weight"]
    return less + y * (more - less)


def _counts(y: Value, scores: Value, _: Value) -> dict[str, Value]:
    positive = 1 - (-scores).step()  # a score of 0 is a probability of ½, which is predicted positive
    return {"wrong": y + positive - 2 * y * positive, "positive": positive}


def _saturated(log_odds: Value) -> Value:
    p = log_odds.sigmoid()
    return (_CERTAIN - p * (1 - p)).step().mean()


def _output_problem(certain: float, figures: Mapping[str, float], scale: str) -> str:
    wrong = 1 - figures["accuracy"]
    bearable = certain * _WRONG_THOUGH_CERTAIN + (1 - certain) * _WRONG_ELSEWHERE
    if certain <= _CERTAIN_ROWS or wrong <= bearable:
        return ""
    return (
        f"the output saturates{scale}: it is certain on {certain:.0%} of the training rows, and wrong on"
        f" {wrong:.0%} of them all"
    )


def _one_answer(y: Array, log_odds: Array) -> tuple[str, str]:
    positive = float(np.mean(Value(log_odds).sigmoid().data >= 0.5))
    is_positive = float(y.mean(dtype="float64"))
    for taken, are in ((positive, is_positive), (1 - positive, 1 - is_positive)):
        if taken < _HARDLY_EVER * are:
            rows = "every validation row" if taken == 0 else f"{1 - taken:.1%} of the validation rows"
            said = f"predicts the {'majority' if are <= 0.5 else 'minority'} class for {rows}"
            area = METRICS["roc_auc"].value(y, log_odds, 0.5)
            ranks = f"its probabilities put rows in order (ROC AUC {area:.2f}), but not around one half"
            return said, ranks if area >= _RANKS else ""
    return "", ""


def _loss_hint(nll: float) -> str:
    if nll <= log(2):
        return ""
    hint = "lower" if nll > 2 else "higher, or more train.epochs,"
    return f"worse than a coin, whose nll is {log(2):.3f}; an optimizer.lr that is {hint} may help"


def _interval(y: Array, log_odds: Array, units: Units, threshold: float) -> tuple[float, float]:
    return accuracy_interval(y, expit(log_odds), units=units, threshold=threshold)


def _p_value(y: Array, log_odds: Array, other: Array, units: Units, threshold: float) -> float:
    return p_value_of_difference(y, expit(log_odds), expit(other), units, threshold=threshold)


def _majority(_: Array, y: Array, X: Array) -> Array:
    """Return the same log-odds for all rows: as often positive as in training."""
    return np.full(len(X), logit(y.mean(dtype=np.float64)))


def _logistic(X_train: Array, y: Array, X: Array) -> Array:
    """Return the log-odds of scikit-learn's logistic regression."""
    from sklearn.linear_model import LogisticRegression  # late: it takes long, and training needs none

    return np.asarray(LogisticRegression(max_iter=1000).fit(X_train, y).decision_function(X))


_WORDING = Wording(
    poor=(
        "Not good enough to deploy: always giving the commoner answer is right on {majority} of the test"
        " rows, the model on {test}, which is not measurably better (p = {p:.2f})."
    ),
    good=("Right on {test} of the test rows, {gain} more than always giving the commoner answer."),
    linear_wins="Logistic regression is better ({linear}): deploy that instead.",
    linear_ties=(
        "Not measurably better than logistic regression ({linear}, p = {p:.2f}): where that is simpler to"
        " run, run that."
    ),
    linear_loses="Better than logistic regression ({linear}, p = {p:.3f}).",
    baselines=(
        "Logistic regression is scikit-learn's, on the same inputs and training rows; it and the\n"
        "commoner answer decide at 0.5, the chosen model at its own threshold. The difference to logistic"
        " regression has\np = {p:.3f} in McNemar's test, that to the commoner answer\np = {p_simple:.3g}."
    ),
    use=(
        "{in_order}; as about one answer in {one_in:.0f} is wrong, good enough to decide about a single row"
        " only where such a mistake is cheap."
    ),
    in_order=(
        "Good enough to put rows in order, the likelier first (a positive row comes before a negative one in"
        " {ranking:.0%} of pairs)"
    ),
    costs=("its mistakes cost {cost:.3f} a test row, always giving the cheaper answer {constant:.3f}"),
    costs_poor="Not good enough to deploy: {costs}, which is not measurably more (p = {p:.2f}).",
    costs_good="Worth deploying for these costs: {costs} (p = {p:.3f}). {in_order}. {calibration}",
    calibrated="Its probabilities are as right as this many rows can show.",
    miscalibrated=(
        "Its probabilities are off by {error:.1%} on average, more than chance explains ({chance:.1%}): go by"
        " their order."
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
        "majority": Baseline("always the commoner answer", _majority),
        "logistic": Baseline("logistic regression", _logistic),
    },
    wording=_WORDING,
)
