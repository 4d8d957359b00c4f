"""What each candidate of a sweep says of each validation row: what choosing between them goes by."""

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

_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times faster


def configuration(store: Store, run: Logged) -> Config:
    """Return what a run was configured as.

    Raises:
        UserError: this version, with the extensions that are installed, does not know a setting of it.
    """
    with tempfile.TemporaryDirectory() as copies:
        path = local(run, "config.yaml") or store.download(run, "config.yaml", Path(copies))
        values = old_names.config(_SafeLoader(path.read_text(encoding="utf-8")).get_single_data())
    try:
        return check(values)
    except ConfigErrors as error:
        raise UserError(
            f"run {run.name} was configured with settings that are unknown here ({error}): install the"
            " extension that they came from, or train anew"
        ) from None


def bundle_of(store: Store, run: Logged) -> Bundle:
    """The model of a run."""
    with tempfile.TemporaryDirectory() as copies:
        return Bundle.load(local(run, BUNDLE) or store.download(run, BUNDLE, Path(copies)))


def digests_of(run: Logged) -> Digests:
    """Of the rows that a run was made on."""
    return Digests(*(run.tags[f"{DIGEST}{part}"] for part in ("table", *PARTS)))


def validation_of(tables: Tables, run: Logged, config: Config) -> Rows:
    """Return the validation rows that a run was compared on.

    Raises:
        UserError: the table or the split is not what it was made on.
    """
    return tables.validation(config.data, config.split, digests_of(run), f"run {run.run_id}")


def compare(
    store: Store, tables: Tables, entries: Sequence[Entry], select: Select
) -> tuple[list[Entry], Choice]:
    """Choose among the first of `entries`, those that have all that the very first has, and their ensembles.

    Arguments:
        entries: ranked; their runs can be compared.

    Returns:
        The entries with what was found, the ensembles that `select.ensemble` asks for in their places among
        them; and the choice, which numbers them as they stand there.

    Raises:
        UserError: a table or split is not what the runs were made on, no seed has a run on every fold, all
            validation rows are of one group, or members of an ensemble were trained on different columns.
    """

    def has(entry: Entry) -> tuple[int, set[str]]:
        return entry.unfinished, folds(entry.runs)

    full = list(takewhile(lambda entry: has(entry) == has(entries[0]), entries))
    validation, pace = _Validation(store, tables), ProgressLog(log, "comparing")
    metric, singles = METRICS[select.metric], list[Candidate]()
    added: list[tuple[Entry, Candidate]] = []
    best: list[tuple[Entry, list[list[FoldScores]]]] = []
    for number, entry in enumerate(full, 1):
        seeds = validation.seeds(entry.runs)
        if not seeds:
            raise UserError("no seed has a run on every fold: train what is missing")
        scored = [[validation.scores(run) for run in seed] for seed in seeds]
        singles.append(Candidate(entry.n_parameters, ensembles.each(metric, scored)))
        if isinstance(select.ensemble, SeedsEnsemble) and len(seeds) > 1:
            name = f"{len(seeds)} seeds"
            added.append(ensembles.averaged(metric, [(entry, scored)], name, seeds, singles[-1:]))
        if isinstance(select.ensemble, BestEnsemble) and number <= select.ensemble.size:
            best.append((entry, scored))
        pace.tell(f"{number} of {len(full)} configurations looked at, row by row")
    if len(np.unique(validation.units)) < 2:
        raise UserError(
            "all validation rows are of one group, so nothing tells how sure a choice would be: take another"
            " split.seed, or groups that are smaller (data.group)"
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
    """The validation rows of a sweep, fold by fold, and what its models say of them."""

    def __init__(self, store: Store, tables: Tables) -> None:
        self._store, self._tables = store, tables
        self._rows: dict[str, tuple[pd.DataFrame, Array]] = {}
        self._features: dict[tuple[str, Preprocessor], Features] = {}
        self._units: dict[str, NDArray[np.int64]] = {}
        self._data: dict[str, str] = {}

    @property
    def units(self) -> NDArray[np.int64]:
        """The unit of each row, fold after fold: no unit has rows in two."""
        offset, found = 0, []
        for fold in sorted(self._units):
            found.append(self._units[fold] + offset)
            offset = int(found[-1].max()) + 1
        return np.concatenate(found)

    def seeds(self, runs: Sequence[Logged]) -> list[list[Logged]]:
        """The runs of each seed that has one on every fold, by fold."""
        n_folds = len(folds(runs))
        by_seed: dict[str, dict[str, Logged]] = {}
        for run in runs:
            by_seed.setdefault(seed_of(run), {})[fold_of(run)] = run
        return [[of[fold] for fold in sorted(of)] for of in by_seed.values() if len(of) == n_folds]

    def scores(self, run: Logged) -> FoldScores:
        """Return what a run's model makes of the validation rows of its fold."""
        config, bundle = configuration(self._store, run), bundle_of(self._store, run)
        data = config.data.model_dump_json()
        which = data + config.split.model_dump_json()
        self._data[run.run_id] = data
        if which not in self._rows:
            rows = validation_of(self._tables, run, config)
            self._rows[which] = rows.frame, rows.y
            self._units[fold_of(run)] = units_of(rows.frame, rows.roles.group)
        frame, y = self._rows[which]
        (member,) = bundle.members
        known = which, member.preprocessor
        if known not in self._features:
            self._features[known] = member.preprocessor.transform(frame)
        return FoldScores(y, member.network.scaled_scores(member.weights, self._features[known]))

    def refuse_several_tables(self, seeds: Sequence[Sequence[Logged]]) -> None:
        """Members of an ensemble are asked about the same rows, which have the columns of one section."""
        if len({self._data[run.run_id] for seed in seeds for run in seed}) > 1:
            raise UserError(
                "select.ensemble: the best configurations differ in their data section, and an average wants"
                " the same columns for all: choose among one of them, or say select.ensemble=none"
            )
