"""Run jobs in parallel in one process: one thread per core, since the engine releases the GIL."""

import os
import time
from collections.abc import Generator, Iterator, Sequence
from queue import SimpleQueue
from threading import Event, Lock, Thread

from sweepgrad.sweeps.halving import Rungs
from sweepgrad.sweeps.job import Cancelled, Job, Outcome, Running, Trial
from sweepgrad.sweeps.memory import Room

_PROGRESS_SECONDS = 0.1  # between two progress events of a thread


def cores() -> int:
    """Return the number of processors that this process may use."""
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
    """Run jobs and yield their progress; each job ends with an `Outcome`.

    When the iterator is closed, or its consumer raises an exception, running jobs are dropped within tenths
    of a second.

    Arguments:
        workers: the number of jobs that run at the same time.
        rungs: when jobs pause, and which of them continue.
        cancelled: set it to stop all running jobs, without outcomes.
        keep_partial: write dropped jobs into their folders, as KILLED.
        room: the memory of this process, if others run jobs in it too.

    Raises:
        OSError: a folder cannot be written. No further job is started.
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
            continuing = rungs.chosen(waiting)
            for trial in waiting:
                if trial not in continuing and not trial.ended:
                    yield trial.close(stopped=True)
            waiting = continuing
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
    """Start threads that train trials up to an epoch, or to their end."""
    todo, lock = iter(trials), Lock()

    def work() -> None:
        latest = time.monotonic()
        try:
            while not cancelled.is_set():
                with lock:
                    trial = next(todo, None)
                if trial is None:
                    break
                for running in _advance(trial, epoch, room):
                    if time.monotonic() - latest > _PROGRESS_SECONDS:
                        latest = time.monotonic()
                        events.put(running)
                if trial.ended:
                    outcome = trial.close()
                    events.put(outcome)
                    if outcome.status == "FAILED" and trial.job.config.sweep.fail_fast:
                        cancelled.set()  # at once: the consumer of the event may be a job late
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
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
