"""The record of a task: all that depends on what kind of target is predicted.

A task is the only place that knows what a network's scores mean. The steps of training are recorded from its
functions on `Value`s, and everything after training goes over its functions on arrays and its metrics.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from sweepgrad.autograd.value import Array, Value
from sweepgrad.stats.metrics import METRICS, Metric
from sweepgrad.tasks.encoding import Encoded, Scalar, TargetColumn
from sweepgrad.tasks.wording import Wording

Units = NDArray[Any]


class RowWeights(Protocol):
    """What the losses of training rows are multiplied by, as numbers that a tape takes as inputs."""

    @property
    def inputs(self) -> dict[str, float]:
        """Return the numbers by the labels that they have on a tape."""
        ...


@dataclass(frozen=True)
class Baseline:
    """What a model is to be better than.

    Attributes:
        title: what it is called.
        scores: from training features (N, D), their targets (N,) and other features (M, D), scores (M,).
    """

    title: str
    scores: Callable[[Array, Array, Array], Array]


@dataclass(frozen=True, eq=False)
class Task:
    """A kind of target. Targets and scores are (N,); two tasks are equal if they are the same object.

    Attributes:
        name: of the task.
        encode: makes numbers of a table's target, given `data.positive`.
        check: raises ValueError where targets are none of this task.
        garbled: other targets in the place of each, for a test that nothing looks at them.
        losses: from targets, scores and the network's scale, the loss of each row, (N,), and what must be
            finite for it to be finite, (N,).
        weight_labels: what `row_weights` reads, by the labels of the tape's inputs; () without.
        row_weights: from targets and those inputs, what the training loss of each row is multiplied by, (N,).
        class_weights: from training targets and `train.class_weight`, the numbers behind these inputs.
        counts: from targets, scores and scale, numbers of each row (N,) by name.
        counted: the names of those that the evaluation tape sums up beside the losses.
        watched: the names of those that only a diagnosis asks for.
        figures: from the mean loss and the mean counts, the metrics of an epoch by name, the loss first.
        saturated: from scaled scores (N,), the share of rows where the loss has next to no slope; a scalar.
        output_problem: from that share, an epoch's training figures, and words for the network's scale: what
            is wrong with the output; "" if nothing is.
        one_answer: from targets and scaled scores, that the model gives (nearly) all rows one answer, "" if
            it does not; and what may be said in its favour, "" if nothing.
        loss_hint: from a run's validation loss, that it has learned nothing, and the remedy; "" if it has.
        by_epoch: the metrics that an epoch has, the loss first.
        default: the metric that is shown first, has an interval, and is tested against baselines.
        ranking: the metric of how well any numbers put rows in the order of their targets.
        when_rare: the metrics to go by where a class is rare.
        probabilities: of the positive value, from scaled scores (N,).
        best_scale: from targets and scaled scores, what to multiply the latter by for the likeliest
            probabilities; None where nothing is best.
        interval: of the default metric at 95 %, from targets, scaled scores, units and threshold.
        p_value: that the default metric of two models differs so much by chance, from targets, the model's
            scaled scores, the others', units and the threshold of the former.
        baselines: the simplest answer, then a linear model, by name.
        wording: templates of the card.
    """

    name: str
    encode: Callable[[TargetColumn, Scalar | None], Encoded]
    check: Callable[[Array], None]
    garbled: Callable[[Array], Array]
    losses: Callable[[Value, Value, Value | float], tuple[Value, Value]]
    weight_labels: tuple[str, ...]
    row_weights: Callable[[Value, Mapping[str, Value]], Value]
    class_weights: Callable[[Array, Any], RowWeights]
    counts: Callable[[Value, Value, Value], dict[str, Value]]
    counted: tuple[str, ...]
    watched: tuple[str, ...]
    figures: Callable[[float, Mapping[str, float]], dict[str, float]]
    saturated: Callable[[Value], Value]
    output_problem: Callable[[float, Mapping[str, float], str], str]
    one_answer: Callable[[Array, Array], tuple[str, str]]
    loss_hint: Callable[[float], str]
    by_epoch: tuple[str, ...]
    default: str
    ranking: str
    when_rare: tuple[str, ...]
    probabilities: Callable[[Array], Array]
    best_scale: Callable[[Array, Array], float | None]
    interval: Callable[[Array, Array, Units, float], tuple[float, float]]
    p_value: Callable[[Array, Array, Array, Units, float], float]
    baselines: Mapping[str, Baseline]
    wording: Wording

    @property
    def metrics(self) -> dict[str, Metric]:
        """Return the metrics that its runs report, by name."""
        return {name: metric for name, metric in METRICS.items() if self.name in metric.tasks}

    @property
    def loss(self) -> str:
        """Return the name of the metric that is its loss."""
        return self.by_epoch[0]
