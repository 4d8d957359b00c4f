"""Successive halving against a plain one, which looks at the histories of all jobs to their end."""

from collections.abc import Sequence
from statistics import fmean
from threading import Event

import pytest
from tests.sweeps.support import halving_of, jobs, run, trained, weights

from sweepgrad.runs import record as records
from sweepgrad.sweeps.halving import Rungs
from sweepgrad.sweeps.job import Job, Outcome, Trial
from sweepgrad.training.epoch import Epoch

RATES = "optimizer.lr=0.001,0.003,0.01,0.02,0.05,0.1,0.2,0.5,1.0"
HALVING = "sweep.halving={first:1,factor:3}"
NINE = ("optimizer=sgd", RATES, "seed=1,2", "train.epochs=9", HALVING)


def epochs_of_each(
    histories: Sequence[Sequence[Epoch]],
    candidates: Sequence[object],
    *,
    first: int,
    factor: int,
    metric: str = "accuracy",
) -> list[int]:
    """Return the number of epochs of each run, if 1 of `factor` continues after `first` epochs, and so on.

    Arguments:
        histories: of each run, to its end.
        candidates: what each run is a repetition of.
    """
    trained = [len(history) for history in histories]
    left = list(dict.fromkeys(candidates))
    rung = first
    while rung < max(trained):

        def score(candidate: object, rung: int = rung) -> float:
            values = []
            for history, whose in zip(histories, candidates, strict=True):
                if whose == candidate:
                    best = min(history[:rung], key=lambda epoch: epoch.val_loss)
                    values.append(best.val["accuracy"] if metric == "accuracy" else -best.val_loss)
            return fmean(values)

        ranked = sorted(left, key=score, reverse=True)  # which keeps the order of what is equal
        n_left = len(left) // factor + (len(left) % factor > 0)
        for place, whose in enumerate(candidates):
            if whose in ranked[n_left:]:
                trained[place] = min(trained[place], rung)
        left = [candidate for candidate in left if candidate in ranked[:n_left]]
        rung *= factor
    return trained


def in_order(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return sorted(outcomes, key=lambda outcome: outcome.job.number)


def rate(job: Job) -> object:
    return job.config.optimizer.lr


@pytest.mark.parametrize("metric", ["accuracy", "nll"])
@pytest.mark.parametrize(("first", "factor"), [(1, 3), (2, 2), (1, 4)])
def test_those_go_on_that_a_plain_halving_keeps(metric, first, factor, tmp_path):
    settings = f"sweep.halving={{first:{first},factor:{factor}}}"
    todo = jobs(tmp_path, *NINE[:-1], settings, f"select.metric={metric}")
    whole = [trained(job.config).history for job in todo]
    expected = epochs_of_each(whole, [rate(job) for job in todo], first=first, factor=factor, metric=metric)
    assert len(set(expected)) > 1  # some stop, some do not
    outcomes = in_order(run(todo))
    assert [outcome.epochs for outcome in outcomes] == expected
    assert [outcome.stopped for outcome in outcomes] == [epochs < 9 for epochs in expected]
    for outcome, history in zip(outcomes, whole, strict=True):
        record = records.read(outcome.job.folder)
        assert record.history == history[: outcome.epochs]  # to the bit what it would have been without
        assert (record.status, record.stopped) == ("FINISHED", outcome.stopped)
        best = min(record.history, key=lambda epoch: epoch.val_loss)
        assert outcome.summary["best/val/nll"] == best.val_loss


def test_the_metric_decides(tmp_path):
    """Else the tests above could not tell one from the other."""
    todo = jobs(tmp_path, *NINE)
    whole = [trained(job.config).history for job in todo]
    groups = [rate(job) for job in todo]
    by_accuracy, by_nll = (
        epochs_of_each(whole, groups, first=1, factor=3, metric=metric) for metric in ("accuracy", "nll")
    )
    assert by_accuracy != by_nll


def test_the_area_under_the_curve_decides_if_asked(tmp_path):
    todo = jobs(tmp_path, *NINE[:2], "train.epochs=2", HALVING, "select.metric=roc_auc")
    short = jobs(tmp_path / "short", *NINE[:2], "train.epochs=1")
    areas = [outcome.summary["best/val/roc_auc"] for outcome in in_order(run(short))]
    best = sorted(range(9), key=lambda number: -areas[number])[:3]
    outcomes = in_order(run(todo))
    assert {outcome.job.number for outcome in outcomes if not outcome.stopped} == set(best)


def test_seeds_and_folds_of_a_candidate_stop_together(tmp_path):
    folds = ("split.fold=range(3)", "split.folds=3")
    todo = jobs(tmp_path, *NINE[:3], *folds, "train.epochs=3", HALVING)
    whole = [trained(job.config).history for job in todo]
    expected = epochs_of_each(whole, [rate(job) for job in todo], first=1, factor=3)
    outcomes = in_order(run(todo))
    assert [outcome.epochs for outcome in outcomes] == expected
    by_rate: dict[object, set[int]] = {}
    for outcome in outcomes:
        by_rate.setdefault(rate(outcome.job), set()).add(outcome.epochs)
    assert {len(epochs) for epochs in by_rate.values()} == {1}
    assert sorted(min(epochs) for epochs in by_rate.values()) == [1] * 6 + [3] * 3


def test_each_split_of_a_sweep_is_halved_by_itself(tmp_path):
    """Halve within each split, so that no candidate stops because its split is harder."""
    settings = (*NINE[:2], "train.epochs=3", HALVING)
    together = run(jobs(tmp_path / "both", *settings, "split.seed=1,2"))
    epochs = {(rate(each.job), each.job.config.split.seed): each.epochs for each in together}
    for seed in (1, 2):
        alone = run(jobs(tmp_path / str(seed), *settings, f"split.seed={seed}"))
        assert {rate(each.job): each.epochs for each in alone} == {
            by: epochs[by, seed] for by, of in epochs if of == seed
        }


def test_one_worker_and_two_decide_alike(tmp_path):
    one, two = (in_order(run(jobs(tmp_path / str(n), *NINE), n)) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert (a.epochs, a.stopped, a.summary) == (b.epochs, b.stopped, b.summary)
        assert weights(a.job.folder) == weights(b.job.folder)


def test_of_equals_the_first_goes_on(tmp_path):
    # A gradient is never as long as that, so that clipping has no effect and all histories are equal.
    todo = jobs(tmp_path, "train.clip=1e9,1e8,1e7,1e6", "train.epochs=4", "sweep.halving={first:1,factor:2}")
    outcomes = in_order(run(todo))
    assert len({outcome.summary["best/val/nll"] for outcome in outcomes if outcome.epochs == 1}) == 1
    assert [outcome.epochs for outcome in outcomes] == [4, 2, 1, 1]


def paused(todo: Sequence[Job], epochs: int) -> list[Trial]:
    """Return trials in the state in which threads pause them at a rung."""
    trials = [Trial(job, Event()) for job in todo]
    for trial in trials:
        trial.prepare()
        while trial.epochs < epochs:
            trial.advance()
    return trials


def test_a_candidate_with_a_failed_seed_stands_behind(tmp_path):
    todo = jobs(tmp_path, *NINE)
    rungs, trials = Rungs(todo[0].config.sweep.halving, "accuracy", todo), paused(todo, 1)
    winners = {rate(trial.job) for trial in rungs.chosen(trials)}
    best = max(
        winners, key=lambda lr: fmean(t.summary["best/val/accuracy"] for t in trials if rate(t.job) == lr)
    )
    failed = next(trial for trial in trials if rate(trial.job) == best)
    without = {rate(trial.job) for trial in rungs.chosen([trial for trial in trials if trial is not failed])}
    assert winners - without == {best}
    assert len(winners) == len(without) == 3


def test_a_seed_that_patience_ended_counts_as_it_stands(tmp_path):
    """It has not failed: its candidate is judged by all of its seeds."""
    patient = ("optimizer=sgd", "optimizer.lr=0.3,1,3,10", "seed=range(4)", "train.patience=1")
    settings = ("train.epochs=12", "sweep.halving={first:4,factor:2}")
    todo = jobs(tmp_path, *patient, *settings)
    whole = [trained(job.config).history for job in todo]
    groups = [rate(job) for job in todo]
    assert {len(history) < 4 for history in whole} == {True, False}
    expected = epochs_of_each(whole, groups, first=4, factor=2)
    assert [outcome.epochs for outcome in in_order(run(todo))] == expected


def test_without_halving_all_train_to_their_end(tmp_path):
    todo = jobs(tmp_path, *NINE[:-1])
    assert halving_of(todo).epochs == [None]
    assert {outcome.epochs for outcome in run(todo)} == {9}


@pytest.mark.parametrize(
    ("first", "factor", "epochs", "expected"),
    [(1, 3, 27, [1, 3, 9, None]), (3, 3, 30, [3, 9, 27, None]), (4, 2, 5, [4, None])],
)
def test_rungs_are_a_factor_apart_and_below_the_last_epoch(first, factor, epochs, expected, tmp_path):
    todo = jobs(tmp_path, f"train.epochs={epochs}", f"sweep.halving={{first:{first},factor:{factor}}}")
    assert halving_of(todo).epochs == expected
