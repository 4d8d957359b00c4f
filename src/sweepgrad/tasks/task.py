"""The task record: everything that depends on the kind of target.

Only a task knows what a network's scores mean. Training steps are recorded from its functions on `Value`s;
everything after training uses its functions on arrays and its metrics.
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
    """Weights of the losses of training rows, as inputs of a tape."""

    @property
    def inputs(self) -> dict[str, float]:
        """The weights by their labels on a tape."""
        ...


@dataclass(frozen=True)
class Baseline:
    """A simple model to compare with.

    Attributes:
        title: its name in texts.
        scores: computes scores (M,) from training features (N, D), their targets (N,) and features (M, D).
    """

    title: str
    scores: Callable[[Array, Array, Array], Array]


@dataclass(frozen=True, eq=False)
class Task:
    """A kind of target. Targets and scores are (N,); two tasks are equal if they are the same object.

    Attributes:
        name: the name of the task.
        encode: encodes the target column of a table as numbers, given `data.positive`.
        check: raises ValueError if targets are invalid for this task.
        garbled: returns other targets, for the isolation test.
        losses: returns the loss of each row, (N,), from targets, scores and the network's scale; and the
            values (N,) that must be finite for it to be finite.
        weight_labels: the labels of the tape inputs that `row_weights` reads; () if there are none.
        row_weights: returns the weight of each row's training loss, (N,), from targets and these inputs.
        class_weights: returns the values of these inputs from training targets and `train.class_weight`.
        counts: returns numbers of each row (N,) by name, from targets, scores and scale.
        counted: the names of the counts that the evaluation tape sums together with the losses.
        watched: the names of the counts that only the diagnosis uses.
        figures: returns the metrics of an epoch by name, the loss first, from the mean loss and mean counts.
        saturated: returns the share of rows where the loss is almost flat, a scalar, from scaled scores (N,).
        output_problem: returns the problem with the output, or "", from that share, the training metrics of
            an epoch, and a text on the network's scale.
        one_answer: returns, from targets and scaled scores, that the model gives (nearly) all rows the same
            prediction, or ""; and a mitigating remark, or "".
        loss_hint: returns, from a run's validation loss, that it has learned nothing and the remedy, or "".
        by_epoch: the metrics of an epoch, the loss first.
        default: the metric that is shown first, has an interval, and is tested against baselines.
        ranking: the metric of how well scores rank rows.
        when_rare: the metrics to use if a class is rare.
        probabilities: returns those of the positive value from scaled scores (N,).
        best_scale: returns the factor of scaled scores that maximizes the likelihood of the targets; None if
            there is no maximum.
        interval: returns the 95 % interval of the default metric from targets, scaled scores, units and
            threshold.
        p_value: returns the p-value of the difference in the default metric of two models, from targets, the
            scaled scores of both, units and the threshold of the first.
        baselines: the constant prediction, then a linear model, by name.
        wording: templates of the card's sentences.
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
        """The metrics that its runs report, by name."""
        return {name: metric for name, metric in METRICS.items() if self.name in metric.tasks}

    @property
    def loss(self) -> str:
        """The name of the metric that is its loss."""
        return self.by_epoch[0]
