"""Functions of `Value`s: sigmoid, losses and dropout."""

import numpy as np

from sweepgrad.autograd.value import ShapeError, Value, ValueLike, as_value, holds_values, mask


def sigmoid(x: ValueLike, scale: Value | float = 1.0) -> Value:
    """Return 1 / (1 + exp(-scale * x)), element by element, without overflow.

    A larger `scale` makes the curve steeper: its slope at 0 is scale / 4.
    """
    return (as_value(x) * scale).sigmoid()


def negative_loglikelihood(y: ValueLike, p: ValueLike) -> Value:
    """Return the mean of -log P(y | p) over examples, where p is the probability that y is 1; a scalar.

    For y in {0, 1} this is -mean(y log p + (1 - y) log(1 - p)). It takes the logarithm of the true class's
    probability only, so that a certain and correct prediction costs 0, and not 0 * log 0.

    Arguments:
        y: (N,), zeros and ones.
        p: (N,), probabilities.

    Raises:
        ShapeError: the shapes differ; (N,) against (N, 1) too.
        ValueError: a label is neither 0 nor 1, or a probability is outside [0, 1].
        DomainError: the true class of an example has probability 0.
    """
    p = as_value(p)
    labels = _labels(y, p)
    if p.size and not (p.data.min() >= 0 and p.data.max() <= 1):
        raise ValueError(f"probabilities must be in [0, 1], not from {p.data.min():g} to {p.data.max():g}")
    of_true_class = (1 - labels) + (2 * labels - 1) * p
    return -of_true_class.log().mean()


def negative_loglikelihood_of_scores(y: ValueLike, scores: Value, scale: Value | float = 1.0) -> Value:
    """Return `negative_loglikelihood(y, sigmoid(scores, scale))`, exact for scores of any size; a scalar.

    -log sigmoid(z) = softplus(-z) and -log(1 - sigmoid(z)) = softplus(z), so the loss of an example is
    softplus((1 - 2y) z), which neither overflows nor takes the logarithm of a rounded 0.

    Arguments:
        y: (N,), zeros and ones.
        scores: (N,), the output of the last layer before the sigmoid.

    Raises:
        ShapeError, ValueError: as for `negative_loglikelihood`.
    """
    return margins(y, scores, scale).softplus().mean()


def margins(y: ValueLike, scores: Value, scale: Value | float = 1.0) -> Value:
    """Return scale * scores with the sign flipped for positive rows; (N,).

    A row is predicted wrong if its margin is above 0. The loss of a row is the softplus of its margin.
    """
    return scores * ((1 - 2 * _labels(y, scores)) * scale)


def dropout(x: Value, probability: Value | float, key: int) -> Value:
    """Zero each element with `probability` and scale the rest by 1 / (1 - probability).

    The expectation stays x, so prediction without dropout needs no correction: inverted dropout, after
    Srivastava et al., "Dropout", JMLR 15 (2014), section 10.

    Arguments:
        key: from `sweepgrad.rng.key`; the same key drops the same elements.

    Raises:
        ValueError: `probability` is outside [0, 1).
    """
    if not 0 <= float(probability) < 1:
        raise ValueError(f"a dropout probability must be in [0, 1), not {float(probability)}")
    return x * mask(x.operand(probability), key, x.shape)


def _labels(y: ValueLike, predictions: Value) -> Value:
    if holds_values(y):
        y = as_value(y)
    given = y.data if isinstance(y, Value) else np.asarray(y, dtype=predictions.data.dtype)
    if given.shape != predictions.shape:
        raise ShapeError(f"labels have shape {given.shape}, predictions {predictions.shape}")
    if not ((given == 0) | (given == 1)).all():
        raise ValueError("labels must be 0 or 1")
    return as_value(y if isinstance(y, Value) else given)
