import doctest
from collections.abc import Callable
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from omegaconf import OmegaConf
from scipy.sparse import csr_matrix

import sweepgrad
from sweepgrad import MLP, Value, negative_loglikelihood, sigmoid
from sweepgrad.autograd.value import ShapeError
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD, Adagrad, Adam, Momentum
from sweepgrad.nn.schedules import Cosine, InverseRoot, Staircase
from sweepgrad.paths import config_dir
from sweepgrad.rng import key, uniform
from sweepgrad.stats.metrics import accuracy, nll
from sweepgrad.tasks.binary import BINARY
from sweepgrad.training import mlp
from sweepgrad.training.loop import Diverged, Examples, fit
from sweepgrad.training.mlp_arguments import DEFAULTS


def xor(n, purpose):
    """Return features and the sign of their product, which no straight line separates."""
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
    results = doctest.testmod(mlp)
    assert results.attempted > 2
    assert results.failed == 0


def test_the_assignments_interface():
    """Pass the arguments by position, as the assignment does."""
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


# Arrays of all kinds


def frames(X, y):
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1]}, index=np.arange(len(X))[::-1])
    return frame, pd.Series(y, index=frame.index, name="label").astype(bool)


FORMS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "Fortran order": lambda X, y: (np.asfortranarray(X), y),
    "slices": lambda X, y: (np.repeat(X, 2, axis=0)[::2], np.repeat(y, 3)[::3]),
    "reversed columns of a wider array": lambda X, y: (np.c_[X[:, 1], y, X[:, 0]][:, ::-2], y),
    "frames": frames,
    "frames of nullable columns": lambda X, y: tuple(x.convert_dtypes() for x in frames(X, y)),
    "lists": lambda X, y: (X.tolist(), [int(label) for label in y]),
    "bools": lambda X, y: (X, y == 1),
    "unsigned labels": lambda X, y: (X, y.astype(np.uint8)),
    "objects": lambda X, y: (X.astype(object), y.astype(object)),
    "read only": lambda X, y: (np.broadcast_to(X, (1, *X.shape))[0], y),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_arrays_of_any_kind_give_the_same_bits(form):
    plain = MLP(2, [4, 1], 0.1, batch_size=20).fit(X, Y, X_VAL, Y_VAL, 2)
    model = MLP(2, [4, 1], 0.1, batch_size=20)
    (X_train, y), (X_val, y_val) = form(X, Y), form(X_VAL, Y_VAL)
    model.fit(X_train, y, X_val, y_val, max_epochs=2)
    assert_array_equal(model.predict(form(X, Y)[0]), plain.predict(X))


def test_whole_numbers_and_bools_are_features():
    X = np.array([[0, 1], [1, 0], [1, 1], [0, 0]])
    plain = MLP(2, [1]).fit(X.astype(float), [0, 1, 1, 0], max_epochs=2)
    forms: list[Any] = [X, X.astype(bool), X.astype(np.int8), X.tolist(), Value(X)]
    for form in forms:
        assert_array_equal(plain.predict(form), MLP(2, [1]).fit(X, [0, 1, 1, 0], max_epochs=2).predict(X))
    assert plain.predict(np.zeros((0, 2))).shape == (0,)


def test_arrays_that_were_given_are_not_written_to():
    given = X.copy()
    MLP(2, [4, 1], 0.1, batch_size=20).fit(given, Y, given, Y, 2)
    assert_array_equal(given, X)


# Validation rows are optional


def test_without_validation_rows_the_training_loss_decides(capsys):
    model = MLP(2, [4, 1], 0.1, batch_size=20).fit(X, Y, max_epochs=3, verbose=True)
    assert_array_equal(model.predict(X), MLP(2, [4, 1], 0.1, batch_size=20).fit(X, Y, X, Y, 3).predict(X))
    assert "val" not in capsys.readouterr().out


@pytest.mark.parametrize("given", [{"Xmat_val": X_VAL}, {"Y_val": Y_VAL}])
def test_validation_rows_come_with_their_labels(given):
    with pytest.raises(ValueError, match="Xmat_val and Y_val must be given together"):
        MLP(2, [1]).fit(X, Y, **given)


def test_patience_needs_validation_rows():
    with pytest.raises(ValueError, match=r"patience \(2\) needs validation rows"):
        MLP(2, [1], patience=2).fit(X, Y)
    model = MLP(2, [4, 1], 0.3, patience=2, batch_size=10).fit(X, Y, X_VAL, Y_VAL, 500)
    assert model.result is not None
    assert len(model.result.history) == model.result.best_epoch + 2 < 500


# All that the configuration has


@pytest.mark.parametrize("group", ["optimizer", "schedule"])
def test_defaults_are_those_of_the_configuration(group):
    for file in (config_dir() / group).glob("*.yaml"):
        settings: Any = OmegaConf.to_container(OmegaConf.load(file))
        settings.pop("lr", None)
        assert settings.pop("name") == file.stem
        assert settings == DEFAULTS.get(file.stem, {})


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ({"optimizer": "momentum"}, {"optimizer": Momentum(0.05, 0.9)}),
        ({"optimizer": "adagrad"}, {"optimizer": Adagrad(0.05, 1e-8)}),
        ({"optimizer": "adam"}, {"optimizer": Adam(0.05, 0.9, 0.999, 1e-8)}),
        ({"optimizer": {"name": "adam", "beta1": 0.5}}, {"optimizer": Adam(0.05, 0.5, 0.999, 1e-8)}),
        ({"optimizer": Adam(0.05, 0.9, 0.99, 1e-8)}, {"optimizer": Adam(0.05, 0.9, 0.99, 1e-8)}),
        ({"schedule": "inverse_root"}, {"schedule": InverseRoot(1000)}),
        ({"schedule": {"name": "staircase", "every": 2}}, {"schedule": Staircase(2, 0.5)}),
        ({"schedule": "cosine"}, {"schedule": Cosine(0.0)}),
        ({"schedule": Cosine(0.1)}, {"schedule": Cosine(0.1)}),
        ({"weight_decay": 0.1}, {"weight_decay": 0.1}),
        ({"clip": 0.01}, {"clip": 0.01}),
        ({"class_weight": 3}, {"class_weights": BINARY.class_weights(Y, 3)}),
        ({"class_weight": "balanced"}, {"class_weights": BINARY.class_weights(Y, "balanced")}),
        ({"dtype": "float32"}, {"dtype": np.float32}),
        (
            {"dtype": np.float32, "optimizer": "adam"},
            {"dtype": np.float32, "optimizer": Adam(0.05, 0.9, 0.999, 1e-8)},
        ),
    ],
    ids=str,
)
def test_arguments_do_what_the_configuration_does(arguments, settings):
    """Compare with the training loop bit for bit, and with an MLP without the argument."""
    rate: dict[str, Any] = {} if hasattr(arguments.get("optimizer"), "lr") else {"learning_rate": 0.05}
    model = MLP(2, [5, 1], **rate, **arguments, batch_size=16, seed=2).fit(X, Y, X_VAL, Y_VAL, 3)
    dtype = settings.pop("dtype", np.float64)
    train, val = (Examples(X.astype(dtype), y.astype(dtype)) for X, y in ((X, Y), (X_VAL, Y_VAL)))
    *_, expected = fit(
        Network(2, (5,)),
        train=train,
        val=val,
        epochs=3,
        batch_size=16,
        seed=2,
        **({"optimizer": SGD(0.05)} | settings),
    )
    for w, array in zip(model.parameters(), expected.weights, strict=True):
        assert w.data.dtype == dtype
        assert_array_equal(w.data, array)
    assert model.predict(X).dtype == dtype
    plain = MLP(2, [5, 1], 0.05, batch_size=16, seed=2).fit(X, Y, X_VAL, Y_VAL, 3)
    assert (model.predict(X) != plain.predict(X)).any()


def test_gradients_by_hand():
    """Train as a course does: loss, `zero_grad`, `backward`, a step."""
    model = MLP(2, [8, 1], seed=1, activation="tanh")
    losses = []
    for _ in range(100):
        loss = negative_loglikelihood(Y, model(X))
        losses.append(float(loss))
        model.zero_grad()
        loss.backward()
        for w in model.parameters():
            w.data -= 1.0 * w.grad
    assert losses[-1] < 0.7 * losses[0]
    model.zero_grad()
    assert not any(w.grad.any() for w in model.parameters())


def test_parameters_stay_the_same_objects():
    model = MLP(2, [4, 1], 0.1, batch_size=20)
    before = model.parameters()
    negative_loglikelihood(Y, model(X)).backward()
    model.fit(X, Y, max_epochs=1)
    assert model.parameters() is before
    assert [w.label for w in before] == ["W1", "b1", "W2", "b2"]
    assert not before[0].grad.any()
    before[0].data += 1  # changes neither the result nor what a second training gives
    assert model.result is not None
    assert_array_equal(model.result.weights[0] + 1, before[0].data)


def test_html_shows_layers_and_training():
    model = MLP(2, [4, 1], 0.1, batch_size=20)
    assert "not trained" in model._repr_html_()
    model.fit(X, Y, X_VAL, Y_VAL, 3)
    html = model._repr_html_()
    for text in (
        "MLP(2 → 4 → 1, 17 parameters)",
        "<td>2 → 4</td><td>relu</td><td>12</td>",
        "best epoch",
        " of 3",
    ):
        assert text in html
    assert "validation loss" in html
    html = model.fit(X, Y, max_epochs=3)._repr_html_()
    assert "training loss" in html
    assert "validation" not in html


def test_interrupted_training_keeps_the_best_weights(monkeypatch):
    def interrupted(*arguments, **settings):
        results = fit(*arguments, **settings)
        yield next(results)
        raise KeyboardInterrupt

    model = MLP(2, [4, 1], 0.1, batch_size=20)
    monkeypatch.setattr(mlp, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, X_VAL, Y_VAL, 5)
    assert model.result is not None
    assert len(model.result.history) == 1
    monkeypatch.undo()
    once = MLP(2, [4, 1], 0.1, batch_size=20).fit(X, Y, X_VAL, Y_VAL, 1)
    assert_array_equal(model.predict(X), once.predict(X))


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_features": 0}, "n_features must be an integer of at least 1, not 0"),
        ({"n_features": 2.0}, "n_features must be an integer of at least 1, not 2.0"),
        ({"n_features": True}, "n_features must be an integer of at least 1, not True"),
        ({"layer_sizes": []}, r"layer_sizes must be a list of layer widths that ends with 1.*not \[\]"),
        ({"layer_sizes": 4}, "layer_sizes must be a list of layer widths.*not 4"),
        ({"layer_sizes": [4, 0, 1]}, r"layer_sizes\[1\] must be an integer of at least 1, not 0"),
        ({"layer_sizes": [4.5, 1]}, r"layer_sizes\[0\] must be an integer of at least 1, not 4.5"),
        ({"layer_sizes": [4, 2]}, r"ends with 1, such as \[8, 1\], not \[4, 2\]"),
        ({"dropout_proba": 1.0}, r"dropout_proba must be a number in \[0, 1\), not 1.0"),
        ({"dropout_proba": -0.1}, r"dropout_proba must be a number in \[0, 1\), not -0.1"),
        ({"dropout_proba": np.nan}, r"dropout_proba must be a number in \[0, 1\), not nan"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0, not 0.0"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number above 0, not -1.0"),
        ({"learning_rate": np.nan}, "learning_rate must be a finite number above 0, not nan"),
        ({"learning_rate": "0.1"}, "learning_rate must be a finite number above 0, not '0.1'"),
        ({"scale": 0.0}, "scale must be a finite number above 0, not 0.0"),
        ({"scale": np.inf}, "scale must be a finite number above 0, not inf"),
        (
            {"activation": "relo"},
            "activation must be one of relu, tanh, sigmoid, not 'relo'. Did you mean relu?",
        ),
        ({"activation": None}, "activation must be one of relu, tanh, sigmoid, not None"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, not 0"),
        ({"seed": -1}, "seed must be an integer of at least 0, not -1"),
        (
            {"optimizer": "adm"},
            "optimizer must be one of sgd, momentum, adagrad, adam, not 'adm'. Did you mean adam?",
        ),
        ({"optimizer": 3}, "optimizer must be one of sgd, .*or an optimizer, not 3"),
        (
            {"optimizer": {"beta1": 0.9}},
            "optimizer settings need a name, one of sgd, momentum, adagrad, adam",
        ),
        (
            {"optimizer": {"name": "adam", "beta": 1}},
            "optimizer.beta is an unknown setting of adam, which has beta1, beta2",
        ),
        ({"optimizer": {"name": "adam", "beta1": 1}}, "optimizer.beta1 .*less than 1, not 1"),
        ({"optimizer": {"name": "sgd", "lr": 1.0}}, "optimizer.lr is not a setting here; use learning_rate"),
        ({"optimizer": SGD(0.1), "learning_rate": 0.2}, r"learning_rate \(0.2\) has no effect"),
        ({"optimizer": SGD(-0.1)}, "optimizer.lr .*greater than 0, not -0.1"),
        ({"optimizer": Adam(0.1, 2.0, 0.9, 1e-8)}, "optimizer.beta1 .*less than 1, not 2.0"),
        ({"schedule": "cos"}, "schedule must be one of constant, .*, not 'cos'. Did you mean cosine?"),
        ({"schedule": {"name": "cosine", "final": 2.0}}, "schedule.final .*less than 1, not 2.0"),
        ({"schedule": Cosine(2.0)}, "schedule.final .*less than 1, not 2.0"),
        ({"schedule": 0.5}, "schedule must be one of constant, .*or a schedule, not 0.5"),
        ({"dtype": "float16"}, "dtype must be float64 or float32, not 'float16'"),
        ({"dtype": None}, "dtype must be float64 or float32, not None"),
        ({"dtype": "double precision"}, "dtype must be float64 or float32"),
        (
            {"dtype": "float32", "learning_rate": 1e-60},
            'learning_rate 1e-60 is 0 in float32; use dtype="float64"',
        ),
        ({"weight_decay": -1}, "weight_decay must be a finite number of at least 0, not -1"),
        ({"weight_decay": 200.0}, r"weight_decay \(200\) times learning_rate \(0.01\)"),
        ({"clip": 0}, "clip must be a finite number above 0, not 0"),
        ({"patience": 0}, "patience must be an integer of at least 1, not 0"),
        ({"class_weight": "fair"}, "class_weight must be None, \"balanced\" or a number above 0, not 'fair'"),
        ({"class_weight": {0: 1}}, "class_weight must be None"),
        ({"class_weight": 10**400}, "class_weight must be None"),
        ({"learning_rate": 10**400}, "learning_rate must be a finite number above 0, not 1000"),
        ({"optimizer": {1: 2, "name": "sgd"}}, "optimizer settings must have strings as keys, not 1"),
        ({"schedule": {1: 2, "name": "cosine"}}, "schedule settings must have strings as keys, not 1"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLP(**({"n_features": 2, "layer_sizes": [4, 1]} | arguments))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            (X, Y[:, None], X_VAL, Y_VAL),
            ShapeError,
            r"Y_train .* \(200,\).*not \(200, 1\); use numpy.ravel\(Y_train\)",
        ),
        ((X, Y[:-1], X_VAL, Y_VAL), ShapeError, r"Y_train must have shape \(200,\).*not \(199,\)"),
        ((X, Y, X_VAL[0], Y_VAL[:2]), ShapeError, r"Xmat_val must have shape \(N, 2\).*not \(2,\)"),
        ((X[:, :1], Y, X_VAL, Y_VAL), ShapeError, r"Xmat_train must have shape \(N, 2\).*not \(200, 1\)"),
        ((X, Y, X_VAL[:, :1], Y_VAL), ShapeError, r"Xmat_val must have shape \(N, 2\)"),
        ((X, Y + 1, X_VAL, Y_VAL), ValueError, "Y_train must hold 0 and 1 only, but has 2 in row"),
        ((X, Y, X_VAL, 2 * Y_VAL - 1), ValueError, "Y_val must hold 0 and 1 only, but has -1 in row"),
        ((X, np.where(Y == 1, "yes", "no")), ValueError, "Y_train must hold numbers, not '(yes|no)'"),
        (
            (X * np.nan, Y, X_VAL, Y_VAL),
            ValueError,
            "Xmat_train must be finite, but column 0 has nan in row 0",
        ),
        (
            (X, Y, np.full_like(X_VAL, np.inf), Y_VAL),
            ValueError,
            "Xmat_val must be finite, but column 0 has inf",
        ),
        ((X[:0], Y[:0], X_VAL, Y_VAL), ValueError, "Xmat_train must have rows"),
        ((X, Y, X_VAL, Y_VAL, 0), ValueError, "max_epochs must be an integer of at least 1, not 0"),
        ((X, Y, X_VAL, Y_VAL, 2.5), ValueError, "max_epochs must be an integer of at least 1, not 2.5"),
        (([[1, 2], [3]], [0, 1]), ShapeError, "Xmat_train must be a rectangular array"),
        ((None, [0]), ValueError, "Xmat_train must be an array, a DataFrame or lists of numbers, not None"),
        (({"a": [1]}, [0]), ValueError, "Xmat_train must be an array, .*, not dict"),
        (
            (csr_matrix(X), Y),
            ValueError,
            r"Xmat_train must be a dense array, not csr_matrix; use .toarray\(\)",
        ),
        (([["a", 1]], [0]), ValueError, "Xmat_train must hold numbers, not 'a'"),
        (
            (pd.DataFrame({"age": [1.0, 2.0], "plan": ["basic", "plus"]}), [0, 1]),
            ValueError,
            "Xmat_train must hold numbers, but column 'plan' holds 'basic'; encode text as numbers first",
        ),
        (
            (pd.DataFrame({"plan": [1, 2], "age": [30, None]}), [0, 1]),
            ValueError,
            "Xmat_train must be finite, but column 'age' has nan in row 1",
        ),
        ((X, np.ones(200)), ValueError, "class_weight 'balanced': "),
    ],
)
def test_bad_data_are_refused(data, error, message):
    weight: Any = "balanced" if "balanced" in message else None
    with pytest.raises(error, match=message):
        MLP(2, [3, 1], batch_size=50, class_weight=weight).fit(*data)


def test_one_feature_has_a_hint():
    with pytest.raises(ShapeError, match=r"use numpy.reshape\(Xmat_train, \(-1, 1\)\)"):
        MLP(1, [1]).fit([1.0, 2.0], [0, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 1e308}, r"learning_rate \(1e\+308\)"),
        ({"learning_rate": 1e308, "scale": 2.0}, r"learning_rate \(1e\+308\) or scale \(2\)"),
        ({"optimizer": SGD(1e308)}, r"optimizer.lr \(1e\+308\)"),
    ],
)
def test_divergence_names_the_argument_and_leaves_the_model_as_it_was(arguments, message):
    model = MLP(2, [8, 4, 1], **arguments)
    before = model.predict(X)
    with pytest.raises(Diverged, match=message):
        model.fit(X[:50], Y[:50], X_VAL, Y_VAL)
    assert_array_equal(model.predict(X), before)
    assert model.result is None
