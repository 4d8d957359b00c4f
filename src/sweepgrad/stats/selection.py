"""Choose among a sweep's configurations by validation rows: which is best, how surely, how optimistically."""

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
    """A configuration, and what each of its runs made of the validation rows.

    Attributes:
        n_parameters: what makes one candidate simpler than another.
        contributions: (S, N), a row for each seed, a column for each validation row; higher is better.
        optimism: by how much the mean is biased upwards before any comparison, since the candidate was put
            together from what did well on these rows, see `optimism_of_best`.
        members: the candidates whose runs it is an average of: what their seeds give it by chance, they have.
    """

    n_parameters: int
    contributions: Array
    optimism: float = 0.0
    members: tuple["Candidate", ...] = ()


@dataclass(frozen=True)
class Standing:
    """How a candidate stands.

    Attributes:
        mean: over seeds and rows; higher is better.
        standard_error: of the mean; with a single seed, of the rows alone.
        interval: 95 %, for this candidate by itself, picked before anything was seen.
        behind: the best's mean less this one's; 0 for the best.
        behind_error: the standard error of that difference, on the same rows; 0 for the best.
        tied: whether it cannot be told from the best; of the best, whether another cannot.
    """

    mean: float
    standard_error: float
    interval: tuple[float, float]
    behind: float
    behind_error: float
    tied: bool


@dataclass(frozen=True)
class Choice:
    """Which candidate is best, which one is chosen, and how surely.

    Attributes:
        best: the number of the candidate with the highest mean.
        chosen: the number of the one that the rule takes.
        standings: one for each candidate, in their order.
        tied: the numbers of those that cannot be told from the best, itself first, then by their means.
        optimism: by how much the best's mean is above its expected metric on average, because it is the best
            of many (the winner's curse); at least 0.
    """

    best: int
    chosen: int
    standings: tuple[Standing, ...]
    tied: tuple[int, ...]
    optimism: float


def choose(
    candidates: Sequence[Candidate], units: NDArray[np.int64], rule: Rule, key: int, draws: int = 1000
) -> Choice:
    """The best candidate, those that cannot be told from it, and the one to take.

    Rule "best" takes the highest mean; of exactly equal ones that with fewer parameters, then the earlier.
    "one_standard_error" takes the fewest parameters among those that are no more than one standard error of
    the best's mean behind it (Breiman, Friedman, Olshen & Stone, "Classification and Regression Trees", 1984,
    section 3.4.3).

    Ties are a confidence set for the truly best: each candidate is held to be the best itself, and is no
    longer where the observed best leads it by more than the best of so many would by chance, in 95 of 100
    samples (Hsu, Annals of Statistics 9, 1981; after the same idea the model confidence set of Hansen, Lunde
    & Nason, Econometrica 79, 2011). Chance is drawn by a Gaussian multiplier for each unit of rows, which
    keeps how the candidates' errors go together, and holds for more candidates than rows too (Chernozhukov,
    Chetverikov & Kato, Annals of Statistics 41, 2013), and by normal noise for the seeds, both over the
    chances of their own variances, as in Student's t. The draws are made from the multipliers' covariance.

    Seeds of different candidates are independent. Where candidates are compared, the variance between seeds
    is the larger of the candidate's own and that of all pooled: two or three seeds agree by luck too often,
    and a candidate with a single seed has none of its own.

    The optimism is the bootstrap's: in each draw, how far the candidate that is best in it stands above its
    own mean (Efron's correction of bias, as Tibshirani & Tibshirani, Annals of Applied Statistics 3, 2009,
    do for cross-validation). It tells the size, and no more: where all are truly equal it says down to 0.7
    of it (their means have been spread by chance once already), and where one leads by little, too much.
    Where the best of a draw was optimistic before, that is added.

    Arguments:
        units: (N,), numbers the unit of each row: rows of a unit are drawn together.
        key: the randomness, from `sweepgrad.rng.key`.
        draws: how many samples chance is judged by.

    Raises:
        ValueError: there is no candidate, fewer than two units, a shape that does not fit, or a contribution
            that is not finite.
    """
    _check(candidates, units)
    # In an order that depends on the candidates alone, so that theirs makes no difference to the draws.
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
    """Return how optimistic the `size` best of the candidates are on average, taken together, by being these.

    An average of their predictions is off about as they are, for it was put together by the same chance.

    Arguments, raises: as `choose`.
    """
    _check(candidates, units)
    found = summary([each.contributions for each in sorted(candidates, key=_identity)], units)
    return _Noise.drawn(found, key, draws).optimism(found.mean, size, np.zeros(len(candidates)))


def _check(candidates: Sequence[Candidate], units: NDArray[np.int64]) -> None:
    if not candidates:
        raise ValueError("there is no candidate to choose")
    if units.ndim != 1 or len(np.unique(units)) < 2:
        raise ValueError(f"units: must be (N,) with two different ones at least, and are {units.shape}")
    for number, candidate in enumerate(candidates):
        shape = candidate.contributions.shape
        if len(shape) != 2 or shape[0] < 1 or shape[1] != len(units):
            raise ValueError(f"candidate {number}: contributions are {shape}, not (seeds, {len(units)})")
        if not np.isfinite(candidate.contributions).all():
            raise ValueError(f"candidate {number}: a contribution is not a finite number")


def _identity(candidate: Candidate) -> tuple[int, bytes]:
    held = np.ascontiguousarray(candidate.contributions)
    return candidate.n_parameters, blake2b(held.data, digest_size=16).digest()


class _Noise(NamedTuple):
    """Chance errors of C means in D draws: (C, D) of the rows and of the seeds, and (D,) of their variances.

    Attributes:
        wide_rows, wide_seeds: estimated over true standard deviation by chance, turned round, as in
            Student's t.
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
        """The same with one draw for the seeds of an average and those of its members.

        Drawn apart, the better one of the two would be so by a chance that both have.
        """
        place = {id(candidate): i for i, candidate in enumerate(candidates)}
        seeds = self.seeds.copy()
        for i, candidate in enumerate(candidates):
            of = self.seeds[[place[id(member)] for member in candidate.members]].sum(axis=0)
            if of.any():
                seeds[i] = of * (self.seeds[i].std() / of.std())
        return self._replace(seeds=seeds)

    def optimism(self, mean: NDArray[np.float64], size: int, before: NDArray[np.float64]) -> float:
        """The mean over draws of what chance gave the `size` best of each; 0 where that is below.

        Arguments:
            before: (C,), the optimism that they have already; it is added for those.
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
    """Which candidates (C,) are behind the best by no more than chance makes the best of all lead them."""
    chance = (noise.rows * noise.wide_rows + noise.seeds * noise.wide_seeds).astype(np.float32)
    tied = behind <= ROUNDING * np.abs(found.mean)
    for i in np.flatnonzero(~tied):
        by = np.sqrt(found.variance_of_differences(int(i)))
        scale = np.divide(1.0, by, out=np.zeros_like(by), where=by > 0).astype(np.float32)
        lead = chance - chance[i]
        lead *= scale[:, None]
        tied[i] = behind[i] <= float(np.quantile(lead.max(axis=0), 0.95)) * error[i]
    return tied
