"""Choose among a sweep's configurations by validation rows, with ties and the optimism of the best."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from sweepgrad import rng
from sweepgrad.stats.standard_errors import ROUNDING, Summary, settled, summary

Array = NDArray[np.floating[Any]]
Rule = Literal["best", "one_standard_error"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A configuration, with the results of its runs on each validation row.

    Attributes:
        n_parameters: fewer make a candidate simpler.
        contributions: (S, N), a row for each seed, a column for each validation row; higher is better.
        optimism: the bias of its mean before any comparison, if the candidate was composed of those that did
            well on these rows, see `optimism_of_best`.
        members: the candidates that it averages; it shares the random effect of their seeds.
    """

    n_parameters: int
    contributions: Array
    optimism: float = 0.0
    members: tuple["Candidate", ...] = ()


@dataclass(frozen=True)
class Standing:
    """The result of one candidate.

    Attributes:
        mean: over seeds and rows; higher is better.
        standard_error: of the mean; with a single seed, over rows only.
        interval: the 95 % interval of this candidate alone, without correction for having been selected.
        behind: the mean of the best minus this one; 0 for the best.
        behind_error: the standard error of that difference, on the same rows; 0 for the best.
        tied: whether it is not significantly different from the best; for the best, whether another one is
            tied with it.
    """

    mean: float
    standard_error: float
    interval: tuple[float, float]
    behind: float
    behind_error: float
    tied: bool


@dataclass(frozen=True)
class Choice:
    """The best candidate, the chosen one and the ties.

    Attributes:
        best: the number of the candidate with the highest mean.
        chosen: the number of the candidate that the rule chooses.
        standings: one for each candidate, in their order.
        tied: the numbers of the candidates that are not significantly different from the best; the best
            first, then by mean.
        optimism: the expected bias of the best mean, because it is the best of many (the winner's curse); at
            least 0.
    """

    best: int
    chosen: int
    standings: tuple[Standing, ...]
    tied: tuple[int, ...]
    optimism: float


def choose(
    candidates: Sequence[Candidate], units: NDArray[np.int64], rule: Rule, key: int, draws: int = 1000
) -> Choice:
    """Choose a candidate, and find those that are not significantly different from the best.

    Rule "best" chooses the highest mean; among equal means, the fewest parameters, then the earlier
    candidate. Rule "one_standard_error" chooses the fewest parameters among candidates whose mean is at most
    one standard error of the best mean below it (Breiman, Friedman, Olshen & Stone, "Classification and
    Regression Trees", 1984, section 3.4.3).

    Ties are a 95 % confidence set for the truly best candidate: a candidate is excluded if the observed best
    leads it by more than the 95 % quantile of the largest lead by chance (Hsu, Annals of Statistics 9, 1981;
    the model confidence set of Hansen, Lunde & Nason, Econometrica 79, 2011, is similar). Chance is simulated
    by a Gaussian multiplier for each unit of rows, which preserves the correlation of candidates and is valid
    for more candidates than rows (Chernozhukov, Chetverikov & Kato, Annals of Statistics 41, 2013), and by
    normal noise for seeds. Both are divided by the square roots of random variances, as in Student's t. The
    draws are made from the covariance of the multipliers.

    Seeds of different candidates are independent. In comparisons, the variance over seeds is the larger of
    the candidate's own and the pooled one, since two or three seeds often agree by chance, and a single seed
    has no variance.

    The optimism is a bootstrap estimate: the average amount by which the best candidate of a draw exceeds its
    own mean (Efron's bias correction, used for cross-validation by Tibshirani & Tibshirani, Annals of Applied
    Statistics 3, 2009). It is approximate: as low as 0.7 of the true value if all candidates are equal, since
    their means already differ by chance, and too high if one leads by little. The earlier optimism of the
    best candidate of a draw is added.

    Arguments:
        units: (N,), the unit of each row: rows of a unit are drawn together.
        key: the random key, from `sweepgrad.rng.key`.
        draws: the number of simulations.

    Raises:
        ValueError: if there is no candidate, there are fewer than two units, a shape does not fit, or a
            contribution is not finite.
    """
    _check(candidates, units)
    # Sort candidates by content, so that their order does not change the draws.
    order = sorted(range(len(candidates)), key=lambda c: _identity(candidates[c]))
    found = summary([candidates[c].contributions for c in order], units)
    place = {c: i for i, c in enumerate(order)}

    def rank(c: int) -> tuple[float, int, int]:
        return -settled(found.mean[place[c]]), candidates[c].n_parameters, c

    best = min(place, key=rank)
    top = place[best]
    noise = _Noise.drawn(found, key, draws)
    behind = found.mean[top] - found.mean
    error = np.sqrt(found.variance_of_differences(top))
    tied = _tied(found, noise, behind, error)
    tied[top] = False
    others = sorted((c for c in place if tied[place[c]]), key=rank)
    tied[top] = bool(others)
    standard_error, half = found.errors()
    standings = tuple(
        Standing(
            mean=float(found.mean[i]),
            standard_error=float(standard_error[i]),
            interval=(float(found.mean[i] - half[i]), float(found.mean[i] + half[i])),
            behind=float(behind[i]),
            behind_error=float(error[i]),
            tied=bool(tied[i]),
        )
        for i in (place[c] for c in range(len(candidates)))
    )
    chosen = best
    if rule == "one_standard_error":
        near = [c for c in place if standings[c].behind <= standings[best].standard_error]
        chosen = min(near, key=lambda c: (candidates[c].n_parameters, *rank(c)))
    before = np.array([candidates[c].optimism for c in order])
    shared = noise.shared([candidates[c] for c in order])
    return Choice(best, chosen, standings, (best, *others), shared.optimism(found.mean, 1, before))


def optimism_of_best(
    candidates: Sequence[Candidate], units: NDArray[np.int64], size: int, key: int, draws: int = 1000
) -> float:
    """Return the average optimism of the `size` best candidates, because they are the best.

    The average of their predictions has about the same optimism. For arguments and errors, see `choose`.
    """
    _check(candidates, units)
    found = summary([each.contributions for each in sorted(candidates, key=_identity)], units)
    return _Noise.drawn(found, key, draws).optimism(found.mean, size, np.zeros(len(candidates)))


def _check(candidates: Sequence[Candidate], units: NDArray[np.int64]) -> None:
    if not candidates:
        raise ValueError("there is no candidate to choose from")
    if units.ndim != 1 or len(np.unique(units)) < 2:
        raise ValueError(
            f"units must have shape (N,) and at least two different values; their shape is {units.shape}"
        )
    for number, candidate in enumerate(candidates):
        shape = candidate.contributions.shape
        if len(shape) != 2 or shape[0] < 1 or shape[1] != len(units):
            raise ValueError(
                f"candidate {number}: contributions have shape {shape}, not (seeds, {len(units)})"
            )
        if not np.isfinite(candidate.contributions).all():
            raise ValueError(f"candidate {number}: a contribution is not finite")


def _identity(candidate: Candidate) -> tuple[int, bytes]:
    contributions = np.ascontiguousarray(candidate.contributions)
    return candidate.n_parameters, blake2b(contributions.data, digest_size=16).digest()


class _Noise(NamedTuple):
    """Simulated errors of C means in D draws.

    Attributes:
        rows, seeds: (C, D), the errors due to rows and to seeds.
        wide_rows, wide_seeds: (D,), true over estimated standard deviation, as in Student's t.
    """

    rows: NDArray[np.float64]
    seeds: NDArray[np.float64]
    wide_rows: NDArray[np.float64]
    wide_seeds: NDArray[np.float64]

    @classmethod
    def drawn(cls, found: Summary, key: int, draws: int) -> "_Noise":
        values, vectors = np.linalg.eigh(found.rows)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        shape = (len(found.mean), draws)
        rows = root @ rng.normal(rng.fold(key, 0), shape)
        seeds = np.sqrt(found.compared)[:, None] * rng.normal(rng.fold(key, 1), shape)
        return cls(
            rows,
            seeds,
            _widening(found.df_rows, rng.fold(key, 2), draws),
            _widening(max(int(found.free.sum()), 1), rng.fold(key, 3), draws),
        )

    def shared(self, candidates: Sequence[Candidate]) -> "_Noise":
        """Return the same with common draws for the seeds of an average and those of its members.

        With separate draws, one of them could be better by a random effect that they share.
        """
        place = {id(candidate): i for i, candidate in enumerate(candidates)}
        seeds = self.seeds.copy()
        for i, candidate in enumerate(candidates):
            total = self.seeds[[place[id(member)] for member in candidate.members]].sum(axis=0)
            if total.any():
                seeds[i] = total * (self.seeds[i].std() / total.std())
        return self._replace(seeds=seeds)

    def optimism(self, mean: NDArray[np.float64], size: int, before: NDArray[np.float64]) -> float:
        """Return the mean over draws of the errors of the `size` best of each draw, at least 0.

        Arguments:
            before: (C,), the earlier optimism of each candidate, which is added.
        """
        noise = self.rows + self.seeds
        best = np.argsort(-(mean[:, None] + noise), axis=0, kind="stable")[:size]
        chance = np.take_along_axis(noise, best, axis=0) + before[best]
        return max(float(chance.mean()), 0.0)


def _widening(df: float, key: int, draws: int) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(df / chdtri(df, rng.uniform(key, (draws,)))), dtype=np.float64)


def _tied(
    found: Summary, noise: _Noise, behind: NDArray[np.float64], error: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return a mask (C,) of the candidates whose distance from the best is explained by chance."""
    chance = (noise.rows * noise.wide_rows + noise.seeds * noise.wide_seeds).astype(np.float32)
    tied = behind <= ROUNDING * np.abs(found.mean)
    for i in np.flatnonzero(~tied):
        by = np.sqrt(found.variance_of_differences(int(i)))
        scale = np.divide(1.0, by, out=np.zeros_like(by), where=by > 0).astype(np.float32)
        lead = chance - chance[i]
        lead *= scale[:, None]
        tied[i] = behind[i] <= float(np.quantile(lead.max(axis=0), 0.95)) * error[i]
    return tied
