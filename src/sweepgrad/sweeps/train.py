"""Plan, check and train the runs that a list of overrides asks for."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sweepgrad.compose.limits import MAX_JOBS
from sweepgrad.errors import UserError
from sweepgrad.tracking.outbox import Outbox

if TYPE_CHECKING:
    from sweepgrad.compose.internals import Hydra
    from sweepgrad.compose.plan import Plan, PlannedJob
    from sweepgrad.sweeps.launched import Launched

# Hydra takes tenths of a second to import and `launch` most of a second. Both are imported late, so that the
# process that writes to MLflow starts in the meantime.

_n_started = 0  # writers to MLflow

_TRAIN = "call sweepgrad.sweep"
_LOAD = "load_config returns the configuration of one run"


@contextmanager
def mlflow_writer() -> Iterator[Outbox]:
    """Start what writes to MLflow, and end it. Start it first: it takes as long as everything else.

    The first writer of this process is a process, and later ones are threads: a script that trains again and
    again imports MLflow once.
    """
    global _n_started
    _n_started += 1
    outbox = Outbox(in_process=_n_started > 1)
    try:
        yield outbox
    finally:
        outbox.drop()


def train(
    overrides: Sequence[str],
    *,
    multirun: bool,
    search: Sequence[str] = (),
    command: Sequence[str] | None = None,
    quiet: bool = False,
    bar: bool | None = None,
    single: bool = False,
    max_jobs: int = MAX_JOBS,
    outbox: Outbox | None = None,
) -> "Launched":
    """Train one run, or a sweep of runs, and send the results to MLflow.

    Calls from several threads train one after another.

    Arguments:
        overrides: as after `sweepgrad train`, without flags.
        multirun: whether this is a sweep.
        search: more folders of YAML, as --config-dir gives them.
        command: arguments of the command line, to be recorded; None for those that follow from `overrides`.
        quiet: print errors only.
        bar: see `progress.Progress`.
        single: refuse an experiment that is a sweep.
        max_jobs: the largest number of runs that is allowed.
        outbox: a running writer to MLflow; None starts one.

    Raises:
        UserError: nothing was run.
    """
    if command is None:
        command = [*(["-m"] if multirun else []), *overrides]
    with ExitStack() as stack:
        if outbox is None:
            outbox = stack.enter_context(mlflow_writer())
        composer, todo = stack.enter_context(
            _planned(overrides, multirun, search, single=_TRAIN if single else "", max_jobs=max_jobs)
        )
        tracking = todo.jobs[0].config.tracking
        file = Path(tracking.uri.removeprefix("sqlite:///"))
        if not tracking.uri.startswith("sqlite:") or file.exists():
            outbox.connect(tracking)  # a new store is made only after the tables were checked
        from sweepgrad.sweeps.launch import launch

        return launch(
            composer, todo, outbox, command=command, overrides=list(overrides), quiet=quiet, bar=bar
        )


def rehearse(
    overrides: Sequence[str],
    *,
    multirun: bool,
    search: Sequence[str] = (),
    quiet: bool = False,
    max_jobs: int = MAX_JOBS,
) -> list[str]:
    """Check what `train` would check, and train nothing.

    Returns:
        A line for each run of a sweep.

    Raises:
        UserError: `train` would run nothing.
    """
    with _planned(overrides, multirun, search, max_jobs=max_jobs) as (composer, todo):
        from sweepgrad.sweeps.launch import rehearse

        return rehearse(composer, todo, list(overrides), quiet=quiet)


def plan_one(overrides: Sequence[str], search: Sequence[str] = ()) -> "PlannedJob":
    """Plan one run for `load_config`, and train nothing.

    Raises:
        UserError: the configuration is wrong, or is of several runs.
    """
    with _planned(overrides, False, search, single=_LOAD, launches=False) as (_, todo):
        return todo.jobs[0]


@contextmanager
def _planned(
    overrides: Sequence[str],
    multirun: bool,
    search: Sequence[str],
    *,
    single: str = "",
    launches: bool = True,
    max_jobs: int = MAX_JOBS,
) -> Iterator[tuple["Hydra", "Plan"]]:
    """Plan runs while no other thread does.

    Arguments:
        single: the advice if there must be only one run; empty if there may be several.
        launches: whether they are trained before the context ends.
        max_jobs: see `train`.
    """
    from sweepgrad.compose.loader import composer_for, hydra_for
    from sweepgrad.compose.plan import plan_with

    with (hydra_for if launches else composer_for)(search) as composer:
        if single:
            _refuse_several_values(composer, overrides, single)
        todo = plan_with(composer, overrides, multirun=multirun, max_jobs=max_jobs)
        if single and todo.multirun:
            raise UserError(f"experiment: it is a sweep of several runs; {single}")
        yield composer, todo


def _refuse_several_values(composer: "Hydra", overrides: Sequence[str], advice: str) -> None:
    from sweepgrad.compose.loader import SweepLoader

    loader = composer.config_loader
    assert isinstance(loader, SweepLoader)
    several = []
    with suppress(Exception):  # `plan_with` reports what is wrong
        several = [str(each.input_line) for each in loader.parse(overrides) if each.is_sweep_override()]
    if several:
        raise UserError(f"{' '.join(several)}: asks for several runs; {advice}")
