"""Let the n-th system call that changes a file fail, in a process and in all that it starts.

A seccomp filter hands these calls to a supervisor (`seccomp_unotify(2)`), which counts them over all threads
and lets them pass, fail, or kills the process instead. So SQLite's own writes and locks fail too, and nothing
is replaced by a mock. Linux on x86-64; no privileges are needed.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["once", "onward", "kill", "memory"]

_ON_DESCRIPTOR = {
    1: "write",
    18: "pwrite64",
    20: "writev",
    40: "sendfile",
    72: "fcntl",
    73: "flock",
    74: "fsync",
    75: "fdatasync",
    77: "ftruncate",
}
_COPIES = {326: "copy_file_range"}  # its third argument is the descriptor that is written to
_ON_PATH = {83: "mkdir", 86: "link", 87: "unlink"}
_ON_TWO_PATHS = {82: "rename"}
_AT = {257: "openat", 263: "unlinkat", 264: "renameat", 316: "renameat2"}  # the path is the second argument
_CALLS = _ON_DESCRIPTOR | _COPIES | _ON_PATH | _ON_TWO_PATHS | _AT
_LOCKS = {6, 7, 37, 38}  # F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
_CURRENT = 0xFFFFFF9C  # AT_FDCWD
_RELEASES = 2, 8  # F_UNLCK, LOCK_UN

_FULL = {"write", "pwrite64", "writev", "sendfile", "copy_file_range", "ftruncate", "openat", "mkdir", "link"}
_SET_NO_NEW_PRIVS, _SECCOMP, _FILTER, _LISTENER = 38, 317, 1, 8
_RECEIVE, _ANSWER = 0xC0502100, 0xC0182101
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_CONTINUE = 1


def available() -> bool:
    """Return whether this system can hand system calls to a supervisor."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


@dataclass(frozen=True)
class Fault:
    """A fault to inject.

    Attributes:
        n: the number of the call, from 1; 0 for none.
        kind: `once`: this call alone fails; `onward`: the disk is full from this call on; `kill`: the process
            is killed before it; `memory`: see `tests.faults.allocations`.
    """

    n: int
    kind: Kind = "once"


@dataclass
class Observed:
    """The calls of a process, and how it ended.

    Attributes:
        calls: the name of each call and the file that it was for.
        faults: the numbers of the calls that failed.
        status: its exit code; negative if a signal ended it; None if it was ended for being too slow.
    """

    calls: list[tuple[str, str]] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    status: int | None = None


def run(
    work: Callable[[], int],
    folder: Path,
    fault: Fault,
    *,
    seconds: float = 90,
    pause: Callable[[], float] = lambda: 0.0,
) -> Observed:
    """Run `work` in a fork of this process, and count its calls for files below `folder`.

    Arguments:
        work: returns the exit code.
        pause: returns the seconds that a call waits before it is made.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            ours.close()
            listener = _install()
            socket.send_fds(theirs, [b"."], [listener])
            os.close(listener)
            theirs.recv(1)  # the supervisor is ready
            code = work()
        finally:
            sys.stderr.flush()
            os._exit(code)
    theirs.close()
    with ours:
        _, (listener, *_), _, _ = socket.recv_fds(ours, 1, 1)
        try:
            ours.send(b".")
            end = time.monotonic() + seconds
            return _supervise(listener, pid, str(folder.resolve()), fault, end, pause)
        finally:
            os.close(listener)


def _supervise(
    listener: int, pid: int, folder: str, fault: Fault, deadline: float, pause: Callable[[], float]
) -> Observed:
    seen = Observed()
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        events = poll.poll(200)
        if events and events[0][1] & select.POLLIN:
            _decide(listener, pid, folder, fault, seen, pause)
            continue
        if events or time.monotonic() > deadline:  # all its processes have ended, or it hangs
            if not events:
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            seen.status = os.waitstatus_to_exitcode(status) if events else None
            return seen


def _decide(
    listener: int, pid: int, folder: str, fault: Fault, seen: Observed, pause: Callable[[], float]
) -> None:
    """Receive one call, and let it pass or fail."""
    request = bytearray(80)
    try:
        fcntl.ioctl(listener, _RECEIVE, request)
    except OSError:  # its process was killed meanwhile
        return
    number, caller, _, call = struct.unpack_from("QIIi", request)
    arguments = struct.unpack_from("6Q", request, 32)
    answer = struct.pack("QqiI", number, 0, 0, _CONTINUE)
    name = _CALLS[call]
    if (target := _target(caller, call, arguments)) is not None and target.startswith(folder):
        seen.calls.append((name, target[len(folder) + 1 :]))
        n = len(seen.calls)
        time.sleep(pause())
        full = fault.kind == "onward" and fault.n and n >= fault.n and name in _FULL
        if n == fault.n and fault.kind == "kill":
            seen.faults.append(n)
            os.kill(pid, signal.SIGKILL)
        elif full or (n == fault.n and fault.kind == "once"):
            seen.faults.append(n)
            answer = struct.pack("QqiI", number, 0, -_error(name, fault.kind), 0)
    with contextlib.suppress(OSError):  # it was killed
        fcntl.ioctl(listener, _ANSWER, bytearray(answer))


def _error(name: str, kind: Kind) -> int:
    """Return the error with which a call fails."""
    if name in _FULL and kind == "onward":
        return errno.ENOSPC
    if name in ("flock", "fcntl"):
        return errno.ENOLCK
    return errno.ENOSPC if name in ("write", "pwrite64") else errno.EIO


def _target(caller: int, call: int, arguments: tuple[int, ...]) -> str | None:
    """Return the file that a call is for; None if it does not change one, or only releases a lock."""
    try:
        if call in _ON_DESCRIPTOR or call in _COPIES:
            if call == 72 and (
                arguments[1] not in _LOCKS or _lock_type(caller, arguments[2]) == _RELEASES[0]
            ):
                return None
            if call == 73 and arguments[1] & _RELEASES[1]:
                return None
            return os.readlink(f"/proc/{caller}/fd/{arguments[2 if call in _COPIES else 0]}")
        if call == 257 and not arguments[2] & os.O_CREAT:
            return None
        path = _text(caller, arguments[1 if call in _AT else 0])
        descriptor = arguments[0] & 0xFFFFFFFF
        relative_to = f"fd/{descriptor}" if call in _AT and descriptor != _CURRENT else "cwd"
        return os.path.normpath(os.path.join(os.readlink(f"/proc/{caller}/{relative_to}"), path))
    except OSError:
        return None


def _lock_type(caller: int, address: int) -> int:
    return int(struct.unpack("h", _memory(caller, address, 2))[0])


def _text(caller: int, address: int) -> str:
    return _memory(caller, address, 4096).partition(b"\0")[0].decode(errors="replace")


def _memory(caller: int, address: int, size: int) -> bytes:
    with open(f"/proc/{caller}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(min(size, 4096 - address % 4096) if size > 8 else size)


def _install() -> int:
    """Install the filter in this process and return the descriptor of its listener."""
    libc = ctypes.CDLL(None, use_errno=True)

    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    numbers = sorted(_CALLS)
    program = [step(0x20, 0)]  # load the number of the call
    program += [step(0x15, call, yes=len(numbers) - place) for place, call in enumerate(numbers)]
    program += [step(0x06, _ALLOW), step(0x06, _NOTIFY)]
    text = ctypes.create_string_buffer(b"".join(program))
    filter_ = ctypes.create_string_buffer(struct.pack("H6xP", len(program), ctypes.addressof(text)))
    if libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    listener = libc.syscall(_SECCOMP, _FILTER, _LISTENER, filter_)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)
