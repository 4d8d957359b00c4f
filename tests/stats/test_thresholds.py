"""Compare thresholds with trying them all."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepgrad.stats.thresholds import best_threshold, of_costs

# Both classes occur; probabilities are twentieths, so that ties are common, and 0 and 1 occur.
rows = (
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=2, max_size=30)
    .filter(lambda rows: 0 < sum(y for y, _ in rows) < len(rows))
    .map(lambda rows: (np.array([float(y) for y, _ in rows]), np.array([p / 20 for _, p in rows])))
)
GRID = np.linspace(0, 1, 81)  # finer than the probabilities: every cut is in it
PREVALENCE = 0.3


def goal(rule: str, y: np.ndarray, p: np.ndarray, threshold: float) -> float:
    taken = p >= threshold
    if rule == "accuracy":
        return float(np.mean(taken == y))
    if rule == "f1":
        return float(2 * np.sum(taken & (y == 1)) / (np.sum(taken) + np.sum(y)))
    return -abs(float(np.mean(taken)) - PREVALENCE)


def found(rule, y, p, units=None, draws=3):
    return best_threshold(rule, y, p, np.arange(len(y)) if units is None else units, PREVALENCE, 0, draws)


@pytest.mark.parametrize("rule", ["accuracy", "f1", "prevalence"])
@settings(max_examples=60, deadline=None)
@given(rows)
def test_no_threshold_does_better(rule, drawn):
    y, p = drawn
    cut = found(rule, y, p)
    best = max(goal(rule, y, p, threshold) for threshold in GRID)
    assert goal(rule, y, p, cut.threshold) == pytest.approx(best, abs=1e-12)
    expected = np.mean(p >= cut.threshold) if rule == "prevalence" else best
    assert cut.value == pytest.approx(expected, abs=1e-12)
    assert cut.optimism >= 0


@pytest.mark.parametrize("rule", ["accuracy", "f1", "prevalence"])
@settings(max_examples=60, deadline=None)
@given(rows)
def test_it_is_the_middle_of_the_widest_plateau_that_gives_both_answers(rule, drawn):
    y, p = drawn
    cut = found(rule, y, p)
    values = np.unique(p)
    # Cuts as intervals (low, high] between neighbouring probabilities, by brute force.
    ends = np.concatenate([[0.0], values, [1.0]])
    cuts = [(a, b) for a, b in pairwise(ends.tolist()) if a < b]
    worth = {each: goal(rule, y, p, (each[0] + each[1]) / 2) for each in cuts}
    best = max(goal(rule, y, p, t) for t in GRID)
    good = [each for each in cuts if worth[each] >= best - 1e-12]
    both = [each for each in good if p.min() <= each[0] and each[1] <= p.max()]
    plateaus: list[list[float]] = []
    for low, high in both or good:
        if plateaus and plateaus[-1][1] == low:
            plateaus[-1][1] = high
        else:
            plateaus.append([low, high])
    widest = max((high - low for low, high in plateaus), default=0.0)
    if plateaus:
        middles = [(low + high) / 2 for low, high in plateaus if high - low >= widest - 1e-12]
        assert min(abs(cut.threshold - middle) for middle in middles) < 1e-12
    else:
        assert cut.threshold == 0


def test_of_plateaus_that_are_equally_wide_the_lowest_is_taken():
    """Use rows where thresholds in (0.25, 0.5] and in (0.75, 1] are both right on three of four."""
    y, p = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.25, 0.5, 0.75, 1.0])
    assert found("accuracy", y, p).threshold == 0.375


def test_a_single_answer_is_given_only_where_it_is_better():
    y = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
    assert found("accuracy", y, np.array([0.1, 0.2, 0.3, 0.9, 0.3])).threshold > 0.9
    # As good: three of four either way.
    threshold = found("accuracy", np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.1, 0.2, 0.6, 0.6])).threshold
    assert threshold == pytest.approx(0.4)


def test_neighbouring_numbers_are_distinguished():
    p = np.array([0.5, np.nextafter(0.5, 1)])
    assert found("accuracy", np.array([0.0, 1.0]), p).threshold == p[1]


@pytest.mark.parametrize("rule", ["accuracy", "f1"])
def test_the_optimism_is_the_difference_from_other_rows(rule):
    """Use labels that hardly depend on p, so that tuning gains on its own rows only."""
    draw = np.random.default_rng(1)
    gaps, found = [], []
    for _ in range(200):
        p = draw.random((2, 80))
        y = (draw.random((2, 80)) < 0.4 + 0.2 * p).astype(float)
        cut = best_threshold(rule, y[0], p[0], np.arange(80), 0.5, 0, 30)
        gaps.append(cut.value - goal(rule, y[1], p[1], cut.threshold))
        found.append(cut.optimism)
    error = np.std(gaps, ddof=1) / np.sqrt(len(gaps))
    assert np.mean(gaps) > 3 * error, "the example shows nothing"
    assert 0.6 * np.mean(gaps) - 3 * error < np.mean(found) < np.mean(gaps) + 3 * error


def test_rows_of_a_unit_are_optimistic_as_few_rows_are():
    draw = np.random.default_rng(2)
    p = draw.random(60)
    y = (draw.random(60) < 0.4 + 0.2 * p).astype(float)
    alone = found("accuracy", y, p, draws=200)
    units = np.repeat(np.arange(60), 5)
    together = found("accuracy", np.repeat(y, 5), np.repeat(p, 5), units, draws=200)
    apart = found("accuracy", np.repeat(y, 5), np.repeat(p, 5), draws=200)
    assert together.threshold == alone.threshold
    assert together.optimism == pytest.approx(alone.optimism, rel=1e-9)
    assert apart.optimism < alone.optimism / 1.5


@pytest.mark.parametrize(("false_positive", "false_negative"), [(1, 1), (1, 5), (3, 0.5)])
def test_costs_decide_where_the_expected_cost_turns(false_positive, false_negative):
    threshold = of_costs(false_positive, false_negative)
    for p in (threshold - 1e-9, threshold + 1e-9):
        cost_of_yes, cost_of_no = (1 - p) * false_positive, p * false_negative
        assert (p >= threshold) == (cost_of_yes <= cost_of_no)
