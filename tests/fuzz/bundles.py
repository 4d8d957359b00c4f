"""Fuzz target: the files of a model, as they are loaded to predict or to be registered."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from tests.fuzz.mutations import of_bytes, of_json, of_zip

from sweepgrad.training.bundle import BUNDLE, WEIGHTS, Bundle

_FIXTURES = Path(__file__).parents[1] / "fixtures" / "0.1.0"
_FOLDERS = (
    *(_FIXTURES / f"bundle-format-{version}" for version in (1, 2)),
    *sorted((_FIXTURES / "runs" / "sweeps").glob("*/*/model"))[::4],
)
_BETWEEN = b"\n-- weights.npz\n"


def examples() -> st.SearchStrategy[bytes]:
    """Return the two files of models, one of them changed."""
    return st.integers(0, 2**62).map(made)


def made(seed: int) -> bytes:
    """Return the two files of a model, one of them changed, or both."""
    rng = random.Random(seed)
    folder = rng.choice(_FOLDERS)
    description, weights = ((folder / name).read_bytes() for name in (BUNDLE, WEIGHTS))
    which = rng.random()
    if which < 0.6:
        description = of_json(rng, description) if rng.random() < 0.85 else of_bytes(rng, description)
    if which > 0.55:
        weights = of_zip(rng, weights)
    return description + _BETWEEN + weights


def attack(data: bytes) -> None:
    """Load a model and predict a few rows."""
    folder = Path("model")
    folder.mkdir()
    try:
        for name, content in zip((BUNDLE, WEIGHTS), data.split(_BETWEEN, 1), strict=False):
            (folder / name).write_bytes(content)
        bundle = Bundle.load(folder)
        levels = {
            part.column: part.levels[:1] for each in bundle.members for part in each.preprocessor.categorical
        }
        frame = pd.DataFrame(
            {
                name: [*levels[name], "unknown", None][:2] if name in levels else [1.5, np.nan]
                for name in bundle.columns
            }
        )
        with np.errstate(all="ignore"):
            found = bundle.predict(frame)
        assert len(found) == len(frame)
        repr(bundle)
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
