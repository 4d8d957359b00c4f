"""Evaluate the chosen model on the test set, and collect the content of its model card."""

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
    """Return the card of a model.

    Arguments:
        training: the rows that the model's first run was trained on; the baselines are fitted to them.
        n_jobs: the number of runs of the sweep, finished or not.
        others: see `Card`.
    """
    config = decision.configs[0]
    bundle, val = decision.bundle, decision.val
    units = {part: units_of(rows.frame, rows.roles.group) for part, rows in (("val", val), ("test", test))}
    scores_test, scores_val = bundle.scores(test.frame), bundle.scores(val.frame)
    task = task_of(config.data)
    p_test, p_val = task.probabilities(scores_test), task.probabilities(scores_val)
    baseline_scores = baselines(task, training, test.frame)
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
        validation=scores(task, val.y, scores_val, units["val"], bundle.threshold),
        test=scores(task, test.y, scores_test, units["test"], bundle.threshold),
        baselines={
            name: scores(task, test.y, other, units["test"]) for name, other in baseline_scores.items()
        },
        p_values={
            name: task.p_value(test.y, scores_test, other, units["test"], bundle.threshold)
            for name, other in baseline_scores.items()
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
    """Return the calibration of the final model, and of the model as trained if that differs."""
    after = calibration(test.y, decision.bundle.probabilities(test.frame))
    if decision.scale == 1:
        return after, None
    return after, calibration(test.y, decision.trained.probabilities(test.frame))


def scores(task: Task, y: Array, scored: Array, units: NDArray[np.int64], threshold: float = 0.5) -> Scores:
    """Return the metrics of scaled scores (N,) for targets y (N,) of rows in units (N,).

    A metric that is not finite on these rows is left out instead of raising: the test set has been read.
    """
    values = {name: metric.value(y, scored, threshold) for name, metric in task.metrics.items()}
    finite = {name: value for name, value in values.items() if np.isfinite(value) or name == task.default}
    return Scores(len(y), finite, task.default, task.interval(y, scored, units, threshold))


def _choice(decision: Decision) -> dict[str, object]:
    """Return how the model was chosen, for the card."""
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
    """Return the effect of the threshold on labels and probabilities (N,) of validation and test set."""
    rule, threshold = decision.select.threshold, decision.bundle.threshold
    share = float(training.y_train.mean())

    def metrics_of(y: Array, p: Array) -> dict[str, float]:
        positive = p >= threshold
        values = {
            "accuracy": metrics.accuracy(y, p, threshold),
            "accuracy_at_half": metrics.accuracy(y, p),
            "f1": metrics.f1(metrics.confusion(y, p, threshold)),
            "share": float(np.mean(positive)),
        }
        if isinstance(rule, CostThreshold):
            costs = metrics.costs(y, positive, rule.false_positive, rule.false_negative)
            values["cost"] = float(np.mean(costs))
            values["cost_of_one_answer"] = float(np.mean(constant_costs(y, rule)))
        return values

    def constant_costs(y: Array, costs: CostThreshold) -> Array:
        """Return the costs of the constant prediction that is cheaper on the training rows."""
        positive = share * costs.false_negative > (1 - share) * costs.false_positive
        return metrics.costs(y, np.full(len(y), positive), costs.false_positive, costs.false_negative)

    p_value = None
    if isinstance(rule, CostThreshold):
        y, p = test
        own = metrics.costs(y, p >= threshold, rule.false_positive, rule.false_negative)
        p_value = metrics.p_value_of_sum(own - constant_costs(y, rule), units)
    return Decisions(
        rule=rule.rule,
        false_positive=rule.false_positive if isinstance(rule, CostThreshold) else None,
        false_negative=rule.false_negative if isinstance(rule, CostThreshold) else None,
        threshold=threshold,
        optimism=decision.cut.optimism if decision.cut else None,
        validation=metrics_of(*val),
        test=metrics_of(*test),
        p_value=p_value,
    )


def _calibrated(y: Array, before: Array, after: Array, key: int) -> Calibrated:
    return Calibrated(
        calibration(y, before).error,
        calibration(y, after).error,
        calibration_error_by_chance(after, key),
    )


def baselines(task: Task, training: Training, frame: pd.DataFrame) -> dict[str, Array]:
    """Return the scores (N,) of the baselines by name, fitted to the model's inputs and training set."""
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
