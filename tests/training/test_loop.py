import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

from sweepgrad import engine as engines
from sweepgrad.autograd.value import ShapeError
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD, Adagrad, Adam, Momentum
from sweepgrad.nn.schedules import Constant, InverseRoot, Staircase
from sweepgrad.rng import key, normal, permutation, uniform
from sweepgrad.stats import metrics
from sweepgrad.tasks.binary import ClassWeights
from sweepgrad.training.epoch import Epoch
from sweepgrad.training.loop import Diverged, Examples, fit

D = 4
LINEAR = Network(D, (), None)
SLOWLY = SGD(0.1)


def examples(n, purpose="train", noise=0.5, features=D):
    X = normal(key(0, purpose, 1), (n, features))
    y = (X[:, 0] + noise * normal(key(0, purpose, 2), (n,)) > 0).astype(float)
    return Examples(X, y)


TRAIN, VAL = examples(23), examples(17, "val")


def run(network=LINEAR, optimizer=SLOWLY, train=TRAIN, val=VAL, epochs=3, batch_size=4, seed=1, **more):
    return list(fit(network, optimizer, train, val, epochs=epochs, batch_size=batch_size, seed=seed, **more))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def plain_sgd(w, b, train, lr, order, batch_size, scale=1.0):
    """Logistic regression by hand: the gradient of the loss is X' (p - y) scale / n."""
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        error = scale * (sigmoid(scale * (train.X[rows] @ w + b)) - train.y[rows]) / len(rows)
        w, b = w - lr * train.X[rows].T @ error, b - lr * error.sum()
    return w, b


# One epoch


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 12))
def test_every_row_is_used_once_an_epoch(data, n):
    """Let row i be the i-th unit vector: weight i moves by row i alone, by lr (y - p) / rows in its batch."""
    batch_size, lr = data.draw(st.integers(1, n + 3)), 1e-6
    train = Examples(np.eye(n), (uniform(key(0, "y"), (n,)) < 0.5).astype(float))
    network = Network(n, (), None)
    start = network.initial(1)
    for epochs in (1, 2):
        (*_, result) = run(network, SGD(lr), train, train, epochs=epochs, batch_size=batch_size)
        p = sigmoid(start[0][:, 0])
        shares = (result.weights[0] - start[0])[:, 0] / (lr * (train.y - p))
        if epochs == 1:
            last = n % batch_size
            expected = [1 / batch_size] * (n - last) + [1 / last] * last if last else [1 / batch_size] * n
            assert_allclose(np.sort(shares), np.sort(expected), rtol=1e-4)
        else:
            assert (shares > 1.9 / min(batch_size, n)).all()


@pytest.mark.parametrize("batch_size", [1, 4, 5, 22, 23, 26])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_linear_model_is_trained_as_a_plain_loop_trains_it(batch_size, scale):
    network, seed, lr = Network(D, (), None, scale=scale), 6, 0.05
    W, bias = network.initial(seed)
    w, b = W[:, 0], bias[0]
    results = run(network, SGD(lr), train=TRAIN, val=TRAIN, epochs=3, batch_size=batch_size, seed=seed)
    for epoch, result in enumerate(results, start=1):
        order = permutation(key(seed, "order", epoch), len(TRAIN.y))
        w, b = plain_sgd(w, b, TRAIN, lr, order, batch_size, scale)
        assert result.best_epoch == epoch
        assert_allclose(result.weights[0][:, 0], w, rtol=1e-12, atol=1e-12)
        assert_allclose(result.weights[1], [b], rtol=1e-12, atol=1e-12)
        p = sigmoid(scale * (TRAIN.X @ w + b))
        assert_allclose(result.best.train_loss, metrics.nll(TRAIN.y, p), rtol=1e-12)
        assert result.best.train["accuracy"] == np.mean((p >= 0.5) == TRAIN.y)


def test_all_rows_in_one_batch_is_gradient_descent():
    W, bias = LINEAR.initial(1)
    w, b = W[:, 0], bias[0]
    for _ in range(20):
        w, b = plain_sgd(w, b, TRAIN, 0.1, np.arange(len(TRAIN.y)), len(TRAIN.y))
    for batch_size in (len(TRAIN.y), len(TRAIN.y) + 3):
        result = run(train=TRAIN, val=TRAIN, epochs=20, batch_size=batch_size)[-1]
        assert result.best_epoch == 20
        assert_allclose(result.weights[0][:, 0], w, rtol=1e-12, atol=1e-13)
        assert_allclose(result.weights[1], [b], rtol=1e-12, atol=1e-13)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n + 3))))
def test_any_batch_size_trains(sizes):
    n, batch_size = sizes
    network = Network(D, (3,), "tanh", dropout=0.2)
    results = run(network, Adam(0.01, 0.9, 0.999, 1e-8), examples(n), VAL, epochs=2, batch_size=batch_size)
    assert len(results) == 2
    assert all(np.isfinite(w).all() for w in results[-1].weights)


def test_two_epochs_go_through_the_rows_in_different_orders():
    orders = [permutation(key(1, "order", epoch), 23).tolist() for epoch in (1, 2)]
    assert orders[0] != orders[1]
    W, bias = LINEAR.initial(1)
    w, b = W[:, 0], bias[0]
    for order in (orders[0], orders[0]):
        w, b = plain_sgd(w, b, TRAIN, 0.3, np.array(order), 1)
    result = run(optimizer=SGD(0.3), val=TRAIN, epochs=2, batch_size=1)[-1]
    assert np.abs(result.weights[0][:, 0] - w).max() > 1e-6


# The same again


NETWORK = Network(D, (5, 3), "relu", dropout=0.3)


def assert_same(a, b):
    assert a.history == b.history
    assert a.best_epoch == b.best_epoch
    for x, y in zip(a.weights, b.weights, strict=True):
        assert_array_equal(x, y)


@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.1), Momentum(0.1, 0.9), Adagrad(0.1, 1e-8), Adam(0.01, 0.9, 0.999, 1e-8)],
    ids=lambda o: type(o).__name__,
)
def test_same_arguments_give_the_same_bits(optimizer):
    assert_same(run(NETWORK, optimizer)[-1], run(NETWORK, optimizer)[-1])


def test_every_seed_gives_another_fit():
    histories = {repr(run(NETWORK, seed=seed)[-1].history) for seed in range(6)}
    assert len(histories) == 6


def test_a_longer_run_begins_like_a_shorter_one():
    long, short = run(NETWORK, epochs=5), run(NETWORK, epochs=3)
    for a, b in zip(long[:3], short, strict=True):
        assert_same(a, b)


OPTIMIZERS = [SGD(0.1), Momentum(0.1, 0.9), Adagrad(0.1, 1e-8), Adam(0.01, 0.9, 0.999, 1e-8)]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from(OPTIMIZERS),
    st.sampled_from([Constant(), InverseRoot(3), Staircase(2, 0.5)]),
    st.sampled_from([0.0, 0.4]),
    st.none() | st.integers(1, 8),
    st.sampled_from([np.float64, np.float32]),
    st.integers(1, 30),
    st.none() | st.just(0.5),
    st.sampled_from(["native", "numpy"]),
)
def test_going_on_comes_to_the_bits_of_training_straight_through(
    first, more, optimizer, schedule, dropout, patience, dtype, batch_size, clip, engine
):
    rows = [Examples(e.X.astype(dtype), e.y.astype(dtype)) for e in (TRAIN, VAL)]
    settings = {
        "network": Network(D, (5, 3), "tanh", dropout),
        "optimizer": optimizer,
        "train": rows[0],
        "val": rows[1],
        "batch_size": batch_size,
        "schedule": schedule,
        "patience": patience,
        "weight_decay": 0.01,
        "clip": clip,
        "engine": engines.load(engine, dtype),
    }
    straight = run(**settings, epochs=first + more)
    start = run(**settings, epochs=first)[-1]
    went_on = run(**settings, epochs=first + more, start=start)
    assert [fit.history for fit in went_on] == [fit.history for fit in straight[first:]]
    for one, other in zip(went_on, straight[first:], strict=True):
        assert_same(one, other)
        assert one.state.tobytes() == other.state.tobytes()
        assert one.state.dtype == dtype


def test_a_start_that_is_another_networks_or_optimizers_is_refused():
    start = run(NETWORK, Momentum(0.1, 0.9))[-1]
    for network, optimizer in ((LINEAR, Momentum(0.1, 0.9)), (NETWORK, SGD(0.1))):
        with pytest.raises(ShapeError, match="the state to continue from must be"):
            run(network, optimizer, epochs=9, start=start)


def test_the_examples_are_left_as_they_were():
    train = Examples(TRAIN.X.copy(), TRAIN.y.copy())
    run(NETWORK, train=train)
    assert_array_equal(train.X, TRAIN.X)
    assert_array_equal(train.y, TRAIN.y)


# The best epoch


def overfitting():
    """Few rows, pure noise: the validation loss falls for a while and then rises."""
    train = Examples(normal(key(0, "noise"), (20, 6)), (uniform(key(0, "noise"), (20,)) < 0.5).astype(float))
    return run(Network(6, (20,), "tanh"), SGD(0.3), train, examples(30, "val", features=6), 25, batch_size=4)


def test_best_epoch_has_the_lowest_validation_loss_so_far_and_its_weights():
    results = overfitting()
    losses = [epoch.val_loss for epoch in results[-1].history]
    assert 1 <= results[-1].best_epoch < len(losses)
    at_epoch = {}
    for epoch, result in enumerate(results, start=1):
        assert len(result.history) == epoch
        assert result.history == results[-1].history[:epoch]
        assert result.best_epoch == 1 + losses[:epoch].index(min(losses[:epoch]))
        assert result.best == result.history[result.best_epoch - 1]
        if result.best_epoch == epoch:
            at_epoch[epoch] = result.weights
        for kept, then in zip(result.weights, at_epoch[result.best_epoch], strict=True):
            assert_array_equal(kept, then)


@pytest.mark.parametrize("network", [LINEAR, NETWORK, Network(D, (4,), "sigmoid", 0.5, scale=2.0)], ids=str)
def test_history_is_what_the_kept_weights_give_without_dropout(network):
    result = run(network, epochs=6)[-1]
    numbers = []
    for rows in (TRAIN, VAL):
        p = network.probabilities(result.weights, rows.X)
        numbers += [metrics.nll(rows.y, p), metrics.accuracy(rows.y, p)]
    best = result.best
    assert_allclose(
        [best.train_loss, best.train["accuracy"], best.val_loss, best.val["accuracy"]], numbers, rtol=1e-12
    )


def test_an_equal_loss_is_no_better():
    """Take a learning rate too small to change a weight: all epochs are equal, and the first one stays."""
    results = run(optimizer=SGD(1e-300), epochs=4)
    assert {result.best_epoch for result in results} == {1}
    first, *others = results[-1].history
    assert others == [first] * 3


def test_weights_of_the_first_epoch_are_kept_when_it_only_gets_worse():
    opposite = Examples(TRAIN.X, 1 - TRAIN.y)
    results = run(val=opposite, epochs=6)
    assert results[-1].best_epoch == 1
    for kept, first in zip(results[-1].weights, results[0].weights, strict=True):
        assert_array_equal(kept, first)
    assert (results[-1].weights[0] != run(val=TRAIN, epochs=6)[-1].weights[0]).all()


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_patience_counts_epochs_without_a_lower_loss(patience):
    assert len(run(optimizer=SGD(1e-300), epochs=10, patience=patience)) == 1 + patience


def test_patience_starts_again_at_every_better_epoch():
    losses = [epoch.val_loss for epoch in overfitting()[-1].history]
    for patience in (1, 2, 4):
        stop = next(
            (n for n in range(1, len(losses)) if n - losses.index(min(losses[:n])) - 1 >= patience),
            len(losses),
        )
        train = Examples(
            normal(key(0, "noise"), (20, 6)), (uniform(key(0, "noise"), (20,)) < 0.5).astype(float)
        )
        val = examples(30, "val", features=6)
        network = Network(6, (20,), "tanh")
        results = run(network, SGD(0.3), train, val, 25, batch_size=4, patience=patience)
        assert len(results) == stop


def test_history_has_one_record_an_epoch():
    for epochs in (1, 4):
        history = run(epochs=epochs)[-1].history
        assert len(history) == epochs
        assert all(isinstance(epoch, Epoch) for epoch in history)
    assert len(run(epochs=5, patience=100)) == 5


# Classes that count differently


@pytest.mark.parametrize(("weight", "times"), [("balanced", 3), (8.0, 8)])
def test_the_weighted_linear_model_comes_to_scikit_learns_optimum(weight, times):
    """Compare the weighted loss with the plain one of rows in which the positive ones are repeated."""
    X = normal(key(0, "rare"), (80, D))
    order = np.argsort(X[:, 0] + 2 * normal(key(1, "rare"), (80,)))
    y = np.zeros(80)
    y[order[60:]] = 1
    several = np.repeat(np.arange(80), np.where(y == 1, times, 1))
    train, val = Examples(X, y), Examples(X[several], y[several])
    classes = ClassWeights.of(y, weight)
    result = run(optimizer=SGD(2.0), train=train, val=val, epochs=2000, batch_size=80, class_weights=classes)[
        -1
    ]
    class_weight = weight if weight == "balanced" else {0: 1.0, 1: weight}
    expected = LogisticRegression(C=np.inf, class_weight=class_weight, tol=1e-10, max_iter=10_000).fit(X, y)
    assert_allclose(result.weights[0][:, 0], expected.coef_[0], rtol=1e-4, atol=1e-5)
    assert_allclose(result.weights[1], expected.intercept_, rtol=1e-4, atol=1e-5)


def test_reported_losses_and_accuracies_count_rows_alike():
    classes = ClassWeights(3.0, 0.5)
    result = run(NETWORK, epochs=4, class_weights=classes)[-1]
    p = NETWORK.probabilities(result.weights, VAL.X)
    assert_allclose(result.best.val_loss, metrics.nll(VAL.y, p), rtol=1e-12)
    assert_allclose(result.best.val["accuracy"], metrics.accuracy(VAL.y, p), rtol=1e-12)
    assert result.history != run(NETWORK, epochs=4)[-1].history


# Dropout


def test_dropout_works_in_training():
    plain, dropping = Network(D, (8,), "tanh"), Network(D, (8,), "tanh", dropout=0.5)
    assert run(plain)[-1].history != run(dropping)[-1].history


def test_every_step_drops_afresh():
    """Check that a step on one row leaves the weights of dropped units; over steps, all units move."""
    row = Examples(TRAIN.X[:1], TRAIN.y[:1])
    network = Network(D, (40,), "sigmoid", dropout=0.5)
    start = network.initial(1)[0]
    moved = [(run(network, train=row, val=row, epochs=n)[-1].weights[0] != start).all(axis=0) for n in (1, 8)]
    assert 5 < moved[0].sum() < 35
    assert moved[1].sum() > 38


# Divergence


@pytest.mark.parametrize(
    "optimizer",
    [SGD(1e100), SGD(1e308), Momentum(1e308, 0.9), Adagrad(1e308, 1e-8), Adam(1e308, 0.9, 0.999, 1e-8)],
    ids=str,
)
def test_a_huge_learning_rate_is_named(optimizer):
    with pytest.raises(
        Diverged, match=r"in epoch 1, at step \d+ of 23: .*layer \d of 3 .*; lower optimizer\.lr"
    ):
        run(Network(D, (8, 4), "relu"), optimizer, batch_size=1)


@pytest.mark.parametrize("lr", [1e30, 1e38, 3e38])
def test_a_divergence_in_float32_is_one_too(lr):
    """Weights may be NaN when it is found."""
    X, y = TRAIN.X.astype(np.float32), TRAIN.y.astype(np.float32)
    examples = Examples(X, y)
    for seed in range(4):
        with pytest.raises(Diverged, match=r"in epoch 1.*lower optimizer\.lr"):
            run(Network(D, (4, 4), "relu", 0.5), SGD(lr), examples, examples, 9, batch_size=16, seed=seed)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda e: Examples(e.X[:0], e.y[:0]), "must have rows"),
        (lambda e: Examples(np.asfortranarray(e.X), e.y), "in C order"),
        (lambda e: Examples(e.X.astype(np.float16), e.y.astype(np.float16)), "float64 or float32"),
        (lambda e: Examples(e.X.astype(np.float32), e.y.astype(np.float32)), "have one dtype"),
        (lambda e: Examples(np.where(e.X[0, 0] == e.X, np.inf, e.X), e.y), "infinite or NaN"),
    ],
)
def test_unfit_examples_are_refused(change, problem):
    with pytest.raises(ValueError, match=problem):
        run(train=change(TRAIN))


def test_a_large_scale_is_named_too():
    with pytest.raises(Diverged, match=r"lower optimizer\.lr \(1e\+100\) or model\.scale \(50\)"):
        run(Network(D, (8, 4), "relu", scale=50.0), SGD(1e100), batch_size=1)


def test_an_infinite_weight_is_a_divergence_though_the_loss_is_finite():
    """tanh hides it: the unit of the infinite bias gives 1."""

    class Leap(SGD):
        def step(self, w, g, state, t):
            return w + np.repeat([0, np.inf, 0], [D * 3, 3, 4]), ()

    with pytest.raises(Diverged, match="at the end of epoch 1: weights of layer 1 of 2 are infinite"):
        run(Network(D, (3,), "tanh"), Leap(0.1), batch_size=30, epochs=1)
