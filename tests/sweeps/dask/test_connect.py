"""Check what is at the address of a Dask scheduler before Dask believes what it sends."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster
from distributed.security import Security
from tests.support import SMALL, command

from sweepgrad.errors import UserError
from sweepgrad.sweeps.dask import connect
from sweepgrad.sweeps.dask.connect import check_answers


@contextmanager
def server(sent: bytes, hangs_up: bool = False) -> Iterator[str]:
    """Send the same bytes to everyone who connects, and then nothing."""
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    connections.append(connection)
                    connection.sendall(sent)
                    if hangs_up:
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        for connection in connections:
            connection.close()
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "address",
    [
        "x",
        "tcp://",
        "http://127.0.0.1:1",
        "tcp://h",
        "tcp://h:0",
        "tcp://h:99999",
        "tcp://[::1",
        "inproc://x",
        "",
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["train", "dry-run"])
def test_an_address_that_is_none_is_refused_while_planning(tmp_path, monkeypatch, address, dry):
    monkeypatch.chdir(tmp_path)
    launcher = ("hydra/launcher=dask", f"hydra.launcher.address='{address}'")
    done = command("train", "-m", *SMALL, *dry, "seed=1,2", *launcher)
    assert done.code == 2
    assert f"hydra.launcher.address: {address!r} is not the address of a Dask scheduler. Use tcp" in done.err
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there is not Dask"),
        ((2**60).to_bytes(8, "little"), "what answers there is not Dask"),
        ((2**34).to_bytes(8, "little"), "what answers there is not Dask"),
        (bytes(8), "what answers there is not Dask"),
        ((16).to_bytes(8, "little") + b"\xff" * 16, "what answers there is not Dask"),
        (
            (16).to_bytes(8, "little") + (1).to_bytes(8, "little") + b"\xff" * 8,
            "what answers there is not Dask",
        ),
    ],
    ids=range(6),
)
def test_what_is_not_dask_is_refused_at_once(sent, why):
    with server(sent) as address, pytest.raises(UserError, match=why):
        check_answers(address)


@pytest.mark.parametrize("sent", [b"", b"\x10", (100).to_bytes(8, "little") + b"x"], ids=range(3))
def test_one_that_stops_sending_is_not_waited_for(sent, monkeypatch):
    monkeypatch.setattr(connect, "_ANSWER_SECONDS", 0.3)
    began = time.monotonic()
    with server(sent) as address, pytest.raises(UserError, match="nothing was sent within"):
        check_answers(address)
    assert time.monotonic() - began < 5


def test_one_that_hangs_up_is_named():
    with server(b"", hangs_up=True) as address, pytest.raises(UserError, match="the connection was closed"):
        check_answers(address)


def test_a_client_that_meets_no_scheduler_after_a_right_greeting_is_closed():
    greeting = (1).to_bytes(8, "little") + (0).to_bytes(8, "little")
    before = set(threading.enumerate())
    with (
        server(len(greeting).to_bytes(8, "little") + greeting + bytes(64)) as address,
        pytest.raises(UserError, match="no Dask scheduler answers"),
        connect.connected(address, None),
    ):
        pass
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert "IO loop" not in left


def test_nothing_is_left_when_a_sweep_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = threading.active_count()
    with server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        launcher = ("hydra/launcher=dask", f"hydra.launcher.address={address}")
        done = command("train", "-m", *SMALL, "seed=1,2", *launcher)
        assert (done.code, f"no Dask scheduler answers at {address}" in done.err) == (2, True)
    assert [*tmp_path.iterdir()] == []
    assert threading.active_count() <= threads + 1  # the server of this test


def test_a_scheduler_answers():
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
    ) as cluster:
        check_answers(cluster.scheduler_address)


@contextmanager
def certificates(folder: Path) -> Iterator[Security]:
    """Write certificates, and name them in Dask's configuration."""
    security = Security.temporary()
    (folder / "ca.pem").write_text(str(security.tls_ca_file))
    (folder / "key.pem").write_text(str(security.tls_client_key))
    files = {"ca-file": f"{folder}/ca.pem"} | {
        f"client.{name}": f"{folder}/{file}.pem" for name, file in (("cert", "ca"), ("key", "key"))
    }
    with dask.config.set({f"distributed.comm.tls.{key}": file for key, file in files.items()}):
        yield security


def test_tls_without_certificates_is_refused_while_planning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    launcher = ("hydra/launcher=dask", "hydra.launcher.address=tls://127.0.0.1:1")
    done = command("train", "-m", *SMALL, "seed=1,2", *launcher)
    assert done.code == 2
    assert "tls://127.0.0.1:1 needs certificates. Set distributed.comm.tls.ca-file" in done.err
    assert [*tmp_path.iterdir()] == []


def test_certificates_that_cannot_be_read_are_refused(tmp_path):
    with certificates(tmp_path), pytest.raises(UserError, match="no Dask scheduler answers"):
        check_answers("tls://127.0.0.1:1")
    with certificates(tmp_path):
        (tmp_path / "ca.pem").write_text("x")
        with pytest.raises(UserError, match="TLS configuration cannot be used"):
            check_answers("tls://127.0.0.1:1")
        (tmp_path / "ca.pem").unlink()
        with pytest.raises(UserError, match=r"TLS configuration cannot be used.*No such file"):
            check_answers("tls://127.0.0.1:1")


def test_what_does_not_speak_tls_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(connect, "_ANSWER_SECONDS", 0.3)
    with certificates(tmp_path):
        for sent, why in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", "SSL"), (b"", "nothing was sent within")):
            with server(sent) as address, pytest.raises(UserError, match=why):
                check_answers(address.replace("tcp:", "tls:"))


def test_encryption_that_dask_requires_is_required():
    with (
        dask.config.set({"distributed.comm.require-encryption": True}),
        pytest.raises(UserError, match=r"requires it .* Use a tls: address"),
    ):
        check_answers("tcp://127.0.0.1:1")


def test_a_scheduler_answers_by_tls(tmp_path):
    with (
        certificates(tmp_path) as security,
        LocalCluster(
            n_workers=0,
            processes=False,
            protocol="tls://",
            security=security,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
    ):
        check_answers(cluster.scheduler_address)
