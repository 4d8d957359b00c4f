"""The Spotify model: the worth of twins by a crossover trial, and the sweeps behind the finding."""

import numpy as np
import pandas as pd
import pytest

from sweepgrad import rng
from sweepgrad.compose.plan import plan
from sweepgrad.lab.questions import settings
from sweepgrad.lab.spotify import AT_RANDOM, Settings, worth_of_twins, worths
from sweepgrad.training.experiment import Experiment, prepare


def experiment(tmp_path, *overrides: str) -> Experiment:
    """A table of coin tosses: 100 coins by name, each three times with the same answer, and a number."""
    drawn = np.random.default_rng(0)
    coins = pd.DataFrame({"weight": drawn.normal(size=100), "heads": drawn.random(100) < 0.5})
    coins["coin"] = [f"coin {i}" for i in range(100)]
    pd.concat([coins] * 3).to_csv(tmp_path / "tosses.csv", index=False)
    words = ["data=csv", f"data.path={tmp_path / 'tosses.csv'}", "data.target=heads", *overrides]
    (job,) = plan(words, multirun=False).jobs
    return prepare(job.config)


def test_twins_of_coin_tosses_are_worth_half(tmp_path):
    """Who saw a twin knows the answer, and who did not can only guess."""
    more = ("data.keep=[coin]", "train.epochs=50", "optimizer.lr=0.1")
    remembers = experiment(tmp_path, "model=linear", *more)
    share, worth = worth_of_twins(remembers, rng.key(0, "test"))
    train, val = remembers.train.X, remembers.val.X
    assert share == np.mean([(row == train).all(axis=1).any() for row in val])
    # Some 50 rows of some 40 coins, right with probability ½ without their twins: the standard error of the
    # difference is 0.5 / √40 = 0.08, and three of them allow for what is not remembered.
    assert worth == pytest.approx(0.5, abs=0.24)


def test_twins_are_worth_little_to_who_cannot_remember(tmp_path):
    forgets = experiment(tmp_path, "model=linear", "data.drop=[coin]")
    share, worth = worth_of_twins(forgets, rng.key(0, "test"))
    assert share > 0.5
    # Two parameters for 180 rows, so a row's own twins are next to nothing: by chance 0.08, three of them.
    assert abs(worth) < 0.24


def test_it_is_the_mean_over_architectures_and_seeds():
    _, section = settings("spotify", ["models=[wide,linear]", "dropout=0", "seeds=1", "splits=2", "epochs=1"])
    assert isinstance(section, Settings)
    found = worths(section)
    words = [*section.overrides(*AT_RANDOM), "split.seed=4000,4001", "seed=1"]
    each = {
        (job.config.split.seed, len(job.config.model.hidden)): worth_of_twins(
            prepare(job.config), rng.key(job.config.split.seed, "lab/spotify")
        )
        for job in plan(words, multirun=True).jobs
    }
    assert found == [
        pytest.approx(np.mean([each[split, 0], each[split, 1]], axis=0)) for split in (4000, 4001)
    ]
