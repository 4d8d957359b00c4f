"""Convert a run's record to MLflow's params, metrics, datasets and files, and MLflow's runs to `Logged`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType

from sweepgrad.bounded import reading
from sweepgrad.bounded.arrays import MOST_BYTES
from sweepgrad.bounded.reading import RESULTS
from sweepgrad.config import old_names
from sweepgrad.config.identity import trains
from sweepgrad.errors import DamagedFile
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.runs.record import Record
from sweepgrad.runs.validation import LIMITS
from sweepgrad.tracking import entities
from sweepgrad.training.bundle import described_in

BUNDLE = "bundle"  # the artifact in which the pyfunc finds the model
RECORD_IN_MLFLOW = (
    "run.json"  # not record.json: `sweepgrad sync` would take a store below runs/ for unsent runs
)


@dataclass(frozen=True)
class Logged:
    """A run as MLflow holds it.

    Attributes:
        started, ended: milliseconds since 1970; `ended` is None while it runs.
        artifacts: the URI of its artifacts.
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
    """Convert a run of MLflow's to our class, under today's names."""
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
    """Return the path of an artifact of a run, or None if it is not on this machine."""
    if not run.artifacts.startswith("file://"):
        return None
    path = Path(url2pathname(urlsplit(run.artifacts).path), artifact)
    return path if path.exists() else None


def metrics(record: Record) -> Iterator[Metric]:
    """Yield the summary, then the figures of each epoch, spread evenly over the duration of the run."""
    # The summary is first because MLflow's comparison shows the metric that was logged first.
    for name, value in record.summary.items():
        yield entities.metric(name, value, record.ended, 0)  # one value per run, for which MLflow draws bars
    span = max(record.ended - record.started, 0)
    for step, epoch in enumerate(record.history, 1):
        moment = record.started + span * step // len(record.history)
        for (part, name), value in epoch.figures.items():
            yield entities.metric(f"{part}/{name}", value, moment, step)
        for name, value in epoch.stats.metrics.items() if epoch.stats else ():
            yield entities.metric(name, value, moment, step)


def flat(config: dict[str, object], prefix: str = "") -> dict[str, str]:
    """Return a configuration as dotted keys and JSON texts, without keys that do not influence training."""
    found: dict[str, str] = {}
    for key, value in config.items():
        if not prefix and not trains(key):
            continue
        if f"{prefix}{key}" == "data.transform":  # keyed by column names, which are not valid names of params
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
        elif isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return found


def params(record: Record) -> list[Param]:
    """Return the configuration and the numbers of parameters and features."""
    found = flat(record.config)
    if record.data is not None:
        found |= {"n_parameters": str(record.n_parameters), "n_features": str(len(record.data.features))}
    return entities.params(found)


def datasets(record: Record) -> list[DatasetInput]:
    """Return the training and validation rows of a run as MLflow datasets."""
    assert record.data is not None
    data, inputs = record.data, []
    for context, rows, digest in (
        ("training", data.n_train, data.digests["train"]),
        ("validation", data.n_val, data.digests["val"]),
    ):
        dataset = entities.dataset(
            str(record.config["data"]["name"]),
            f"{data.digests['table'][:16]}-{digest[:8]}",
            source=json.dumps({"uri": data.source}),
            profile=json.dumps({"num_rows": rows}),
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    return inputs


def signature(bundle: Path) -> ModelSignature:
    """Return the signature of a model: input columns without types, and the types of the output columns.

    With typed inputs MLflow would refuse the training table itself, since it does not accept integers for a
    double. The preprocessing checks the values.
    """
    description = described_in(bundle)
    any_type = AnyType()  # type: ignore[no-untyped-call]
    value = {bool: DataType.boolean, int: DataType.long, float: DataType.double, str: DataType.string}
    return ModelSignature(
        inputs=Schema([ColSpec(any_type, name) for name in description.columns]),
        outputs=Schema(
            [
                ColSpec(DataType.double, "probability"),
                ColSpec(value[type(description.positive)], "prediction"),
            ]
        ),
    )


def digest(bundle: Path) -> str:
    """Return the SHA-256 of a model's files."""
    found = sha256()
    for name in records.FILES:
        found.update(reading.read(bundle / name, MOST_BYTES))
    return found.hexdigest()


def files(record: Record, folder: Path) -> dict[str, bytes]:
    """Return the files of a run's folder to send, by name; other files in that folder are ignored.

    Raises:
        ValueError: a file cannot be read, or was changed.
    """
    found = {"environment.json": (json.dumps(record.environment, indent=1) + "\n").encode()}
    if record.error:
        found["error.txt"] = record.error.encode()
    try:
        found[RECORD_IN_MLFLOW] = _read(folder / records.RECORD, LIMITS.size)
        for name in ("config.yaml", records.CERTIFICATE, *records.PICTURES):
            if (folder / name).exists():
                found[name] = _read(folder / name, RESULTS.size)
        for name in dict.fromkeys((*records.FILES, *record.files)) if record.files else ():
            path = folders.path_of(folder, name)
            content = _read(path, MOST_BYTES)
            if sha256(content).hexdigest() != record.files.get(name):
                raise ValueError(f"{path} was changed after it was written")
            kept = name if name in (records.STATE, records.VALIDATION) else f"{BUNDLE}/{name}"
            found[kept] = content
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None
    return found


def _read(path: Path, most: int) -> bytes:
    try:
        return reading.read(path, most)
    except DamagedFile as error:
        raise DamagedFile(f"{path}: {error}") from None


def write_files(files: dict[str, bytes], into: Path) -> None:
    """Write the result of `files` to a folder."""
    for name, content in files.items():
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (into / name).write_bytes(content)
