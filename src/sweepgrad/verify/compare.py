"""Compare everything that is kept of a run, in its folder and in MLflow, with the result of retraining it."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sweepgrad.autograd.value import Array
from sweepgrad.bounded import arrays, reading
from sweepgrad.compose import yaml_files
from sweepgrad.config import old_names
from sweepgrad.errors import UserError
from sweepgrad.runs import capture, provenance
from sweepgrad.runs import record as records
from sweepgrad.runs.record import CERTIFICATE, STATE, VALIDATION, Record
from sweepgrad.tracking import mapping
from sweepgrad.tracking.tags import JOB_KIND, KIND, TEST_EVALUATED, of_run
from sweepgrad.training.bundle import described_in, weights_in
from sweepgrad.verify.differences import of_arrays, of_leaves, of_numbers
from sweepgrad.verify.sources import Copy, InStore, Kept

_BUNDLE, _WEIGHTS = records.FILES


def findings(run: Kept, retrained: Copy, tolerance: float) -> list[str]:
    """Return the differences between what is kept of a run and the result of retraining it, as text."""
    found = []
    for copy in run.copies:
        place = "" if copy.place == run.id else f"{copy.place}: "
        found += [f"{place}{difference}" for difference in _of_copy(copy, retrained, tolerance)]
    first, *others = run.copies
    for other in others:
        leaves = of_leaves(_plain(first.record), _plain(other.record), "record", f"in {other.place}")
        found += [f"{first.place}: {difference}" for difference in leaves]
    if run.store is not None:
        # MLflow must have what was recorded, bit for bit, even if retraining rounds differently.
        sent = run.record if tolerance else retrained.record
        found += _of_store(run.store, run.record, sent)
    return found


def _of_copy(copy: Copy, retrained: Copy, tolerance: float) -> Iterator[str]:
    if copy.damage:
        yield copy.damage
    yield from _of_itself(copy)
    record, new = copy.record, retrained.record
    if (last := _last_epoch(record)) != len(record.history):
        yield f"its history ends after epoch {len(record.history)}; training would end after epoch {last}"
    yield from of_numbers(_numbers(record), _numbers(_with_metrics_of(record, new)), tolerance)
    for name in ("best_epoch", "n_parameters"):
        if getattr(record, name) != getattr(new, name):
            yield f"{name} is {getattr(record, name)}; retrained: {getattr(new, name)}"
    yield from of_leaves(_rows(record), _rows(new), "data", tolerance=tolerance)
    yield from _of_texts(record, new)
    yield from _of_files(copy, retrained, tolerance)


def _of_texts(record: Record, new: Record) -> Iterator[str]:
    """Compare certificate, diagnosis and file names of runs of this version.

    Another version may describe the same result in another way.
    """
    names = ("code", "record_code", "sweepgrad")
    if any(record.environment.get(name) != new.environment[name] for name in names):
        return
    certified, certificate = record.certificate, new.certificate
    if certified and certificate and record.status == "KILLED":  # it was not tested
        certificate = {**certificate, "weights": certified.get("weights")}
    yield from of_leaves(certified, certificate, "certificate")
    yield from of_leaves(record.diagnosis, new.diagnosis, "diagnosis")
    if record.files.keys() != new.files.keys():
        yield f"its files are {', '.join(record.files) or 'none'}; retrained: {', '.join(new.files)}"


def _of_itself(copy: Copy) -> Iterator[str]:
    """Yield the contradictions within a copy."""
    record, path = copy.record, copy.folder / "config.yaml"
    try:
        config = old_names.config(yaml_files.parse(yaml_files.read_text(path), str(path)))
    except UserError as error:
        yield f"config.yaml cannot be read: {error}"
    else:
        if not isinstance(config, dict):
            yield "config.yaml holds no configuration"
        elif keys := [str(key) for key in config | record.config if _differ(config, record.config, key)]:
            yield f"config.yaml and record.json differ in {', '.join(keys)}"
    try:
        certificate = old_names.certificate(reading.load(copy.folder / CERTIFICATE, reading.RESULTS))
    except FileNotFoundError:
        certificate = None
    except (OSError, ValueError) as error:
        certificate = f"cannot be read: {error}"
    yield from of_leaves(certificate, record.certificate, CERTIFICATE, f"in {copy.record_name}")
    losses = [epoch.val_loss for epoch in record.history]
    if losses and record.best_epoch != (best := 1 + losses.index(min(losses))):
        yield f"its best epoch is {record.best_epoch}, but epoch {best} has the lowest validation loss"
    if record.status != "FINISHED" and len(losses) == record.config["train"]["epochs"]:
        yield f"its status is {record.status}, but it has all its epochs"
    if record.environment.get("code") == provenance.code() and record.data is not None:
        config = Kept("", "", (copy,)).config
        if record.digest != capture.identity(config, record.data.digests):
            yield "its digest does not match its configuration, data and code"


def _differ(one: dict[str, Any], other: dict[str, Any], key: str) -> bool:
    return key not in one or key not in other or one[key] != other[key]


def _last_epoch(record: Record) -> int:
    """Return the epoch at which training ends; for a run that was stopped, its last one."""
    n, train = len(record.history), record.config["train"]
    patience = train["patience"]
    if record.status != "FINISHED" or record.stopped:
        return n
    return n if patience is not None and n - record.best_epoch >= patience else int(train["epochs"])


def _numbers(record: Record) -> dict[tuple[int, str], float]:
    """Return metrics by epoch and name, as MLflow has them; those of the best epoch at 0."""
    return {(metric.step, metric.key): metric.value for metric in mapping.metrics(record)}


def _with_metrics_of(record: Record, new: Record) -> Record:
    """Return the retrained record without metrics that extensions have added since."""
    if _extensions(record) == _extensions(new):
        return new
    return replace(new, summary={k: v for k, v in new.summary.items() if k in record.summary})


def _extensions(record: Record) -> dict[str, str]:
    return {name: digest for name, digest in record.environment.items() if name.startswith("extension ")}


def _rows(record: Record) -> dict[str, Any]:
    """Return the data of a run, without source and notices."""
    return {} if record.data is None else {**asdict(record.data), "source": "", "notices": ()}


def _plain(record: Record) -> dict[str, Any]:
    return {**asdict(record), "history": [asdict(epoch) for epoch in record.history]}


def _of_store(store: InStore, record: Record, sent: Record) -> Iterator[str]:
    """Yield the differences between a run in MLflow and its record.

    Arguments:
        sent: the record whose metrics MLflow should have.
    """
    logged, found = store.run, dict(store.metrics)
    if logged.tags[KIND] != JOB_KIND and any(tag.startswith(TEST_EVALUATED) for tag in logged.tags):
        # `finalize` adds the test metrics of a single run.
        found = {place: value for place, value in found.items() if not place[1].startswith("test/")}
    expected, where = _numbers(sent), "recorded"
    yield from (f"metrics in MLflow: {difference}" for difference in of_numbers(found, expected, 0.0, where))
    params = {param.key: param.value for param in mapping.params(record)}
    yield from of_leaves(logged.params, params, "params in MLflow", where)
    tags = of_run(record)
    yield from of_leaves({tag: logged.tags.get(tag) for tag in tags}, tags, "tags in MLflow", where)
    if logged.status != record.status:
        yield f"status in MLflow is {logged.status}; recorded: {record.status}"
    if store.model_damage:
        yield f"the model in MLflow: {store.model_damage}"


def _of_files(copy: Copy, retrained: Copy, tolerance: float) -> Iterator[str]:
    try:
        one, other = (reading.load(side.path_of(_BUNDLE), reading.RESULTS) for side in (copy, retrained))
    except (OSError, ValueError) as error:
        yield f"{_BUNDLE} cannot be read: {error}"
    else:
        yield from of_leaves(one, other, _BUNDLE, tolerance=tolerance)
    for name in (_WEIGHTS, *(name for name in (STATE, VALIDATION) if name in copy.record.files)):
        try:
            found = _arrays(copy.path_of(name))
        except (OSError, UserError) as error:
            yield f"{name} cannot be read: {error}"
            continue
        yield from of_arrays(found, _arrays(retrained.path_of(name)), tolerance)


def _arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of a file by a readable name."""
    if path.name == VALIDATION:
        return {"validation scores": arrays.load(path, (None,))}
    if path.name == STATE:
        loaded = arrays.load(path, (None, None), finite=False)
        names = ["weights", *(f"state {number} of the optimizer" for number in range(1, len(loaded)))]
        return {f"{name} after the last epoch": array for name, array in zip(names, loaded, strict=True)}
    weights = weights_in(path.parent, described_in(path.parent))
    return {_layer(name): array for name, array in weights.items()}


def _layer(name: str) -> str:
    number = int(name.removeprefix("w"))
    return f"{'bias' if number % 2 else 'weights'} of layer {number // 2 + 1}"
