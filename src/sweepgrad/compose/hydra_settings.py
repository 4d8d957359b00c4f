"""Settings of Hydra's own that do not go together with what is to be run."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from sweepgrad.config.schema import Config

_SHARED = ("threads", "dask")  # launchers that run jobs in one process


def refused(master: DictConfig, config: Config, *, multirun: bool) -> Iterator[str]:
    """What has no effect, or none that was meant, with the remedy.

    Arguments:
        master: as Hydra composes it for a sweep, or for the run.
        config: of the job that is to be trained longest.
    """
    launcher = master.hydra.runtime.choices["hydra/launcher"]
    if not multirun:
        if config.sweep.halving is not None:
            yield "sweep.halving: has no effect on a single run: add --multirun, or say null"
        if config.sweep.fail_fast:
            yield "sweep.fail_fast: has no effect on a single run: add --multirun, or say false"
        return
    if config.sweep.halving is not None and launcher != "threads":
        yield (
            f"sweep.halving: compares runs that are under way, which hydra/launcher={launcher} does not have"
            " in one place: use hydra/launcher=threads, or say sweep.halving=null"
        )
    if (
        config.sweep.halving is not None
        and OmegaConf.select(master, "hydra.sweeper.max_batch_size") is not None
    ):
        yield "sweep.halving: compares the jobs of a sweep, which hydra.sweeper.max_batch_size takes apart"
    if config.sweep.halving is not None and config.sweep.halving.first >= config.train.epochs:
        yield (
            f"sweep.halving.first: {config.sweep.halving.first} has no effect within"
            f" {config.train.epochs} epochs; say fewer, or sweep.halving=null"
        )
    if launcher in _SHARED:
        for key in ("chdir", "env_set", "env_copy"):
            if master.hydra.job[key]:
                yield (
                    f"hydra.job.{key}: jobs that share a process cannot have this of their own; say"
                    " hydra/launcher=basic"
                )
    workers = OmegaConf.select(master, "hydra.launcher.workers")
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        yield f"hydra.launcher.workers: must be 1 or more, or null for one a core, not {workers}"


def numbered(master: DictConfig) -> bool:
    """Whether the folder of a job is called by its number, as config.yaml has it."""
    plain: Any = OmegaConf.to_container(master.hydra.sweep, resolve=False)
    return bool(plain["subdir"] == "${hydra.job.num}")


def folder_of(composed: DictConfig, number: int) -> str:
    """The folder of a job below its sweep's, as `hydra.sweep.subdir` says.

    Raises:
        OmegaConfBaseException: it cannot be resolved.
    """
    with open_dict(composed):
        composed.hydra.job.id = composed.hydra.job.num = number
    return str(composed.hydra.sweep.subdir)
