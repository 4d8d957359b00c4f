"""Refuse, before training, runs whose model or record would exceed the limits with which it is read."""

import json
from functools import cache
from itertools import pairwise

from sweepgrad.bounded.arrays import MOST_VALUES
from sweepgrad.bounded.reading import count_of, described
from sweepgrad.config.schema import Config
from sweepgrad.data.access import Training
from sweepgrad.errors import UserError
from sweepgrad.runs.validation import LIMITS
from sweepgrad.tasks.registry import task_of
from sweepgrad.training.bundle_schema import check_preprocessor
from sweepgrad.training.epoch import Epoch
from sweepgrad.training.layer_stats import EpochStats, LayerStats

_LONGEST_NUMBER = -1.2345678901234567e-100  # 24 characters
_REST = 1 << 16  # bytes of a record besides its epochs and what depends on the table
_INDENT = 2  # of an epoch in a record


def refuse_unreadable_model(training: Training) -> int:
    """Check that the preprocessing of a table can be read; return the bytes of a record without epochs.

    Raises:
        UserError: it could not.
    """
    try:
        check_preprocessor(training.preprocessor.to_json())
    except ValueError as error:
        raise UserError(
            f"data.drop: a model of {training.source} could not be read again: {described(error)}. Drop"
            " columns of many levels, or set data.transform=standardize"
        ) from None
    of_table = [training.preprocessor.names, training.notices, training.certificate.to_json()]
    return len(json.dumps(of_table, indent=1)) + _REST


def refuse_unreadable_run(config: Config, n_features: int, n_bytes: int) -> None:
    """Check that the weights and the record of a run can be read.

    Arguments:
        n_bytes: the size of its record without epochs.

    Raises:
        UserError: they could not.
    """
    widths = (n_features, *config.model.hidden, 1)
    if (n := sum(a * b + b for a, b in pairwise(widths))) > MOST_VALUES:
        raise UserError(
            f"model.hidden: {[*config.model.hidden]} with {n_features:,} features has {n:,} weights, and a"
            f" model can have {MOST_VALUES:,}. Use smaller layers"
        )
    n_layers = len(widths) - 1 if config.train.diagnose else 0
    size, values = _of_an_epoch(task_of(config.data).by_epoch, n_layers)
    most = min((LIMITS.size - n_bytes) // size, (LIMITS.values - n_features - _REST) // values)
    if config.train.epochs > most:
        with_statistics = " with layer statistics" if n_layers else ""
        raise UserError(
            f"train.epochs: {config.train.epochs:,} epochs{with_statistics} do not fit into the record of a"
            f" run, which holds {most:,}. Set fewer{', or train.diagnose=false' * bool(n_layers)}"
        )


@cache
def _of_an_epoch(names: tuple[str, ...], n_layers: int) -> tuple[int, int]:
    """Return the largest number of bytes and of values of an epoch in a record."""
    figures = dict.fromkeys(names, _LONGEST_NUMBER)
    layers = (LayerStats(*4 * (_LONGEST_NUMBER,)),) * n_layers
    stats = EpochStats(layers, _LONGEST_NUMBER, figures) if n_layers else None
    text = json.dumps(Epoch(figures, figures, stats).to_json(), indent=1)
    return len(text) + _INDENT * (text.count("\n") + 1) + 2, count_of(text.encode())
