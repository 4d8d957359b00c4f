"""`sweepgrad draw`: the graph of a loss, and the files that it is drawn to."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from pathlib import Path

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Value
from sweepgrad.autograd.value import graph as in_order
from sweepgrad.compose.plan import plan
from sweepgrad.drawing.diagram import Diagram, Item, Kind, Link
from sweepgrad.drawing.graph import Graph, graph_of, number
from sweepgrad.drawing.page import Source, page
from sweepgrad.drawing.pictures import dot, mermaid, png, svg
from sweepgrad.errors import UserError
from sweepgrad.files import naming
from sweepgrad.nn.network import Network
from sweepgrad.training.experiment import prepare

TEXTS: dict[str, Callable[[Diagram], str]] = {".svg": svg, ".mmd": mermaid, ".dot": dot}
ENDINGS = (*TEXTS, ".html", ".png")


@dataclass(frozen=True)
class NetworkLoss:
    """The loss of some training rows in the first training step of a run.

    Attributes:
        network: the network.
        rows: the number of rows.
        value: the loss; its weights are labelled W1, b1, W2, …
        loss: the name of the loss.
    """

    network: Network
    rows: int
    value: Value
    loss: str

    @property
    def graph(self) -> Graph:
        """The full graph, a node a `Value`."""
        return graph_of(self.value)

    @property
    def layers(self) -> Diagram:
        """The network with a box a layer; the arrows are labelled with the shapes of what they pass on."""
        nodes = {node.name: node for node in self.graph.nodes}
        widths, hidden = self.network.widths, len(self.network.hidden)
        items, labels = [Item(("inputs", f"{widths[0]} features"), Kind.GIVEN)], [widths[0]]
        for layer, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            gradients = [nodes[f"{letter}{layer}"].grad for letter in "Wb"]
            norm = sqrt(sum(float((g * g).sum()) for g in gradients))
            activation = f", {self.network.activation}" if layer <= hidden else ""
            items.append(
                Item(
                    (
                        f"layer {layer}",
                        f"{inputs} → {outputs}{activation}",
                        f"{(inputs + 1) * outputs} parameters",
                        f"grad norm {number(norm)}",
                    )
                )
            )
            labels.append(outputs)
            if layer <= hidden and self.network.dropout:
                items.append(Item(("dropout", f"probability {number(self.network.dropout)}")))
                labels.append(outputs)
        items.append(Item(("loss", self.loss, f"value {number(self.value.item())}"), Kind.RESULT))
        links = [Link(n, n + 1, f"{self.rows} × {width}") for n, width in enumerate(labels)]
        return Diagram("layers of the network", tuple(items), tuple(links))


def loss_of(overrides: Sequence[str], rows: int, search: Sequence[str] = ()) -> NetworkLoss:
    """Return the loss of the first training rows of a run, in its first training step.

    Arguments:
        overrides: as for `sweepgrad train`.
        rows: number of rows; fewer if the run has fewer.
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
    for node in in_order(loss):
        if node.operation is None and not node.label and node.ndim == 0:
            node.label = number(node.item())  # a constant of the formula, drawn as such
    return NetworkLoss(network, len(X), loss, experiment.task.metrics[experiment.task.loss].title)


def check(files: Sequence[Path], *, force: bool = False) -> None:
    """Check that each file can be written.

    Arguments:
        force: whether files that exist may be overwritten.

    Raises:
        UserError: a suffix is not one of ENDINGS, the folder does not exist, or the file does.
    """
    for file in files:
        if file.suffix not in ENDINGS:
            raise UserError(f"-o {file}: unknown file type; use one of {', '.join(ENDINGS)}")
        if not file.parent.is_dir():
            raise UserError(f"-o {file}: folder {file.parent} does not exist; make it first")
        if not force and os.path.lexists(file):
            raise UserError(f"-o {file}: the file exists. Choose another name, or overwrite it with --force")


def write(diagram: Diagram, file: Path) -> None:
    """Draw to a file; its suffix, which is not that of a page, decides the format.

    Raises:
        OSError: the file cannot be written.
    """
    with naming(file):
        if file.suffix == ".png":
            png(diagram, file)
        else:
            file.write_text(TEXTS[file.suffix](diagram), encoding="utf-8")


def write_page(graph: Graph, source: Source | None, file: Path) -> None:
    """Write the page that steps through the backward pass of a graph.

    Raises:
        OSError: the file cannot be written.
    """
    with naming(file):
        file.write_text(page(graph, source), encoding="utf-8")
