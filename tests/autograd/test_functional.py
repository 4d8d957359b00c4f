import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import log_loss

from sweepgrad.autograd.functional import (
    dropout,
    negative_loglikelihood,
    negative_loglikelihood_of_scores,
    sigmoid,
)
from sweepgrad.autograd.value import DomainError, ShapeError, Value, gradient
from sweepgrad.rng import key, normal, uniform

N = 40
SCORES = 3 * normal(key(0, "scores"), (N,))
LABELS = (uniform(key(0, "labels"), (N,)) < 0.4).astype(float)
SCALES = [1.0, 0.25, 3.0]


# sigmoid


@pytest.mark.parametrize("scale", SCALES)
def test_sigmoid_is_its_formula(scale, check_gradient, check_second_gradient):
    assert_allclose(sigmoid(SCORES, scale).data, 1 / (1 + np.exp(-scale * SCORES)), rtol=1e-14)
    check_gradient(lambda x: sigmoid(x, scale), SCORES[:6])
    check_second_gradient(lambda x: sigmoid(x, scale), SCORES[:6])


@pytest.mark.parametrize("scale", SCALES)
def test_sigmoid_has_slope_of_a_quarter_of_scale_at_zero(scale):
    x = Value(0.0)
    y = sigmoid(x, scale)
    assert y.item() == 0.5
    assert gradient(y, [x])[0].item() == scale / 4


def test_sigmoid_of_large_numbers_does_not_overflow():
    assert_array_equal(sigmoid([-1e3, 1e3], scale=1e3).data, [0.0, 1.0])
    x = Value([-1e3, 1e3])
    assert_array_equal(gradient(sigmoid(x, 1e3).sum(), [x])[0].data, [0.0, 0.0])


# negative log-likelihood


def test_negative_loglikelihood_is_its_formula_and_sklearns():
    p = 1 / (1 + np.exp(-SCORES))
    ours = negative_loglikelihood(LABELS, p)
    assert ours.shape == ()
    assert_allclose(ours.item(), -np.mean(LABELS * np.log(p) + (1 - LABELS) * np.log(1 - p)), rtol=1e-14)
    assert_allclose(ours.item(), log_loss(LABELS, p), rtol=1e-13)


def test_negative_loglikelihood_has_its_gradient(check_gradient, check_second_gradient):
    y, p = LABELS[:6], 0.1 + 0.8 * uniform(key(0, "p"), (6,))
    check_gradient(lambda p: negative_loglikelihood(y, p), p)
    check_second_gradient(lambda p: negative_loglikelihood(y, p), p)


def test_being_certain_and_right_costs_nothing():
    assert negative_loglikelihood([0, 1], [0.0, 1.0]).item() == 0


@pytest.mark.parametrize(("y", "p"), [([0.0, 1.0], [1.0, 0.5]), ([0.0, 1.0], [0.5, 0.0])])
def test_being_certain_and_wrong_is_a_domain_error(y, p):
    with pytest.raises(DomainError, match="log"):
        negative_loglikelihood(y, p)


def test_even_odds_cost_log_2_whatever_happened():
    for y in (np.zeros(7), np.ones(7)):
        assert_allclose(negative_loglikelihood(y, np.full(7, 0.5)).item(), np.log(2), rtol=1e-15)
        assert_allclose(negative_loglikelihood_of_scores(y, Value(np.zeros(7))).item(), np.log(2), rtol=1e-15)


# The form on scores


@pytest.mark.parametrize("scale", SCALES)
def test_form_on_scores_is_the_plain_form_where_that_is_exact(scale):
    scores, w = Value(SCORES), Value(SCORES)
    of_scores = negative_loglikelihood_of_scores(LABELS, scores, scale)
    plain = negative_loglikelihood(LABELS, sigmoid(w, scale))
    assert_allclose(of_scores.item(), plain.item(), rtol=1e-12)
    of_scores.backward()
    plain.backward()
    assert_allclose(scores.grad, w.grad, rtol=1e-9)


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(np.float64, 5, elements=st.floats(-5, 5)),
    hnp.arrays(np.int64, 5, elements=st.integers(0, 1)),
    st.floats(0.01, 3),
)
def test_both_forms_agree_for_any_moderate_scores(scores, y, scale):
    plain = negative_loglikelihood(y, sigmoid(scores, scale)).item()
    assert_allclose(negative_loglikelihood_of_scores(y, Value(scores), scale).item(), plain, rtol=1e-8)


@pytest.mark.parametrize("scale", SCALES)
def test_gradient_of_the_form_on_scores_is_the_error(scale):
    scores = Value(SCORES)
    negative_loglikelihood_of_scores(LABELS, scores, scale).backward()
    side = 1 - 2 * LABELS  # p - y is p or -(1 - p), and written so nothing cancels
    assert_allclose(scores.grad, scale * side / (1 + np.exp(-side * scale * SCORES)) / N, rtol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_form_on_scores_is_right_where_the_plain_form_ends(scale):
    """Check that a wrong score z costs scale * |z|, and a right one 0: log(1 + exp(-1000)) rounds to 0."""
    for y, z in ((0.0, 1e4), (1.0, -1e4)):
        scores = Value([z])
        loss = negative_loglikelihood_of_scores([y], scores, scale)
        assert loss.item() == 1e4 * scale
        assert gradient(loss, [scores])[0].item() == np.sign(z) * scale
        with pytest.raises(DomainError):
            negative_loglikelihood([y], sigmoid(scores, scale))
        assert negative_loglikelihood_of_scores([1 - y], scores, scale).item() == 0


def test_small_losses_keep_their_digits():
    """-log(1 - p) of p = exp(-40) is exp(-40) to 17 digits; the plain form rounds 1 - p to 1."""
    assert_allclose(negative_loglikelihood_of_scores([1.0], Value([40.0])).item(), np.exp(-40), rtol=1e-14)
    assert negative_loglikelihood([1.0], sigmoid([40.0])).item() == 0


def test_form_on_scores_matches_hips_autograd_twice():
    def loss(scores):
        return anp.mean(anp.logaddexp(0, (1 - 2 * LABELS) * 1.5 * scores))

    v, scores = normal(key(0, "v"), (N,)), Value(SCORES)
    (g,) = gradient(negative_loglikelihood_of_scores(LABELS, scores, 1.5), [scores])
    assert_allclose(g.data, autograd.grad(loss)(SCORES), rtol=1e-10)
    (product,) = gradient((g * v).sum(), [scores])
    assert_allclose(product.data, autograd.hessian_vector_product(loss)(SCORES, v), rtol=1e-10)


# What neither form takes


@pytest.fixture(params=[negative_loglikelihood, negative_loglikelihood_of_scores], ids=["p", "scores"])
def loss(request):
    return request.param


@pytest.mark.parametrize(("y_shape", "shape"), [((3,), (3, 1)), ((3, 1), (3,)), ((3,), (4,)), ((), (3,))])
def test_shapes_must_be_the_same(loss, y_shape, shape):
    with pytest.raises(ShapeError, match="labels have shape"):
        loss(np.ones(y_shape), Value(np.full(shape, 0.5)))


@pytest.mark.parametrize("label", [2.0, -1.0, 0.5, np.nan])
def test_labels_must_be_0_or_1(loss, label):
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        loss([0.0, label], Value([0.5, 0.5]))


@pytest.mark.parametrize("p", [-0.1, 1.1, np.inf])
def test_probabilities_must_be_probabilities(p):
    with pytest.raises(ValueError, match="probabilities must be in"):
        negative_loglikelihood([0.0, 1.0], [0.5, p])


def test_lists_of_values_are_labels_and_probabilities():
    p, q, y = Value(0.25), Value(0.5), Value(1.0)
    loss = negative_loglikelihood([0, y], [p, q])
    loss.backward()
    assert_allclose(loss.item(), -(np.log(0.75) + np.log(0.5)) / 2)
    assert_allclose([p.grad, q.grad], [0.5 / 0.75, -0.5 / 0.5])
    assert sigmoid([p, 0.0], scale=2.0).shape == (2,)


def test_truth_values_and_whole_numbers_are_labels(loss):
    p = Value([0.25, 0.5])
    assert loss([True, False], p).item() == loss([1, 0], p).item() == loss([1.0, 0.0], p).item()


# dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.8])
def test_dropout_drops_that_share_and_keeps_the_mean(probability):
    n = 100_000
    x = Value(np.full(n, 3.0))
    y = dropout(x, probability, key(0, "dropout")).data
    dropped = y == 0
    assert_allclose(y[~dropped], 3 / (1 - probability), rtol=1e-15)
    # The count dropped is binomial: five standard deviations are passed once in 1.7 million keys.
    deviation = np.sqrt(probability * (1 - probability) / n)
    assert abs(dropped.mean() - probability) < 5 * deviation
    assert abs(y.mean() - 3) < 5 * 3 * deviation / (1 - probability)


def test_dropout_follows_its_key_alone():
    x = Value(np.ones((50, 20)))
    assert_array_equal(dropout(x, 0.5, key(1, "a")).data, dropout(x, 0.5, key(1, "a")).data)
    assert (dropout(x, 0.5, key(1, "a")).data != dropout(x, 0.5, key(1, "b")).data).any()


def test_gradient_passes_where_nothing_was_dropped():
    x = Value(normal(key(0, "x"), (30,)))
    y = dropout(x, 0.3, key(0, "dropout"))
    y.sum().backward()
    assert_allclose(x.grad, np.where(y.data == 0, 0, 1 / 0.7), rtol=1e-15)


def test_dropout_of_0_changes_nothing():
    assert_array_equal(dropout(Value(SCORES), 0.0, key(0, "dropout")).data, SCORES)


@pytest.mark.parametrize("probability", [-0.1, 1.0, 1.2, np.nan])
def test_dropout_probability_lies_in_its_range(probability):
    with pytest.raises(ValueError, match="dropout probability"):
        dropout(Value(SCORES), probability, key(0, "dropout"))
