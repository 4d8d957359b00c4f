"""The recorded steps of training and evaluation against plain NumPy, written out by hand."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.class_weight import compute_class_weight
from tests.engine.support import DTYPES, ENGINES, filled

from sweepgrad import rng
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD, Adagrad, Adam, Momentum
from sweepgrad.nn.schedules import SCHEDULES, Constant, Cosine, InverseRoot, Staircase
from sweepgrad.rng import key, normal, permutation
from sweepgrad.stats import metrics
from sweepgrad.tasks.binary import ClassWeights
from sweepgrad.training.steps import Update, evaluation, training

N, D, ROWS, STEPS, LR = 40, 4, 6, 5, 0.05
X = normal(key(0, "X"), (N, D))
Y = (X[:, 0] + 0.5 * normal(key(0, "noise"), (N,)) > 0).astype(float)
MASKS = key(0, "masks")

each_engine = pytest.mark.parametrize("replay", ENGINES.values(), ids=ENGINES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


# By hand


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


ACTIVATIONS: dict[str, Any] = {
    "relu": (lambda a: np.where(a > 0, a, 0), lambda a: (a > 0).astype(float)),
    "tanh": (np.tanh, lambda a: 1 / np.cosh(a) ** 2),
    "sigmoid": (sigmoid, lambda a: sigmoid(a) * sigmoid(-a)),
}


def split(flat, network):
    """Return matrices (inputs, outputs) and biases, layer by layer."""
    layers, start = [], 0
    for inputs, outputs in pairwise(network.widths):
        end = start + inputs * outputs
        layers.append((flat[start:end].reshape(inputs, outputs), flat[end : end + outputs]))
        start = end + outputs
    return layers


def backpropagate(flat, network, x, y, masks):
    """Return the gradient of the mean loss of rows x (n, D), by the textbook's equations."""
    function, slope = ACTIVATIONS.get(network.activation, (None, None))
    layers, inputs, sums, h = split(flat, network), [], [], x
    for number, (W, b) in enumerate(layers):
        inputs.append(h)
        sums.append(h @ W + b)
        if number < len(layers) - 1:
            h = function(sums[-1]) * masks[number]
    delta = network.scale * (sigmoid(network.scale * sums[-1][:, 0]) - y)[:, None] / len(x)
    found: list[Any] = []
    for number in reversed(range(len(layers))):
        found = [inputs[number].T @ delta, delta.sum(axis=0), *found]
        if number:
            delta = (delta @ layers[number][0].T) * masks[number - 1] * slope(sums[number - 1])
    return np.concatenate([part.reshape(-1) for part in found])


def dropout_masks(network, rows, step):
    """Return the masks of each hidden layer, (rows, width); in the tape a column is an example."""
    masks = []
    for layer, width in enumerate(network.hidden):
        words = rng.words(rng.fold(MASKS, step, layer), width * rows).reshape(width, rows).T
        kept = words / 2**32 >= network.dropout
        masks.append(kept / (1 - network.dropout))
    return masks


def update_by_hand(update, w, g, memory, lr, t, decays):
    if update.clip is not None:
        g = g * min(1, update.clip / np.linalg.norm(g))
    o, old = update.optimizer, w
    match o:
        case SGD():
            w = w - lr * g
        case Momentum():
            memory["v"] = o.momentum * memory.get("v", 0) + g
            w = w - lr * memory["v"]
        case Adagrad():
            memory["s"] = memory.get("s", 0) + g**2
            w = w - lr * g / (np.sqrt(memory["s"]) + o.epsilon)
        case Adam():
            memory["m"] = o.beta1 * memory.get("m", 0) + (1 - o.beta1) * g
            memory["v"] = o.beta2 * memory.get("v", 0) + (1 - o.beta2) * g**2
            m, v = memory["m"] / (1 - o.beta1**t), memory["v"] / (1 - o.beta2**t)
            w = w - lr * m / (np.sqrt(v) + o.epsilon)
    return w - lr * update.weight_decay * np.where(decays, old, 0)


def is_matrix(network):
    return np.concatenate(
        [
            np.repeat([True, False], [inputs * outputs, outputs])
            for inputs, outputs in pairwise(network.widths)
        ]
    )


def train_by_hand(network, update, w, order, rates):
    memory: dict[str, Any] = {}
    for step, lr in enumerate(rates):
        rows = order[step * ROWS : (step + 1) * ROWS]
        masks = dropout_masks(network, len(rows), 1 + step)
        g = backpropagate(w, network, X[rows], Y[rows], masks)
        w = update_by_hand(update, w, g, memory, lr, step + 1, is_matrix(network))
    return w


# By tape


def start(network):
    """Return weights with biases that are not zero, so that their decay would be noticed."""
    return np.concatenate([w.reshape(-1) for w in network.initial(3)]) + 0.1


def train_by_tape(replay, network, update, w, order, rates, dtype=np.float64):
    tape = training(network, update, ROWS, dtype)
    state = {label: 0 for label in tape.inputs if label.startswith("state")}
    numbers = {"scale": network.scale, "dropout": network.dropout, **update.inputs}
    numbers = {label: number for label, number in numbers.items() if label in tape.inputs}
    buffer = filled(tape, {"weights": w, **state, **numbers})
    assert set(tape.inputs) == {"weights", "lr", "step", *state, *numbers}
    scalars = np.stack([rates, np.arange(1, len(rates) + 1)], axis=1).astype(dtype)
    done, _ = replay(tape, buffer, X.astype(dtype), Y.astype(dtype).reshape(-1, 1), order, scalars, MASKS, 1)
    assert done == len(rates)
    return tape.inputs["weights"].of(buffer).copy()


ORDER = permutation(key(0, "order"), N)[: ROWS * STEPS]
RATES = LR * np.array([1.0, 0.8, 0.6, 0.5, 0.1])
NETWORKS = [
    Network(D, (), None),
    Network(D, (5,), "relu"),
    Network(D, (5,), "tanh", scale=2.5),
    Network(D, (8, 3), "sigmoid"),
    Network(D, (8, 3), "relu", 0.5),
    Network(D, (7, 5, 3), "tanh", 0.3, scale=0.5),
    Network(D, (3,), "sigmoid", 0.25),
]
OPTIMIZERS = [SGD(LR), Momentum(LR, 0.9), Adagrad(LR, 1e-6), Adam(LR, 0.9, 0.99, 1e-6)]


@each_engine
@pytest.mark.parametrize("network", NETWORKS, ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize(("weight_decay", "clip"), [(0.0, None), (0.3, None), (0.0, 0.05), (0.3, 0.05)])
def test_steps_are_those_of_the_textbook(network, optimizer, weight_decay, clip, replay):
    update, w = Update(optimizer, weight_decay, clip), start(network)
    expected = train_by_hand(network, update, w, ORDER, RATES)
    found = train_by_tape(replay, network, update, w, ORDER, RATES)
    assert_allclose(found, expected, rtol=1e-10, atol=1e-11)
    assert np.abs(expected - w).max() > 1e-4


@each_engine
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_steps_in_single_precision_are_near(network, replay):
    for update in (Update(SGD(LR), 0.1, 1.0), Update(Adam(LR, 0.9, 0.99, 1e-6))):
        expected = train_by_hand(network, update, start(network), ORDER, RATES)
        found = train_by_tape(replay, network, update, start(network), ORDER, RATES, np.float32)
        assert found.dtype == np.float32
        assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def test_hyperparameters_of_a_shared_tape_are_those_of_each_run():
    """Use a tape that was recorded for one run for the next, with other numbers."""
    network = Network(D, (8, 3), "relu", 0.5)
    for p, scale, momentum, decay, clip in [(0.5, 1.0, 0.9, 0.1, 1.0), (0.1, 3.0, 0.5, 0.7, 0.02)]:
        one = replace(network, dropout=p, scale=scale)
        update = Update(Momentum(LR, momentum), decay, clip)
        expected = train_by_hand(one, update, start(one), ORDER, RATES)
        for replay in ENGINES.values():
            assert_allclose(
                train_by_tape(replay, one, update, start(one), ORDER, RATES), expected, rtol=1e-10
            )


@each_engine
@pytest.mark.parametrize("clip", [1e-6, 0.01, 0.1, 1e6])
def test_the_clipped_gradient_is_no_longer_than_said(clip, replay):
    """Use SGD with learning rate 1, so that the step is the gradient."""
    network = Network(D, (5,), "tanh")
    w, one = start(network), np.ones(1)
    free = w - train_by_tape(replay, network, Update(SGD(1.0)), w, ORDER[:ROWS], one)
    short = w - train_by_tape(replay, network, Update(SGD(1.0), clip=clip), w, ORDER[:ROWS], one)
    length = np.linalg.norm(free)
    assert np.linalg.norm(short) <= clip * (1 + 1e-9)
    assert_allclose(short, free * min(1, clip / length), rtol=1e-7, atol=1e-15)


@each_engine
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_weight_decay_leaves_biases(optimizer, replay):
    network = Network(D, (5, 3), "tanh")
    w = start(network)
    plain = train_by_tape(replay, network, Update(optimizer), w, ORDER[:ROWS], RATES[:1])
    decayed = train_by_tape(replay, network, Update(optimizer, weight_decay=0.5), w, ORDER[:ROWS], RATES[:1])
    matrix = is_matrix(network)
    assert_array_equal(decayed[~matrix], plain[~matrix])
    assert_allclose((plain - decayed)[matrix], RATES[0] * 0.5 * w[matrix], rtol=1e-9, atol=1e-14)


# Classes that count differently


def weighted_loss(flat, network, x, y, positive, negative):
    """Compute the mean of weight times -log P(y | x) with HIPS autograd, row by row."""
    h, start = x, 0
    for number, (inputs, outputs) in enumerate(pairwise(network.widths)):
        W = flat[start : start + inputs * outputs].reshape((inputs, outputs))
        b = flat[start + inputs * outputs : start + (inputs + 1) * outputs]
        h, start = anp.dot(h, W) + b, start + (inputs + 1) * outputs
        h = anp.tanh(h) if number < len(network.hidden) else h
    z = network.scale * h[:, 0]
    weights = anp.where(y == 1, positive, negative)
    return anp.mean(weights * anp.logaddexp(0, (1 - 2 * y) * z))


@each_engine
@each_dtype
@pytest.mark.parametrize("weight", [0.2, 7.5, "balanced"])
def test_a_weighted_step_follows_the_gradient_of_hips_autograd(weight, dtype, replay):
    """Use SGD with learning rate 1, so that the step is the gradient."""
    classes = ClassWeights.of(Y, weight)
    for network in (Network(D, (), None), Network(D, (5, 3), "tanh", scale=2.5)):
        w, rows = start(network), ORDER[:ROWS]
        tape = training(network, Update(SGD(1.0)), ROWS, dtype, weighted=True)
        buffer = filled(tape, {"weights": w, "scale": network.scale, **classes.inputs})
        scalars, y = np.ones((1, 2), dtype), Y.astype(dtype).reshape(-1, 1)
        replay(tape, buffer, X.astype(dtype), y, rows, scalars, MASKS, 1)
        found = w - tape.inputs["weights"].of(buffer)
        expected = autograd.grad(weighted_loss)(
            w, network, X[rows], Y[rows], classes.positive, classes.negative
        )
        precision = 1e-10 if dtype is np.float64 else 1e-4
        assert_allclose(found, expected, rtol=precision, atol=precision / 10)
        assert (
            np.abs(expected - autograd.grad(weighted_loss)(w, network, X[rows], Y[rows], 1, 1)).max() > 1e-2
        )


@given(
    st.lists(st.booleans(), min_size=2).filter(lambda y: len(set(y)) == 2),
    st.floats(1e-3, 1e3) | st.just("balanced"),
)
def test_class_weights_are_1_in_the_mean_and_as_far_apart_as_said(labels, weight):
    y = np.array(labels, float)
    classes = ClassWeights.of(y, weight)
    assert_allclose(np.where(y == 1, classes.positive, classes.negative).mean(), 1, rtol=1e-12)
    relative = (y == 0).sum() / (y == 1).sum() if weight == "balanced" else weight
    assert_allclose(classes.positive / classes.negative, relative, rtol=1e-12)


def test_balanced_is_what_scikit_learn_calls_so():
    classes = ClassWeights.of(Y, "balanced")
    expected = compute_class_weight("balanced", classes=np.array([0.0, 1.0]), y=Y)
    assert_allclose([classes.negative, classes.positive], expected, rtol=1e-12)


def test_there_is_nothing_to_balance_in_one_class():
    for y in (np.zeros(3), np.ones(3)):
        with pytest.raises(ValueError, match="all training rows are of one class"):
            ClassWeights.of(y, "balanced")


def test_runs_that_differ_in_their_class_weights_share_a_tape_and_others_have_their_own():
    network, update = Network(D, (5,), "relu"), Update(SGD(0.1))
    plain = training(network, update, ROWS, np.float64)
    weighted = training(network, update, ROWS, np.float64, weighted=True)
    assert weighted is training(network, update, ROWS, np.float64, weighted=True)
    assert weighted.inputs.keys() - plain.inputs.keys() == {"positive_weight", "negative_weight"}


# Evaluation


def evaluated(replay, network, w, x, y, dtype=np.float64):
    tape = evaluation(network, len(y), dtype)
    buffer = filled(tape, {"weights": w, "scale": network.scale})
    order = permutation(key(0, "evaluated"), len(y))
    none = np.zeros((1, 0), dtype)
    _, collected = replay(tape, buffer, x.astype(dtype), y.astype(dtype).reshape(-1, 1), order, none, 0, 1)
    (loss, wrong) = collected[0]
    return loss / len(y), 1 - wrong / len(y)


def probabilities(network, w, x):
    function = ACTIVATIONS.get(network.activation, (None, None))[0]
    *hidden, (W, b) = split(w, network)
    for V, c in hidden:
        x = function(x @ V + c)
    return sigmoid(network.scale * (x @ W + b)[:, 0])


@each_engine
@each_dtype
@pytest.mark.parametrize("network", NETWORKS, ids=str)
@pytest.mark.parametrize("rows", [1, 7, 32])
def test_evaluation_gives_the_plain_metrics_without_dropout(network, rows, dtype, replay):
    w = start(network).astype(dtype).astype(float)
    x, y = X[:rows].astype(dtype).astype(float), Y[:rows]
    p = probabilities(network, w, x)
    loss, accuracy = evaluated(replay, network, w, x, y, dtype)
    assert_allclose(loss, metrics.nll(y, p), rtol=1e-12 if dtype is np.float64 else 1e-5)
    assert_allclose(accuracy, metrics.accuracy(y, p), rtol=1e-12)


@each_engine
@each_dtype
def test_a_score_of_exactly_zero_is_taken_for_positive(dtype, replay):
    """`metrics.accuracy` does the same with a probability of one half; its loss is log 2 either way."""
    network = Network(1, (), None)
    x = np.array([[-1.0], [0.0], [0.0], [1.0], [-0.0]])
    for w in (np.array([1.0, 0.0]), np.array([-1.0, 0.0]), np.array([1.0, -0.0])):
        for y in (np.zeros(5), np.ones(5), np.array([0.0, 1.0, 0.0, 1.0, 1.0])):
            p = probabilities(network, w, x)
            loss, accuracy = evaluated(replay, network, w, x, y, dtype)
            assert_allclose(accuracy, metrics.accuracy(y, p), rtol=1e-12)
            assert_allclose(loss, metrics.nll(y, p), rtol=1e-6)
    zero = np.zeros(2)
    assert_allclose(evaluated(replay, network, zero, x, np.ones(5), dtype), [np.log(2), 1], rtol=1e-6)
    assert_allclose(evaluated(replay, network, zero, x, np.zeros(5), dtype), [np.log(2), 0], rtol=1e-6)


# Schedules


T = np.arange(60)


def test_schedules_are_their_formulas():
    assert_array_equal(Constant().shares(T, 60, 20), np.ones(60))
    assert_allclose(InverseRoot(1).shares(T, 60, 20), [1 / (1 + t) ** 0.5 for t in range(60)], rtol=1e-14)
    assert_allclose(InverseRoot(50).shares(T, 60, 20)[50], 0.5**0.5, rtol=1e-14)
    stairs = [1.0] * 20 + [0.1] * 20 + [0.1 * 0.1] * 20
    assert_allclose(Staircase(1, 0.1).shares(T, 60, 20), stairs, rtol=1e-14)
    assert_allclose(Staircase(2, 0.5).shares(T, 60, 20), [1.0] * 40 + [0.5] * 20, rtol=1e-14)
    wave = [0.1 + 0.9 * np.cos(np.pi * t / 120) ** 2 for t in range(60)]
    assert_allclose(Cosine(0.1).shares(T, 60, 20), wave, rtol=1e-12)


@pytest.mark.parametrize(
    "schedule", [Constant(), InverseRoot(7), Staircase(2, 0.3), Cosine(0.0), Cosine(0.2)], ids=str
)
def test_a_schedule_starts_with_the_whole_rate_and_does_not_depend_on_how_it_is_asked(schedule):
    whole = schedule.shares(T, 60, 20)
    assert whole[0] == 1
    assert (np.diff(whole) <= 0).all()
    assert (whole > 0).all()
    by_epochs = np.concatenate([schedule.shares(T[start : start + 20], 60, 20) for start in (0, 20, 40)])
    assert_array_equal(by_epochs, whole)
    assert type(schedule) in SCHEDULES.values()


def test_words_of_rng_drop_the_share_that_is_asked_for():
    """So masks computed by hand and by tape are not wrong in the same way."""
    kept = (
        np.concatenate([m.reshape(-1) for t in range(200) for m in dropout_masks(NETWORKS[4], ROWS, t)]) > 0
    )
    assert abs(kept.mean() - 0.5) < 5 * 0.5 / np.sqrt(kept.size)
