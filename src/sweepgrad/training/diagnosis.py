"""What went wrong in training, in plain words: a verdict on a run from its layer statistics.

Each rule has one threshold. Where it lies is said beside it, with what was measured by
`python -m benchmarks.diagnosis --signs`.
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

# The gradient of the first layer over that of the last, at the median over epochs. Bundled architectures show
# 0.6 to 4, also three layers of sigmoids under SGD 0.05; eight of them 2e-5, and they learn nothing (Glorot &
# Bengio, AISTATS 2010).
VANISHING = 1e-3
# The share of a layer's weights that one step moves. A thousandth is the rule of thumb (Karpathy, notes of
# Stanford's CS231n, "Ratio of weights:updates"); bundled optimizers show up to 0.02, and 0.17 in the
# first step of Adagrad.
LARGE_STEP = 0.5
# All steps of the run together, were they all in one direction, and each as long as the first of its epoch,
# the only one that is looked at. On 600 rows bundled ones show 0.8.
SHORT_WAY = 0.05
# Of unit-row pairs in a layer. The bundled deep network with tanh or sigmoid shows up to 0.11.
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
    """What is unusual about a run that ended, in a line.

    Without layer statistics only a model that gives next to every row the same answer is told of.

    Arguments:
        best_epoch: of the model that is kept, from 1.
        y, scores: targets of the validation rows (n_val,), and its scaled scores of them.

    Returns:
        `HEALTHY` if statistics were recorded and show nothing; "" if there are none.
    """
    stats = [epoch.stats for epoch in history if epoch.stats is not None]
    causes = _causes(task, network, history[:best_epoch], stats, lr, steps_an_epoch) if stats else []
    said, in_favour = task.one_answer(y, scores)
    if not said:
        return "; ".join(causes) or (HEALTHY if stats else "")
    if network.dropout:
        said += f", with dropout {network.dropout:g} in layers of {', '.join(map(str, network.hidden))}"
    if causes:
        return f"{said}: {'; '.join(causes)}"
    return f"{said}; {in_favour}" if in_favour else said


def _causes(
    task: Task,
    network: Network,
    history: Sequence[Epoch],
    stats: Sequence[EpochStats],
    lr: float,
    steps_an_epoch: int,
) -> list[str]:
    """Return what the layers show, in words.

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
            f"the learning rate ({lr:g}{scale}) is high: a step moved {largest:.0%} of the weights of layer"
            f" {where + 1} of {n_layers}"
        )
    dead = [i for i, layer in enumerate(best.layers) if layer.dead_share == 1]
    causes += [
        f"layer {i + 1} of {n_layers} is dead from epoch"
        f" {_since([each.layers[i].dead_share == 1 for each in stats[: len(history)]])}"
        for i in dead
    ]
    if dead:  # through a dead layer comes no gradient: what the layers below show says nothing more
        return causes
    way = max(steps_an_epoch * sum(each.layers[i].update_ratio for each in stats) for i in range(n_layers))
    if way < SHORT_WAY:
        causes.append(
            f"the learning rate ({lr:g}) is low: going by the first step of each epoch, all steps together"
            f" moved no layer's weights by more than about {way:.2g} of their length"
        )
    first, last = (median(each.layers[i].gradient_norm for each in stats) for i in (0, -1))
    if first < VANISHING * last:
        causes.append(
            f"gradients vanish: that of layer 1 is {first / last:.0e} of that of layer {n_layers} in length"
        )
    causes += [
        f"layer {i + 1} of {n_layers} is saturated: {layer.saturated_share:.0%} of what its units give lies"
        f" where {network.activation} is flat"
        for i, layer in enumerate(best.layers)
        if layer.saturated_share is not None and layer.saturated_share > SATURATED
    ]
    of_output = task.output_problem(best.output_saturated, history[-1].train, scale)
    return [*causes, of_output] if of_output else causes


def _since(holds: Sequence[bool]) -> int:
    """The first epoch, from 1, from which on something has held up to the last."""
    epoch = len(holds)
    while epoch > 1 and holds[epoch - 2]:
        epoch -= 1
    return epoch
