"""Real servers for tests: PostgreSQL, and an `mlflow server` that can go away and come back."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import psutil
from tests.support import environment

POSTGRESQL = max(
    Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]), default=None
)
NO_POSTGRESQL = "needs Debian's postgresql, which .ci/run installs"
WAIT = 120.0
"""Seconds that a server may take to answer, on a machine with other work."""


def free_port() -> int:
    """A port of the loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MlflowServer:
    """An `mlflow server` that runs once `start` was called, and may be stopped and started again.

    Arguments:
        folder: where it runs; its log is kept there.
        port: where it will answer.
        command: what starts it.
        variables: of the environment, besides the usual ones.
    """

    def __init__(self, folder: Path, port: int, command: Sequence[str], **variables: str) -> None:
        self.folder, self.command, self.variables = folder, command, variables
        self.uri = f"http://127.0.0.1:{port}"
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it answers."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                self.command,
                env={**environment(), **self.variables},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + WAIT
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{self.uri}/health", timeout=1).close()
            return True
        return False

    def stop(self) -> None:
        """End it as systemd would: SIGTERM to the one process that was started."""
        if self._process is None:
            return
        self.go_on()
        self._process.terminate()
        self._process.wait(timeout=30)
        self._process = None

    def kill(self) -> None:
        """End it as a power cut would, with the processes that it started."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(timeout=30)
        self._process = None

    def pause(self) -> None:
        """Let it answer nothing, though its port is open, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        first = psutil.Process(self._process.pid)
        for process in (*first.children(recursive=True), first):
            process.send_signal(number)

    def __enter__(self) -> "MlflowServer":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Proxy(BaseHTTPRequestHandler):
    """Hand requests on to `behind`, and cut the connection where `cut` says so.

    So does a server that dies in that moment, which no test could choose.
    """

    behind = ""
    protocol_version = "HTTP/1.1"

    def cut(self, body: bytes) -> Callable[[Callable[[], object]], object] | None:
        """Return what is done with a request whose connection is cut, given a function that hands it on.

        None for a request that is handed on and answered.
        """
        raise NotImplementedError

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {key: value for key, value in self.headers.items() if key not in ("Host", "Connection")}
        request = urllib.request.Request(
            f"{self.behind}{self.path}", body or None, headers, method=self.command
        )
        instead = self.cut(body)
        if instead is not None:
            instead(lambda: _answer(request))
            self.close_connection = True
            return
        status, kind, content = _answer(request)
        self.send_response(status)
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def log_message(self, *_: object) -> None:
        pass


def _answer(request: urllib.request.Request) -> tuple[int, str | None, bytes]:
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.headers["Content-Type"], response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


class LosesAnswers(Proxy):
    """Cut the connection after a run was made, before that is answered."""

    lost: ClassVar[list[str]] = []  # the names of the runs whose making was not answered

    def cut(self, body: bytes) -> Callable[[Callable[[], object]], object] | None:
        name = json.loads(body)["run_name"] if self.path.endswith("/runs/create") else None
        if name is None or name in self.lost or len(self.lost) >= 2:  # the sweep's own, and a job's
            return None
        self.lost.append(name)
        return lambda hand_on: hand_on()


@contextlib.contextmanager
def proxy(handler: type[Proxy], behind: str) -> Iterator[str]:
    """Yield the address of a proxy of the server `behind`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"behind": behind})) as listening:
        thread = Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join()


@contextlib.contextmanager
def losing_answers(behind: str) -> Iterator[str]:
    """Yield the address of a proxy that loses the answer when a run is made, once for each."""
    with proxy(type("Forgetful", (LosesAnswers,), {"lost": []}), behind) as uri:
        yield uri


def mlflow_server(folder: Path, backend: str) -> MlflowServer:
    """One that hands artifacts on to `folder / "artifacts"`, with its records in a store like `sqlite:///FILE`."""
    port = free_port()
    words = ["--backend-store-uri", backend, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")]
    command = [sys.executable, "-m", "mlflow", "server", *words]
    return MlflowServer(folder, port, command, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")


@contextlib.contextmanager
def postgresql() -> Iterator[dict[str, str]]:
    """A PostgreSQL of our own in a temporary folder, on the loopback and a socket there.

    Nothing of the machine's own cluster is touched. Who connects through the socket is believed, as with
    Debian's `peer`, but for any user; over the loopback there is no entry without a password.

    Yields:
        The environment that leads PostgreSQL's programs and libraries to it, as its superuser `postgres`.
    """
    assert POSTGRESQL is not None
    # PostgreSQL refuses root, and root's temporary folders let nobody else through: this one is postgres's.
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="sweepgrad-postgresql-"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    uid, gid, groups = (user.pw_uid, user.pw_gid, ()) if user is not None else (None, None, None)

    data, port = folder / "data", free_port()
    try:
        trust = ["--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"]
        subprocess.run(
            [POSTGRESQL, "-D", data, *trust, "--no-sync", "--no-locale", "--encoding=UTF8"],
            user=uid,
            group=gid,
            extra_groups=groups,
            cwd=folder,
            check=True,
            capture_output=True,
        )
        settings = [f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}"]
        settings += ["fsync=off"]  # it is thrown away in a minute
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [POSTGRESQL.with_name("postgres"), "-D", data, *(f"--{setting}" for setting in settings)],
                user=uid,
                group=gid,
                extra_groups=groups,
                cwd=folder,
                stdout=log,
                stderr=log,
            )
        try:
            where = {"PGHOST": str(folder), "PGPORT": str(port), "PGUSER": "postgres"}
            ready = [str(POSTGRESQL.with_name("pg_isready")), "--quiet"]
            deadline = time.monotonic() + WAIT
            while subprocess.run(ready, env={**os.environ, **where}, check=False).returncode:
                said = (folder / "log").read_text()
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.1)
            yield where
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: it does not wait for its clients
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


def psql(where: dict[str, str], *statements: str) -> None:
    """Have the PostgreSQL of `postgresql()` do what SQL says, as its superuser."""
    assert POSTGRESQL is not None
    commands = [word for statement in statements for word in ("--command", statement)]
    subprocess.run(
        [POSTGRESQL.with_name("psql"), "--quiet", *commands], env={**os.environ, **where}, check=True
    )
