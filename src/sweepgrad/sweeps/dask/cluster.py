"""A Dask cluster: its workers, the check that they run the same code, and the upload of tables."""

import asyncio
import concurrent.futures
import hashlib
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from distributed import Future
from distributed.comm.core import CommClosedError

from sweepgrad.errors import UserError
from sweepgrad.sweeps.dask import worker
from sweepgrad.sweeps.dask.connect import connected

log = logging.getLogger(__name__)

_PIECE = 1 << 24  # bytes of a table that are sent at once


@dataclass(frozen=True)
class InFlight:
    """A batch that the cluster is running.

    Attributes:
        only: the addresses of the workers that may run it; None for any.
        n_uploaded: the number of tables that had been uploaded when it was submitted.
        n_excluded: the number of workers that had been excluded then.
    """

    future: "Future[worker.Answer]"
    only: frozenset[str] | None
    n_uploaded: int
    n_excluded: int


class Cluster:
    """A scheduler and its workers; use it as a context manager.

    Arguments:
        address: of a running scheduler; None starts one with workers on this machine.
        workers: the number of local worker processes with one thread each; None is one per core.

    Raises:
        UserError: the scheduler does not answer, or a worker runs other code.
    """

    def __init__(self, address: str | None, workers: int | None) -> None:
        self._sender = uuid.uuid4().hex
        self._threads: dict[str, int] = {}
        self._excluded, self._n_excluded = set[str](), 0
        self._uploaded: dict[tuple[str, str], int] = {}
        with ExitStack() as stack:
            self.name = address or "this machine"
            self.client = stack.enter_context(connected(address, workers))
            self.refresh()
            if others := self._others():
                raise UserError(
                    f"workers of {self.name} do not run the same software as this machine:"
                    f" {'; '.join(others.values())}. Install the same versions there"
                )
            self._open = stack.pop_all()
        if not self._threads:
            log.info(f"dask: waiting for a worker to join {self.name} …")

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def cores(self) -> int:
        """The number of threads of all workers that may run jobs."""
        return sum(n for address, n in self._threads.items() if address not in self._excluded)

    def refresh(self) -> None:
        """Update which workers have joined and which have left.

        Raises:
            UserError: the connection to the scheduler is lost.
        """
        before = self._threads.keys()
        if not self._connected():
            return
        try:
            self._threads = self.client.nthreads()
        except (OSError, RuntimeError):  # the scheduler has just gone
            return
        for address in sorted(before - self._threads.keys()):
            log.info(f"dask: lost worker {address}; its jobs are run again")
        self._excluded &= self._threads.keys()
        if self._threads.keys() - before:
            n, cores = len(self._threads), self.cores
            workers = "1 worker" if n == 1 else f"{n} workers"
            log.info(f"dask: {workers} with {cores} core{'s' if cores > 1 else ''} on {self.name}")

    def _connected(self) -> bool:
        """Return whether the scheduler is connected; Dask tries for some seconds to reconnect.

        Raises:
            UserError: the connection is lost.
        """
        if self.client.status in ("closing", "closed"):
            raise UserError(
                f"lost the connection to the Dask scheduler at {self.name}. Finished jobs are kept; when it"
                " is back, run the same command to train the rest"
            )
        return bool(self.client.status == "running")

    def cancel(self, futures: "Sequence[Future[worker.Answer]]") -> None:
        """Cancel batches."""
        with suppress(Exception):  # if the scheduler fails, the batches end with it
            self.client.cancel(futures, force=True)

    def submit(self, jobs: Sequence[worker.GivenJob]) -> InFlight:
        """Submit a batch for training.

        Raises:
            UserError: the connection to the scheduler is lost.
        """
        self._connected()
        order: worker.Order = {"software": worker.software(), "jobs": [*jobs]}
        only = frozenset(self._threads.keys() - self._excluded) if self._excluded else None
        future = self.client.submit(
            worker.train,
            order,
            key=f"sweepgrad-{uuid.uuid4().hex}",
            pure=False,
            workers=None if only is None else sorted(only),
        )
        return InFlight(future, only, len(self._uploaded), self._n_excluded)

    def fetch(self, future: "Future[worker.Answer]") -> "concurrent.futures.Future[worker.Answer]":
        """Fetch the results of a batch in the background."""
        loop: Any = self.client.loop  # Tornado's, which wraps asyncio's
        arriving = self.client.gather(future, asynchronous=True)
        return asyncio.run_coroutine_threadsafe(arriving, loop.asyncio_loop)

    def stranded(self, flight: InFlight) -> bool:
        """Return whether all workers that may run a batch have left."""
        return flight.only is not None and not flight.only & self._threads.keys()

    def exclude(self, flight: InFlight) -> bool:
        """Exclude workers that run other code; return whether one of them may have had this batch.

        Raises:
            UserError: no worker is left.
        """
        self.refresh()
        others = {address: why for address, why in self._others().items() if address not in self._excluded}
        for why in others.values():
            log.info(f"dask: {why}; it gets no jobs")
        self._excluded |= others.keys()
        self._n_excluded += len(others)
        if others and not self.cores:
            raise UserError(
                f"no worker of {self.name} runs the same software as this machine:"
                f" {'; '.join(others.values())}"
            )
        return self._n_excluded > flight.n_excluded

    def upload(self, answer: worker.Answer, flight: InFlight, sources: Mapping[str, str]) -> bool:
        """Send the tables that a worker reports as missing, unless they have arrived since.

        Arguments:
            answer: the answer of the worker.
            sources: the local paths of tables by their SHA-256.

        Returns:
            Whether the tables are on the worker now; if not, the worker could not be reached.

        Raises:
            UserError: a table has changed, did not arrive intact, or the worker cannot store it.
        """
        for digest in answer.get("missing", ()):
            before = self._uploaded.get((answer["worker"], digest))
            if before is None or before < flight.n_uploaded:
                try:
                    self._send(answer["address"], digest, Path(sources[digest]))
                except _WorkerLost:
                    return False
                self._uploaded[answer["worker"], digest] = len(self._uploaded)
        return True

    def _send(self, address: str, digest: str, source: Path) -> None:
        size, start, found = source.stat().st_size, 0, ""
        log.info(f"dask: sending {source.name} ({size / 1e6:.1f} MB) to worker {address}")
        name, total = worker.name_of_table(digest, str(source)), hashlib.sha256()
        with source.open("rb") as file:
            while start == 0 or start < size:
                piece = file.read(_PIECE)
                total.update(piece)
                last = start + len(piece) >= size
                if last and total.hexdigest() != digest:
                    raise UserError(
                        f"{source} was changed during the sweep: its SHA-256 is {total.hexdigest()} and was"
                        f" {digest}"
                    )
                arguments = (self._sender, name, piece, start, digest if last else None)
                answer = self._ask([address], worker.keep, *arguments).get(address)
                if answer is None:
                    raise _WorkerLost
                if isinstance(answer, Exception):
                    raise UserError(
                        f"worker {address} cannot store {source.name}: {answer}. Choose another folder for"
                        " its tables with `dask worker --local-directory`"
                    )
                start, found = start + len(piece), answer
        if found != digest:
            raise UserError(
                f"{source} arrived damaged at worker {address}: its SHA-256 there is {found}, not {digest}"
            )

    def _others(self) -> dict[str, str]:
        """Return why workers do not run the same software as this machine, by address."""
        ours, found = worker.software(), self._ask(None, worker.software)
        others = {}
        for address, theirs in found.items():
            if isinstance(theirs, Exception):
                others[address] = f"worker {address} cannot run sweepgrad ({theirs})"
            elif theirs["sweepgrad"] != ours["sweepgrad"]:
                others[address] = (
                    f"worker {address} has sweepgrad {theirs['sweepgrad']}, not {ours['sweepgrad']}"
                )
            elif theirs != ours:
                others[address] = (
                    f"worker {address} has other code, another NumPy or Numba, or another processor family"
                    f" (code {theirs['code'][:12]}, here {ours['code'][:12]})"
                )
        return others

    def _ask(
        self, addresses: list[str] | None, function: Callable[..., Any], *arguments: Any
    ) -> dict[str, Any]:
        """Return the results of a function on workers, or the exceptions that it raised there, by address.

        Workers that cannot be reached are omitted.
        """
        answers: dict[str, Any] = self.client.run(function, *arguments, workers=addresses, on_error="return")
        return {address: answer for address, answer in answers.items() if not _unreached(answer)}


class _WorkerLost(Exception):
    """A worker cannot be reached."""


def _unreached(answer: Any) -> bool:
    """Return whether an answer is a connection error; errors of the worker's disk are `OSError`s too."""
    if isinstance(answer, CommClosedError | ConnectionError | TimeoutError):
        return True
    return type(answer) is OSError and answer.errno is None  # Dask raises it when a worker does not answer
