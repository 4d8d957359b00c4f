"""`sweepgrad gradcheck`: compare the gradient used in training with numeric differences, entry by entry.

The analytic gradient is the engine's own: one recorded step of SGD at learning rate 1 subtracts exactly the
gradient from the weights. The numeric one is of the loss computed forward with `Value` in float64, with the
same dropout masks. So errors in a local gradient, in the recording and in the replay are found.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sweepgrad import engine, rng
from sweepgrad.autograd.value import Array, Value
from sweepgrad.compose.plan import plan
from sweepgrad.engine.tape import DType
from sweepgrad.errors import UserError
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD
from sweepgrad.tasks.task import RowWeights, Task
from sweepgrad.training.experiment import Experiment, prepare
from sweepgrad.training.loop import Examples
from sweepgrad.training.steps import Update, training

log = logging.getLogger(__name__)

ENTRIES = 500
"""Largest number of entries that are checked; each takes several forward passes."""
STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
TOLERANCE = {"float64": 1e-6, "float32": 3e-4}
"""Largest relative error that rounding explains."""
FLOOR = 1e-2
"""Errors are relative to the entry, or to this share of the largest entry if that is more."""
_STEP = 1


@dataclass(frozen=True)
class Entry:
    """One entry of a gradient.

    Attributes:
        name: such as `W2[3, 0]` or `b1[4]`: the layer's weight from that input to that output, or its bias.
        error: |analytic - numeric| divided by the larger of the two, or by FLOOR times the largest entry.
    """

    name: str
    analytic: float
    numeric: float
    error: float


@dataclass(frozen=True)
class Report:
    """The result of checking a gradient.

    Attributes:
        what: the network, batch and engine, as text.
        n_parameters: number of entries of the gradient.
        checked: number of entries that were compared.
        unjudged: number of these without a reliable numeric derivative: a ReLU has its kink within the step.
        worst: the entry with the largest error; None if no entry has a numeric derivative.
        tolerance: the largest error that passes.
    """

    what: str
    n_parameters: int
    checked: int
    unjudged: int
    worst: Entry | None
    tolerance: float

    @property
    def passed(self) -> bool:
        """True if all errors are within the tolerance, for at least half of the entries."""
        if self.worst is None or 2 * self.unjudged > self.checked:
            return False
        return self.worst.error <= self.tolerance

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        checked = "all" if self.checked == self.n_parameters else f"{self.checked} of"
        lines = [self.what, f"  {checked} {self.n_parameters} gradient entries compared"]
        if self.unjudged:
            lines[1] += f"; {self.unjudged} skipped, because a ReLU has its kink there"
        if self.worst is not None:
            lines.append(
                f"  largest error: {self.worst.name}, analytic {self.worst.analytic:.10g}, numeric"
                f" {self.worst.numeric:.10g}, relative error {self.worst.error:.1e}"
            )
        lines.append(f"  {'passed' if self.passed else 'FAILED'} (tolerance {self.tolerance:.0e})")
        return "\n".join(lines)


def gradcheck(overrides: Sequence[str], *, search: Sequence[str] = ()) -> Iterator[Report]:
    """Check the gradient of each run of a command line; runs with the same gradient are checked once.

    Optimizer, schedule, clipping and weight decay do not influence the gradient.

    Arguments:
        overrides: as for `sweepgrad train`.
        search: folders with more YAML.

    Raises:
        UserError: the configuration or the table is not valid.
    """
    seen = set()
    for job in plan(overrides, multirun=True, search=search).jobs:
        experiment = prepare(job.config)
        rows = min(job.config.train.batch_size, len(experiment.train.y))
        key = (
            job.config.data,
            job.config.split,
            experiment.network,
            rows,
            job.config.seed,
            job.config.engine,
            experiment.class_weights,
        )
        if key in seen:
            continue
        seen.add(key)
        yield _check(experiment, rows)


def _check(experiment: Experiment, rows: int) -> Report:
    config, network = experiment.config, experiment.network
    batch = Examples(experiment.train.X[:rows], experiment.train.y[:rows])
    weights: Array = _weights(network, config.seed).astype(experiment.dtype)
    key = rng.key(config.seed, "dropout")
    task, classes = experiment.task, experiment.class_weights
    analytic = _analytic(task, network, weights, batch, classes, key, config.engine.name)
    chosen = _chosen(network, rng.key(config.seed, "gradcheck"))
    layers = "-".join(map(str, network.widths))
    if network.n_parameters * rows > 100_000:
        log.info(f"{layers}: {len(chosen)} numeric derivatives …")
    loss = _loss(task, network, batch, classes, key)
    numeric = np.array([_numeric(loss, weights.astype(np.float64), i) for i in chosen])
    names = _names(network)
    derivative, doubt = numeric.T
    floor = FLOOR * max(np.abs(analytic).max(), np.abs(derivative).max(), np.finfo(np.float64).tiny)
    size = np.maximum(np.maximum(np.abs(analytic[chosen]), np.abs(derivative)), floor)
    tolerance = TOLERANCE[config.engine.dtype]
    judged = np.flatnonzero(doubt / size <= tolerance)
    worst = None
    if judged.size:
        errors = np.abs(analytic[chosen] - derivative) / size
        w = judged[int(np.argmax(errors[judged]))]
        worst = Entry(names[chosen[w]], float(analytic[chosen[w]]), float(derivative[w]), float(errors[w]))
    return Report(
        what=(
            f"{layers}, {network.activation or 'linear'}, dropout {network.dropout:g}, scale"
            f" {network.scale:g}, seed {config.seed}; {rows} rows, {config.engine.dtype}, engine"
            f" {config.engine.name}"
        ),
        n_parameters=network.n_parameters,
        checked=len(chosen),
        unjudged=len(chosen) - judged.size,
        worst=worst,
        tolerance=tolerance,
    )


def _weights(network: Network, seed: int) -> Array:
    """Return initial weights with small biases, (n_parameters,).

    With biases of 0, a ReLU unit whose inputs are all 0 would be at its kink.
    """
    weights = list(network.initial(seed))
    for number in range(1, len(weights), 2):
        weights[number] = 0.1 * rng.normal(rng.key(seed, "gradcheck", number), weights[number].shape)
    return np.concatenate([w.reshape(-1) for w in weights])


def _analytic(
    task: Task,
    network: Network,
    weights: Array,
    batch: Examples,
    classes: RowWeights | None,
    key: int,
    name: engine.Name,
) -> NDArray[np.float64]:
    """Return what one step of SGD at learning rate 1 subtracts from the weights, (n_parameters,)."""
    dtype: DType = weights.dtype.type
    weighted = classes is not None
    tape = training(network, Update(SGD(1.0)), len(batch.y), dtype, task=task, weighted=weighted)
    buffer = np.zeros(tape.length, dtype)
    for slot, constant in tape.constants:
        slot.of(buffer)[...] = constant
    inputs = {"scale": network.scale, "dropout": network.dropout, **(classes.inputs if classes else {})}
    for label, number in inputs.items():
        if label in tape.inputs:
            tape.inputs[label].of(buffer)[...] = number
    after = tape.inputs["weights"].of(buffer)
    after[:] = weights
    scalars: Array = np.array([[1.0, _STEP]], dtype)  # learning rate and number of the step
    order = np.arange(len(batch.y))
    replay = engine.load(name, dtype)
    done, _ = replay(tape, buffer, batch.X, batch.y.reshape(-1, 1), order, scalars, key, _STEP)
    if not done:
        raise UserError(
            f"the loss of the first {len(batch.y)} rows is not a finite number: lower model.scale"
            f" ({network.scale:g})"
        )
    return weights.astype(np.float64) - after


def _loss(
    task: Task, network: Network, batch: Examples, classes: RowWeights | None, key: int
) -> Callable[[NDArray[np.float64]], float]:
    """Return the loss of the batch as a function of weights (n_parameters,), in float64."""
    X, y = Value(batch.X.astype(np.float64)), Value(batch.y.astype(np.float64))
    inputs = {label: Value(number) for label, number in (classes.inputs if classes else {}).items()}
    keys = [rng.fold(key, _STEP, layer) for layer in range(len(network.hidden))] if network.dropout else []

    def loss(weights: NDArray[np.float64]) -> float:
        scores = network.scores([Value(w) for w in network.divided(weights)], X, keys)
        losses, _ = task.losses(y, scores, network.scale)
        return (losses * task.row_weights(y, inputs) if classes else losses).mean().item()

    return loss


def _numeric(
    loss: Callable[[NDArray[np.float64]], float], weights: NDArray[np.float64], i: int
) -> tuple[float, float]:
    """Return the derivative by central differences, and its uncertainty.

    Of several step sizes, the two neighbours that agree best are taken: long steps cross kinks, short ones
    are dominated by rounding. They agree if their slopes do, and if the difference between the slopes to both
    sides shrinks with the step; at a kink it does not. The larger disagreement is the uncertainty. It does
    not depend on the analytic gradient.
    """
    here, slopes, bends = loss(weights), [], []
    for step in STEPS:
        up, down = weights.copy(), weights.copy()
        up[i] += step
        down[i] -= step
        above, below = loss(up), loss(down)
        slopes.append((above - below) / (up[i] - down[i]))
        bends.append((above - 2 * here + below) / step)
    doubt, number = min(
        (max(abs(slopes[n] - slopes[n - 1]), abs(bends[n] - bends[n - 1] * STEPS[n] / STEPS[n - 1])), n)
        for n in range(1, len(STEPS))
    )
    return slopes[number], doubt


def _chosen(network: Network, key: int) -> NDArray[np.int64]:
    """Return the indices of the entries to check, ascending: all, or a sample of each matrix and bias."""
    if network.n_parameters <= ENTRIES:
        return np.arange(network.n_parameters)
    sizes = [w.size for w in network.divided(np.zeros(network.n_parameters))]
    share = ENTRIES // len(sizes)
    chosen, start = [], 0
    for number, size in enumerate(sizes):
        chosen.append(start + rng.permutation(rng.fold(key, number), size)[:share])
        start += size
    return np.sort(np.concatenate(chosen))


def _names(network: Network) -> list[str]:
    names = []
    for layer, (inputs, outputs) in enumerate(pairwise(network.widths), start=1):
        names += [f"W{layer}[{i}, {j}]" for i in range(inputs) for j in range(outputs)]
        names += [f"b{layer}[{j}]" for j in range(outputs)]
    return names
