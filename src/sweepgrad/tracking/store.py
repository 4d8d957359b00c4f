"""The MLflow store: prepare it, send the folders of runs, and read runs back."""

import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

from sweepgrad.config import old_names
from sweepgrad.config.schema import store_uri
from sweepgrad.data.digests import Digests
from sweepgrad.errors import UserError
from sweepgrad.files import locked, write_json
from sweepgrad.process import lives, this
from sweepgrad.runs import folders, sweep_record
from sweepgrad.runs import record as records
from sweepgrad.runs.ledger import LedgerEntry
from sweepgrad.runs.record import Record
from sweepgrad.tracking import duplicates, mapping, models, tags
from sweepgrad.tracking.connection import Refused, ask_for_health, once, prepare_sqlite, quiet, reaching
from sweepgrad.tracking.limits import MAX_BATCH
from sweepgrad.tracking.mapping import Logged, logged
from sweepgrad.tracking.relocate import ARTIFACTS
from sweepgrad.tracking.tags import (
    ANSWER_KIND,
    DIGEST,
    HOST,
    JOB,
    JOB_KIND,
    KIND,
    PARENT,
    PROCESS,
    RUN_KIND,
    SWEEP,
    SWEEP_KIND,
    TEST_KIND,
)

_IS_JOB = f"tags.`{KIND}` = '{JOB_KIND}'"


class Store:
    """An MLflow experiment.

    Arguments:
        uri: as in `tracking.uri`.
        experiment: the name of the MLflow experiment, which is created if needed.
        process: the process that trains, see `process.this`; None for this process.

    Raises:
        UserError: the URI is not usable.
        Unreachable: the store does not answer.
        Refused: the experiment cannot be used, for instance because it was deleted.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        *,
        process: str | None = None,
    ) -> None:
        try:
            self.uri = store_uri(uri)
        except ValueError as error:
            raise UserError(str(error)) from None
        self.experiment = experiment
        with reaching(self.uri):
            if self.uri.startswith("sqlite:"):
                self._client = prepare_sqlite(Path(self.uri.removeprefix("sqlite:///")), self.uri)
            else:
                ask_for_health(self.uri)
                self._client = mlflow.MlflowClient(self.uri, self.uri)
            self.experiment_id = self._experiment_id()
        self._process = process or this()
        self._parents: dict[str, str] = {}
        self._jobs: dict[str, dict[str, Logged]] = {}  # of sweeps in progress, by their tag

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            local = self.uri.removeprefix("sqlite:///")
            artifacts = None if local == self.uri else (Path(local).parent / ARTIFACTS).as_uri()
            try:
                return str(self._client.create_experiment(self.experiment, artifact_location=artifacts))
            except MlflowException:  # another process made it meanwhile
                found = self._client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise Refused(
                f"experiment {self.experiment!r} of {self.uri} was deleted and is not active: restore it in"
                " MLflow, or choose another tracking.experiment"
            )
        return str(found.experiment_id)

    # Writing

    def sweep_run(self, sweep: str) -> str:
        """Return the id of the sweep's parent run, which is created if needed."""
        if sweep not in self._parents:
            with reaching(self.uri), once():
                found = self._search(f"tags.`{SWEEP}` = '{sweep}' AND tags.`{KIND}` = '{SWEEP_KIND}'")
                self._parents[sweep] = (
                    duplicates.one_parent(self._client, found, self._search)
                    if found
                    else self._client.create_run(
                        self.experiment_id,
                        run_name=sweep,
                        tags={SWEEP: sweep, KIND: SWEEP_KIND, **self._origin_tags()},
                    ).info.run_id
                )
        return self._parents[sweep]

    def begin_sweep(self, folder: Path) -> None:
        """Set a sweep's own run to RUNNING, and look up which of its jobs were sent before."""
        record = sweep_record.read(folder)
        run_id = self.sweep_run(record.id)
        with reaching(self.uri):
            self._client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.of_sweep(record).items()])
            self._client.update_run(run_id, "RUNNING")
            self._jobs[record.id] = self._once_each(f"tags.`{PARENT}` = '{run_id}' AND {_IS_JOB}")

    def close_abandoned(self) -> list[str]:
        """Mark RUNNING runs of dead processes of this machine as KILLED; return their names."""
        with reaching(self.uri):
            running = self._search(
                f"attributes.status = 'RUNNING' AND tags.`{HOST}` = '{socket.gethostname()}'"
            )
            dead = [run for run in running if not lives(run.tags[PROCESS])]
            for run in dead:
                self._client.set_terminated(run.run_id, "KILLED")
        return [run.name for run in dead]

    def end_sweep(self, folder: Path) -> None:
        """End a sweep's own run with the status in its record."""
        record = sweep_record.read(folder)
        status = record.status
        if status == "RUNNING":
            if record.host != socket.gethostname() or lives(record.process):
                return
            status = "KILLED"
        run_id = self.sweep_run(record.id)
        with reaching(self.uri):
            self._once_each(f"tags.`{PARENT}` = '{run_id}' AND {_IS_JOB}")
            if self._client.get_run(run_id).info.status != status:
                self._client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.of_sweep(record).items()])
                self._client.set_terminated(run_id, status)

    def has(self, run_id: str) -> bool:
        """Return whether the store has a run with that id."""
        try:
            with reaching(self.uri):
                self._client.get_run(run_id)
        except Refused:
            return False
        return True

    def send(self, folder: Path) -> str:
        """Send the run in `folder`, unless it was sent before; return the id of its MLflow run.

        Any step may fail, or be the last of this process: the next call completes what is there. The run is
        found by the id of its job, which it has from the start; its end comes last, and after it `SENT`.

        Raises:
            Unreachable: the store does not answer; the folder can be sent later.
            Refused: the store refuses it.
            ValueError: the record or another file is damaged or cannot be read.
        """
        with locked(folder / records.RECORD):  # another process may run `sweepgrad sync`
            record = records.read(folder)
            files = mapping.files(record, folder)
            known = folders.sent_as(folder, record)
            with reaching(self.uri):
                begun = self._begun(record)
                if begun is None and known is not None and self.has(known):
                    return known  # it was deleted in MLflow, where it can be restored
                run = begun or self._create(record)
                if not duplicates.complete(run, record):
                    self._log(run, record, files, folder)
                    self._client.set_terminated(run.run_id, record.status, record.ended)
                    run = replace(run, status=record.status, ended=record.ended)
                    self._of_sweep(record)[record.job] = run
                if known != run.run_id:
                    to = {"run_id": run.run_id, "uri": self.uri, "experiment": self.experiment}
                    write_json(folder / records.SENT, {**to, "ended": record.ended})
        return run.run_id

    def _begun(self, record: Record) -> Logged | None:
        """Return the MLflow run of a run that was sent, maybe in part; delete that of an earlier attempt."""
        known = record.sweep in self._jobs
        found = self._of_sweep(record) if known else self._once_each(f"tags.`{JOB}` = '{record.job}'")
        begun = found.get(record.job)
        if begun is None or duplicates.same_attempt(begun, record):
            return begun
        self._client.delete_run(begun.run_id)
        self._of_sweep(record).pop(record.job, None)
        return None

    def _of_sweep(self, record: Record) -> dict[str, Logged]:
        return self._jobs.get(record.sweep or "", {})

    def _once_each(self, condition: str) -> dict[str, Logged]:
        return duplicates.once_each(self._client, self._search(condition))

    def _create(self, record: Record) -> Logged:
        tags = {JOB: record.job, KIND: RUN_KIND, **self._origin_tags()}
        if record.sweep is not None:
            tags |= {KIND: JOB_KIND, SWEEP: record.sweep, PARENT: self.sweep_run(record.sweep)}
        with once():
            run = logged(self._client.create_run(self.experiment_id, record.started, tags, record.name))
        self._of_sweep(record)[record.job] = run
        return run

    def _log(self, run: Logged, record: Record, files: dict[str, bytes], folder: Path) -> None:
        run_id = run.run_id
        metrics, params = list(mapping.metrics(record)), mapping.params(record)
        run_tags = [RunTag(key, value) for key, value in tags.of_run(record).items() if value is not None]
        for start in range(0, max(len(metrics), 1), MAX_BATCH):
            self._client.log_batch(run_id, metrics[start : start + MAX_BATCH], params, run_tags)
            params, run_tags = [], []
        if record.data is not None:
            self._client.log_inputs(run_id, mapping.datasets(record))
        if self.uri.startswith("sqlite:") and run.artifacts.startswith("file://"):
            # Writing the files directly is faster than asking MLflow for the folder again.
            mapping.write_files(files, Path(url2pathname(urlsplit(run.artifacts).path)))
        else:
            with tempfile.TemporaryDirectory() as copies:
                mapping.write_files(files, Path(copies))
                self._client.log_artifacts(run_id, copies)
        has_model = (folder / records.MODEL / records.FILES[0]).exists()
        if record.sweep is None and has_model and models.model_of(self._client, run_id) is None:
            models.log(self._client, self.uri, run_id, folder / records.MODEL)

    def log_result(
        self, run_id: str, metrics: dict[str, float], tags: dict[str, str], files: Sequence[Path]
    ) -> None:
        """Add files, metrics and tags to a run; tags come last, so that they never announce missing files."""
        now = int(time.time() * 1000)
        with reaching(self.uri):
            for file in files:
                self._client.log_artifact(run_id, str(file))
            self._client.log_batch(run_id, [Metric(key, value, now, 0) for key, value in metrics.items()])
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_answer(
        self,
        name: str,
        params: dict[str, str],
        metrics: dict[str, float],
        files: Sequence[Path],
        *,
        holds: bool,
    ) -> str:
        """Log an answer of the lab as a run; return its id.

        Arguments:
            holds: whether all of its claims hold.
        """
        tags = {KIND: ANSWER_KIND, **self._origin_tags()}
        with reaching(self.uri):
            with once():
                run_id = self._client.create_run(self.experiment_id, run_name=name, tags=tags).info.run_id
            self._client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])
            self.log_result(run_id, metrics, {"sweepgrad.holds": str(holds).lower()}, files)
            self._client.set_terminated(run_id, "FINISHED")
        return str(run_id)

    def test_evaluations(self, table: str) -> list[LedgerEntry]:
        """Return all test-set evaluations of a table, by any experiment of the store, in order of time.

        Deleted ones count: their test sets were seen.

        Arguments:
            table: its SHA-256.
        """
        conditions = [  # MLflow's search has no OR
            f"tags.`{KIND}` = '{kind}' AND tags.`{DIGEST}table` = '{table}'"
            for kind in old_names.spellings(TEST_KIND, old_names.KINDS)
        ]
        with reaching(self.uri):
            found = [
                run
                for ids in self._experiments()
                for condition in conditions
                for run in self._search(condition, ids, ViewType.ALL)
            ]
        found.sort(key=lambda run: run.started)  # to the millisecond, where `when` has seconds
        return sorted(map(tags.ledger_entry, found), key=lambda entry: entry.when)

    @contextmanager
    def evaluating(self, entry: LedgerEntry) -> Iterator[list[LedgerEntry]]:
        """Yield the test-set evaluations of a table, and keep other processes from adding one meanwhile.

        A file beside the store is locked, since processes in other folders have other ledgers. For servers
        see `record_test_evaluation`.
        """
        with ExitStack() as held:
            if self.uri.startswith("sqlite:"):
                store = Path(self.uri.removeprefix("sqlite:///"))
                held.enter_context(locked(store.with_name(f".{store.name}.evaluating"), make=True))
            yield self.test_evaluations(entry.table)

    def record_test_evaluation(
        self, sweep: Logged, entry: LedgerEntry, digests: Digests, known: Sequence[LedgerEntry] | None
    ) -> None:
        """Record a test-set evaluation that begins now, as a child run of the sweep and as a tag of it.

        Arguments:
            known: those that were known when this one was allowed; None to allow it after any others.

        Raises:
            UserError: another process has just recorded one of the same test rows.
        """
        run_tags = {f"{DIGEST}{part}": value for part, value in asdict(digests).items()}
        run_tags |= {KIND: TEST_KIND, PARENT: sweep.run_id, "mlflow.user": entry.user}
        run_tags |= {**self._origin_tags(), **tags.of_entry(entry)}
        self.close_abandoned()
        with reaching(self.uri):
            with once():
                run = self._client.create_run(
                    self.experiment_id, run_name=f"test-set evaluation at {entry.when}", tags=run_tags
                )
            self._client.set_terminated(run.info.run_id, "FINISHED")
            self._client.set_tag(sweep.run_id, f"{tags.TEST_EVALUATED}{entry.id[:8]}", str(entry))
        expected = {entry.id, *(other.id for other in known or ())}
        found = [] if known is None or self.uri.startswith("sqlite:") else self.test_evaluations(entry.table)
        if others := [e for e in found if e.test == entry.test and e.id not in expected]:
            raise UserError(f"another process has just evaluated the same test set: {others[0]}")

    def register(self, run_id: str, name: str, bundle: Path, *, own: bool) -> str:
        """See `models.register`."""
        with reaching(self.uri):
            return models.register(self._client, self.uri, run_id, name, bundle, own=own)

    # Reading

    def latest_sweep(self) -> Logged | None:
        """Return the parent run of the latest sweep."""
        with reaching(self.uri):
            return next(iter(self._search(f"tags.`{KIND}` = '{SWEEP_KIND}'")), None)

    def sweep(self, which: str | None) -> Logged:
        """Return a sweep's parent run, or a single run.

        Arguments:
            which: its name, its id or the beginning of either; None for the latest.

        Raises:
            UserError: none matches, or more than one.
        """
        with reaching(self.uri):
            not_jobs = self._search(f"tags.`{KIND}` != '{JOB_KIND}'")
        tops = [run for run in not_jobs if run.tags[KIND] in (SWEEP_KIND, RUN_KIND)]
        if not tops:
            raise UserError(
                f"experiment {self.experiment!r} of {self.uri} has no runs: run `sweepgrad train` first"
            )
        if which is None:  # skip sweeps that ended before their first run
            return next((run for run in tops if run.tags[KIND] == RUN_KIND or self.children(run)), tops[0])
        exact = [run for run in tops if which in (run.run_id, run.name)]
        matches = exact or [run for run in tops if run.run_id.startswith(which) or run.name.startswith(which)]
        if len(matches) == 1:
            return matches[0]
        some = ", ".join(run.name for run in (matches or tops)[:5])
        if matches:
            raise UserError(f"{which!r} matches {len(matches)} sweeps in {self.uri}: {some}")
        raise UserError(f"no sweep {which!r} in {self.uri}; the latest are {some}")

    def children(self, sweep: Logged) -> list[Logged]:
        """Return the runs of a sweep in the order in which they started; for a single run, that run."""
        if sweep.tags[KIND] == RUN_KIND:
            return [sweep]
        with reaching(self.uri):
            found = self._search(f"tags.`{PARENT}` = '{sweep.run_id}' AND {_IS_JOB}")
        return sorted(found, key=lambda run: (run.started, run.name))

    def by_id(self, beginning: str) -> list[Logged]:
        """Return the runs, single or of a sweep, whose id begins with `beginning`."""
        with reaching(self.uri):
            found = self._search(f"attributes.run_id LIKE '{beginning}%'")
        return [run for run in found if run.tags[KIND] in (JOB_KIND, RUN_KIND)]

    def metrics(self, run: Logged) -> dict[tuple[int, str], float]:
        """Return every metric of a run, by step and name."""
        with reaching(self.uri):
            histories = [self._client.get_metric_history(run.run_id, key) for key in run.metrics]
        return {(metric.step, metric.key): metric.value for history in histories for metric in history}

    def model(self, run: Logged, into: Path) -> Path | None:
        """See `models.bundle_of`."""
        with reaching(self.uri):
            return models.bundle_of(self._client, self.uri, run.run_id, into)

    def registered(self, address: str, into: Path) -> Path:
        """See `models.download`.

        Raises:
            UserError: there is no such model.
        """
        try:
            with reaching(self.uri):
                return models.download(self.uri, address, into)
        except (OSError, ValueError) as error:
            raise UserError(f"{address} in {self.uri}: cannot load the model: {error}") from None

    def source_run(self, registered: str) -> str | None:
        """See `models.source_run`."""
        with reaching(self.uri):
            return models.source_run(self._client, registered)

    def download(self, run: Logged, artifact: str, into: Path) -> Path:
        """Return the path of a copy of a run's artifact, a file or a folder."""
        with reaching(self.uri), quiet("mlflow"):
            return Path(self._client.download_artifacts(run.run_id, artifact, str(into)))

    def _origin_tags(self) -> dict[str, str]:
        return tags.of_origin(self._process)

    def _experiments(self) -> Iterator[list[str]]:
        """Yield the ids of all experiments of the store, deleted ones too, page by page."""
        for page in _pages(partial(self._client.search_experiments, ViewType.ALL)):
            yield [experiment.experiment_id for experiment in page]

    def _search(
        self, condition: str, experiments: Sequence[str] = (), view: int = ViewType.ACTIVE_ONLY
    ) -> list[Logged]:
        """Return the runs that match, the latest first; of this experiment, or of the given ones."""
        ids = list(experiments) or [self.experiment_id]
        pages = _pages(partial(self._client.search_runs, ids, condition, view))
        return [logged(run) for page in pages for run in page]


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    """Yield all pages of a search of MLflow."""
    token = None
    while True:
        page = search(max_results=1000, page_token=token)
        yield page
        if not (token := page.token):
            return
