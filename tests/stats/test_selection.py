import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import logit

from sweepgrad.stats import metrics
from sweepgrad.stats.metrics import METRICS
from sweepgrad.stats.selection import Candidate, choose, optimism_of_best

N = 60
EACH = np.arange(N)


def candidates(*means, seeds=1, n=N, seed=0):
    """Return candidates with normal contributions and increasing numbers of parameters."""
    draw = np.random.default_rng(seed)
    return [Candidate(10 + c, mean + draw.normal(size=(seeds, n))) for c, mean in enumerate(means)]


def test_contributions_have_the_metric_as_their_mean():
    draw = np.random.default_rng(0)
    y, p = draw.integers(0, 2, 300).astype(float), draw.integers(1, 20, 300) / 20
    z = logit(p)
    assert_allclose(METRICS["accuracy"].contributions(y, z).mean(), metrics.accuracy(y, p), rtol=1e-12)
    assert_allclose(METRICS["nll"].contributions(y, z).mean(), -metrics.nll(y, p), rtol=1e-12)
    assert_allclose(METRICS["roc_auc"].contributions(y, z).mean(), metrics.roc_auc(y, p), rtol=1e-12)
    assert np.isnan(METRICS["roc_auc"].contributions(np.ones(5), z[:5])).all()


def test_what_rounds_to_certainty_is_counted_and_ranked_all_the_same():
    """Check that large log-odds keep their loss and rank although their probabilities round to 0 or 1."""
    y, z = np.array([0.0, 1.0, 1.0, 0.0]), np.array([1000.0, -1000.0, 1002.0, 1001.0])
    assert_allclose(METRICS["nll"].contributions(y, z), [-1000, -1000, 0, -1001], atol=1e-12)
    above = [(1002 > 1000) + (1002 > 1001), 0]
    assert_allclose(METRICS["roc_auc"].contributions(y, z).mean(), sum(above) / 4)


@pytest.mark.parametrize("n_positive", [3, 20, 37])
def test_auc_contributions_vary_as_delong_says(n_positive):
    draw = np.random.default_rng(n_positive)
    y = np.repeat([1.0, 0.0], [n_positive, 40 - n_positive])
    p = np.round(np.clip(draw.normal(0.4 + 0.2 * y, 0.2), 0, 1), 1)
    positive, negative = p[y == 1], p[y == 0]
    above = [[(a > b) + 0.5 * (a == b) for b in negative] for a in positive]
    area = sum(map(sum, above)) / (len(positive) * len(negative))
    of_positive = [sum(row) / len(negative) for row in above]
    of_negative = [sum(row[j] for row in above) / len(positive) for j in range(len(negative))]
    variance = sum((v - area) ** 2 for v in of_positive) / len(positive) ** 2
    variance += sum((v - area) ** 2 for v in of_negative) / len(negative) ** 2
    found = METRICS["roc_auc"].contributions(y, logit(np.clip(p, 1e-9, 1 - 1e-9)))
    assert_allclose(np.sum((found - area) ** 2) / 40**2, variance, rtol=1e-10)


def test_with_one_seed_and_independent_rows_errors_are_those_of_a_t_test():
    first, second = candidates(0.0, 0.3)
    choice = choose([first, second], EACH, "best", key=1)
    a, b = first.contributions[0], second.contributions[0]
    best, other = (b, a) if b.mean() > a.mean() else (a, b)
    standing = choice.standings[1 - choice.best]
    assert_allclose(standing.behind / standing.behind_error, stats.ttest_rel(best, other).statistic)
    assert_allclose(standing.standard_error, other.std(ddof=1) / np.sqrt(N))
    expected = stats.ttest_1samp(other, 0).confidence_interval(0.95)
    assert_allclose(np.array(standing.interval), np.array([expected.low, expected.high]))


@pytest.mark.parametrize(("lead", "tied"), [(0.99, True), (1.01, False)])
def test_two_candidates_are_tied_as_far_as_a_one_sided_t_test_goes(lead, tied):
    """Compare with a t-test, whose quantiles 20,000 draws reproduce within 2 %."""
    n = 12
    noise = np.random.default_rng(4).normal(size=n)
    noise = (noise - noise.mean()) / noise.std(ddof=1) / np.sqrt(1 / n)
    limit = stats.t.ppf(0.95, n - 1) * (1 + 3 * (lead - 1))
    pair = [Candidate(1, np.zeros((1, n))), Candidate(2, (limit + noise)[None])]
    choice = choose(pair, np.arange(n), "best", key=2, draws=20_000)
    assert_allclose(choice.standings[0].behind_error, 1)
    assert choice.best == 1
    assert (choice.tied == (1, 0)) is tied
    assert choice.standings[0].tied is choice.standings[1].tied is tied


def test_rows_of_a_unit_count_as_one_and_units_of_one_row_as_none():
    some = candidates(0.0, 0.2, 0.4)
    choice = choose(some, EACH, "best", key=3)
    assert choose(some, 7 * EACH + 5, "best", key=3) == choice
    repeated = [Candidate(c.n_parameters, np.repeat(c.contributions, 4, axis=1)) for c in some]
    together = choose(repeated, np.repeat(EACH, 4), "best", key=3)
    assert_allclose(
        [s.standard_error for s in together.standings], [s.standard_error for s in choice.standings]
    )
    assert_allclose([s.behind_error for s in together.standings], [s.behind_error for s in choice.standings])


def test_unequal_units_are_left_out_one_at_a_time():
    x = np.random.default_rng(5).normal(size=N)
    units = np.repeat([0, 1, 2, 3], [30, 5, 20, 5])
    without = np.array([x[units != unit].mean() for unit in range(4)])
    (standing,) = choose([Candidate(1, x[None])], units, "best", key=1).standings
    assert_allclose(standing.standard_error, np.sqrt(3 / 4 * np.sum((without - x.mean()) ** 2)))
    df = 60**2 / (30**2 + 5**2 + 20**2 + 5**2) - 1
    half = stats.t.ppf(0.975, df) * standing.standard_error
    assert_allclose(standing.interval, (x.mean() - half, x.mean() + half))


def test_rows_and_seeds_add_up_and_their_interaction_counts_once():
    draw = np.random.default_rng(6)
    x = draw.normal(size=(4, N)) + draw.normal(size=N) + 0.5 * draw.normal(size=(4, 1))
    mean, of_rows, of_seeds = x.mean(), x.mean(axis=0), x.mean(axis=1)
    rows = of_rows.var(ddof=1) / N
    seeds = of_seeds.var(ddof=1) / 4
    left = x - of_rows - of_seeds[:, None] + mean
    both = np.sum(left**2) / (3 * (N - 1)) / (4 * N)
    assert seeds > both
    (standing,) = choose([Candidate(1, x)], EACH, "best", key=1).standings
    assert_allclose(standing.standard_error**2, rows + seeds - both)
    df = (rows + seeds - both) ** 2 / (rows**2 / (N - 1) + seeds**2 / 3)
    half = stats.t.ppf(0.975, df) * standing.standard_error
    assert_allclose(standing.interval, (mean - half, mean + half))


def test_seeds_that_agree_by_chance_and_single_seeds_use_the_pooled_variance():
    draw = np.random.default_rng(7)
    rows = draw.normal(size=N)
    agree = Candidate(1, np.tile(rows, (2, 1)))
    differ = Candidate(2, rows - 1 + np.array([[-0.6], [0.6]]))
    single = Candidate(3, rows[None] - 2)
    choice = choose([agree, differ, single], EACH, "best", key=1)
    per_run = 0.6**2 * 2  # of differ, with one degree of freedom; agree has none of it, with another
    assert_allclose(choice.standings[1].behind_error ** 2, per_run / 2 + per_run / 2 / 2, rtol=1e-9)
    assert_allclose(choice.standings[2].behind_error ** 2, per_run / 2 + per_run / 2 / 2, rtol=1e-9, atol=0)
    assert_allclose(choice.standings[2].standard_error, rows.std(ddof=1) / np.sqrt(N))


def test_one_candidate_is_not_tied_nor_optimistic_by_choice():
    (one,) = candidates(0.5)
    choice = choose([one], EACH, "best", key=1, draws=4000)
    assert (choice.best, choice.chosen, choice.tied) == (0, 0, (0,))
    assert not choice.standings[0].tied
    assert choice.standings[0].behind == choice.standings[0].behind_error == 0
    assert choice.optimism < 5 * choice.standings[0].standard_error / np.sqrt(4000)


def test_identical_candidates_are_tied_and_the_smaller_or_earlier_is_best():
    (one,) = candidates(0.5)
    alike = [Candidate(n, one.contributions.copy()) for n in (30, 20, 20)]
    choice = choose(alike, EACH, "best", key=1)
    assert (choice.best, choice.tied) == (1, (1, 2, 0))
    assert all(s.tied and s.behind == s.behind_error == 0 for s in choice.standings)


@pytest.mark.parametrize("seed", range(20))
def test_what_differs_by_how_it_was_summed_is_equal(seed):
    """Use the same accuracy in three folds of unequal size, on different rows."""
    draw = np.random.default_rng(seed)
    sizes = [int(n) for n in draw.integers(40, 80, 3)]
    n = sum(sizes)
    right = [np.repeat([1.0, 0.0], [size // 2, size - size // 2]) for size in sizes]
    shuffled = [
        np.concatenate([draw.permutation(r) * (n / (3 * r.size)) for r in right])[None] for _ in range(2)
    ]
    larger, smaller = Candidate(30, shuffled[0]), Candidate(20, shuffled[1])
    assert choose([larger, smaller], np.arange(n), "best", key=1).best == 1


def test_a_constant_lead_on_every_row_is_no_chance():
    (one,) = candidates(0.5)
    some = [Candidate(5, one.contributions + lead / 7) for lead in range(30)]
    choice = choose(some, EACH, "best", key=1)
    assert choice.tied == (29,)
    assert [s.behind_error for s in choice.standings] == [0.0] * 30


@pytest.mark.parametrize("seed", range(5))
def test_what_differs_by_rounding_alone_is_tied(seed):
    (one,) = candidates(0.5, seed=seed)
    again = Candidate(20, np.tile(one.contributions, (7, 1)))
    above = Candidate(30, one.contributions + 1e-15)
    assert len(choose([one, again, above], EACH, "best", key=1).tied) == 3


def test_what_lags_by_rounding_alone_is_tied_too():
    """Make the smaller candidate best, and the larger one worse by rounding errors on every row."""
    (one,) = candidates(0.5)
    below = Candidate(20, one.contributions - 1e-14)
    assert one.contributions.mean() > below.contributions.mean()
    choice = choose([one, below], EACH, "best", key=1)
    assert (choice.best, choice.tied) == (0, (0, 1))
    assert choice.standings[1].behind_error == 0


def test_copies_with_a_mean_of_zero_are_tied():
    """Use an accuracy of 0, where a relative rounding error is 0."""
    choice = choose([Candidate(n, np.zeros((1, N))) for n in (10, 20)], EACH, "best", key=1)
    assert (choice.best, choice.tied) == (0, (0, 1))


def test_what_is_small_but_no_rounding_counts():
    """Distinguish a billionth on every row, which is a difference, from rows that differ by chance."""
    (one,) = candidates(0.5)
    above = Candidate(20, one.contributions * (1 + 1e-9))
    ahead = Candidate(20, one.contributions + 1e-9)
    assert choose([one, above], EACH, "best", key=1).best == 1
    choice = choose([one, ahead], EACH, "best", key=1)
    assert (choice.best, choice.tied) == (1, (1,))
    noise = 1e-5 * np.random.default_rng(11).normal(size=N)
    near = Candidate(20, one.contributions + noise)
    choice = choose([one, near], EACH, "best", key=1)
    expected = noise.std(ddof=1) / np.sqrt(N)
    assert_allclose(choice.standings[1 - choice.best].behind_error, expected, rtol=1e-4)


@pytest.mark.parametrize(("lead", "tied"), [(0.97, True), (1.03, False)])
def test_two_candidates_whose_seeds_differ_are_tied_as_far_as_a_t_test_of_the_seeds_goes(lead, tied):
    """Compare with a t-test of two seeds each, with two degrees of freedom, on rows without variance."""
    per_seed = np.array([[-1.0], [1.0]]) / np.sqrt(2)  # of variance 1
    error = np.sqrt(1 / 2 + 1 / 2)
    limit = stats.t.ppf(0.95, 2) * error * lead
    pair = [Candidate(n, mean + per_seed + np.zeros((2, N))) for n, mean in ((1, 0.0), (2, limit))]
    choice = choose(pair, EACH, "best", key=5, draws=40_000)
    assert_allclose(choice.standings[0].behind_error, error)
    assert choice.best == 1
    assert (choice.tied == (1, 0)) is tied


def test_one_standard_error_takes_the_smallest_near_enough():
    x = candidates(0.0)[0].contributions
    error = x.std(ddof=1) / np.sqrt(N)
    shifts = {900: 0.0, 500: 0.5, 40: 0.99, 20: 1.01, 41: 0.1}
    some = [Candidate(n, x - shift * error) for n, shift in shifts.items()]
    assert choose(some, EACH, "best", key=1).chosen == 0
    choice = choose(some, EACH, "one_standard_error", key=1)
    assert (choice.best, choice.chosen) == (0, 2)
    assert choose([*some, Candidate(40, x)], EACH, "one_standard_error", key=1).chosen == 5


@pytest.mark.parametrize(
    ("spread", "shift", "chosen"), [(3.0, 1.5, 0), (3.0, 0.5, 1), (0.1, 0.5, 1), (0.1, 1.5, 0)]
)
def test_one_standard_error_is_that_of_the_best_and_not_of_the_candidate(spread, shift, chosen):
    """Check that ties do not depend on how noisy a candidate is."""
    draw = np.random.default_rng(12)
    best, other = draw.normal(size=(2, N))
    error = best.std(ddof=1) / np.sqrt(N)
    other = spread * (other - other.mean()) + best.mean() - shift * error
    own = other.std(ddof=1) / np.sqrt(N)
    assert bool(own > shift * error) is (spread > 1)
    pair = [Candidate(30, best[None]), Candidate(20, other[None])]
    choice = choose(pair, EACH, "one_standard_error", key=1)
    assert (choice.best, choice.chosen) == (0, chosen)
    assert_allclose([s.standard_error for s in choice.standings], [error, own])


def test_many_equal_candidates_are_tied_and_a_far_better_one_wins():
    draw = np.random.default_rng(8)
    equal = [Candidate(1, (draw.random((1, 400)) < 0.8).astype(float)) for _ in range(100)]
    choice = choose(equal, np.arange(400), "best", key=1)
    assert len(choice.tied) > 50
    assert 0.02 < choice.optimism < 0.06  # the largest of 100 normal numbers is 2.5, of errors of 0.02
    better = Candidate(1, (draw.random((1, 400)) < 0.98).astype(float))
    choice = choose([*equal, better], np.arange(400), "best", key=1)
    assert choice.tied == (100,)
    assert choice.optimism < 0.002


def test_optimism_of_two_is_that_of_the_larger_of_two_normal_means():
    x = np.random.default_rng(9).normal(size=(2, 1, 100))
    x -= x.mean(axis=2, keepdims=True)
    covariance = np.cov(x[:, 0]) / 100
    spread = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    pair = [Candidate(1, x[0] + 1e-9), Candidate(1, x[1])]
    found = choose(pair, np.arange(100), "best", key=1, draws=40_000).optimism
    assert found == pytest.approx(spread / np.sqrt(2 * np.pi), rel=0.03)  # Clark (1961)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 1000))
def test_the_order_of_candidates_changes_nothing(order, seed):
    draw = np.random.default_rng(seed)
    right = [(draw.random((1 + c % 3, 40)) < 0.7).astype(float) for c in range(5)]
    some = [Candidate(10 + c, x) for c, x in enumerate([*right, right[0]])]
    units = np.arange(40) // 2
    for rule in ("best", "one_standard_error"):
        before, after = (
            choose(some, units, rule, 3, 100),
            choose([some[c] for c in order], units, rule, 3, 100),
        )
        assert [before.standings[c] for c in order] == list(after.standings)
        assert (order[after.best], order[after.chosen]) == (before.best, before.chosen)
        assert tuple(order[c] for c in after.tied) == before.tied
        assert after.optimism == before.optimism
    mirrored = optimism_of_best([some[c] for c in order], units, 2, 3, 100)
    assert mirrored == optimism_of_best(some, units, 2, 3, 100)


def test_the_same_key_gives_the_same_and_another_other_draws():
    some = candidates(0.0, 0.1, 0.2, seeds=2)
    assert choose(some, EACH, "best", key=1) == choose(some, EACH, "best", key=1)
    assert choose(some, EACH, "best", key=1).optimism != choose(some, EACH, "best", key=2).optimism


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_contributions_that_are_not_finite_are_refused(bad):
    some = candidates(0.0, 0.1)
    some[1].contributions[0, 3] = bad
    with pytest.raises(ValueError, match=r"candidate 1: .* is not finite"):
        choose(some, EACH, "best", key=1)


def test_wrong_shapes_are_refused():
    some = candidates(0.0, 0.1)
    with pytest.raises(ValueError, match="no candidate"):
        choose([], EACH, "best", key=1)
    with pytest.raises(ValueError, match=r"\(1, 60\), not \(seeds, 59\)"):
        choose(some, EACH[1:], "best", key=1)
    with pytest.raises(ValueError, match="two different"):
        choose(some, np.zeros(N, dtype=np.int64), "best", key=1)
    with pytest.raises(ValueError, match="candidate 0"):
        choose([Candidate(1, np.ones(N))], EACH, "best", key=1)


def test_the_best_two_of_equals_are_optimistic_as_the_larger_ones_are():
    """Compare with four independent normal means: the expected two largest are 1.029 and 0.297 errors."""
    some = candidates(0.0, 0.0, 0.0, 0.0, n=400)
    level = [Candidate(c.n_parameters, c.contributions - c.contributions.mean()) for c in some]
    error = 1 / np.sqrt(400)
    assert optimism_of_best(level, np.arange(400), 1, key=1, draws=20_000) == pytest.approx(
        1.029 * error, rel=0.1
    )
    two = optimism_of_best(level, np.arange(400), 2, key=1, draws=20_000)
    assert two == pytest.approx((1.029 + 0.297) / 2 * error, rel=0.1)
    assert optimism_of_best(level, np.arange(400), 4, key=1) < 0.1 * error


def test_earlier_optimism_is_added():
    lone = candidates(0.0)[0]
    assert choose([lone], EACH, "best", key=1).optimism < 0.02
    before = Candidate(lone.n_parameters, lone.contributions, optimism=0.5)
    assert choose([before], EACH, "best", key=1).optimism == pytest.approx(0.5, abs=0.02)


def test_an_average_shares_the_random_effect_of_its_members_seeds():
    """Check that an average of seeds 40 points apart is uncertain but not optimistic."""
    draw = np.random.default_rng(5)
    runs = (draw.random((2, 400)) < np.array([[0.5], [0.9]])).astype(float)
    single = Candidate(10, runs)
    apart = [single, Candidate(20, runs + 0.01)]
    together = [single, Candidate(20, runs + 0.01, members=(single,))]
    optimism = [choose(some, np.arange(400), "best", key=1).optimism for some in (apart, together)]
    assert optimism[0] > 0.05
    assert optimism[1] < 0.01
