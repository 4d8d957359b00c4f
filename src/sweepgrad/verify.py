"""Training runs again, and holding what is kept of them beside what that gives, bit for bit."""

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any, Literal

import numpy as np
import yaml

from sweepgrad import engine, entities, versions
from sweepgrad import record as records
from sweepgrad.autograd.value import Array
from sweepgrad.copies import Copy, Kept
from sweepgrad.data.doors import open_training
from sweepgrad.errors import UserError
from sweepgrad.experiment import dtype_of
from sweepgrad.record import STATE, Record
from sweepgrad.sweep import threads
from sweepgrad.sweep.halving import Rungs
from sweepgrad.sweep.job import Job, Outcome, Running

Kind = Literal["bit-equal", "equal to rounding", "differs"]

TOLERANCE = {"float64": 1e-6, "float32": 1e-3}
"""What numbers may be apart in another environment, absolute and relative: rounding grows with the steps."""

_WEIGHTS = "weights.npz"
_BUNDLE = "bundle.json"


@dataclass(frozen=True)
class Verdict:
    """What came of training a run again.

    Attributes:
        environment: what rounds otherwise here than where it was trained, in words; empty for nothing.
        findings: what differs, in words, the first and by how much.
    """

    run: Kept
    kind: Kind
    epochs: int
    environment: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.run.id,
            "name": self.run.name,
            "verdict": self.kind,
            "epochs": self.epochs,
            "environment": list(self.environment),
            "findings": list(self.findings),
        }


def check_rows(kept: Sequence[Kept]) -> None:
    """That the rows which the runs were trained on are the rows that are there now.

    Raises:
        UserError: naming the tables that are not, and runs that never trained.
    """
    empty = [run.name for run in kept if run.record.data is None or not run.record.history]
    if empty:
        raise UserError(
            f"{', '.join(empty)}: ended before its first epoch, so there is nothing to train again"
        )
    changed: dict[str, None] = {}
    for run in kept:
        config, data = run.config, run.record.data
        assert data is not None
        training = open_training(config.data, config.split, dtype_of(config))
        now = asdict(training.digests)
        parts = [part for part, digest in data.digests.items() if now.get(part) != digest]
        if parts:
            what = "its contents have changed" if "table" in parts else f"{', '.join(parts)} rows are others"
            changed[f"{training.source} is not what {run.name} was trained on: {what}"] = None
    if changed:
        lines = "".join(f"\n  {line}" for line in changed)
        raise UserError(f"nothing was trained again.{lines}\nPut the old table back, or train anew")


def verify(kept: Sequence[Kept], workers: int) -> Iterator[Running | Verdict]:
    """Train runs again, so many side by side, and say how that goes; each ends with a verdict.

    Each is trained as a job of a sweep is, to the epoch in which it ended, in a folder that is gone then.

    Raises:
        UserError: a recorded configuration is none.
    """
    for name, dtype in dict.fromkeys((run.config.engine.name, dtype_of(run.config)) for run in kept):
        engine.load(name, dtype)
    with tempfile.TemporaryDirectory(prefix="sweepgrad-verify-") as scratch:
        jobs = [_job(number, run, Path(scratch, str(number))) for number, run in enumerate(kept)]
        for event in threads.run(jobs, workers, Rungs(None, "accuracy", jobs), Event()):
            if isinstance(event, Outcome):
                yield _judged(kept[event.job.number], event)
            else:
                yield event


def _job(number: int, run: Kept, folder: Path) -> Job:
    config = run.config
    # As a sweep's, whatever it was: then no pictures are drawn of it.
    config = config.model_copy(update={"sweep": config.sweep.model_copy(update={"id": "verify"})})
    return Job(number, run.name, (), config, folder, id=f"verify/{number}", until=len(run.record.history))


def _judged(run: Kept, outcome: Outcome) -> Verdict:
    epochs = len(run.record.history)
    if outcome.status == "FAILED":
        return Verdict(run, "differs", epochs, (), (f"training it again failed: {outcome.problem}",))
    again = records.read(outcome.job.folder)
    here = Copy("trained again", outcome.job.folder, outcome.job.folder / records.MODEL, again)
    environment = versions.differences(run.record.environment, again.environment)
    exact = _findings(run, here, 0.0)
    if not exact:
        return Verdict(run, "bit-equal", epochs, environment)
    if not environment:
        return Verdict(run, "differs", epochs, (), tuple(exact))
    beyond = _findings(run, here, TOLERANCE[run.config.engine.dtype])
    if not beyond:
        return Verdict(run, "equal to rounding", epochs, environment, tuple(exact))
    return Verdict(run, "differs", epochs, environment, tuple(beyond))


def _findings(run: Kept, here: Copy, tolerance: float) -> list[str]:
    """What differs between what is kept of a run and what training it again gave."""
    found = []
    for copy in run.copies:
        place = "" if copy.place == run.id else f"{copy.place}: "
        found += [f"{place}{words}" for words in _of_copy(copy, here, tolerance)]
    if run.metrics is not None:
        # What was sent is what was recorded, bit for bit, wherever it was trained.
        expected = _numbers(run.record if tolerance else here.record)
        found += [f"metrics in MLflow: {words}" for words in _of_numbers(run.metrics, expected, 0.0)]
    return found


def _of_copy(copy: Copy, here: Copy, tolerance: float) -> Iterator[str]:
    if copy.damage:
        yield copy.damage
    yield from _of_itself(copy)
    record, again = copy.record, here.record
    if (last := _last_epoch(record)) != len(record.history):
        yield f"its history ends after epoch {len(record.history)}, and training would have after {last}"
    yield from _of_numbers(_numbers(record), _numbers(again), tolerance)
    for what in ("best_epoch", "n_parameters"):
        if getattr(record, what) != getattr(again, what):
            yield f"{what} is {getattr(record, what)}, and {getattr(again, what)} when trained again"
    yield from _of_leaves(_rows(record), _rows(again), "data", tolerance)
    yield from _of_files(copy, here, tolerance)


def _of_itself(copy: Copy) -> Iterator[str]:
    """What of a copy does not go together."""
    record, path = copy.record, copy.folder / "config.yaml"
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        yield f"config.yaml cannot be read: {error}"
    else:
        keys = [key for key in record.config if said.get(key) != record.config[key]]
        if keys:
            yield f"config.yaml and record.json say different things of {', '.join(keys)}"
    losses = [epoch.val_nll for epoch in record.history]
    if losses and record.best_epoch != (best := 1 + losses.index(min(losses))):
        yield f"its best epoch is {record.best_epoch}, and its lowest validation loss is that of epoch {best}"
    if record.environment.get("code") == versions.code() and record.data is not None:
        config = Kept("", "", (copy,)).config
        if record.digest != records.identity(config, record.data.digests):
            yield "its digest is not that of its configuration, data and code"


def _last_epoch(record: Record) -> int:
    """The epoch after which training ends by itself; of a run that was ended, the one it had come to."""
    n, train = len(record.history), record.config["train"]
    patience = train["patience"]
    if record.status != "FINISHED" or record.stopped:
        return n
    return n if patience is not None and n - record.best_epoch >= patience else int(train["epochs"])


def _numbers(record: Record) -> dict[tuple[int, str], float]:
    """Metrics by epoch and name, as MLflow has them; those of the best epoch at 0."""
    return {(metric.step, metric.key): metric.value for metric in entities.metrics(record)}


def _of_numbers(
    found: Mapping[tuple[int, str], float], expected: Mapping[tuple[int, str], float], tolerance: float
) -> Iterator[str]:
    """The first of the numbers that is not the expected one; the epochs before their summary."""
    order = sorted(expected, key=lambda place: place[0] or math.inf)
    lacking = [place for place in order if place not in found]
    apart = [
        place for place in order if place in found and not _same(found[place], expected[place], tolerance)
    ]
    for places in (lacking, apart):
        if not places:
            continue
        epoch, name = places[0]
        words = f"{name} after epoch {epoch}" if epoch else name
        if places is apart:
            one, other = found[places[0]], expected[places[0]]
            words += f" is {one!r}, and {other!r} when trained again ({abs(one - other):.2g} apart)"
        else:
            words += " is not there"
        yield words + (f"; {len(places)} of {len(order)} numbers are like that" if len(places) > 1 else "")


def _same(one: float, other: float, tolerance: float) -> bool:
    if float(one).hex() == float(other).hex():
        return True
    return tolerance > 0 and math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)


def _rows(record: Record) -> dict[str, Any]:
    """What is said of the rows, apart from where they came from and how that was told."""
    return {} if record.data is None else {**asdict(record.data), "source": "", "notices": ()}


def _of_leaves(found: object, expected: object, name: str, tolerance: float) -> Iterator[str]:
    """The first place in which two things of JSON differ."""
    one, other = dict(_leaves(found, name)), dict(_leaves(expected, name))
    for key in (*other, *(key for key in one if key not in other)):
        a, b = one.get(key), other.get(key)
        numbers = isinstance(a, float) and isinstance(b, float)
        if not (_same(a, b, tolerance) if numbers else a == b and type(a) is type(b)):  # type: ignore[arg-type]
            yield f"{key} is {a!r}, and {b!r} when trained again"
            return


def _leaves(value: object, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        yield f"{name} (length)", len(value)
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{name}[{place}]")
    else:
        yield name, value


def _of_files(copy: Copy, here: Copy, tolerance: float) -> Iterator[str]:
    try:
        one, other = (json.loads(side.path_of(_BUNDLE).read_text(encoding="utf-8")) for side in (copy, here))
    except (OSError, ValueError) as error:
        yield f"{_BUNDLE} cannot be read: {error}"
    else:
        yield from _of_leaves(one, other, _BUNDLE, tolerance)
    names = [_WEIGHTS, *([STATE] if STATE in copy.record.files else [])]
    for name in names:
        try:
            found = _arrays(copy.path_of(name))
        except Exception as error:  # noqa: BLE001 - what a damaged file makes of reading it may be anything
            yield f"{name} cannot be read: {error}"
            continue
        yield from _of_arrays(found, _arrays(here.path_of(name)), tolerance)


def _arrays(path: Path) -> dict[str, Array]:
    """The arrays of a file, by what they are: of the model, or of the state after the last epoch."""
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if path.name == STATE:
            names = ["weights", *(f"state {number} of the optimizer" for number in range(1, len(loaded)))]
            return {f"{name} after the last epoch": array for name, array in zip(names, loaded, strict=True)}
        return {_layer(name): loaded[name] for name in loaded.files}


def _layer(name: str) -> str:
    number = int(name.removeprefix("w"))
    return f"{'bias' if number % 2 else 'weights'} of layer {number // 2 + 1}"


def _of_arrays(found: dict[str, Array], expected: dict[str, Array], tolerance: float) -> Iterator[str]:
    """The first array that is not the expected one, and by how much."""
    if found.keys() != expected.keys():
        yield f"has {len(found)} arrays, and {len(expected)} when trained again"
        return
    for name, other in expected.items():
        one = found[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            yield f"{name} are {one.dtype} {one.shape}, and {other.dtype} {other.shape} when trained again"
            return
        if one.tobytes() == other.tobytes():
            continue
        if tolerance and np.allclose(one, other, rtol=tolerance, atol=tolerance):
            continue
        with np.errstate(invalid="ignore", over="ignore"):
            gap = np.abs(one - other)
        n = sum(a.tobytes() != b.tobytes() for a, b in zip(one.ravel(), other.ravel(), strict=True))
        yield f"{name}: {n} of {one.size} numbers differ, by up to {np.max(gap):.2g}"
        return
