"""scikit-learn's MLPClassifier. It has no dropout, so its step does less than the others'."""

import warnings

from benchmarks.peers import task
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier


def step_seconds(hidden: tuple[int, ...], batch: int, dtype: str) -> float:
    """Seconds per training step: an epoch of `partial_fit`, divided by its steps.

    An epoch of large batches has few steps, and then scikit-learn's own bookkeeping around an epoch shows.
    Only whole batches are trained on, so that every step is alike.
    """
    X, y = task.data(dtype)
    model = MLPClassifier(
        hidden,
        solver="sgd",
        alpha=0.0,
        batch_size=batch,
        learning_rate_init=task.LEARNING_RATE,
        momentum=0.0,
        random_state=0,
    )
    steps = task.ROWS // batch
    if batch == 1:
        steps = 400  # a tenth of an epoch, since a whole one takes seconds
    rows = steps * batch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return task.fastest(lambda: model.partial_fit(X[:rows], y[:rows], classes=[0, 1])) / steps
