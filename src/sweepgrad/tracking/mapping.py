"""What a run left, in MLflow's words: params, metrics, datasets, the signature of a model; and back again."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType

from sweepgrad.config import old_names
from sweepgrad.config.identity import trains
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.runs.record import Record
from sweepgrad.tracking.limits import MAX_PARAM

BUNDLE = "bundle"  # the name under which the pyfunc finds the model's folder
RECORD_IN_MLFLOW = "run.json"  # not record.json: a store below runs/ is no place of runs that wait to be sent


@dataclass(frozen=True)
class Logged:
    """A run as MLflow holds it.

    Attributes:
        started, ended: milliseconds since 1970; a run that is running has not ended.
        artifacts: the address of its files.
        params: the flat configuration, as text.
        metrics: the latest value of each.
    """

    run_id: str
    name: str
    status: str
    started: int
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    ended: int | None = None
    artifacts: str = ""


def logged(run: Run) -> Logged:
    """Return a run of MLflow's without MLflow's classes, under today's names."""
    return Logged(
        run.info.run_id,
        run.info.run_name,
        run.info.status,
        run.info.start_time,
        old_names.params(run.data.params),
        dict(run.data.metrics),
        old_names.tags(run.data.tags),
        run.info.end_time,
        run.info.artifact_uri or "",
    )


def local(run: Logged, artifact: str) -> Path | None:
    """Where an artifact of a run is, if that is a place of this machine."""
    if not run.artifacts.startswith("file://"):
        return None
    path = Path(url2pathname(urlsplit(run.artifacts).path), artifact)
    return path if path.exists() else None


def metrics(record: Record) -> Iterator[Metric]:
    """The summary, then each epoch, spread evenly over the time that the run took."""
    # The summary first: MLflow's comparison opens with the metric that was logged first.
    for name, value in record.summary.items():
        yield Metric(name, value, record.ended, 0)  # one number a run: MLflow draws bars
    span = max(record.ended - record.started, 0)
    for step, epoch in enumerate(record.history, 1):
        moment = record.started + span * step // len(record.history)
        for (part, name), value in epoch.figures.items():
            yield Metric(f"{part}/{name}", value, moment, step)
        for name, value in epoch.stats.metrics.items() if epoch.stats else ():
            yield Metric(name, value, moment, step)


def flat(config: dict[str, object], prefix: str = "") -> dict[str, str]:
    """A configuration as dotted keys and JSON texts, without what is about keeping rather than training."""
    found: dict[str, str] = {}
    for key, value in config.items():
        if not prefix and not trains(key):
            continue
        if f"{prefix}{key}" == "data.transform":  # by columns, whose names MLflow does not take for a param's
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
        elif isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return found


def params(record: Record) -> list[Param]:
    """The configuration, and the sizes that follow from it."""
    found = flat(record.config)
    if record.data is not None:
        found |= {"n_parameters": str(record.n_parameters), "n_features": str(len(record.data.features))}
    return [Param(key, value[:MAX_PARAM]) for key, value in found.items()]


def datasets(record: Record) -> list[DatasetInput]:
    """The rows that the run learned from and those it was compared on, as MLflow's datasets."""
    assert record.data is not None
    data, inputs = record.data, []
    for context, rows, digest in (
        ("training", data.n_train, data.digests["train"]),
        ("validation", data.n_val, data.digests["val"]),
    ):
        dataset = Dataset(
            name=str(record.config["data"]["name"]),
            digest=f"{data.digests['table'][:16]}-{digest[:8]}",
            source_type="local",
            source=json.dumps({"uri": data.source}),
            profile=json.dumps({"num_rows": rows}),
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    return inputs


def signature(bundle: Path) -> ModelSignature:
    """The columns by name only: which values fit is for the preprocessing to say, which knows them better.

    A typed signature would refuse the very table that was learned from: MLflow does not take whole numbers
    for a double.
    """
    description = json.loads((bundle / "bundle.json").read_text())
    anything = AnyType()  # type: ignore[no-untyped-call]
    value = {bool: DataType.boolean, int: DataType.long, float: DataType.double, str: DataType.string}
    return ModelSignature(
        inputs=Schema([ColSpec(anything, name) for name in description["columns"]]),
        outputs=Schema(
            [
                ColSpec(DataType.double, "probability"),
                ColSpec(value[type(description["positive"])], "prediction"),
            ]
        ),
    )


def digest(bundle: Path) -> str:
    """SHA-256 of a model's files."""
    found = sha256()
    for name in records.FILES:
        found.update((bundle / name).read_bytes())
    return found.hexdigest()


def files(record: Record, folder: Path) -> dict[str, bytes]:
    """What is to be kept of a run's folder, by name; not what is there beside it in somebody's own folder.

    Raises:
        ValueError: something cannot be read, or is not what was written.
    """
    found = {"environment.json": (json.dumps(record.environment, indent=1) + "\n").encode()}
    if record.error:
        found["error.txt"] = record.error.encode()
    if record.files and (problem := folders.damage(folder, record)):
        raise ValueError(problem)
    try:
        found[RECORD_IN_MLFLOW] = (folder / records.RECORD).read_bytes()
        for name in ("config.yaml", records.CERTIFICATE, *records.PICTURES):
            if (folder / name).exists():
                found[name] = (folder / name).read_bytes()
        for name in record.files:
            kept = name if name == records.STATE else f"{BUNDLE}/{name}"
            found[kept] = folders.path_of(folder, name).read_bytes()
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None
    return found


def write_files(files: dict[str, bytes], into: Path) -> None:
    """Leave what `files` gave in a folder."""
    for name, content in files.items():
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (into / name).write_bytes(content)
