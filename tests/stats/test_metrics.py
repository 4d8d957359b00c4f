import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import chi2
from scipy.stats import t as student

from sweepgrad.stats.calibration import calibration, calibration_error_by_chance
from sweepgrad.stats.metrics import (
    accuracy,
    accuracy_interval,
    confusion,
    nll,
    p_value_of_difference,
    roc_auc,
)

# Both classes occur; probabilities are tenths, so that ties and the threshold itself are common.
predictions = (
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10)), min_size=2, max_size=60)
    .filter(lambda rows: 0 < sum(y for y, _ in rows) < len(rows))
    .map(lambda rows: (np.array([float(y) for y, _ in rows]), np.array([p / 10 for _, p in rows])))
)
each_prediction = settings(max_examples=100, deadline=None)


@each_prediction
@given(predictions)
def test_accuracy_and_confusion_are_sklearns(rows):
    y, p = rows
    taken = (p >= 0.5).astype(float)
    assert accuracy(y, p) == sklearn.metrics.accuracy_score(y, taken)
    (tn, fp), (fn, tp) = sklearn.metrics.confusion_matrix(y, taken, labels=[0, 1]).tolist()
    assert confusion(y, p) == {
        "true_positive": tp,
        "false_positive": fp,
        "true_negative": tn,
        "false_negative": fn,
    }


@each_prediction
@given(predictions)
def test_roc_auc_is_sklearns_and_the_share_of_pairs_in_order(rows):
    y, p = rows
    assert_allclose(roc_auc(y, p), sklearn.metrics.roc_auc_score(y, p), rtol=1e-12, atol=1e-15)
    above = p[y == 1][:, None] - p[y == 0][None, :]
    assert_allclose(roc_auc(y, p), np.mean((above > 0) + 0.5 * (above == 0)), rtol=1e-12, atol=1e-15)


@each_prediction
@given(predictions)
def test_nll_is_sklearns(rows):
    y, p = rows
    inside = np.clip(p, 0.01, 0.99)
    assert_allclose(nll(y, inside), sklearn.metrics.log_loss(y, inside), rtol=1e-12)


def test_nll_of_certainty():
    assert nll(np.array([0.0, 1.0]), np.array([0.0, 1.0])) == 0
    assert nll(np.array([0.0, 1.0]), np.array([0.0, 0.0])) == np.inf
    assert nll(np.array([0.0, 1.0]), np.array([1.0, 1.0])) == np.inf


def test_roc_auc_without_a_class_is_not_a_number():
    assert np.isnan(roc_auc(np.ones(3), np.array([0.1, 0.2, 0.3])))
    assert np.isnan(roc_auc(np.zeros(3), np.array([0.1, 0.2, 0.3])))


def test_roc_auc_of_constant_predictions_is_a_half():
    assert roc_auc(np.array([0.0, 1.0, 1.0, 0.0, 1.0]), np.full(5, 0.3)) == 0.5


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize(("correct", "n"), [(0, 10), (7, 10), (10, 10), (1, 1), (433, 1200)])
def test_interval_is_wilsons(correct, n, confidence):
    y = np.ones(n)
    p = np.where(np.arange(n) < correct, 0.9, 0.1)
    z = {0.8: 1.2815515655446004, 0.95: 1.959963984540054}[confidence]
    share = correct / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    expected = (max(0.0, centre - half), min(1.0, centre + half))
    assert_allclose(accuracy_interval(y, p, confidence), expected, rtol=1e-12, atol=1e-15)


@each_prediction
@given(predictions, st.sampled_from([1, 2, 5, 10, 20]))
def test_calibration_is_a_loop_over_bins(rows, bins):
    y, p = rows
    # A probability lies in the bin that its share of the whole falls into; 1 belongs to the last.
    which = [min(int(each * bins), bins - 1) for each in p.tolist()]
    predicted, observed, count, error = [], [], [], 0.0
    for b in range(bins):
        members = [i for i, each in enumerate(which) if each == b]
        if members:
            predicted.append(sum(p[i] for i in members) / len(members))
            observed.append(sum(y[i] for i in members) / len(members))
            count.append(len(members))
            error += len(members) / len(y) * abs(predicted[-1] - observed[-1])
    result = calibration(y, p, bins)
    assert_allclose(result.predicted, predicted, rtol=1e-12)
    assert_allclose(result.observed, observed, rtol=1e-12)
    assert result.count == tuple(count)
    assert_allclose(result.error, error, rtol=1e-12, atol=1e-15)


def test_calibration_of_perfect_and_of_opposite_predictions():
    y = np.array([0.0, 0.0, 1.0])
    assert calibration(y, y).error == 0
    assert calibration(y, 1 - y).error == 1
    assert calibration(y, y).count == (2, 1)


def test_rows_that_go_together_widen_the_interval_as_fewer_rows_would():
    """Check that five copies of each row in one unit carry as much information as one."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200).astype(float)
    p = np.where(rng.random(200) < 0.7, y, 1 - y) * 0.8 + 0.1
    low, high = accuracy_interval(y, p)
    repeated = accuracy_interval(np.repeat(y, 5), np.repeat(p, 5), units=np.repeat(np.arange(200), 5))
    assert repeated == pytest.approx((low, high), rel=5e-3)
    independent = accuracy_interval(np.repeat(y, 5), np.repeat(p, 5), units=np.arange(1000))
    assert independent == pytest.approx(accuracy_interval(np.repeat(y, 5), np.repeat(p, 5)), rel=1e-3)


def test_few_unequal_units_widen_the_interval_by_jackknife_and_students_t():
    units = np.repeat([0, 1, 2, 3], [30, 5, 20, 5])
    right = np.repeat([1, 0, 1, 0], [30, 5, 12, 13])
    share = right.mean()
    without = np.array([right[units != unit].mean() for unit in range(4)])
    n = share * (1 - share) / (3 / 4 * np.sum((without - share) ** 2))
    assert n < 60
    t = student.ppf(0.975, 60**2 / (30**2 + 5**2 + 20**2 + 5**2) - 1)
    centre = (share + t**2 / (2 * n)) / (1 + t**2 / n)
    half = t / (1 + t**2 / n) * np.sqrt(share * (1 - share) / n + t**2 / (4 * n**2))
    found = accuracy_interval(np.ones(60), right.astype(float), units=units)
    assert_allclose(found, (centre - half, centre + half), rtol=1e-9)


def test_units_that_mean_nothing_leave_the_interval_as_it_is():
    right = np.tile([1.0, 0.0, 1.0], 20)
    same = accuracy_interval(np.ones(60), right, units=np.repeat(np.arange(20), 3))
    assert_allclose(same, accuracy_interval(np.ones(60), right), rtol=1e-12)


def test_differences_are_mcnemars_and_repeated_rows_change_nothing():
    y = np.ones(100)
    p = np.where(np.arange(100) < 70, 0.9, 0.1)
    q = np.where((np.arange(100) >= 12) & (np.arange(100) < 75), 0.9, 0.1)
    b, c = 12, 5  # right by p alone, right by q alone
    expected = chi2.sf((b - c) ** 2 / (b + c), df=1)
    assert p_value_of_difference(y, p, q) == pytest.approx(expected, rel=1e-9)
    y4, p4, q4 = (np.repeat(x, 4) for x in (y, p, q))
    clustered = p_value_of_difference(y4, p4, q4, units=np.repeat(np.arange(100), 4))
    assert clustered == pytest.approx(expected, rel=1e-9)
    assert p_value_of_difference(y, p, p) == 1.0


def test_the_threshold_of_a_difference_is_that_of_the_first():
    """Compare p at the threshold 0.3 with q at one half."""
    y = np.ones(30)
    p = np.where(np.arange(30) < 20, 0.4, 0.2)
    q = np.where((np.arange(30) >= 16) & (np.arange(30) < 22), 0.9, 0.4)
    b, c = 16, 2
    expected = chi2.sf((b - c) ** 2 / (b + c), df=1)
    assert p_value_of_difference(y, p, q, threshold=0.3) == pytest.approx(expected, rel=1e-9)


def test_true_probabilities_seldom_exceed_the_calibration_error_by_chance():
    rng = np.random.default_rng(1)
    p = rng.random(300)
    limit = calibration_error_by_chance(p, key=7)
    errors = [calibration((rng.random(300) < p).astype(float), p).error for _ in range(400)]
    share = np.mean(np.array(errors) > limit)
    assert 0.05 - 4 * np.sqrt(0.05 * 0.95 / 400) < share < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400) + 0.01
