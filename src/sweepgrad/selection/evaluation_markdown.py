"""An evaluation in words: a table for a terminal, CSV for programs, and a page."""

import csv
import io
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from sweepgrad.config.schema import Metric
from sweepgrad.runs.ledger import of_table_in_words
from sweepgrad.selection.card import METRIC_NAMES, gap_in_words, in_words, settings_in_words
from sweepgrad.selection.evaluation import METRICS, Evaluation, Judged, Mean

_BASELINES = {"majority": "always the commoner answer", "logistic": "logistic regression"}


def as_table(whole: Evaluation) -> Table:
    """For a terminal: a row for each split."""
    table = Table(title=Text(f"{whole.sweep}: {whole.what}"), title_justify="left")
    table.add_column("split")
    for key in whole.keys:
        table.add_column(Text(key), justify="right")
    for name in (
        f"mean val {whole.metric}",
        "val accuracy",
        "test accuracy",
        *whole.splits[0].baselines,
        "test rows",
        "tied",
    ):
        table.add_column(name, justify="right")
    for split in whole.splits:
        table.add_row(
            split.split,
            *(Text(split.settings.get(key, "")) for key in whole.keys),
            in_words(whole.metric, split.mean),
            f"{split.validation.accuracy:.1%}",
            f"{split.test.accuracy:.1%}",
            *(f"{scores.accuracy:.1%}" for scores in split.baselines.values()),
            str(split.test.n),
            f"{split.tied} of {split.compared - 1}",
        )
    return table


def summary(whole: Evaluation) -> Iterator[str]:
    """What the splits say together, a sentence or two a line."""
    n, test = len(whole.splits), whole.test()
    yield (
        f"Test accuracy {test.mean:.1%} on average over {n} splits (sd {100 * test.sd:.1f} points; 95 %"
        f" interval {test.low:.1%} to {test.high:.1%}, corrected for the rows that splits share)."
    )
    for name in whole.splits[0].baselines:
        yield (
            f"{_BASELINES[name].capitalize()}: {whole.baseline(name).mean:.1%}; the procedure is"
            f" {_ahead(whole.ahead_of(name))}."
        )
    metric, name = whole.metric, METRIC_NAMES[whole.metric]
    flattery = gap_in_words(metric, whole.flattery)
    yield (
        f"On validation rows the chosen configuration's mean {name} was {_better(metric, whole.gap)} than on"
        f" test rows; being the best of many was expected to flatter the best by {flattery}"
        f" (bootstrap). The chosen model's own was {_better(metric, whole.own_gap)}."
    )
    yield f"Chosen: {'; '.join(_often(settings, times, n) for settings, times in whole.chosen)}."


def warnings(whole: Evaluation) -> Iterator[str]:
    """What the figure is not, and what has been seen."""
    yield (
        "This figure says how good the procedure is. It is not for tuning: whoever changes the procedure"
        " because of it is flattered by the next one. All splits are of one table, so most rows have been"
        " tested in one split or another, the test rows of a later finalize among them."
    )
    again = sum(bool(split.earlier_openings) for split in whole.splits)
    if again:
        yield f"The test rows of {again} of these splits had been opened before."
    resumed = [split for split in whole.splits if split.interrupted_openings]
    if resumed:
        said = "; ".join(opening for split in resumed for opening in split.interrupted_openings)
        yield (
            f"Those of {len(resumed)} were opened before for the same model, which was interrupted before"
            f" anything was kept ({said})."
        )
    if whole.earlier_of_table:
        yield of_table_in_words(whole.earlier_of_table)


def as_csv(whole: Evaluation) -> str:
    """A line for each split."""
    rows = [_flat(split, whole.keys) for split in whole.splits]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def markdown(whole: Evaluation) -> str:
    """The page; `splits.png` is expected beside it."""
    baselines = whole.splits[0].baselines
    head = ["split", *(f"`{key}`" for key in whole.keys), f"mean validation {METRIC_NAMES[whole.metric]}"]
    head += [
        "validation accuracy",
        "test accuracy",
        "95 % interval",
        "test ROC AUC",
        *(_BASELINES[name] for name in baselines),
    ]
    rows = [
        [
            f"`{s.split}`",
            *(s.settings.get(key, "") for key in whole.keys),
            in_words(whole.metric, s.mean),
            f"{s.validation.accuracy:.1%}",
            f"{s.test.accuracy:.1%}",
            f"{s.test.accuracy_ci[0]:.1%} to {s.test.accuracy_ci[1]:.1%}",
            f"{s.test.roc_auc:.3f}",
            *(f"{scores.accuracy:.1%}" for scores in s.baselines.values()),
        ]
        for s in whole.splits
    ]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    others = "; ".join(
        f"{METRIC_NAMES[m]} {whole.test(m).mean:.4f} (sd {whole.test(m).sd:.4f})"
        for m in METRICS
        if m != "accuracy"
    )
    how = (
        f"Each of the {whole.turns} turns tests rows that no other turn of its seed tests."
        if whole.turns
        else "Each split draws its parts anew, so test parts overlap."
    )
    rows_are = (
        "Rows of the same group were kept in one part."
        if whole.grouped
        else "Rows were split at random: if several describe the same thing, the figures flatter."
    )
    return f"""# How good is the procedure? {whole.what}

{" ".join(summary(whole))}

**{" ".join(warnings(whole))}**

![validation and test accuracy of each split](splits.png)

{table}

## How this was found

On each split the configuration was chosen by validation {METRIC_NAMES[whole.metric]} (rule `{whole.rule}`)
among those of sweep `{whole.sweep}`, its model taken as `sweepgrad finalize` takes it, and the test rows
opened after all splits had been chosen from. It was chosen by the mean of its models, which decide at one
half there; the other figures are of the model that was taken, at its own threshold. {how} {rows_are}
On the test rows also: {others}.

The interval is Nadeau & Bengio's corrected resampled t-test (Machine Learning 52, 2003), with variance
(1/J + test rows / other rows) s² over J splits. No unbiased estimate of that variance exists, for splits
share rows (Bengio & Grandvalet, 2004), and what leaves the correction out misses far more often than it says
(Bates, Hastie & Tibshirani, 2023). A split's own interval is of its test rows alone. Logistic regression is
scikit-learn's, on the inputs and training rows of the chosen model.
"""


def _flat(split: Judged, keys: Sequence[str]) -> dict[str, object]:
    return {
        "split": split.split,
        **{key: split.settings.get(key, "") for key in keys},
        "run_id": split.run_id,
        "compared": split.compared,
        "tied": split.tied,
        "mean": split.mean,
        "test_mean": split.test_mean,
        "flattery": split.flattery,
        **{
            f"{part}/{metric}": getattr(scores, metric)
            for part, scores in (
                ("validation", split.validation),
                ("test", split.test),
                *split.baselines.items(),
            )
            for metric in METRICS
        },
        "n_test": split.test.n,
        "n_test_units": split.n_test_units,
        "earlier_openings": len(split.earlier_openings),
    }


def _ahead(m: Mean) -> str:
    side = "ahead" if m.mean >= 0 else "behind"
    clear = "" if m.low > 0 or m.high < 0 else ": not measurably"
    interval = f"95 % interval {100 * m.low:+.1f} to {100 * m.high:+.1f}"
    return f"{abs(100 * m.mean):.1f} points {side} ({interval}){clear}"


def _often(settings: dict[str, str], times: int, n: int) -> str:
    said = settings_in_words(settings) or "the only configuration"
    return f"{said} on {times} of {n}"


def _better(metric: Metric, m: Mean) -> str:
    low, high = (
        (f"{100 * m.low:+.1f}", f"{100 * m.high:+.1f}")
        if metric == "accuracy"
        else (f"{m.low:+.4f}", f"{m.high:+.4f}")
    )
    side = "better" if m.mean >= 0 else "worse"
    return f"{gap_in_words(metric, abs(m.mean))} {side} (95 % interval {low} to {high})"
