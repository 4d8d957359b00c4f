"""`sweepgrad train`: one run, or a sweep of runs. What follows it is Hydra's syntax."""

import argparse
import io
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from sweepgrad.errors import UserError
from sweepgrad.messages import show, shown

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
        if quiet:
            stack.enter_context(shown(logging.WARNING))
        outbox = None
        if not dry and not _ANSWERED_BY_HYDRA & set(rest):
            from sweepgrad.sweeps.train import mlflow_writer

            outbox = stack.enter_context(mlflow_writer())  # first: it starts while Hydra is imported
        from sweepgrad.compose.internals import get_args_parser

        flags = get_args_parser().parse_intermixed_args(rest)
        # Hydra wants its flags before or after all overrides; people also put them between.
        command = [*(argument for argument in rest if argument not in flags.overrides), *flags.overrides]
        _refuse_unsupported(flags)
        search = [flags.config_dir] if flags.config_dir else []
        if flags.help or flags.hydra_help or flags.cfg or flags.info or flags.shell_completion:
            ask_hydra(command)
            return 0
        from sweepgrad.sweeps.train import rehearse, train

        if outbox is None:
            for line in rehearse(
                flags.overrides,
                multirun=flags.multirun,
                search=search,
                quiet=quiet,
                max_jobs=flags.max_jobs,
            ):
                show(line)
            return 0
        launched = train(
            flags.overrides,
            multirun=flags.multirun,
            search=search,
            command=command,
            quiet=quiet,
            max_jobs=flags.max_jobs,
            outbox=outbox,
        )
    return report(launched, quiet=quiet)


def _refuse_unsupported(flags: argparse.Namespace) -> None:
    """Raise a UserError for a flag of Hydra's that would be ignored, or do what sweepgrad does not do."""
    for given, flag, problem in (
        (flags.experimental_rerun, "--experimental-rerun", "it reads a pickle, which can run any code"),
        (flags.config_name, "--config-name", "use --config-dir to add YAML files"),
        (flags.config_path, "--config-path", "use --config-dir to add YAML files"),
        (flags.package and not flags.cfg, "--package", "it works with --cfg only"),
        (flags.resolve and not flags.cfg, "--resolve", "it works with --cfg only"),
    ):
        if given:
            raise UserError(f"{flag} is not supported: {problem}")


def report(launched: "Launched", *, quiet: bool) -> int:
    """Print where results are kept, and what to do next; the exit code, as of `train`."""
    if launched.status == "KILLED":
        return 130
    if launched.status == "FAILED":
        return 2 if launched.problem and not launched.failed else 1
    if launched.unsent:
        return 2
    if launched.folder is not None and not launched.nothing_left and not quiet:
        show(f"kept in {os.path.relpath(launched.folder)} and in MLflow")
        show("next: sweepgrad leaderboard, sweepgrad finalize, sweepgrad ui")
    return 0


@contextmanager
def _escaped() -> Iterator[None]:
    """Print what Hydra prints with control characters escaped; it prints text of YAML files."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        show(printed.getvalue(), end="")


def ask_hydra(arguments: Sequence[str]) -> None:
    """Let Hydra answer --help, --hydra-help, --cfg, --info or --shell-completion.

    Raises:
        UserError: the arguments are wrong; --help composes the configuration too.
    """
    from sweepgrad.compose.boundary import input_errors
    from sweepgrad.compose.internals import get_args_parser
    from sweepgrad.compose.loader import CONFIG_NAME, hydra_for
    from sweepgrad.compose.references import bounded

    parser = get_args_parser()
    flags = parser.parse_args(arguments)
    given = flags.overrides
    with (
        _escaped(),
        input_errors(),
        bounded(),
        hydra_for([flags.config_dir] if flags.config_dir else []) as hydra,
    ):
        if flags.help:
            hydra.app_help(CONFIG_NAME, parser, flags)
        elif flags.hydra_help:
            hydra.hydra_help(CONFIG_NAME, parser, flags)
        elif flags.cfg:
            hydra.show_cfg(CONFIG_NAME, given, flags.cfg, flags.package, flags.resolve)
        elif flags.info:
            hydra.show_info(flags.info, CONFIG_NAME, given)
        elif len(given) == 1 and given[0].startswith("query="):
            hydra.shell_completion(CONFIG_NAME, given)
        else:  # it would edit the configuration of the shell
            raise UserError("--shell-completion is not supported: use sweepgrad completion")
