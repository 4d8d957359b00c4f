"""`sweepgrad draw`: its files, and the graph of a run."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.support import command

from sweepgrad.compose.plan import plan
from sweepgrad.training.experiment import prepare
from sweepgrad.training.loss_graph import loss_of

NETWORK = ["data=simulated", "model.hidden=[3,2]", "model.dropout=0.5", "model.scale=2.0", "seed=4"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_without_words_it_prints_the_example():
    result = command("draw")
    assert (result.code, result.err) == (0, "")
    assert "∂L/∂x1 = ∂L/∂x3 · ∂x3/∂x1 + ∂L/∂x4 · ∂x4/∂x1 = 1.5 · 1 + 0.5 · 1 = 2" in result.out


def test_it_draws_to_files_by_their_endings(tmp_path):
    files = [f"g{ending}" for ending in (".svg", ".png", ".mmd", ".dot", ".html")]
    result = command("draw", "log(a*b)", "a=2", "b=3", *(word for file in files for word in ("-o", file)))
    assert (result.code, result.out) == (0, "")
    assert all((tmp_path / file).stat().st_size > 100 for file in files)
    assert "g.svg: 4 nodes, 3 edges" in result.err


def test_json_is_for_programs():
    printed = json.loads(command("draw", "a * a", "a=3", "--json").out)
    assert [node["grad"] for node in printed["nodes"]] == [6.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("-o", "g.jpg"), "-o g.jpg: unknown file type; use one of .svg, .mmd, .dot, .html, .png"),
        (("--full",), "--full: draws the loss of a network; add --network"),
        (("--network", "data=simulated", "-o", "g.html"), "-o g.html: layers have no steps; add --full"),
        (("-o", "nowhere/g.svg"), "folder nowhere does not exist"),
        (("a +",), "is not an expression"),
        (("a + b", "a=1", "b"), "'b' must be NAME=NUMBER"),
        (("--network", "model.hiden=[2]"), "Did you mean model.hidden?"),
        (("--rows", "0"), "--rows 0: should be 1 or more"),
        (("(a - 1) ** 0.5", "a=1"), "a gradient does not exist"),
        (("--network", "experiment=assignment"), "these are 9 runs, and only one can be drawn"),
    ],
)
def test_mistakes_are_reported_and_nothing_is_drawn(arguments, problem, tmp_path):
    result = command("draw", "-o", "before.svg", *arguments)
    assert result.code == 2
    assert problem in result.err
    assert not list(tmp_path.iterdir())


def test_a_network_is_drawn_with_the_gradients_of_its_loss():
    (job,) = plan([*NETWORK, "model.dropout=0.0"], multirun=False).jobs
    experiment = prepare(job.config)
    graph = loss_of([*NETWORK, "model.dropout=0.0"], rows=5).graph
    nodes = {node.name: node for node in graph.nodes}
    X, y = experiment.train.X[:5], experiment.train.y[:5]

    def loss(weights):
        scores = experiment.network.scaled_scores(tuple(weights), X)
        return np.logaddexp(0, (1 - 2 * y) * scores).mean()

    weights = [nodes[name].data.copy() for name in ("W1", "b1", "W2", "b2", "W3", "b3")]
    assert nodes["loss"].data == pytest.approx(loss(weights), rel=1e-12)
    for place, name in ((0, "W1"), (4, "W3"), (5, "b3")):
        for index in np.ndindex(weights[place].shape):
            up, down = ([w.copy() for w in weights] for _ in range(2))
            up[place][index] += 1e-6
            down[place][index] -= 1e-6
            numeric = (loss(up) - loss(down)) / 2e-6
            assert nodes[name].grad[index] == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def test_dropout_is_a_node_of_it():
    graph = loss_of(NETWORK, rows=1).graph
    assert [node.operation for node in graph.nodes].count("mask") == 2


def test_by_default_a_network_has_a_box_a_layer():
    loss = loss_of(NETWORK, rows=5)
    diagram = loss.layers
    titles = [item.lines[0] for item in diagram.items]
    assert titles == ["inputs", "layer 1", "dropout", "layer 2", "dropout", "layer 3", "loss"]
    assert diagram.items[0].lines == ("inputs", "2 features")
    assert diagram.items[1].lines[1:3] == ("2 → 3, relu", "9 parameters")
    assert diagram.items[2].lines == ("dropout", "probability 0.5")
    assert diagram.items[5].lines[1:3] == ("2 → 1", "3 parameters")
    assert diagram.items[6].lines[1:] == ("negative log-likelihood", f"value {loss.value.item():.4g}")
    assert [link.label for link in diagram.links] == ["5 × 2", "5 × 3", "5 × 3", "5 × 2", "5 × 2", "5 × 1"]
    grads = {node.name: node.grad for node in loss.graph.nodes}
    norm = np.sqrt((grads["W1"] ** 2).sum() + (grads["b1"] ** 2).sum())
    assert diagram.items[1].lines[3] == f"grad norm {norm:.4g}"


def test_the_command_draws_layers_or_with_full_every_operation(tmp_path):
    printed = command("draw", "--network", *NETWORK)
    assert [line.split()[0] for line in printed.out.splitlines()] == [
        "inputs", "layer", "dropout", "layer", "dropout", "layer", "loss",
    ]  # fmt: skip
    assert "9 parameters" in printed.out
    result = command("draw", "--network", "--full", *NETWORK, "-o", "n.svg", "-o", "n.html")
    assert result.code == 0
    assert "W1" in (tmp_path / "n.svg").read_text()
    assert "<form" not in (tmp_path / "n.html").read_text()
    layers = json.loads(command("draw", "--network", *NETWORK, "--json").out)
    assert [node["kind"] for node in layers["nodes"]] == ["given", *["computed"] * 5, "result"]


@pytest.mark.parametrize("name", ["g.svg", "g.png", "g.html"])
def test_a_file_is_overwritten_only_with_force(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("mine")
    refused = command("draw", "log(a)", "a=2", "-o", "other.svg", "-o", name)
    assert refused.code == 2
    assert f"-o {name}: the file exists. Choose another name, or overwrite it with --force" in refused.err
    assert Path(name).read_text() == "mine"
    assert not Path("other.svg").exists()
    assert command("draw", "log(a)", "a=2", "-o", name, "--force").code == 0
    assert Path(name).read_bytes() != b"mine"
