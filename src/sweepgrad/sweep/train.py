"""`sweepgrad train`: one run, or a sweep of them, composed and launched by Hydra."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sweepgrad.errors import UserError
from sweepgrad.tracking.outbox import Outbox

# Hydra is imported late, and what launches later still: they take tenths of a second and most of one, in
# which the process that writes to MLflow can start. --help needs neither.

_QUIET, _DRY = {"-q", "--quiet"}, "--dry-run"
_ANSWERED_AT_ONCE = {
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
    """Do what follows `sweepgrad train` on a command line; the exit code.

    0 when every job finished, 1 when one failed, 130 after Ctrl-C.

    Raises:
        UserError: nothing was run, or the results could not be sent to MLflow and wait on disk.
    """
    dry, quiet = _DRY in arguments, bool(_QUIET & set(arguments))
    words = [word for word in arguments if word != _DRY and word not in _QUIET]
    with _outbox(needed=not dry and not _ANSWERED_AT_ONCE & set(words)) as outbox:
        return _train(words, outbox, quiet=quiet)


def _train(words: list[str], outbox: Outbox | None, *, quiet: bool) -> int:
    from hydra.errors import HydraException

    from sweepgrad.compose.internals import get_args_parser
    from sweepgrad.compose.loader import hydra_for
    from sweepgrad.compose.plan import plan_with

    flags = get_args_parser().parse_intermixed_args(words)
    # Hydra wants its flags before or after all overrides; people also put them between.
    ordered = [*(word for word in words if word not in flags.overrides), *flags.overrides]
    if flags.help or flags.hydra_help or flags.cfg or flags.info or flags.shell_completion:
        try:
            _hand_to_hydra(ordered)
        except HydraException as error:  # --help composes too
            raise UserError(str(error)) from None
        return 0
    if flags.config_name or flags.config_path:
        raise UserError("--config-name and --config-path do not work here: --config-dir adds YAML")
    search = [flags.config_dir] if flags.config_dir else []
    with hydra_for(search) as composer:
        todo = plan_with(composer, flags.overrides, multirun=flags.multirun)
        tracking = todo.jobs[0].config.tracking
        file = Path(tracking.uri.removeprefix("sqlite:///"))
        if outbox is not None and (not tracking.uri.startswith("sqlite:") or file.exists()):
            outbox.connect(tracking)  # a store that is not there is made only when the tables are fit
        from sweepgrad.sweep.launch import launch

        return launch(composer, todo, ordered, flags.overrides, outbox, quiet=quiet)


@contextmanager
def _outbox(*, needed: bool) -> Iterator[Outbox | None]:
    """What takes results to MLflow: begun first, since it takes as long to start as all else together."""
    if not needed:
        yield None
        return
    outbox = Outbox()
    try:
        yield outbox
    finally:
        outbox.drop()


def _hand_to_hydra(arguments: Sequence[str]) -> None:
    """Let Hydra answer --help and its like, as if it were the whole program."""

    import hydra

    from sweepgrad.compose.loader import CONFIG_NAME
    from sweepgrad.compose.search_path import search_extensions
    from sweepgrad.paths import config_dir

    search_extensions()

    def no_job(cfg: object) -> None:  # Hydra wants a function, and looks where it was defined
        raise AssertionError("--help and its like run none")

    before = sys.argv
    sys.argv = ["sweepgrad train", *arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=CONFIG_NAME)(no_job)()
    finally:
        sys.argv = before
