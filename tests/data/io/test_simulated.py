import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from sweepgrad.config.data import SimulatedData
from sweepgrad.data.io import columns as columnar
from sweepgrad.data.io.simulated import SimulatedColumns, best_accuracy, true_probability
from sweepgrad.rng import key, normal, uniform


def config(kind="moons", rows=1000, features=2, noise=0.0, seed=0):
    return SimulatedData(
        source="simulated", name="test", kind=kind, rows=rows, features=features, noise=noise, seed=seed
    )


def simulate(config):
    """Return the whole table with its labels."""
    columns = SimulatedColumns(config)
    frame = columns.select(columns.names, np.ones(config.rows, dtype=bool))
    return frame.assign(label=columns.labels())


def features_of(frame):
    return frame.drop(columns="label").to_numpy()


def test_columns():
    frame = simulate(config(rows=5, features=3))
    assert frame.columns.tolist() == ["x1", "x2", "x3", "label"]
    assert frame.dtypes.tolist() == [np.float64] * 3 + [np.int8]
    assert simulate(config(kind="linear", features=1)).shape == (1000, 2)


@pytest.mark.parametrize("kind", ["moons", "linear"])
def test_the_true_rule_is_right_but_for_the_noise(kind):
    noisy = config(kind, rows=20_000, features=4, noise=0.1)
    frame = simulate(noisy)
    predicted = true_probability(noisy, features_of(frame)) > 0.5
    # Binomial with n = 20,000: the standard deviation is 0.0021.
    assert np.mean(predicted == frame["label"]) == pytest.approx(best_accuracy(noisy), abs=0.009)
    assert frame["label"].mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("kind", ["moons", "linear"])
def test_without_noise_the_true_rule_is_always_right(kind):
    clean = config(kind, rows=20_000)
    frame = simulate(clean)
    assert np.array_equal(true_probability(clean, features_of(frame)), frame["label"])


def test_moons_lie_in_two_bands_that_do_not_touch():
    frame = simulate(config(rows=5000))
    upper, lower = (frame.loc[frame["label"] == label, ["x1", "x2"]].to_numpy() for label in (0, 1))
    assert np.abs(np.hypot(*upper.T) - 1).max() <= 0.2 + 1e-12
    assert np.abs(np.hypot(*(lower - [1, 0.5]).T) - 1).max() <= 0.2 + 1e-12
    assert upper[:, 1].min() >= 0
    assert lower[:, 1].max() <= 0.5
    nearest = min(np.hypot(*(upper - point).T).min() for point in lower)
    assert nearest >= 0.1 - 1e-12


def test_other_features_are_standard_normal():
    x = simulate(config(rows=20_000, features=4)).loc[:, ["x3", "x4"]].to_numpy()
    # Standard errors at n = 20,000: mean 0.007, variance 0.010, correlation 0.007.
    assert np.allclose(x.mean(axis=0), 0, atol=0.03)
    assert np.allclose(x.var(axis=0), 1, atol=0.05)
    assert abs(np.corrcoef(x.T)[0, 1]) < 0.03


@pytest.mark.parametrize("kind", ["moons", "linear"])
def test_a_row_does_not_depend_on_how_many_there_are(kind):
    few = simulate(config(kind, rows=10, features=3, noise=0.3))
    many = simulate(config(kind, rows=500, features=3, noise=0.3))
    assert few.equals(many.head(10))
    assert not few.equals(simulate(config(kind, rows=10, features=3, noise=0.3, seed=1)))


def drawn_at_once(config):
    """Compute the table from its definition, all numbers at once."""
    words = uniform(key(config.seed, "simulated features"), (config.rows, config.features))
    x = ndtri(np.maximum(words, 2.0**-53))
    if config.kind == "moons":
        u = uniform(key(config.seed, "simulated moons"), (config.rows, 3))
        angle, radius = np.pi * u[:, 1], 0.8 + 0.4 * u[:, 2]
        moon = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        x[:, :2] = np.where(u[:, :1] < 0.5, np.array([1, 0.5]) - moon, moon)
        rule = u[:, 0] < 0.5
    else:
        rule = x @ normal(key(config.seed, "simulated direction"), (config.features,)) > 0
    flipped = uniform(key(config.seed, "simulated noise"), (config.rows,)) < config.noise
    return x, rule ^ flipped


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["moons", "linear"]),
    st.integers(1, 60),
    st.integers(2, 6),
    st.integers(0, 9),
    st.integers(1, 50),
    st.data(),
)
def test_a_column_on_its_own_and_in_blocks_is_that_of_the_table(kind, rows, features, seed, values, data):
    whole = config(kind, rows, features, noise=0.2, seed=seed)
    x, labels = drawn_at_once(whole)
    columns = SimulatedColumns(whole)
    names = data.draw(st.lists(st.sampled_from(columns.names), min_size=1, unique=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columnar, "VALUES", values)
        blocks = list(columns.blocks(names))
        assert np.array_equal(columns.labels(), labels)
    assert max(map(len, blocks)) <= max(1, values // len(names))
    found = pd.concat(blocks).to_numpy()
    expected = x[:, [columns.names.index(name) for name in names]]
    if kind == "moons":  # written differently above, so equal but for rounding
        assert np.allclose(found, expected, rtol=0, atol=1e-15)
    else:
        assert found.tobytes() == expected.tobytes()
