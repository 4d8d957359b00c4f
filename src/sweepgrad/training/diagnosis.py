"""The diagnosis of a run: what went wrong in training, from its layer statistics.

Each rule has one threshold. The comments give the values that `python -m benchmarks.diagnosis --statistics`
measured.
"""

from collections.abc import Sequence
from statistics import median

from sweepgrad.autograd.value import Array
from sweepgrad.nn.network import Network
from sweepgrad.tasks.task import Task
from sweepgrad.training.epoch import Epoch
from sweepgrad.training.layer_stats import EpochStats

DIAGNOSIS = "sweepgrad.diagnosis"  # the tag of a run in MLflow
HEALTHY = "nothing unusual"

# Gradient norm of the first layer divided by that of the last, median over epochs. The architectures in conf/
# have 0.6 to 4, as have three sigmoid layers with SGD 0.05; eight sigmoid layers have 2e-5 and learn nothing
# (Glorot & Bengio, AISTATS 2010).
VANISHING = 1e-3
# Norm of one step divided by that of a layer's weights. The rule of thumb is 0.001 (Karpathy, notes of
# Stanford's CS231n, "Ratio of weights:updates"); the optimizers in conf/ have up to 0.02, and Adagrad 0.17 in
# its first step.
LARGE_STEP = 0.5
# Upper bound of the distance that weights move in the whole run, relative to their norm, if all steps of an
# epoch are as long as its first, the only one measured. On 600 rows the optimizers in conf/ have 0.8.
SHORT_WAY = 0.05
# Share of unit-row pairs in a layer. The deep network in conf/ with tanh or sigmoid has up to 0.11.
SATURATED = 0.5


def verdict(
    task: Task,
    network: Network,
    history: Sequence[Epoch],
    best_epoch: int,
    *,
    lr: float,
    steps_an_epoch: int,
    y: Array,
    scores: Array,
) -> str:
    """Describe in a line what is unusual about a run.

    Without layer statistics it only reports a model that predicts the same class for almost every row.

    Arguments:
        best_epoch: of the model that is kept, from 1.
        y, scores: targets of the validation rows (n_val,), and its scaled scores of them.

    Returns:
        `HEALTHY` if statistics were recorded and show nothing; "" if there are none.
    """
    stats = [epoch.stats for epoch in history if epoch.stats is not None]
    causes = _causes(task, network, history[:best_epoch], stats, lr, steps_an_epoch) if stats else []
    problem, in_favour = task.one_answer(y, scores)
    if not problem:
        return "; ".join(causes) or (HEALTHY if stats else "")
    if network.dropout:
        problem += f", with dropout {network.dropout:g} in layers of {', '.join(map(str, network.hidden))}"
    if causes:
        return f"{problem}: {'; '.join(causes)}"
    return f"{problem}; {in_favour}" if in_favour else problem


def _causes(
    task: Task,
    network: Network,
    history: Sequence[Epoch],
    stats: Sequence[EpochStats],
    lr: float,
    steps_an_epoch: int,
) -> list[str]:
    """Return the problems that the layer statistics show, as text.

    Arguments:
        history: up to the best epoch.
        stats: of all epochs.
    """
    n_layers, best = len(network.widths) - 1, stats[len(history) - 1]
    causes = []
    largest, where = max((each.layers[i].update_ratio, i) for each in stats for i in range(n_layers))
    scale = f", with model.scale {network.scale:g}" if network.scale > 1 else ""
    if largest >= LARGE_STEP:
        causes.append(
            f"the learning rate ({lr:g}{scale}) is high: one step changed the weights of layer {where + 1} of"
            f" {n_layers} by {largest:.0%} of their norm"
        )
    dead = [i for i, layer in enumerate(best.layers) if layer.dead_share == 1]
    causes += [
        f"layer {i + 1} of {n_layers} is dead since epoch"
        f" {_since([each.layers[i].dead_share == 1 for each in stats[: len(history)]])}"
        for i in dead
    ]
    if dead:  # the layers below get no gradient, so their statistics add nothing
        return causes
    distance = max(
        steps_an_epoch * sum(each.layers[i].update_ratio for each in stats) for i in range(n_layers)
    )
    if distance < SHORT_WAY:
        causes.append(
            f"the learning rate ({lr:g}) is low: judging by the first step of each epoch, the whole training"
            f" changed no layer's weights by more than about {distance:.2g} times their norm"
        )
    first, last = (median(each.layers[i].gradient_norm for each in stats) for i in (0, -1))
    if first < VANISHING * last:
        causes.append(
            f"gradients vanish: the gradient norm of layer 1 is {first / last:.0e} times that of layer"
            f" {n_layers}"
        )
    causes += [
        f"layer {i + 1} of {n_layers} is saturated: {layer.saturated_share:.0%} of its units' outputs are"
        f" where {network.activation} is flat"
        for i, layer in enumerate(best.layers)
        if layer.saturated_share is not None and layer.saturated_share > SATURATED
    ]
    of_output = task.output_problem(best.output_saturated, history[-1].train, scale)
    return [*causes, of_output] if of_output else causes


def _since(holds: Sequence[bool]) -> int:
    """Return the first epoch, from 1, since when something has held in every epoch."""
    epoch = len(holds)
    while epoch > 1 and holds[epoch - 2]:
        epoch -= 1
    return epoch
