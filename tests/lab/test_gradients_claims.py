"""The claims about gradients: each holds, and fails with a planted change."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from sweepgrad.autograd.value import Array
from sweepgrad.errors import UserError
from sweepgrad.lab.configs import settings
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim
from sweepgrad.lab.questions import gradients as module
from sweepgrad.lab.stability import lipschitz, trained, untrained
from sweepgrad.lab.stability import tricks as tricks_module
from sweepgrad.lab.stability.clipping import clipped, opposed
from sweepgrad.lab.stability.depth import predicted
from sweepgrad.lab.stability.dropout import penalized_loss
from sweepgrad.lab.stability.tricks import Statistics, Trick, statistics, tricks
from sweepgrad.nn.schedules import CONSTANT
from sweepgrad.training.loop import Examples


def asked(*overrides: str) -> module.Settings:
    small = ["seeds=8", "batch_sizes=[64]", "depths=[2,8]", "width=24"]
    _, section = settings("gradients", [*small, *overrides])
    assert isinstance(section, module.Settings)
    return section


SECTION, FEW_ROWS = asked(), asked("rows=60", "batch_sizes=[8]")


@cache
def rows_of(section: module.Settings) -> Examples:
    return module.training_rows(section)


_known: dict[object, Statistics] = {}


def known_statistics(
    trick: Trick, hidden: tuple[int, ...], rows: Examples, seeds: range, *, epochs: int, batch_size: int
) -> Statistics:
    """Train once for each of the settings: what a plant changes is trained, the rest is kept."""
    key = (trick, hidden, rows.X.tobytes(), seeds, epochs, batch_size)
    if key not in _known:
        _known[key] = statistics(trick, hidden, rows, seeds, epochs=epochs, batch_size=batch_size)
    return _known[key]


@pytest.fixture(autouse=True)
def known(monkeypatch):
    for place in (tricks_module, module):
        monkeypatch.setattr(place, "statistics", known_statistics)


# The claims, in groups that need the same measurements


def rates() -> list[Claim]:
    return trained.rate_claims(module.with_tricks(SECTION, rows_of(SECTION)), SECTION.lr)


def layers() -> list[Claim]:
    return [trained.layer_claim(module.with_tricks(SECTION, rows_of(SECTION)))]


def dropping() -> list[Claim]:
    rows = rows_of(SECTION)
    found = module.with_tricks(SECTION, rows)
    return trained.dropout_effects(found, module.with_masks(SECTION, rows, found), SECTION.dropout)


def batches() -> list[Claim]:
    found = module.with_batch_sizes(SECTION, rows_of(SECTION))
    return trained.batch_claims(found, SECTION.lr, SECTION.batch_size)


def threshold() -> list[Claim]:
    rows = rows_of(SECTION)
    whole = module.with_batch_sizes(SECTION, rows)[len(rows.y)]
    return [trained.threshold_claim({SECTION.lr: whole, **module.at_larger_rates(SECTION, rows)})]


def depth() -> list[Claim]:
    return untrained.depth_claims(module.at_depths(SECTION), SECTION.width)


def clipping() -> list[Claim]:
    few = FEW_ROWS
    return untrained.clipping_claims(rows_of(few), few.hidden, few.clip, few.batch_size, few.seed)


def linear_dropout() -> list[Claim]:
    return untrained.dropout_claims(SECTION.dropout, SECTION.seed)


# The planted changes

Plant = Callable[[pytest.MonkeyPatch], None]


def changed_trick(name: str, **change: object) -> Plant:
    """Return a plant in which a trick has other settings than its name says."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        def wrong(*arguments: Any) -> dict[str, Trick]:
            kinds = tricks(*arguments)
            return {**kinds, name: replace(kinds[name], **change)}  # type: ignore[arg-type]

        patch.setattr(module, "tricks", wrong)

    return plant


def one_batch_size(patch: pytest.MonkeyPatch) -> None:
    """Train with batches of 16, whatever the batch size should be."""

    def wrong(*arguments: Any, epochs: int, batch_size: int) -> Statistics:
        return known_statistics(*arguments, epochs=SECTION.epochs, batch_size=16)

    patch.setattr(tricks_module, "statistics", wrong)


def summed_loss(patch: pytest.MonkeyPatch) -> None:
    """Take the curvature of the sum of the losses instead of their mean."""
    real = lipschitz.loss
    patch.setattr(lipschitz, "loss", lambda network, flat, X, y: real(network, flat, X, y) * len(X))

    def once(trick: Trick, *arguments: Any, epochs: int, batch_size: int) -> Statistics:
        if batch_size != SECTION.batch_size:
            return known_statistics(trick, *arguments, epochs=epochs, batch_size=batch_size)
        return statistics(trick, *arguments, epochs=epochs, batch_size=batch_size)

    patch.setattr(tricks_module, "statistics", once)


def no_masks(patch: pytest.MonkeyPatch) -> None:
    """Compute the gradients of batches without masks, whatever is asked."""
    real = lipschitz.batch_gradients

    def wrong(*arguments: Any, drop: bool) -> Array:
        return real(*arguments)

    patch.setattr(tricks_module, "batch_gradients", wrong)


def instead(name: str, wrong: Callable[..., object]) -> Plant:
    """Return a plant that replaces a function which the claims without training use."""
    return lambda patch: patch.setattr(untrained, name, wrong)


PLANTS: dict[str, Plant] = {
    "noise of the loss": changed_trick("1/√t", schedule=CONSTANT),
    "curvature with decaying rates": changed_trick("staircase", schedule=CONSTANT),
    "noise and curvature": one_batch_size,
    "threshold with noise": summed_loss,
    "threshold without noise": one_batch_size,
    "first and last layer": changed_trick("sigmoid", activation="relu"),
    "variance with dropout": no_masks,
    "curvature with dropout": changed_trick("dropout", dropout=0.0),
    # The root of a mean square is taken twice; or gradients are expected to be the same at every depth.
    "gradients by depth": instead(
        "predicted", lambda name, depth, first: predicted(name, depth, first) ** 0.5
    ),
    "vanishing gradients": instead("predicted", lambda name, depth, first: 1.0),
    "outliers": instead("clipped", lambda vectors, c: clipped(vectors, 20 * c)),
    "variance of clipped gradients": instead("clipped", lambda vectors, c: clipped(vectors, 2 * c)),
    # Scaled to the norm c, shorter gradients too.
    "clipping a single gradient": instead(
        "clipped", lambda vectors, c: c * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ),
    # The mean is clipped, instead of the mean of the clipped ones.
    "mean of clipped gradients": instead(
        "opposed",
        lambda theta, c: (opposed(theta, c)[0], clipped(opposed(theta, c)[0][:, None], c)[:, 0]),
    ),
    "dropout as a penalty": instead("penalized_loss", lambda x, y, w, p: penalized_loss(x, y, w, 0.9 * p)),
    # Only the first feature is dropped.
    "dropout and conditioning": instead(
        "hessian_with_dropout",
        lambda X, p: X.T @ X / len(X) + 9 * np.diag((X**2).mean(axis=0) * (np.arange(X.shape[1]) == 0)),
    ),
}
"""For each claim, a change of the code that makes it false."""

GROUPS: dict[Callable[[], list[Claim]], tuple[str, ...]] = {
    rates: ("noise of the loss", "curvature with decaying rates"),
    batches: ("noise and curvature", "threshold with noise"),
    threshold: ("threshold without noise",),
    layers: ("first and last layer",),
    dropping: ("variance with dropout", "curvature with dropout"),
    depth: ("gradients by depth", "vanishing gradients"),
    clipping: (
        "outliers",
        "variance of clipped gradients",
        "clipping a single gradient",
        "mean of clipped gradients",
    ),
    linear_dropout: ("dropout as a penalty", "dropout and conditioning"),
}


def outcomes(group: Callable[[], list[Claim]]) -> dict[str, bool]:
    return {claim.name: claim.holds for claim in group()}


@cache
def unplanted(group: Callable[[], list[Claim]]) -> dict[str, bool]:
    return outcomes(group)


@pytest.mark.slow
@pytest.mark.parametrize(("group", "name"), [(group, name) for group in GROUPS for name in GROUPS[group]])
def test_a_planted_change_makes_the_claim_fail(group, name, monkeypatch):
    assert unplanted(group)[name]
    PLANTS[name](monkeypatch)
    assert not outcomes(group)[name]


@pytest.mark.slow
def test_every_claim_has_a_plant(monkeypatch):
    finding = module.answer(SECTION, Lab("sqlite:///unused"))
    assert {claim.name for claim in finding.claims} == set(PLANTS)
    assert set(PLANTS) == {name for names in GROUPS.values() for name in names}
    assert finding.holds
    assert all(name.startswith("gradients_") for name in finding.pictures)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("batch_size=200", "batch_size: 200 gives fewer than two batches of 300 rows"),
        ("batch_sizes=[4,300]", "batch_sizes: should be below the number of rows, 300"),
    ],
)
def test_batches_are_smaller_than_the_training_set(override, problem):
    with pytest.raises(UserError, match=problem):
        asked(override)
