"""Fuzz target: the address of a Dask scheduler, and what a server there answers."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hypothesis import strategies as st
from tests.fuzz.grammar import WORDS, mutated

from sweepgrad.sweeps.dask import connect

SHORT = 20  # examples in `make test`

_VALID = ("tcp://127.0.0.1:1", "tls://[::1]:2", "tcp://localhost:3/", "tcp://a.invalid:4")
_SCHEMES = ("tcp", "tls", "http", "inproc", "ucx", "ws", "TCP", "")
_HOSTS = ("127.0.0.1", "localhost", "[::1]", "::1", "", "a" * 300, "a.invalid", "127.1", "0", "é", "[", "..")
_GREETINGS = (
    b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(8), b"\xff" * 8, b"\x08" + bytes(7), b"\x08" + bytes(15),
    (2**20).to_bytes(8, "little"), (2**34).to_bytes(8, "little"), b"\x10" + bytes(7) + b"\xff" * 16,
)  # fmt: skip


def examples() -> st.SearchStrategy[bytes]:
    """Return addresses of nothing; and greetings of a server, in hexadecimal,
    with whether it then hangs up."""
    ports = st.sampled_from(("1", "0", "99999", "", "-1", "x", "1" * 30, "１")) | st.integers().map(str)
    built = st.builds("{}://{}:{}".format, st.sampled_from(_SCHEMES), st.sampled_from(_HOSTS), ports)
    texts = st.one_of(built, mutated(st.sampled_from(_VALID)), st.sampled_from(WORDS), st.text(max_size=10))
    greetings = st.sampled_from(_GREETINGS) | st.binary(max_size=40)
    served = greetings.map(lambda sent: json.dumps({"sent": sent.hex()}).encode())
    return served | texts.map(lambda text: json.dumps({"address": text}).encode())


def attack(data: bytes) -> None:
    """Check an address as the launcher does before it connects; a server that is not Dask's is refused."""
    given = json.loads(data)
    if "address" in given:
        connect.check_answers(given["address"])
        raise AssertionError("nothing is there")
    with _server(bytes.fromhex(given["sent"])) as address:
        connect.check_answers(address)


@contextmanager
def _server(sent: bytes) -> Iterator[str]:
    """Serve one connection: send bytes and hang up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(sent)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            thread.join()
