"""Pairs of networks trained from different seeds: the same function, or another minimum?"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sweepgrad.autograd.value import Array
from sweepgrad.lab.finding import Claim
from sweepgrad.lab.retraining.symmetry import Activation, balanced, distance, matched
from sweepgrad.nn.network import Network, Weights

SAME_FUNCTION = 0.02
"""Networks whose probabilities differ by less than this count as the same function; others differ by about 0.1."""


@dataclass(frozen=True)
class Pairs:
    """All pairs of trained networks, (P,) each.

    Attributes:
        nets: the networks; ReLU networks are balanced.
        indices: of the networks of each pair.
        difference: the largest difference of their probabilities.
        before, after: the distance of their weights before and after matching the second to the first.
    """

    activation: Activation
    nets: list[Weights]
    indices: list[tuple[int, int]]
    difference: Array
    before: Array
    after: Array

    @staticmethod
    def of(network: Network, nets: list[Weights], X: Array) -> "Pairs":
        p = [network.probabilities(net, X) for net in nets]
        indices = list(combinations(range(len(nets)), 2))
        activation: Activation = "tanh" if network.activation == "tanh" else "relu"
        compared = nets if activation == "tanh" else [balanced(net) for net in nets]
        return Pairs(
            activation,
            compared,
            indices,
            np.array([np.abs(p[a] - p[b]).max() for a, b in indices]),
            np.array([distance(compared[b], compared[a]) for a, b in indices]),
            np.array([distance(matched(nets[b], nets[a], activation), compared[a]) for a, b in indices]),
        )

    @property
    def same(self) -> NDArray[np.bool_]:
        """True for each pair with the same function."""
        return self.difference < SAME_FUNCTION

    @property
    def example(self) -> tuple[int, int]:
        """The pair that is farthest apart as trained, of those with the same function if there are any."""
        allowed = self.same if self.same.any() else np.ones(len(self.indices), dtype=bool)
        return self.indices[int(np.argmax(np.where(allowed, self.before, 0)))]

    def claims(self) -> list[Claim]:
        """State what pairs with the same function, and others, have in common."""
        n, same, others = len(self.indices), self.after[self.same], self.after[~self.same]
        claims = [
            Claim(
                "different functions",
                f"Some pairs of seeds end with different functions: probabilities that differ by {SAME_FUNCTION} or more.",
                f"{others.size} of {n} pairs; the difference of all pairs is {self.difference.min():.3f} to"
                f" {self.difference.max():.2f}",
                others.size > 0,
            )
        ]
        if same.size and others.size:
            claims.append(
                Claim(
                    "matched weights",
                    "Each pair with the same function is nearer after matching the hidden units than every pair with"
                    " different functions.",
                    f"{same.size} pairs: distance {np.median(self.before[self.same]):.2f} as trained (median), at most"
                    f" {same.max():.3f} matched; the other {others.size} at least {others.min():.2f} matched",
                    float(same.max()) < float(others.min()),
                )
            )
        return claims
