"""`sweepgrad train`: one run, or a sweep of runs. What follows it is Hydra's syntax."""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from sweepgrad.errors import UserError

if TYPE_CHECKING:
    from sweepgrad.sweeps.launched import Launched

_QUIET, _DRY = {"-q", "--quiet"}, "--dry-run"
_ANSWERED_BY_HYDRA = {
    "--help",
    "-h",
    "--hydra-help",
    "--cfg",
    "-c",
    "--info",
    "-i",
    "--shell-completion",
    "-sc",
}


def train(arguments: Sequence[str]) -> int:
    """Run `sweepgrad train ARGUMENTS`; the exit code.

    0 when every run finished, 1 when one failed, 2 when results could not be sent, 130 after Ctrl-C.

    Raises:
        UserError: nothing was run.
    """
    dry, quiet = _DRY in arguments, bool(_QUIET & set(arguments))
    rest = [argument for argument in arguments if argument != _DRY and argument not in _QUIET]
    with ExitStack() as stack:
        outbox = None
        if not dry and not _ANSWERED_BY_HYDRA & set(rest):
            from sweepgrad.sweeps.train import mlflow_writer

            outbox = stack.enter_context(mlflow_writer())  # first: it starts while Hydra is imported
        from sweepgrad.compose.internals import get_args_parser

        flags = get_args_parser().parse_intermixed_args(rest)
        # Hydra wants its flags before or after all overrides; people also put them between.
        command = [*(argument for argument in rest if argument not in flags.overrides), *flags.overrides]
        if flags.help or flags.hydra_help or flags.cfg or flags.info or flags.shell_completion:
            ask_hydra(command)
            return 0
        if flags.config_name or flags.config_path:
            raise UserError("--config-name and --config-path do not work here; --config-dir adds YAML files")
        search = [flags.config_dir] if flags.config_dir else []
        from sweepgrad.sweeps.train import rehearse, train

        if outbox is None:
            for line in rehearse(flags.overrides, multirun=flags.multirun, search=search, quiet=quiet):
                print(line)
            return 0
        launched = train(
            flags.overrides,
            multirun=flags.multirun,
            search=search,
            command=command,
            quiet=quiet,
            outbox=outbox,
        )
    return report(launched, quiet=quiet)


def report(launched: "Launched", *, quiet: bool) -> int:
    """Print where results are kept, and what to do next; the exit code, as of `train`."""
    if launched.status == "KILLED":
        return 130
    if launched.status == "FAILED":
        return 2 if launched.problem and not launched.failed else 1
    if launched.unsent:
        return 2
    if launched.folder is not None and not launched.nothing_left and not quiet:
        print(f"kept in {os.path.relpath(launched.folder)} and in MLflow")
        print("next: sweepgrad leaderboard, sweepgrad finalize, sweepgrad ui")
    return 0


def ask_hydra(arguments: Sequence[str]) -> None:
    """Let Hydra answer --help and the like, as if it were the whole program.

    Raises:
        UserError: an override is wrong; --help composes the configuration too.
    """
    import hydra
    from hydra.errors import HydraException

    from sweepgrad.compose.loader import CONFIG_NAME
    from sweepgrad.compose.search_path import search_extensions
    from sweepgrad.paths import config_dir

    search_extensions()

    def no_job(cfg: object) -> None:  # Hydra needs a function, and looks where it was defined
        raise AssertionError("--help and the like run no job")

    before = sys.argv
    sys.argv = ["sweepgrad train", *arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=CONFIG_NAME)(no_job)()
    except HydraException as error:
        raise UserError(str(error)) from None
    finally:
        sys.argv = before
