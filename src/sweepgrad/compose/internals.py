"""The names that Hydra does not promise to keep, for all packages above `compose`."""

from argparse import ArgumentParser

from hydra._internal.hydra import Hydra as Hydra
from hydra._internal.utils import get_args_parser as _hydra_arguments
from hydra.core.config_loader import ConfigLoader as ConfigLoader
from hydra.core.hydra_config import HydraConfig as HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser as OverridesParser
from hydra.core.override_parser.types import ChoiceSweep as ChoiceSweep
from hydra.core.override_parser.types import IntervalSweep as IntervalSweep
from hydra.core.override_parser.types import Override as Override
from hydra.core.override_parser.types import Quote as Quote
from hydra.core.override_parser.types import QuotedString as QuotedString
from hydra.core.override_parser.types import RangeSweep as RangeSweep
from hydra.core.override_parser.types import Sweep as Sweep
from hydra.core.override_parser.types import Transformer as Transformer
from hydra.core.utils import JobReturn as JobReturn
from hydra.core.utils import JobStatus as JobStatus

from sweepgrad.compose.limits import MAX_JOBS, MOST_JOBS
from sweepgrad.config.suggest import Arguments
from sweepgrad.errors import UserError, shortened

_MAX_JOBS_HELP = f"Allow a sweep of up to N runs, at most {MOST_JOBS:,}; without it {MAX_JOBS:,}"


def _n_jobs(text: str) -> int:
    n = int(text) if text.isdecimal() and len(text) < 10 else 0
    if not 0 < n <= MOST_JOBS:
        raise UserError(f"--max-jobs {shortened(text)}: must be a number from 1 to {MOST_JOBS}")
    return n


def get_args_parser() -> ArgumentParser:
    """Return the parser of Hydra's arguments; it raises UserError with a suggestion."""
    parser = Arguments(prog="sweepgrad train", add_help=False, parents=[_hydra_arguments()])
    parser.add_argument("--max-jobs", type=_n_jobs, default=MAX_JOBS, metavar="N", help=_MAX_JOBS_HELP)
    parser.more_options = ("--dry-run", "--quiet")  # ours, which Hydra does not see
    return parser
