"""Compute the figures in README.md from `spotify.csv`."""

from pathlib import Path

import numpy as np
import pandas as pd

from sweepgrad.config.schema import Split
from sweepgrad.data.split import split_rows, units_of


def main() -> None:
    songs = pd.read_csv(Path(__file__).with_name("spotify.csv"))
    popular = songs["popularity"] > 50
    assert popular.equals(songs["popular_or_not"] == "popular")
    print(f"popular {popular.sum()}, not {(~popular).sum()}: majority {1 - popular.mean():.1%}")

    by_id = songs.groupby("track_id")
    print(f"rows that repeat a track id: {songs['track_id'].duplicated().sum()}")
    print(f"ids under two genres: {(by_id['track_genre'].nunique() > 1).sum()}")
    print(f"ids with both labels: {(by_id['popular_or_not'].nunique() > 1).sum()}")

    song = song_of(songs)
    by_song = songs.groupby(song)
    print(f"same song under another id: {song[~songs['track_id'].duplicated()].duplicated().sum()}")
    print(f"songs with both labels: {(by_song['popular_or_not'].nunique() > 1).sum()}")
    print(f"largest song: {song.value_counts().index[0]!r}, {song.value_counts().iloc[0]} rows")
    shares = [share_of_test_songs_in_training(song.to_numpy(), seed) for seed in range(20)]
    print(f"test rows whose song is in training: {np.mean(shares):.1%} ± {np.std(shares):.1%}")

    units = units_of(songs, (("artists", "track_name"), ("track_id",)))
    grouped = [share_left_by_grouping(song.to_numpy(), popular.to_numpy(), units, seed) for seed in range(10)]
    print(
        f"the same, grouped as in conf/data/spotify.yaml: {np.mean(grouped):.1%}, at seed 0 {grouped[0]:.1%}"
    )

    zero = songs["popularity"] == 0
    elsewhere = song[zero].isin(set(song[popular]))
    print(f"popularity 0: {zero.sum()} rows ({zero.mean():.0%}); song popular elsewhere: {elsewhere.sum()}")
    print(f"popularity 0 by genre: {songs['track_genre'][zero].value_counts().to_dict()}")
    print(f"popular by genre: {popular.groupby(songs['track_genre']).mean().round(3).to_dict()}")


def song_of(songs: pd.DataFrame) -> pd.Series:
    """Return the song of each row: its title without brackets and suffixes, and its first artist."""
    title = songs["track_name"].str.lower()
    title = title.str.replace(r"\s*[(\[].*?[)\]]", "", regex=True).str.replace(r"\s+-\s+.*$", "", regex=True)
    return title.str.strip() + " | " + songs["artists"].str.lower().str.split(";").str[0]


def share_of_test_songs_in_training(song: np.ndarray, seed: int) -> float:
    """Return the share of test rows of a random 60/20/20 split whose song is in the training set."""
    rows = np.random.default_rng(seed).permutation(len(song))
    train, test = rows[: len(rows) * 6 // 10], rows[len(rows) * 8 // 10 :]
    return float(np.isin(song[test], song[train]).mean())


def share_left_by_grouping(song: np.ndarray, popular: np.ndarray, units: np.ndarray, seed: int) -> float:
    """Return the same share for the split of sweepgrad, which keeps the rows of a unit together."""
    split = Split(train=0.6, val=0.2, test=0.2, seed=seed, stratify=True)
    parts = split_rows(popular.astype(float), units, split)
    return float(np.isin(song[parts.test], song[parts.train]).mean())


if __name__ == "__main__":
    main()
