"""What went wrong in training, in plain words: a verdict on a run from its signs and its final figures.

Each rule has one threshold. Where it lies is said beside it, with what was measured by
`python -m benchmarks.diagnosis --signs`.
"""

from collections.abc import Sequence
from statistics import median

from sweepgrad.nn.network import Network
from sweepgrad.training.layer_stats import Signs
from sweepgrad.training.loop import Epoch

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
# Of unit-row pairs in a layer, or of rows at the output. The bundled deep network with tanh or sigmoid shows
# up to 0.11 in a layer.
SATURATED = 0.5
# An output may be certain with good reason. Then it is wrong on one such row in a thousand; ten are let pass,
# and of all other rows half.
WRONG_THOUGH_CERTAIN, WRONG_ELSEWHERE = 0.01, 0.5
# An answer that is given to fewer rows than this share of those it is right for is hardly given at all: with
# dropout 0.5, three layers of six take 0 to 8 of 1,184 songs for popular, where 453 are.
HARDLY_EVER = 0.1
# Below it, probabilities hardly put rows in order.
RANKS = 0.6


def verdict(
    network: Network,
    history: Sequence[Epoch],
    best_epoch: int,
    *,
    lr: float,
    steps_an_epoch: int,
    positive: float,
    is_positive: float,
    roc_auc: float,
) -> str:
    """What is unusual about a run that ended, in a line.

    Without signs only a model that gives next to every row the same answer is told of.

    Arguments:
        best_epoch: of the model that is kept, from 1.
        positive, is_positive: the share of validation rows that it takes for positive, and that are.
        roc_auc: its area under the curve on them.

    Returns:
        `HEALTHY` if signs were recorded and show nothing; "" if there are none.
    """
    signs = [epoch.signs for epoch in history if epoch.signs is not None]
    causes = _causes(network, history[:best_epoch], signs, lr, steps_an_epoch) if signs else []
    said = _same_answer(positive, is_positive)
    if not said:
        return "; ".join(causes) or (HEALTHY if signs else "")
    if network.dropout:
        said += f", with dropout {network.dropout:g} in layers of {', '.join(map(str, network.hidden))}"
    if causes:
        return f"{said}: {'; '.join(causes)}"
    if roc_auc >= RANKS:
        said += f"; its probabilities put rows in order (ROC AUC {roc_auc:.2f}), but not around one half"
    return said


def _same_answer(positive: float, is_positive: float) -> str:
    """That it gives (nearly) all rows one answer; "" if it does not."""
    for taken, are in ((positive, is_positive), (1 - positive, 1 - is_positive)):
        if taken < HARDLY_EVER * are:
            rows = "every validation row" if taken == 0 else f"{1 - taken:.1%} of the validation rows"
            return f"predicts the {'majority' if are <= 0.5 else 'minority'} class for {rows}"
    return ""


def _causes(
    network: Network, history: Sequence[Epoch], signs: Sequence[Signs], lr: float, steps_an_epoch: int
) -> list[str]:
    """
    Arguments:
        history: up to the best epoch.
        signs: of all epochs.
    """
    n_layers, best = len(network.widths) - 1, signs[len(history) - 1]
    causes = []
    largest, where = max((each.layers[i].update_ratio, i) for each in signs for i in range(n_layers))
    scale = f", with model.scale {network.scale:g}" if network.scale > 1 else ""
    if largest >= LARGE_STEP:
        causes.append(
            f"the learning rate ({lr:g}{scale}) is high: a step moved {largest:.0%} of the weights of layer"
            f" {where + 1} of {n_layers}"
        )
    dead = [i for i, layer in enumerate(best.layers) if layer.dead_share == 1]
    causes += [
        f"layer {i + 1} of {n_layers} is dead from epoch"
        f" {_since([each.layers[i].dead_share == 1 for each in signs[: len(history)]])}"
        for i in dead
    ]
    if dead:  # through a dead layer comes no gradient: what the layers below show says nothing more
        return causes
    way = max(steps_an_epoch * sum(each.layers[i].update_ratio for each in signs) for i in range(n_layers))
    if way < SHORT_WAY:
        causes.append(
            f"the learning rate ({lr:g}) is low: going by the first step of each epoch, all steps together"
            f" moved no layer's weights by more than about {way:.2g} of their length"
        )
    first, last = (median(each.layers[i].gradient_norm for each in signs) for i in (0, -1))
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
    sure, wrong = best.output_saturated, 1 - history[-1].train_accuracy
    if sure > SATURATED and wrong > sure * WRONG_THOUGH_CERTAIN + (1 - sure) * WRONG_ELSEWHERE:
        causes.append(
            f"the output saturates{scale}: it is certain on {sure:.0%} of the training rows, and wrong on"
            f" {wrong:.0%} of them all"
        )
    return causes


def _since(holds: Sequence[bool]) -> int:
    """The first epoch, from 1, from which on something has held up to the last."""
    epoch = len(holds)
    while epoch > 1 and holds[epoch - 2]:
        epoch -= 1
    return epoch
