"""The one who writes to MLflow, beside the training: a process of its own, which is told by lines of JSON.

MLflow takes seconds to import and holds the interpreter while it writes, so it has one to itself. It is
handed folders of runs. All that it knows is on disk: whatever happens to it, `sweepgrad sync` can go on.

What it is told:   first {"uri", "experiment", "process"}; then {"begin": FOLDER of a sweep}, {"send": FOLDER
                   of a run}, {"end": FOLDER of a sweep}; the end of its input when there is no more.
What it answers:   {"say": TEXT, "level": that of `logging`} at any time; {"open": null, or why the store does
                   not answer} or {"refused": WHY}; then {"sent": what was told}, or {"unsent": what was told,
                   "why": TEXT or null}.
"""

import json
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
from typing import TYPE_CHECKING, Any

from sweepgrad.errors import UserError
from sweepgrad.files import locked

if TYPE_CHECKING:
    from sweepgrad.tracking.store import Store

log = logging.getLogger("sweepgrad.tracking.writer")  # its own process runs it as __main__

Message = dict[str, Any]

_RETRY_SECONDS = 5.0


def serve(
    uri: str,
    experiment: str,
    process: str,
    told: "SimpleQueue[Message | None]",
    answer: Callable[[Message], None],
) -> None:
    """Do what is told until None is, and then once more what could not be done before.

    Arguments:
        uri, experiment: as in `tracking`.
        process: whose runs these are, see `process.this`.
        told: what to do; None is the end.
    """
    from sweepgrad.tracking.connection import Unreachable
    from sweepgrad.tracking.store import Store

    def opened() -> Store:
        return Store(uri, experiment, process=process)

    store: Store | None = None
    try:
        store = opened()
        for name in store.close_abandoned():
            log.warning(f"run {name} was left running by a process that died: it is now marked KILLED")
        answer({"open": None})
    except Unreachable as error:
        answer({"open": str(error)})
    except (UserError, OSError) as error:
        answer({"refused": str(error)})
        return
    with ExitStack() as held:
        _serve(store, opened, told, answer, held)


def _serve(
    store: "Store | None",
    opened: Callable[[], "Store"],
    told: "SimpleQueue[Message | None]",
    answer: Callable[[Message], None],
    held: ExitStack,
) -> None:
    """As `serve`, once it is known whether the store answers.

    Arguments:
        store: None if it does not; `opened` tries again.
        held: takes what is to be let go at the end.
    """
    from sweepgrad.tracking.connection import Unreachable

    backlog: deque[Message] = deque()
    begun: str | None = None
    tried = time.monotonic()
    for message in _messages(told):
        if message is not None:
            backlog.append(message)
            if "begin" in message:
                # Another one waits: that of a killed process may still be at the sweep.
                with suppress(OSError):  # `begin_sweep` says what is wrong
                    held.enter_context(locked(Path(message["begin"])))
            begun = message.get("begin", None if "end" in message else begun)
        if store is None and (message is None or time.monotonic() - tried > _RETRY_SECONDS):
            tried = time.monotonic()
            with suppress(UserError):
                store = opened()
        failed = 0  # in a row: as many as there are have all been tried
        while store is not None and backlog:
            try:
                answer(_do(store, backlog[0]))
                backlog.popleft()
            except Unreachable as error:
                store, tried = None, time.monotonic()
                failed += 1
                if "send" in backlog[0]:  # should it be the run's own fault, the others get their turn
                    backlog.rotate(-1)
                    if failed < len(backlog):
                        with suppress(UserError):  # a store that opens at once can take the others
                            store = opened()
                if store is None or failed == 1:
                    log.warning(f"{error}; training goes on, and results are kept on disk")
            else:
                failed = 0
    for message in backlog:
        answer({"unsent": message, "why": None})
    if store is not None and begun is not None:  # whoever told it died before the end
        with suppress(UserError, OSError, ValueError):
            store.end_sweep(Path(begun))


def _messages(told: "SimpleQueue[Message | None]") -> Iterator[Message | None]:
    """What is told; and None at times when nothing is, and at the end: then what failed is tried again."""
    while True:
        try:
            message = told.get(timeout=_RETRY_SECONDS)
        except Empty:
            yield None
            continue
        yield message
        if message is None:
            yield None  # if an answer was lost just now, the server need not be away
            return


def _do(store: "Store", message: Message) -> Message:
    """What came of it.

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
    except (UserError, OSError, ValueError) as error:
        return {"unsent": message, "why": str(error)}
    return {"sent": message}


class _Answering(logging.Handler):
    """Hands messages on to the one who is served."""

    def __init__(self, answer: Callable[[Message], None]) -> None:
        super().__init__()
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        self._answer({"say": self.format(record), "level": record.levelno})


def main() -> None:
    """Serve whoever started this process, by its standard input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who trains, who then ends our input
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer
    told: SimpleQueue[Message | None] = SimpleQueue()

    def answer(message: Message) -> None:
        try:
            answers.write(json.dumps(message) + "\n")
            answers.flush()
        except BrokenPipeError:  # nobody listens any more, and still what was handed over is to be sent
            pass

    logger = logging.getLogger("sweepgrad")
    logger.addHandler(_Answering(answer))
    logger.setLevel(logging.INFO)
    import sweepgrad.tracking.store  # noqa: F401 - it takes seconds, in which the other one composes and reads tables

    first = sys.stdin.readline()
    if not first:
        return

    def read() -> None:
        for line in sys.stdin:
            with suppress(ValueError):  # half a line: who wrote it was killed
                told.put(json.loads(line))
        told.put(None)

    Thread(target=read, daemon=True).start()
    serve(**json.loads(first), told=told, answer=answer)
    with suppress(BrokenPipeError):
        answers.close()


if __name__ == "__main__":
    main()
