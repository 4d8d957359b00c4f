"""Run the code blocks of a Markdown page, and compare or rewrite the outputs that it shows.

`python -m tests.documents docs/quickstart.md` replaces the outputs of a page by what its commands print now.

| block | what is done with it |
| --- | --- |
| `bash` | each command is run and must exit with 0 |
| `console` | each command after `$` is run; what follows it is compared with what it prints |
| `python` | run; the blocks of a page share one namespace |
| `text` right after `python` | compared with what that block printed |
| any other whose first line is `# FOLDER/FILE` | written to that file |

`<!-- not run: REASON -->` before a block leaves it out, `<!-- exit 2 -->` names another exit code than 0.
In an output `…` stands for anything. Numbers, dates and the width of tables are not compared: they differ
from machine to machine.
"""

import contextlib
import difflib
import getpass
import io
import logging
import os
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import console_script

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
_BLOCK = re.compile(
    r"(?P<notes>(?:^<!-- .*? -->\n)*)^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
_SWEEP = re.compile(r"\bsweep-\d{4}-\d\d-\d\d-\d{6}-[0-9a-f]{4}\b")
_ELISION = "…"
_WIDTH = "100"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, where the text lies in the page, and the notes before it."""

    language: str
    code: str
    span: tuple[int, int]
    notes: str

    @property
    def left_out(self) -> bool:
        """True if a note says that the block is not run."""
        return "<!-- not run: " in self.notes

    @property
    def exit_code(self) -> int:
        """The exit code that its last command ends with."""
        found = re.search(r"<!-- exit (\d+) -->", self.notes)
        return int(found[1]) if found else 0

    @property
    def file(self) -> str | None:
        """The file that a comment in the block's first line names, or in the second after `# @package`."""
        found = re.match(r"(?:# @package .*\n)?# ([\w./-]+\.\w+)\n", self.code)
        return found[1] if found else None


@dataclass
class Page:
    """A page being run in a folder."""

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)
    printed: str = ""

    def run(self, block: Block) -> str | None:
        """Run one block; its text as it should be, if it shows an output."""
        if block.left_out:
            return None
        if block.language == "bash":
            for command in commands(block.code):
                code, output = self.command(command)
                assert code == block.exit_code, f"$ {command}\n{output}(exit code {code})"
        elif block.language == "console":
            return "".join(self._session(block))
        elif block.language == "python":
            self.printed = self._python(block.code)
        elif block.language == "text" and self.printed:
            printed, self.printed = self.printed, ""
            return printed
        elif block.file:
            target = self.folder / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.code, encoding="utf-8")
        return None

    def command(self, line: str) -> tuple[int, str]:
        """Run a command line as a shell does. Return its exit code and all that it prints."""
        if line.startswith("sweepgrad ") and not {"|", ">", "&&", "&"} & {*shlex.split(line)}:
            return _here(self._expanded(line)[1:])
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
            "PATH": f"{Path(console_script()).parent}:/usr/bin:/bin",
            "COLUMNS": _WIDTH,
        }
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def _expanded(self, line: str) -> list[str]:
        """Return the words that a shell would pass to the command of a line."""
        if not re.search(r"[$*]", line):
            return shlex.split(line)
        script = f"printf '%s\\0' {line}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout.split("\0")[:-1]

    def _session(self, block: Block) -> Iterator[str]:
        parts = re.split(r"^\$ ((?:.*\\\n)*.*)\n", block.code, flags=re.MULTILINE)[1:]
        for line, shown in zip(parts[::2], parts[1::2], strict=True):
            code, output = self.command(line.replace("\\\n", " "))
            last = shown == parts[-1]
            assert code == (block.exit_code if last else 0), f"$ {line}\n{output}(exit code {code})"
            yield f"$ {line}\n{shown and fitted(shown, cleaned(output))}"
            if shown.endswith("\n\n"):
                yield "\n"

    def _python(self, code: str) -> str:
        out = io.StringIO()
        with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="utf-8") as script:
            script.write(code)
            script.flush()
            with contextlib.redirect_stdout(out):
                self.names = runpy.run_path(script.name, self.names, "__page__")
        return cleaned(out.getvalue())


def _here(words: list[str]) -> tuple[int, str]:
    """Run `sweepgrad WORDS` in this process, which has imported everything already."""
    from sweepgrad.cli.main import main

    out, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDTH
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                code = main(words)
            except SystemExit as leaving:  # argparse
                code = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    return code, out.getvalue()


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [
        Block(found["language"], found["code"], found.span("code"), found["notes"])
        for found in _BLOCK.finditer(text)
    ]


def commands(code: str) -> list[str]:
    """Return the command lines of a shell block, joined at backslashes and without comments."""
    return [line for line in code.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def cleaned(output: str) -> str:
    """Return an output without trailing spaces and names of this machine, user and folder."""
    output = output.replace(f"{Path.cwd()}", "/home/you/churn")
    output = output.replace(f"by {getpass.getuser()} on {socket.gethostname()}", "by you on laptop")
    return "".join(f"{line.rstrip()}\n" for line in output.splitlines())


def masked(text: str, *, numbers: bool = True) -> str:
    """Return text without what differs between runs (ids, dates, spaces), and between machines (numbers)."""
    text = re.sub(r"\b[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r"-\d{4}-\d\d-\d\d-\d{6}-[0-9a-f]{4}\b", "-DATE", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T_][\d:_+-]+|\b\d+\.\d s$", "DATE", text, flags=re.MULTILINE)
    if numbers:
        text = re.sub(r"[-+]?\d[\d,.:]*(e[-+]\d+)?", "0", text)
    return re.sub(r"[\s─━]+", " ", text).strip()


def agrees(shown: str, printed: str) -> bool:
    """Return whether an output is as the page shows it; `…` stands for anything."""
    parts = [re.escape(masked(part)) for part in shown.split(_ELISION)]
    return re.fullmatch(r"\s*.*?\s*".join(parts), masked(printed), flags=re.DOTALL) is not None


def fitted(shown: str, printed: str) -> str:
    """Return what a page should show: the output, or those lines of it that the page shows."""
    if _ELISION not in {line.strip() for line in shown.splitlines()}:
        return printed
    left = printed.splitlines()
    lines = []
    for line in shown.rstrip("\n").splitlines():
        if line.strip() == _ELISION:
            lines.append(line)
            continue
        at = max(range(len(left)), key=lambda i: _likeness(line, left[i]), default=0)
        if left and _likeness(line, left[at])[0] > 0.5:
            lines.append(left[at])
            left = left[at + 1 :]
    return "".join(f"{line}\n" for line in lines)


def sweep_names_agree(outputs: list[tuple[str, str]]) -> bool:
    """Return whether a page shows each sweep by one name, given its outputs as shown and as printed."""
    pairs = {
        pair
        for shown, printed in outputs
        for pair in zip(_SWEEP.findall(shown), _SWEEP.findall(printed), strict=False)
    }
    return len(pairs) == len({shown for shown, _ in pairs}) == len({printed for _, printed in pairs})


def _likeness(a: str, b: str) -> tuple[float, float]:
    """Return how alike two lines are: without numbers, and with them."""
    return (
        difflib.SequenceMatcher(None, masked(a), masked(b)).ratio(),
        difflib.SequenceMatcher(None, a, b).ratio(),
    )


def prepare(folder: Path) -> None:
    """Put what the quick start makes into a folder: the example's table, and the YAML that describes it."""
    (folder / "docs" / "examples").mkdir(parents=True)
    for place in (folder, folder / "docs" / "examples"):
        shutil.copy(EXAMPLES / "churn.csv", place)
    described = next(each for each in blocks((ROOT / "docs" / "quickstart.md").read_text()) if each.file)
    Page(folder).run(described)


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Put environment variables and the levels and handlers of loggers back, which pages may change."""
    variables, root, ours = dict(os.environ), logging.getLogger(), logging.getLogger("sweepgrad")
    before = [(logger, logger.level, [*logger.handlers]) for logger in (root, ours)]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(variables)
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers


@restored()
def check(page: Path, folder: Path) -> None:
    """Run the blocks of a page in a folder, which is the current one.

    Raises:
        AssertionError: a command failed, or printed something else than the page shows.
    """
    run, outputs = Page(folder), []
    remedy = f"`python -m tests.documents {os.path.relpath(page, ROOT)}` rewrites it"
    for block in blocks(page.read_text(encoding="utf-8")):
        found = run.run(block)
        if found is None:
            continue
        outputs.append((block.code, found))
        same = agrees(block.code, found)
        difference = "\n".join(
            difflib.unified_diff(block.code.splitlines(), found.splitlines(), "shown", "printed", lineterm="")
        )
        assert same, f"{difference}\n\n{remedy}"
    assert sweep_names_agree(outputs), f"{page.name} shows two names of one sweep; {remedy}"


@restored()
def rewrite(page: Path, folder: Path) -> None:
    """Run the blocks of a page in a folder, and put what they print into the page: all of it, or nothing."""
    text, run, done, at = page.read_text(encoding="utf-8"), Page(folder), "", 0
    outputs = [(block, found) for block in blocks(text) if (found := run.run(block)) is not None]
    texts = [(block.code, found) for block, found in outputs]
    if sweep_names_agree(texts) and all(
        masked(shown, numbers=False) == masked(found, numbers=False) for shown, found in texts
    ):
        return
    for block, found in outputs:
        done += text[at : block.span[0]] + found
        at = block.span[1]
    page.write_text(done + text[at:], encoding="utf-8")


def main(paths: list[str]) -> int:
    """Rewrite the outputs of pages. A page with a command that fails stays as it is: return 1."""
    from sweepgrad.tracking.store import Store

    failed = False
    with tempfile.TemporaryDirectory() as template:
        Store(f"sqlite:///{template}/mlflow.db", "template")  # it takes some seconds: once for all pages
        for path in [Path(path).resolve() for path in paths]:
            failed |= not _rewritten(path, Path(template, "mlflow.db"))
    return int(failed)


def _rewritten(path: Path, store: Path) -> bool:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("runs").mkdir()
        shutil.copy(store, "runs")
        prepare(Path(folder))
        try:
            rewrite(path, Path(folder))
        except AssertionError as error:
            print(f"{path.relative_to(ROOT)}: {error}", file=sys.stderr)
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
