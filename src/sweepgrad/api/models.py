"""`load_model`: the model of a card, a run, a sweep, a folder or an MLflow URI."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sweepgrad.api.evaluation import Card
from sweepgrad.api.results import Run, Sweep
from sweepgrad.api.stored import default_store
from sweepgrad.errors import UserError

if TYPE_CHECKING:
    from sweepgrad.tracking.store import Store
    from sweepgrad.training.bundle import Bundle


def load_model(source: "Card | Run | Sweep | str | Path", *, store: "Store | None" = None) -> "Bundle":
    """Load a model, which predicts from a DataFrame of raw columns.

    Arguments:
        source: a card, for the model that it describes; a run; a sweep, for the model that `finalize`
            evaluated or would evaluate; the folder of a run, of a card or of a model; or an MLflow URI such
            as `models:/sweepgrad-spotify@chosen`.
        store: the MLflow store, if `source` is a URI.

    Returns:
        The model. Its `predict` returns columns `probability` and `prediction`.

    Raises:
        UserError: there is no such model.
    """
    if isinstance(source, Run):
        return source.model()
    if isinstance(source, Card):
        return _registered(store or source.store or default_store(), f"models:/{source.registered}")
    if isinstance(source, Sweep):
        return _chosen(source)
    if isinstance(source, str) and ":/" in source:
        return _registered(store or default_store(), source)
    if isinstance(source, str | os.PathLike):
        return _in_folder(Path(source))
    raise UserError(f"load_model: cannot load a model from {type(source).__name__}")


def _registered(store: "Store", uri: str) -> "Bundle":
    from sweepgrad.training.bundle import Bundle

    with tempfile.TemporaryDirectory() as copies:
        return Bundle.load(store.registered(uri, Path(copies)))


def _chosen(sweep: Sweep) -> "Bundle":
    from sweepgrad.data.access import Tables
    from sweepgrad.selection.decide import decide, refuse_unfinished
    from sweepgrad.tracking.tags import REGISTERED

    logged = sweep.store.sweep(sweep.id)
    if registered := logged.tags.get(REGISTERED):
        return _registered(sweep.store, f"models:/{registered}")
    jobs = sweep.store.children(logged)
    refuse_unfinished(logged, jobs, incomplete=False)
    return decide(sweep.store, Tables(), jobs).bundle


def _in_folder(folder: Path) -> "Bundle":
    from sweepgrad.runs.record import FILES, MODEL
    from sweepgrad.training.bundle import Bundle

    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    if (folder / "card.json").exists():
        return _of_card(folder)
    inner = folder / MODEL
    return Bundle.load(inner if (inner / FILES[0]).exists() else folder)


def _of_card(folder: Path) -> "Bundle":
    import json

    try:
        registered = json.loads((folder / "card.json").read_text(encoding="utf-8"))["registered"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder / 'card.json'} is damaged: {error!r}") from None
    return _registered(default_store(), f"models:/{registered}")
