"""Tables of the Spotify model, as Markdown."""

from collections.abc import Mapping, Sequence

import numpy as np

from sweepgrad.lab.finding import table
from sweepgrad.lab.songs.splits import SplitResult
from sweepgrad.selection.card import Card
from sweepgrad.selection.evaluation import Mean


def on_test_rows(cards: Mapping[str, Card]) -> str:
    """Return a table of the chosen model of each sweep, and of simpler models, on test rows."""
    rows = []
    for how, card in cards.items():
        network = f"network {card.model['hidden']}, {card.model['n_parameters']} parameters"
        for name, scores in (
            (network, card.test),
            ("logistic regression", card.baselines["logistic"]),
            ("majority class", card.baselines["majority"]),
        ):
            low, high = scores.interval
            interval, area = f"{low:.1%} to {high:.1%}", f"{scores.metrics['roc_auc']:.3f}"
            rows.append([f"{how}: {name}", f"{scores.value:.1%}", interval, area])
    return table(["split: model", "test accuracy", "95 % interval", "ROC AUC"], rows)


def by_architecture(accuracies: Mapping[str, Sequence[float]]) -> str:
    """Return a table of validation accuracies by the widths of the hidden layers, the highest mean first."""
    rows = [
        [hidden, f"{np.mean(found):.1%}", ", ".join(f"{accuracy:.1%}" for accuracy in found)]
        for hidden, found in sorted(accuracies.items(), key=lambda item: -float(np.mean(item[1])))
    ]
    return table(["hidden layers", "mean over seeds", "each seed"], rows)


def over_splits(results: Mapping[str, Sequence[SplitResult]]) -> str:
    """Return a table of the mean accuracy over splits ± the standard deviation between them, in points."""
    first = next(iter(results.values()))[0]
    rows = [
        _row("chosen model", [[r.accuracy for r in each] for each in results.values()]),
        *(
            _row(str(list(hidden)), [[r.by_model[hidden] for r in each] for each in results.values()])
            for hidden in first.by_model
        ),
        _row("logistic regression", [[r.logistic_accuracy for r in each] for each in results.values()]),
    ]
    return table(["model", *(f"rows split {how}" for how in results)], rows)


def leads(over_logistic: Mapping[str, Mean]) -> str:
    """Return a sentence on the lead of the chosen model over logistic regression by kind of split."""
    each = "; ".join(f"rows split {how} {points(lead)}" for how, lead in over_logistic.items())
    return (
        "Accuracy of the chosen model minus that of logistic regression on these splits, with the 95 % interval of"
        f" the mean, corrected for overlapping splits: {each}."
    )


def points(mean: Mean) -> str:
    """Return a mean difference in points with its interval."""
    return f"{100 * mean.mean:+.1f} points ({100 * mean.low:+.1f} to {100 * mean.high:+.1f})"


def _row(name: str, kinds: Sequence[Sequence[float]]) -> list[str]:
    return [name, *(f"{np.mean(found):.1%} ± {100 * np.std(found, ddof=1):.1f}" for found in kinds)]
