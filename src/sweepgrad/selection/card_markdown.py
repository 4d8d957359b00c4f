"""Write a model card as a Markdown page."""

from collections.abc import Sequence
from typing import Any

from sweepgrad.messages.escape import all_in_markdown, span
from sweepgrad.runs.ledger import earlier_of_table, times
from sweepgrad.selection.card import Card, settings_as_text
from sweepgrad.stats.metrics import METRICS
from sweepgrad.tasks.registry import TASKS
from sweepgrad.tasks.wording import p_value_text


def markdown(card: Card) -> str:
    """Return the page of a card; it shows `calibration.png` from the same folder."""
    # All texts are escaped at once, so none can be forgotten; that of the certificate is Markdown already.
    card = Card.from_json({**all_in_markdown(card.to_json()), "certificate": card.certificate})
    data, confusion, task = card.data, card.confusion, TASKS[card.task]
    p_simple, p = (card.p_values[name] for name in task.baselines)
    part = "used for the choice" if data["fold"] is None else f"fold {data['fold']} of {data['folds']}"
    rows = [
        (f"chosen model, validation ({part})", card.validation),
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

## Predictions on the test set

| | predicted positive | predicted negative |
| --- | ---: | ---: |
| actually positive | {confusion["true_positive"]} | {confusion["false_negative"]} |
| actually negative | {confusion["false_positive"]} | {confusion["true_negative"]} |

{_threshold(card)}

### Calibration

{_calibration(card)}

![predicted probability against observed frequency](calibration.png)

{_intervals(card)} {task.wording.baselines.format(p=p_value_text(p), p_simple=p_value_text(p_simple))}
"""


def _model(card: Card) -> str:
    """Return a table of settings: one column, or one row for each member of an ensemble."""
    model, n = card.model, len(card.members)
    predicts = [
        ("temperature", f"{card.temperature:.4g}" if card.temperature != 1 else "1 (as trained)"),
        ("threshold", f"{card.decisions.threshold:.4g} ({RULES[card.decisions.rule]})"),
        ("registered model", f"{span(card.registered)}, alias `chosen`"),
    ]
    counts = ("batch_size", "epochs", "best_epoch")
    if n == 1:
        rows = [
            ("layers", f"{_layers(model)} ({model['n_parameters']} parameters)"),
            ("activation", model["activation"] or "none"),
            ("dropout", f"{model['dropout']:g}"),
            ("scale of the output sigmoid", f"{model['scale']:g}"),
            ("optimizer, learning rate", f"{model['optimizer']}, {model['learning_rate']:g}"),
            ("batch size, epochs, best epoch", ", ".join(str(model[key]) for key in counts)),
            ("seed", model["seed"]),
            ("MLflow run", span(card.run_id)),
            *predicts,
        ]
        return _table(rows)
    together = (
        f"An ensemble of {n} networks with {model['n_parameters']} parameters in total. It averages their"
        " log-odds."
    )
    lines = "\n".join(
        f"| {span(m['run_id'])} | {_layers(m)} | {m['activation'] or 'none'} | {m['dropout']:g} | {m['scale']:g}"
        f" | {m['optimizer']}, {m['learning_rate']:g} | {m['best_epoch']} of {m['epochs']} | {m['seed']} |"
        for m in card.members
    )
    return f"""{together}

| MLflow run | layers | activation | dropout | scale | optimizer, learning rate | best epoch | seed |
| --- | --- | --- | ---: | ---: | --- | ---: | ---: |
{lines}

{_table(predicts)}"""


def _table(rows: Sequence[tuple[str, object]]) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def _layers(model: dict[str, Any]) -> str:
    return " → ".join(map(str, model["layers"]))


RULES = {
    "half": "one half",
    "accuracy": "highest accuracy on validation rows",
    "f1": "highest F1 on validation rows",
    "prevalence": "as many validation rows positive as in training",
    "cost": "lowest expected cost",
}


def _threshold(card: Card) -> str:
    decisions, test = card.decisions, card.decisions.test
    rule = f"Rows with a probability of at least {decisions.threshold:.4g} are predicted positive:"
    sentences = [f"{rule} {test['share']:.1%} of the test rows. F1 is {test['f1']:.3f}."]
    if test["accuracy"] != test["accuracy_at_half"]:
        sentences.append(
            f"With a threshold of 0.5, accuracy would be {test['accuracy_at_half']:.1%} instead of"
            f" {test['accuracy']:.1%}."
        )
    if decisions.rule == "cost" and decisions.p_value is not None:
        sentences.append(
            f"A false positive costs {decisions.false_positive:g} and a false negative"
            f" {decisions.false_negative:g}; at the threshold both errors have the same expected cost. The mean"
            f" cost of a test row is {test['cost']:.3f}. Always predicting the class that is cheaper on the"
            f" training rows costs {test['cost_of_one_answer']:.3f} ({p_value_text(decisions.p_value)})."
        )
    if decisions.rule == "f1":
        sentences.append(
            f"The threshold was tuned on the validation rows. F1 on these is {decisions.validation['f1']:.3f},"
            f" which is optimistic by {decisions.optimism:.3f} on average (bootstrap over these rows)."
        )
    if decisions.rule == "accuracy":
        sentences.append(
            "The threshold was tuned on the validation rows. Accuracy on these is"
            f" {decisions.validation['accuracy']:.1%}, which is optimistic by"
            f" {100 * (decisions.optimism or 0):.1f} points on average (bootstrap over these rows)."
        )
    sentences += [f"**{notice[0].upper()}{notice[1:]}.**" for notice in card.notices]
    return " ".join(sentences)


def _calibration(card: Card) -> str:
    rows = "\n".join(
        f"| {part} | {found.before:.3f} | {found.after:.3f} | {found.by_chance:.3f} |"
        for part, found in card.calibration.items()
    )
    if card.temperature == 1:
        how = "The probabilities are as trained, without temperature scaling."
    else:
        direction = "towards" if card.temperature > 1 else "away from"
        how = (
            f"The log-odds are divided by a temperature of {card.temperature:.3f}, which moves probabilities"
            f" {direction} one half. It was fitted on the validation rows by maximum likelihood."
        )
    return f"""{how}

| calibration error | as trained | final model | by chance |
| --- | ---: | ---: | ---: |
{rows}

By chance: perfectly calibrated probabilities have a smaller error in 95 of 100 samples of this size."""


def _choice(card: Card) -> str:
    if card.n_candidates == 1 and card.n_unfinished == 0:
        return f"It is the only run, so there was no choice.{_fold(card)}"
    choice, metric = card.choice, METRICS[card.choice["metric"]]
    folds = card.data["fold"] is not None
    name, kind = metric.title, "candidate" if card.n_ensembles else "configuration"
    mean, best_mean = (metric.figure(choice[key]) for key in ("mean", "best_mean"))
    if choice["rule"] == "best":
        rule = f"The {kind} with the best mean {name} ({mean}) was chosen."
    else:
        error = metric.gap(choice["best_standard_error"])
        rule = (
            f"The smallest {kind} within one standard error ({error}) of the best mean {name} ({best_mean})"
            f" was chosen; its mean is {mean}."
        )
    validation = choice["mean"] if folds else card.validation.metrics[metric.name]
    gap = validation - card.test.metrics[metric.name]
    on = "the validation rows of their folds" if folds else f"{card.data['n_val']} validation rows"
    unfinished = f" {card.n_unfinished} more did not finish." if card.n_unfinished else ""
    ensembles = f" and {_count(card.n_ensembles, 'ensemble')} of them" if card.n_ensembles else ""
    by_more = "" if choice["ensemble"] else ", and that of its best seed by more"
    return (
        f"{_count(card.n_candidates, 'model')} ({_count(card.n_configurations, 'configuration')}){ensembles} of"
        f" sweep {span(card.sweep)} were compared on {on}.{unfinished} {rule} {_model_of_choice(card)}\n\n"
        f"{_ties(card)}\n\n"
        f"The validation score of the best of {choice['compared']} is optimistically biased, because it was"
        f" selected as the best: its mean {name} by {metric.gap(choice['optimism'])} on average (bootstrap over"
        f" validation rows and seeds){by_more}. The test {name} is {metric.gap(abs(gap))}"
        f" {'below' if gap >= 0 else 'above'} the {'mean ' if folds else ''}validation {name}.{_fold(card)}"
    )


def _model_of_choice(card: Card) -> str:
    """Return which networks of the chosen configuration or ensemble make the model."""
    model, n_seeds, folds = card.model, card.model["seeds"], card.data["fold"] is not None
    first_fold = "the first fold, since the folds have different validation rows"
    if card.choice["ensemble"]:
        of_fold = f" of {first_fold}" if folds else ""
        return f"The model averages its {len(card.members)} networks{of_fold}."
    if model["runs"] == 1:
        return "The model is that of its only run."
    if not folds:
        return f"The model is that of the best of its {n_seeds} seeds."
    best = "the run" if n_seeds == 1 else f"the best of {n_seeds} seeds"
    return f"Of its {model['runs']} runs, the model is that of {best} on {first_fold}."


def _ties(card: Card) -> str:
    """Return which candidates are not significantly different from the best."""
    choice = card.choice
    tied, others = choice["tied"], choice["compared"] - 1
    if others == 0:
        return "There was no other to compare it with."
    if not tied:
        them = "the other one" if others == 1 else f"all {others} others"
        return f"On the validation rows, the best is significantly better than {them} (95 % level)."
    named = "; ".join(map(settings_as_text, tied[:3])) + ("; …" if len(tied) > 3 else "")
    count = f"{len(tied)} of {_count(others, 'other candidate')} {'are' if len(tied) > 1 else 'is'}"
    return (
        f"**{count} tied with the best ({settings_as_text(choice['best_settings'])})**, which means not"
        f" significantly different on the validation rows (95 % level, all comparisons together): {named}."
    )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def _fold(card: Card) -> str:
    """Return to which rows the validation scores refer, for a run on a fold."""
    data = card.data
    if data["fold"] is None:
        return ""
    runs = "runs are" if len(card.members) > 1 else "run is"
    return (
        f" The {runs} on fold {data['fold']} (counted from 0) of {data['folds']}: validation scores are for the"
        f" {data['n_val']} rows of that fold, and the training set is the {data['n_train']} rows of the others."
    )


def _test_set(card: Card) -> str:
    sentences = [
        f"No model was trained or chosen on the {card.data['n_test']} test rows. They were evaluated on"
        f" {card.evaluated}"
    ]
    if card.earlier_evaluations:
        n = times(len(card.earlier_evaluations))
        sentences[0] += (
            f". **They had been evaluated {n} before** ({'; '.join(card.earlier_evaluations)}): if anything was"
            " changed after a test score was seen, the score above is optimistically biased."
        )
    else:
        sentences[0] += "." if card.interrupted_evaluations else ": the first evaluation."
    if card.interrupted_evaluations:
        sentences.append(
            "An earlier evaluation of the same model was interrupted, and no result of it was kept"
            f" ({'; '.join(card.interrupted_evaluations)})."
        )
    if card.earlier_of_table:
        sentences.append(earlier_of_table(card.earlier_of_table))
    sentences.append(
        "All rows of a group are in the same set."
        if card.data["grouped"]
        else "Rows were split at random: if several rows describe the same thing, the scores are"
        " optimistically biased."
    )
    return " ".join(sentences)


def _intervals(card: Card) -> str:
    if card.data["grouped"]:
        return (
            f"The {card.data['n_test']} test rows form {card.data['n_test_units']} groups: confidence intervals"
            " are Wilson intervals with the effective number of rows, and tests sum differences within groups."
        )
    return "Confidence intervals are Wilson intervals for independent rows."
