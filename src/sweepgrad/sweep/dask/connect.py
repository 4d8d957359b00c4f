"""Reaching a Dask scheduler, or starting one on this machine: quietly, and leaving nothing of it behind."""

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path

import dask
from distributed import Client, LocalCluster
from distributed.security import Security

from sweepgrad.errors import UserError
from sweepgrad.sweep import threads

_ANSWER_SECONDS = 5  # in which a scheduler must answer, at first and when it was lost
_LOGGERS = (
    "distributed",
    "distributed.client",
    "distributed.gc",
    "tornado",
    "tornado.application",
    "asyncio",
)

# The first is for us, the others for a cluster of our own. Dask's own care for memory is for data that it
# keeps, and would have a worker that holds a large table wait for ever; that a process is ended before the
# machine is out of memory stays.
_SETTINGS = {
    "distributed.comm.timeouts.connect": "10s",
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.profile.enabled": False,
}


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[Client]:
    """A client of a scheduler.

    Arguments:
        address: where it runs; None starts one, with workers, until the context ends.
        workers: processes of the latter, with one thread each; None is one for each core.

    Raises:
        UserError: it does not answer.
    """
    with ExitStack() as stack:
        stack.enter_context(_silence())
        stack.enter_context(dask.config.set(_SETTINGS))
        to = address or stack.enter_context(_local(workers or threads.cores()))
        client = _client(to, address or "this machine")
        try:
            yield client
        finally:
            with suppress(Exception):  # whatever is wrong with it, nobody needs it any more
                client.close(timeout=2)


def _client(to: str | LocalCluster, name: str) -> Client:
    try:
        return Client(to, timeout=_ANSWER_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # as its parts have it
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"hydra.launcher.address: no Dask scheduler answers at {name} ({why}). Start one with"
            " `dask scheduler`, or leave the address out to use this machine"
        ) from None


@contextmanager
def _local(workers: int) -> Iterator[LocalCluster]:
    """A scheduler, and processes that work: ours alone, since whoever reached them could run code as us."""
    environment = dict(os.environ)  # Dask sets some of it
    with (
        tempfile.TemporaryDirectory(prefix="sweepgrad-", ignore_cleanup_errors=True) as folder,
        dask.config.set({"temporary-directory": folder}),
        _our_package_first(),
    ):
        try:
            with _without_ctrl_c():
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    security=Security.temporary(),
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                    silence_logs=logging.CRITICAL,
                )
            try:
                yield cluster
            finally:
                with suppress(Exception):
                    cluster.close(timeout=5)
        finally:
            for key in os.environ.keys() - environment.keys():
                del os.environ[key]
            os.environ.update(environment)


@contextmanager
def _our_package_first() -> Iterator[None]:
    """Let new processes, which take over `sys.path`, import the package from where this process has it.

    A model that MLflow loaded puts the modules it brings before ours.
    """
    ours = str(Path(__file__).parents[3])
    sys.path.insert(0, ours)
    try:
        yield
    finally:
        with suppress(ValueError):  # somebody else has removed it
            sys.path.remove(ours)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C wait, and never reach the processes that threads started within will start: we end those."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # starting it would unblock the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _silence() -> Iterator[None]:
    """Dask tells its own story in the log; ours by `logging`."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
