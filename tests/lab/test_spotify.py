"""The Spotify model: the effect of duplicates by a crossover trial, and the sweeps behind the finding."""

import numpy as np
import pandas as pd
import pytest

from sweepgrad import rng
from sweepgrad.compose.plan import plan
from sweepgrad.lab.configs import settings
from sweepgrad.lab.questions.spotify import AT_RANDOM, Settings, duplicate_effect, duplicate_effects
from sweepgrad.training.experiment import Experiment, prepare


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


def test_it_is_the_mean_over_architectures_and_seeds():
    _, section = settings("spotify", ["models=[wide,linear]", "dropout=0", "seeds=1", "splits=2", "epochs=1"])
    assert isinstance(section, Settings)
    found = duplicate_effects(section)
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
