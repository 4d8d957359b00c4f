"""The recorded steps: one for training, one for evaluation, and one for layer statistics.

A tape depends on the task, the architecture, the kind of update and the batch size. Everything else, such as
learning rate, dropout probability and scale, is an input, so that runs that differ in these share a tape.
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import accumulate, pairwise

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array, Value, concatenate, gradient, shapes_only
from sweepgrad.engine.recorder import record
from sweepgrad.engine.tape import DType, Tape
from sweepgrad.nn.activations import ACTIVATIONS
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import Optimizer, clipped
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tasks.task import Task


@dataclass(frozen=True)
class Update:
    """The update of the weights: optimizer, weight decay and gradient clipping.

    Arguments:
        weight_decay: each step subtracts lr * weight_decay * W from each matrix W, in addition to the
            optimizer's step (Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019); biases
            do not decay.
        clip: the norm to which the gradient of a batch is clipped; None does not clip.
    """

    optimizer: Optimizer
    weight_decay: float = 0.0
    clip: float | None = None

    @property
    def kind(self) -> "Update":
        """The update without its numbers: what a tape depends on."""
        numbers = {field.name: 0.5 for field in fields(self.optimizer)}  # type: ignore[arg-type]
        optimizer = replace(self.optimizer, **numbers)  # type: ignore[type-var]
        return Update(optimizer, 0.5 if self.weight_decay else 0.0, None if self.clip is None else 0.5)

    @property
    def inputs(self) -> dict[str, float]:
        """The numbers of the update, by their labels on a tape."""
        numbers = {f.name: getattr(self.optimizer, f.name) for f in fields(self.optimizer) if f.name != "lr"}  # type: ignore[arg-type]
        if self.weight_decay:
            numbers["weight_decay"] = self.weight_decay
        if self.clip is not None:
            numbers["clip"] = self.clip
        return numbers


def training(
    network: Network,
    update: Update,
    rows: int,
    dtype: DType,
    *,
    task: Task = BINARY,
    weighted: bool = False,
    closely: bool = False,
) -> Tape:
    """Return the tape of a training step: the loss of `rows` rows, its gradient, and the new weights.

    Inputs: `lr` and `step`, for each step; `weights` and the optimizer's `state1`, `state2`, …, carried from
    step to step; `scale`, `dropout` if the network has dropout, and the update's own numbers; the task's
    `weight_labels` if rows are weighted.

    Arguments:
        closely: collect, for each layer, the norms of its gradient (before clipping), of the change of its
            weights, and of the weights before; the update itself is the same to the bit.
    """
    architecture = replace(network, scale=1.0, dropout=0.5 if network.dropout > 0 else 0.0)
    return _training(task, architecture, update.kind, rows, np.dtype(dtype).name, weighted, closely)


def evaluation(
    network: Network, rows: int, dtype: DType, *, task: Task = BINARY, closely: bool = False
) -> Tape:
    """Return the tape that sums the losses of `rows` rows without dropout, and the task's counts.

    Inputs: `weights` and `scale`.

    Arguments:
        closely: also collect the counts for layer statistics, last.
    """
    return _evaluation(task, replace(network, scale=1.0, dropout=0.0), rows, np.dtype(dtype).name, closely)


def probe(network: Network, rows: int, dtype: DType, *, task: Task = BINARY) -> Tape:
    """Return the tape that computes which shares of the layers are stuck, for `rows` rows without dropout.

    It collects, for each hidden layer, the dead or saturated share if its activation has one; then the share
    of rows for which the output is saturated. Inputs: `weights` and `scale`.
    """
    return _probe(task, replace(network, scale=1.0, dropout=0.0), rows, np.dtype(dtype).name)


_DTYPES: dict[str, DType] = {"float64": np.float64, "float32": np.float32}


@lru_cache(maxsize=256)
def _training(
    task: Task, network: Network, update: Update, rows: int, dtype_name: str, weighted: bool, closely: bool
) -> Tape:
    dtype = _DTYPES[dtype_name]

    def number(label: str) -> Value:
        return Value(np.asarray(0.5, dtype), label)

    with shapes_only():
        features = Value(np.zeros((network.n_features, rows), dtype), "features")
        targets = Value(np.zeros((1, rows), dtype), "targets")
        w = Value(np.zeros(network.n_parameters, dtype), "weights")
        state = [Value(s, f"state{i}") for i, s in enumerate(update.optimizer.start(w.data), start=1)]
        lr, t, scale = number("lr"), number("step"), number("scale")
        fixed = {label: number(label) for label in update.inputs}
        classes = {label: number(label) for label in task.weight_labels} if weighted else {}
        keys = [rng.key(0, "recording", i) for i in range(len(network.hidden) if network.dropout else 0)]
        dropout = number("dropout") if keys else None

        weights = network.divide(w)
        scores = network.scores(weights, features.T, keys, dropout)
        losses, finite = task.losses(targets.reshape(rows), scores, scale)
        if weighted:
            losses = losses * task.row_weights(targets.reshape(rows), classes)
        g = concatenate([part.reshape(-1) for part in gradient(losses.mean(), weights)])
        g.label = "gradient"
        unclipped, watched = g, [finite]
        if update.clip is not None:
            g, norm = clipped(g, fixed["clip"])
            watched.append(norm)
        chosen = {f.name: fixed[f.name] for f in fields(update.optimizer) if f.name != "lr"}  # type: ignore[arg-type]
        optimizer = replace(update.optimizer, lr=lr, **chosen)  # type: ignore[type-var]
        new, new_state = optimizer.step(w, g, tuple(state), t)
        if update.weight_decay:
            matrices = Value(_matrices(network).astype(dtype), "matrices")
            new = new - lr * fixed["weight_decay"] * (matrices * w)
        lengths = []
        for layer in _layers(network) if closely else ():
            lengths += [_length(x[layer]) for x in (unclipped, new - w, w)]
    return record(
        features=features,
        targets=targets,
        carried=[(w, new), *zip(state, new_state, strict=True)],
        fixed=[scale, *([] if dropout is None else [dropout]), *fixed.values(), *classes.values()],
        scalars=[lr, t],
        finite=watched,
        collected=lengths,
        keys=keys,
        dtype=dtype,
    )


@lru_cache(maxsize=256)
def _evaluation(task: Task, network: Network, rows: int, dtype_name: str, closely: bool) -> Tape:
    dtype = _DTYPES[dtype_name]
    features = Value(np.zeros((network.n_features, rows), dtype), "features")
    targets = Value(np.zeros((1, rows), dtype), "targets")
    w = Value(np.zeros(network.n_parameters, dtype), "weights")
    scale = Value(np.asarray(1.0, dtype), "scale")
    y = targets.reshape(rows)
    scores = network.scores(network.divide(w), features.T)
    losses, _ = task.losses(y, scores, scale)
    counts = task.counts(y, scores, scale)
    shown = (*task.counted, *(task.watched if closely else ()))
    return record(
        features=features,
        targets=targets,
        fixed=[w, scale],
        collected=[losses.sum(), *(counts[name].sum() for name in shown)],
        dtype=dtype,
    )


@lru_cache(maxsize=256)
def _probe(task: Task, network: Network, rows: int, dtype_name: str) -> Tape:
    dtype = _DTYPES[dtype_name]
    with shapes_only():
        features = Value(np.zeros((network.n_features, rows), dtype), "features")
        targets = Value(np.zeros((1, rows), dtype), "targets")
        w = Value(np.zeros(network.n_parameters, dtype), "weights")
        scale = Value(np.asarray(1.0, dtype), "scale")
        *hidden, scores = network.layers(network.divide(w), features)
        stuck = None if network.activation is None else ACTIVATIONS[network.activation].stuck
        shares = [] if stuck is None else [stuck(h) for h in hidden]
        shares.append(task.saturated(scores * scale))
    return record(features=features, targets=targets, fixed=[w, scale], collected=shares, dtype=dtype)


def _length(x: Value) -> Value:
    """Compute the norm of a vector with a product that no optimizer uses.

    If Adagrad's g * g were shared, adding it to its sum would no longer be a single rounding.
    """
    return (x.reshape(1, x.size) @ x.reshape(x.size, 1)).reshape() ** 0.5


def _layers(network: Network) -> list[slice]:
    """Return the slice of each layer's weights, matrix and bias, in the vector of all weights."""
    sizes = [(inputs + 1) * outputs for inputs, outputs in pairwise(network.widths)]
    return [slice(*ends) for ends in pairwise(accumulate(sizes, initial=0))]


def _matrices(network: Network) -> Array:
    """Return 1 for each weight of a matrix and 0 for each of a bias, (n_parameters,)."""
    weights = network.divide(Value(np.zeros(network.n_parameters)))
    return np.concatenate([np.full(w.size, float(w.ndim == 2)) for w in weights])
