"""Check what MLflow keeps of the runs of a sweep, before anything is decided by it.

Each run is there twice: as params, metrics and tags, and as files: its record, its validation scores and its
model. The record has the digests of the files and a checksum of itself. That finds damage and careless edits.
It does not find someone who computes digests again, so figures are not believed either: they are computed
from the validation scores and the table's labels, and the scores of a model that is chosen from its weights.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import isclose
from pathlib import Path

import numpy as np

from sweepgrad.autograd.value import Array, ShapeError
from sweepgrad.config.check import ConfigErrors, check
from sweepgrad.config.schema import Config
from sweepgrad.data.access import Rows, Tables
from sweepgrad.data.digests import Digests
from sweepgrad.data.preprocess.transforms import Features, Preprocessor
from sweepgrad.data.split import PARTS
from sweepgrad.engine.blas import keep_to_one_thread
from sweepgrad.errors import DamagedFile, UserError
from sweepgrad.runs import provenance
from sweepgrad.runs.record import VALIDATION, Record
from sweepgrad.selection.ensembles import FoldScores
from sweepgrad.selection.run_files import Damaged, model_files, record_of, validation_scores
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tasks.registry import task_of
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.tags import DIGEST, required
from sweepgrad.training.bundle import Bundle
from sweepgrad.training.experiment import dtype_of

DAMAGED = "DAMAGED"
"""The status of a run that finished, and whose figures cannot be believed."""

_KEPT = 2**28  # bytes of validation scores that are kept in memory, not read again


def digests_of(run: Logged) -> Digests:
    """Return the digests of a run's table and its parts; raise `Damaged` if a tag was deleted."""
    try:
        return Digests(*(required(run, f"{DIGEST}{part}") for part in ("table", *PARTS)))
    except DamagedFile as error:  # not a UserError, which would be taken for one of the table of all runs
        raise Damaged(run, str(error)) from None


class Evidence:
    """The runs of a sweep in MLflow. Everything is checked when it is first used.

    Attributes:
        tables: the tables of the runs.
        problems: what is wrong with runs, by their ids.
        unread: why figures could not be computed; empty if they could.
        as_logged: the ids of runs of 0.1.0 whose metrics were not checked, since nothing needed their scores.
    """

    def __init__(self, store: Store, tables: Tables) -> None:
        self.store, self.tables = store, tables
        self.problems: dict[str, str] = {}
        self.unread = ""
        self.as_logged: set[str] = set()
        self._found: dict[str, Logged] = {}
        self._records: dict[str, Record] = {}
        self._configs: dict[str, Config] = {}
        self._labels: dict[str, Array | UserError] = {}
        self._scores: dict[str, Array] = {}
        self._kept = 0
        self._rows: dict[str, Rows] = {}
        self._features: dict[tuple[str, Preprocessor, str], Features] = {}
        self._bundles: dict[str, Bundle] = {}

    # What is decided by

    def checked(self, runs: Sequence[Logged]) -> list[Logged]:
        """Return runs with the metrics of their predictions; those that are damaged with that status.

        The metrics of runs of 0.1.0, which kept no predictions, are checked by `scores`. If a table cannot be
        read, metrics are those of the record, and `unread` says so.
        """
        found = []
        for run in runs:
            if run.status == "FINISHED" and run.run_id not in self.problems:
                try:
                    if run.run_id not in self._found:
                        self._found[run.run_id] = self._checked(run)
                    run = self._found[run.run_id]
                except Damaged as damaged:
                    self.reject(damaged)
            found.append(replace(run, status=DAMAGED) if run.run_id in self.problems else run)
        return found

    def reject(self, damaged: Damaged) -> None:
        """Note that a run is damaged."""
        self.problems[damaged.run.run_id] = damaged.problem

    def record(self, run: Logged) -> Record:
        """Return the record of a run.

        Raises:
            Damaged: it is missing or was changed, or params, metrics or tags differ from it.
        """
        if run.run_id not in self._records:
            self._records[run.run_id] = record_of(self.store, run)
        return self._records[run.run_id]

    def config(self, run: Logged) -> Config:
        """Return the configuration of a run.

        Raises:
            UserError: a setting is unknown to this version with the installed extensions.
        """
        try:
            return check(self.record(run).config)
        except ConfigErrors as error:
            raise UserError(
                f"run {run.name}: its configuration has settings that are unknown here ({error}). Install the"
                " extension that defines them, or train the run again"
            ) from None

    def rows(self, run: Logged) -> Rows:
        """Return the validation rows of a run.

        Raises:
            UserError: the table or the split has changed since the run was trained.
        """
        key, config = self._data(run)
        if key not in self._rows:
            expected = digests_of(run)
            self._rows[key] = self.tables.validation(config.data, config.split, expected, f"run {run.run_id}")
        return self._rows[key]

    def scores(self, run: Logged) -> FoldScores:
        """Return the scores of a run's model on its validation rows, as they were kept.

        Those of runs of 0.1.0 are predicted, and the metrics of these runs are checked.
        """
        y, stored = self._y(run), self._stored(run)
        if stored is None:
            stored = self.predicted(run)
            self._figures(run, y, stored)
            self.as_logged.discard(run.run_id)
        return FoldScores(y, stored)

    def bundle(self, run: Logged) -> Bundle:
        """Return the model of a run.

        Raises:
            Damaged: its files were changed, or are no model.
            UserError: it needs an extension.
        """
        if run.run_id in self._bundles:
            return self._bundles[run.run_id]
        with self.model_files(run) as folder:
            try:
                return Bundle.load(folder)
            except DamagedFile as error:
                raise Damaged(run, str(error)) from None

    @contextmanager
    def model_files(self, run: Logged) -> Iterator[Path]:
        """Yield a folder with the files of a run's model.

        Raises:
            Damaged: they were changed, or are missing.
        """
        with model_files(self.store, run, self.record(run)) as folder:
            yield folder

    def predicted(self, run: Logged) -> Array:
        """Return the scores of the validation rows by the weights of a run, with the bits of training."""
        bundle, rows, (key, config) = self.bundle(run), self.rows(run), self._data(run)
        for name in ("target", "positive", "negative"):
            one, other = getattr(bundle, name), getattr(rows.roles, name)
            if one != other:
                raise Damaged(run, f"its model has {name} {one!r}, but its table has {other!r}")
        if len(bundle.members) != 1:
            raise Damaged(run, f"its model has {len(bundle.members)} networks instead of one")
        (member,) = bundle.members
        dtype = dtype_of(config)
        place = key, member.preprocessor, np.dtype(dtype).name
        keep_to_one_thread()
        try:
            if place not in self._features:
                out = np.empty((len(rows), len(member.preprocessor.names)), dtype)
                self._features[place] = member.preprocessor.transform(rows.frame, out)
            return member.network.scaled_scores(member.weights, self._features[place])
        except (ShapeError, UserError) as error:
            raise Damaged(run, f"its model cannot predict its validation rows: {error}") from None

    def check_weights(self, run: Logged) -> None:
        """Check that a run's weights and preprocessing predict its validation scores.

        They do to the bit in the environment of training, and up to rounding in another. Its model is kept,
        so that what is evaluated is what was checked.

        Raises:
            Damaged: they do not.
        """
        record, stored = self.record(run), self._stored(run)
        self._bundles[run.run_id] = self.bundle(run)
        if stored is None:
            self.scores(run)
            return
        found = self.predicted(run)
        if found.dtype == stored.dtype and found.tobytes() == stored.tobytes():
            return
        if provenance.differences(record.environment, provenance.environment()):
            tolerance = provenance.TOLERANCE[self._data(run)[1].engine.dtype]
            if np.allclose(found, stored, rtol=tolerance, atol=tolerance):
                return
        gap = np.abs(found - stored)
        raise Damaged(
            run,
            f"its weights do not predict its {VALIDATION}: {np.count_nonzero(gap)} of {gap.size} scores"
            f" differ, by up to {gap.max():.2g}",
        )

    # How it is checked

    def _checked(self, run: Logged) -> Logged:
        record = self.record(run)
        try:
            task = task_of(self._data(run)[1].data)
        except UserError:  # ranked as of this task, see `standings`
            task = BINARY
        if missing := [each.name for each in task.metrics.values() if each.key not in run.metrics]:
            raise Damaged(run, f"its record has no {', '.join(missing)} of the best epoch")
        if VALIDATION not in record.files:
            self.as_logged.add(run.run_id)
            return run
        try:
            y = self._y(run)
        except UserError as error:
            self.unread = str(error)
            return run
        stored = self._stored(run)
        assert stored is not None
        return replace(run, metrics=run.metrics | self._figures(run, y, stored))

    def _figures(self, run: Logged, y: Array, scores: Array) -> dict[str, float]:
        """Return the metrics of predictions.

        Raises:
            Damaged: one differs from what the run reports, or there is not one prediction for each row.
        """
        if scores.shape != y.shape:
            raise Damaged(run, f"its {VALIDATION} has {scores.size} scores for {y.size} validation rows")
        _, config = self._data(run)
        tolerance = provenance.TOLERANCE[config.engine.dtype]
        near = tolerance * max(1.0, float(np.abs(scores).max()))
        undecided = float(np.mean(np.abs(scores) <= near))  # training rounds these in another way
        found = {}
        for metric in task_of(config.data).metrics.values():
            logged, value = run.metrics[metric.key], metric.value(y, scores, 0.5)
            if not isclose(logged, value, rel_tol=tolerance, abs_tol=1e-12 + undecided):
                other = f"that of its predictions, {value:.6g}"
                raise Damaged(run, f"its logged {metric.name} {logged:.6g} differs from {other}")
            found[metric.key] = value
        return found

    def _stored(self, run: Logged) -> Array | None:
        """Return the validation scores that a run kept; None if it is of 0.1.0."""
        record = self.record(run)
        if VALIDATION not in record.files:
            return None
        if run.run_id in self._scores:
            return self._scores[run.run_id]
        scores = validation_scores(self.store, run, record)
        if self._kept + scores.nbytes <= _KEPT:
            self._scores[run.run_id] = scores
            self._kept += scores.nbytes
        return scores

    def _y(self, run: Logged) -> Array:
        key, config = self._data(run)
        if key not in self._labels:
            try:
                self._labels[key] = self.tables.labels(
                    config.data, config.split, digests_of(run), f"run {run.run_id}"
                )
            except UserError as error:  # not tried again for each run
                self._labels[key] = error
        found = self._labels[key]
        if isinstance(found, UserError):
            raise found
        return found

    def _data(self, run: Logged) -> tuple[str, Config]:
        """Return a key for the rows of a run, and a configuration that has its rows and numbers."""
        config = self.record(run).config
        key = json.dumps([config[name] for name in ("data", "split", "engine")])
        if key not in self._configs:
            self._configs[key] = self.config(run)
        return key, self._configs[key]
