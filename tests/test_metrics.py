import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sweepgrad.metrics import accuracy, accuracy_interval, calibration, confusion, nll, roc_auc

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
