"""Handing results to the one who writes to MLflow, and hearing what became of them."""

import json
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

if TYPE_CHECKING:
    from sweepgrad.config.schema import Tracking
    from sweepgrad.tracking.writer import Message

log = logging.getLogger(__name__)


class Outbox:
    """Results on their way to MLflow, written by a process of its own: see `sweepgrad.tracking.writer`.

    Where MLflow is imported already, as in a notebook, a thread does instead. It takes seconds to start, so
    it is made before it is known whether there is anything to send; `drop` ends it then.
    """

    def __init__(self) -> None:
        self.unsent: dict[str, str | None] = {}  # folders, and why, if it was the store's own refusal
        self._waiting: dict[str, None] = {}
        self._changed = Condition()
        self._connected = False
        self._opened: Message | None = None
        self._dead = False
        self._told: SimpleQueue[Message | None] | None = None
        self._process: subprocess.Popen[str] | None = None
        if "mlflow" in sys.modules:
            self._told = SimpleQueue()
        else:
            self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sweepgrad.tracking.writer"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                text=True,
                process_group=0,  # out of reach of the terminal's Ctrl-C
            )

    def connect(self, tracking: "Tracking") -> None:
        """Say where results are to go, if that is not said yet; `open` tells what came of it."""
        if self._connected:
            return
        self._connected = True
        first = {"uri": tracking.uri, "experiment": tracking.experiment, "process": process.this()}
        if self._told is not None:
            Thread(target=self._serve, args=(first, self._told), daemon=True).start()
        else:
            self._write(first)
            Thread(target=self._listen, daemon=True).start()

    def open(self) -> None:
        """Wait until the store is open. That it does not answer is no error: it may later.

        Raises:
            UserError: the store refuses.
        """
        with self._changed:
            while self._opened is None and not self._dead:
                self._changed.wait(0.1)  # a signal interrupts only a wait that ends
        if self._opened is None:
            raise UserError(f"what writes to MLflow ended at once: {self._last_words()}")
        if "refused" in self._opened:
            raise UserError(str(self._opened["refused"]))
        if why := self._opened["open"]:
            log.warning(f"{why}; training goes on, and results are kept on disk")

    def begin(self, sweep: Path) -> None:
        """A sweep, of which word is in its folder, starts or goes on."""
        self._tell("begin", sweep)

    def send(self, run: Path) -> None:
        """A run has been left in its folder."""
        self._tell("send", run)

    def end(self, sweep: Path) -> None:
        """A sweep has ended, as the word in its folder says."""
        self._tell("end", sweep)

    @property
    def left(self) -> int:
        """How much was handed over and is not known to be sent."""
        return len(self._waiting)

    def close(self, waiting: Callable[[int], None] = lambda left: None) -> None:
        """Wait until all is sent or cannot be; what was not is in `unsent`.

        Arguments:
            waiting: told at times how much is left.
        """
        self._finish()
        with self._changed:
            while self._waiting and not self._dead:
                waiting(len(self._waiting))
                self._changed.wait(0.1)
            for folder in self._waiting:
                self.unsent[folder] = self._last_words() if self._dead else None
            self._waiting.clear()
        if self._process is not None:
            self._process.wait()

    def drop(self) -> None:
        """End it without waiting: nothing was handed over, or whoever waits does not want to."""
        self._finish()
        if self._process is not None and not self._waiting:
            self._process.kill()
            self._process.wait()

    def _tell(self, verb: str, folder: Path) -> None:
        message = {verb: str(folder.absolute())}
        with self._changed:
            self._waiting[_key(message)] = None
        if self._told is not None:
            self._told.put(message)
        else:
            self._write(message)

    def _write(self, message: "Message") -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died: `close` says so
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _finish(self) -> None:
        if self._told is not None:
            self._told.put(None)
        elif self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def _serve(self, first: dict[str, str], told: "SimpleQueue[Message | None]") -> None:
        from sweepgrad.tracking.writer import serve

        try:
            serve(**first, told=told, answer=self._heard)
        finally:
            self._ended()

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                with suppress(ValueError):  # half a line: it was killed
                    self._heard(json.loads(line))
        finally:
            self._ended()

    def _heard(self, message: "Message") -> None:
        with self._changed:
            if "say" in message:
                log.log(int(message["level"]), str(message["say"]))
            elif "open" in message or "refused" in message:
                self._opened = message
            elif "sent" in message:
                self._waiting.pop(_key(message["sent"]), None)
            else:
                self._waiting.pop(key := _key(message["unsent"]), None)
                self.unsent[key] = message["why"]
            self._changed.notify_all()

    def _ended(self) -> None:
        with self._changed:
            self._dead = True
            self._changed.notify_all()

    def _last_words(self) -> str:
        if self._process is None:
            return "its thread has died"
        self._complaints.seek(0)
        said = self._complaints.read().strip().splitlines()
        return said[-1] if said else "it said nothing"


def _key(message: "Message") -> str:
    ((verb, folder),) = message.items()
    return f"{verb} {folder}"
