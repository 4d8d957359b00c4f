import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata
from sklearn.preprocessing import QuantileTransformer

from sweepgrad.data.preprocess.normal_scores import KNOTS, NormalScores, is_ascending
from sweepgrad.rng import key, normal

LARGEST = np.finfo(np.float64).max
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def columns(most=KNOTS, elements=NUMBERS):
    """Yield columns with and without equal values."""
    return hnp.arrays(np.float64, st.integers(1, most), elements=elements)


def expected(values):
    """Return the score of each value by its mean rank, from the definition."""
    return norm.ppf((rankdata(values) - 0.5) / len(values))


def test_by_hand():
    fitted = NormalScores.fit(np.array([5.0, 1.0, 5.0, 9.0]))
    # mean ranks 1, 2.5 and 4 of 4; the normal quantile of 1/8 is -1.15035
    assert list(fitted.knots) == [1, 5, 9]
    assert fitted.scores == pytest.approx((-1.15035, 0, 1.15035), abs=1e-5)
    halfway = fitted.transform(np.array([3.0, 7.0]))
    assert halfway == pytest.approx([-0.575174, 0.575174], abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(columns(elements=st.floats(-1e300, 1e300)))
def test_each_value_of_a_short_column_has_the_score_of_its_rank(values):
    assert NormalScores.fit(values).transform(values) == pytest.approx(expected(values), rel=1e-9, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(KNOTS + 1, 4000), st.integers(0, 9), st.sampled_from([np.sinh, np.exp, np.cbrt]))
def test_values_of_a_long_column_come_within_a_step_of_it(n, seed, change):
    values = change(3 * normal(key(seed, "x"), (n,)))
    fitted = NormalScores.fit(values)
    assert len(fitted.knots) <= KNOTS
    step = -2 * norm.ppf(0.5 / n) / (KNOTS - 1)
    # The grid is rounded to whole rows: by half a row, which is most where rows are sparse, at the ends.
    rows = 2 * (norm.ppf(1.5 / n) - norm.ppf(0.5 / n))
    found = fitted.transform(values)
    assert np.abs(found - expected(values)).max() < max(step, rows)
    assert np.abs(found - expected(values)).mean() < step / 4
    assert (found.min(), found.max()) == pytest.approx((norm.ppf(0.5 / n), -norm.ppf(0.5 / n)))


@settings(max_examples=60, deadline=None)
@given(columns(), hnp.arrays(np.float64, st.integers(1, 50), elements=NUMBERS))
@example(np.array([-1e301, 0, 5e-324]), np.array([0.0, 1.0]))
@example(np.array([-LARGEST, 5e299]), np.array([0.0, LARGEST]))
@example(np.array([-5e299, LARGEST]), np.array([0.0, -LARGEST]))
def test_order_is_kept_and_every_score_is_finite(values, others):
    fitted = NormalScores.fit(values)
    rows = np.sort(np.concatenate([values, others]))
    scores = fitted.transform(rows)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) >= 0).all()
    assert (scores[rows <= values.min()] == fitted.scores[0]).all()
    assert scores[rows >= values.max()] == pytest.approx(fitted.scores[-1], rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(columns(elements=st.integers(-10_000, 10_000).map(float)))
def test_a_strictly_increasing_change_of_the_column_changes_no_score(values):
    changed = np.exp(values / 50)
    assert NormalScores.fit(changed).scores == NormalScores.fit(values).scores
    assert NormalScores.fit(changed).transform(changed) == pytest.approx(
        NormalScores.fit(values).transform(values)
    )


@settings(max_examples=40, deadline=None)
@given(columns(elements=st.floats(-1e6, 1e6)))
def test_there_and_back(values):
    fitted = NormalScores.fit(values)
    assert fitted.inverse(fitted.transform(values)) == pytest.approx(values, rel=1e-6, abs=1e-6)


def test_as_scikit_learn_does_but_for_the_outermost():
    """Compare with scikit-learn, which uses (rank - 1) / (n - 1) and clips the outermost scores."""
    values = np.exp(normal(key(0, "x"), (20_000,)))
    other = QuantileTransformer(n_quantiles=20_000, subsample=None, output_distribution="normal")
    theirs = other.fit_transform(values[:, None])[:, 0]
    ours = NormalScores.fit(values).transform(values)
    inside = np.abs(theirs) < 3
    assert inside.mean() > 0.99
    # A step of the knots, and what half a row's shift makes where the normal density is lowest.
    apart = 2 * np.abs(ours).max() / (KNOTS - 1) + 0.5 / 20_000 / norm.pdf(3)
    assert ours[inside] == pytest.approx(theirs[inside], abs=apart)
    assert np.abs(theirs).max() > 5
    assert np.abs(ours).max() == pytest.approx(-norm.ppf(0.5 / 20_000))


@pytest.mark.parametrize("values", [[], [7.0], [7.0, 7.0, 7.0]])
def test_a_constant_scores_zero_and_so_does_all_else(values):
    fitted = NormalScores.fit(np.array(values))
    scores = fitted.transform(np.array([-1e308, 7.0, np.nan]))
    assert np.array_equal(scores, [0.0, 0.0, np.nan], equal_nan=True)
    assert fitted.inverse(np.array([0.0]))[0] == (7.0 if values else 0.0)


def test_missing_values_stay_missing():
    fitted = NormalScores.fit(np.array([1.0, 2.0, 3.0]))
    assert np.isnan(fitted.transform(np.array([2.0, np.nan]))).tolist() == [False, True]
    assert np.isnan(fitted.inverse(np.array([0.0, np.nan]))).tolist() == [False, True]


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([0.0, 0.5, 0.75], True),
        ([0.0, 5e-324], True),
        ([0.0, 0.0], False),
        ([0.0, 2.0, 1.0], False),
        ([-LARGEST, 0.0, LARGEST], True),
        ([-LARGEST, 5e299, 5e299], False),
        ([0.0, 5e-324, 1e301], False),  # a quarter of the second is 0
        ([-1e301, 0.0, 5e-324], False),
        ([1.0], True),
    ],
)
def test_ends_ascend_by_steps_that_can_be_divided_by(ends, expected):
    assert is_ascending(np.array(ends)) is expected


def test_values_as_far_apart_as_numbers_can_be_are_scored_as_others_are():
    far = np.array([-LARGEST, 0.0, LARGEST])
    fitted, near = NormalScores.fit(far), NormalScores.fit(np.array([-1.0, 0.0, 1.0]))
    assert fitted.scores == near.scores
    places = np.array([-1.0, -0.5, 0.0, 0.25, 1.0])
    assert fitted.transform(places * LARGEST) == pytest.approx(near.transform(places))
    assert fitted.inverse(near.transform(places)) / LARGEST == pytest.approx(places)
