"""Launch the runs of a plan: check, train, send to MLflow, report."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hydra.errors import HydraException
from hydra.types import RunMode

from sweepgrad.compose.boundary import message
from sweepgrad.compose.internals import Hydra
from sweepgrad.compose.loader import CONFIG_NAME
from sweepgrad.compose.plan import Plan, PlannedJob
from sweepgrad.config.identity import CHOOSING, KEEPING
from sweepgrad.config.schema import Config
from sweepgrad.errors import UserError
from sweepgrad.runs.record import Status
from sweepgrad.sweeps import estimate, resume, reuse, threads
from sweepgrad.sweeps.hydra_task import SWEEP_ID, Task, alone, tables_of
from sweepgrad.sweeps.launched import Launched, n_runs, report, unsent
from sweepgrad.sweeps.preflight import (
    check_scheduler,
    check_tables,
    load_engines,
    refuse_impossible_store,
    refuse_nothing_to_average,
    refuse_unwritable,
)
from sweepgrad.sweeps.progress import Progress
from sweepgrad.sweeps.session import Ended, Session, digest_of, unwritten
from sweepgrad.tracking.outbox import Outbox
from sweepgrad.training.loop import Fit

log = logging.getLogger(__name__)

_RUNS = Path("runs")  # below the current folder; earlier results are looked for here


def launch(
    composer: Hydra,
    todo: Plan,
    outbox: Outbox,
    *,
    command: Sequence[str],
    overrides: list[str],
    quiet: bool = False,
    bar: bool | None = None,
) -> Launched:
    """Check the tables of a plan, then train its runs and send the results to MLflow.

    Arguments:
        command: arguments of the command line, to be recorded.
        overrides: those among them.
        quiet, bar: see `Progress`.

    Raises:
        UserError: nothing was run.
    """
    settings = todo.jobs[0].config
    with Progress(quiet=quiet, bar=bar, metric=settings.select.metric) as progress:
        _check(todo, quiet=quiet)
        if known := _known(composer, todo, overrides):
            for line in known:
                log.info(f"search: {line}")
            earlier = resume.find(todo.folder, _key(todo, overrides))
            folder, name = (earlier[0], earlier[1].id) if earlier else (None, None)
            return Launched((), todo.n_jobs, name, folder, "FINISHED", nothing_left=True)
        outbox.connect(settings.tracking)
        outbox.open()
        try:
            sweep = _started(todo, command, overrides)
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
            action = "resuming" if sweep.earlier else "starting"
            log.info(f"{action} sweep {sweep.record.id}: {n_runs(todo.n_jobs)}, varying {varying}")
            outbox.begin(sweep.folder)
        return _trained(session, todo, lambda: _call(composer, task, overrides))


def rehearse(composer: Hydra, todo: Plan, overrides: list[str], *, quiet: bool = False) -> list[str]:
    """Check what `launch` would check; a line for each run of a sweep.

    Raises:
        UserError: `launch` would run nothing.
    """
    with Progress(quiet=quiet, metric=todo.jobs[0].config.select.metric):
        _check(todo, quiet=quiet)
        if known := _known(composer, todo, overrides):
            for line in known:
                log.info(f"search: {line}")
            return []
        digests = [digest_of(job.config) for job in todo.jobs]
        found = reuse.find(digests, reuse.index(_RUNS) if todo.multirun else {})
        trained = {place for place, digest in enumerate(digests) if digest in found}
        if trained:
            log.info(f"{len(trained)} of {n_runs(todo.n_jobs)} were trained before")
        log.info("nothing was run")
        resumed = trained if todo.jobs[0].config.sweep.resume else set()
        return list(estimate.listed(todo, resumed)) if todo.multirun else []


def continue_training(
    config: Config, folder: Path, start: Fit, origin: str, overrides: Sequence[str], *, quiet: bool
) -> Launched:
    """Train a run on its own, starting where another one ended.

    Arguments:
        config: of the new run.
        folder: of the new run.
        start: the state that the other run ended in.
        origin: the id of its job.
        overrides: the changes to its configuration.

    Raises:
        UserError: as `launch`.
    """
    planned = PlannedJob(config, tuple(overrides))
    todo = Plan(
        multirun=False,
        jobs=(planned,),
        complete=True,
        varying=(),
        experiment=None,
        sweeper="basic",
        launcher="basic",
        address=None,
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
                session.job(0, folder.name, overrides, config, folder.absolute()),
                start=start,
                continued=origin,
            )
            progress.start(1)
            return _trained(session, todo, lambda: session.run([job], alone))
    finally:
        outbox.drop()


def _check(todo: Plan, *, quiet: bool) -> None:
    """Check everything that can be checked before the first run.

    Raises:
        UserError: a setting, a table or a folder is not as it must be.
    """
    settings = todo.jobs[0].config
    for key in KEEPING + CHOOSING:
        if any(getattr(job.config, key) != getattr(settings, key) for job in todo.jobs):
            raise UserError(f"{key}: must be the same for all runs of a sweep")
    check_scheduler(todo)
    refuse_nothing_to_average(todo)
    refuse_unwritable(Path(todo.folder.partition("*")[0]))
    refuse_impossible_store(settings.tracking.uri)
    check_tables(todo)
    load_engines(todo)
    if todo.multirun and not quiet:
        log.info(estimate.summary(todo, threads.cores()))


def _trained(session: Session, todo: Plan, run: Callable[[], object]) -> Launched:
    """Train the jobs of a session, wait until MLflow has the results, and report how it ended."""
    with _sigterm_as_ctrl_c():
        status, problem = _train(session, run)
        try:
            _close(session, status)
        except KeyboardInterrupt:
            status, problem = "KILLED", problem or "interrupted"
            log.warning("interrupted while writing to MLflow: sweepgrad sync sends the rest")
    outcomes = sorted(session.outcomes, key=lambda outcome: outcome.job.number)
    launched = Launched(
        tuple(outcomes),
        todo.n_jobs,
        session.sweep.record.id if session.sweep else None,
        session.sweep.folder if session.sweep else session.last_folder,
        status,
        problem,
        unsent(session.outbox),
    )
    report(session, launched)
    return launched


def _known(composer: Hydra, todo: Plan, overrides: list[str]) -> list[str]:
    """Return the results of a search that has nothing left to run; nothing for all else."""
    if todo.sweeper != "optuna" or not todo.multirun:
        return []
    from sweepgrad.sweeps.search.journal import if_complete
    from sweepgrad.sweeps.search.suggest import search_of  # Optuna takes a while to import

    loader = composer.config_loader
    master = loader.load_configuration(CONFIG_NAME, overrides, RunMode.MULTIRUN)
    return if_complete(search_of(master, list(master.hydra.overrides.task), loader, tables_of(todo)))


def _call(composer: Hydra, task: Task, overrides: list[str]) -> None:
    """Let Hydra's sweeper and launcher run the jobs."""
    sweep = task.session.sweep
    if sweep is None:
        composer.run(CONFIG_NAME, task, overrides, with_log_configuration=False)
    else:
        place = str(sweep.folder).replace("\\", "\\\\").replace('"', '\\"')
        overrides = [*overrides, f"{SWEEP_ID}{sweep.record.id}", f'hydra.sweep.dir="{place}"']
        composer.multirun(CONFIG_NAME, task, overrides, with_log_configuration=False)


def _train(session: Session, run: Callable[[], object]) -> tuple[Status, str]:
    """Train the jobs; return how that ended, and what went wrong."""
    problem = ""
    try:
        with session.resources:
            run()
        return "FAILED" if session.failed else "FINISHED", problem
    except Ended as end:
        problem = str(end)
    except KeyboardInterrupt:
        return "KILLED", "interrupted"
    except OSError as error:  # about Hydra's own files
        problem = f"{unwritten(error)}; the sweep ends here"
    except HydraException as error:
        problem = message(error).removesuffix(".")
    except BaseException:
        _close(session, "FAILED")
        raise
    return "FAILED", problem


def _close(session: Session, status: Status) -> None:
    """Record how the sweep ended, and wait until MLflow has everything."""
    if session.sweep is not None:
        try:
            session.sweep.write(status, session.saved_by_halving)
            session.outbox.end(session.sweep.folder)
        except OSError as error:  # the runs matter more than the sweep's own record
            log.warning(f"cannot write {error.filename}: {error.strerror}")
    session.outbox.close(session.progress.sending)


def _started(todo: Plan, command: Sequence[str], overrides: list[str]) -> resume.Sweep | None:
    if not todo.multirun:
        return None
    return resume.start_or_resume(
        todo.folder,
        _key(todo, overrides),
        name=todo.experiment or "sweep",
        jobs=todo.n_jobs,
        varying=todo.varying,
        words=command,
        resume=todo.jobs[0].config.sweep.resume,
    )


def _key(todo: Plan, overrides: list[str]) -> str:
    """Return the key by which a sweep is resumed."""
    config = todo.jobs[0].config
    # The runs of a search follow from its overrides.
    sections = [section.model_dump() for section in (config.tracking, config.sweep, config.select)]
    settings = [*sections, None if todo.complete else overrides]
    return resume.key([digest_of(job.config) for job in todo.jobs], settings)


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
