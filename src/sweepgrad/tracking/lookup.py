"""Look up sweeps, runs and models in an MLflow store."""

import re
from pathlib import Path

from sweepgrad.errors import UserError
from sweepgrad.tracking import models
from sweepgrad.tracking.connection import Missing, quiet, reaching
from sweepgrad.tracking.experiment import Experiment
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.tags import (
    CHECKSUM,
    IS_JOB,
    JOB,
    JOB_KIND,
    KIND,
    PARENT,
    RUN_KIND,
    SWEEP_KIND,
    required,
)

_RUN_ID = re.compile(r"[0-9a-f]{32}")


class Lookup(Experiment):
    """An experiment whose sweeps, runs and models can be found."""

    def has(self, run_id: str) -> bool:
        """Return whether the store has a run with that id, and it was not deleted."""
        if not _RUN_ID.fullmatch(run_id):  # it is read from a file
            return False
        try:
            with reaching(self.uri):
                return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except Missing:
            return False

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
            found = self._search(f"tags.`{PARENT}` = '{sweep.run_id}' AND {IS_JOB}")
        return sorted(found, key=lambda run: (run.started, run.name))

    def by_id(self, beginning: str) -> list[Logged]:
        """Return the runs, single or of a sweep, whose id begins with `beginning`.

        Raises:
            DamagedFile: it is not known whether a run of ours is one of them.
        """
        with reaching(self.uri):
            found = self._search(f"attributes.run_id LIKE '{beginning}%'")
        ours = [run for run in found if {KIND, JOB, CHECKSUM} & run.tags.keys()]
        return [run for run in ours if required(run, KIND) in (JOB_KIND, RUN_KIND)]

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
