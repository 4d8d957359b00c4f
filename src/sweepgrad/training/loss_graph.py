"""`sweepgrad draw`: the graph of a loss, and the files that it is drawn to."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Value
from sweepgrad.compose.plan import plan
from sweepgrad.drawing.graph import Graph
from sweepgrad.drawing.page import page
from sweepgrad.drawing.pictures import dot, mermaid, png, svg
from sweepgrad.errors import UserError
from sweepgrad.files import naming
from sweepgrad.training.experiment import prepare

TEXTS: dict[str, Callable[[Graph], str]] = {".svg": svg, ".mmd": mermaid, ".dot": dot, ".html": page}
ENDINGS = (*TEXTS, ".png")


def loss_of(overrides: Sequence[str], rows: int, search: Sequence[str] = ()) -> Value:
    """Return the loss of the first training rows of a run, in its first training step.

    Arguments:
        overrides: as for `sweepgrad train`.
        rows: number of rows.
        search: folders with more YAML.

    Raises:
        UserError: the configuration or the table is not valid.
    """
    jobs = plan(overrides, multirun=False, search=search).jobs
    if len(jobs) > 1:
        raise UserError(
            f"these are {len(jobs)} runs, and only one can be drawn: give a single value for each key"
        )
    job = jobs[0]
    experiment = prepare(job.config)
    network, seed = experiment.network, job.config.seed
    weights = [Value(w) for w in network.initial(seed)]
    for place, w in enumerate(weights):
        w.label = f"{'Wb'[place % 2]}{place // 2 + 1}"
    X = Value(experiment.train.X[:rows], "X")
    n_masks = len(network.hidden) if network.dropout else 0
    keys = [rng.fold(rng.key(seed, "dropout"), 1, layer) for layer in range(n_masks)]
    scores = network.scores(weights, X, keys, Value(network.dropout, "dropout"))
    scores.label = "scores"
    y = Value(np.asarray(experiment.train.y[:rows], dtype=X.data.dtype), "y")
    losses, _ = experiment.task.losses(y, scores, network.scale)
    loss = losses.mean()
    loss.label = "loss"
    return loss


def check(files: Sequence[Path]) -> None:
    """Check that each file can be written.

    Raises:
        UserError: a suffix is not one of ENDINGS, or the folder does not exist.
    """
    for file in files:
        if file.suffix not in ENDINGS:
            raise UserError(f"-o {file}: unknown file type; use one of {', '.join(ENDINGS)}")
        if not file.parent.is_dir():
            raise UserError(f"-o {file}: folder {file.parent} does not exist; make it first")


def write(graph: Graph, file: Path) -> None:
    """Draw to a file; its suffix decides the format.

    Raises:
        OSError: the file cannot be written.
    """
    with naming(file):
        if file.suffix == ".png":
            png(graph, file)
        else:
            file.write_text(TEXTS[file.suffix](graph), encoding="utf-8")
