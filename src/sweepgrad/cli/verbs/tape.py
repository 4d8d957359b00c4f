"""`sweepgrad tape`: the instructions that a run would replay at every step."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweepgrad.cli.verbs.overrides import add_overrides, search_of

if TYPE_CHECKING:
    from sweepgrad.engine.tape import Tape
    from sweepgrad.training.experiment import Experiment

HELP = "show the instructions that a run replays at every step"
DESCRIPTION = "Show the instructions that a run replays at every step, a tape for each architecture."
EXAMPLES = "example: sweepgrad tape model=wide,deep optimizer=adam train.clip=1"


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--evaluation", action="store_true", help="what is replayed after each epoch instead")
    add_overrides(verb)


def run(options: argparse.Namespace) -> int:
    print(listing(options.overrides, evaluation=options.evaluation, search=search_of(options)))
    return 0


def listing(overrides: Sequence[str], *, evaluation: bool, search: Sequence[str] = ()) -> str:
    """Return a tape for each run of a command line, those that are alike once.

    Arguments:
        overrides: as after `sweepgrad train`.
        evaluation: show what is replayed after every epoch, not the training step.
        search: folders with more YAML.

    Raises:
        UserError: the configuration or the table is at fault.
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
