"""Rules for Hydra's own settings, and the folder of a job."""

import copy
import os
import re
from collections.abc import Iterator
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from sweepgrad.compose.limits import MAX_WORKERS
from sweepgrad.compose.references import bounded
from sweepgrad.config.check import ConfigError
from sweepgrad.config.schema import Config
from sweepgrad.errors import UserError, shortened

_ADDRESS = re.compile(
    r"(tcp|tls)://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):(?P<port>[0-9]{1,5})"
)
_SHARED = ("threads", "dask")  # launchers that run jobs in one process


def without_effect(master: DictConfig, config: Config, *, multirun: bool) -> Iterator[ConfigError]:
    """Yield the settings that have no effect, or not the intended one, with the remedy.

    Arguments:
        master: the configuration that Hydra composes for a sweep, or for the run.
        config: the job with the most epochs.
    """
    launcher = master.hydra.runtime.choices["hydra/launcher"]
    if not multirun:
        for key, value, off in (
            ("sweep.halving", config.sweep.halving is not None, "null"),
            ("sweep.fail_fast", config.sweep.fail_fast, "false"),
        ):
            if value:
                yield ConfigError(key, f"has no effect on a single run. Add --multirun, or set {key}={off}")
        return
    halving = config.sweep.halving
    if halving is not None and launcher != "threads":
        yield ConfigError(
            "sweep.halving",
            f"needs all runs in one process, but hydra/launcher={launcher} does not run them so. Set"
            " hydra/launcher=threads, or sweep.halving=null",
        )
    if halving is not None and OmegaConf.select(master, "hydra.sweeper.max_batch_size") is not None:
        yield ConfigError(
            "sweep.halving",
            "needs all runs in one batch. Remove hydra.sweeper.max_batch_size, or set sweep.halving=null",
        )
    if halving is not None and halving.first >= config.train.epochs:
        yield ConfigError(
            "sweep.halving.first",
            f"{halving.first} has no effect within {config.train.epochs} epochs. Set a smaller number, or"
            " sweep.halving=null",
        )
    if launcher in _SHARED and master.hydra.job.chdir:
        yield ConfigError(
            "hydra.job.chdir", "is not possible for jobs that share a process. Set hydra/launcher=basic"
        )
    address = address_of(master) if launcher == "dask" else None
    if address is not None and (problem := address_problem(address)):
        yield ConfigError("hydra.launcher.address", problem)
    workers = OmegaConf.select(master, "hydra.launcher.workers")
    if address is not None and workers is not None:
        yield ConfigError(
            "hydra.launcher.workers", "has no effect with hydra.launcher.address. Remove one of them"
        )
    if workers is not None and (not isinstance(workers, int) or not 1 <= workers <= MAX_WORKERS):
        yield ConfigError(
            "hydra.launcher.workers", f"must be 1 to {MAX_WORKERS}, or null for one per core, not {workers}"
        )


def address_of(master: DictConfig) -> str | None:
    """Return the address of the Dask scheduler, if there is one."""
    address = OmegaConf.select(master, "hydra.launcher.address")
    return None if address is None else str(address)


def address_problem(address: str) -> str:
    """Return what is wrong with the address of a Dask scheduler, or ""."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 2**16:
        return f"{shortened(address)!r} is not the address of a Dask scheduler. Use tcp://HOST:PORT"
    return ""


def host_and_port(address: str) -> tuple[str, int]:
    """Return the parts of an address without problems."""
    found = _ADDRESS.fullmatch(address)
    assert found is not None
    return found["host"].strip("[]"), int(found["port"])


def is_of_hydra(override: Override) -> bool:
    """Return whether an override is of Hydra's settings; Hydra itself overlooks the section as a whole."""
    return re.split(r"[./]", override.key_or_group)[0] == "hydra"


def refuse_other_folder(composed: DictConfig, master: DictConfig) -> None:
    """Check that the folder of a job is inside that of its sweep; launchers of Hydra's own do not.

    Raises:
        OmegaConfBaseException: a folder cannot be resolved.
        UserError: it is not.
    """
    written, wanted = _written(composed, "dir"), _written(master, "dir")
    same = written == wanted and "${" not in str(written).replace("${sweep.id}", "")
    if not same and str(composed.hydra.sweep.dir) != str(master.hydra.sweep.dir):
        raise UserError(
            "hydra.sweep.dir: must be the same for all runs of a sweep. Set it on the command line"
        )
    if not numbered(composed):
        folder_of(copy.deepcopy(composed), 0)  # it sets the number of the job


def numbered(master: DictConfig) -> bool:
    """Return whether the folder of a job is named by its number, the default in config.yaml."""
    return bool(_written(master, "subdir") == "${hydra.job.num}")


def _written(master: DictConfig, name: str) -> object:
    """Return a value of the section `hydra.sweep` with its references."""
    node: Any = master.hydra.sweep._get_node(name)
    return node if node is None else node._value()


def folder_of(composed: DictConfig, number: int) -> str:
    """Return the folder of a job within its sweep's, from `hydra.sweep.subdir`.

    Raises:
        OmegaConfBaseException: it cannot be resolved.
        UserError: it is not inside the sweep's folder.
    """
    with open_dict(composed):
        composed.hydra.job.id = composed.hydra.job.num = number
    with bounded():
        folder = os.path.normpath(str(composed.hydra.sweep.subdir))
    if os.path.isabs(folder) or folder.split(os.sep)[0] in ("..", "."):
        raise UserError(f"hydra.sweep.subdir: {folder} is not a folder inside that of the sweep")
    return folder
