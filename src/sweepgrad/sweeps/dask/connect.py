"""Connect to a Dask scheduler, or start a local cluster, without log output or leftover files."""

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
from sweepgrad.sweeps import threads

_ANSWER_SECONDS = 5  # time limit for a scheduler to answer
_LOGGERS = (
    "distributed",
    "distributed.client",
    "distributed.gc",
    "tornado",
    "tornado.application",
    "asyncio",
)

# The first is for the client, the others for a local cluster. Dask's memory management is for data that Dask
# stores; it would pause a worker with a large table without end. Dask still ends a process before the machine
# runs out of memory.
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
    """Connect a client to a scheduler.

    Arguments:
        address: of the scheduler; None starts a local cluster that ends with the context.
        workers: the number of local worker processes with one thread each; None is one per core.

    Raises:
        UserError: the scheduler does not answer.
    """
    with ExitStack() as stack:
        stack.enter_context(_silence())
        stack.enter_context(dask.config.set(_SETTINGS))
        to = address or stack.enter_context(_local(workers or threads.cores()))
        client = _client(to, address or "this machine")
        try:
            yield client
        finally:
            with suppress(Exception):  # the client is not needed any more
                client.close(timeout=2)


def _client(to: str | LocalCluster, name: str) -> Client:
    try:
        return Client(to, timeout=_ANSWER_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # raised by different parts of Dask
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"hydra.launcher.address: no Dask scheduler answers at {name} ({why}). Start one with"
            " `dask scheduler`, or omit the address to use this machine"
        ) from None


@contextmanager
def _local(workers: int) -> Iterator[LocalCluster]:
    """Start a local cluster that only this process can reach, since Dask runs any code it is sent."""
    environment = dict(os.environ)  # Dask changes it
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
    """Let new processes, which inherit `sys.path`, import the package from the same place as this process.

    A model that MLflow has loaded puts its own modules first.
    """
    ours = str(Path(__file__).parents[3])
    sys.path.insert(0, ours)
    try:
        yield
    finally:
        with suppress(ValueError):  # something else has removed it
            sys.path.remove(ours)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Block Ctrl-C in this context and in the processes started within, which this process ends itself."""
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
    """Silence Dask's log messages; the sweep logs its own."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
