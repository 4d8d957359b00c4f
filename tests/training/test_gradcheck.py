"""A correct gradient passes with any configuration, and a wrong one is found."""

import json

import numpy as np
import pytest
from tests.support import command

from sweepgrad.autograd import operations
from sweepgrad.nn.network import Network
from sweepgrad.training import gradcheck as module
from sweepgrad.training import steps
from sweepgrad.training.gradcheck import gradcheck

SMALL = ("data=simulated", "data.rows=90", "train.batch_size=16")


@pytest.fixture
def forgets_tapes():
    """Discard the steps that a test recorded."""
    steps._training.cache_clear()
    yield
    steps._training.cache_clear()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["native", "numpy"])
@pytest.mark.parametrize(
    "network",
    [
        ("model=wide", "model.dropout=0.5"),
        ("model=deep", "model.dropout=0.3", "model.scale=7"),
        ("model=wide", "model.activation=tanh", "model.scale=0.2"),
        ("model=deep", "model.activation=sigmoid", "model.dropout=0.5"),
        ("model=linear", "model.scale=3"),
        ("model=wide", "train.class_weight=5"),
    ],
    ids=" ".join,
)
def test_the_gradient_of_every_kind_of_network_is_right(network, name, dtype):
    (report,) = gradcheck([*SMALL, *network, f"engine.name={name}", f"engine.dtype={dtype}"])
    assert report.passed, str(report)
    assert report.checked == report.n_parameters


@pytest.mark.parametrize("seed", range(2))
def test_a_batch_in_which_relus_bend_everywhere_still_passes(seed):
    """Take thousands of rows, some of them at a kink; only entries that depend on these are skipped."""
    (report,) = gradcheck(["model=wide", "train.batch_size=3000", f"seed={seed}"])
    assert report.passed, str(report)
    assert report.unjudged < report.checked / 4


@pytest.mark.parametrize(
    ("operation", "network"),
    [
        ("TANH", ("model=wide", "model.activation=tanh")),
        ("RELU", ("model=deep",)),
        ("SOFTPLUS", ("model=linear",)),
        ("MATMUL", ("model=deep",)),
    ],
)
def test_a_wrong_local_gradient_is_caught(monkeypatch, forgets_tapes, operation, network):
    broken = getattr(operations, operation)
    first, *others = broken.gradients
    wrong = (lambda *arguments: first(*arguments) * 1.001, *others)
    monkeypatch.setitem(broken.__dict__, "gradients", wrong)
    (report,) = gradcheck([*SMALL, *network])
    assert not report.passed
    assert report.worst is not None
    assert report.worst.error > 1e-4


def test_the_worst_entry_is_named(monkeypatch):
    honest = module._analytic

    def off_at_one_entry(*arguments):
        gradient = honest(*arguments)
        gradient[2 * 9 + 9 + 4] += 0.5  # W1 is (2, 9), b1 (9,), then comes W2 (9, 1)
        return gradient

    monkeypatch.setattr(module, "_analytic", off_at_one_entry)
    (report,) = gradcheck([*SMALL, "model=wide"])
    assert not report.passed
    assert report.worst is not None
    assert report.worst.name == "W2[4, 0]"
    assert report.worst.analytic - report.worst.numeric == pytest.approx(0.5, abs=1e-6)
    assert "FAILED" in str(report)


def test_names_are_in_the_order_of_the_weights():
    network = Network(3, (4, 2), "relu")
    flat = np.arange(network.n_parameters, dtype=float)
    names, weights = module._names(network), network.divided(flat)
    for layer in range(1, len(weights) // 2 + 1):
        matrix, bias = weights[2 * layer - 2 : 2 * layer]
        for (i, j), place in np.ndenumerate(matrix):
            assert names[int(place)] == f"W{layer}[{i}, {j}]"
        for j, place in enumerate(bias):
            assert names[int(place)] == f"b{layer}[{j}]"


def test_of_a_large_network_entries_of_every_layer_are_compared():
    network = Network(20, (40, 30, 2), "relu")
    chosen = module._chosen(network, key=5)
    sizes = [w.size for w in network.divided(np.zeros(network.n_parameters))]
    ends = np.cumsum(sizes)
    counts = np.histogram(chosen, bins=[0, *ends])[0]
    assert counts.tolist() == [min(size, module.ENTRIES // len(sizes)) for size in sizes]
    assert len(set(chosen.tolist())) == len(chosen)


def test_runs_with_the_same_gradient_are_checked_once():
    same = [*SMALL, "optimizer=sgd,adam", "train.epochs=3,4", "train.clip=null,1"]
    assert len(list(gradcheck(same))) == 1
    assert len(list(gradcheck([*SMALL, "seed=1,2", "model.dropout=0,0.5"]))) == 4


def test_the_command_says_how_it_went(monkeypatch):
    right = command("gradcheck", *SMALL, "model=wide,linear")
    assert right.code == 0
    assert right.out.count("passed") == 2
    machine = command("gradcheck", "--json", *SMALL, "model=wide")
    (report,) = json.loads(machine.out)
    assert report["passed"]
    assert report["checked"] == report["n_parameters"] == 37
    monkeypatch.setattr(module, "_analytic", lambda task, network, *_: np.ones(network.n_parameters))
    assert command("gradcheck", *SMALL, "model=wide").code == 1


def test_bad_input_is_reported_as_for_train():
    wrong = command("gradcheck", "model.dropuot=1")
    assert wrong.code == 2
    assert "model.dropuot: unknown key. Did you mean model.dropout?" in wrong.err
