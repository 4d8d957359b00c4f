"""The outbox: hand results to the process that writes to MLflow, and collect its answers."""

import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Condition, Thread
from typing import TYPE_CHECKING

from sweepgrad import process
from sweepgrad.errors import UserError
from sweepgrad.tracking import protocol

if TYPE_CHECKING:
    from sweepgrad.config.schema import Tracking
    from sweepgrad.tracking.protocol import Message

log = logging.getLogger(__name__)


class Outbox:
    """Results on their way to MLflow. A separate process writes them, see `sweepgrad.tracking.writer`.

    If MLflow is already imported, as in a notebook, a thread writes them. The process takes seconds to start,
    so it is started before it is known whether there is anything to send; if not, `drop` ends it.

    Arguments:
        in_process: write in a thread, although it has to import MLflow first.
    """

    def __init__(self, *, in_process: bool = False) -> None:
        self.unsent: dict[str, str | None] = {}  # messages, and why, if the store refused them
        self._waiting: dict[str, None] = {}
        self._changed = Condition()
        self._connected = False
        self._opened: Message | None = None
        self._dead = False
        self._queue: SimpleQueue[Message | None] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        if in_process or "mlflow" in sys.modules:
            self._queue = SimpleQueue()
        else:
            self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sweepgrad.tracking.writer"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                process_group=0,  # so that Ctrl-C in the terminal does not reach it
            )

    def connect(self, tracking: "Tracking") -> None:
        """Start connecting to the store, at the first call only; `open` waits for the result."""
        if self._connected:
            return
        self._connected = True
        first = {"uri": tracking.uri, "experiment": tracking.experiment, "process": process.this()}
        if self._queue is not None:
            Thread(target=self._serve, args=(first, self._queue), daemon=True).start()
        else:
            self._write(first)
            Thread(target=self._listen, daemon=True).start()

    def open(self) -> None:
        """Wait until the store is open. If it does not answer, log a warning: it may answer later.

        Raises:
            UserError: the store refuses.
        """
        with self._changed:
            while self._opened is None and not self._dead:
                self._changed.wait(0.1)  # a signal interrupts only a wait that ends
        if self._opened is None:
            raise UserError(f"the process that writes to MLflow ended at once: {self._last_error()}")
        if "refused" in self._opened:
            raise UserError(str(self._opened["refused"]))
        if why := self._opened["open"]:
            log.warning(f"{why}; training continues, and results are kept on disk")

    def begin(self, sweep: Path) -> None:
        """Report that a sweep, whose record is in its folder, starts or continues."""
        self._post("begin", sweep)

    def send(self, run: Path) -> None:
        """Send the run in a folder."""
        self._post("send", run)

    def end(self, sweep: Path) -> None:
        """Report that a sweep has ended, as its record says."""
        self._post("end", sweep)

    @property
    def left(self) -> int:
        """Number of messages that are not known to be sent."""
        return len(self._waiting)

    def close(self, waiting: Callable[[int], None] = lambda left: None) -> None:
        """Wait until everything is sent or has failed; `unsent` lists what failed.

        Arguments:
            waiting: called now and then with the number of messages that are left.
        """
        self._finish()
        with self._changed:
            while self._waiting and not self._dead:
                waiting(len(self._waiting))
                self._changed.wait(0.1)
            for folder in self._waiting:
                self.unsent[folder] = self._last_error() if self._dead else None
            self._waiting.clear()
        if self._process is not None:
            self._process.wait()

    def drop(self) -> None:
        """End without waiting."""
        self._finish()
        if self._process is not None and not self._waiting:
            self._process.kill()
            self._process.wait()

    def _post(self, verb: str, folder: Path) -> None:
        message = {verb: str(folder.absolute())}
        with self._changed:
            self._waiting[protocol.key(message)] = None
        if self._queue is not None:
            self._queue.put(message)
        else:
            self._write(message)

    def _write(self, message: "Message") -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died: `close` reports that
            self._process.stdin.write(protocol.line(message).encode())
            self._process.stdin.flush()

    def _finish(self) -> None:
        if self._queue is not None:
            self._queue.put(None)
        elif self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def _serve(self, first: dict[str, str], queue: "SimpleQueue[Message | None]") -> None:
        from sweepgrad.tracking.writer import serve

        try:
            serve(**first, queue=queue, answer=self._receive)
        finally:
            self._ended()

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None

        def refused(problem: str) -> None:
            log.warning(f"an answer of the process that writes to MLflow was ignored: {problem}")

        try:
            for message in protocol.lines(self._process.stdout, refused):
                try:
                    self._receive(protocol.answer(message))
                except ValueError as error:
                    refused(str(error))
        finally:
            self._ended()

    def _receive(self, message: "Message") -> None:
        with self._changed:
            if "say" in message:
                log.log(message["level"], message["say"])
            elif "open" in message or "refused" in message:
                self._opened = message
            elif "sent" in message:
                self._waiting.pop(protocol.key(message["sent"]), None)
            else:
                self._waiting.pop(key := protocol.key(message["unsent"]), None)
                self.unsent[key] = message["why"]
            self._changed.notify_all()

    def _ended(self) -> None:
        with self._changed:
            self._dead = True
            self._changed.notify_all()

    def _last_error(self) -> str:
        if self._process is None:
            return "its thread has ended"
        self._stderr.seek(0)
        lines = self._stderr.read().strip().splitlines()
        return lines[-1] if lines else "it printed no error"
