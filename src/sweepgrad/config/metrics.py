"""The names of the metrics that `select.metric` may take; what they are stands in `stats.metrics`.

Names alone are here, so that a configuration is checked without NumPy. A test finds none that is missing in
either place.
"""

NAMES = ["accuracy", "nll", "roc_auc"]  # an extension adds to them by `tasks.add_metric`


def known(name: str) -> str:
    """Return a metric's name.

    Raises:
        ValueError: there is no such metric.
    """
    if name not in NAMES:
        raise ValueError(f"{name!r} should be one of {', '.join(NAMES)}")
    return name
