"""The multilayer perceptron as an estimator: build it, fit it, ask it."""

import numpy as np
from numpy.typing import ArrayLike

from sweepgrad.autograd.functional import sigmoid
from sweepgrad.autograd.value import Array, ShapeError, Value
from sweepgrad.nn.activations import ACTIVATIONS
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD
from sweepgrad.training.loop import Examples, Fit, fit


class MLP:
    """A network with its weights, trained by stochastic gradient descent.

    Arguments:
        n_features: how many columns X has.
        layer_sizes: the widths of the layers; the last is the output's, 1.
        learning_rate: of plain SGD.
        dropout_proba: the probability of dropping a hidden unit while training.
        activation: of the hidden layers: relu, tanh or sigmoid.
        scale: the output is sigmoid(scale * score).
        batch_size: rows a step.
        seed: for the initial weights, the order of rows and dropout.

    Raises:
        ValueError: a size, rate or probability is out of its range.

    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> y = np.array([0.0, 0.0, 1.0, 1.0])
    >>> model = MLP(1, [4, 1], learning_rate=0.5, seed=1).fit(X, y, X, y, max_epochs=200)
    >>> model.predict(X).round().astype(int)
    array([0, 0, 1, 1])
    """

    def __init__(
        self,
        n_features: int,
        layer_sizes: list[int] | tuple[int, ...],
        learning_rate: float = 0.01,
        dropout_proba: float = 0.0,
        *,
        activation: str = "relu",
        scale: float = 1.0,
        batch_size: int = 1,
        seed: int = 0,
    ) -> None:
        if n_features < 1 or not layer_sizes or min(layer_sizes) < 1:
            raise ValueError(f"sizes are at least 1, not {n_features} features and layers {layer_sizes}")
        if layer_sizes[-1] != 1:
            raise ValueError(f"layer_sizes ends with the output's 1, not {layer_sizes[-1]}")
        if not 0 <= dropout_proba < 1:
            raise ValueError(f"dropout_proba lies in [0, 1), not {dropout_proba}")
        if not (0 < learning_rate < np.inf and 0 < scale < np.inf):
            raise ValueError(f"learning_rate and scale are positive, not {learning_rate} and {scale}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}, not {activation!r}")
        if batch_size < 1:
            raise ValueError(f"batch_size is at least 1, not {batch_size}")
        self.network = Network(n_features, tuple(layer_sizes[:-1]), activation, dropout_proba, scale)
        self.learning_rate, self.batch_size, self.seed = learning_rate, batch_size, seed
        self.weights = tuple(Value(w) for w in self.network.initial(seed))
        self.result: Fit | None = None

    def __call__(self, X: Value | ArrayLike) -> Value:
        """The probabilities for X (N, n_features) as a graph, shape (N,), without dropout."""
        X = X if isinstance(X, Value) else Value(X)
        return sigmoid(self.network.scores(self.weights, X), self.network.scale)

    def parameters(self) -> tuple[Value, ...]:
        """Each layer's matrix (inputs, outputs) and bias (outputs,), in order."""
        return self.weights

    def fit(
        self,
        Xmat_train: ArrayLike,
        Y_train: ArrayLike,
        Xmat_val: ArrayLike,
        Y_val: ArrayLike,
        max_epochs: int = 100,
        verbose: bool = False,
    ) -> "MLP":
        """Train from the initial weights and keep those of the best epoch on the validation rows.

        Arguments:
            Xmat_train, Xmat_val: (N, n_features).
            Y_train, Y_val: (N,), zeros and ones.
            verbose: print the losses and accuracies after each epoch.

        Raises:
            ShapeError: features and labels do not fit together.
            ValueError: no rows or no epochs; a feature is not finite; a label is neither 0 nor 1.
            Diverged: the learning rate is too large for the data.
        """
        if max_epochs < 1:
            raise ValueError(f"max_epochs is at least 1, not {max_epochs}")
        train, val = _examples(Xmat_train, Y_train), _examples(Xmat_val, Y_val)
        for result in fit(
            self.network,
            SGD(self.learning_rate),
            train,
            val,
            epochs=max_epochs,
            batch_size=self.batch_size,
            seed=self.seed,
        ):
            self.result = result
            if verbose:
                epoch = result.history[-1]
                print(
                    f"epoch {len(result.history)}/{max_epochs}"
                    f"  train nll {epoch.train['nll']:.4f} accuracy {epoch.train['accuracy']:.3f}"
                    f"  val nll {epoch.val['nll']:.4f} accuracy {epoch.val['accuracy']:.3f}"
                )
        if self.result is not None:
            self.weights = tuple(Value(w) for w in self.result.weights)
        return self

    def predict(self, Xmat: ArrayLike) -> Array:
        """The probability that y is 1 for each row of Xmat (N, n_features); shape (N,)."""
        return self(Xmat).data

    def __repr__(self) -> str:
        arrows = " → ".join(str(width) for width in self.network.widths)
        return f"MLP({arrows}, {self.network.n_parameters} parameters)"


def _examples(X: ArrayLike, y: ArrayLike) -> Examples:
    features, labels = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if features.ndim != 2 or labels.shape != (len(features),):
        raise ShapeError(f"X must be (N, D) and y (N,), not {features.shape} and {labels.shape}")
    if not len(labels) or not np.isfinite(features).all():
        raise ValueError("X must have rows, of finite numbers")
    return Examples(features, labels)
