"""What each configuration of a sweep says of each validation row: what choosing between them goes by."""

import tempfile
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.bundle import Bundle
from sweepgrad.config import Config, Metric, Select
from sweepgrad.data.doors import Digests, open_validation
from sweepgrad.data.preprocess import Features, Preprocessor
from sweepgrad.data.split import PARTS, units_of
from sweepgrad.entities import BUNDLE, Logged, local
from sweepgrad.errors import UserError
from sweepgrad.faults import check
from sweepgrad.ranking import Entry, comparable, finished, fold_of, folds, judged, rank, seed_of, splits
from sweepgrad.selection import Candidate, Choice, choose, contributions
from sweepgrad.tracking import DIGEST, Store

_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times faster


def configuration(store: Store, run: Logged) -> Config:
    """What a run was configured as."""
    with tempfile.TemporaryDirectory() as copies:
        path = local(run, "config.yaml") or store.download(run, "config.yaml", Path(copies))
        return check(_SafeLoader(path.read_text(encoding="utf-8")).get_single_data())


def standings(store: Store, runs: Sequence[Logged]) -> tuple[list[Entry], Metric, str]:
    """The runs of a sweep ranked, with what the validation rows say of them where these can be had.

    Returns:
        The entries, the metric that they are ranked by, and what the user should be told; empty for nothing.

    Raises:
        UserError: no run finished.
    """
    first = next((run for run in runs if finished(run)), None)
    if first is None:
        return rank(runs), "accuracy", ""  # which says so
    try:
        select = configuration(store, first).select
    except UserError as error:
        return rank(runs), "accuracy", f"ranked by accuracy, for its configuration cannot be read: {error}"
    entries = rank(runs, select.metric)
    ranked = [run for entry in entries for run in entry.runs]
    if not comparable(ranked):
        told = "these runs were made on different tables or splits: their figures cannot be compared"
        if len(splits(ranked)) > 1:
            told += "; sweepgrad evaluate judges the procedure split by split"
        return entries, select.metric, told
    try:
        return judged(entries, compare(store, entries, select)), select.metric, ""
    except UserError as error:
        return entries, select.metric, f"without intervals over the validation rows: {error}"


def compare(
    store: Store, entries: Sequence[Entry], select: Select, say: Callable[[str], None] = lambda _: None
) -> Choice:
    """Choose among the first of `entries`: those that have all that the very first has.

    Arguments:
        entries: ranked; their runs can be compared.
        say: told how far things are.

    Raises:
        UserError: a table or split is not what the runs were made on.
    """

    def has(entry: Entry) -> tuple[int, set[str]]:
        return entry.unfinished, folds(entry.runs)

    full = list(takewhile(lambda entry: has(entry) == has(entries[0]), entries))
    validation = _Validation(store, select.metric)
    found = []
    for number, entry in enumerate(full, 1):
        found.append(Candidate(entry.n_parameters, validation.contributions(entry.runs)))
        say(f"{number} of {len(full)} configurations looked at, row by row")
    return choose(found, validation.units, select.rule, rng.key(0, "choice"))


class _Validation:
    """The validation rows of a sweep, fold by fold, and what its models say of them."""

    def __init__(self, store: Store, metric: Metric) -> None:
        self._store, self._metric = store, metric
        self._rows: dict[str, tuple[pd.DataFrame, Array]] = {}
        self._features: dict[tuple[str, Preprocessor], Features] = {}
        self._units: dict[str, NDArray[np.int64]] = {}

    @property
    def units(self) -> NDArray[np.int64]:
        """The unit of each row, fold after fold: no unit has rows in two."""
        offset, found = 0, []
        for fold in sorted(self._units):
            found.append(self._units[fold] + offset)
            offset = int(found[-1].max()) + 1
        return np.concatenate(found)

    def contributions(self, runs: Sequence[Logged]) -> Array:
        """(S, N), for each seed that has a run on every fold; the mean is that of the folds' metrics."""
        n_folds = len(folds(runs))
        by_seed: dict[str, dict[str, Logged]] = {}
        for run in runs:
            by_seed.setdefault(seed_of(run), {})[fold_of(run)] = run
        pieces = [
            [self._of(by_fold[fold]) for fold in sorted(by_fold)]
            for by_fold in by_seed.values()
            if len(by_fold) == n_folds
        ]
        n = sum(piece.size for piece in pieces[0])
        return np.array([np.concatenate([p * (n / (n_folds * p.size)) for p in seed]) for seed in pieces])

    def _of(self, run: Logged) -> Array:
        config = configuration(self._store, run)
        with tempfile.TemporaryDirectory() as copies:
            bundle = Bundle.load(local(run, BUNDLE) or self._store.download(run, BUNDLE, Path(copies)))
        which = config.data.model_dump_json() + config.split.model_dump_json()
        if which not in self._rows:
            digests = Digests(*(run.tags[f"{DIGEST}{part}"] for part in ("table", *PARTS)))
            rows = open_validation(config.data, config.split, digests)
            self._rows[which] = rows.frame, rows.y
            self._units[fold_of(run)] = units_of(rows.frame, rows.roles.group)
        frame, y = self._rows[which]
        known = which, bundle.preprocessor
        if known not in self._features:
            self._features[known] = bundle.preprocessor.transform(frame)
        p = bundle.network.probabilities(bundle.weights, self._features[known])
        # What rounds to 0 or 1 is not certain, and one row must not weigh infinitely.
        return contributions(self._metric, y, np.clip(p, 1e-300, 1 - 2.0**-53))
