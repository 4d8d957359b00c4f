"""What the card says of a model that was decided on, once its test rows are open."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.config.thresholds import CostThreshold
from sweepgrad.data.access import Rows, Training
from sweepgrad.data.audit.report_text import certificate_text
from sweepgrad.data.split import units_of
from sweepgrad.selection import diagnosis_text
from sweepgrad.selection.card import Calibrated, Card, Decisions, Scores
from sweepgrad.selection.decide import Decision
from sweepgrad.selection.ranking import folds
from sweepgrad.stats import metrics
from sweepgrad.stats.calibration import Calibration, calibration, calibration_error_by_chance
from sweepgrad.tasks.registry import task_of
from sweepgrad.tasks.task import Task
from sweepgrad.tracking.tags import ISOLATION, PASSED


def card(
    decision: Decision,
    training: Training,
    test: Rows,
    *,
    sweep: str,
    run_id: str,
    n_jobs: int,
    registered: str,
    evaluated: str,
    earlier_evaluations: tuple[str, ...],
) -> Card:
    """The card of a model.

    Arguments:
        training: the rows that its first run was trained on, for the yardsticks.
        n_jobs: how many runs the sweep has, finished or not.
        others: as `Card` has them.
    """
    config = decision.configs[0]
    bundle, val = decision.bundle, decision.val
    units = {part: units_of(rows.frame, rows.roles.group) for part, rows in (("val", val), ("test", test))}
    of_test, of_val = bundle.scores(test.frame), bundle.scores(val.frame)
    task = task_of(config.data)
    p_test, p_val = task.probabilities(of_test), task.probabilities(of_val)
    others = baselines(task, training, test.frame)
    key = rng.key(config.split.seed, "calibration")
    candidates = [run for entry in decision.entries if not entry.ensemble for run in entry.runs]
    n_ensembles = sum(bool(entry.ensemble) for entry in decision.entries)
    return Card(
        sweep=sweep,
        run_id=run_id,
        n_candidates=len(candidates),
        n_configurations=len(decision.entries) - n_ensembles,
        n_ensembles=n_ensembles,
        n_unfinished=n_jobs - len(candidates),
        registered=registered,
        model=_model(decision),
        members=_members(decision),
        choice=_choice(decision),
        data={
            "name": config.data.name,
            "source": training.source,
            "target": bundle.target,
            "positive": bundle.positive,
            "negative": bundle.negative,
            "grouped": bool(training.roles.group),
            "n_train": training.n_train,
            "n_val": training.n_val,
            "n_test": len(test),
            "n_test_units": len(np.unique(units["test"])),
            "fold": config.split.fold,
            "folds": None if config.split.fold is None else config.split.folds,
            "digest": training.digests.table,
        },
        validation=scores(task, val.y, of_val, units["val"], bundle.threshold),
        test=scores(task, test.y, of_test, units["test"], bundle.threshold),
        baselines={name: scores(task, test.y, other, units["test"]) for name, other in others.items()},
        p_values={
            name: task.p_value(test.y, of_test, other, units["test"], bundle.threshold)
            for name, other in others.items()
        },
        decisions=_decisions(decision, (val.y, p_val), (test.y, p_test), units["test"], training),
        confusion=metrics.confusion(test.y, p_test, bundle.threshold),
        temperature=decision.temperature,
        calibration={
            "validation": _calibrated(val.y, decision.trained.probabilities(val.frame), p_val, key),
            "test": _calibrated(test.y, decision.trained.probabilities(test.frame), p_test, key),
        },
        notices=decision.notices,
        certificate=certificate_text(
            training.certificate,
            weights_isolated=all(run.tags.get(ISOLATION) == PASSED for run in decision.runs),
        ),
        evaluated=evaluated,
        earlier_evaluations=earlier_evaluations,
        task=task.name,
    )


def reliability(decision: Decision, test: Rows) -> tuple[Calibration, Calibration | None]:
    """Of the model as it is judged, and as it was trained where that is another."""
    after = calibration(test.y, decision.bundle.probabilities(test.frame))
    if decision.scale == 1:
        return after, None
    return after, calibration(test.y, decision.trained.probabilities(test.frame))


def scores(task: Task, y: Array, scored: Array, units: NDArray[np.int64], threshold: float = 0.5) -> Scores:
    """Return how good scaled scores (N,) are for targets y (N,) of rows in units (N,).

    A metric that is not a finite number on these rows is left out: by then test rows may have been read.
    """
    figures = {name: metric.value(y, scored, threshold) for name, metric in task.metrics.items()}
    found = {name: value for name, value in figures.items() if np.isfinite(value) or name == task.default}
    return Scores(len(y), found, task.default, task.interval(y, scored, units, threshold))


def _choice(decision: Decision) -> dict[str, object]:
    """What the card says of how the model was chosen."""
    entries, choice, metric = decision.entries, decision.choice, decision.select.metric
    return {
        "rule": decision.select.rule,
        "metric": metric,
        "best_settings": entries[choice.best].distinction,
        "settings": entries[choice.chosen].distinction,
        "ensemble": entries[choice.chosen].ensemble,
        "best_mean": entries[choice.best].metrics[metric].mean,
        "mean": entries[choice.chosen].metrics[metric].mean,
        "best_standard_error": choice.standings[choice.best].standard_error,
        "compared": len(choice.standings),
        "tied": [entries[number].distinction for number in choice.tied if number != choice.best],
        "optimism": choice.optimism,
    }


def _decisions(
    decision: Decision,
    val: tuple[Array, Array],
    test: tuple[Array, Array],
    units: NDArray[np.int64],
    training: Training,
) -> Decisions:
    """What comes of the threshold on labels and probabilities (N,) of the two parts."""
    rule, threshold = decision.select.threshold, decision.bundle.threshold
    share = float(training.y_train.mean())

    def figures(y: Array, p: Array) -> dict[str, float]:
        taken = p >= threshold
        found = {
            "accuracy": metrics.accuracy(y, p, threshold),
            "accuracy_at_half": metrics.accuracy(y, p),
            "f1": metrics.f1(metrics.confusion(y, p, threshold)),
            "share": float(np.mean(taken)),
        }
        if isinstance(rule, CostThreshold):
            found["cost"] = float(np.mean(metrics.costs(y, taken, rule.false_positive, rule.false_negative)))
            found["cost_of_one_answer"] = float(np.mean(constant(y, rule)))
        return found

    def constant(y: Array, costs: CostThreshold) -> Array:
        dearer_to_miss = share * costs.false_negative > (1 - share) * costs.false_positive
        return metrics.costs(y, np.full(len(y), dearer_to_miss), costs.false_positive, costs.false_negative)

    p_value = None
    if isinstance(rule, CostThreshold):
        y, p = test
        own = metrics.costs(y, p >= threshold, rule.false_positive, rule.false_negative)
        p_value = metrics.p_value_of_sum(own - constant(y, rule), units)
    return Decisions(
        rule=rule.rule,
        false_positive=rule.false_positive if isinstance(rule, CostThreshold) else None,
        false_negative=rule.false_negative if isinstance(rule, CostThreshold) else None,
        threshold=threshold,
        optimism=decision.cut.optimism if decision.cut else None,
        validation=figures(*val),
        test=figures(*test),
        p_value=p_value,
    )


def _calibrated(y: Array, before: Array, after: Array, key: int) -> Calibrated:
    return Calibrated(
        calibration(y, before).error,
        calibration(y, after).error,
        calibration_error_by_chance(after, key),
    )


def baselines(task: Task, training: Training, frame: pd.DataFrame) -> dict[str, Array]:
    """Return the scores (N,) that the task's baselines give rows, by name, from the same inputs and rows."""
    X = training.preprocessor.transform(frame)
    return {
        name: baseline.scores(training.X_train, training.y_train, X)
        for name, baseline in task.baselines.items()
    }


def _members(decision: Decision) -> tuple[dict[str, object], ...]:
    return tuple(
        {
            "run_id": run.run_id,
            "layers": list(member.network.widths),
            "hidden": list(config.model.hidden),
            "activation": config.model.activation,
            "dropout": config.model.dropout,
            "scale": config.model.scale,
            "optimizer": config.optimizer.name,
            "learning_rate": config.optimizer.lr,
            "batch_size": config.train.batch_size,
            "epochs": config.train.epochs,
            "best_epoch": int(run.metrics["best/epoch"]),
            "seed": config.seed,
            "n_parameters": member.network.n_parameters,
        }
        for run, config, member in zip(decision.runs, decision.configs, decision.bundle.members, strict=True)
    )


def _model(decision: Decision) -> dict[str, object]:
    entry = decision.entry
    first, main = folds(entry.runs[:1]), task_of(decision.configs[0].data).default
    return {
        **_members(decision)[0],
        "n_parameters": decision.bundle.n_parameters,
        "runs": len(entry.runs),
        "seeds": len({run.params["seed"] for run in entry.runs if folds([run]) == first}),
        f"mean_validation_{main}": entry.metrics[main].mean,
        "diagnosis": diagnosis_text.sentence(decision.runs[0]),
    }
