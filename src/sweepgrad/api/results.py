"""Results of training: `Run` and `Sweep`."""

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from sweepgrad.api import display
from sweepgrad.api.location import Location
from sweepgrad.config.check import check
from sweepgrad.config.schema import Config
from sweepgrad.errors import UserError
from sweepgrad.runs import folders, sweep_record
from sweepgrad.runs import record as records
from sweepgrad.runs.record import Record
from sweepgrad.stats.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from sweepgrad.selection.standings import Standings
    from sweepgrad.sweeps.job import Outcome
    from sweepgrad.tracking.store import Store
    from sweepgrad.training.bundle import Bundle

log = logging.getLogger(__name__)

_SHOWN = 10  # runs of a sweep in a notebook
_CLASS = re.compile(r"((\w+\.)+\w+|\w+(Error|Exception|Exit|Interrupt)): ")  # in the last line of a traceback


class Run:
    """A trained run.

    Attributes:
        name: what distinguishes it from the other runs of its sweep; of a run on its own, its folder's name.
        id: of the run in MLflow; None if it could not be sent.
        status: FINISHED, FAILED or KILLED.
        folder: where its files are; None if they are in the store only.
    """

    def __init__(
        self,
        name: str,
        id: str | None,  # noqa: A002 - MLflow's word
        status: str,
        folder: Path | None,
        read: Callable[[], Record],
        load: Callable[[], "Bundle"],
        location: Location | None = None,
    ) -> None:
        self.name, self.id, self.status, self.folder = name, id, status, folder
        self._read, self._load, self._location = read, load, location

    @property
    def unsent(self) -> bool:
        """True if it was not sent to MLflow."""
        return self.id is None

    @cached_property
    def _record(self) -> Record:
        return self._read()

    @property
    def location(self) -> Location:
        """The MLflow store that it was sent to."""
        if self._location is None:
            tracking = self.config.tracking
            self._location = Location(tracking.uri, tracking.experiment)
        return self._location

    @cached_property
    def config(self) -> Config:
        """The configuration.

        Raises:
            UserError: another version of sweepgrad wrote it, and this one does not know a setting.
        """
        return check(self._record.config)

    @property
    def history(self) -> "pd.DataFrame":
        """The metrics by epoch, counted from 1: one row an epoch, columns such as `val/accuracy`."""
        import pandas as pd

        rows = [
            {f"{part}/{name}": value for (part, name), value in epoch.figures.items()}
            | (dict(epoch.stats.metrics) if epoch.stats else {})
            for epoch in self._record.history
        ]
        return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="epoch"))

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the best epoch, such as `best/val/accuracy`; empty if no epoch was trained."""
        return dict(self._record.summary)

    @property
    def notices(self) -> tuple[str, ...]:
        """Remarks on the table, and on how training went."""
        record = self._record
        return tuple(filter(None, (*(record.data.notices if record.data else ()), record.diagnosis)))

    @property
    def problem(self) -> str:
        """The error of a run that failed, in one line; empty for others."""
        line = (self._record.error or "").strip().rpartition("\n")[2]
        return _CLASS.sub("", line, count=1) if _CLASS.match(line) else line

    def model(self) -> "Bundle":
        """Load the model of the best epoch.

        Raises:
            UserError: the run has none, since it failed.
        """
        if self.status == "FAILED":
            raise UserError(f"run {self.name} failed, so it has no model: {self.problem}")
        return self._load()

    def __repr__(self) -> str:
        best = "".join(f", {name}={value:.4g}" for name, value in self._best.items())
        return f"Run({self.name!r}, {self.status}{best})"

    def _repr_html_(self) -> str:
        values: dict[str, object] = {"status": self.status, **self._best}
        if self._record.best_epoch:
            values["best epoch"] = f"{self._record.best_epoch} of {len(self._record.history)}"
        values["folder"] = os.path.relpath(self.folder) if self.folder else ""
        values["MLflow run"] = self.id or "not sent"
        lines = [self.problem, *self.notices] if self.problem else self.notices
        return display.page(f"Run {self.name}", display.facts(values), display.paragraphs(lines))

    @property
    def _best(self) -> dict[str, float]:
        keys = {f"val {name}": metric.key for name, metric in METRICS.items()}
        return {name: self.metrics[key] for name, key in keys.items() if key in self.metrics}


class Sweep:
    """A sweep, or a run on its own, as it is kept in MLflow.

    Attributes:
        name: of the sweep, which `sweepgrad leaderboard NAME` takes too.
        folder: where its runs are; None if they are in the store only.
        runs: the runs that ended, in the order of the sweep.
        n_jobs: how many runs the sweep has.
    """

    def __init__(
        self,
        name: str,
        folder: Path | None,
        runs: Iterable[Run],
        n_jobs: int,
        uri: str,
        experiment: str,
        store: "Store | None" = None,
        id: str | None = None,  # noqa: A002 - MLflow's word
    ) -> None:
        self.name, self.folder, self.runs, self.n_jobs = name, folder, list(runs), n_jobs
        self.location, self._id = Location(uri, experiment, store), id

    @property
    def store(self) -> "Store":
        """The MLflow store.

        Raises:
            UserError: it does not answer.
        """
        return self.location.store

    @property
    def id(self) -> str:
        """The id of the sweep's own run in MLflow."""
        if self._id is None:
            self._id = self.store.sweep(self.name).run_id
        return self._id

    @property
    def failed(self) -> list[Run]:
        """The runs that failed."""
        return [run for run in self.runs if run.status == "FAILED"]

    @property
    def unsent(self) -> int:
        """The number of its runs that were not sent to MLflow."""
        return sum(run.unsent for run in self.runs)

    def leaderboard(self) -> "pd.DataFrame":
        """Rank the configurations by validation, as `sweepgrad leaderboard --csv` does.

        Returns:
            One row a configuration, the best first; indexed by rank.

        Raises:
            UserError: no run finished, or the store does not answer.
        """
        from sweepgrad.selection import leaderboard

        ranking = self.standings()
        if ranking.notice:
            log.info(ranking.notice)
        return leaderboard.as_frame(ranking.entries, ranking.metric)

    def standings(self) -> "Standings":
        """Rank the configurations, with everything that `sweepgrad leaderboard` prints.

        Raises:
            UserError: as `leaderboard`.
        """
        from sweepgrad.data.access import Tables
        from sweepgrad.selection.standings import standings

        return standings(self.store, Tables(), self.store.children(self.store.sweep(self.id)))

    def __repr__(self) -> str:
        return f"Sweep({self.name!r}, {self._counts})"

    def _repr_html_(self) -> str:
        rows = [(run.name, run.status, *run._best.values()) for run in self.runs[:_SHOWN]]
        columns = ["run", "status", *next((run._best for run in self.runs if run._best), ())]
        more = max(0, len(self.runs) - _SHOWN)
        return display.page(
            f"Sweep {self.name}", display.paragraphs([self._counts]), display.table(columns, rows, more)
        )

    @property
    def _counts(self) -> str:
        finished = sum(run.status == "FINISHED" for run in self.runs)
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{finished} of {self.n_jobs} runs finished{failed}"


def run_in(folder: Path) -> Run:
    """Return the run whose record is in a folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    try:
        record = records.read(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no readable run: {error}") from None
    return _kept_run(folder, record)


def _kept_run(folder: Path, record: Record) -> Run:
    from sweepgrad.training.bundle import Bundle

    tracking = record.config["tracking"]
    return Run(
        record.name,
        folders.sent_as(folder, record),
        record.status,
        folder,
        partial(_same, record),
        partial(Bundle.load, folder / records.MODEL),
        Location(tracking["uri"], tracking["experiment"]),
    )


def _same(record: Record) -> Record:
    return record


def sweep_in(folder: Path, outcomes: "Sequence[Outcome] | None" = None) -> Sweep:
    """Return the sweep that was trained into a folder.

    Arguments:
        outcomes: of its runs; None reads all that are in the folder.
    """
    places = [o.job.folder for o in outcomes] if outcomes is not None else _job_folders(folder)
    record, runs = sweep_record.read(folder), [run_in(place) for place in places]
    tracking = runs[0]._record.config["tracking"]
    return Sweep(record.id, folder.absolute(), runs, record.jobs, tracking["uri"], tracking["experiment"])


def _job_folders(folder: Path) -> list[Path]:
    found = [path.parent for path in folder.glob(f"**/{records.RECORD}")]
    return sorted(found, key=lambda path: (len(path.name), path.name))
