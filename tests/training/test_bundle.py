"""Saving and loading a model, also one of the first format."""

import json
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from sweepgrad.bounded import arrays
from sweepgrad.data.preprocess.transforms import Numeric, Preprocessor
from sweepgrad.errors import UserError
from sweepgrad.nn.network import Network
from sweepgrad.training.bundle import Bundle, Member, ensemble

FRAME = pd.DataFrame({"x": np.linspace(-2, 2, 7), "z": np.arange(7.0)})


def bundle(column: str, hidden: tuple[int, ...], seed: int) -> Bundle:
    network = Network(1, hidden, "relu" if hidden else None, scale=1.5)
    preprocessor = Preprocessor((Numeric(column, 0.5, 2.0, missing=False),), ())
    return Bundle((Member(network, network.initial(seed), preprocessor),), "left", "yes", "no")


@pytest.fixture
def both() -> Bundle:
    """Networks of different sizes, each of a column of its own."""
    return ensemble([bundle("x", (3,), 1), bundle("z", (), 2)])


def test_an_ensemble_is_the_plain_mean_of_log_odds(both):
    x, z = ((FRAME[name].to_numpy() - 0.5) / 2.0 for name in ("x", "z"))
    (W1, b1, W2, b2), (V, c) = (member.weights for member in both.members)
    first = (np.maximum(x[:, None] @ W1 + b1, 0) @ W2 + b2)[:, 0]
    second = (z[:, None] @ V + c)[:, 0]
    mean = (1.5 * first + 1.5 * second) / 2
    assert np.allclose(both.probabilities(FRAME), expit(mean), rtol=1e-12)
    assert np.allclose(both.scaled(0.4).probabilities(FRAME), expit(0.4 * mean), rtol=1e-12)
    assert both.columns == ("x", "z")
    assert both.n_parameters == (3 + 3 + 3 + 1) + 2


def test_what_is_saved_is_loaded_with_its_threshold(both, tmp_path):
    p = both.probabilities(FRAME)
    decided = Bundle(both.members, "left", "yes", "no", threshold=float(np.sort(p)[3]))
    decided.save(tmp_path)
    loaded = Bundle.load(tmp_path)
    assert loaded.threshold == decided.threshold
    assert loaded.probabilities(FRAME).tobytes() == p.tobytes()
    assert (loaded.predict(FRAME)["prediction"] == "yes").sum() == 4


def test_the_first_format_is_read(tmp_path):
    one = bundle("x", (3,), 1)
    one.save(tmp_path)
    description = json.loads((tmp_path / "bundle.json").read_text())
    (member,) = description.pop("members")
    del description["threshold"]
    (tmp_path / "bundle.json").write_text(json.dumps({**description, **member, "format": 1}))
    loaded = Bundle.load(tmp_path)
    assert loaded.threshold == 0.5
    assert loaded.probabilities(FRAME).tobytes() == one.probabilities(FRAME).tobytes()


def test_a_later_format_is_refused(tmp_path):
    bundle("x", (), 1).save(tmp_path)
    description = json.loads((tmp_path / "bundle.json").read_text())
    (tmp_path / "bundle.json").write_text(json.dumps({**description, "format": 3}))
    with pytest.raises(UserError, match="has format 3, and this version reads formats up to 2"):
        Bundle.load(tmp_path)


def described(folder, **changes):
    """Change the first part of each kind in a `bundle.json`."""
    description = json.loads((folder / "bundle.json").read_text())
    member = description["members"][0]
    for name, value in changes.items():
        for part in (description, member["network"], member["preprocessor"]["numeric"][0]):
            if name in part:
                part[name] = value
                break
        else:
            description[name] = value
    (folder / "bundle.json").write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": "2"}, "format: Input should be 1 or 2"),
        ({"comment": "x"}, "comment: Extra inputs are not permitted"),
        ({"members": []}, "members: List should have at least 1 item"),
        ({"threshold": 1.5}, "threshold: Input should be less than or equal to 1"),
        ({"positive": "no"}, "positive and negative are the same"),
        ({"positive": None}, "positive: "),
        ({"columns": ["z"]}, "columns are not those of its preprocessing"),
        ({"sd": 0}, "members.0.preprocessor.numeric.0.sd: Input should be greater than 0"),
        ({"mean": "0"}, "members.0.preprocessor.numeric.0.mean: Input should be a valid number"),
        ({"missing": True}, "network.n_features is 1, but its columns give 2 features"),
        ({"normal": {"knots": [0, 0], "scores": [0, 1]}}, "knots should ascend"),
        ({"normal": {"knots": [0, 1], "scores": [0]}}, "2 knots, but 1 scores"),
        ({"hidden": [4]}, r"weights.npz is damaged: w0: its shape is \(1, 3\), not \(1, 4\)"),
        ({"hidden": [3, 3]}, "weights.npz is damaged: 4 members"),
        ({"hidden": [10**6] * 9}, "numbers, and at most 33554432 are read"),
        ({"activation": None}, "its hidden layers have no activation"),
        ({"activation": "step"}, "the model's activation 'step' is not installed"),
        ({"scale": -1.5}, "members.0.network.scale: Input should be greater than 0"),
    ],
)
def test_a_bundle_that_is_not_as_it_was_written_is_refused_with_the_key(changes, problem, tmp_path):
    bundle("x", (3,), 1).save(tmp_path)
    Bundle.load(tmp_path)
    if "normal" in changes:
        description = json.loads((tmp_path / "bundle.json").read_text())
        description["members"][0]["preprocessor"]["numeric"][0] |= changes
        (tmp_path / "bundle.json").write_text(json.dumps(description))
    else:
        described(tmp_path, **changes)
    with pytest.raises(UserError, match=problem) as refused:
        Bundle.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_loading_takes_milliseconds(both, tmp_path):
    both.save(tmp_path)
    Bundle.load(tmp_path)
    began = time.process_time()
    for _ in range(10):
        Bundle.load(tmp_path)
    assert time.process_time() - began < 0.2


def test_a_bundle_of_the_names_of_features_of_gigabytes_is_refused(tmp_path):
    bundle("x", (), 1).save(tmp_path)
    description = json.loads((tmp_path / "bundle.json").read_text())
    categorical = {"column": "c" * 10_000, "levels": [str(i) for i in range(10_000)], "missing": False}
    description["members"][0]["preprocessor"]["categorical"] = [categorical]
    (tmp_path / "bundle.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match="the names of its features have"):
        Bundle.load(tmp_path)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_could_not_be_loaded_are_not_saved(tmp_path, number):
    broken = bundle("x", (2,), 1)
    broken.members[0].weights[0][0, 0] = number
    with pytest.raises(UserError, match=r"cannot be saved, .* w0: it holds a number that is not finite"):
        broken.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_more_weights_than_are_loaded_are_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MOST_VALUES", 2)
    with pytest.raises(UserError, match="and at most 2 are read"):
        bundle("x", (2,), 1).save(tmp_path / "model")


def test_a_description_that_could_not_be_loaded_is_not_saved(tmp_path):
    with pytest.raises(UserError, match="cannot be saved"):
        replace(bundle("x", (2,), 1), threshold=float("nan")).save(tmp_path / "model")
    with pytest.raises(UserError, match=r"cannot be saved, .* positive and negative are the same"):
        replace(bundle("x", (2,), 1), positive="x", negative="x").save(tmp_path / "model")


@pytest.mark.parametrize("name", ["bundle.json", "weights.npz"])
def test_a_file_is_overwritten_only_with_force(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} exists: .* force=True"):
        bundle("x", (2,), 1).save(tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    bundle("x", (2,), 1).save(tmp_path, force=True)
    assert Bundle.load(tmp_path).n_parameters == bundle("x", (2,), 1).n_parameters
