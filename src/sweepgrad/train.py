"""`sweepgrad train`: one run, or a sweep of them, composed and launched by Hydra."""

import os
import signal
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from sweepgrad.compose import CONFIG_NAME
from sweepgrad.errors import UserError
from sweepgrad.home import config_dir
from sweepgrad.preflight import GROUPS, Plan, checked, plan

if TYPE_CHECKING:  # imported late: they cost a second or two, and --help and bad overrides need neither
    from sweepgrad.progress import Progress
    from sweepgrad.record import Status
    from sweepgrad.tracking import Store


def train(arguments: Sequence[str]) -> int:
    """Do what follows `sweepgrad train` on a command line; the exit code.

    0 when every job finished, 1 when one failed, 130 after Ctrl-C.

    Raises:
        UserError: nothing was run, or the results could not be sent to MLflow and wait on disk.
    """
    flags = get_args_parser().parse_intermixed_args(list(arguments))
    # Hydra wants its flags before or after all overrides; people also put them between.
    ordered = [*(word for word in arguments if word not in flags.overrides), *flags.overrides]
    if flags.help or flags.hydra_help or flags.cfg or flags.info or flags.shell_completion:
        try:
            _hand_to_hydra(_no_job, ordered)
        except HydraException as error:  # --help composes too
            raise UserError(str(error)) from None
        return 0
    if flags.config_name or flags.config_path:
        raise UserError("--config-name and --config-path do not work here: --config-dir adds YAML")
    search = [flags.config_dir] if flags.config_dir else []
    todo = plan(flags.overrides, multirun=flags.multirun, search=search)
    return _run(todo, ordered)


def _run(todo: Plan, arguments: list[str]) -> int:
    from sweepgrad.progress import Progress
    from sweepgrad.ready import check_tables, load_engines, open_store, refuse_unwritable

    with Progress(len(todo.jobs)) as progress:
        check_tables(todo, progress)
        if not any(argument.startswith("hydra.") for argument in arguments):
            refuse_unwritable(Path("runs").absolute())
        load_engines(todo, progress)
        store = open_store(todo, progress)
        runner = _Runner(todo, arguments, store, progress)
        if todo.multirun:
            arguments = [*arguments, f"sweep.id={runner.sweep}"]
            varying = ", ".join(todo.varying) or "nothing"
            progress.say(f"sweep {runner.sweep}: {_runs(len(todo.jobs))}, varying {varying}")
        try:
            _hand_to_hydra(runner, arguments)
        except KeyboardInterrupt:
            runner.end("KILLED")
            done = f"{runner.finished} of {len(todo.jobs)} runs finished"
            progress.say(f"interrupted: {done}, kept in {_readable(runner.folder)}")
            return 130
        except BaseException:  # Hydra itself failed, or a run's folder could not be written
            runner.end("FAILED")
            raise
        runner.end("FAILED" if runner.failed else "FINISHED")
    return runner.report()


def _hand_to_hydra(run_job: Callable[[DictConfig], None], arguments: Sequence[str]) -> None:
    """Let Hydra compose and launch, as if it were the whole program; SIGTERM ends it as Ctrl-C does."""

    def job(cfg: DictConfig) -> None:  # Hydra wants a function, and looks where it was defined
        run_job(cfg)

    before = sys.argv
    sys.argv = ["sweepgrad train", *arguments]
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        on_sigterm = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=CONFIG_NAME)(job)()
    finally:
        sys.argv = before
        if in_main_thread:
            signal.signal(signal.SIGTERM, on_sigterm)


def _no_job(cfg: DictConfig) -> None:
    """--help and its like run none."""


class _Runner:
    """What Hydra calls for each job, and what is known of the jobs so far."""

    def __init__(self, todo: Plan, arguments: list[str], store: "Store | None", progress: "Progress") -> None:
        self.todo, self.arguments, self.store, self.progress = todo, arguments, store, progress
        moment = datetime.now().strftime("%Y-%m-%d-%H%M%S")
        self.sweep = f"{todo.experiment or 'sweep'}-{moment}-{uuid.uuid4().hex[:4]}"
        self.folder = Path("runs", "sweeps", self.sweep) if todo.multirun else Path("runs", "single")
        self.finished = 0
        self.failed: list[str] = []
        self.unsent: list[Path] = []
        self.last = self.folder

    def __call__(self, cfg: DictConfig) -> None:
        from sweepgrad import record as records
        from sweepgrad.experiment import prepare

        hydra_config = HydraConfig.get()
        folder = Path(hydra_config.runtime.output_dir)
        number = 0
        if self.todo.multirun:
            number, self.folder = hydra_config.job.num, Path(hydra_config.sweep.dir)
            if number == 0:
                self._note("RUNNING")
        config = checked(cfg)
        name = _name(hydra_config.overrides.task, self.todo) if self.todo.multirun else folder.name
        job, started, clock = uuid.uuid4().hex, _now(), time.perf_counter()
        experiment, fit = None, None
        status: records.Status = "FAILED"
        error = None
        try:
            experiment = prepare(config)
            for fit in experiment.fits():
                self.progress.epoch(number, name, fit, config.train.epochs)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            self.progress.say("interrupted: keeping what there is …")
            raise
        except Exception as problem:  # noqa: BLE001 - one job's failure is not the end of the others
            error = traceback.format_exc()
            self.failed.append(name)
            self.progress.failed(number, name, str(problem) or type(problem).__name__)
        finally:
            record = records.of(
                config,
                job=job,
                name=name,
                status=status,
                started=started,
                ended=_now(),
                error=error,
                experiment=experiment,
                fit=fit,
            )
            try:
                records.write(folder, record, experiment, fit)
            except OSError as problem:  # no room, or no right: the next run would fare no better
                self.progress.say(f"{folder} cannot be written: {problem.strerror}; nothing more is run")
                raise SystemExit(2) from None
            self._send(folder)
        if status == "FINISHED" and fit is not None:
            self.finished += 1
            self.progress.finished(number, name, fit, config.train.epochs, time.perf_counter() - clock)
            if fit.best.val_nll > log(2):
                hint = "lower" if fit.best.val_nll > 2 else "higher, or more train.epochs,"
                coin = f"worse than a coin, whose nll is {log(2):.3f}"
                self.progress.say(f"{name}: {coin}; an optimizer.lr that is {hint} may help")

    def _send(self, folder: Path) -> None:
        from sweepgrad.reach import Refused, Unreachable

        self.last = folder
        if self.store is None:
            self.unsent.append(folder)
            return
        try:
            self.store.send(folder)
        except Unreachable as error:
            self.unsent.append(folder)
            self.store = None  # the rest would only wait for it, one after another
            self.progress.say(f"{error}; training goes on, and results are kept on disk")
        except Refused as error:
            self.unsent.append(folder)
            self.progress.say(f"{error}; the result is kept on disk")

    def _note(self, status: "Status | Literal['RUNNING']") -> None:
        """Leave word of the sweep as a whole beside its runs."""
        from sweepgrad import record as records

        command = "sweepgrad train " + " ".join(self.arguments)
        note = records.SweepRecord(
            self.sweep,
            status,
            len(self.todo.jobs),
            self.todo.varying,
            command,
            os.getpid(),
            socket.gethostname(),
        )
        try:
            records.write_json(self.folder / records.SWEEP, asdict(note))
        except OSError as error:  # the runs beside it matter more, and will say so if they fail too
            self.progress.say(f"{self.folder / records.SWEEP} cannot be written: {error.strerror}")

    def end(self, status: "Status") -> None:
        """Close the sweep's own run."""
        if not self.todo.multirun or not self.folder.is_dir():
            return
        self._note(status)
        if self.store is not None:
            try:
                self.store.end_sweep(self.folder)
            except (UserError, ValueError, OSError) as error:
                self.progress.say(f"{error}; the sweep's own run may be left open in MLflow")

    def report(self) -> int:
        """Say what came of it; the exit code."""
        where = _readable(self.folder if self.todo.multirun else self.last)
        if self.failed:
            print(f"{len(self.failed)} of {_runs(len(self.todo.jobs))} failed:", file=sys.stderr)
            for name in self.failed:
                print(f"  {name}", file=sys.stderr)
        if self.unsent:
            raise UserError(
                f"{_runs(len(self.unsent))} could not be sent to MLflow; the results are kept in {where}."
                " When the store answers again: sweepgrad sync"
            )
        if not self.failed:
            print(f"kept in {where} and in MLflow;")
            print("next: sweepgrad leaderboard, sweepgrad finalize, sweepgrad ui")
        return 1 if self.failed else 0


def _name(overrides: Sequence[str], todo: Plan) -> str:
    """What tells a job from the others of its sweep, short enough for a column: `wide dropout=0.5 seed=1`."""
    said = dict(override.split("=", 1) for override in overrides if "=" in override)
    words = [
        said[key] if key in GROUPS else f"{key.rpartition('.')[2]}={said[key]}"
        for key in todo.varying
        if key in said
    ]
    return " ".join(words) or "run"


def _runs(n: int) -> str:
    return "1 run" if n == 1 else f"{n} runs"


def _readable(folder: Path) -> str:
    return os.path.relpath(folder)


def _now() -> int:
    return int(time.time() * 1000)
