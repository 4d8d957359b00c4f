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

Kind = Literal["once", "onward", "short", "interrupted", "kill", "memory"]

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
    285: "fallocate",
    296: "pwritev",
}
_COPIES = {326: "copy_file_range"}  # its third argument is the descriptor that is written to
_ON_PATH = {2: "open", 76: "truncate", 83: "mkdir", 84: "rmdir", 85: "creat", 86: "link", 87: "unlink"}
_ON_PATH |= {82: "rename"}
_AT = {257: "openat", 258: "mkdirat", 263: "unlinkat"}  # the path is the second argument
_AT |= {264: "renameat", 265: "linkat", 316: "renameat2"}
_ON_LINK = {88: "symlink"}  # its second argument is the path that is made
_CALLS = _ON_DESCRIPTOR | _COPIES | _ON_PATH | _AT | _ON_LINK
_LOCKS = {6, 7, 37, 38}  # F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
_CHANGES = os.O_CREAT | os.O_TRUNC
_CURRENT = 0xFFFFFF9C  # AT_FDCWD
_RELEASES = 2, 8  # F_UNLCK, LOCK_UN

LOCKS = frozenset({"fcntl", "flock"})
SYNCS = frozenset({"fsync", "fdatasync"})
WRITES = frozenset({"write", "pwrite64"})  # those that can be made in part here
COPIES = frozenset({"writev", "pwritev", "sendfile", "copy_file_range", "fallocate"})
FULL = WRITES | COPIES | {"ftruncate", "truncate", "open", "openat", "creat", "mkdir", "mkdirat"}
FULL |= {"link", "linkat", "symlink"}
"""What fails when a disk is full."""
INTERRUPTIBLE = WRITES | SYNCS | LOCKS | {"openat", "ftruncate", "sendfile"}
"""What may fail because a signal came."""
_PIDFD_OPEN, _PIDFD_GETFD = 434, 438
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
        kind: `once`: this call alone fails; `onward`: the disk is full from this call on; `short`: this call
            writes a half, and all after it for the same file find the disk full; `interrupted`: a signal
            interrupts this call; `kill`: the process is killed before it; `memory`: see
            `tests.faults.allocations`.
    """

    n: int
    kind: Kind = "once"


@dataclass
class Observed:
    """The calls of a process, and how it ended.

    Attributes:
        calls: the name of each call and the file that it was for.
        faults: the numbers of the calls that failed; of a short write and of those after it.
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
        if n == fault.n and fault.kind == "kill":
            seen.faults.append(n)
            os.kill(pid, signal.SIGKILL)
        elif n == fault.n and fault.kind == "short":
            if name in WRITES:
                seen.faults.append(n)
                answer = struct.pack("QqiI", number, _write_half(name, caller, arguments), 0, 0)
        elif (error := _error(seen, fault)) is not None:
            seen.faults.append(n)
            answer = struct.pack("QqiI", number, 0, -error, 0)
    with contextlib.suppress(OSError):  # it was killed
        fcntl.ioctl(listener, _ANSWER, bytearray(answer))


def _error(seen: Observed, fault: Fault) -> int | None:
    """Return the error with which the latest call fails; None if it is made."""
    n, name = len(seen.calls), seen.calls[-1][0]
    if fault.kind == "onward":
        return errno.ENOSPC if fault.n and n >= fault.n and name in FULL else None
    if fault.kind == "short":
        same_file = bool(seen.faults) and seen.calls[-1][1] == seen.calls[fault.n - 1][1]
        return errno.ENOSPC if same_file and name in FULL - {"ftruncate", "truncate"} else None
    if n != fault.n or (fault.kind == "interrupted" and name not in INTERRUPTIBLE):
        return None
    if fault.kind == "interrupted":
        return errno.EINTR
    return errno.ENOLCK if name in LOCKS else errno.ENOSPC if name in WRITES else errno.EIO


def _write_half(name: str, caller: int, arguments: tuple[int, ...]) -> int:
    """Write the first half of what a call wants to write; return the number of bytes."""
    descriptor, address, size, offset, *_ = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    process = libc.syscall(_PIDFD_OPEN, _process_of(caller), 0)
    try:
        same = libc.syscall(_PIDFD_GETFD, process, ctypes.c_uint(descriptor & 0xFFFFFFFF), 0)
    finally:
        os.close(process)
    try:
        half = _memory(caller, address, max(1, size // 2))
        return os.write(same, half) if name == "write" else os.pwrite(same, half, offset)
    finally:
        os.close(same)


def _process_of(thread: int) -> int:
    status = Path(f"/proc/{thread}/status").read_text()
    return int(status.partition("Tgid:")[2].split()[0])


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
        if (call == 2 and not arguments[1] & _CHANGES) or (call == 257 and not arguments[2] & _CHANGES):
            return None
        path = _text(caller, arguments[1 if call in _AT or call in _ON_LINK else 0])
        descriptor = arguments[0] & 0xFFFFFFFF
        relative_to = f"fd/{descriptor}" if call in _AT and descriptor != _CURRENT else "cwd"
        return os.path.normpath(os.path.join(os.readlink(f"/proc/{caller}/{relative_to}"), path))
    except OSError:
        return None


def _lock_type(caller: int, address: int) -> int:
    content = _memory(caller, address, 2)
    if len(content) < 2:
        raise ProcessLookupError  # its process was killed meanwhile
    return int(struct.unpack("h", content)[0])


def _text(caller: int, address: int) -> str:
    """Return a text that ends with a zero; the page after that of its beginning may be missing."""
    in_page = _memory(caller, address, 4096 - address % 4096)
    if b"\0" not in in_page:
        in_page += _memory(caller, address + len(in_page), 4096)
    return in_page.partition(b"\0")[0].decode(errors="replace")


def _memory(caller: int, address: int, size: int) -> bytes:
    with open(f"/proc/{caller}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(size)


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
