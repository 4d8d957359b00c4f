import numpy as np
import pytest

from sweepgrad.config import SimulatedData
from sweepgrad.data.simulate import best_accuracy, simulate, true_probability


def config(kind="moons", rows=1000, features=2, noise=0.0, seed=0):
    return SimulatedData(
        source="simulated", name="test", kind=kind, rows=rows, features=features, noise=noise, seed=seed
    )


def features_of(frame):
    return frame.drop(columns="label").to_numpy()


def test_columns():
    frame = simulate(config(rows=5, features=3))
    assert frame.columns.tolist() == ["x1", "x2", "x3", "label"]
    assert frame.dtypes.tolist() == [np.float64] * 3 + [np.int64]
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
