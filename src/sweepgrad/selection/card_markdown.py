"""The model card as a page."""

from collections.abc import Sequence
from typing import Any

from sweepgrad.runs.ledger import earlier_of_table, times
from sweepgrad.selection.card import Card, settings_in_words
from sweepgrad.stats.metrics import METRICS
from sweepgrad.tasks.registry import TASKS


def markdown(card: Card) -> str:
    """The card as a page; `calibration.png` is expected beside it."""
    data, c, task = card.data, card.confusion, TASKS[card.task]
    p_simple, p = (card.p_values[name] for name in task.baselines)
    of = "by which it was chosen" if data["fold"] is None else f"fold {data['fold']} of {data['folds']}"
    rows = [
        (f"chosen model, validation ({of})", card.validation),
        ("**chosen model, test**", card.test),
        *((f"{each.title}, test", card.baselines[name]) for name, each in task.baselines.items()),
    ]
    main = METRICS[card.test.main]
    metrics = [METRICS[name] for name in card.test.metrics if name != main.name]
    table = "\n".join(
        f"| {name} | {main.cell(s.value)} | {' to '.join(map(main.cell, s.interval))}"
        f" | {' | '.join(metric.cell(s.metrics[metric.name]) for metric in metrics)} | {s.n} |"
        for name, s in rows
    )
    others = "".join(f" | {metric.abbreviation}" for metric in metrics)
    return f"""# Model card: {data["target"]} = {data["positive"]}, from {data["name"]}

{card.verdict}

| | {main.abbreviation} | 95 % interval{others} | rows |
| --- | ---: | ---: |{" ---: |" * len(metrics)} ---: |
{table}

## The model

{_model(card)}

{card.model.get("diagnosis", "")}

## How it was chosen

{_choice(card)}

{_test_set(card)}

{card.certificate}

## On the test rows

| | taken for positive | taken for negative |
| --- | ---: | ---: |
| is positive | {c["true_positive"]} | {c["false_negative"]} |
| is negative | {c["false_positive"]} | {c["true_negative"]} |

{_threshold(card)}

### Calibration

{_calibration(card)}

![predicted probability against observed share](calibration.png)

{_intervals(card)} {task.wording.baselines.format(p=p, p_simple=p_simple)}
"""


def _model(card: Card) -> str:
    """A table of settings: one column, or for an ensemble a row for each member."""
    model, n = card.model, len(card.members)
    decides = [
        ("temperature", f"{card.temperature:.4g}" if card.temperature != 1 else "1 (as trained)"),
        ("threshold", f"{card.decisions.threshold:.4g} ({RULES[card.decisions.rule]})"),
        ("registered model", f"`{card.registered}`, alias `chosen`"),
    ]
    if n == 1:
        rows = [
            ("layers", f"{_layers(model)} ({model['n_parameters']} parameters)"),
            ("activation", model["activation"] or "none"),
            ("dropout", f"{model['dropout']:g}"),
            ("scale of the output sigmoid", f"{model['scale']:g}"),
            ("optimizer, learning rate", f"{model['optimizer']}, {model['learning_rate']:g}"),
            (
                "batch size, epochs, best epoch",
                f"{model['batch_size']}, {model['epochs']}, {model['best_epoch']}",
            ),
            ("seed", model["seed"]),
            ("MLflow run", f"`{card.run_id}`"),
            *decides,
        ]
        return _table(rows)
    together = (
        f"An ensemble of {n} networks with {model['n_parameters']} parameters: their log-odds are averaged."
    )
    lines = "\n".join(
        f"| `{m['run_id']}` | {_layers(m)} | {m['activation'] or 'none'} | {m['dropout']:g} | {m['scale']:g}"
        f" | {m['optimizer']}, {m['learning_rate']:g} | {m['best_epoch']} of {m['epochs']} | {m['seed']} |"
        for m in card.members
    )
    return f"""{together}

| MLflow run | layers | activation | dropout | scale | optimizer, learning rate | best epoch | seed |
| --- | --- | --- | ---: | ---: | --- | ---: | ---: |
{lines}

{_table(decides)}"""


def _table(rows: Sequence[tuple[str, object]]) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def _layers(model: dict[str, Any]) -> str:
    return " → ".join(map(str, model["layers"]))


RULES = {
    "half": "one half",
    "accuracy": "most validation rows right",
    "f1": "highest F1 on validation rows",
    "prevalence": "as many positive as in training",
    "cost": "by what mistakes cost",
}


def _threshold(card: Card) -> str:
    """What comes of the threshold on the test rows."""
    of, test = card.decisions, card.decisions.test
    words = [
        f"A row is taken for positive from a probability of {of.threshold:.4g} on, which"
        f" {test['share']:.1%} of the test rows have; F1 is {test['f1']:.3f}."
    ]
    if test["accuracy"] != test["accuracy_at_half"]:
        words.append(f"At 0.5 {test['accuracy_at_half']:.1%} would be right, and not {test['accuracy']:.1%}.")
    if of.rule == "cost":
        words.append(
            f"With {of.false_positive:g} for a false positive and {of.false_negative:g} for a false negative"
            f" that is where both mistakes are expected to cost the same. A test row costs {test['cost']:.3f},"
            f" and {test['cost_of_one_answer']:.3f} if always the answer is given that is cheaper by the"
            f" training rows (p = {of.p_value:.3g})."
        )
    if of.rule == "f1":
        words.append(
            f"On the validation rows, where it was tuned, F1 is {of.validation['f1']:.3f}: that flatters by"
            f" {of.optimism:.3f} on average (a bootstrap over these rows)."
        )
    if of.rule == "accuracy":
        words.append(
            f"On the validation rows, where it was tuned, {of.validation['accuracy']:.1%} are right: that"
            f" flatters by {100 * (of.optimism or 0):.1f} points on average (a bootstrap over these rows)."
        )
    words += [f"**{notice[0].upper()}{notice[1:]}.**" for notice in card.notices]
    return " ".join(words)


def _calibration(card: Card) -> str:
    """Calibration errors before and after."""
    rows = "\n".join(
        f"| {part} | {found.before:.3f} | {found.after:.3f} | {found.by_chance:.3f} |"
        for part, found in card.calibration.items()
    )
    if card.temperature == 1:
        how = "The probabilities are as they were trained."
    else:
        way = "towards" if card.temperature > 1 else "away from"
        how = (
            f"The log-odds were divided by a temperature of {card.temperature:.3f}, which draws probabilities"
            f" {way} one half. It was fitted on the validation rows, by likelihood."
        )
    return f"""{how}

| calibration error | as trained | as judged | by chance |
| --- | ---: | ---: | ---: |
{rows}

By chance: what true probabilities would stay below on so many rows in 95 of 100 samples."""


def _choice(card: Card) -> str:
    if card.n_candidates == 1 and card.n_unfinished == 0:
        return f"It was trained on its own: there was nothing to choose between.{_fold(card)}"
    model, choice, n, n_seeds = card.model, card.choice, card.n_candidates, card.model["seeds"]
    metric = METRICS[choice["metric"]]
    if choice["ensemble"]:
        on = f"{card.data['n_val']} validation rows"
        kind, before = "", card.validation.metrics[metric.name]
        taken = f"all of its {len(card.members)} networks"
        if card.data["fold"] is not None:
            on, kind = "the validation rows of their folds", "mean "
            before = choice["mean"]
            taken = f"its {len(card.members)} networks of the first fold, as no fold is better than another"
    elif card.data["fold"] is None:
        on, kind = f"{card.data['n_val']} validation rows", ""
        before = card.validation.metrics[metric.name]
        taken = "its one seed" if n_seeds == 1 else f"its {n_seeds} seeds, and of these the best one"
    else:
        on, kind = "the validation rows of their folds", "mean "
        before = choice["mean"]
        best = "the one" if n_seeds == 1 else f"the best of {n_seeds} seeds"
        of_these = f"and of these {best} on the first fold, as no fold is better than another"
        taken = "its one run" if model["runs"] == 1 else f"its {model['runs']} runs, {of_these}"
    name = metric.title
    mean, best_mean = (metric.figure(choice[key]) for key in ("mean", "best_mean"))
    what = "candidate" if card.n_ensembles else "configuration"
    if choice["rule"] == "best":
        rule = f"The {what} with the best mean {name} ({mean})"
    else:
        error = metric.gap(choice["best_standard_error"])
        rule = (
            f"The smallest {what} within one standard error ({error}) of the best mean {name}"
            f" ({best_mean}), with {mean} itself,"
        )
    gap = before - card.test.metrics[metric.name]
    unfinished = f" {card.n_unfinished} more did not finish." if card.n_unfinished else ""
    averages = f" and {card.n_ensembles} of their averages" if card.n_ensembles else ""
    by_more = "" if choice["ensemble"] else ", and the best of its seeds by more"
    return (
        f"{n} models ({card.n_configurations} configurations){averages} of sweep `{card.sweep}` were compared on"
        f" {on}.{unfinished} {rule} was taken with {taken}. {_ties(card)} The best of"
        f" {choice['compared']} {what}s looks better on the rows it was chosen by than it is: its mean"
        f" {name} by {metric.gap(choice['optimism'])} on average (a bootstrap over validation rows"
        f" and seeds){by_more}. Here the test {name} is {metric.gap(abs(gap))}"
        f" {'below' if gap >= 0 else 'above'} the {kind}validation {name}.{_fold(card)}"
    )


def _ties(card: Card) -> str:
    """Who cannot be told from the best."""
    choice = card.choice
    tied, others = choice["tied"], choice["compared"] - 1
    if others == 0:
        return "There was no other to compare it with."
    if not tied:
        them = "the other one" if others == 1 else f"all {others} others together"
        return f"At 95 % the validation rows tell the best apart from {them}."
    named = "; ".join(_said(settings) for settings in tied[:3]) + ("; …" if len(tied) > 3 else "")
    return (
        f"**{len(tied)} of the {others} others {'is' if len(tied) == 1 else 'are'} tied with the best"
        f" ({_said(choice['best_settings'])})**: at 95 % the validation rows do not tell them apart ({named})."
    )


def _said(settings: dict[str, str]) -> str:
    return settings_in_words(settings) or "the only one"


def _fold(card: Card) -> str:
    """What the validation figures speak of, where the run had a fold."""
    data = card.data
    if data["fold"] is None:
        return ""
    return (
        f" The {'runs are' if len(card.members) > 1 else 'run is'} of fold {data['fold']} (from 0) of {data['folds']}: its validation figures speak of the"
        f" {data['n_val']} rows of that fold, and {'they were' if len(card.members) > 1 else 'it was'} trained on the {data['n_train']} rows of the others."
    )


def _test_set(card: Card) -> str:
    words = [
        f"No candidate was trained on the {card.data['n_test']} test rows, nor chosen by them. They were opened"
        f" {card.evaluated}"
    ]
    if card.earlier_evaluations:
        n = times(len(card.earlier_evaluations))
        words[0] += (
            f". **They had been opened {n} before** ({'; '.join(card.earlier_evaluations)}): what was changed"
            " after seeing a test figure makes this one flatter."
        )
    else:
        words[0] += "." if card.interrupted_evaluations else ": the first time."
    if card.interrupted_evaluations:
        words.append(
            f"Before that they were opened for the same model ({'; '.join(card.interrupted_evaluations)}), which was"
            " interrupted before anything was kept."
        )
    if card.earlier_of_table:
        words.append(earlier_of_table(card.earlier_of_table))
    words.append(
        "Rows of the same group were kept in one part."
        if card.data["grouped"]
        else "Rows were split at random: if several describe the same thing, the figures flatter."
    )
    return " ".join(words)


def _intervals(card: Card) -> str:
    if card.data["grouped"]:
        return (
            f"The {card.data['n_test']} test rows are of {card.data['n_test_units']} groups; intervals are"
            " Wilson's with the effective number of rows, and differences are summed within groups."
        )
    return "Intervals are Wilson's, for rows taken as independent."
