"""Running jobs side by side in one process: a thread for each core, since the engine drops the GIL."""

import os
import time
from collections.abc import Generator, Iterator, Sequence
from queue import SimpleQueue
from threading import Event, Lock, Thread

from sweepgrad.sweep.halving import Rungs
from sweepgrad.sweep.job import Cancelled, Job, Outcome, Running, Trial
from sweepgrad.sweep.memory import Room

_QUIET_SECONDS = 0.1  # between two words of one thread on how far its job is


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(
    jobs: Sequence[Job],
    workers: int,
    rungs: Rungs,
    cancelled: Event,
    *,
    keep_partial: bool = False,
    room: Room | None = None,
) -> Generator[Running | Outcome, None, None]:
    """Run jobs, and say how they come on; each ends with an `Outcome`.

    When the iterator is closed, or an exception is raised where it is used, the jobs under way are dropped
    within tenths of a second.

    Arguments:
        workers: how many run at once.
        rungs: when jobs pause, and which of them go on then.
        cancelled: set it to end all that is under way, without outcomes.
        keep_partial: leave what is dropped in its folder, as KILLED.
        room: the memory of this process, where others run jobs in it too.

    Raises:
        OSError: a folder cannot be written. Nothing more is run then.
    """
    waiting = [Trial(job, cancelled) for job in jobs]
    events: SimpleQueue[Running | Outcome | BaseException | None] = SimpleQueue()
    room, threads = room or Room(), list[Thread]()
    try:
        for epoch in rungs.epochs:
            todo = [trial for trial in waiting if not trial.ended]
            threads = _start(todo, epoch, workers, room, cancelled, events)
            left = len(threads)
            while left:
                event = events.get()
                if event is None:
                    left -= 1
                elif isinstance(event, BaseException):
                    raise event
                else:
                    yield event
            if epoch is None or cancelled.is_set():
                return
            waiting = [trial for trial in waiting if not trial.failed]
            going_on = rungs.chosen(waiting)
            for trial in waiting:
                if trial not in going_on and not trial.ended:
                    yield trial.close(stopped=True)
            waiting = going_on
    finally:
        cancelled.set()
        for thread in threads:
            thread.join()
        if keep_partial:
            for trial in waiting:
                if not trial.closed:
                    trial.close("KILLED")


def _start(
    trials: Sequence[Trial],
    epoch: int | None,
    workers: int,
    room: Room,
    cancelled: Event,
    events: "SimpleQueue[Running | Outcome | BaseException | None]",
) -> list[Thread]:
    """Have threads take trials to an epoch, or to their end."""
    todo, lock = iter(trials), Lock()

    def work() -> None:
        said = time.monotonic()
        try:
            while not cancelled.is_set():
                with lock:
                    trial = next(todo, None)
                if trial is None:
                    break
                for running in _advance(trial, epoch, room):
                    if time.monotonic() - said > _QUIET_SECONDS:
                        said = time.monotonic()
                        events.put(running)
                if trial.ended:
                    outcome = trial.close()
                    events.put(outcome)
                    if outcome.status == "FAILED" and trial.job.config.sweep.fail_fast:
                        cancelled.set()  # here: whoever hears of it may be a job late
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - raised anew in the thread that waits
            events.put(error)
        finally:
            events.put(None)

    threads = [Thread(target=work, daemon=True) for _ in range(min(workers, len(trials)))]
    for thread in threads:
        thread.start()
    return threads


def _advance(trial: Trial, epoch: int | None, room: Room) -> Iterator[Running]:
    need = trial.prepare()
    try:
        with room.take(need):
            while not trial.ended and (epoch is None or trial.epochs < epoch):
                trial.advance()
                if trial.fit is not None and not trial.ended:
                    latest = trial.fit.history[-1]
                    yield Running(trial.job, trial.epochs, latest.val)
    except MemoryError as error:
        trial.fail(error)
