"""The jobs of a command line: trained, reused or failed, and sent to MLflow in order."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from threading import Event

import pytest
from tests.sweeps.support import halving_of, jobs, run, trained, weights

from sweepgrad.config.schema import Tracking
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.sweeps import threads
from sweepgrad.sweeps.job import Job, Outcome, Running
from sweepgrad.sweeps.progress import Progress
from sweepgrad.sweeps.resume import start_or_resume
from sweepgrad.sweeps.session import Ended, Session, digest_of, value
from sweepgrad.tracking.outbox import Outbox


@pytest.fixture
def outbox(folder) -> Iterator[Outbox]:
    """To a store in the current folder."""
    made = Outbox()
    made.connect(Tracking(uri="sqlite:///runs/mlflow.db", experiment="sweepgrad"))
    made.open()
    yield made
    made.close()


def session(outbox: Outbox, key: str = "key", *, resume: bool = True, fail_fast: bool = False) -> Session:
    """Return the session of a sweep in the current folder, new or resumed."""
    sweep = start_or_resume("runs/sweeps/*", key, name="s", jobs=1, varying=[], words=[], resume=resume)
    return Session(sweep, outbox, Progress(), resume=resume, fail_fast=fail_fast, runs=Path("runs"))


def jobs_of(whole: Session, *overrides: str) -> list[Job]:
    assert whole.sweep is not None
    return [
        whole.job(job.number, job.name, [f"seed={job.config.seed}"], job.config, job.folder.absolute())
        for job in jobs(whole.sweep.folder, *overrides)
    ]


def execute(todo: Sequence[Job], cancelled: Event) -> Generator[Running | Outcome, None, None]:
    if todo:
        yield from threads.run(todo, 2, halving_of(todo), cancelled)


def test_outcomes_come_back_in_the_order_of_the_jobs(outbox):
    whole = session(outbox)
    todo = jobs_of(whole, "train.epochs=400,1,200,2")
    outcomes = whole.run(todo, execute)
    assert [outcome.job.number for outcome in outcomes] == [0, 1, 2, 3]
    assert [outcome.epochs for outcome in outcomes] == [400, 1, 200, 2]
    assert whole.outcomes[0].epochs != 400  # in the order in which they ended
    assert whole.under_way == []
    outbox.close()
    assert outbox.unsent == {}
    assert all((job.folder / records.SENT).exists() for job in todo)


def test_jobs_are_of_their_sweep_and_the_same_in_every_attempt(outbox):
    first = session(outbox)
    assert first.sweep is not None
    one = jobs_of(first)[0]
    assert one.id == f"{first.sweep.record.id}/0"
    assert one.config.sweep.id == first.sweep.record.id
    first.sweep.write("KILLED")
    assert jobs_of(session(outbox))[0].id == one.id
    alone = Session(None, outbox, Progress(), resume=True, fail_fast=False, runs=Path("runs"))
    ids = {alone.job(0, "mine", [], one.config, Path("x")).id for _ in range(2)}
    assert len(ids) == 2


def test_only_what_is_missing_is_trained(outbox):
    first = session(outbox)
    todo = jobs_of(first, "seed=1,2,3")
    first.run(todo[:2], execute)
    assert first.sweep is not None
    first.sweep.write("KILLED")
    before = [(job.folder / records.RECORD).read_bytes() for job in todo[:2]]
    second = session(outbox)
    again = second.run(jobs_of(second, "seed=1,2,3"), execute)
    assert [outcome.reused for outcome in again] == [True, True, False]
    assert [(job.folder / records.RECORD).read_bytes() for job in todo[:2]] == before
    for outcome in again:
        best = min(epoch.val_loss for epoch in trained(outcome.job.config).history)
        assert outcome.summary["best/val/nll"] == best
        assert outcome.epochs == 3


def test_another_sweep_takes_over_what_it_would_train_alike(outbox):
    first = session(outbox)
    first.run(jobs_of(first, "seed=1,2"), execute)
    second = session(outbox, "another")
    todo = jobs_of(second, "seed=2,3")
    outcomes = second.run(todo, execute)
    assert [outcome.reused for outcome in outcomes] == [True, False]
    copy = records.read(todo[0].folder)
    assert first.sweep is not None
    assert second.sweep is not None
    assert copy.reused == f"{first.sweep.record.id}/1"
    assert (copy.job, copy.sweep, copy.overrides) == (todo[0].id, second.sweep.record.id, ("seed=2",))
    assert weights(todo[0].folder) == weights(first.sweep.folder / "1")
    third = session(outbox, "a third")
    (again,) = third.run(jobs_of(third, "seed=2"), execute)
    assert records.read(again.job.folder).reused == copy.reused  # who trained it, not who copied it


def test_all_is_trained_anew_if_asked(outbox):
    first = session(outbox)
    first.run(jobs_of(first), execute)
    second = session(outbox, resume=False)
    (outcome,) = second.run(jobs_of(second), execute)
    assert not outcome.reused


def test_what_is_damaged_is_trained_again_and_told(outbox, caplog):
    first = session(outbox)
    todo = jobs_of(first, "seed=1,2")
    first.run(todo, execute)
    (todo[0].folder / "model" / "weights.npz").write_bytes(b"")
    assert first.sweep is not None
    first.sweep.write("KILLED")
    second = session(outbox)
    outcomes = second.run(jobs_of(second, "seed=1,2"), execute)
    assert [outcome.reused for outcome in outcomes] == [False, True]
    assert "weights.npz was changed after it was written; the run is trained again" in caplog.text
    assert folders.damage(todo[0].folder, records.read(todo[0].folder)) is None


def test_the_first_failure_ends_it_all_if_asked(outbox):
    whole = session(outbox, fail_fast=True)
    todo = jobs_of(whole, "optimizer=sgd", "optimizer.lr=1e300,0.1,0.2", "train.epochs=100000")
    with pytest.raises(Ended):
        whole.run(todo, execute)
    assert [outcome.job.number for outcome in whole.failed] == [0]
    assert len(whole.under_way) == 3
    assert not todo[1].folder.exists()


def test_a_failure_is_no_number_to_a_sweeper(outbox):
    whole = session(outbox)
    todo = jobs_of(whole, "optimizer=sgd", "optimizer.lr=1e300,0.1", "select.metric=nll")
    bad, good = whole.run(todo, execute)
    assert isnan(value(bad))
    assert value(good) == good.summary["best/val/nll"]
    assert whole.rerun_command(bad.job) == "sweepgrad train seed=0"


def test_what_halving_saved_is_the_sum_over_the_records(outbox):
    whole = session(outbox)
    halving = ("sweep.halving={first:1,factor:3}", "train.epochs=9")
    todo = jobs_of(whole, "optimizer=sgd", "optimizer.lr=0.001,0.01,0.1,1.0", *halving)
    whole.run(todo, execute)
    found = [records.read(job.folder) for job in todo]
    trained = sum(len(record.history) for record in found)
    stopped = sum(record.stopped for record in found)
    assert stopped == 3  # 4, then 2, then 1
    assert whole.saved_by_halving == (
        f"halving stopped 3 of 4 runs early, which saved {(36 - trained) / 36:.0%} of all epochs"
        f" ({36 - trained} of 36)"
    )


def test_halving_that_goes_on_decides_as_if_it_had_never_been_interrupted(outbox):
    halving = ("sweep.halving={first:1,factor:3}", "train.epochs=9")
    space = ("optimizer=sgd", "optimizer.lr=0.001,0.003,0.01,0.03,0.1,0.3,1.0", "seed=1,2", *halving)
    undisturbed = {outcome.job.number: outcome for outcome in run(jobs(Path("apart"), *space))}
    first = session(outbox)
    todo = jobs_of(first, *space)

    def interrupted(todo: Sequence[Job], cancelled: Event) -> Generator[Running | Outcome, None, None]:
        for n, event in enumerate(execute(todo, cancelled)):
            yield event
            if n == 9:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(todo, interrupted)
    assert first.sweep is not None
    first.sweep.write("KILLED")
    second = session(outbox)
    outcomes = second.run(jobs_of(second, *space), execute)
    assert any(outcome.reused for outcome in outcomes)
    for outcome in outcomes:
        alike = undisturbed[outcome.job.number]
        assert (outcome.epochs, outcome.stopped) == (alike.epochs, alike.stopped)
        assert weights(outcome.job.folder) == weights(alike.job.folder)


def test_the_digest_is_of_what_the_result_follows_from(tmp_path):
    (job,) = jobs(tmp_path)
    (record,) = [records.read(outcome.job.folder) for outcome in run([job])]
    assert digest_of(job.config) == record.digest
    elsewhere = replace_in(job, tracking=job.config.tracking.model_copy(update={"experiment": "x"}))
    assert digest_of(elsewhere.config) == record.digest
    assert digest_of(replace_in(job, seed=9).config) != record.digest


def replace_in(job: Job, **values: object) -> Job:
    return replace(job, config=job.config.model_copy(update=values))


def test_a_run_that_learned_nothing_is_told(outbox, caplog):
    caplog.set_level("INFO", "sweepgrad")
    whole = session(outbox)
    whole.run(jobs_of(whole, "optimizer=sgd", "optimizer.lr=100000"), execute)
    assert "worse than a coin flip, whose nll is 0.693; try a lower optimizer.lr" in caplog.text
