"""The keys that decide whether two runs have the same configuration.

Every key influences what is trained, except those of `KEEPING` and `CHOOSING`. Of the others, `REPLICATES`
repeat the same configuration with other random numbers or other validation rows, `SPLIT` selects the test
rows, and `LENGTH` only changes how long a run is trained.
"""

from sweepgrad.config.schema import Config

KEEPING = ("tracking", "sweep")
"""Sections on where results are stored and how the jobs of a sweep are run."""

CHOOSING = ("select",)
"""Sections on how the best model of a sweep is chosen."""

SEED, FOLD = "seed", "split.fold"
REPLICATES = (SEED, FOLD)
SPLIT = ("split.seed", "split.outer_fold")
LENGTH = ("train.epochs", "train.patience")


def trains(section: str) -> bool:
    """Return whether a section, or a key of its own, influences what is trained."""
    return section not in KEEPING + CHOOSING


def candidate(config: Config) -> str:
    """Return the configuration that replicates have in common, as JSON."""
    return config.model_dump_json(exclude={SEED: True, "split": {"fold"}, **dict.fromkeys(KEEPING, True)})
