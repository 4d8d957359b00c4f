import doctest

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import sweepgrad
import sweepgrad.training.mlp
from sweepgrad import MLP, Value, negative_loglikelihood, sigmoid
from sweepgrad.autograd.value import ShapeError
from sweepgrad.rng import key, uniform
from sweepgrad.stats.metrics import accuracy, nll
from sweepgrad.training.loop import Diverged


def xor(n, purpose):
    """Labels are the sign of a product: no straight line separates them."""
    X = 2 * uniform(key(0, purpose), (n, 2)) - 1
    return X, (X[:, 0] * X[:, 1] > 0).astype(float)


X, Y = xor(200, "train")
X_VAL, Y_VAL = xor(100, "val")


def test_names_come_from_the_top_level():
    assert sweepgrad.MLP is MLP
    assert set(sweepgrad.__all__) >= {"MLP", "Value", "negative_loglikelihood", "sigmoid"}
    for name in sweepgrad.__all__:
        assert callable(getattr(sweepgrad, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sweepgrad.nothing  # noqa: B018


def test_doctest():
    results = doctest.testmod(sweepgrad.training.mlp)
    assert results.attempted > 2
    assert results.failed == 0


def test_the_assignments_interface():
    """Call it with positional arguments, as in the assignment."""
    model = MLP(2, [4, 3, 1], 0.1, 0.5)
    assert model.fit(X, Y, X_VAL, Y_VAL, 2, False) is model
    p = model.predict(X_VAL)
    assert p.shape == (100,)
    assert ((p > 0) & (p < 1)).all()
    assert model.network.dropout == 0.5
    assert model.network.widths == (2, 4, 3, 1)
    assert [w.shape for w in model.parameters()] == [(2, 4), (4,), (4, 3), (3,), (3, 1), (1,)]
    assert repr(model) == "MLP(2 → 4 → 3 → 1, 31 parameters)"


def test_names_of_the_arguments_are_the_assignments():
    model = MLP(n_features=2, layer_sizes=(3, 1), learning_rate=0.1, dropout_proba=0.0)
    model.fit(Xmat_train=X, Y_train=Y, Xmat_val=X_VAL, Y_val=Y_VAL, max_epochs=1, verbose=False)
    assert model.predict(Xmat=X[:1]).shape == (1,)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_xor_is_learnt(activation):
    model = MLP(2, [12, 1], 0.3, activation=activation, batch_size=10, seed=3)
    model.fit(X, Y, X_VAL, Y_VAL, max_epochs=80)
    assert accuracy(Y_VAL, model.predict(X_VAL)) > 0.9
    linear = MLP(2, [1], 0.3, batch_size=10).fit(X, Y, X_VAL, Y_VAL, max_epochs=20)
    assert accuracy(Y_VAL, linear.predict(X_VAL)) < 0.7


def test_predictions_are_those_of_the_best_epoch():
    model = MLP(2, [8, 1], 0.5, dropout_proba=0.3, batch_size=10, seed=1).fit(X, Y, X_VAL, Y_VAL, 15)
    assert model.result is not None
    assert len(model.result.history) == 15
    assert_allclose(nll(Y_VAL, model.predict(X_VAL)), model.result.best.val_loss, rtol=1e-12)
    assert model.result.best.val_loss == min(epoch.val_loss for epoch in model.result.history)


def test_predicting_is_repeatable_and_drops_nothing():
    model = MLP(2, [8, 1], dropout_proba=0.9)
    assert_array_equal(model.predict(X), model.predict(X))
    assert_allclose(np.concatenate([model.predict(row[None]) for row in X]), model.predict(X), rtol=1e-14)


def test_fitting_again_starts_again():
    model = MLP(2, [6, 1], 0.1, batch_size=20).fit(X, Y, X_VAL, Y_VAL, 3)
    first = model.predict(X)
    assert_array_equal(model.fit(X, Y, X_VAL, Y_VAL, 3).predict(X), first)


def test_seed_chooses_the_weights():
    assert_array_equal(MLP(2, [6, 1], seed=1).predict(X), MLP(2, [6, 1], seed=1).predict(X))
    assert (MLP(2, [6, 1], seed=1).predict(X) != MLP(2, [6, 1], seed=2).predict(X)).any()


def test_calling_gives_a_graph_whose_gradients_are_right():
    model = MLP(2, [5, 4, 1], activation="tanh", scale=2.0)
    loss = negative_loglikelihood(Y, model(X))
    loss.backward()

    def plain(weights):
        W1, b1, W2, b2, W3, b3 = weights
        h = anp.tanh(anp.tanh(X @ W1 + b1) @ W2 + b2)
        p = 1 / (1 + anp.exp(-2 * (h @ W3 + b3)[:, 0]))
        return -anp.mean(Y * anp.log(p) + (1 - Y) * anp.log(1 - p))

    expected, gradients = autograd.value_and_grad(plain)([w.data for w in model.parameters()])
    assert_allclose(loss.item(), expected, rtol=1e-12)
    for w, g in zip(model.parameters(), gradients, strict=True):
        assert_allclose(w.grad, g, rtol=1e-10, atol=1e-12)


def test_gradient_with_respect_to_the_features():
    model, x = MLP(2, [5, 1], activation="tanh"), Value(X[:3])
    model(x).sum().backward()
    step = 1e-5
    for column in range(2):
        change = step * np.eye(2)[column]
        slope = (model.predict(X[:3] + change) - model.predict(X[:3] - change)) / (2 * step)
        assert_allclose(x.grad[:, column], slope, rtol=1e-6, atol=1e-9)


def test_scale_steepens_the_output():
    plain, steep = MLP(2, [4, 1]), MLP(2, [4, 1], scale=3.0)
    odds = np.log(plain.predict(X) / (1 - plain.predict(X)))
    assert_allclose(steep.predict(X), sigmoid(odds, scale=3.0).data, rtol=1e-9)


def test_verbose_prints_a_line_an_epoch(capsys):
    model = MLP(2, [3, 1], 0.1, batch_size=50).fit(X, Y, X_VAL, Y_VAL, max_epochs=3, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert model.result is not None
    assert len(lines) == 3
    for number, (line, epoch) in enumerate(zip(lines, model.result.history, strict=True), start=1):
        assert line.startswith(f"epoch {number}/3 ")
        assert f"train nll {epoch.train_loss:.4f} accuracy {epoch.train['accuracy']:.3f}" in line
        assert f"val nll {epoch.val_loss:.4f} accuracy {epoch.val['accuracy']:.3f}" in line
    model.fit(X, Y, X_VAL, Y_VAL, max_epochs=2)
    assert capsys.readouterr().out == ""


def test_lists_are_data_too():
    model = MLP(1, [2, 1], 0.5).fit([[0], [1]], [0, 1], [[0], [1]], [False, True], max_epochs=2)
    assert model.predict([[0], [1], [2]]).shape == (3,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_features": 0}, "sizes are at least 1"),
        ({"layer_sizes": []}, "sizes are at least 1"),
        ({"layer_sizes": [4, 0, 1]}, "sizes are at least 1"),
        ({"layer_sizes": [4, 2]}, "ends with the output's 1"),
        ({"dropout_proba": 1.0}, r"dropout_proba lies in \[0, 1\)"),
        ({"dropout_proba": -0.1}, r"dropout_proba lies in \[0, 1\)"),
        ({"dropout_proba": np.nan}, r"dropout_proba lies in \[0, 1\)"),
        ({"learning_rate": 0.0}, "learning_rate and scale are positive"),
        ({"learning_rate": -1.0}, "learning_rate and scale are positive"),
        ({"learning_rate": np.nan}, "learning_rate and scale are positive"),
        ({"scale": 0.0}, "learning_rate and scale are positive"),
        ({"scale": np.inf}, "learning_rate and scale are positive"),
        ({"activation": "relo"}, "activation is one of relu, tanh, sigmoid, not 'relo'"),
        ({"batch_size": 0}, "batch_size is at least 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLP(**({"n_features": 2, "layer_sizes": [4, 1]} | arguments))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((X, Y[:, None], X_VAL, Y_VAL), ShapeError, r"X must be \(N, D\) and y \(N,\)"),
        ((X, Y[:-1], X_VAL, Y_VAL), ShapeError, r"X must be \(N, D\) and y \(N,\)"),
        ((X, Y, X_VAL[0], Y_VAL[:2]), ShapeError, r"X must be \(N, D\) and y \(N,\)"),
        ((X[:, :1], Y, X_VAL, Y_VAL), ShapeError, r"takes \(N, 2\) features"),
        ((X, Y, X_VAL[:, :1], Y_VAL), ShapeError, r"takes \(N, 2\) features"),
        ((X, Y + 1, X_VAL, Y_VAL), ValueError, "labels must be 0 or 1"),
        ((X, Y, X_VAL, 2 * Y_VAL - 1), ValueError, "labels must be 0 or 1"),
        ((X * np.nan, Y, X_VAL, Y_VAL), ValueError, "finite"),
        ((X, Y, np.full_like(X_VAL, np.inf), Y_VAL), ValueError, "finite"),
        ((X[:0], Y[:0], X_VAL, Y_VAL), ValueError, "must have rows"),
        ((X, Y, X_VAL, Y_VAL, 0), ValueError, "max_epochs is at least 1"),
    ],
)
def test_bad_data_are_refused(data, error, message):
    with pytest.raises(error, match=message):
        MLP(2, [3, 1], batch_size=50).fit(*data)


def test_divergence_is_named_and_leaves_the_model_as_it_was():
    model = MLP(2, [8, 4, 1], 1e308)
    before = model.predict(X)
    with pytest.raises(Diverged, match=r"optimizer\.lr"):
        model.fit(X[:50], Y[:50], X_VAL, Y_VAL)
    assert_array_equal(model.predict(X), before)
