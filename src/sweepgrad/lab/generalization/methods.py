"""Methods for a better trade-off between bias and variance, in three groups: constrain, average, add data."""

from dataclasses import dataclass, replace

from sweepgrad.autograd.value import Array
from sweepgrad.lab.generalization.decomposition import Estimate, Parts, difference
from sweepgrad.lab.generalization.replicates import drawn, jittered
from sweepgrad.lab.generalization.world import World

CONSTRAIN, AVERAGE, ADD_DATA = "constrain", "average", "add data"


@dataclass(frozen=True)
class Method:
    """A method, and what it changes compared with the network without it on the same training sets.

    Attributes:
        predictions: with the method, (R, X).
        bias2, variance, error: paired differences.
    """

    group: str
    name: str
    predictions: Array
    bias2: Estimate
    variance: Estimate
    error: Estimate

    @staticmethod
    def of(group: str, name: str, predictions: Array, base: Array, truth: Array) -> "Method":
        def change(part: str) -> Estimate:
            return difference(predictions, base, truth, lambda parts: float(getattr(parts, part)))

        return Method(group, name, predictions, change("bias2"), change("variance"), change("error"))

    def parts(self, truth: Array) -> Parts:
        return Parts.of(self.predictions, truth)


def averaged(members: Array) -> Array:
    """Return the mean prediction of the networks of each ensemble, (R, X), from theirs, (R, M, X)."""
    mean: Array = members.mean(axis=1)
    return mean


def methods(world: World, seeds: Array) -> list[Method]:
    """Apply each method to the same wide network and the same training sets.

    Arguments:
        seeds: predictions of networks with other seeds on the same training sets, (R, M, X); the first ones are
            those without any method.
    """
    settings, recipe = world.settings, world.settings.recipe
    n = settings.replicates
    more = [drawn(settings.more * settings.rows, world.key("more", r)) for r in range(n)]
    augmented = [
        jittered(rows, settings.copies, settings.jitter, world.key("jitter", r))
        for r, rows in enumerate(world.sets)
    ]
    decayed = replace(recipe, weight_decay=settings.weight_decay)
    found = (
        (CONSTRAIN, "weight decay", world.predictions(decayed)),
        (CONSTRAIN, "dropout", world.predictions(replace(recipe, dropout=settings.dropout))),
        (CONSTRAIN, "early stopping", world.predictions(replace(recipe, stopped=True))),
        (AVERAGE, "average over seeds", averaged(seeds)),
        (AVERAGE, "bagging", averaged(world.bagged())),
        (ADD_DATA, "more rows", world.predictions(recipe, more)),
        (ADD_DATA, "augmented rows", world.predictions(recipe, augmented)),
    )
    return [Method.of(group, name, p, seeds[:, 0], world.truth) for group, name, p in found]
