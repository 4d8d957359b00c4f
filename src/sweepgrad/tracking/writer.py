"""The process that writes to MLflow while another trains. It reads and answers lines of JSON.

MLflow takes seconds to import and holds the interpreter lock while it writes, so it has its own process. That
receives the folders of runs. Everything is on disk: if the process dies, `sweepgrad sync` sends the rest.

Input:   first {"uri", "experiment", "process"}; then {"begin": FOLDER of a sweep}, {"send": FOLDER of a run},
         {"end": FOLDER of a sweep}; then the end of the input.
Output:  {"say": TEXT, "level": of `logging`} at any time; {"open": null, or why the store does not answer} or
         {"refused": WHY}; then, for each message, {"sent": MESSAGE} or {"unsent": MESSAGE, "why": TEXT|null}.
"""

import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from sweepgrad.errors import UserError
from sweepgrad.files import locked
from sweepgrad.tracking import protocol
from sweepgrad.tracking.protocol import Message

if TYPE_CHECKING:
    from sweepgrad.tracking.store import Store

log = logging.getLogger("sweepgrad.tracking.writer")  # its own process runs it as __main__

_RETRY_SECONDS = 5.0


def serve(
    uri: str,
    experiment: str,
    process: str,
    queue: "SimpleQueue[Message | None]",
    answer: Callable[[Message], None],
) -> None:
    """Process messages until None, then try once more those that failed.

    Arguments:
        uri, experiment: as in `tracking`.
        process: the process that trains, see `process.this`.
        queue: messages; None is the end.
        answer: called with each answer.
    """
    from sweepgrad.tracking.connection import Unreachable
    from sweepgrad.tracking.store import Store

    def opened() -> Store:
        try:
            return Store(uri, experiment, process=process)
        except MemoryError:
            raise Unreachable(f"not enough memory to open the MLflow store at {uri}") from None

    store: Store | None = None
    try:
        store = opened()
        for name in store.close_abandoned():
            log.warning(f"run {name} was still RUNNING, but its process has died: it is now marked KILLED")
        answer({"open": None})
    except Unreachable as error:
        answer({"open": str(error)})
    except (UserError, OSError) as error:
        answer({"refused": str(error)})
        return
    with ExitStack() as held:
        _serve(store, opened, queue, answer, held)


def _serve(
    store: "Store | None",
    opened: Callable[[], "Store"],
    queue: "SimpleQueue[Message | None]",
    answer: Callable[[Message], None],
    held: ExitStack,
) -> None:
    """Process messages, see `serve`.

    Arguments:
        store: None if it does not answer.
        opened: tries to open the store again.
        held: keeps the locks of sweeps until the end.
    """
    from sweepgrad.tracking.connection import Unreachable

    backlog: deque[Message] = deque()
    begun: str | None = None
    tried = time.monotonic()
    for message in _messages(queue):
        if message is not None:
            backlog.append(message)
            if "begin" in message:
                # Wait for the writer of a process that was killed: it may still be sending this sweep.
                with suppress(OSError):  # `begin_sweep` reports the error
                    held.enter_context(locked(Path(message["begin"])))
            begun = message.get("begin", None if "end" in message else begun)
        if store is None and (message is None or time.monotonic() - tried > _RETRY_SECONDS):
            tried = time.monotonic()
            with suppress(UserError):
                store = opened()
        failed = 0  # in a row; when it reaches the length of the backlog, all have been tried
        while store is not None and backlog:
            try:
                answer(_do(store, backlog[0]))
                backlog.popleft()
            except Unreachable as error:
                store, tried = None, time.monotonic()
                failed += 1
                if "send" in backlog[0]:  # this run may be the cause: try the others first
                    backlog.rotate(-1)
                    if failed < len(backlog):
                        with suppress(UserError):
                            store = opened()
                if store is None or failed == 1:
                    log.warning(f"{error}; training continues, and results are kept on disk")
            else:
                failed = 0
    for message in backlog:
        answer({"unsent": message, "why": None})
    if store is not None and begun is not None:  # the process that trains died
        with suppress(UserError, OSError, ValueError, MemoryError):
            store.end_sweep(Path(begun))


def _messages(queue: "SimpleQueue[Message | None]") -> Iterator[Message | None]:
    """Yield messages; and None after some seconds without one and at the end, to try failed ones again."""
    while True:
        try:
            message = queue.get(timeout=_RETRY_SECONDS)
        except Empty:
            yield None
            continue
        yield message
        if message is None:
            yield None  # twice: the first try may fail because a connection was just lost
            return


def _do(store: "Store", message: Message) -> Message:
    """Process a message and return the answer.

    Raises:
        Unreachable: the store does not answer.
    """
    from sweepgrad.tracking.connection import Unreachable

    ((verb, folder),) = message.items()
    do = {"begin": store.begin_sweep, "send": store.send, "end": store.end_sweep}[verb]
    try:
        do(Path(folder))
    except Unreachable:
        raise
    except MemoryError:
        return {"unsent": message, "why": "not enough memory"}
    except (UserError, OSError, ValueError) as error:
        return {"unsent": message, "why": str(error)}
    return {"sent": message}


class _Answering(logging.Handler):
    """Send log records as answers."""

    def __init__(self, answer: Callable[[Message], None]) -> None:
        super().__init__()
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        self._answer({"say": self.format(record), "level": record.levelno})


def main() -> None:
    """Read messages from standard input and write answers to standard output."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C ends the process that trains, which closes our input
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not mix with answers
    queue: SimpleQueue[Message | None] = SimpleQueue()

    def answer(message: Message) -> None:
        try:
            answers.write(protocol.line(message))
            answers.flush()
        except BrokenPipeError:  # the other process has ended; keep sending its runs
            pass

    logger = logging.getLogger("sweepgrad")
    logger.addHandler(_Answering(answer))
    logger.setLevel(logging.INFO)
    import sweepgrad.tracking.store  # noqa: F401 - takes seconds; meanwhile the other process reads tables

    def refused(problem: str) -> None:
        log.warning(f"a message to the process that writes to MLflow was ignored: {problem}")

    messages = protocol.lines(sys.stdin.buffer, refused)
    first = next(messages, None)
    if first is None:
        return
    try:
        protocol.start(first)
    except ValueError as error:
        answer({"refused": str(error)})
        return

    def read() -> None:
        try:
            for message in messages:
                try:
                    queue.put(protocol.task(message))
                except ValueError as error:
                    refused(str(error))
        finally:
            queue.put(None)

    Thread(target=read, daemon=True).start()
    serve(**first, queue=queue, answer=answer)
    with suppress(BrokenPipeError):
        answers.close()


if __name__ == "__main__":
    main()
