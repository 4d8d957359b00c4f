"""Answer a question of the lab: write the answer to a folder and log it to MLflow."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepgrad.config.section import Section
from sweepgrad.errors import UserError
from sweepgrad.lab.configs import question
from sweepgrad.lab.environment import EXPERIMENT, Lab
from sweepgrad.lab.finding import Finding


@dataclass(frozen=True)
class Asked:
    """A question that was answered.

    Attributes:
        folder: the folder of the answer.
        run_id: the id of the MLflow run.
    """

    name: str
    finding: Finding
    folder: Path
    run_id: str


def answer_question(name: str, asked: str, settings: Section, folder: Path, lab: Lab) -> Asked:
    """Answer a question.

    Arguments:
        name: of the configuration.
        asked: the name of the question.
        folder: the answer is written to a subfolder of that name, over an earlier one.

    Raises:
        UserError: the store cannot be used, the settings contradict each other, or the answer cannot be
            written.
    """
    from sweepgrad.tracking.store import Store  # late: importing MLflow takes two seconds

    store = Store(lab.uri, EXPERIMENT)  # first, so that nothing is computed if it cannot be used
    finding = question(asked).answer(settings, lab)
    config = {"question": asked, **settings.model_dump(mode="json")}
    try:
        files = finding.write(folder / name, config)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; the answer cannot be written") from None
    run_id = store.log_answer(name, _flat(config), dict(finding.numbers), files, holds=finding.holds)
    return Asked(name, finding, folder / name, run_id)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return settings by dotted key, as MLflow's params."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat
