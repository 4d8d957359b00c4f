"""Functions of `Value`s that networks are made of."""

import numpy as np
from numpy.typing import ArrayLike

from sweepgrad.autograd.value import ShapeError, Value, as_value, mask


def sigmoid(x: Value | ArrayLike, scale: Value | float = 1.0) -> Value:
    """1 / (1 + exp(-scale * x)), element by element, without overflow.

    A larger `scale` makes the curve steeper: its slope at 0 is scale / 4.
    """
    return (as_value(x) * scale).sigmoid()


def negative_loglikelihood(y: Value | ArrayLike, p: Value | ArrayLike) -> Value:
    """The mean of -log P(y | p) over examples, where p is the probability that y is 1; a scalar.

    For y in {0, 1} this is -mean(y log p + (1 - y) log(1 - p)). Written with the probability of what did
    happen, so that being certain and right costs 0 rather than 0 * log 0.

    Arguments:
        y: (N,), zeros and ones.
        p: (N,), probabilities.

    Raises:
        ShapeError: the shapes differ; (N,) against (N, 1) too.
        ValueError: a label is neither 0 nor 1, or a probability lies outside [0, 1].
        DomainError: a probability of what did happen is 0.
    """
    p = as_value(p)
    labels = _labels(y, p)
    if p.size and not (p.data.min() >= 0 and p.data.max() <= 1):
        raise ValueError(f"probabilities lie in [0, 1], not from {p.data.min():g} to {p.data.max():g}")
    happened = (1 - labels) + (2 * labels - 1) * p
    return -happened.log().mean()


def negative_loglikelihood_of_scores(
    y: Value | ArrayLike, scores: Value, scale: Value | float = 1.0
) -> Value:
    """`negative_loglikelihood(y, sigmoid(scores, scale))`, exact for scores of any size; a scalar.

    -log sigmoid(z) = softplus(-z) and -log(1 - sigmoid(z)) = softplus(z), so the loss of an example is
    softplus((1 - 2y) z), which neither overflows nor takes the logarithm of a rounded 0.

    Arguments:
        y: (N,), zeros and ones.
        scores: (N,), what the last layer gives before the sigmoid.

    Raises:
        ShapeError, ValueError: as for `negative_loglikelihood`.
    """
    return margins(y, scores, scale).softplus().mean()


def margins(y: Value | ArrayLike, scores: Value, scale: Value | float = 1.0) -> Value:
    """scale * scores, with the sign turned for positive rows: how far each row is on the wrong side; (N,).

    The loss of a row is the softplus of its margin, and a row is taken for the wrong class if it is above 0.
    """
    return scores * ((1 - 2 * _labels(y, scores)) * scale)


def dropout(x: Value, probability: Value | float, key: int) -> Value:
    """Zero each element with `probability` and scale the rest by 1 / (1 - probability).

    The expectation stays x, so that nothing changes at prediction, where dropout is not applied: inverted
    dropout, after Srivastava et al., "Dropout", JMLR 15 (2014), section 10.

    Arguments:
        key: the randomness, from `sweepgrad.rng.key`; the same key drops the same elements.

    Raises:
        ValueError: `probability` lies outside [0, 1).
    """
    if not 0 <= float(probability) < 1:
        raise ValueError(f"a dropout probability lies in [0, 1), not {float(probability)}")
    return x * mask(x.operand(probability), key, x.shape)


def _labels(y: Value | ArrayLike, predictions: Value) -> Value:
    given = y.data if isinstance(y, Value) else np.asarray(y, dtype=predictions.data.dtype)
    if given.shape != predictions.shape:
        raise ShapeError(f"labels have shape {given.shape}, predictions {predictions.shape}")
    if not ((given == 0) | (given == 1)).all():
        raise ValueError("labels must be 0 or 1")
    return as_value(y if isinstance(y, Value) else given)
