"""Connect to a Dask scheduler, or start a local cluster, without log output or leftover files."""

import logging
import os
import select
import signal
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.security import Security

from sweepgrad.compose.hydra_settings import address_problem, host_and_port
from sweepgrad.errors import UserError
from sweepgrad.sweeps import threads

_MAX_GREETING = 1_000_000  # bytes; a scheduler's are some hundreds
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
    if address is not None:
        check_answers(address)
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


def check_answers(address: str) -> None:
    """Check that a Dask scheduler answers at an address, before Dask believes what it sends.

    Dask allocates as many bytes as a server announces, and waits without end for one that sends nothing. A
    scheduler begins: it sends the length of its greeting, then the number of parts of it and their lengths.

    Raises:
        UserError: the address is not one, or something else answers or nothing.
    """
    if problem := address_problem(address):
        raise UserError(f"hydra.launcher.address: {problem}")
    context = _tls_context(address)
    until = time.monotonic() + _ANSWER_SECONDS
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(
                socket.create_connection(host_and_port(address), timeout=_ANSWER_SECONDS)
            )
            if context is not None:
                connection = stack.enter_context(_encrypted(connection, context, until))
            (length,) = struct.unpack("<Q", _received(connection, 8, until))
            if not 8 <= length <= _MAX_GREETING:
                raise _no_scheduler(address, "what answers there is not Dask")
            greeting = _received(connection, length, until)
    except TimeoutError:
        raise _no_scheduler(address, f"nothing was sent within {_ANSWER_SECONDS} s") from None
    except (OSError, EOFError, UnicodeError) as error:
        raise _no_scheduler(address, _reason(error)) from None
    (n_parts,) = struct.unpack_from("<Q", greeting)
    if n_parts > length // 8 or sum(struct.unpack_from(f"<{n_parts}Q", greeting + bytes(8), 8)) > length:
        raise _no_scheduler(address, "what answers there is not Dask")


def _tls_context(address: str) -> ssl.SSLContext | None:
    """Return the certificates of Dask's own configuration, for a `tls:` address.

    Raises:
        UserError: they are missing or cannot be read, or the configuration allows `tls:` only.
    """
    tls = address.startswith("tls:")
    try:
        arguments = Security().get_connection_args("client")
    except (OSError, ValueError, TypeError) as error:  # a file is missing or is no certificate
        raise UserError(
            f"hydra.launcher.address: Dask's TLS configuration cannot be used ({_reason(error)}). Check"
            " distributed.comm.tls in Dask's configuration"
        ) from None
    context: ssl.SSLContext | None = arguments["ssl_context"]
    if tls and context is None:
        raise UserError(
            f"hydra.launcher.address: {address} needs certificates. Set distributed.comm.tls.ca-file,"
            " client.cert and client.key in Dask's configuration, or use a tcp: address"
        )
    if not tls and arguments["require_encryption"]:
        raise UserError(
            f"hydra.launcher.address: {address} is not encrypted, but Dask's configuration requires it"
            " (distributed.comm.require-encryption). Use a tls: address"
        )
    return context if tls else None


def _encrypted(connection: socket.socket, context: ssl.SSLContext, until: float) -> ssl.SSLSocket:
    """Return an encrypted connection.

    Raises:
        TimeoutError: the handshake does not end in time.
        OSError: it fails.
    """
    connection.setblocking(False)
    encrypted = context.wrap_socket(connection, do_handshake_on_connect=False)
    try:
        while True:
            try:
                encrypted.do_handshake()
            except ssl.SSLWantReadError:
                if not select.select([encrypted], [], [], max(0.0, until - time.monotonic()))[0]:
                    raise TimeoutError from None
            else:
                return encrypted
    except BaseException:
        encrypted.close()
        raise


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _received(connection: socket.socket, n_bytes: int, until: float) -> bytes:
    """Return the next bytes of a connection.

    Raises:
        TimeoutError: they do not come in time.
        EOFError: the connection was closed.
    """
    received = bytearray()
    while len(received) < n_bytes:
        if (left := until - time.monotonic()) <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(n_bytes - len(received))
        if not piece:
            raise EOFError("the connection was closed")
        received += piece
    return bytes(received)


def _no_scheduler(name: str, why: str) -> UserError:
    return UserError(
        f"hydra.launcher.address: no Dask scheduler answers at {name} ({why}). Start one with"
        " `dask scheduler`, or omit the address to use this machine"
    )


class _Client(Client):
    """A client that leaves nothing running if what answers is not a scheduler."""

    def start(self, **settings: Any) -> None:
        try:
            super().start(**settings)
        except BaseException:
            with suppress(Exception):
                self.close(timeout=1)
            raise


def _client(to: str | LocalCluster, name: str) -> Client:
    try:
        return _Client(to, timeout=_ANSWER_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # raised by different parts of Dask
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _no_scheduler(name, why) from None


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
