"""Asking a question of the lab: the answer is written to a folder, and logged to MLflow."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepgrad.config.section import Section
from sweepgrad.errors import UserError
from sweepgrad.lab.finding import Finding
from sweepgrad.lab.questions import Lab, question

EXPERIMENT = "sweepgrad-lab"


@dataclass(frozen=True)
class Asked:
    """A question that was answered.

    Attributes:
        folder: where the answer lies.
        run_id: of MLflow.
    """

    name: str
    finding: Finding
    folder: Path
    run_id: str


def ask(name: str, asked: str, settings: Section, folder: Path, lab: Lab) -> Asked:
    """Answer a question.

    Arguments:
        name: of the configuration.
        asked: the question that it is about.
        folder: gets a folder of that name with the answer, in place of an earlier one.

    Raises:
        UserError: the store cannot be used, the settings make no sense together, or the answer cannot be
            written.
    """
    from sweepgrad.tracking.store import Store  # late: MLflow takes two seconds

    store = Store(lab.uri, EXPERIMENT)  # first: where there is none, nothing is computed for it
    finding = question(asked).answer(settings, lab)
    config = {"question": asked, **settings.model_dump(mode="json")}
    try:
        files = finding.write(folder / name, config)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; the answer cannot be kept") from None
    run_id = store.log_answer(name, _flat(config), dict(finding.numbers), files, holds=finding.holds)
    return Asked(name, finding, folder / name, run_id)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings by dotted key, as parameters."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat
