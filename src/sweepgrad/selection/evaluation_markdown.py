"""An evaluation as a table for a terminal, as CSV for programs, and as a Markdown page."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from sweepgrad.messages.escape import code, csv_text, in_markdown
from sweepgrad.messages.terminal import text as shown
from sweepgrad.runs.ledger import earlier_of_table
from sweepgrad.selection.card import settings_as_text
from sweepgrad.selection.evaluation import Evaluation, Mean, SplitResult
from sweepgrad.stats.metrics import METRICS, Metric
from sweepgrad.tasks.registry import TASKS


def as_table(whole: Evaluation) -> Table:
    """Return a table for a terminal, with a row for each split."""
    table = Table(title=shown(f"{whole.sweep}: {whole.what}"), title_justify="left")
    table.add_column("split")
    main = whole.main
    for key in whole.keys:
        table.add_column(shown(key), justify="right")
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
            shown(split.split),
            *(shown(split.settings.get(key, "")) for key in whole.keys),
            METRICS[whole.metric].figure(split.mean),
            main.cell(split.validation.value),
            main.cell(split.test.value),
            *(main.cell(scores.value) for scores in split.baselines.values()),
            str(split.test.n),
            f"{split.tied} of {split.compared - 1}",
        )
    return table


def summary(whole: Evaluation) -> Iterator[str]:
    """Yield the results over all splits, one or two sentences at a time."""
    n, main = len(whole.splits), whole.main
    test = whole.test(main.name)
    yield (
        f"Mean test {main.title} over {n} splits: {main.figure(test.mean)} (sd {main.gap(test.sd)}; 95 %"
        f" confidence interval {main.figure(test.low)} to {main.figure(test.high)}, corrected for rows that"
        " splits share)."
    )
    for name, baseline in TASKS[whole.task].baselines.items():
        yield (
            f"{baseline.title.capitalize()}: {main.figure(whole.baseline(name).mean)}; the procedure is"
            f" {_ahead(main, whole.ahead_of(name))}."
        )
    metric = METRICS[whole.metric]
    name, optimism = metric.title, metric.gap(whole.optimism)
    yield (
        f"The mean {name} of the chosen configuration was {_better(metric, whole.gap)} on validation rows"
        f" than on test rows; the expected optimism of the best is {optimism} (bootstrap). For the chosen"
        f" model alone, it was {_better(metric, whole.own_gap)}."
    )
    yield f"Chosen: {'; '.join(_times_chosen(settings, times, n) for settings, times in whole.chosen)}."


def warnings(whole: Evaluation) -> Iterator[str]:
    """Yield the limits of the result, and earlier evaluations."""
    yield (
        "This result measures the procedure. Do not use it for tuning: after a change that is based on it,"
        " the next result is optimistically biased. All splits are of one table, so most rows are tested in"
        " some split, including the test rows of a later finalize."
    )
    again = sum(bool(split.earlier_evaluations) for split in whole.splits)
    if again:
        yield f"The test sets of {again} of these splits had been evaluated before."
    resumed = [split for split in whole.splits if split.interrupted_evaluations]
    if resumed:
        earlier = "; ".join(each for split in resumed for each in split.interrupted_evaluations)
        yield (
            f"In {len(resumed)} of them, an earlier evaluation of the same model was interrupted, and no"
            f" result of it was kept ({earlier})."
        )
    if whole.earlier_of_table:
        yield earlier_of_table(whole.earlier_of_table)


def as_csv(whole: Evaluation) -> str:
    """Return CSV with a line for each split."""
    return csv_text([_flat(split, whole.keys) for split in whole.splits])


def markdown(whole: Evaluation) -> str:
    """Return the page of an evaluation; it shows `splits.png` from the same folder."""
    task, main, chosen_by = TASKS[whole.task], whole.main, METRICS[whole.metric]
    ranking = METRICS[task.ranking]
    head = ["split", *(code(key) for key in whole.keys), f"mean validation {chosen_by.title}"]
    head += [
        f"validation {main.title}",
        f"test {main.title}",
        "95 % interval",
        f"test {ranking.title}",
        *(baseline.title for baseline in task.baselines.values()),
    ]
    rows = [
        [
            code(s.split),
            *(in_markdown(s.settings.get(key, "")) for key in whole.keys),
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
    overlap = (
        f"The {whole.outer_folds} outer folds of a seed have disjoint test sets."
        if whole.outer_folds
        else "Each split is drawn independently, so test sets overlap."
    )
    groups = (
        "All rows of a group are in the same set."
        if whole.grouped
        else "Rows were split at random: if several rows describe the same thing, the scores are"
        " optimistically biased."
    )
    return f"""# Evaluation of the procedure: {in_markdown(whole.what)}

{" ".join(map(in_markdown, summary(whole)))}

**{" ".join(map(in_markdown, warnings(whole)))}**

![validation and test {main.title} of each split](splits.png)

{table}

## Method

On each split, the configuration was chosen by mean validation {chosen_by.title} (rule {code(whole.rule)})
among those of sweep {code(whole.sweep)}, and its model as `sweepgrad finalize` chooses it. The test sets were
evaluated after the choices on all splits. The means of configurations use the threshold 0.5; the other scores
are those of the chosen model with its own threshold. {overlap} {groups}
Other test metrics: {others}.

The interval is that of the corrected resampled t-test (Nadeau & Bengio, Machine Learning 52, 2003), with the
variance (1/J + test rows / other rows) s² over J splits. No unbiased estimator of that variance exists, since
splits share rows (Bengio & Grandvalet, 2004); uncorrected intervals have a coverage far below their level
(Bates, Hastie & Tibshirani, 2023). The interval of a single split is for its test rows alone. Logistic
regression is scikit-learn's, with the inputs and training rows of the chosen model.
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
    clear = "" if m.low > 0 or m.high < 0 else ", not significant"
    interval = f"95 % interval {main.signed_gap(m.low)} to {main.signed_gap(m.high)}"
    return f"{main.gap(abs(m.mean))} {side} ({interval}){clear}"


def _times_chosen(settings: dict[str, str], times: int, n: int) -> str:
    return f"{settings_as_text(settings)} on {times} of {n}"


def _better(metric: Metric, m: Mean) -> str:
    low, high = map(metric.signed_gap, (m.low, m.high))
    side = "better" if m.mean >= 0 else "worse"
    return f"{metric.gap(abs(m.mean))} {side} (95 % interval {low} to {high})"
