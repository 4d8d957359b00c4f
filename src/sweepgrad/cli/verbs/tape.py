"""The verb `sweepgrad tape`."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweepgrad.cli.verbs.overrides import add_overrides, search_of
from sweepgrad.messages import show

if TYPE_CHECKING:
    from sweepgrad.engine.tape import Tape
    from sweepgrad.training.experiment import Experiment

HELP = "Show the instructions of a training step."
DESCRIPTION = """\
Show the instructions that a run executes in every training step, once for each architecture."""
EXAMPLES = """\
examples:
  sweepgrad tape model=wide,deep optimizer=adam train.clip=1
  sweepgrad tape model=wide --evaluation"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--evaluation",
        action="store_true",
        help="show the instructions of the evaluation after each epoch instead",
    )
    add_overrides(verb)


def run(options: argparse.Namespace) -> int:
    show(listing(options.overrides, evaluation=options.evaluation, search=search_of(options)))
    return 0


def listing(overrides: Sequence[str], *, evaluation: bool, search: Sequence[str] = ()) -> str:
    """Return the tapes of the runs of a command line; equal ones once.

    Arguments:
        overrides: the arguments of `sweepgrad train`.
        evaluation: show the evaluation after each epoch instead of the training step.
        search: further folders of YAML.

    Raises:
        UserError: the configuration or the table has an error.
    """
    from sweepgrad.compose.plan import plan
    from sweepgrad.training.experiment import prepare

    tapes: dict[str, None] = {}
    for job in plan(overrides, multirun=True, search=search).jobs:
        experiment = prepare(job.config)
        tape = experiment.evaluation_tape() if evaluation else experiment.training_tape()
        tapes[f"{_heading(experiment, tape)}\n\n{tape}"] = None
    return "\n\n".join(tapes)


def _heading(experiment: "Experiment", tape: "Tape") -> str:
    network = experiment.network
    layers = "-".join(map(str, network.widths))
    n_bytes = tape.length * tape.dtype().itemsize
    return (
        f"{layers}, {network.n_parameters} parameters, batches of {tape.rows} rows, {tape.dtype.__name__}:"
        f" {len(tape.instructions)} instructions over a buffer of {n_bytes:,} bytes"
    )
