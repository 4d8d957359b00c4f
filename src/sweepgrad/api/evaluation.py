"""Functions that evaluate test sets: `finalize` and `evaluate`, and their results."""

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepgrad.api import display
from sweepgrad.api.arguments import RUNS, runs_of
from sweepgrad.api.location import checked
from sweepgrad.api.results import Run, Sweep
from sweepgrad.api.stored import default_store
from sweepgrad.errors import UserError
from sweepgrad.selection import card as cards
from sweepgrad.selection import evaluation as evaluations
from sweepgrad.stats.metrics import METRICS

if TYPE_CHECKING:
    from sweepgrad.tracking.store import Store

Source = Sweep | Run | str | None


@dataclass(frozen=True, repr=False)
class Card(cards.Card):
    """A model card.

    Attributes:
        folder: of card.md, card.json and calibration.png.
        evaluated_now: whether the test set was evaluated by this call; if not, the card is an earlier one.
        store: the MLflow store in which the model is registered.
    """

    folder: Path = field(default=Path(), compare=False)
    evaluated_now: bool = field(default=True, compare=False)
    store: "Store | None" = field(default=None, compare=False)

    def __repr__(self) -> str:
        return f"Card({self.sweep!r}, test {self._metric}, model {self.registered})"

    def _repr_html_(self) -> str:
        metric = METRICS[self.test.main]
        rows = [
            (
                "chosen model",
                metric.figure(self.test.value),
                " to ".join(map(metric.figure, self.test.interval)),
            )
        ]
        for name, scores in self.baselines.items():
            rows.append((name, metric.figure(scores.value), " to ".join(map(metric.figure, scores.interval))))
        values = {
            "network": " → ".join(map(str, self.model["layers"])),
            "chosen from": f"{self.n_candidates} runs",
            "registered as": self.registered,
            "test set evaluated": self.evaluated,
            "card": os.path.relpath(self.folder / "card.md"),
        }
        return display.page(
            f"Model card of {self.sweep}",
            display.paragraphs([self.verdict]),
            display.table(["test set", metric.title, "95 % interval"], rows),
            display.facts(values),
            display.paragraphs(self.notices),
        )

    @property
    def _metric(self) -> str:
        metric = METRICS[self.test.main]
        return f"{metric.title} {metric.figure(self.test.value)}"


@dataclass(frozen=True, repr=False)
class Evaluation(evaluations.Evaluation):
    """An evaluation of a procedure on many splits.

    Attributes:
        folder: of evaluation.md and its data.
        n_evaluated: how many test sets this call evaluated; the others were evaluated before.
    """

    folder: Path = field(default=Path(), compare=False)
    n_evaluated: int = field(default=0, compare=False)

    def __repr__(self) -> str:
        mean = self.test(self.main.name)
        figure, title = self.main.figure, self.main.title
        return (
            f"Evaluation({self.sweep!r}, {len(self.splits)} splits,"
            f" test {title} {figure(mean.mean)} ({figure(mean.low)} to {figure(mean.high)}))"
        )

    def _repr_html_(self) -> str:
        from sweepgrad.selection import evaluation_markdown

        figure = self.main.figure
        rows = [(s.split, figure(s.validation.value), figure(s.test.value)) for s in self.splits]
        columns = ["split", f"validation {self.main.title}", f"test {self.main.title}"]
        lines = [*evaluation_markdown.summary(self), *evaluation_markdown.warnings(self)]
        return display.page(
            f"Evaluation of {self.sweep}", display.paragraphs(lines), display.table(columns, rows)
        )


class OtherVersion(UserError):
    """Raised if another version of sweepgrad wrote the card of a sweep, which stays as it is."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another version of sweepgrad wrote the card in {folder}: read card.md there")
        self.folder = folder


def finalize(
    sweep: Source = None, *, incomplete: bool = False, again: bool = False, store: "Store | None" = None
) -> Card:
    """Choose the model of a sweep by validation, evaluate it on the test set once, and write its card.

    A second call returns the same card and does not read the test set.

    Arguments:
        sweep: a sweep, a run that was trained on its own, or a name as for `load_sweep`; None for the latest.
        incomplete: choose among the runs that finished, although others did not.
        again: evaluate a test set that was evaluated before; the card says so.
        store: the MLflow store, if `sweep` is a name.

    The card is written to `runs/cards`, in the `runs` folder that the sweep is in.

    Raises:
        UserError: no model can be chosen, or the test set was evaluated before.
    """
    from sweepgrad.selection import finalize as finalizing

    opened, name, runs = resolve(sweep, store)
    done = finalizing.finalize(opened, name, runs, incomplete=incomplete, again=again)
    if done.card is None:
        raise OtherVersion(done.folder)
    return Card(
        **_values(done.card), folder=done.folder.absolute(), evaluated_now=done.evaluated_now, store=opened
    )


def evaluate(
    sweep: Source = None, *, incomplete: bool = False, again: bool = False, store: "Store | None" = None
) -> Evaluation:
    """Evaluate the whole procedure on a sweep over splits: choose on each split, evaluate its test set once.

    Arguments:
        sweep, incomplete, again, store: as for `finalize`.

    Raises:
        UserError: there are fewer than two splits, or a test set was evaluated before.
    """
    from sweepgrad.selection import evaluate as evaluating

    opened, name, runs = resolve(sweep, store)
    done = evaluating.evaluate(opened, name, runs, incomplete=incomplete, again=again)
    return Evaluation(**_values(done.evaluation), folder=done.folder.absolute(), n_evaluated=done.n_evaluated)


def resolve(source: Source, store: "Store | None") -> "tuple[Store, str | None, Path]":
    """Return the store of a sweep or a run, its name or id there, and the `runs` folder that it is in.

    Raises:
        UserError: `source` is neither, the run is one of a sweep or was not sent to MLflow, `store`
            contradicts it, or there is no MLflow store.
    """
    if isinstance(source, Sweep):
        source.location.refuse_other(store, source.name)
        return source.store, source.id, runs_of(source.folder)
    if isinstance(source, Run):
        if sweep := source._record.sweep:
            raise UserError(f"run {source.name!r} is one of sweep {sweep}: pass the sweep")
        if source.id is None:
            raise UserError(
                f"run {source.name} was not sent to MLflow: run sweepgrad sync, and load it again"
            )
        source.location.refuse_other(store, source.name)
        return source.location.store, source.id, runs_of(source.folder)
    if not isinstance(source, str | None):
        raise UserError(f"sweep: must be a Sweep, a Run or a name, not {type(source).__name__}")
    return checked(store) or default_store(), source, RUNS


def _values(record: Any) -> dict[str, Any]:
    return {each.name: getattr(record, each.name) for each in fields(record)}
