"""From a plan to its jobs trained: what must hold before the first, who launches them, what is said last."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hydra.errors import HydraException
from hydra.types import RunMode

from sweepgrad.compose.internals import Hydra
from sweepgrad.compose.loader import CONFIG_NAME
from sweepgrad.compose.plan import Plan, PlannedJob
from sweepgrad.config.identity import CHOOSING, KEEPING
from sweepgrad.config.schema import Config
from sweepgrad.errors import UserError
from sweepgrad.runs.record import Status
from sweepgrad.sweep import estimate, resume, reuse, threads
from sweepgrad.sweep.hydra_task import SWEEP_ID, Task, alone, tables_of
from sweepgrad.sweep.preflight import check_tables, load_engines, refuse_nothing_to_average, refuse_unwritable
from sweepgrad.sweep.progress import Progress
from sweepgrad.sweep.session import Ended, Session, digest_of, unwritten
from sweepgrad.tracking.outbox import Outbox
from sweepgrad.training.loop import Fit

log = logging.getLogger(__name__)

_RUNS = Path("runs")  # where earlier results are looked for, below the folder in which we are


def launch(
    composer: Hydra, todo: Plan, words: list[str], overrides: list[str], outbox: Outbox | None, *, quiet: bool
) -> int:
    """Run what was planned; the exit code, as of `train`.

    Arguments:
        words: of the command line, after `sweepgrad train`.
        overrides: those among them.
        outbox: None for a rehearsal, which ends before the first job.
        quiet: say nothing but what went wrong.

    Raises:
        UserError: nothing was run, or the results could not be sent to MLflow and wait on disk.
    """
    settings = todo.jobs[0].config
    for key in KEEPING + CHOOSING:
        if any(getattr(job.config, key) != getattr(settings, key) for job in todo.jobs):
            raise UserError(f"{key}: must be the same for all runs of a sweep")
    refuse_nothing_to_average(todo)
    with Progress(quiet=quiet, metric=settings.select.metric) as progress:
        check_tables(todo)
        refuse_unwritable(Path(todo.folder.partition("*")[0]))
        load_engines(todo)
        if todo.multirun and not quiet:
            log.info(estimate.summary(todo, threads.cores()))
        if todo.sweeper == "optuna" and (known := _known(composer, todo, overrides)):
            for line in known:
                log.info(f"search: {line}")
            return 0
        if outbox is None:
            _rehearse(todo)
            return 0
        outbox.connect(settings.tracking)
        outbox.open()
        try:
            sweep = _started(todo, words, overrides)
        except OSError as error:
            raise UserError(f"{unwritten(error)}; nothing was run") from None
        session = Session(
            sweep,
            outbox,
            progress,
            resume=settings.sweep.resume,
            fail_fast=settings.sweep.fail_fast,
            runs=_RUNS.absolute(),
        )
        task = Task(todo, session)
        progress.start(todo.n_jobs)
        if sweep is not None:
            varying = ", ".join(todo.varying) or "nothing"
            goes_on = "goes on" if sweep.earlier else "begins"
            log.info(f"sweep {sweep.record.id} {goes_on}: {_runs(todo.n_jobs)}, varying {varying}")
            outbox.begin(sweep.folder)
        return _trained(session, todo, lambda: _call(composer, task, overrides))


def go_on(config: Config, folder: Path, start: Fit, origin: str, words: Sequence[str], *, quiet: bool) -> int:
    """Train a run on its own from where another one ended; the exit code, as of `train`.

    Arguments:
        config: the new run's.
        folder: where it is left.
        start: what to go on from.
        origin: the id of the job that this is from.
        words: what the configuration was changed by.

    Raises:
        UserError: as `launch`.
    """
    planned = PlannedJob(config, tuple(words))
    todo = Plan(
        multirun=False,
        jobs=(planned,),
        complete=True,
        varying=(),
        experiment=None,
        sweeper="basic",
        launcher="basic",
        n_jobs=1,
        folder=str(folder),
    )
    outbox = Outbox()
    try:
        outbox.connect(config.tracking)
        with Progress(quiet=quiet, metric=config.select.metric) as progress:
            check_tables(todo)
            refuse_unwritable(folder)
            load_engines(todo)
            outbox.open()
            session = Session(None, outbox, progress, resume=False, fail_fast=False, runs=_RUNS.absolute())
            job = replace(
                session.job(0, folder.name, words, config, folder.absolute()), start=start, continued=origin
            )
            progress.start(1)
            return _trained(session, todo, lambda: session.run([job], alone))
    finally:
        outbox.drop()


def _trained(session: Session, todo: Plan, run: Callable[[], object]) -> int:
    """Have the jobs of a session run, their results sent, and the end told; the exit code."""
    with _sigterm_as_ctrl_c():
        status, problem = _train(session, run)
        try:
            _close(session, status)
        except KeyboardInterrupt:
            log.warning("not waiting for MLflow: sweepgrad sync sends what it does not have")
            return 130
    return _report(session, todo, status, problem)


def _rehearse(todo: Plan) -> None:
    """Say what would be run."""
    digests = [digest_of(job.config) for job in todo.jobs]
    found = reuse.find(digests, reuse.index(_RUNS) if todo.multirun else {})
    trained = {place for place, digest in enumerate(digests) if digest in found}
    if todo.multirun:
        for line in estimate.listed(todo, trained if todo.jobs[0].config.sweep.resume else ()):
            print(line)
    if trained:
        log.info(f"{len(trained)} of {_runs(todo.n_jobs)} were trained before")
    log.info("nothing was run")


def _known(composer: Hydra, todo: Plan, overrides: list[str]) -> list[str]:
    """What to say of a search that has nothing left to run; empty if it has."""
    from sweepgrad.sweep.search.journal import if_complete
    from sweepgrad.sweep.search.suggest import search_of  # Optuna takes a while to import

    loader = composer.config_loader
    master = loader.load_configuration(CONFIG_NAME, overrides, RunMode.MULTIRUN)
    return if_complete(search_of(master, list(master.hydra.overrides.task), loader, tables_of(todo)))


def _call(composer: Hydra, task: Task, overrides: list[str]) -> None:
    """Have Hydra's sweeper and launcher call for the jobs."""
    sweep = task.session.sweep
    if sweep is None:
        composer.run(CONFIG_NAME, task, overrides, with_log_configuration=False)
    else:
        place = str(sweep.folder).replace("\\", "\\\\").replace('"', '\\"')
        overrides = [*overrides, f"{SWEEP_ID}{sweep.record.id}", f'hydra.sweep.dir="{place}"']
        composer.multirun(CONFIG_NAME, task, overrides, with_log_configuration=False)


def _train(session: Session, run: Callable[[], object]) -> tuple[Status, str]:
    """Have the jobs run; how that ended, and what went wrong."""
    problem = ""
    try:
        with session.resources:
            run()
        return "FAILED" if session.failed else "FINISHED", problem
    except Ended as end:
        problem = str(end)
    except KeyboardInterrupt:
        return "KILLED", "interrupted"
    except OSError as error:  # of Hydra's own files
        problem = f"{unwritten(error)}; nothing more is run"
    except HydraException as error:
        problem = str(error).removesuffix(".")
    except BaseException:
        _close(session, "FAILED")
        raise
    return "FAILED", problem


def _close(session: Session, status: Status) -> None:
    """Leave word of the sweep's end, and wait until MLflow has everything."""
    if session.sweep is not None:
        try:
            session.sweep.write(status, session.saved_by_halving)
            session.outbox.end(session.sweep.folder)
        except OSError as error:  # the runs beside it matter more
            log.warning(f"{error.filename} cannot be written: {error.strerror}")
    session.outbox.close(session.progress.sending)


def _report(session: Session, todo: Plan, status: Status, problem: str) -> int:
    """Say what came of it; the exit code."""
    done = sum(outcome.status == "FINISHED" for outcome in session.outcomes)
    reused = sum(outcome.reused for outcome in session.outcomes)
    where = os.path.relpath(session.sweep.folder if session.sweep else session.last_folder)
    if problem:
        log.warning(f"{problem}; {done} of {_runs(todo.n_jobs)} finished and kept in {where}")
    if reused:
        log.info(f"{_runs(reused)} had been trained before (sweep.resume=false trains them again)")
    if session.saved_by_halving:
        log.info(session.saved_by_halving)
    if session.failed:
        log.warning(
            f"{len(session.failed)} of {_runs(todo.n_jobs)} failed; one alone is run again by its line:"
        )
        for outcome in session.failed:
            log.warning(f"  {session.rerun(outcome.job)}")
    if session.sweep is not None and (problem or session.failed):
        log.warning("the same command again does what is missing")
    if session.outbox.unsent:
        log.warning(
            f"{_unsent(session.outbox)} could not be sent to MLflow; the results are kept in {where}."
            " When the store answers again: sweepgrad sync"
        )
        if status == "FINISHED":
            return 2
    elif status == "FINISHED" and not session.progress.quiet:
        print(f"kept in {where} and in MLflow;")
        print("next: sweepgrad leaderboard, sweepgrad finalize, sweepgrad ui")
    if status == "KILLED":
        return 130
    return {"FINISHED": 0, "FAILED": 2 if problem and not session.failed else 1}[status]


def _started(todo: Plan, words: list[str], overrides: list[str]) -> resume.Sweep | None:
    if not todo.multirun:
        return None
    config = todo.jobs[0].config
    # What a search will ask for follows from its overrides.
    sections = [section.model_dump() for section in (config.tracking, config.sweep, config.select)]
    settings = [*sections, None if todo.complete else overrides]
    return resume.start_or_resume(
        todo.folder,
        resume.key([digest_of(job.config) for job in todo.jobs], settings),
        name=todo.experiment or "sweep",
        jobs=todo.n_jobs,
        varying=todo.varying,
        words=words,
        resume=config.sweep.resume,
    )


def _unsent(outbox: Outbox) -> str:
    whys = sorted({why for why in outbox.unsent.values() if why})
    runs = sum(what.startswith("send ") for what in outbox.unsent)
    what = _runs(runs) if runs else "word of the sweep"
    return f"{what} ({'; '.join(whys[:3])})" if whys else what


def _runs(n: int) -> str:
    return "1 run" if n == 1 else f"{n} runs"


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
