"""An experiment of an MLflow store: open it, make it if there is none, and search its runs."""

import socket
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import mlflow
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from sweepgrad.config.schema import store_uri
from sweepgrad.errors import UserError
from sweepgrad.process import lives, this
from sweepgrad.tracking import entities, tags
from sweepgrad.tracking.connection import (
    Refused,
    ask_for_health,
    forget_artifacts,
    pages,
    prepare_sqlite,
    reaching,
)
from sweepgrad.tracking.mapping import Logged, logged
from sweepgrad.tracking.relocate import ARTIFACTS
from sweepgrad.tracking.tags import HOST, PROCESS


class Experiment:
    """An experiment of an MLflow store; see `store.Store`."""

    def __init__(self, uri: str, experiment: str, *, process: str | None = None) -> None:
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
                forget_artifacts()
                self._client = mlflow.MlflowClient(self.uri, self.uri)
            self.experiment_id = self._experiment_id()
        self._process = process or this()

    def _experiment_id(self) -> str:
        name = entities.experiment_name(self.experiment)
        # Versions before 0.2 sent a name as it is.
        names = dict.fromkeys((name, self.experiment))
        found = next(filter(None, map(self._client.get_experiment_by_name, names)), None)
        if found is None:
            local = self.uri.removeprefix("sqlite:///")
            artifacts = None if local == self.uri else (Path(local).parent / ARTIFACTS).as_uri()
            try:
                return str(self._client.create_experiment(name, artifact_location=artifacts))
            except MlflowException:  # another process made it meanwhile
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise Refused(
                f"experiment {self.experiment!r} of {self.uri} was deleted and is not active: restore it in"
                " MLflow, or choose another tracking.experiment"
            )
        return str(found.experiment_id)

    def close_abandoned(self) -> list[str]:
        """Mark RUNNING runs of dead processes of this machine as KILLED; return their names."""
        host = entities.quoted(socket.gethostname())
        with reaching(self.uri):
            running = self._search(f"attributes.status = 'RUNNING' AND tags.`{HOST}` = {host}")
            dead = [run for run in running if PROCESS in run.tags and not lives(run.tags[PROCESS])]
            for run in dead:
                self._client.set_terminated(run.run_id, "KILLED")
        return [run.name for run in dead]

    def _origin_tags(self) -> dict[str, str]:
        return entities.tag_values(tags.of_origin(self._process))

    def _experiments(self) -> Iterator[list[str]]:
        """Yield the ids of all experiments of the store, deleted ones too, page by page."""
        for page in pages(partial(self._client.search_experiments, ViewType.ALL)):
            yield [experiment.experiment_id for experiment in page]

    def _search(
        self, condition: str, experiments: Sequence[str] = (), view: int = ViewType.ACTIVE_ONLY
    ) -> list[Logged]:
        """Return the runs that match, the latest first; of this experiment, or of the given ones."""
        ids = list(experiments) or [self.experiment_id]
        found = pages(partial(self._client.search_runs, ids, condition, view))
        return [logged(run) for page in found for run in page]
