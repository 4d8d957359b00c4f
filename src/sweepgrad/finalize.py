"""Choosing a model by validation, and opening the test rows for it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from sweepgrad import diagnosis, metrics, openings, plots, rng
from sweepgrad.autograd.functional import negative_loglikelihood_of_scores
from sweepgrad.autograd.value import Array, Value
from sweepgrad.bundle import Bundle
from sweepgrad.card import Card, Scores, markdown
from sweepgrad.chosen import choose_model, refuse_unfinished
from sweepgrad.config import Config, Select
from sweepgrad.data.doors import Training, open_test, open_validation
from sweepgrad.data.split import units_of
from sweepgrad.doctor import in_words
from sweepgrad.entities import UNSEEN, Logged
from sweepgrad.errors import UserError
from sweepgrad.folders import write_json
from sweepgrad.openings import Opening
from sweepgrad.ranking import Entry, folds
from sweepgrad.selection import Choice
from sweepgrad.tracking import Store

CARD_FILES = ("card.md", "card.json", "calibration.png")
CHOSEN = "sweepgrad.chosen_run"


@dataclass(frozen=True)
class Judgement:
    """What `finalize` came to.

    Attributes:
        folder: where the card is.
        opened: whether the test rows were read for it; else the card is the one that was written then.
    """

    card: Card
    folder: Path
    opened: bool


def finalize(
    store: Store, which: str | None, runs: Path, *, incomplete: bool = False, again: bool = False
) -> Judgement:
    """Choose the best run of a sweep on validation rows, judge it on the test rows, write and log its card.

    What was judged before is not judged again: its card is shown once more, and the test rows stay closed.

    All that can be checked is checked before the test rows are opened, and the opening is recorded, in the
    store and in a ledger beside it, before they are read.

    Arguments:
        which: the sweep, as for `Store.sweep`.
        runs: the folder of cards/, in which the card's own folder is made, and of the ledger.
        incomplete: choose among the runs that finished, though others did not.
        again: open test rows that were opened before.

    Raises:
        UserError: nothing to choose from, a sweep that has not finished, runs that cannot be compared, a
            table or split that has changed since, or test rows that were opened before.
    """
    sweep = store.sweep(which)
    jobs = store.children(sweep)
    refuse_unfinished(sweep, jobs, incomplete=incomplete)
    taken = choose_model(store, jobs)
    entries, chosen, config, bundle = taken.entries, taken.run, taken.config, taken.bundle
    n_candidates = sum(len(entry.runs) for entry in entries)
    training = taken.training()
    digests = asdict(training.digests)
    folder = runs / "cards" / sweep.name
    if not again and (known := _judged_before(store, sweep, chosen, folder)):
        return Judgement(known, folder, opened=False)
    ledger = runs / openings.LEDGER
    earlier = openings.of_rows([*store.openings(digests), *openings.read(ledger)], digests)
    if earlier and not again:
        raise UserError(_opened_before(training.source, earlier))
    opening = openings.opening_now(sweep.name, chosen.run_id, digests)
    openings.write(ledger, opening)
    store.record_opening(sweep, opening, digests)
    val = open_validation(config.data, config.split, training.digests)
    test = open_test(config.data, config.split, training.digests)

    units = {part: units_of(rows.frame, rows.roles.group) for part, rows in (("val", val), ("test", test))}
    p_test, p_val = bundle.probabilities(test.frame), bundle.probabilities(val.frame)
    p_majority = np.full(len(test), training.y_train.mean())
    logistic = logistic_scores(bundle, training, test.frame)
    p_logistic = expit(logistic)
    calibration = metrics.calibration(test.y, p_test)
    name = f"sweepgrad-{config.data.name}"
    card = Card(
        sweep=sweep.name,
        run_id=chosen.run_id,
        n_candidates=n_candidates,
        n_configurations=len(entries),
        n_unfinished=len(jobs) - n_candidates,
        registered=f"{name}/{store.register(chosen.run_id, name)}",
        model=_model(taken.entry, bundle, config, best_epoch=int(chosen.metrics["best/epoch"])),
        choice=_choice(entries, taken.choice, taken.select),
        data={
            "name": config.data.name,
            "source": training.source,
            "target": bundle.target,
            "positive": bundle.positive,
            "grouped": bool(training.roles.group),
            "n_train": training.n_train,
            "n_val": training.n_val,
            "n_test": len(test),
            "n_test_units": len(np.unique(units["test"])),
            "fold": config.split.fold,
            "folds": None if config.split.fold is None else config.split.folds,
            "digest": training.digests.table,
        },
        validation=scores(val.y, p_val, units["val"], bundle.nll(val.frame, val.y)),
        test=scores(test.y, p_test, units["test"], bundle.nll(test.frame, test.y)),
        baselines={
            "majority": scores(test.y, p_majority, units["test"], metrics.nll(test.y, p_majority)),
            "logistic": scores(test.y, p_logistic, units["test"], nll_of_scores(test.y, logistic)),
        },
        p_values={
            "majority": metrics.p_value_of_difference(test.y, p_test, p_majority, units["test"]),
            "logistic": metrics.p_value_of_difference(test.y, p_test, p_logistic, units["test"]),
        },
        confusion=metrics.confusion(test.y, p_test),
        calibration_error=calibration.error,
        calibration_error_by_chance=metrics.calibration_error_by_chance(
            p_test, rng.key(config.split.seed, "calibration")
        ),
        opening=str(opening),
        earlier_openings=tuple(map(str, earlier)),
        certificate=in_words(training.certificate, blind=chosen.tags.get(UNSEEN) == "proven"),
    )
    folder.mkdir(parents=True, exist_ok=True)
    plots.reliability(calibration, folder / "calibration.png")
    (folder / "card.md").write_text(markdown(card), encoding="utf-8")
    write_json(folder / "card.json", card.to_json())
    figures = {"accuracy": card.test.accuracy, "nll": card.test.nll, "roc_auc": card.test.roc_auc}
    store.log_result(
        sweep.run_id,
        {f"test/{key}": value for key, value in figures.items()},
        {CHOSEN: chosen.run_id, "sweepgrad.registered_model": card.registered},
        [folder / name for name in CARD_FILES],
    )
    return Judgement(card, folder, opened=True)


def _choice(entries: Sequence[Entry], choice: Choice, select: Select) -> dict[str, object]:
    """What the card says of how the model was chosen."""
    best = choice.standings[choice.best]
    return {
        "rule": select.rule,
        "metric": select.metric,
        "best_settings": entries[choice.best].settings,
        "settings": entries[choice.chosen].settings,
        "best_mean": entries[choice.best].of(select.metric).mean,
        "mean": entries[choice.chosen].of(select.metric).mean,
        "best_standard_error": best.standard_error,
        "compared": len(choice.standings),
        "tied": [entries[number].settings for number in choice.tied if number != choice.best],
        "flattery": choice.flattery,
    }


def _judged_before(store: Store, sweep: Logged, chosen: Logged, folder: Path) -> Card | None:
    """The card of this very choice, if the sweep has one; written to its folder once more."""
    if sweep.tags.get(CHOSEN) != chosen.run_id:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for name in CARD_FILES:
        store.download(sweep, name, folder)
    try:
        return Card.from_json(json.loads((folder / "card.json").read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError):
        return None  # another version's


def _opened_before(source: str, earlier: Sequence[Opening]) -> str:
    times = "once" if len(earlier) == 1 else f"{len(earlier)} times"
    said = "".join(f"\n  {opening}" for opening in earlier)
    return (
        f"the test rows of {source} were opened {times} before:{said}\nTheir figure has been seen, so what"
        " was chosen or changed since is not judged honestly by them. Take another split.seed and train anew;"
        " or say --again to open them once more, which the card will tell"
    )


def scores(y: Array, p: Array, units: NDArray[np.int64], nll: float) -> Scores:
    """What the card says of probabilities p (N,) for labels y (N,) of rows in units (N,)."""
    return Scores(
        n=len(y),
        accuracy=metrics.accuracy(y, p),
        accuracy_ci=metrics.accuracy_interval(y, p, units=units),
        nll=nll,
        roc_auc=metrics.roc_auc(y, p),
    )


def logistic_scores(bundle: Bundle, training: Training, frame: pd.DataFrame) -> Array:
    """Logistic regression by scikit-learn on the same inputs and training rows; its scores (N,)."""
    model = LogisticRegression(max_iter=1000)
    model.fit(training.X_train, training.y_train)
    return np.asarray(model.decision_function(bundle.preprocessor.transform(frame)))


def nll_of_scores(y: Array, logits: Array) -> float:
    """As `metrics.nll` of their sigmoid, but finite where that rounds to 0 or 1."""
    return float(negative_loglikelihood_of_scores(y, Value(logits), 1.0).item())


def _model(entry: Entry, bundle: Bundle, config: Config, best_epoch: int) -> dict[str, object]:
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
        "best_epoch": best_epoch,
        "seed": config.seed,
        "n_parameters": bundle.network.n_parameters,
        "runs": len(entry.runs),
        "seeds": len({run.params["seed"] for run in entry.runs if folds([run]) == folds(entry.runs[:1])}),
        "mean_validation_accuracy": entry.accuracy.mean,
        "diagnosis": diagnosis.sentence(entry.runs[0]),
    }
