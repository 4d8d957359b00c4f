"""sweepgrad: a config-driven experiment runner for neural networks on tables, on its own autograd.

Names are imported when they are first used, so that `import sweepgrad` and the command line are fast.
"""

import logging
import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # the application decides what is shown

# MLflow reads these when it is imported. It reports usage unless this is disabled, and it waits minutes for a
# server that does not answer, although the results are safe on disk.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # there would be one for each run
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for results

# MLflow imports tqdm, which in a notebook without ipywidgets warns that it would draw its bars as text.
warnings.filterwarnings("ignore", message="IProgress not found")

if TYPE_CHECKING:
    from sweepgrad.api.evaluation import Card, Evaluation, evaluate, finalize
    from sweepgrad.api.lab import Answer, ask
    from sweepgrad.api.models import load_model
    from sweepgrad.api.results import Run, Sweep
    from sweepgrad.api.stored import load_sweep
    from sweepgrad.api.tables import CheckReport, check
    from sweepgrad.api.training import load_config, sweep, train
    from sweepgrad.autograd.functional import dropout, negative_loglikelihood, sigmoid
    from sweepgrad.autograd.value import Value, gradient
    from sweepgrad.config.schema import Config
    from sweepgrad.errors import UserError
    from sweepgrad.tracking.store import Store
    from sweepgrad.training.bundle import Bundle
    from sweepgrad.training.mlp import MLP

_MODULES = {
    "Answer": "api.lab",
    "Bundle": "training.bundle",
    "Card": "api.evaluation",
    "CheckReport": "api.tables",
    "Config": "config.schema",
    "Evaluation": "api.evaluation",
    "MLP": "training.mlp",
    "Run": "api.results",
    "Store": "tracking.store",
    "Sweep": "api.results",
    "UserError": "errors",
    "Value": "autograd.value",
    "ask": "api.lab",
    "check": "api.tables",
    "dropout": "autograd.functional",
    "evaluate": "api.evaluation",
    "finalize": "api.evaluation",
    "gradient": "autograd.value",
    "load_config": "api.training",
    "load_model": "api.models",
    "load_sweep": "api.stored",
    "negative_loglikelihood": "autograd.functional",
    "sigmoid": "autograd.functional",
    "sweep": "api.training",
    "train": "api.training",
}

__all__ = [  # noqa: RUF022 - by topic
    "load_config",
    "check",
    "train",
    "sweep",
    "load_sweep",
    "finalize",
    "evaluate",
    "load_model",
    "ask",
    "Config",
    "CheckReport",
    "Run",
    "Sweep",
    "Card",
    "Evaluation",
    "Answer",
    "Bundle",
    "Store",
    "UserError",
    "MLP",
    "Value",
    "gradient",
    "sigmoid",
    "negative_loglikelihood",
    "dropout",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'sweepgrad' has no attribute {name!r}")
    return getattr(import_module(f"sweepgrad.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
