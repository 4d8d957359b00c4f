"""Find that the results of test sets were changed: seal their files, and compare them with the store.

Like a record's, a checksum finds damage and careless edits. Someone who computes it again is found by the
digest and the metrics in the store, unless these are changed too.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from math import isclose
from pathlib import Path
from typing import Any

from sweepgrad.errors import UserError
from sweepgrad.files import digest
from sweepgrad.tracking.mapping import Logged

CHECKSUM = "checksum"
_CHANGED = "was changed after it was written"


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a result with the checksum of all of them."""
    return {**values, CHECKSUM: _checksum(values)}


def check(values: Any, *, required: bool = False) -> None:
    """Check that the values of a result are those that were sealed; those of older versions have no checksum.

    Arguments:
        required: refuse values without a checksum.

    Raises:
        UserError: they are not; the caller names the file and the remedy.
    """
    if not isinstance(values, Mapping):
        return  # the schema refuses it
    if not (found := values.get(CHECKSUM)):
        if required:
            raise UserError(f"{_CHANGED}: its checksum was removed")
    elif found != _checksum(values):
        raise UserError(f"{_CHANGED}: its checksum does not match")


def compare(file: Path, sweep: Logged, tag: str) -> None:
    """Check that a file has the digest that the store has of it, if it has one.

    Raises:
        UserError: it has another one; the caller names the file and the remedy.
    """
    if (known := sweep.tags.get(tag)) and digest(file) != known:
        raise UserError(f"{_CHANGED}: its digest is not the one in the MLflow store, in tag {tag}")


def compare_metrics(sweep: Logged, figures: Mapping[str, float], begins: str) -> None:
    """Check that figures of a file are the metrics of a sweep in the store, as far as both have them.

    Arguments:
        begins: how these metrics begin.

    Raises:
        UserError: one differs; the caller names the file and the remedy.
    """
    for name, value in figures.items():
        logged = sweep.metrics.get(f"{begins}{name}", value)
        if not isclose(logged, value, rel_tol=1e-9, abs_tol=1e-12):
            raise UserError(
                f"has {name} {value:.6g}, and metric {begins}{name} of run {sweep.run_id} in the MLflow store"
                f" is {logged:.6g}: one of them was changed"
            )


def _checksum(values: Mapping[str, Any]) -> str:
    others = {name: value for name, value in values.items() if name != CHECKSUM}
    return sha256(json.dumps(others, sort_keys=True, allow_nan=False).encode()).hexdigest()
