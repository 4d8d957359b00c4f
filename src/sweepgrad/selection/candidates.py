"""Compare the candidates of a sweep, and their ensembles, on each validation row."""

import logging
import tempfile
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.config import old_names
from sweepgrad.config.check import ConfigErrors, check
from sweepgrad.config.ensembles import BestEnsemble, SeedsEnsemble
from sweepgrad.config.schema import Config, Select
from sweepgrad.data.access import Rows, Tables
from sweepgrad.data.digests import Digests
from sweepgrad.data.preprocess.transforms import Features, Preprocessor
from sweepgrad.data.split import PARTS, units_of
from sweepgrad.errors import UserError
from sweepgrad.messages import ProgressLog
from sweepgrad.selection import ensembles
from sweepgrad.selection.ensembles import FoldScores
from sweepgrad.selection.ranking import Entry, fold_of, folds, seed_of, with_standings
from sweepgrad.stats.metrics import METRICS
from sweepgrad.stats.selection import Candidate, Choice, choose, optimism_of_best
from sweepgrad.stats.standard_errors import settled
from sweepgrad.tracking.mapping import BUNDLE, Logged, local
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.tags import DIGEST
from sweepgrad.training.bundle import Bundle

log = logging.getLogger(__name__)

_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is ten times faster


def configuration(store: Store, run: Logged) -> Config:
    """Return the configuration of a run.

    Raises:
        UserError: a setting is unknown to this version with the installed extensions.
    """
    with tempfile.TemporaryDirectory() as copies:
        path = local(run, "config.yaml") or store.download(run, "config.yaml", Path(copies))
        values = old_names.config(_SafeLoader(path.read_text(encoding="utf-8")).get_single_data())
    try:
        return check(values)
    except ConfigErrors as error:
        raise UserError(
            f"run {run.name}: its configuration has settings that are unknown here ({error}). Install the"
            " extension that defines them, or train the run again"
        ) from None


def bundle_of(store: Store, run: Logged) -> Bundle:
    """Return the model of a run."""
    with tempfile.TemporaryDirectory() as copies:
        return Bundle.load(local(run, BUNDLE) or store.download(run, BUNDLE, Path(copies)))


def digests_of(run: Logged) -> Digests:
    """Return the digests of a run's table and its parts."""
    return Digests(*(run.tags[f"{DIGEST}{part}"] for part in ("table", *PARTS)))


def validation_of(tables: Tables, run: Logged, config: Config) -> Rows:
    """Return the validation rows of a run.

    Raises:
        UserError: the table or the split has changed since the run was trained.
    """
    return tables.validation(config.data, config.split, digests_of(run), f"run {run.run_id}")


def compare(
    store: Store, tables: Tables, entries: Sequence[Entry], select: Select
) -> tuple[list[Entry], Choice]:
    """Choose among the leading entries, as far as they are as complete as the first, and their ensembles.

    Arguments:
        entries: ranked; their runs can be compared.

    Returns:
        The entries with their standings, including the ensembles of `select.ensemble` at their ranks; and
        the choice, which refers to entries by their index in that list.

    Raises:
        UserError: a table or a split has changed since training, no seed has a run on every fold, all
            validation rows are in one group, or members of an ensemble were trained on different columns.
    """

    def completeness(entry: Entry) -> tuple[int, set[str]]:
        return entry.unfinished, folds(entry.runs)

    full = list(takewhile(lambda entry: completeness(entry) == completeness(entries[0]), entries))
    validation, progress = _Validation(store, tables), ProgressLog(log, "comparing")
    metric, singles = METRICS[select.metric], list[Candidate]()
    added: list[tuple[Entry, Candidate]] = []
    best: list[tuple[Entry, list[list[FoldScores]]]] = []
    for number, entry in enumerate(full, 1):
        seeds = validation.seeds(entry.runs)
        if not seeds:
            raise UserError("no seed has a run on every fold: run the sweep again to train the missing runs")
        scored = [[validation.scores(run) for run in seed] for seed in seeds]
        singles.append(Candidate(entry.n_parameters, ensembles.each(metric, scored)))
        if isinstance(select.ensemble, SeedsEnsemble) and len(seeds) > 1:
            name = f"{len(seeds)} seeds"
            added.append(ensembles.averaged(metric, [(entry, scored)], name, seeds, singles[-1:]))
        if isinstance(select.ensemble, BestEnsemble) and number <= select.ensemble.size:
            best.append((entry, scored))
        progress.tell(f"{number} of {len(full)} configurations compared on validation rows")
    if len(np.unique(validation.units)) < 2:
        raise UserError(
            "all validation rows are in one group, so standard errors cannot be estimated: choose another"
            " split.seed, or smaller groups (data.group)"
        )
    if isinstance(select.ensemble, BestEnsemble) and len(best) == (size := select.ensemble.size):
        seeds = [seed for entry, _ in best for seed in validation.seeds(entry.runs)]
        validation.refuse_several_tables(seeds)
        optimism = optimism_of_best(singles, validation.units, size, rng.key(0, "members"))
        name = f"{size} best"
        added.append(ensembles.averaged(metric, best, name, seeds, singles[:size], optimism))
    found = [*zip(full, singles, strict=True), *added]
    if added:
        found.sort(key=lambda one: (-settled(one[1].contributions.mean()), one[1].n_parameters))
    choice = choose([one for _, one in found], validation.units, select.rule, rng.key(0, "choice"))
    return with_standings([*(entry for entry, _ in found), *entries[len(full) :]], choice), choice


class _Validation:
    """The validation rows of a sweep, fold by fold, and the scores of its models."""

    def __init__(self, store: Store, tables: Tables) -> None:
        self._store, self._tables = store, tables
        self._rows: dict[str, tuple[pd.DataFrame, Array]] = {}
        self._features: dict[tuple[str, Preprocessor], Features] = {}
        self._units: dict[str, NDArray[np.int64]] = {}
        self._data: dict[str, str] = {}

    @property
    def units(self) -> NDArray[np.int64]:
        """The unit of each row, fold after fold; no unit has rows in two folds."""
        offset, found = 0, []
        for fold in sorted(self._units):
            found.append(self._units[fold] + offset)
            offset = int(found[-1].max()) + 1
        return np.concatenate(found)

    def seeds(self, runs: Sequence[Logged]) -> list[list[Logged]]:
        """Return the runs of each seed that has a run on every fold, by fold."""
        n_folds = len(folds(runs))
        by_seed: dict[str, dict[str, Logged]] = {}
        for run in runs:
            by_seed.setdefault(seed_of(run), {})[fold_of(run)] = run
        complete = [by_fold for by_fold in by_seed.values() if len(by_fold) == n_folds]
        return [[by_fold[fold] for fold in sorted(by_fold)] for by_fold in complete]

    def scores(self, run: Logged) -> FoldScores:
        """Return the scores of a run's model on the validation rows of its fold."""
        config, bundle = configuration(self._store, run), bundle_of(self._store, run)
        data = config.data.model_dump_json()
        rows_key = data + config.split.model_dump_json()
        self._data[run.run_id] = data
        if rows_key not in self._rows:
            rows = validation_of(self._tables, run, config)
            self._rows[rows_key] = rows.frame, rows.y
            self._units[fold_of(run)] = units_of(rows.frame, rows.roles.group)
        frame, y = self._rows[rows_key]
        (member,) = bundle.members
        features_key = rows_key, member.preprocessor
        if features_key not in self._features:
            self._features[features_key] = member.preprocessor.transform(frame)
        return FoldScores(y, member.network.scaled_scores(member.weights, self._features[features_key]))

    def refuse_several_tables(self, seeds: Sequence[Sequence[Logged]]) -> None:
        """Raise if the runs differ in their data section: an ensemble predicts the rows of one table."""
        if len({self._data[run.run_id] for seed in seeds for run in seed}) > 1:
            raise UserError(
                "select.ensemble: the best configurations differ in their data section, but an ensemble needs"
                " the same columns for all members. Sweep over one data section, or set select.ensemble=none"
            )
