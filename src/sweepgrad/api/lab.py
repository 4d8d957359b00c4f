"""Answer questions of the lab: `ask`, and the answer that it returns."""

import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sweepgrad.api import display
from sweepgrad.api.arguments import RUNS, overrides_for, search_path
from sweepgrad.api.location import checked
from sweepgrad.config.schema import store_uri
from sweepgrad.errors import UserError
from sweepgrad.lab.answering import Asked
from sweepgrad.messages.escape import markup

if TYPE_CHECKING:
    from sweepgrad.tracking.store import Store

_DEFAULT = f"sqlite:///{RUNS}/mlflow.db"


@dataclass(frozen=True, repr=False)
class Answer(Asked):
    """The answer to a question of the lab. A notebook shows its claims, tables and pictures.

    Attributes:
        name: of the question's YAML file.
        finding: claims, numbers, tables and pictures.
        folder: of finding.md, finding.json and the pictures.
        run_id: the id of the MLflow run.
        number: of the question in the assignment, such as 4(i); empty for others.
        question: the question as text.
    """

    number: str = field(default="", compare=False)
    question: str = field(default="", compare=False)

    @property
    def holds(self) -> bool:
        """True if every claim holds."""
        return self.finding.holds

    def to_json(self) -> dict[str, object]:
        """Return what `sweepgrad lab NAME --json` prints."""
        own = {"name": self.name, "number": self.number, "question": self.question}
        return {**own, "folder": os.path.relpath(self.folder), "run": self.run_id, **self.finding.to_json()}

    def __repr__(self) -> str:
        return f"Answer({self.name!r}, {self._count})"

    def _repr_html_(self) -> str:
        title = f"{self.number} {self.question}".strip() or self.name
        facts = {"folder": os.path.relpath(self.folder), "MLflow run": self.run_id}
        pictures = "".join(_picture(self.folder / f"{name}.svg") for name in self.finding.pictures)
        return display.page(
            title,
            display.paragraphs([f"{self._count}."]),
            _html(self.finding.markdown),
            pictures,
            display.facts(facts),
        )

    @property
    def _count(self) -> str:
        claims = self.finding.claims
        holding = sum(bool(claim.holds) for claim in claims)
        return f"{holding} of {len(claims)} {'claim holds' if len(claims) == 1 else 'claims hold'}"


def ask(
    name: str,
    *overrides: str,
    store: "Store | None" = None,
    folder: str | Path | None = None,
    config_dir: str | Path | None = None,
) -> Answer:
    """Answer a question of the lab, as `sweepgrad lab NAME KEY=VALUE` does, and log the answer to MLflow.

    Arguments:
        name: of the question, such as `sgd`.
        overrides: settings of the experiment, such as `"noise=3"`.
        store: the MLflow store, whatever its experiment: answers are logged to `sweepgrad-lab`. None for the
            store that the environment variable MLFLOW_TRACKING_URI names, or else the one in `runs/` below
            the current folder; it is created if needed.
        folder: the answer is written to its subfolder NAME, over an earlier one; None for `runs/lab`.
        config_dir: a folder of more YAML files, as `--config-dir`.

    Raises:
        UserError: there is no such question, a setting is wrong, or the answer cannot be written or logged.
    """
    if not isinstance(name, str):
        raise UserError(f"ask: pass the name of a question, such as 'sgd', not {type(name).__name__}")
    if folder is not None and not isinstance(folder, str | os.PathLike):
        raise UserError(f"folder: must be the path of a folder, not {type(folder).__name__}")
    checked(store)
    if store is None:
        uri = os.environ.get("MLFLOW_TRACKING_URI", _DEFAULT)
        try:
            store_uri(uri)
        except ValueError as error:
            raise UserError(f"MLFLOW_TRACKING_URI: {error}") from None
    else:
        uri = store.uri
    return ask_at(name, overrides_for(overrides), search_path(config_dir), uri, folder)


def ask_at(
    name: str,
    overrides: Sequence[str],
    search: Sequence[str],
    uri: str,
    folder: str | Path | None = None,
) -> Answer:
    """Answer a question with an MLflow store that is opened after the settings were checked.

    Arguments:
        search: further folders of YAML.

    Raises:
        UserError: as `ask`.
    """
    from sweepgrad.lab.answering import answer_question
    from sweepgrad.lab.configs import settings, titles
    from sweepgrad.lab.environment import Lab

    asked, section = settings(name, overrides, search)
    title = titles(search)[name]
    place = (RUNS / "lab" if folder is None else Path(folder)).absolute()
    found = answer_question(name, asked, section, place, Lab(uri))
    return Answer(found.name, found.finding, found.folder, found.run_id, title.number, title.text)


def _html(markdown: str) -> str:
    """Return Markdown as HTML; HTML in it is escaped, and formulas stay as they are, for MathJax."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("escape")
    html = str(parser.render(markdown))
    for tag in ("th", "td"):  # notebooks align to the right what has no alignment
        html = html.replace(f"<{tag}>", f'<{tag} style="text-align:left">')
    return html


def _picture(file: Path) -> str:
    """Return a picture inside the page, so that it is still there when its file is not."""
    try:
        content = b64encode(file.read_bytes()).decode()
    except OSError as error:
        return f"<p>{markup(file.name)}: {markup(error.strerror or str(error))}</p>"
    return f"<img alt='{markup(file.stem)}' src='data:image/svg+xml;base64,{content}'>"
