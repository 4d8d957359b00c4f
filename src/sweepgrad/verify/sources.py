"""Find a run and its copies, in a folder and in MLflow."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepgrad.bounded import reading
from sweepgrad.config.check import ConfigErrors, check
from sweepgrad.config.schema import Config
from sweepgrad.errors import UserError
from sweepgrad.files import digest
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.runs.record import CERTIFICATE, FILES, MODEL, RECORD, SENT, STATE, VALIDATION, Record
from sweepgrad.runs.sweep_record import SWEEP
from sweepgrad.runs.validation import LIMITS, described
from sweepgrad.tracking.mapping import BUNDLE, RECORD_IN_MLFLOW, Logged, local
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.tags import KIND, RUN_KIND, SWEEP_KIND

_ID = re.compile(r"[0-9a-f]{4,32}")


@dataclass(frozen=True)
class Copy:
    """One copy of a run.

    Attributes:
        place: where it is, as text.
        folder: with the record, config.yaml and state.npy.
        model: the name of the folder of its bundle.
        record: from record.json, or from run.json in MLflow.
        change: how the record differs from what was written; empty if it does not.
    """

    place: str
    folder: Path
    model: str
    record: Record
    change: str = ""

    def path_of(self, name: str) -> Path:
        """Return the path of a file that `Record.files` names."""
        return folders.path_of(self.folder, name, self.model)

    @property
    def damage(self) -> str | None:
        """The first file that is missing or was changed, as text; None if there is none."""
        if self.change:
            return f"{self.folder / self.record_name} {self.change}"
        return folders.damage(self.folder, self.record, self.model)

    @property
    def record_name(self) -> str:
        return RECORD if self.model == MODEL else RECORD_IN_MLFLOW


@dataclass(frozen=True)
class InStore:
    """A run in MLflow, without its files.

    Attributes:
        metrics: by step and name; those of the best epoch at 0.
        model_damage: what is wrong with its model in MLflow; None if nothing is.
    """

    run: Logged
    metrics: Mapping[tuple[int, str], float]
    model_damage: str | None


@dataclass(frozen=True)
class Kept:
    """A run and all its copies.

    Attributes:
        id: of the run in MLflow, or its folder if it was given by folder.
        name: a readable name.
        copies: at least one.
        store: the run in MLflow; None if it was given by folder.
    """

    id: str
    name: str
    copies: tuple[Copy, ...]
    store: InStore | None = None

    @property
    def record(self) -> Record:
        return self.copies[0].record

    @property
    def config(self) -> Config:
        """The recorded configuration.

        Raises:
            UserError: it is not valid in this version.
        """
        try:
            return check(self.record.config)
        except ConfigErrors as error:
            where = self.copies[0].folder / RECORD
            raise UserError(
                f"{where} holds no configuration that is valid in this version ({error}): it was changed, or"
                " is of another version. Train the run from scratch"
            ) from None


def find(which: str, store: Callable[[], Store], runs: Path, scratch: Path) -> list[Kept]:
    """Return a run, or all finished runs of a sweep.

    Arguments:
        which: the folder of a run or of a sweep, a run's id in MLflow or its beginning, or a sweep's name.
        store: opens the store; called if `which` is not a folder.
        runs: the folder that is searched for folders of runs.
        scratch: a folder for downloads from a store on another machine.

    Raises:
        UserError: there is no such run, or no record of it.
    """
    path = Path(which)
    if path.is_dir():
        if (path / RECORD).exists():
            return [_in_folder(path)]
        if (path / SWEEP).exists():
            jobs = sorted(found.parent for found in path.glob(f"*/{RECORD}"))
            return _finished([_in_folder(job) for job in jobs], which)
        raise UserError(f"{path} is not the folder of a run or a sweep: it has no {RECORD} and no {SWEEP}")
    opened = store()
    found = opened.by_id(which) if _ID.fullmatch(which) else []
    if len(found) > 1:
        raise UserError(f"{which!r} matches the ids of {len(found)} runs: give more characters")
    if not found:
        top = opened.sweep(which)
        found = opened.children(top)
        if top.tags[KIND] == SWEEP_KIND:
            found = [run for run in found if run.status == "FINISHED"]
            if not found:
                raise UserError(f"no run of {top.name} has finished")
    sent = _sent(runs)
    return [_in_mlflow(opened, run, sent.get(run.run_id), scratch / run.run_id) for run in found]


def _finished(kept: Sequence[Kept], which: str) -> list[Kept]:
    finished = [run for run in kept if run.record.status == "FINISHED"]
    if not finished:
        raise UserError(f"no run of {which} has finished")
    return finished


def _in_folder(folder: Path) -> Kept:
    try:
        record = records.read(folder, checked=False)
        change = records.change(reading.read(folder / RECORD, LIMITS.size), record)
    except (OSError, ValueError) as error:
        raise UserError(f"{error}. Restore the file, or train the run from scratch") from None
    return Kept(str(folder), record.name, (Copy(str(folder), folder, MODEL, record, change),))


def _in_mlflow(store: Store, run: Logged, folder: Path | None, scratch: Path) -> Kept:
    """Return a run of the store with its copy there and that in its folder, if it is on this machine."""
    copies = [copy] if (copy := _copy(store, run, scratch)) else []
    if folder is not None:
        copies += _in_folder(folder).copies
    if not copies:
        raise UserError(
            f"run {run.run_id} has no {RECORD_IN_MLFLOW} in {store.uri}: it is of a version before `sweepgrad"
            " verify`. Give its folder instead, or train it from scratch"
        )
    # MLflow stores the latest value separately, and shows that.
    history = store.metrics(run)
    latest = {
        (max((step for step, name in history if name == key), default=0), key): value
        for key, value in run.metrics.items()
    }
    damage = _model_damage(store, run, copies[0].record, scratch)
    return Kept(run.run_id, run.name, tuple(copies), InStore(run, {**history, **latest}, damage))


def _model_damage(store: Store, run: Logged, record: Record, scratch: Path) -> str | None:
    """Return what is wrong with a run's model in MLflow, or None. Of a sweep, only a chosen run has one."""
    try:
        bundle = store.model(run, scratch)
        if bundle is None:
            return "missing" if run.tags[KIND] == RUN_KIND and record.files else None
        changed = [name for name in FILES if digest(bundle / name) != record.files.get(name)]
    except (UserError, OSError, ValueError) as error:
        return f"cannot be read: {error}"
    return f"{', '.join(changed)} changed after being written" if changed else None


def _copy(store: Store, run: Logged, scratch: Path) -> Copy | None:
    place = f"MLflow, run {run.run_id[:8]}"
    record = local(run, RECORD_IN_MLFLOW)
    if record is None:
        try:
            record = store.download(run, RECORD_IN_MLFLOW, _made(scratch))
        except (UserError, OSError):
            return None
        for name in ("config.yaml", CERTIFICATE, BUNDLE, STATE, VALIDATION):
            try:
                store.download(run, name, scratch)
            except (UserError, OSError):  # `Copy.damage` reports what is missing
                continue
    try:
        content = reading.read(record, LIMITS.size)
        parsed = records.parse(content, checked=False)
    except ValueError as error:
        raise UserError(f"{record} is damaged, or of another version: {described(error)}") from None
    return Copy(place, record.parent, BUNDLE, parsed, records.change(content, parsed))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sent(runs: Path) -> dict[str, Path]:
    """Return the folders below `runs` by the id of their MLflow run."""
    found = {}
    for path in sorted(runs.glob(f"**/{SENT}")):
        try:
            found[str(reading.load(path, reading.SMALL)["run_id"])] = path.parent
        except (OSError, ValueError, KeyError, TypeError):  # incomplete
            continue
    return {run_id: folder for run_id, folder in found.items() if (folder / RECORD).exists()}
