"""An evaluation in words: a table for a terminal, CSV for programs, and a page."""

import csv
import io
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from sweepgrad.runs.ledger import earlier_of_table
from sweepgrad.selection.card import settings_in_words
from sweepgrad.selection.evaluation import Evaluation, Mean, SplitResult
from sweepgrad.stats.metrics import METRICS, Metric
from sweepgrad.tasks.registry import TASKS


def as_table(whole: Evaluation) -> Table:
    """For a terminal: a row for each split."""
    table = Table(title=Text(f"{whole.sweep}: {whole.what}"), title_justify="left")
    table.add_column("split")
    main = whole.main
    for key in whole.keys:
        table.add_column(Text(key), justify="right")
    for name in (
        f"mean val {whole.metric}",
        f"val {main.title}",
        f"test {main.title}",
        *whole.splits[0].baselines,
        "test rows",
        "tied",
    ):
        table.add_column(name, justify="right")
    for split in whole.splits:
        table.add_row(
            split.split,
            *(Text(split.settings.get(key, "")) for key in whole.keys),
            METRICS[whole.metric].figure(split.mean),
            main.cell(split.validation.value),
            main.cell(split.test.value),
            *(main.cell(scores.value) for scores in split.baselines.values()),
            str(split.test.n),
            f"{split.tied} of {split.compared - 1}",
        )
    return table


def summary(whole: Evaluation) -> Iterator[str]:
    """What the splits say together, a sentence or two a line."""
    n, main = len(whole.splits), whole.main
    test = whole.test(main.name)
    yield (
        f"Test {main.title} {main.figure(test.mean)} on average over {n} splits (sd {main.gap(test.sd)}; 95 %"
        f" interval {main.figure(test.low)} to {main.figure(test.high)}, corrected for the rows that splits"
        " share)."
    )
    for name, baseline in TASKS[whole.task].baselines.items():
        yield (
            f"{baseline.title.capitalize()}: {main.figure(whole.baseline(name).mean)}; the procedure is"
            f" {_ahead(main, whole.ahead_of(name))}."
        )
    metric = METRICS[whole.metric]
    name, optimism = metric.title, metric.gap(whole.optimism)
    yield (
        f"On validation rows the chosen configuration's mean {name} was {_better(metric, whole.gap)} than on"
        f" test rows; being the best of many was expected to flatter the best by {optimism}"
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
    again = sum(bool(split.earlier_evaluations) for split in whole.splits)
    if again:
        yield f"The test rows of {again} of these splits had been opened before."
    resumed = [split for split in whole.splits if split.interrupted_evaluations]
    if resumed:
        said = "; ".join(each for split in resumed for each in split.interrupted_evaluations)
        yield (
            f"Those of {len(resumed)} were opened before for the same model, which was interrupted before"
            f" anything was kept ({said})."
        )
    if whole.earlier_of_table:
        yield earlier_of_table(whole.earlier_of_table)


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
    task, main, chosen_by = TASKS[whole.task], whole.main, METRICS[whole.metric]
    ranking = METRICS[task.ranking]
    head = ["split", *(f"`{key}`" for key in whole.keys), f"mean validation {chosen_by.title}"]
    head += [
        f"validation {main.title}",
        f"test {main.title}",
        "95 % interval",
        f"test {ranking.title}",
        *(baseline.title for baseline in task.baselines.values()),
    ]
    rows = [
        [
            f"`{s.split}`",
            *(s.settings.get(key, "") for key in whole.keys),
            chosen_by.figure(s.mean),
            main.cell(s.validation.value),
            main.cell(s.test.value),
            " to ".join(map(main.cell, s.test.interval)),
            ranking.cell(s.test.metrics[ranking.name]),
            *(main.cell(s.baselines[name].value) for name in task.baselines),
        ]
        for s in whole.splits
    ]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    others = "; ".join(
        f"{each.title} {each.figure(whole.test(each.name).mean)} (sd {each.gap(whole.test(each.name).sd)})"
        for each in (METRICS[name] for name in whole.splits[0].test.metrics if name != main.name)
    )
    how = (
        f"Each of the {whole.outer_folds} outer folds tests rows that no other outer fold of its seed tests."
        if whole.outer_folds
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

![validation and test {main.title} of each split](splits.png)

{table}

## How this was found

On each split the configuration was chosen by validation {chosen_by.title} (rule `{whole.rule}`)
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


def _flat(split: SplitResult, keys: Sequence[str]) -> dict[str, object]:
    return {
        "split": split.split,
        **{key: split.settings.get(key, "") for key in keys},
        "run_id": split.run_id,
        "compared": split.compared,
        "tied": split.tied,
        "mean": split.mean,
        "test_mean": split.test_mean,
        "optimism": split.optimism,
        **{
            f"{part}/{metric}": value
            for part, scores in (
                ("validation", split.validation),
                ("test", split.test),
                *split.baselines.items(),
            )
            for metric, value in scores.metrics.items()
        },
        "n_test": split.test.n,
        "n_test_units": split.n_test_units,
        "earlier_evaluations": len(split.earlier_evaluations),
    }


def _ahead(main: Metric, m: Mean) -> str:
    side = "ahead" if m.mean >= 0 else "behind"
    clear = "" if m.low > 0 or m.high < 0 else ": not measurably"
    interval = f"95 % interval {main.signed_gap(m.low)} to {main.signed_gap(m.high)}"
    return f"{main.gap(abs(m.mean))} {side} ({interval}){clear}"


def _often(settings: dict[str, str], times: int, n: int) -> str:
    said = settings_in_words(settings) or "the only configuration"
    return f"{said} on {times} of {n}"


def _better(metric: Metric, m: Mean) -> str:
    low, high = map(metric.signed_gap, (m.low, m.high))
    side = "better" if m.mean >= 0 else "worse"
    return f"{metric.gap(abs(m.mean))} {side} (95 % interval {low} to {high})"
