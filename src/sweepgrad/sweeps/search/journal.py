"""Keep a search on disk, batch by batch, so that a killed search resumes with the same outcome.

A study is a text file, Optuna's journal, with a line for each suggestion and each result. Suggestions without
a result are run again; all others follow from the results (see `sweepgrad.sweeps.search.suggest`).

A point may be suggested twice, above all in a small space. It is launched again: jobs are deterministic, and
the launcher finds the earlier result. A failed trial stays failed, and Optuna ignores it.
"""

import errno
import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState, create_trial

from sweepgrad.errors import UserError
from sweepgrad.files import lock_for_this_process
from sweepgrad.sweeps.search.journal_lines import check_points, read, refuse_other_files
from sweepgrad.sweeps.search.space import Space
from sweepgrad.sweeps.search.suggest import Plan, Search, distributions, suggest, text

_SETTING, _POINT = "setting", "point"  # attributes of a study and of a trial


@dataclass(frozen=True)
class Trial:
    """A suggestion: the value of each dimension, as text."""

    number: int
    point: dict[str, str]

    @property
    def searched(self) -> list[str]:
        """The point as overrides."""
        return [f"{key}={value}" for key, value in self.point.items()]


@dataclass(frozen=True)
class Done(Trial):
    """A finished trial; the value is None if the job failed."""

    value: float | None


class Study:
    """A search that is stored in a file; created by `open_study`."""

    def __init__(self, space: Space, plan: Plan, path: Path, kept: optuna.Study) -> None:
        self.space, self.plan, self.path, self._kept = space, plan, path, kept

    def ask(self) -> list[Trial]:
        """Return the trials to run next: a batch, or the rest of an interrupted one; empty when complete.

        Until `tell` is called, it returns the same trials.
        """
        trials = self._kept.get_trials(deepcopy=False)
        first = next((t.number for t in trials if t.state == TrialState.RUNNING), len(trials))
        batch = first // self.plan.batch
        start, end = batch * self.plan.batch, min((batch + 1) * self.plan.batch, self.plan.trials)
        if len(trials) < end:
            suggested = suggest(self.space, self.plan, batch, trials[:start])
            for params in suggested[len(trials) - start : end - start]:
                self._keep(params)
            trials = self._kept.get_trials(deepcopy=False)
        return [Trial(trial.number, trial.user_attrs[_POINT]) for trial in trials[first:end]]

    def tell(self, trials: Sequence[Trial], values: Sequence[float]) -> None:
        """Record the values of trials; NaN for a failed job."""
        for trial, value in zip(trials, values, strict=True):
            if math.isnan(value):
                self._kept.tell(trial.number, state=TrialState.FAIL)
            else:
                self._kept.tell(trial.number, value)

    def done(self) -> list[Done]:
        """Return the finished trials, in order."""
        return [
            Done(trial.number, trial.user_attrs[_POINT], trial.value)
            for trial in self._kept.get_trials(deepcopy=False)
            if trial.state.is_finished()
        ]

    def best(self) -> Done | None:
        """Return the best trial, the earliest of equal ones; None if all failed."""
        sign = 1 if self.plan.direction == "minimize" else -1
        finished = [trial for trial in self.done() if trial.value is not None]
        return min(finished, key=lambda trial: sign * (trial.value or 0.0), default=None)

    @property
    def complete(self) -> str:
        """The message that all trials are done; "" while some are not."""
        done = len(self.done())
        if done < self.plan.trials:
            return ""
        return (
            f"{self.path} is complete with {done} trials; nothing was run. For more trials, set"
            " hydra.sweeper.trials=N; to start from scratch, sweep.resume=false"
        )

    @property
    def outcome(self) -> list[str]:
        """The results so far, as lines of text."""
        best, done = self.best(), self.done()
        failed = sum(trial.value is None for trial in done)
        if best is None:
            return [f"all {failed} trials failed, kept in {self.path}"]
        return [
            f"best {best.value:.6g}, trial {best.number}: {shlex.join(best.searched)}",
            f"{len(done) - failed} trials finished, {failed} failed, kept in {self.path}",
        ]

    def _keep(self, params: Mapping[str, Any]) -> None:
        """Write a suggestion as a running trial, in one line, so that the file never holds half of it."""
        dimensions = self.space.dimensions
        point = {key: text(dimensions[key], value) for key, value in sorted(params.items())}
        self._kept.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(params),
                distributions=distributions(self.space),
                user_attrs={_POINT: point},
            )
        )


def if_complete(search: Search) -> list[str]:
    """Return the messages for a complete search; empty if trials are left. Creates no file.

    Raises:
        UserError: see `open_study`.
    """
    if not os.path.exists(search.path):  # `Path.exists` raises errors
        return []
    with open_study(search.space, search.plan, search.folder, search.name, search.setting) as study:
        return [study.complete, *study.outcome] if study.complete else []


@contextmanager
def open_study(
    space: Space, plan: Plan, folder: Path, name: str, setting: Mapping[str, str]
) -> Iterator[Study]:
    """Open or create the study `name` in `folder`, and lock it against other processes.

    Arguments:
        setting: everything besides `plan` that results depend on, by key.

    Raises:
        UserError: the study is in use, cannot be read or written, or has another setting.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / f"{name}.log"
    about = {
        f"hydra.sweeper.{key}": str(getattr(plan, key)) for key in ("sampler", "direction", "seed", "batch")
    }
    about |= setting
    if os.path.exists(path):  # before the lock, a file next to it, is made
        refuse_other_files(path)
    with _locked(path):
        if os.path.exists(path):
            _check(path, name, space, about)
        try:
            storage = JournalStorage(JournalFileBackend(str(path), lock_obj=_Held(str(path))))
            sampler = RandomSampler(seed=0)  # not used: `suggest` has its own samplers
            if storage.get_all_studies():
                kept = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
            else:
                kept = optuna.create_study(
                    study_name=name, storage=storage, sampler=sampler, direction=plan.direction
                )
        except (ValueError, KeyError, AssertionError) as error:
            raise UserError(
                f"{path}: Optuna cannot read this study ({error}); delete or rename the file."
            ) from None
        if _SETTING not in kept.user_attrs:
            kept.set_user_attr(_SETTING, about)
        yield Study(space, plan, path, kept)


def _check(path: Path, name: str, space: Space, setting: Mapping[str, str]) -> None:
    """Check that a file is the study `name` with this setting; remove an incomplete last line.

    Raises:
        UserError: it is not, and it was not changed.
    """
    lines = read(path)
    if lines.name not in (None, name):
        raise UserError(f"{path}: this is the study {lines.name!r}. Give the file its name {lines.name}.log")
    before = lines.setting
    changed = (
        []
        if before is None
        else [key for key in sorted({*setting, *before}) if setting.get(key) != before.get(key)]
    )
    if before is not None and changed:
        listed = "".join(
            f"\n  {key}: was {before.get(key, 'not set')}, is {setting.get(key, 'not set')}"
            for key in changed
        )
        raise UserError(
            f"{path}: this study was started with another setting, so results would not compare.{listed}\n"
            "Choose another name (hydra.sweeper.study=NAME), or delete that file to start from scratch."
        )
    written = {key: distribution_to_json(each) for key, each in distributions(space).items()}
    check_points(path, lines, space, written)
    if lines.size < path.stat().st_size:  # a process was killed, or the disk was full
        os.truncate(path, lines.size)


class _Held(JournalFileOpenLock):
    """A lock that does nothing, since `_locked` holds one on the study.

    Optuna's own lock, a link next to the file, remains after SIGKILL: the next process then waits for 30
    seconds, and without end if the path is relative (Optuna 5.0).
    """

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock a study against other processes; the system releases the lock when this process ends."""
    lock = path.with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a")
    except OSError as error:
        raise UserError(_not_writable(error, lock)) from None
    except ValueError as error:  # a null byte, or what is not Unicode
        raise UserError(f"hydra.sweeper.storage: {str(path.parent)!r} is not a path ({error})") from None
    with file:
        try:
            lock_for_this_process(file)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise UserError(_not_writable(error, lock)) from None
            raise UserError(
                f"{path}: another process is using this study. Wait for it, or choose another name:"
                " hydra.sweeper.study=NAME"
            ) from None
        yield


def _not_writable(error: OSError, path: Path) -> str:
    if path.parent.is_file():
        return f"hydra.sweeper.storage: {path.parent} is a file; choose a folder for studies."
    return f"{path}: {error.strerror}; choose another folder for studies with hydra.sweeper.storage=FOLDER."
