"""Test-set evaluations in an MLflow store: find earlier ones, and record a new one before it begins."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from mlflow.entities import ViewType

from sweepgrad.config import old_names
from sweepgrad.data.digests import Digests
from sweepgrad.errors import UserError
from sweepgrad.files import locked
from sweepgrad.runs.ledger import LedgerEntry
from sweepgrad.tracking import entities, tags
from sweepgrad.tracking.connection import once, reaching
from sweepgrad.tracking.lookup import Lookup
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.tags import DIGEST, KIND, PARENT, TEST_KIND


class Evaluations(Lookup):
    """An experiment with its test-set evaluations."""

    def test_evaluations(self, table: str) -> list[LedgerEntry]:
        """Return all test-set evaluations of a table, by any experiment of the store, in order of time.

        Deleted ones count: their test sets were seen.

        Arguments:
            table: its SHA-256.
        """
        conditions = [  # MLflow's search has no OR
            f"tags.`{KIND}` = '{kind}' AND tags.`{DIGEST}table` = {entities.quoted(table)}"
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
                name = entities.run_name(f"test-set evaluation at {entry.when}")
                run = self._client.create_run(
                    self.experiment_id, run_name=name, tags=entities.tag_values(run_tags)
                )
            self._client.set_terminated(run.info.run_id, "FINISHED")
            of_sweep = entities.run_tags({f"{tags.TEST_EVALUATED}{entry.id[:8]}": str(entry)})
            self._client.log_batch(sweep.run_id, tags=of_sweep)
        expected = {entry.id, *(other.id for other in known or ())}
        found = [] if known is None or self.uri.startswith("sqlite:") else self.test_evaluations(entry.table)
        if others := [e for e in found if e.test == entry.test and e.id not in expected]:
            raise UserError(f"another process has just evaluated the same test set: {others[0]}")
