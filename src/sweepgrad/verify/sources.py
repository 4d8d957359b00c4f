"""Where a run is kept, in a folder and in MLflow, and what each of the two says of it."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepgrad.config.check import ConfigErrors, check
from sweepgrad.config.schema import Config
from sweepgrad.errors import UserError
from sweepgrad.files import digest
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.runs.record import CERTIFICATE, FILES, MODEL, RECORD, SENT, STATE, Record
from sweepgrad.runs.sweep_record import SWEEP
from sweepgrad.tracking.mapping import BUNDLE, RECORD_IN_MLFLOW, Logged, local
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.tags import KIND, RUN_KIND, SWEEP_KIND

_ID = re.compile(r"[0-9a-f]{4,32}")


@dataclass(frozen=True)
class Copy:
    """A run as one place has it.

    Attributes:
        place: for people.
        folder: with the record, config.yaml and state.npy.
        model: the folder in it of its bundle.
        record: what record.json says, or run.json, as MLflow has it.
    """

    place: str
    folder: Path
    model: str
    record: Record

    def path_of(self, name: str) -> Path:
        """Where a file that `Record.files` names lies."""
        return folders.path_of(self.folder, name, self.model)

    @property
    def damage(self) -> str | None:
        """The first of the files beside the record that is not what was written, in words."""
        return folders.damage(self.folder, self.record, self.model)

    @property
    def record_name(self) -> str:
        return RECORD if self.model == MODEL else RECORD_IN_MLFLOW


@dataclass(frozen=True)
class InStore:
    """What MLflow says of a run besides the files that it keeps.

    Attributes:
        metrics: by step and name; those of the best epoch at 0.
        model_damage: what is wrong with the model that MLflow serves for it, in words.
    """

    run: Logged
    metrics: Mapping[tuple[int, str], float]
    model_damage: str | None


@dataclass(frozen=True)
class Kept:
    """A run, and everything that is kept of it.

    Attributes:
        id: of the run in MLflow, or where it was found by its folder.
        name: for people.
        copies: one at least.
        store: what MLflow says; None if it was not asked.
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
        """
        Raises:
            UserError: what is recorded is no configuration, or not of this version.
        """
        try:
            return check(self.record.config)
        except ConfigErrors as error:
            where = self.copies[0].folder / RECORD
            raise UserError(
                f"{where} holds no configuration that this version reads ({error}): it was changed, or is of"
                " another version; train it anew"
            ) from None


def find(which: str, store: Callable[[], Store], runs: Path, scratch: Path) -> list[Kept]:
    """The runs that are meant: one, or all of a sweep that have ended well.

    Arguments:
        which: the folder of a run or of a sweep, a run's id in MLflow or its beginning, or a sweep's name.
        store: opens the store, where `which` is no folder.
        runs: the folder below which folders of runs are looked for.
        scratch: a folder for what must be fetched from a store that is elsewhere.

    Raises:
        UserError: there is no such run, or nothing of it that could be looked at.
    """
    path = Path(which)
    if path.is_dir():
        if (path / RECORD).exists():
            return [_in_folder(path)]
        if (path / SWEEP).exists():
            jobs = sorted(found.parent for found in path.glob(f"*/{RECORD}"))
            return _ended_well([_in_folder(job) for job in jobs], which)
        raise UserError(f"{path} holds neither a run's {RECORD} nor a sweep's {SWEEP}")
    opened = store()
    found = opened.by_id(which) if _ID.fullmatch(which) else []
    if len(found) > 1:
        raise UserError(f"{which!r} begins the ids of {len(found)} runs: say more of it")
    if not found:
        top = opened.sweep(which)
        found = opened.children(top)
        if top.tags[KIND] == SWEEP_KIND:
            found = [run for run in found if run.status == "FINISHED"]
            if not found:
                raise UserError(f"no run of {top.name} has finished")
    sent = _sent(runs)
    return [_in_mlflow(opened, run, sent.get(run.run_id), scratch / run.run_id) for run in found]


def _ended_well(kept: Sequence[Kept], which: str) -> list[Kept]:
    finished = [run for run in kept if run.record.status == "FINISHED"]
    if not finished:
        raise UserError(f"no run of {which} has finished")
    return finished


def _in_folder(folder: Path) -> Kept:
    try:
        record = records.read(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{error}; train it anew, or put the file back") from None
    return Kept(str(folder), record.name, (Copy(str(folder), folder, MODEL, record),))


def _in_mlflow(store: Store, run: Logged, folder: Path | None, scratch: Path) -> Kept:
    """A run of the store, and its folder too where that is on this machine."""
    copies = [copy] if (copy := _copy(store, run, scratch)) else []
    if folder is not None:
        copies += _in_folder(folder).copies
    if not copies:
        raise UserError(
            f"run {run.run_id} has no {RECORD_IN_MLFLOW} in {store.uri}, as those that are older than"
            " `sweepgrad verify`: give the folder that it was left in, or train it anew"
        )
    # The latest value is kept by itself in the store, and is what its pages show.
    history = store.metrics(run)
    latest = {
        (max((step for step, name in history if name == key), default=0), key): value
        for key, value in run.metrics.items()
    }
    damage = _model_damage(store, run, copies[0].record, scratch)
    return Kept(run.run_id, run.name, tuple(copies), InStore(run, {**history, **latest}, damage))


def _model_damage(store: Store, run: Logged, record: Record, scratch: Path) -> str | None:
    """What is wrong with the model that MLflow serves for a run; a job has one only when it was chosen."""
    try:
        bundle = store.model(run, scratch)
        if bundle is None:
            return "there is none" if run.tags[KIND] == RUN_KIND and record.files else None
        apart = [name for name in FILES if digest(bundle / name) != record.files.get(name)]
    except (UserError, OSError, ValueError) as error:
        return f"cannot be read: {error}"
    return f"{', '.join(apart)} not what was written" if apart else None


def _copy(store: Store, run: Logged, scratch: Path) -> Copy | None:
    place = f"MLflow, run {run.run_id[:8]}"
    record = local(run, RECORD_IN_MLFLOW)
    if record is None:
        try:
            record = store.download(run, RECORD_IN_MLFLOW, _made(scratch))
        except (UserError, OSError):
            return None
        for name in ("config.yaml", CERTIFICATE, BUNDLE, STATE):
            try:
                store.download(run, name, scratch)
            except (UserError, OSError):  # `Copy.damage` says what is lacking
                continue
    try:
        parsed = records.parse(record.read_bytes())
    except ValueError as error:
        raise UserError(f"{record} is damaged, or of another version: {error!r}") from None
    return Copy(place, record.parent, BUNDLE, parsed)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sent(runs: Path) -> dict[str, Path]:
    """The folders below `runs` by the id of the MLflow run that they became."""
    found = {}
    for path in sorted(runs.glob(f"**/{SENT}")):
        try:
            found[str(json.loads(path.read_text(encoding="utf-8"))["run_id"])] = path.parent
        except (OSError, ValueError, KeyError, TypeError):  # its writing was cut off
            continue
    return {run_id: folder for run_id, folder in found.items() if (folder / RECORD).exists()}
