"""Sources of differences between two runs, each alone: how far apart are the weights?"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sweepgrad import engine
from sweepgrad.autograd.value import Array
from sweepgrad.lab.retraining.symmetry import distance
from sweepgrad.lab.retraining.teacher import Settings, Teacher, trained
from sweepgrad.lab.workers import side_by_side
from sweepgrad.nn.network import Weights
from sweepgrad.nn.optimizers import Adam
from sweepgrad.nn.schedules import Cosine

SHORT = 20
"""Number of epochs of these runs: differences by rounding grow with every step."""
REPEATED = 5
"""Number of pairs of seeds that are compared."""
HALF_THE_DIGITS = float(np.sqrt(np.finfo(np.float64).eps))
DROPOUT = 0.5


@dataclass(frozen=True)
class Source:
    """Name what differs between two runs, with the relative distances of their weights for each pair of seeds.

    Attributes:
        kind: equal if the bits should be the same, random if the difference is one of random numbers, and
            rounding if it is only one of arithmetic.
    """

    name: str
    kind: str
    distances: Array


@dataclass(frozen=True)
class _Run:
    """The arguments of a run that may differ: everything else is the same."""

    seed: int
    start: int
    whole: bool = False
    dropout: float = 0.0
    program: engine.Name = "native"

    def weights(self, teacher: Teacher, settings: Settings) -> Weights:
        """Train for a few epochs from the initial weights of the seed `start`."""
        return trained(
            replace(teacher.network, dropout=self.dropout),
            teacher.rows,
            Adam(settings.lr, 0.9, 0.999, 1e-8),
            Cosine(0.0),
            SHORT,
            settings.rows if self.whole else settings.batch_size,
            self.seed,
            teacher.network.initial(self.start),
            self.program,
        )


def sources(teacher: Teacher, settings: Settings) -> list[Source]:
    """Return the distances for each source of differences, alone.

    A seed determines the initial weights, the order of the rows and the dropout masks. Where all rows are one
    batch their order changes no more than that of the sums, so two runs with dropout differ by their masks.
    """
    if settings.batch_size < settings.rows:
        order = {"order of the batches": ("random", lambda s: (_Run(s, s), _Run(s + 1, s)))}
    else:
        order = {}
    pairs: dict[str, tuple[str, Callable[[int], tuple[_Run, _Run]]]] = {
        "nothing": ("equal", lambda s: (_Run(s, s), _Run(s, s))),
        "initial weights": ("random", lambda s: (_Run(s, s), _Run(s, s + 1))),
        **order,
        "dropout masks": (
            "random",
            lambda s: (_Run(s, s, whole=True, dropout=DROPOUT), _Run(s + 1, s, whole=True, dropout=DROPOUT)),
        ),
        "order of the sums": ("rounding", lambda s: (_Run(s, s, whole=True), _Run(s + 1, s, whole=True))),
        "another program": ("rounding", lambda s: (_Run(s, s), _Run(s, s, program="numpy"))),
    }
    found = []
    for name, (kind, pair) in pairs.items():
        runs = [run for s in range(1, REPEATED + 1) for run in pair(s)]
        nets = side_by_side(lambda run: run.weights(teacher, settings), runs)
        apart = [distance(b, a) for a, b in zip(nets[::2], nets[1::2], strict=True)]
        found.append(Source(name, kind, np.array(apart)))
    return found
