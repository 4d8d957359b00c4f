"""The MLflow store: send the folders of sweeps and runs, add results to runs, and register models."""

import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sweepgrad.files import locked, write_json
from sweepgrad.process import lives
from sweepgrad.runs import folders, sweep_record
from sweepgrad.runs import record as records
from sweepgrad.runs.record import Record
from sweepgrad.tracking import duplicates, entities, mapping, models, tags
from sweepgrad.tracking.connection import once, reaching
from sweepgrad.tracking.evaluations import Evaluations
from sweepgrad.tracking.limits import MAX_BATCH
from sweepgrad.tracking.mapping import Logged, logged
from sweepgrad.tracking.tags import (
    ANSWER_KIND,
    IS_JOB,
    JOB,
    JOB_KIND,
    KIND,
    PARENT,
    RUN_KIND,
    SWEEP,
    SWEEP_KIND,
)


class Store(Evaluations):
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

    def __init__(self, uri: str, experiment: str, *, process: str | None = None) -> None:
        super().__init__(uri, experiment, process=process)
        self._parents: dict[str, str] = {}
        self._jobs: dict[str, dict[str, Logged]] = {}  # of sweeps in progress, by their tag

    def sweep_run(self, sweep: str) -> str:
        """Return the id of the sweep's parent run, which is created if needed."""
        if sweep not in self._parents:
            with reaching(self.uri), once():
                own = entities.tag_values({SWEEP: sweep, KIND: SWEEP_KIND, **self._origin_tags()})
                name = entities.quoted(entities.tag_value(sweep))
                found = self._search(f"tags.`{SWEEP}` = {name} AND tags.`{KIND}` = '{SWEEP_KIND}'")
                self._parents[sweep] = (
                    duplicates.one_parent(self._client, found, self._search)
                    if found
                    else self._client.create_run(
                        self.experiment_id, run_name=entities.run_name(sweep), tags=own
                    ).info.run_id
                )
        return self._parents[sweep]

    def begin_sweep(self, folder: Path) -> None:
        """Set a sweep's own run to RUNNING, and look up which of its jobs were sent before."""
        record = sweep_record.read(folder)
        run_id = self.sweep_run(record.id)
        with reaching(self.uri):
            self._client.log_batch(run_id, tags=entities.run_tags(tags.of_sweep(record)))
            self._client.update_run(run_id, "RUNNING")
            self._jobs[record.id] = self._once_each(f"tags.`{PARENT}` = '{run_id}' AND {IS_JOB}")

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
            self._once_each(f"tags.`{PARENT}` = '{run_id}' AND {IS_JOB}")
            if self._client.get_run(run_id).info.status != status:
                self._client.log_batch(run_id, tags=entities.run_tags(tags.of_sweep(record)))
                self._client.set_terminated(run_id, status)

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
                    return known  # its tag was deleted, by which it would be found
                run = begun or self._create(record)
                if not duplicates.complete(run, record):
                    self._log(run, record, files)
                    self._client.set_terminated(run.run_id, record.status, record.ended)
                    run = replace(run, status=record.status, ended=record.ended)
                    self._of_sweep(record)[run.tags[JOB]] = run
                if known != run.run_id:
                    to = {"run_id": run.run_id, "uri": self.uri, "experiment": self.experiment}
                    write_json(folder / records.SENT, {**to, "ended": record.ended})
        return run.run_id

    def _begun(self, record: Record) -> Logged | None:
        """Return the MLflow run of a run that was sent, maybe in part; delete that of an earlier attempt."""
        known = record.sweep in self._jobs
        job = entities.tag_value(record.job)
        found = self._of_sweep(record) if known else self._once_each(_of_job(record), record)
        begun = found.get(job)
        if begun is None or duplicates.same_attempt(begun, record):
            return begun
        self._client.delete_run(begun.run_id)
        self._of_sweep(record).pop(job, None)
        return None

    def keep_one(self, record: Record) -> None:
        """Delete what a server made late of a single run; `end_sweep` does so for jobs."""
        if not self.uri.startswith("sqlite:"):  # there, nothing is made after its writer has given up
            with reaching(self.uri):
                self._once_each(_of_job(record), record)

    def _of_sweep(self, record: Record) -> dict[str, Logged]:
        return self._jobs.get(record.sweep or "", {})

    def _once_each(self, condition: str, record: Record | None = None) -> dict[str, Logged]:
        return duplicates.once_each(self._client, self._search(condition), record)

    def _create(self, record: Record) -> Logged:
        tags = {JOB: record.job, KIND: RUN_KIND, **self._origin_tags()}
        if record.sweep is not None:
            tags |= {KIND: JOB_KIND, SWEEP: record.sweep, PARENT: self.sweep_run(record.sweep)}
        name, tags = entities.run_name(record.name), entities.tag_values(tags)
        with once():
            run = logged(self._client.create_run(self.experiment_id, record.started, tags, name))
        self._of_sweep(record)[run.tags[JOB]] = run
        return run

    def _log(self, run: Logged, record: Record, files: dict[str, bytes]) -> None:
        run_id = run.run_id
        metrics, params = list(mapping.metrics(record)), mapping.params(record)
        run_tags = entities.run_tags({k: v for k, v in tags.of_run(record).items() if v is not None})
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
        model = {name: files[f"{mapping.BUNDLE}/{name}"] for name in records.FILES if name in record.files}
        if record.sweep is None and model and models.model_of(self._client, run_id) is None:
            with tempfile.TemporaryDirectory() as copies:  # of the bytes that were checked
                bundle = Path(copies, records.MODEL)
                mapping.write_files(model, bundle)
                models.log(self._client, self.uri, run_id, bundle)

    def log_result(
        self, run_id: str, metrics: dict[str, float], tags: dict[str, str], files: Sequence[Path]
    ) -> None:
        """Add files, metrics and tags to a run; tags come last, so that they never announce missing files."""
        now = int(time.time() * 1000)
        with reaching(self.uri):
            for file in files:
                self._client.log_artifact(run_id, str(file))
            self._client.log_batch(
                run_id, [entities.metric(key, value, now, 0) for key, value in metrics.items()]
            )
            self._client.log_batch(run_id, tags=entities.run_tags(tags))

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
                run = self._client.create_run(
                    self.experiment_id, run_name=entities.run_name(name), tags=entities.tag_values(tags)
                )
            run_id = run.info.run_id
            self._client.log_batch(run_id, params=entities.params(params))
            self.log_result(run_id, metrics, {"sweepgrad.holds": str(holds).lower()}, files)
            self._client.set_terminated(run_id, "FINISHED")
        return str(run_id)

    def register(self, run_id: str, name: str, bundle: Path, *, own: bool) -> str:
        """See `models.register`."""
        with reaching(self.uri):
            return models.register(self._client, self.uri, run_id, name, bundle, own=own)


def _of_job(record: Record) -> str:
    """Return the condition of a search for the runs of a record's job."""
    return f"tags.`{JOB}` = {entities.quoted(entities.tag_value(record.job))}"
