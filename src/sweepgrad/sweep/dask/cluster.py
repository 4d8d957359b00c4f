"""A Dask cluster as the sweep sees it: who works there, and that they run our code and have our tables."""

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
from sweepgrad.sweep.dask import worker
from sweepgrad.sweep.dask.connect import connected

log = logging.getLogger(__name__)

_PIECE = 1 << 24  # bytes of a table that are sent at once


@dataclass(frozen=True)
class Flight:
    """A batch under way.

    Attributes:
        only: the addresses of the workers that may run it; None for any.
        sent: how many tables had been uploaded when it went.
        barred: how many workers had been barred then.
    """

    future: "Future[worker.Answer]"
    only: frozenset[str] | None
    sent: int
    barred: int


class Cluster:
    """A scheduler and its workers; use it as a context manager.

    Arguments:
        address: of a scheduler that runs; None starts one with workers of its own on this machine.
        workers: processes of the latter, with one thread each; None is one for each core.

    Raises:
        UserError: the scheduler does not answer, or a worker runs other code.
    """

    def __init__(self, address: str | None, workers: int | None) -> None:
        self._sender = uuid.uuid4().hex
        self._threads: dict[str, int] = {}
        self._barred, self._n_barred = set[str](), 0
        self._uploaded: dict[tuple[str, str], int] = {}
        with ExitStack() as stack:
            self.name = address or "this machine"
            self.client = stack.enter_context(connected(address, workers))
            self.look()
            if others := self._others():
                raise UserError(
                    f"not all workers of {self.name} run what runs here: {'; '.join(others.values())}"
                )
            self._open = stack.pop_all()
        if not self._threads:
            log.info(f"dask: no worker has joined {self.name} yet; waiting for one …")

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def cores(self) -> int:
        """Threads of all workers that may be given jobs."""
        return sum(n for address, n in self._threads.items() if address not in self._barred)

    def look(self) -> None:
        """See who has joined, and who is gone.

        Raises:
            UserError: the scheduler is.
        """
        before = self._threads.keys()
        if not self._connected():
            return
        try:
            self._threads = self.client.nthreads()
        except (OSError, RuntimeError):  # it has just gone
            return
        for address in sorted(before - self._threads.keys()):
            log.info(f"dask: worker {address} is gone; what it was at is run again")
        self._barred &= self._threads.keys()
        if self._threads.keys() - before:
            n, cores = len(self._threads), self.cores
            workers = "1 worker" if n == 1 else f"{n} workers"
            log.info(f"dask: {workers} with {cores} core{'s' if cores > 1 else ''} on {self.name}")

    def _connected(self) -> bool:
        """Whether there is a scheduler; Dask tries for some seconds to find it again.

        Raises:
            UserError: there is none.
        """
        if self.client.status in ("closing", "closed"):
            raise UserError(
                f"the Dask scheduler at {self.name} is gone: what had ended by then is kept, and the same"
                " command does the rest when it is back"
            )
        return bool(self.client.status == "running")

    def take_back(self, futures: "Sequence[Future[worker.Answer]]") -> None:
        """Have nobody work at these any more."""
        with suppress(Exception):  # whatever is wrong with it, it does not
            self.client.cancel(futures, force=True)

    def submit(self, jobs: Sequence[worker.GivenJob]) -> Flight:
        """Have a batch trained.

        Raises:
            UserError: the scheduler is gone.
        """
        self._connected()
        order: worker.Order = {"software": worker.software(), "jobs": [*jobs]}
        only = frozenset(self._threads.keys() - self._barred) if self._barred else None
        future = self.client.submit(
            worker.train,
            order,
            key=f"sweepgrad-{uuid.uuid4().hex}",
            pure=False,
            workers=None if only is None else sorted(only),
        )
        return Flight(future, only, len(self._uploaded), self._n_barred)

    def fetch(self, future: "Future[worker.Answer]") -> "concurrent.futures.Future[worker.Answer]":
        """Have what a batch came to sent here. It may take its time: other things go on meanwhile."""
        loop: Any = self.client.loop  # Tornado's, around the one that is asked for
        arriving = self.client.gather(future, asynchronous=True)
        return asyncio.run_coroutine_threadsafe(arriving, loop.asyncio_loop)

    def stranded(self, flight: Flight) -> bool:
        """Whether all that might run it are gone."""
        return flight.only is not None and not flight.only & self._threads.keys()

    def bar(self, flight: Flight) -> bool:
        """Give no jobs to workers that run other code; whether one may have had this batch.

        Raises:
            UserError: no worker is left.
        """
        self.look()
        others = {address: what for address, what in self._others().items() if address not in self._barred}
        for what in others.values():
            log.info(f"dask: {what}: it gets no jobs")
        self._barred |= others.keys()
        self._n_barred += len(others)
        if others and not self.cores:
            raise UserError(f"no worker of {self.name} runs what runs here: {'; '.join(others.values())}")
        return self._n_barred > flight.barred

    def upload(self, to: worker.Answer, flight: Flight, sources: Mapping[str, str]) -> bool:
        """Send the tables that a worker lacks, unless they came there while it said so.

        Arguments:
            to: what it said.
            sources: where tables are here, by their SHA-256.

        Returns:
            Whether they are there now; if not, the worker could not be reached.

        Raises:
            UserError: one is not what it was, or did not arrive as it is, or the worker has no room for it.
        """
        for digest in to.get("missing", ()):
            before = self._uploaded.get((to["worker"], digest))
            if before is None or before < flight.sent:
                try:
                    self._send(to["address"], digest, Path(sources[digest]))
                except _Gone:
                    return False
                self._uploaded[to["worker"], digest] = len(self._uploaded)
        return True

    def _send(self, address: str, digest: str, source: Path) -> None:
        size, start, found = source.stat().st_size, 0, ""
        log.info(f"dask: sending {source.name} ({size / 1e6:.1f} MB) to worker {address}")
        name, whole = worker.name_of_table(digest, str(source)), hashlib.sha256()
        with source.open("rb") as file:
            while start == 0 or start < size:
                piece = file.read(_PIECE)
                whole.update(piece)
                last = start + len(piece) >= size
                if last and whole.hexdigest() != digest:
                    raise UserError(
                        f"{source} has just been changed: its SHA-256 is {whole.hexdigest()} and was {digest}"
                    )
                arguments = (self._sender, name, piece, start, digest if last else None)
                answer = self._ask([address], worker.keep, *arguments).get(address)
                if answer is None:
                    raise _Gone
                if isinstance(answer, Exception):
                    raise UserError(
                        f"worker {address} cannot keep {source.name}: {answer}. `dask worker"
                        " --local-directory` says on which disk it keeps tables"
                    )
                start, found = start + len(piece), answer
        if found != digest:
            raise UserError(f"{source} came to worker {address} with the SHA-256 {found}, and has {digest}")

    def _others(self) -> dict[str, str]:
        """In words, what workers run that do not run what runs here, by address."""
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
                    f"worker {address} has other code, or another NumPy, Numba or processor family"
                    f" (code {theirs['code'][:12]}, here {ours['code'][:12]})"
                )
        return others

    def _ask(
        self, addresses: list[str] | None, function: Callable[..., Any], *arguments: Any
    ) -> dict[str, Any]:
        """What a function says on workers, an exception if that is what comes of it, by address.

        Workers that cannot be reached are left out.
        """
        answers: dict[str, Any] = self.client.run(function, *arguments, workers=addresses, on_error="return")
        return {address: answer for address, answer in answers.items() if not _unreached(answer)}


class _Gone(Exception):
    """The worker is."""


def _unreached(answer: Any) -> bool:
    """Whether it is an error of the way to a worker: one of the worker's disk is an `OSError` as well."""
    if isinstance(answer, CommClosedError | ConnectionError | TimeoutError):
        return True
    return type(answer) is OSError and answer.errno is None  # Dask's own, when a worker does not answer
