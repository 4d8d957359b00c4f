"""Jobs side by side: every one ends, to the same bits whatever runs beside it, or all are dropped at once."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from tests.sweeps.support import halving_of, jobs, run, trained, weights

from sweepgrad.runs import record as records
from sweepgrad.sweeps import threads
from sweepgrad.sweeps.job import Outcome, Running, Trial
from sweepgrad.training.experiment import prepare

MIXED = ("model=wide,linear,deep", "seed=1,2,3", "train.epochs=2,5")
LONG_EPOCH = ("data.rows=100000", "model.hidden=[96,96]", "train.batch_size=4", "train.epochs=50")
"""An epoch of many seconds: 15,000 steps of 10,000 parameters, and as much again to evaluate."""


def test_what_is_dropped_before_it_was_read_says_nothing_of_the_epochs_it_was_to_go_on_from(tmp_path):
    (todo,) = jobs(tmp_path, "train.epochs=5")
    *_, start = prepare(todo.config).fits()
    todo = replace(todo, start=start, continued="another")
    outcome = Trial(todo, Event()).close("KILLED")
    record = records.read(todo.folder)
    assert (outcome.epochs, record.status, record.history, record.best_epoch) == (0, "KILLED", (), 0)


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_every_job_ends_with_the_bits_that_it_has_alone(workers, tmp_path):
    todo = jobs(tmp_path, *MIXED)
    outcomes = run(todo, workers)
    assert sorted(outcome.job.number for outcome in outcomes) == list(range(18))
    for outcome in outcomes:
        alone = trained(outcome.job.config)
        record = records.read(outcome.job.folder)
        assert outcome.status == record.status == "FINISHED"
        assert record.history == alone.history
        assert outcome.epochs == len(alone.history) == outcome.job.config.train.epochs
        assert outcome.best_epoch == alone.best_epoch
        assert outcome.summary["best/val/nll"] == min(epoch.val_loss for epoch in alone.history)
        assert weights(outcome.job.folder) == [np.asarray(w).tobytes() for w in alone.weights]


def test_as_many_run_at_once_as_there_are_workers_and_never_more(tmp_path):
    todo = jobs(tmp_path, "seed=range(6)", "train.epochs=20")
    for workers in (1, 3):
        most = 0
        before = threading.active_count()
        for _ in threads.run(todo, workers, halving_of(todo), Event()):
            most = max(most, threading.active_count() - before)
        assert 1 <= most <= workers
        assert threading.active_count() == before


def test_jobs_say_how_far_they_are_while_they_run(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "_PROGRESS_SECONDS", -1.0)
    todo = jobs(tmp_path, "seed=1,2", "train.epochs=6")
    said: dict[int, list[int]] = {0: [], 1: []}
    for event in threads.run(todo, 2, halving_of(todo), Event()):
        if isinstance(event, Running):
            said[event.job.number].append(event.epoch)
            latest = trained(event.job.config).history[event.epoch - 1]
            assert event.val == latest.val
    assert said == {0: [1, 2, 3, 4, 5], 1: [1, 2, 3, 4, 5]}  # the outcome reports the sixth


def test_jobs_share_one_table_and_one_tape(tmp_path):
    one, other = (
        prepare(job.config) for job in jobs(tmp_path, "model=wide", "seed=1,2", "optimizer.lr=0.01")
    )
    assert one.training is other.training
    assert np.shares_memory(one.train.X, other.train.X)
    assert np.shares_memory(one.train.X, one.val.X.base)
    assert not one.train.X.flags.writeable
    (another,) = (prepare(job.config) for job in jobs(tmp_path, "model=wide", "optimizer.lr=0.3"))
    assert one.training_tape() is other.training_tape() is another.training_tape()
    assert one.evaluation_tape() is another.evaluation_tape()


def test_patience_ends_a_job_early(tmp_path):
    (job,) = jobs(tmp_path, "optimizer=sgd", "optimizer.lr=3", "train.epochs=200", "train.patience=2")
    (outcome,) = run([job])
    alone = trained(job.config)
    assert outcome.epochs == len(alone.history) == alone.best_epoch + 2 < 200
    assert not outcome.stopped


def test_a_job_that_fails_leaves_its_record_and_the_others_alone(tmp_path):
    todo = jobs(tmp_path, "optimizer=sgd", "optimizer.lr=0.1,1e300,0.05")
    outcomes = {outcome.job.number: outcome for outcome in run(todo)}
    assert [outcomes[number].status for number in range(3)] == ["FINISHED", "FAILED", "FINISHED"]
    assert "diverged in epoch 1" in outcomes[1].problem
    assert outcomes[1].summary == {}
    record = records.read(todo[1].folder)
    assert record.status == "FAILED"
    assert "Traceback" in (record.error or "")


def test_a_table_that_is_unfit_fails_its_job_alone(tmp_path):
    todo = jobs(tmp_path, "data.rows=200,3")
    outcomes = {outcome.job.number: outcome for outcome in run(todo)}
    assert (outcomes[0].status, outcomes[1].status) == ("FINISHED", "FAILED")
    assert "3 rows" in outcomes[1].problem


def test_a_job_for_which_there_is_no_memory_fails_alone(tmp_path):
    todo = jobs(tmp_path, "model.hidden=[9],[200000,200000]")
    outcomes = {outcome.job.number: outcome for outcome in run(todo)}
    assert (outcomes[0].status, outcomes[1].status) == ("FINISHED", "FAILED")
    # 24 arrays of 200,000 squared numbers of 8 bytes are 7680 GB, and there are some more
    assert "the job needs about 768" in outcomes[1].problem
    assert "model.hidden" in outcomes[1].problem


# Ending at once


def test_cancelled_within_an_epoch_all_stop_in_tenths_of_a_second(tmp_path):
    """Measure processor time, which does not depend on the load of the machine."""
    todo = jobs(tmp_path, *LONG_EPOCH, "seed=range(4)")
    prepare(todo[0].config).training_tape()  # reading the table and recording cannot be interrupted
    prepare(todo[0].config).evaluation_tape()
    cancelled, events = Event(), list[Running | Outcome]()
    consumer = threading.Thread(
        target=lambda: events.extend(threads.run(todo, 2, halving_of(todo), cancelled))
    )
    before = threading.active_count()
    consumer.start()
    time.sleep(0.3)
    assert consumer.is_alive()
    clock = time.process_time()
    cancelled.set()
    consumer.join(120)
    assert time.process_time() - clock < 1.0
    assert threading.active_count() == before
    # What is cancelled has no outcome. (On a fast machine the first epoch may be over by then.)
    assert not [event for event in events if isinstance(event, Outcome)]
    assert not list(tmp_path.iterdir())


def test_closing_the_iterator_drops_what_is_under_way(tmp_path):
    todo = jobs(tmp_path, "train.epochs=1,100000,100001,100002")
    before = threading.active_count()
    events = threads.run(todo, 2, halving_of(todo), Event())
    first = next(event for event in events if isinstance(event, Outcome))
    assert first.job.number == 0
    clock = time.process_time()
    events.close()
    assert time.process_time() - clock < 1.0
    assert threading.active_count() == before
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_a_run_on_its_own_is_kept_as_far_as_it_came(tmp_path):
    todo = jobs(tmp_path, "train.epochs=100000")
    events = threads.run(todo, 1, halving_of(todo), Event(), keep_partial=True)
    running = next(events)
    assert isinstance(running, Running)
    events.close()
    record = records.read(todo[0].folder)
    assert record.status == "KILLED"
    assert len(record.history) >= running.epoch
    assert record.best_epoch >= 1
    assert weights(todo[0].folder)


def test_a_folder_that_cannot_be_written_ends_everything(tmp_path):
    todo = jobs(tmp_path, "train.epochs=100000,1,2,3,100001")
    Path(todo[2].folder).write_text("a file where a folder is to be")
    before = threading.active_count()
    with pytest.raises(FileExistsError) as caught:
        run(todo, 2)
    assert caught.value.filename == str(todo[2].folder)
    assert threading.active_count() == before
    assert {"0", "4"}.isdisjoint(path.name for path in tmp_path.iterdir())  # they would take minutes
