"""The names of the metrics that `select.metric` accepts; `stats.metrics` defines them.

Only the names are here, so that a configuration is checked without importing NumPy. A test compares the two.
"""

NAMES = ["accuracy", "nll", "roc_auc"]  # an extension adds to them by `tasks.add_metric`


def known(name: str) -> str:
    """Return a metric's name.

    Raises:
        ValueError: the metric is unknown.
    """
    if name not in NAMES:
        raise ValueError(f"{name!r} should be one of {', '.join(NAMES)}")
    return name
