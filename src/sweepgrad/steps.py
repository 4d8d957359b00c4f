"""The two steps that are recorded: one of training, and one of evaluation.

They depend on the architecture, the kind of update and the size of the batch. Everything else, learning rate,
dropout probability, scale and so on, is an input of the tape, so that runs that differ in these share one.
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.functional import margins
from sweepgrad.autograd.value import Array, Value, concatenate, gradient, shapes_only
from sweepgrad.engine.record import record
from sweepgrad.engine.tape import DType, Tape
from sweepgrad.nn import Network
from sweepgrad.optim import Optimizer, clipped


@dataclass(frozen=True)
class Update:
    """How weights follow from gradients, besides the schedule of the learning rate.

    Arguments:
        weight_decay: the share of each matrix that lr takes off at every step, beside the optimizer's own
            step (Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019); biases are left.
        clip: the length to which the gradient of a batch is shortened; None leaves it.
    """

    optimizer: Optimizer
    weight_decay: float = 0.0
    clip: float | None = None

    @property
    def kind(self) -> "Update":
        """What of it decides how a step is computed."""
        numbers = {field.name: 0.5 for field in fields(self.optimizer)}  # type: ignore[arg-type]
        optimizer = replace(self.optimizer, **numbers)  # type: ignore[type-var]
        return Update(optimizer, 0.5 if self.weight_decay else 0.0, None if self.clip is None else 0.5)

    @property
    def inputs(self) -> dict[str, float]:
        """Its numbers, by the labels that they have on a tape."""
        numbers = {f.name: getattr(self.optimizer, f.name) for f in fields(self.optimizer) if f.name != "lr"}  # type: ignore[arg-type]
        if self.weight_decay:
            numbers["weight_decay"] = self.weight_decay
        if self.clip is not None:
            numbers["clip"] = self.clip
        return numbers


def training(network: Network, update: Update, rows: int, dtype: DType) -> Tape:
    """A step of training: the loss of `rows` rows, its gradient, and the weights that follow.

    Its inputs: `lr` and `step`, for each step; `weights` and `state1`, `state2`, … of the optimizer, carried
    along; `scale`, `dropout` if the network drops any, and the update's own numbers.
    """
    architecture = replace(network, scale=1.0, dropout=0.5 if network.dropout > 0 else 0.0)
    return _training(architecture, update.kind, rows, np.dtype(dtype).name)


def evaluation(network: Network, rows: int, dtype: DType) -> Tape:
    """The losses of `rows` rows without dropout, summed up, and how many are taken for the wrong class.

    Its inputs: `weights` and `scale`.
    """
    return _evaluation(replace(network, scale=1.0, dropout=0.0), rows, np.dtype(dtype).name)


_DTYPES: dict[str, DType] = {"float64": np.float64, "float32": np.float32}


@lru_cache(maxsize=256)
def _training(network: Network, update: Update, rows: int, dtype_name: str) -> Tape:
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
        keys = [rng.key(0, "recording", i) for i in range(len(network.hidden) if network.dropout else 0)]
        dropout = number("dropout") if keys else None

        weights = network.divide(w)
        scores = network.scores(weights, features.T, keys, dropout)
        wrong = margins(targets.reshape(rows), scores, scale)
        g = concatenate([part.reshape(-1) for part in gradient(wrong.softplus().mean(), weights)])
        g.label = "gradient"
        watched = [wrong]
        if update.clip is not None:
            g, norm = clipped(g, fixed["clip"])
            watched.append(norm)
        chosen = {f.name: fixed[f.name] for f in fields(update.optimizer) if f.name != "lr"}  # type: ignore[arg-type]
        optimizer = replace(update.optimizer, lr=lr, **chosen)  # type: ignore[type-var]
        new, new_state = optimizer.step(w, g, tuple(state), t)
        if update.weight_decay:
            matrices = Value(_matrices(network).astype(dtype), "matrices")
            new = new - lr * fixed["weight_decay"] * (matrices * w)
    return record(
        features=features,
        targets=targets,
        carried=[(w, new), *zip(state, new_state, strict=True)],
        fixed=[scale, *([] if dropout is None else [dropout]), *fixed.values()],
        scalars=[lr, t],
        finite=watched,
        keys=keys,
        dtype=dtype,
    )


@lru_cache(maxsize=256)
def _evaluation(network: Network, rows: int, dtype_name: str) -> Tape:
    dtype = _DTYPES[dtype_name]
    features = Value(np.zeros((network.n_features, rows), dtype), "features")
    targets = Value(np.zeros((1, rows), dtype), "targets")
    w = Value(np.zeros(network.n_parameters, dtype), "weights")
    scale = Value(np.asarray(1.0, dtype), "scale")
    y = targets.reshape(rows)
    scores = network.scores(network.divide(w), features.T)
    losses = margins(y, scores, scale).softplus()
    positive = 1 - (-scores).step()  # a score of 0 is a probability of ½, which is taken for positive
    wrong = y + positive - 2 * y * positive
    return record(
        features=features,
        targets=targets,
        fixed=[w, scale],
        collected=[losses.sum(), wrong.sum()],
        dtype=dtype,
    )


def _matrices(network: Network) -> Array:
    """1 for each weight of a matrix, 0 for those of a bias; (n_parameters,)."""
    weights = network.divide(Value(np.zeros(network.n_parameters)))
    return np.concatenate([np.full(w.size, float(w.ndim == 2)) for w in weights])
