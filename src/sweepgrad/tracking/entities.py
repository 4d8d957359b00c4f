"""Make what is sent to MLflow, with all texts escaped and cut to MLflow's limits: here, and nowhere else.

Names and values come from tables, YAML and records. MLflow shows them on pages and in terminals, and some
databases refuse longer ones. What is read back is compared with the result of the same functions.
"""

from collections.abc import Mapping

from mlflow.entities import Dataset, Metric, Param, RunTag

from sweepgrad.errors import DamagedFile
from sweepgrad.messages.escape import tag as escaped
from sweepgrad.tracking.limits import (
    MAX_DATASET,
    MAX_DIGEST,
    MAX_EXPERIMENT,
    MAX_KEY,
    MAX_PARAM,
    MAX_RUN_NAME,
    MAX_SOURCE,
    MAX_TAG,
)


def experiment_name(name: str) -> str:
    """Return the name under which MLflow keeps an experiment."""
    return escaped(name, MAX_EXPERIMENT)


def run_name(name: str) -> str:
    """Return the name under which MLflow keeps a run."""
    return escaped(name, MAX_RUN_NAME)


def tag_value(text: str) -> str:
    """Return the text that MLflow keeps of a tag."""
    return escaped(text, MAX_TAG)


def tag_values(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the texts that MLflow keeps of tags."""
    return {escaped(key, MAX_KEY): tag_value(value) for key, value in tags.items()}


def run_tags(tags: Mapping[str, str]) -> list[RunTag]:
    """Return tags of a run."""
    return [RunTag(*tag) for tag in tag_values(tags).items()]


def params(values: Mapping[str, str]) -> list[Param]:
    """Return params of a run."""
    return [Param(escaped(key, MAX_KEY), escaped(value, MAX_PARAM)) for key, value in values.items()]


def metric(name: str, value: float, moment: int, step: int) -> Metric:
    """Return a metric of a run.

    Arguments:
        moment: milliseconds since 1970.
    """
    return Metric(escaped(name, MAX_KEY), value, moment, step)


def dataset(name: str, digest: str, source: str, profile: str) -> Dataset:
    """Return a dataset of a run."""
    return Dataset(
        name=escaped(name, MAX_DATASET),
        digest=escaped(digest, MAX_DIGEST),
        source_type="local",
        source=escaped(source, MAX_SOURCE),
        profile=profile,
    )


def quoted(text: str) -> str:
    """Return text as a value in a condition of a search, where a quote in it would end it.

    Raises:
        DamagedFile: no condition can hold it; nothing that sweepgrad names is so.
    """
    mark = next((mark for mark in "'\"" if mark not in text), None)
    if mark is None or text.endswith("\\"):
        raise DamagedFile(
            f"{text[:80]!r} cannot be searched for in MLflow: it has quotes of both kinds, or ends in \\"
        )
    return f"{mark}{text}{mark}"
