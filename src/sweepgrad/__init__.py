"""sweepgrad: a config-driven experiment runner for neural networks on tables, on its own autograd.

Names are imported when they are first asked for, so that the command line answers at once.
"""

import logging
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # who uses the package decides what is shown

# For MLflow, which reads these when it is imported: it reports usage to its makers unless told not to, and it
# waits many minutes for a server that is gone, where what a run produced is already safe on disk.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # as many bars as a sweep has runs
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for our results

if TYPE_CHECKING:
    from sweepgrad.autograd.functional import dropout, negative_loglikelihood, sigmoid
    from sweepgrad.autograd.value import Value, gradient
    from sweepgrad.training.mlp import MLP

_HOME = {
    "MLP": "sweepgrad.training.mlp",
    "Value": "sweepgrad.autograd.value",
    "dropout": "sweepgrad.autograd.functional",
    "gradient": "sweepgrad.autograd.value",
    "negative_loglikelihood": "sweepgrad.autograd.functional",
    "sigmoid": "sweepgrad.autograd.functional",
}

__all__ = ["MLP", "Value", "dropout", "gradient", "negative_loglikelihood", "sigmoid"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sweepgrad' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
