"""Find words that a reader would have to learn, and docstrings that do not begin with a verb.

`python -m tests.words` prints how often each stands in the project, `python -m tests.words PATH…` where.
`AVOIDED` pairs what is not written with what is written instead.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

AVOIDED = {
    r"\btwins?\b": "duplicate rows, near-duplicates",
    r"\bopenings?\b": "test-set evaluation",
    r"\b(opens?|opened|reopen\w*) (\w+ )?test rows": "evaluate test rows",
    r"\btest rows (\w+ ){0,3}(opened|closed)\b": "evaluated, sealed",
    r"\bturns? of (the )?split\b": "outer fold",
    r"\bflatter\w*": "optimism, is optimistically biased",
    r"\bcommoner\b": "majority class",
    r"\btaken for (positive|negative)": "predicted positive",
    r"\b(go|goes|went|gone) by (their|its|the) order": "use it for ranking only",
    r"\b(is|are) no (key|keys|option|options|store|group|verb)\b": "unknown key, unknown option",
    r"(?<!tests\.)\bfaults?\b": "error, problem",
    r"\bsay(s|ing)? nothing but\b": "print errors only",
    r"\b(was|were) trained last\b": "the latest sweep",
    r"\btold apart\b|\btells? .{0,20}\bapart\b": "distinguish; not significantly different from",
    r"\b(is|are|was|were|be|been) (not |never |also |all )?told\b": "is reported, is given",
    r"\bnothing to object\b|\bobjections?\b": "no problems found; finding",
    r"\ball but equal\b": "near-duplicate",
    r"\bas right as\b": "no miscalibration detected",
    r"\bbeyond all numbers\b": "diverged (infinite)",
    r"\bput right by\b": "corrected by",
    r"\b(has|have|had) (had )?(no|its|their) say\b": "does not influence",
    r"\banew\b": "again, from scratch",
    r"\bfor ever\b": "forever, without end",
    r"\bat hand\b": "available",
    r"\bto and fro\b|\bthereof\b|\bamid\b|\bupon\b|\bwhosoever\b|\bthereby\b": "plain words",
    r"\bwhoever\b": "anyone who, the caller",
    r"\bnobody\b": "no one; say who does what",
    r"\bmends?\b|\bmended\b|\bmending\b": "fix",
    r"\bjudgements?\b": "result of an evaluation",
    r"\blook(s|ed|ing)? .{1,25} over\b": "check",
    r"\b(come|comes|came) to (nothing|the same|what|this)\b": "result in, equal",
    r"\bin words\b": "as text",
    r"\bhave it that\b|\bhas it that\b|\bas .{1,12} ha(s|ve) it\b": "plain words",
    r"\bthe worse for\b|\bnone the\b|\bwhat becomes of\b|\bwhat became of\b": "plain words",
    r"\bgoes? on (from|with|where|until|to)\b": "continues",
    r"\bwell or not\b|\b0 well\b|\bended well\b|\bend well\b": "success, succeeded",
    r"\bbarred\b": "excluded",
    r"\bforfeits?\b|\bbestow\w*|\bdeems?\b|\bdeemed\b|\bhalts?\b": "plain words",
}
"""Regular expressions of what is avoided, and what is written instead."""

_NO_VERB = frozenset(
    (
        *(
            "What",
            "How",
            "Of",
            "As",
            "That",
            "Whether",
            "Which",
            "Where",
            "The",
            "A",
            "An",
            "All",
            "Each",
            "By",
        ),
        *("For", "In", "One", "Some", "Its", "These", "Those", "With", "Within", "Every", "Many", "Nothing"),
        *("Everything", "Values", "Bytes", "SHA-256", "Zeros", "Columns", "Equal", "About", "Overrides"),
    )
)
"""Words with which the docstring of a function does not begin."""
_QUESTIONS = frozenset(("What", "How", "Of", "As", "That", "Whether", "Which", "Where"))
"""Words with which no docstring begins."""

TEXTS = (
    *(
        "src",
        "conf",
        "docs",
        "benchmarks",
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "data/README.md",
    ),
    *("Makefile", "pyproject.toml"),
)
_OLD = {"src/sweepgrad/config/old_names.py"}  # says what names were
_ENDS = {".py", ".md", ".yaml", ".toml", ""}


def files(roots: tuple[str, ...] = TEXTS) -> Iterator[Path]:
    """Yield the files whose words are looked at."""
    for root in roots:
        place = ROOT / root
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            relative = file.relative_to(ROOT).as_posix()
            if (
                file.is_file()
                and file.suffix in _ENDS
                and "__pycache__" not in file.parts
                and relative not in _OLD
            ):
                yield file


def avoided(file: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the pattern and the line of each word in a file that is avoided."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    prose = _old_names_hidden(text) if file.name == "CHANGELOG.md" else text
    for pattern in AVOIDED:
        for match in re.finditer(pattern.replace(" ", r"\s+(?:#\s+)?"), prose, re.IGNORECASE):
            number = text.count("\n", 0, match.start())
            yield number + 1, pattern, lines[number].strip()


def _old_names_hidden(text: str) -> str:
    """Return a changelog without the names that it quotes in backticks: it tells what old ones are now."""
    return re.sub(r"`[^`]*`", lambda quoted: "".join("\n" if c == "\n" else "_" for c in quoted[0]), text)


def openers(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the line number and first line of each docstring that begins as none should.

    That of a function begins with a verb; that of a module, class or property names what it is.
    """
    if file.suffix != ".py":
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        said = ast.get_docstring(node)
        decorators = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", ())]
        named = isinstance(node, ast.Module | ast.ClassDef) or {"property", "cached_property"} & {*decorators}
        if said and said.split()[0].strip(",:") in (_QUESTIONS if named else _NO_VERB):
            yield getattr(node, "lineno", 1), said.splitlines()[0]


def main(paths: list[str]) -> None:
    """Print counts, or each place in the given files and folders."""
    words, begins, n = Counter[str](), 0, 0
    for file in files(tuple(paths) or TEXTS):
        for number, pattern, line in avoided(file):
            words[pattern] += 1
            if paths:
                print(f"{file.relative_to(ROOT)}:{number}: {line}\n    {pattern}: {AVOIDED[pattern]}")
        for number, line in openers(file):
            begins += 1
            if paths:
                print(f"{file.relative_to(ROOT)}:{number}: begins with no verb: {line}")
        n += 1
    for pattern, count in words.most_common():
        print(f"{count:6d}  {pattern}: {AVOIDED[pattern]}")
    print(f"{begins:6d}  docstrings that begin with no verb")
    print(f"{words.total() + begins:6d}  in {n} files")


if __name__ == "__main__":
    main(sys.argv[1:])
