"""The Spotify model: splits, duplicates, the claims and what makes them fail, and the page."""

import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweepgrad import rng
from sweepgrad.compose.plan import plan
from sweepgrad.drawing.style import THEMES, applied
from sweepgrad.lab.configs import settings
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim, Finding
from sweepgrad.lab.questions import spotify as module
from sweepgrad.lab.questions.spotify import AT_RANDOM, Settings, answer, jobs_of
from sweepgrad.lab.songs import duplicates
from sweepgrad.lab.songs.duplicates import duplicate_effect, duplicate_effects
from sweepgrad.lab.songs.splits import (
    SplitResult,
    chosen,
    halves_of,
    in_halves,
    lead_over_logistic,
    split_results,
)
from sweepgrad.lab.songs.tables import leads
from sweepgrad.selection.evaluation import corrected_mean
from sweepgrad.tasks.binary import BINARY
from sweepgrad.training.experiment import Experiment, prepare
from sweepgrad.training.loop import Examples

PAGE = Path(__file__).parents[2] / "docs" / "lab" / "spotify.md"


def experiment(tmp_path, *more: str) -> Experiment:
    """Prepare a run on 100 coins by name, each three times with the same answer, and a number."""
    drawn = np.random.default_rng(0)
    coins = pd.DataFrame({"weight": drawn.normal(size=100), "heads": drawn.random(100) < 0.5})
    coins["coin"] = [f"coin {i}" for i in range(100)]
    pd.concat([coins] * 3).to_csv(tmp_path / "tosses.csv", index=False)
    overrides = ["data=csv", f"data.path={tmp_path / 'tosses.csv'}", "data.target=heads", *more]
    (job,) = plan(overrides, multirun=False).jobs
    return prepare(job.config)


def test_duplicates_of_coin_tosses_gain_half(tmp_path):
    """Check that a model that saw a duplicate knows the answer, and that another can only guess."""
    more = ("data.keep=[coin]", "train.epochs=50", "optimizer.lr=0.1")
    remembers = experiment(tmp_path, "model=linear", *more)
    share, gain = duplicate_effect(remembers, rng.key(0, "test"))
    train, val = remembers.train.X, remembers.val.X
    assert share == np.mean([(row == train).all(axis=1).any() for row in val])
    # About 50 rows of 40 coins, correct with probability ½ without their duplicates: the standard error of
    # the difference is 0.5 / √40 = 0.08, and three of them allow for what is not remembered.
    assert gain == pytest.approx(0.5, abs=0.24)


def test_duplicates_gain_little_for_a_model_that_cannot_remember(tmp_path):
    forgets = experiment(tmp_path, "model=linear", "data.drop=[coin]")
    share, gain = duplicate_effect(forgets, rng.key(0, "test"))
    assert share > 0.5
    # Two parameters for 180 rows, so a row's duplicates hardly matter: three standard errors of 0.08.
    assert abs(gain) < 0.24


def asked(*overrides: str) -> Settings:
    _, section = settings("spotify", overrides)
    assert isinstance(section, Settings)
    return section


def test_the_effect_is_the_mean_over_architectures_and_seeds():
    section = asked("models=[wide,linear]", "dropout=0", "seeds=1", "splits=2", "epochs=1")
    found = duplicate_effects(jobs_of(section, *AT_RANDOM))
    overrides = [*section.overrides(*AT_RANDOM), "split.seed=4000,4001", "seed=1"]
    each = {
        (job.config.split.seed, len(job.config.model.hidden)): duplicate_effect(
            prepare(job.config), rng.key(job.config.split.seed, "lab/spotify")
        )
        for job in plan(overrides, multirun=True).jobs
    }
    assert found == [
        pytest.approx(np.mean([each[split, 0], each[split, 1]], axis=0)) for split in (4000, 4001)
    ]


def test_the_best_mean_chooses_the_architecture_and_its_best_run_the_model():
    # Means on the rows that choose: .6, .65. The best run of all, .8, is of the other architecture.
    measures = np.array([[[0.8, 0.1, 1], [0.4, 0.2, 2]], [[0.6, 0.3, 3], [0.7, 0.9, 4]]])
    assert chosen(measures).tolist() == [0.9, 4]


def test_rows_with_equal_features_are_in_one_half():
    X = np.repeat(np.arange(200.0).reshape(100, 2), 3, axis=0)
    halves = halves_of(Examples(X, np.zeros(300)), rng.key(0, "test"))
    assert (halves.reshape(100, 3) == halves[::3, None]).all()
    assert halves.sum() == 150


def test_the_other_half_chooses_nothing(tmp_path):
    """Check that the accuracy that is measured on a half does not depend on the labels of that half."""
    tosses = experiment(tmp_path, "model=wide", "data.drop=[coin]", "train.epochs=5")
    key = rng.key(0, "test")
    halves = halves_of(tosses.val, key)
    before = in_halves(tosses, key)
    flipped = np.where(halves == 1, 1 - tosses.val.y, tosses.val.y)
    after = in_halves(replace(tosses, val=Examples(tosses.val.X, flipped)), key)
    assert after[0] == pytest.approx([before[0, 0], 1 - before[0, 1], 1 - before[0, 2]])


def test_a_split_has_the_accuracy_of_what_its_own_rows_choose():
    section = asked("models=[wide,deep]", "seeds=1", "splits=2", "epochs=2")
    jobs = jobs_of(section, *AT_RANDOM)
    for result, split in zip(split_results(jobs), (4000, 4001), strict=True):
        own = [job for job in jobs if job.config.split.seed == split]
        runs = np.array([in_halves(prepare(job.config), rng.key(split, "lab/spotify/halves")) for job in own])
        best = runs[:, :, 0].argmax(axis=0)
        assert [result.accuracy, result.roc_auc] == pytest.approx(
            np.mean([runs[best[half], half, 1:] for half in range(2)], axis=0)
        )
        assert result.by_model == pytest.approx(
            {job.config.model.hidden: run[:, 1].mean() for job, run in zip(own, runs, strict=True)}
        )


SMALL = ("models=[wide,deep]", "seeds=1", "splits=6")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def as_published(patch: pytest.MonkeyPatch) -> None:
    """Pretend that a figure was published for the small settings, and that their intervals are narrow."""
    patch.setattr(module, "PRECISION", 0.2)
    patch.setattr(module, "ASSIGNMENT", {"models": ("wide", "deep"), "seeds": 1})
    patch.setattr(module, "PUBLISHED", 0.69)


@pytest.fixture(scope="module")
def finding(tmp_path_factory) -> Finding:
    """Answer the question with small settings; what it computed is kept for planted changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("lab"))
        as_published(patch)
        for name in ("evaluated", "split_results", "duplicate_effects"):
            patch.setattr(module, name, kept(getattr(module, name)))
        return answer(asked(*SMALL), Lab("sqlite:///mlflow.db"))


KEPT: dict[str, object] = {}


def kept(function: Callable[..., object]) -> Callable[..., object]:
    def call(arguments, *more):
        key = f"{function.__name__} {[getattr(each, 'overrides', each) for each in arguments]}"
        if key not in KEPT:
            KEPT[key] = function(arguments, *more)
        return KEPT[key]

    return call


def untrained(overrides, lab):
    """Train for an epoch with a negligible rate, on a split of its own."""
    changes = {"optimizer.lr": "1e-9", "train.epochs": "1", "model": "wide", "split.seed": "77"}
    changed = [
        f"{key}={changes.get(key, value)}" for key, _, value in (each.partition("=") for each in overrides)
    ]
    return evaluated(changed, lab)


def without_training(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "jobs_of", lambda section, *more: jobs_of(weak(section), *more))
    patch.setattr(module, "split_results", split_results)


def weak(section: Settings) -> Settings:
    return section.model_copy(update={"lr": 1e-9, "epochs": 1})


def without_dropout(patch: pytest.MonkeyPatch) -> None:
    off = {"dropout": 0.0, "models": ("wide", "middle", "deep")}
    patch.setattr(module, "jobs_of", lambda section, *more: jobs_of(section.model_copy(update=off), *more))
    patch.setattr(module, "split_results", split_results)


def a_weak_baseline(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(BINARY.baselines, "logistic", BINARY.baselines["majority"])
    patch.setattr(module, "split_results", split_results)


def keeping_duplicates(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(duplicates, "without", lambda rows, halves, half: rows)
    patch.setattr(module, "duplicate_effects", duplicate_effects)


def standard_error_of_the_mean(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "usual_difference", lambda accuracy: 1.96 * accuracy.sd / np.sqrt(6))


evaluated = module.evaluated
PLANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "better than the majority class": lambda patch: patch.setattr(module, "evaluated", untrained),
    "not significantly below the goal": without_training,
    "chance of the split": standard_error_of_the_mean,
    "fewer layers": without_dropout,
    "not significantly more accurate than logistic regression": a_weak_baseline,
    "ranks better than logistic regression": without_training,
    "duplicates": keeping_duplicates,
}


@pytest.mark.slow
def test_every_claim_has_a_plant(finding):
    assert [claim.name for claim in finding.claims] == list(PLANTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_change_makes_the_claim_fail(name, finding, monkeypatch):
    assert {claim.name: claim.holds for claim in finding.claims}[name], finding.markdown
    for function in ("evaluated", "split_results", "duplicate_effects"):
        monkeypatch.setattr(module, function, kept(getattr(module, function)))
    as_published(monkeypatch)
    PLANTS[name](monkeypatch)
    planted = answer(asked(*SMALL), Lab("sqlite:///mlflow.db"))
    assert not {claim.name: claim.holds for claim in planted.claims}[name], planted.markdown


def test_of_one_depth_nothing_is_claimed_of_layers():
    section = asked("models=[wide]")
    results = split_results(jobs_of(section.model_copy(update={"splits": 2, "seeds": 1, "epochs": 1})))
    assert "not tested" in str(module._fewer_layers(section, results))


def spread_by(points: float) -> list[SplitResult]:
    """Return ten splits that differ by so many points, on average equal to logistic regression."""
    signs = (-1, 1) * 5
    return [SplitResult(0.7 + sign * points / 200, 0.7, 0.7 - sign * points / 200, 0.7, {}) for sign in signs]


def test_too_few_rows_are_no_evidence_that_a_difference_is_not_significant():
    for points, kind in ((0.5, Claim), (10, str)):
        results = spread_by(points)
        mean = corrected_mean([result.accuracy for result in results], 1 / 3)
        assert isinstance(module._goal(results, mean), kind)
        assert isinstance(module._no_advantage(results), kind)
    assert "not below ± 2" in str(module._no_advantage(results))


def test_the_lead_over_logistic_regression_has_a_corrected_interval():
    results = spread_by(2.0)
    # leads of ± 2 points: s² = 4 · 10 / 9, and t of 9 degrees of freedom is 2.262
    half = 2.262 * np.sqrt((1 / 10 + 1 / 3) * 4 * 10 / 9)
    lead = lead_over_logistic(results)
    assert [100 * lead.low, 100 * lead.high] == pytest.approx([-half, half], rel=1e-3)
    assert f"0.0 points (-{half:.1f} to +{half:.1f})" in leads({"at random": lead})


def test_with_other_settings_nothing_is_claimed_of_the_published_figure():
    assert asked().published == module.PUBLISHED
    assert asked("split=7", "splits=2").published == module.PUBLISHED
    for other in ("models=[wide,deep]", "dropout=0.2", "epochs=25", "seeds=2", "lr=0.01"):
        assert asked(other).published is None


@pytest.fixture(scope="module")
def brief(tmp_path_factory) -> Finding:
    """Answer the question with settings that are too small for its claims."""
    with contextlib.chdir(tmp_path_factory.mktemp("lab")):
        return answer(
            asked("models=[wide,deep]", "seeds=1", "splits=3", "epochs=2"), Lab("sqlite:///mlflow.db")
        )


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("name", ["spotify", "spotify_duplicates", "spotify_splits"])
def test_pictures_label_their_axes_and_lines(brief, theme, name):
    with applied(theme):
        figure = brief.pictures[name](theme)
    (axes,) = figure.axes
    assert axes.get_xlabel()
    assert axes.get_ylabel() or len(axes.get_yticklabels()) == 2
    assert len(figure.legends[0].get_texts()) >= 4


@cache
def assignment_config():
    return plan(["experiment=assignment"], multirun=True).jobs


def test_the_lab_trains_what_the_assignment_trains():
    """Compare the configurations of both, except for the seed of the split and the name of the table."""
    section = asked()
    lab = plan([*section.overrides(*AT_RANDOM, section.runs), "split.seed=0"], multirun=True).jobs
    there, here = (
        [
            {
                **job.config.model_dump(exclude={"tracking", "sweep"}),
                "data": job.config.data.model_copy(update={"name": ""}),
            }
            for job in jobs
        ]
        for jobs in (assignment_config(), lab)
    )
    key = lambda config: (config["model"]["hidden"], config["seed"])  # noqa: E731
    assert sorted(there, key=key) == sorted(here, key=key)


def rows_of(heading: str) -> list[list[str]]:
    """Return the cells of the first table after a line of the page, without its header."""
    after = PAGE.read_text(encoding="utf-8").split(heading, 1)[1]
    table = re.search(r"(?:^\|.*\n)+", after, flags=re.MULTILINE)
    assert table is not None
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_names_each_dropped_column():
    named = [name for row in rows_of("## Columns") for name in re.findall(r"`(\w+)`", row[0])]
    config = assignment_config()[0].config.data
    assert sorted(named) == sorted(config.drop)


def test_the_page_counts_the_parameters():
    shown = {row[1]: int(row[-1]) for row in rows_of("## Architectures")}
    networks = {
        str(list(job.config.model.hidden)): prepare(job.config).network for job in assignment_config()[::3]
    }
    assert shown == {hidden: network.n_parameters for hidden, network in networks.items()}


def test_the_short_answer_has_the_numbers_of_the_finding():
    network, *_ = rows_of("The chosen model, on test rows:")
    short = PAGE.read_text(encoding="utf-8").split("## In short")[1].split("\n## ")[0].replace(" %", "%")
    assert network[0] == "at random: network [9], 199 parameters"
    for number in (network[1], *network[2].split(" to ")):
        assert number in short
    mean, sd = rows_of("20 other splits of each kind")[0][1].split(" ± ")
    assert mean in short
    assert f"{sd} points" in short
