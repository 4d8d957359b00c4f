"""Ratios of paired measurements, with confidence intervals."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from sweepgrad.autograd.value import Array


@dataclass(frozen=True)
class Ratio:
    """A geometric mean over seeds, with its 95 % interval (Student's t on the logarithms)."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(values: Array, base: Array | float = 1.0) -> "Ratio":
        """Return the ratio of positive numbers (S,) to those of the same seeds with other settings (S,)."""
        logs = np.log(values / base)
        half = float(stdtrit(len(logs) - 1, 0.975)) * float(logs.std(ddof=1)) / np.sqrt(len(logs))
        return Ratio(*(float(np.exp(logs.mean() + sign * half)) for sign in (0, -1, 1)))

    def __str__(self) -> str:
        return f"{self.value:.2g} ({self.low:.2g}\u00a0to\u00a0{self.high:.2g})"


def listed(ratios: Mapping[str, Ratio]) -> str:
    """Return ratios by name in one line."""
    return "; ".join(f"{name}: {ratio}" for name, ratio in ratios.items())
