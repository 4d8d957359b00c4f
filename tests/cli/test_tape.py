import re
from pathlib import Path

import pytest

from sweepgrad.cli.main import main
from sweepgrad.cli.verbs.tape import listing

ENGINE = (Path(__file__).parents[2] / "docs" / "engine.md").read_text()


def test_the_documented_tape_is_the_one_that_is_printed(capsys):
    (command,) = re.findall(r"^    sweepgrad (tape .*)$", ENGINE, flags=re.MULTILINE)
    (printed,) = re.findall(r"<!-- tape -->\n```\n(.*?)```", ENGINE, flags=re.DOTALL)
    assert main(command.split()) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == printed.splitlines()


def test_tapes_of_a_sweep_are_shown_once_each():
    both = listing(["model=wide", "model.hidden=[3],[4]", "seed=1,2"], evaluation=False)
    assert both.count("instructions over a buffer") == 2
    assert "20-3-1, 67 parameters, batches of 32 rows, float64" in both


def test_the_evaluation_has_neither_dropout_nor_an_update():
    text = listing(["model=wide", "model.dropout=0.5", "data=simulated"], evaluation=True)
    assert "batches of 256 rows" in text
    assert "softplus" in text
    assert "mask" not in text
    assert "lr" not in text


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer=adam", "beta1"),
        ("train.clip=1", "clip"),
        ("train.weight_decay=0.1", "weight_decay"),
        ("model.activation=tanh", "tanh"),
        ("engine.dtype=float32", "float32"),
        ("train.batch_size=7", "batches of 7 rows"),
    ],
)
def test_what_is_configured_is_on_the_tape(override, said):
    assert said not in listing(["optimizer=sgd"], evaluation=False)
    assert said in listing(["optimizer=sgd", override], evaluation=False)


def test_errors_are_reported_as_for_train(capsys):
    assert main(["tape", "modle=wide"]) == 2
    assert "modle: unknown key. Did you mean model?" in capsys.readouterr().err
