"""Confidence limits of means, and how far an estimated mean may be from its expected value."""

import numpy as np
from scipy.special import stdtrit

from sweepgrad.autograd.value import Array
from sweepgrad.lab.convergence.trajectories import Course

MANY = 4.0
"""Standard errors by which a mean may deviate; the probability of more is 1 in 16,000."""


def upper(mean: Array, deviation: Array, trajectories: int) -> Array:
    """Return upper confidence limits of N means that hold for all at once with 97.5 % (Bonferroni)."""
    quantile = float(stdtrit(trajectories - 1, 1 - 0.025 / len(mean)))
    limits: Array = mean + quantile * deviation / np.sqrt(trajectories)
    return limits


def late_error(course: Course) -> float:
    """Return the standard error of the mean excess loss over the second half of the steps."""
    return float(course.late.std(ddof=1) / np.sqrt(course.trajectories))
