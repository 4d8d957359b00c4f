"""What counts as the same configuration, by the keys that tell two runs apart.

Every key shapes what is trained but those of `KEEPING` and `CHOOSING`. Of those that do, `REPLICATES` repeat
the same configuration with other random numbers or on other validation rows, `SPLIT` says which rows are
tested, and `LENGTH` only how long a run is trained.
"""

from sweepgrad.config.schema import Config

KEEPING = ("tracking", "sweep")
"""Sections on where results are kept and how the jobs of a sweep go together."""

CHOOSING = ("select",)
"""Sections on how the best of a sweep is chosen."""

SEED, FOLD = "seed", "split.fold"
REPLICATES = (SEED, FOLD)
SPLIT = ("split.seed", "split.outer_fold")
LENGTH = ("train.epochs", "train.patience")


def trains(section: str) -> bool:
    """Return whether what is trained follows from a section, or a key of its own."""
    return section not in KEEPING + CHOOSING


def candidate(config: Config) -> str:
    """Return what runs have in common that are replicates of one another, as JSON."""
    return config.model_dump_json(exclude={SEED: True, "split": {"fold"}, **dict.fromkeys(KEEPING, True)})
