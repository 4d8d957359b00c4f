"""The Spotify songs as a user of pandas and scikit-learn would read them, with the features that ours has.

A song's rows are those of equal artists and title. Ours also keeps rows of equal track id together, so the
two splits are alike and not the same.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GroupShuffleSplit
from sklearn.preprocessing import OneHotEncoder, StandardScaler

FILE = Path(__file__).resolve().parents[2] / "data" / "spotify.csv"
NUMERIC = [
    "duration_ms",
    "danceability",
    "energy",
    "loudness",
    "speechiness",
    "acousticness",
    "instrumentalness",
    "liveness",
    "valence",
    "tempo",
]
CATEGORICAL = ["explicit", "mode", "track_genre"]
SONG = ["artists", "track_name"]
TARGET = "popular_or_not"


def parts() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, D) and labels (N,) of 60 % of the rows for training, then of 20 % for validation.

    The other 20 % are left alone. What is learned from the columns is learned from the training rows.
    """
    table = pd.read_csv(FILE, usecols=[*NUMERIC, *CATEGORICAL, *SONG, TARGET])
    song = table.groupby(SONG).ngroup()
    known, _ = next(GroupShuffleSplit(1, test_size=0.2, random_state=0).split(table, groups=song))
    train, val = next(
        GroupShuffleSplit(1, test_size=0.25, random_state=0).split(known, groups=song.iloc[known])
    )
    columns = make_column_transformer(
        (StandardScaler(), NUMERIC),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), CATEGORICAL),
    )
    y = (table[TARGET] == "popular").to_numpy(np.float64)
    X_train = columns.fit_transform(table.iloc[known[train]])
    X_val = columns.transform(table.iloc[known[val]])
    return X_train, y[known[train]], X_val, y[known[val]]
