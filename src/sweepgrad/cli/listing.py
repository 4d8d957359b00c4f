"""`sweepgrad tape`: the instructions that a run would replay at every step."""

from collections.abc import Sequence

from sweepgrad.compose.plan import plan
from sweepgrad.engine.tape import Tape
from sweepgrad.training.experiment import Experiment, prepare


def listing(overrides: Sequence[str], *, evaluation: bool, search: Sequence[str] = ()) -> str:
    """A tape for each run of a command line, those that are alike once.

    Arguments:
        overrides: as after `sweepgrad train`.
        evaluation: show what is replayed after every epoch, not the training step.
        search: folders with more YAML.

    Raises:
        UserError: the configuration or the table is at fault.
    """
    tapes: dict[str, None] = {}
    for job in plan(overrides, multirun=True, search=search).jobs:
        experiment = prepare(job.config)
        tape = experiment.evaluation_tape() if evaluation else experiment.training_tape()
        tapes[f"{_heading(experiment, tape)}\n\n{tape}"] = None
    return "\n\n".join(tapes)


def _heading(experiment: Experiment, tape: Tape) -> str:
    network = experiment.network
    layers = "-".join(map(str, network.widths))
    n_bytes = tape.length * tape.dtype().itemsize
    return (
        f"{layers}, {network.n_parameters} parameters, batches of {tape.rows} rows, {tape.dtype.__name__}:"
        f" {len(tape.instructions)} instructions over a buffer of {n_bytes:,} bytes"
    )
