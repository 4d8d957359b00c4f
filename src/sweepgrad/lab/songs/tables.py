"""Tables of the Spotify model, as Markdown."""

from collections.abc import Mapping, Sequence

import numpy as np

from sweepgrad.lab.finding import table
from sweepgrad.lab.songs.splits import SplitResult
from sweepgrad.selection.card import Card


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


def _row(name: str, kinds: Sequence[Sequence[float]]) -> list[str]:
    return [name, *(f"{np.mean(found):.1%} ± {100 * np.std(found, ddof=1):.1f}" for found in kinds)]
