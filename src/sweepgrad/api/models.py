"""`load_model`: the model of a card, a run, a sweep, a folder or an MLflow URI."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepgrad.api.evaluation import Card
from sweepgrad.api.location import checked
from sweepgrad.api.results import Run, Sweep
from sweepgrad.api.stored import EXPERIMENT, default_store
from sweepgrad.bounded import reading
from sweepgrad.errors import UserError

if TYPE_CHECKING:
    from sweepgrad.tracking.store import Store
    from sweepgrad.training.bundle import Bundle


def load_model(source: "Card | Run | Sweep | str | Path", *, store: "Store | None" = None) -> "Bundle":
    """Load a model, which predicts from a DataFrame of raw columns.

    Arguments:
        source: a card, for the model that it describes; a run; a sweep, for the model that `finalize`
            chose; the folder of a run, of a card or of a model; or an MLflow URI such
            as `models:/sweepgrad-spotify@chosen`.
        store: the MLflow store, if `source` is a URI, a card or the folder of a card; None for the store that
            the card names, or the default one.

    Returns:
        The model. Its `predict` returns columns `probability` and `prediction`.

    Raises:
        UserError: there is no such model, the registered model is not the one of the card, or `store`
            contradicts a run or a sweep.
    """
    checked(store)
    if isinstance(source, Run):
        source.location.refuse_other(store, source.name)
        return source.model()
    if isinstance(source, Card):
        run_ids = [member["run_id"] for member in source.members]
        return _of_card(store or source.store or _store_at(source.store_uri), source.registered, run_ids)
    if isinstance(source, Sweep):
        source.location.refuse_other(store, source.name)
        return _chosen(source)
    if isinstance(source, str) and ":/" in source:
        return _registered(store or default_store(), source)
    if isinstance(source, str | os.PathLike):
        return _in_folder(Path(source), store)
    raise UserError(f"load_model: cannot load a model from {type(source).__name__}")


def _registered(store: "Store", uri: str) -> "Bundle":
    from sweepgrad.training.bundle import Bundle

    with tempfile.TemporaryDirectory() as copies:
        return Bundle.load(store.registered(uri, Path(copies)))


def _chosen(sweep: Sweep) -> "Bundle":
    from sweepgrad.data.access import Tables
    from sweepgrad.selection.decide import decide, refuse_unfinished
    from sweepgrad.tracking.tags import CHOSEN, REGISTERED

    logged = sweep.store.sweep(sweep.id)
    if registered := logged.tags.get(REGISTERED):
        return _registered(sweep.store, f"models:/{registered}")
    if CHOSEN not in logged.tags:
        raise UserError(
            f"{sweep.name} was not finalized: sweepgrad.finalize chooses its model and evaluates it;"
            " load_model(run) loads the model of one of its runs"
        )
    jobs = sweep.store.children(logged)
    refuse_unfinished(logged, jobs, incomplete=False)
    return decide(sweep.store, Tables(), jobs).bundle


def _in_folder(folder: Path, store: "Store | None") -> "Bundle":
    from sweepgrad.runs import folders
    from sweepgrad.runs import record as records
    from sweepgrad.runs.record import FILES, MODEL, RECORD
    from sweepgrad.training.bundle import Bundle

    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    if (folder / "card.json").exists():
        return _of_card_in(folder / "card.json", store)
    if (folder / RECORD).exists():
        record = records.read(folder)
        of_model = replace(record, files={name: record.files.get(name, "") for name in FILES})
        if problem := folders.damage(folder, of_model):
            raise UserError(f"{problem}: restore it, or train the run again")
    inner = folder / MODEL
    return Bundle.load(inner if (inner / FILES[0]).exists() else folder)


def _of_card_in(file: Path, store: "Store | None") -> "Bundle":
    """Load the registered model of the card in a file.

    Raises:
        UserError: the card is damaged, or was changed; or as `_of_card`.
    """
    from sweepgrad.selection import seals

    values, uri, registered, run_ids = _card_in(file)
    found = store or _store_at(uri)
    bundle = _of_card(found, registered, run_ids)
    if seals.CHECKSUM not in values:  # as in cards of older versions, whose digests the store does not have
        _check_seal(file, values, required=_has_digest(found, registered))
    return bundle


def _card_in(file: Path) -> tuple[Mapping[str, Any], str, str, list[str]]:
    """Return the values of a card, its store, its registered model, and the runs of the model.

    Raises:
        UserError: it is damaged, or was changed.
    """
    try:
        values = reading.load(file, reading.RESULTS)
        uri, registered = values.get("store_uri", ""), values["registered"]
        run_ids = [member["run_id"] for member in values["members"]]
        if not all(isinstance(text, str) for text in (uri, registered, *run_ids)) or not run_ids:
            raise ValueError("store_uri, registered or run_id is not a text")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is damaged: {error!r}") from None
    _check_seal(file, values, required=False)
    return values, uri, registered, run_ids


def _check_seal(file: Path, values: Mapping[str, Any], *, required: bool) -> None:
    from sweepgrad.selection import seals

    try:
        seals.check(values, required=required)
    except UserError as error:
        raise UserError(
            f"{file} {error}. Restore it, or move it away, and the next sweepgrad finalize restores it from"
            " the store"
        ) from None


def _has_digest(store: "Store", registered: str) -> bool:
    """Return whether the store has the digest of the card of a registered model's sweep."""
    from sweepgrad.selection.finalize import CARD_DIGEST
    from sweepgrad.tracking.tags import PARENT

    source = store.source_run(registered)
    assert source is not None  # or `_of_card` had refused it
    sweep = next((run.tags[PARENT] for run in store.by_id(source) if PARENT in run.tags), source)
    return CARD_DIGEST in store.sweep(sweep).tags


def _store_at(uri: str) -> "Store":
    """Open the store that a card names; the default one if it names none, or one that was moved."""
    from sweepgrad.tracking.store import Store

    if not uri or (uri.startswith("sqlite:") and not Path(uri.removeprefix("sqlite:///")).exists()):
        return default_store()
    return Store(uri, EXPERIMENT)


def _of_card(store: "Store", registered: str, run_ids: Sequence[str]) -> "Bundle":
    """Load the registered model of a card.

    Raises:
        UserError: the store has no such model, or another one under this name.
    """
    if not _is_of(store, registered, run_ids):
        raise UserError(
            f"{registered} in {store.uri} is not the model of this card, which is of run"
            f" {' '.join(run_ids)}: pass the card's own store as store="
        )
    return _registered(store, f"models:/{registered}")


def _is_of(store: "Store", registered: str, run_ids: Sequence[str]) -> bool:
    """Return whether a registered model was made from these runs, or from their sweep if it was changed."""
    from sweepgrad.tracking.limits import MAX_TAG
    from sweepgrad.tracking.tags import CHOSEN, PARENT, REGISTERED

    source = store.source_run(registered)
    if source is None or list(run_ids) == [source]:
        return source is not None
    members = [run for run_id in run_ids for run in store.by_id(run_id)]
    if len(members) != len(run_ids) or {run.tags.get(PARENT) for run in members} != {source}:
        return False
    sweep = store.sweep(source)
    chosen = " ".join(run_ids)[:MAX_TAG]
    return sweep.tags.get(REGISTERED) != registered or sweep.tags.get(CHOSEN) == chosen
