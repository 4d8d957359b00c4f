"""Multilayer perceptrons: their shape, initial weights and forward pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.functional import dropout
from sweepgrad.autograd.value import Array, ShapeError, Value
from sweepgrad.nn.activations import ACTIVATIONS, glorot

Weights = tuple[Array, ...]

_AT_ONCE = 1 << 24  # numbers of a layer in one forward pass, 128 MB; more rows take several passes


@dataclass(frozen=True)
class Network:
    """The architecture of a multilayer perceptron with one output; it holds no weights.

    Weights are a tuple, for each layer a matrix (inputs, outputs) and a bias (outputs,).

    Arguments:
        n_features: the number of inputs.
        hidden: the widths of the hidden layers; () is logistic regression.
        activation: the name of one of `ACTIVATIONS`, after each hidden layer; None without hidden layers.
        dropout: the probability of dropping a hidden unit in training.
        scale: of the output, sigmoid(scale * score).
    """

    n_features: int
    hidden: tuple[int, ...]
    activation: str | None = "relu"
    dropout: float = 0.0
    scale: float = 1.0

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.n_features, *self.hidden, 1)

    @property
    def n_parameters(self) -> int:
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.widths))

    def initial(self, seed: int) -> Weights:
        """Return random weights, by the rule of the activation that follows, and zero biases."""
        before = glorot if self.activation is None else ACTIVATIONS[self.activation].initial
        weights: list[Array] = []
        for layer, (inputs, outputs) in enumerate(pairwise(self.widths)):
            start = before if layer < len(self.hidden) else glorot
            matrix = start(rng.key(seed, "initial", layer), inputs, outputs)
            weights += [matrix, np.zeros(outputs)]
        return tuple(weights)

    def divide(self, flat: Value) -> tuple[Value, ...]:
        """Return the weights of each layer as views of the vector of all weights (n_parameters,)."""
        weights: list[Value] = []
        start = 0
        for layer, (inputs, outputs) in enumerate(pairwise(self.widths), start=1):
            middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
            matrix, bias = flat[start:middle].reshape(inputs, outputs), flat[middle:end]
            matrix.label, bias.label = f"W{layer}", f"b{layer}"
            weights += [matrix, bias]
            start = end
        return tuple(weights)

    def divided(self, flat: Array) -> Weights:
        """Return the weights of each layer as copies from an array (n_parameters,), which may hold NaN."""
        weights: list[Array] = []
        start = 0
        for inputs, outputs in pairwise(self.widths):
            middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
            weights += [flat[start:middle].reshape(inputs, outputs).copy(), flat[middle:end].copy()]
            start = end
        return tuple(weights)

    def scores(
        self,
        weights: Sequence[Value],
        X: Value,
        dropout_keys: Sequence[int] | None = None,
        dropout_probability: Value | None = None,
    ) -> Value:
        """Return the output of the last layer, before the sigmoid.

        Arguments:
            weights: `Value`s of the shapes that `initial` returns.
            X: (N, n_features).
            dropout_keys: a key for each hidden layer, for training with dropout; None or empty drops nothing.
            dropout_probability: replaces the network's own, where it is an input of a tape.

        Returns:
            (N,).

        Raises:
            ShapeError: X has another number of features, or weights do not fit the layers.
        """
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ShapeError(f"the network needs features of shape (N, {self.n_features}), not {X.shape}")
        self._check(weights)
        *_, last = self.layers(weights, X.T, dropout_keys, dropout_probability)
        return last.reshape(len(X))

    def layers(
        self,
        weights: Sequence[Value],
        h: Value,
        dropout_keys: Sequence[int] | None = None,
        dropout_probability: Value | None = None,
    ) -> Iterator[Value]:
        """Yield the output of each layer, (width, N), for features h (n_features, N).

        A column is an example, so that loops over a batch read adjacent numbers.
        """
        probability = self.dropout if dropout_probability is None else dropout_probability
        for layer in range(len(self.hidden)):
            assert self.activation is not None
            h = ACTIVATIONS[self.activation].function(
                weights[2 * layer].T @ h + weights[2 * layer + 1].reshape(-1, 1)
            )
            if dropout_keys:
                h = dropout(h, probability, dropout_keys[layer])
            yield h
        yield weights[-2].T @ h + weights[-1].reshape(-1, 1)

    def scaled_scores(self, weights: Weights, X: Array) -> Array:
        """Return scale * score of each row of X (N, n_features), shape (N,), for the task to interpret."""
        ws, at_once = [Value(w) for w in weights], max(1, _AT_ONCE // max(self.widths))
        pieces = [X[start : start + at_once] for start in range(0, len(X), at_once)] or [X]
        return np.concatenate([(self.scores(ws, Value(x)) * self.scale).data for x in pieces])

    def probabilities(self, weights: Weights, X: Array) -> Array:
        """Return the probability of the positive class for each row of X (N, n_features); shape (N,)."""
        return Value(self.scaled_scores(weights, X)).sigmoid().data

    def _check(self, weights: Sequence[Value]) -> None:
        layers = list(pairwise(self.widths))
        if len(weights) != 2 * len(layers):
            raise ShapeError(f"{len(layers)} layers need {2 * len(layers)} weight arrays, not {len(weights)}")
        for number, (inputs, outputs) in enumerate(layers, start=1):
            matrix, bias = weights[2 * number - 2].shape, weights[2 * number - 1].shape
            if matrix != (inputs, outputs) or bias != (outputs,):
                raise ShapeError(
                    f"layer {number} of {len(layers)} needs weights of shapes {(inputs, outputs)} and"
                    f" {(outputs,)}, not {matrix} and {bias}"
                )
