"""Functions that train: `load_config`, `train` and `sweep`."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweepgrad.api.arguments import overrides_for, search_path, shows_bar
from sweepgrad.api.results import Run, Sweep, run_in, sweep_in
from sweepgrad.compose.limits import MAX_JOBS
from sweepgrad.config.schema import Config
from sweepgrad.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from sweepgrad.sweeps.launched import Launched


class UnsentWarning(UserWarning):
    """Warns that results could not be sent to MLflow; they are kept on disk."""


class NoneFinished(UserError):
    """Raised if all runs of a sweep failed.

    Attributes:
        sweep: the sweep, with its failed runs.
    """

    def __init__(self, sweep: Sweep) -> None:
        super().__init__(
            f"none of the {sweep.n_jobs} runs finished; the first failed: {sweep.failed[0].problem}"
        )
        self.sweep = sweep


def load_config(
    overrides: Sequence[str] = (),
    *,
    data: "pd.DataFrame | str | Path | None" = None,
    target: str | None = None,
    config_dir: str | Path | None = None,
) -> Config:
    """Compose and validate the configuration of one run. Train nothing.

    Arguments:
        overrides: as after `sweepgrad train` on a command line, such as `["model=wide", "seed=1"]`.
        data: the table: a DataFrame, or the path of a CSV or Parquet file; None if the overrides name it.
            A DataFrame is written, without its index, to a Parquet file in `runs/tables`.
        target: the column to predict; short for the override `data.target`.
        config_dir: a folder of more YAML files, as `--config-dir`.

    Raises:
        UserError: the configuration is wrong; the message lists every error.
    """
    from sweepgrad.sweeps.train import plan_one

    return plan_one(overrides_for(overrides, data, target), search_path(config_dir)).config


def train(
    overrides: Sequence[str] = (),
    *,
    data: "pd.DataFrame | str | Path | None" = None,
    target: str | None = None,
    config_dir: str | Path | None = None,
    progress: bool | None = None,
) -> Run:
    """Train one run, as `sweepgrad train` does, and send it to MLflow.

    Arguments:
        overrides, data, target, config_dir: as for `load_config`.
        progress: show a progress bar; None shows one in a notebook and on a terminal.

    Raises:
        UserError: the configuration or the table is wrong, or training failed. The run's folder is kept.
        KeyboardInterrupt: training was interrupted. What was trained is kept.

    Warns:
        UnsentWarning: the run could not be sent to MLflow; it is kept on disk.
    """
    from sweepgrad.sweeps import train as training

    lines, search = overrides_for(overrides, data, target), search_path(config_dir)
    launched = training.train(lines, multirun=False, search=search, bar=shows_bar(progress), single=True)
    _warn_unsent(launched)
    _raise_for(launched)
    assert launched.folder is not None
    run = run_in(launched.folder)
    if launched.failed:
        raise UserError(f"the run failed: {run.problem}. Its record is in {launched.folder}")
    return run


def sweep(
    overrides: Sequence[str] = (),
    *,
    data: "pd.DataFrame | str | Path | None" = None,
    target: str | None = None,
    config_dir: str | Path | None = None,
    progress: bool | None = None,
    max_jobs: int = MAX_JOBS,
) -> Sweep:
    """Train many runs, as `sweepgrad train --multirun` does, and send them to MLflow.

    A sweep that was interrupted is resumed by the same call.

    Arguments:
        overrides: as for `load_config`; a key with several values is swept over, such as `"seed=1,2,3"`.
        data, target, config_dir, progress: as for `train`.
        max_jobs: the largest number of runs that is allowed.

    Returns:
        The sweep. Runs that failed are in its `failed`.

    Raises:
        UserError: the configuration or the table is wrong, or no run finished; the attribute `sweep` of the
            latter error has the runs.
        KeyboardInterrupt: training was interrupted. Runs that finished are kept.

    Warns:
        UnsentWarning: as `train`.
    """
    from sweepgrad.sweeps import train as training

    lines, search = overrides_for(overrides, data, target), search_path(config_dir)
    launched = training.train(lines, multirun=True, search=search, bar=shows_bar(progress), max_jobs=max_jobs)
    _warn_unsent(launched)
    _raise_for(launched)
    if launched.folder is None:
        raise UserError(
            "the search has all its trials already, and its sweep is not in runs/: set another"
            " hydra.sweeper.study, or more hydra.sweeper.trials"
        )
    found = sweep_in(launched.folder, None if launched.nothing_left else launched.outcomes)
    if launched.failed and not launched.n_finished:
        raise NoneFinished(found)
    return found


def _warn_unsent(launched: "Launched") -> None:
    """Warn the caller of `train` or `sweep` about results that MLflow does not have."""
    if launched.unsent:
        warnings.warn(
            f"{launched.unsent} could not be sent to MLflow; the results are kept in {launched.folder}. When"
            " the store answers again, send them with: sweepgrad sync",
            UnsentWarning,
            stacklevel=3,
        )


def _raise_for(launched: "Launched") -> None:
    """Raise an error if training ended early."""
    if launched.status == "KILLED":
        raise KeyboardInterrupt
    if launched.problem:
        raise UserError(
            f"{launched.problem}; {launched.n_finished} of {launched.n_jobs} runs finished and kept in"
            f" {launched.folder}"
        )
