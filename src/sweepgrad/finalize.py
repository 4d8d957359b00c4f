"""Choosing a model by validation, and opening the test rows for it: the only place that does."""

import json
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from sweepgrad import metrics, plots
from sweepgrad.autograd.value import Array
from sweepgrad.bundle import Bundle
from sweepgrad.card import Card, Scores, markdown
from sweepgrad.config import Config, check
from sweepgrad.data.split import Training, open_test, open_training
from sweepgrad.errors import UserError
from sweepgrad.leaderboard import Entry, rank
from sweepgrad.record import write_json
from sweepgrad.tracking import OPENINGS, Logged, Store


def finalize(store: Store, which: str | None, cards: Path) -> tuple[Card, Path]:
    """Choose the best run of a sweep on validation rows, judge it on the test rows, write and log its card.

    The configuration is chosen by its mean over seeds, then the seed within it. The opening of the test rows
    is recorded with the sweep before they are read.

    Arguments:
        which: the sweep, as for `Store.sweep`.
        cards: the folder in which the card's own folder is made.

    Returns:
        The card and its folder.

    Raises:
        UserError: nothing to choose from, runs that cannot be compared, or a table that has changed.
    """
    sweep = store.sweep(which)
    runs = store.children(sweep)
    entries = rank(runs)
    candidates = [run for entry in entries for run in entry.runs]
    refuse_different_splits(candidates)
    chosen = entries[0].runs[0]
    config = _config(store, chosen)
    training = open_training(config.data, config.split)
    _refuse_changed_table(chosen, training)
    bundle = store.bundle(chosen.run_id)
    openings = _record_opening(store, sweep, chosen)
    test = open_test(config.data, config.split)

    p_test = bundle.probabilities(test.frame)
    p_logistic = _logistic(bundle, training, test.frame)
    share = float(training.train.y.mean())
    calibration = metrics.calibration(test.y, p_test)
    card = Card(
        sweep=sweep.name,
        run_id=chosen.run_id,
        n_candidates=len(candidates),
        n_configurations=len(entries),
        model=_model(entries[0], chosen, bundle, config),
        data={
            "name": config.data.name,
            "source": training.train.source,
            "target": bundle.target,
            "positive": bundle.positive,
            "grouped": bool(training.train.roles.group),
            "n_train": len(training.train),
            "n_val": len(training.val),
            "n_test": len(test),
            "digest": training.digests.table,
        },
        validation=scores(training.val.y, bundle.probabilities(training.val.frame)),
        test=scores(test.y, p_test),
        baselines={
            "majority": scores(test.y, np.full(len(test), share)),
            "logistic": scores(test.y, p_logistic),
        },
        p_value_against_logistic=_mcnemar(test.y, p_test, p_logistic),
        confusion=metrics.confusion(test.y, p_test),
        calibration_error=calibration.error,
        openings=openings,
    )
    folder = cards / sweep.name
    folder.mkdir(parents=True, exist_ok=True)
    plots.reliability(calibration, folder / "calibration.png")
    (folder / "card.md").write_text(markdown(card))
    write_json(folder / "card.json", card.to_json())
    name = f"sweepgrad-{config.data.name}"
    version = store.register(chosen.run_id, name)
    store.log_result(
        sweep.run_id,
        {f"test/{key}": value for key, value in asdict(card.test).items() if isinstance(value, float)},
        {"sweepgrad.chosen_run": chosen.run_id, "sweepgrad.registered_model": f"{name}/{version}"},
        [folder / "card.md", folder / "card.json", folder / "calibration.png"],
    )
    return card, folder


def scores(y: Array, p: Array) -> Scores:
    """All that is said of probabilities p (N,) for labels y (N,)."""
    return Scores(
        n=len(y),
        accuracy=metrics.accuracy(y, p),
        accuracy_ci=metrics.accuracy_interval(y, p),
        nll=metrics.nll(y, p),
        roc_auc=metrics.roc_auc(y, p),
    )


def refuse_different_splits(runs: list[Logged]) -> None:
    """Runs can be compared only on the same validation rows, and judged only on rows that none has learned.

    Raises:
        UserError: the runs differ in their table or their parts.
    """
    digests = [f"sweepgrad.digest.{part}" for part in ("table", "train", "val", "test")]
    seen = {tuple(run.tags.get(digest) for digest in digests) for run in runs}
    if len(seen) > 1:
        raise UserError(
            f"the runs of this sweep were made on {len(seen)} different tables or splits, so their validation"
            " figures cannot be compared: sweep with one data source and one split.seed"
        )


def _config(store: Store, run: Logged) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        path = store.download(run, "config.yaml", Path(folder))
        return check(yaml.safe_load(path.read_text()))


def _refuse_changed_table(run: Logged, training: Training) -> None:
    if run.tags.get("sweepgrad.digest.table") != training.digests.table:
        raise UserError(
            f"{training.train.source} is not what run {run.run_id} was trained on: its contents have changed."
            " Put the old file back, or train anew"
        )


def _record_opening(store: Store, sweep: Logged, chosen: Logged) -> tuple[str, ...]:
    before = json.loads(store.tag(sweep.run_id, OPENINGS) or "[]")
    now = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "run_id": chosen.run_id}
    store.log_result(sweep.run_id, {}, {OPENINGS: json.dumps([*before, now])}, [])
    return tuple(opening["time"] for opening in [*before, now])


def _logistic(bundle: Bundle, training: Training, frame: pd.DataFrame) -> Array:
    """Logistic regression by scikit-learn on the same inputs and training rows; probabilities (N,)."""
    model = LogisticRegression(max_iter=1000)
    model.fit(bundle.preprocessor.transform(training.train.frame), training.train.y)
    return np.asarray(model.predict_proba(bundle.preprocessor.transform(frame))[:, 1])


def _mcnemar(y: Array, p: Array, q: Array) -> float:
    """How likely a difference in accuracy like that of p and q is by chance: McNemar's exact test (1947)."""
    right_p, right_q = (p >= 0.5) == (y == 1), (q >= 0.5) == (y == 1)
    only_p, only_q = int(np.sum(right_p & ~right_q)), int(np.sum(right_q & ~right_p))
    return float(binomtest(only_p, only_p + only_q).pvalue) if only_p + only_q else 1.0


def _model(entry: Entry, chosen: Logged, bundle: Bundle, config: Config) -> dict[str, object]:
    return {
        "layers": list(bundle.network.widths),
        "hidden": list(config.model.hidden),
        "activation": config.model.activation,
        "dropout": config.model.dropout,
        "scale": config.model.scale,
        "optimizer": config.optimizer.name,
        "learning_rate": config.optimizer.lr,
        "batch_size": config.train.batch_size,
        "epochs": config.train.epochs,
        "best_epoch": int(chosen.metrics["best/epoch"]),
        "seed": config.seed,
        "n_parameters": bundle.network.n_parameters,
        "seeds": len(entry.runs),
        "mean_validation_accuracy": entry.accuracy.mean,
    }
