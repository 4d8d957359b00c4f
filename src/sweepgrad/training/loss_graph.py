"""`sweepgrad draw`: what is drawn, and the files that it is drawn to."""

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
    """The loss of the first training rows of a run, in the first step of its training.

    Arguments:
        overrides: as after `sweepgrad train`.
        rows: how many.
        search: folders with more YAML.

    Raises:
        UserError: the configuration or the table is at fault.
    """
    jobs = plan(overrides, multirun=False, search=search).jobs
    if len(jobs) > 1:
        raise UserError(f"these are {len(jobs)} runs, and one is drawn: choose a single value of each key")
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
    """See to it that each of the files can be written.

    Raises:
        UserError: one has an ending that is none of ENDINGS, or lies in no folder.
    """
    for file in files:
        if file.suffix not in ENDINGS:
            raise UserError(f"-o {file}: ends with none of {', '.join(ENDINGS)}")
        if not file.parent.is_dir():
            raise UserError(f"-o {file}: there is no folder {file.parent}")


def write(graph: Graph, file: Path) -> None:
    """Draw to a file, by its ending.

    Raises:
        OSError: it cannot be written.
    """
    with naming(file):
        if file.suffix == ".png":
            png(graph, file)
        else:
            file.write_text(TEXTS[file.suffix](graph), encoding="utf-8")
