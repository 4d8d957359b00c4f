"""The multilayer perceptron as an estimator: `MLP(...).fit(X, y).predict(X)`."""

from collections.abc import Mapping
from typing import Any, Literal

from numpy.typing import ArrayLike, DTypeLike

from sweepgrad.autograd.functional import sigmoid
from sweepgrad.autograd.value import Array, Value
from sweepgrad.messages.escape import markup
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import Optimizer
from sweepgrad.nn.schedules import Schedule
from sweepgrad.training import mlp_arguments as check
from sweepgrad.training.loop import Diverged, Examples, Fit, fit


class MLP:
    """A network for yes/no questions, with its weights; minibatch gradient descent trains it.

    Arguments:
        n_features: the number of columns of X.
        layer_sizes: the widths of the layers; the last is the output's, 1. `[1]` is logistic regression.
        learning_rate: 0.01 unless given.
        dropout_proba: the probability of dropping a hidden unit in training.
        activation: of the hidden layers: relu, tanh or sigmoid.
        scale: the output is sigmoid(scale * score).
        batch_size: rows in a step.
        seed: of the initial weights, the order of rows and dropout; the same seed gives the same bits.
        optimizer: sgd, momentum, adagrad or adam; or settings (`{"name": "adam", "beta1": 0.8}`); or an
            object from `sweepgrad.nn.optimizers`, which has its own learning rate.
        schedule: of the learning rate: constant, inverse_root, staircase or cosine; or settings
            (`{"name": "cosine", "final": 0.1}`); or an object from `sweepgrad.nn.schedules`.
        dtype: float64 or float32, of weights, training and predictions.
        weight_decay: times the learning rate, the share that every step takes off the weights, except biases.
        clip: the norm to which the gradient of a batch is shortened; None leaves it.
        patience: stop after this many epochs without a lower validation loss; None trains all epochs.
        class_weight: the weight of a positive row in the training loss, relative to a negative one;
            "balanced" gives both classes the same total; None weighs all rows alike.

    Attributes:
        result: the history and the best epoch of the last `fit`; None before.

    Raises:
        ValueError: an argument is not allowed.

    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> y = np.array([0, 0, 1, 1])
    >>> model = MLP(1, [4, 1], learning_rate=0.5, seed=1).fit(X, y, max_epochs=200)
    >>> model.predict(X).round().astype(int)
    array([0, 0, 1, 1])
    """

    def __init__(
        self,
        n_features: int,
        layer_sizes: list[int] | tuple[int, ...],
        learning_rate: float | None = None,
        dropout_proba: float = 0.0,
        *,
        activation: str = "relu",
        scale: float = 1.0,
        batch_size: int = 1,
        seed: int = 0,
        optimizer: str | Mapping[str, Any] | Optimizer = "sgd",
        schedule: str | Mapping[str, Any] | Schedule = "constant",
        dtype: DTypeLike = "float64",
        weight_decay: float = 0.0,
        clip: float | None = None,
        patience: int | None = None,
        class_weight: Literal["balanced"] | float | None = None,
    ) -> None:
        *hidden, _ = check.layers(layer_sizes)
        self.network = Network(
            check.whole("n_features", n_features),
            tuple(hidden),
            check.activation(activation),
            check.probability("dropout_proba", dropout_proba),
            check.positive("scale", scale),
        )
        self.batch_size, self.seed = check.whole("batch_size", batch_size), check.whole("seed", seed, least=0)
        self.optimizer, self._rate = check.optimizer_of(optimizer, learning_rate)
        self.learning_rate = float(self.optimizer.lr)
        self.schedule, self.dtype = check.schedule_of(schedule), check.number_type(dtype)
        self.weight_decay = check.positive("weight_decay", weight_decay, zero=True)
        self.clip = None if clip is None else check.positive("clip", clip)
        self.patience = None if patience is None else check.whole("patience", patience)
        self.class_weight = check.class_weight(class_weight)
        if self.weight_decay * self.learning_rate >= 1:
            raise ValueError(
                f"weight_decay ({self.weight_decay:g}) times {self._rate} ({self.learning_rate:g}) is the"
                " share that every step takes off the weights, and must be below 1"
            )
        check.representable(
            {
                self._rate: self.learning_rate,
                "dropout_proba": self.network.dropout,
                "scale": self.network.scale,
                "weight_decay": self.weight_decay,
                "clip": self.clip,
            },
            self.dtype,
        )
        names = [f"{kind}{layer}" for layer in range(1, len(hidden) + 2) for kind in "Wb"]
        initial = [w.astype(self.dtype) for w in self.network.initial(self.seed)]
        self.weights = tuple(Value(w, name) for w, name in zip(initial, names, strict=True))
        self.result: Fit | None = None

    def __call__(self, X: Value | ArrayLike) -> Value:
        """Return the probabilities for X (N, n_features) as a graph, shape (N,), without dropout."""
        X = X if isinstance(X, Value) else Value(self._features("X", X, rows=False))
        return sigmoid(self.network.scores(self.weights, X), self.network.scale)

    def parameters(self) -> tuple[Value, ...]:
        """Return each layer's matrix (inputs, outputs) and bias (outputs,), in order.

        `fit` sets their data; they stay the same objects.
        """
        return self.weights

    def zero_grad(self) -> None:
        """Clear the gradients of all parameters, before the next `backward`."""
        for w in self.weights:
            w.grad = None

    def fit(
        self,
        Xmat_train: ArrayLike,
        Y_train: ArrayLike,
        Xmat_val: ArrayLike | None = None,
        Y_val: ArrayLike | None = None,
        max_epochs: int = 100,
        verbose: bool = False,
    ) -> "MLP":
        """Train from the initial weights, and keep the weights of the epoch with the lowest validation loss.

        Without validation rows, the training loss decides. An interrupted training (KeyboardInterrupt) keeps
        the best weights so far.

        Arguments:
            Xmat_train, Xmat_val: (N, n_features): a DataFrame, an array of any layout, or nested lists.
            Y_train, Y_val: (N,), 0 and 1, or bools.
            verbose: print the losses and accuracies after each epoch.

        Raises:
            ShapeError: features and labels do not fit together.
            ValueError: no rows or no epochs; a feature is not finite; a label is neither 0 nor 1.
            Diverged: a loss or weight is infinite; the weights are left as they were.
        """
        epochs = check.whole("max_epochs", max_epochs)
        if (Xmat_val is None) != (Y_val is None):
            raise ValueError("Xmat_val and Y_val must be given together, or neither")
        if self.patience is not None and Xmat_val is None:
            raise ValueError(f"patience ({self.patience}) needs validation rows; give Xmat_val and Y_val")
        train = self._examples("train", Xmat_train, Y_train)
        val = train if Xmat_val is None else self._examples("val", Xmat_val, Y_val)
        result = None
        try:
            for result in fit(
                self.network,
                self.optimizer,
                train,
                val,
                epochs=epochs,
                batch_size=self.batch_size,
                seed=self.seed,
                patience=self.patience,
                schedule=self.schedule,
                weight_decay=self.weight_decay,
                clip=self.clip,
                class_weights=check.row_weights(train.y, self.class_weight),
            ):
                if verbose:
                    print(_progress(result, epochs, validated=val is not train))
        except Diverged as error:
            raise Diverged(self._in_own_names(str(error))) from None
        except KeyboardInterrupt:
            self._keep(result, val is not train)
            raise
        self._keep(result, val is not train)
        return self

    def predict(self, Xmat: ArrayLike | Value) -> Array:
        """Return the probability that y is 1 for each row of Xmat (N, n_features); shape (N,).

        scikit-learn's `predict` returns classes instead; here they are `model.predict(X) >= 0.5`. Dropout is
        not applied.
        """
        X = self._features("Xmat", Xmat, rows=False)
        return self.network.probabilities(tuple(w.data for w in self.weights), X)

    def __repr__(self) -> str:
        arrows = " → ".join(str(width) for width in self.network.widths)
        return f"MLP({arrows}, {self.network.n_parameters} parameters)"

    def _repr_html_(self) -> str:
        """Return a table of the layers, and the result of the last training."""
        rows, last = [], len(self.network.hidden)
        for layer in range(last + 1):
            matrix, bias = self.weights[2 * layer : 2 * layer + 2]
            function = str(self.network.activation) if layer < last else "sigmoid"
            inputs, outputs = matrix.shape
            rows.append(
                f"<tr><td>{layer + 1}</td><td>{inputs} → {outputs}</td><td>{markup(function)}</td>"
                f"<td>{matrix.size + bias.size}</td></tr>"
            )
        if self.result is None:
            trained = "not trained"
        else:
            best, n = self.result.best, len(self.result.history)
            split_set = "validation" if self._validated else "training"
            trained = (
                f"best epoch {self.result.best_epoch} of {n}: {split_set} loss {best.val_loss:.4f}, accuracy"
                f" {best.val['accuracy']:.3f}"
            )
        header = "<tr><th>layer</th><th>widths</th><th>activation</th><th>parameters</th></tr>"
        return f"<table><caption>{markup(repr(self))}; {trained}</caption>{header}{''.join(rows)}</table>"

    def _keep(self, result: Fit | None, validated: bool) -> None:
        if result is not None:
            self.result, self._validated = result, validated
            for w, new in zip(self.weights, result.weights, strict=True):
                w.data = new
            self.zero_grad()

    def _features(self, name: str, X: Any, rows: bool = True) -> Array:
        return check.features(name, X, self.network.n_features, self.dtype, rows)

    def _examples(self, part: str, X: Any, y: Any) -> Examples:
        features = self._features(f"Xmat_{part}", X)
        return Examples(features, check.labels(f"Y_{part}", y, len(features), self.dtype))

    def _in_own_names(self, message: str) -> str:
        """Return a message with the arguments' names in place of the configuration's keys."""
        names = {"optimizer.lr": self._rate, "model.scale": "scale", "train.weight_decay": "weight_decay"}
        for key, name in names.items():
            message = message.replace(key, name)
        return message


def _progress(result: Fit, epochs: int, validated: bool) -> str:
    epoch = result.history[-1]
    line = f"epoch {len(result.history)}/{epochs}"
    for part, figures in (("train", epoch.train), ("val", epoch.val)):
        if part == "train" or validated:
            line += f"  {part} nll {figures['nll']:.4f} accuracy {figures['accuracy']:.3f}"
    return line
