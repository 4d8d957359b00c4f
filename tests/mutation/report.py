"""Write the results of a campaign: the page `docs/mutation.md`, and every mutant in `results.json`.

Why a mutant may survive is kept in `survivors.json`, by hand: for each group, the mutant and the reason.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutation.mutator import Mutant

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parents[1] / "docs" / "mutation.md"
_INTRODUCTION = """\
# Mutation testing

Do the tests notice when the code is wrong? `make mutate` makes small changes to the modules that decisions
rest on, one at a time, and runs their fast tests: `<` becomes `<=`, a number is one more or less, a condition
is negated, a statement is left out, arguments are swapped. Such a *mutant* is killed when a test fails, or
when the tests do not end in time.

In each group of modules {sample} mutants are chosen by a digest of their text, so that an edit elsewhere does
not change the choice. Docstrings, annotations, messages and log lines are not changed. `make mutate`
continues an interrupted campaign; with `ARGS="split --again"` it tests the mutants of one group again.
Each mutant, with the test that killed it, is in `tests/mutation/results.json`.

| group | modules | mutants | killed | share |
| --- | --- | ---: | ---: | ---: |
"""
_SURVIVORS = """
## Survivors

Most are *equivalent*: no input shows a difference. A mutant without a reason needs a test, or a reason in
`tests/mutation/survivors.json`.
"""


@dataclass(frozen=True)
class Outcome:
    """Result of one mutant.

    Attributes:
        killed_by: the test that failed; empty if none did.
        survived: the reason why none did, if it is known.
    """

    module: str
    line: int
    mutant: str
    killed_by: str = ""
    survived: str = ""


def outcomes(
    chosen: Mapping[str, tuple[str, int, Mutant]],
    results: Mapping[str, Mapping[str, str]],
    reasons: Mapping[str, str],
) -> list[Outcome]:
    """Return the outcome of each mutant that has a result, in the order of the sources."""
    found = [
        Outcome(module, mutant.line, mutant.key, killed_by=by)
        if (by := results[key]["by"])
        else Outcome(module, mutant.line, mutant.key, survived=reasons.get(key, ""))
        for key, (module, _, mutant) in chosen.items()
        if key in results
    ]
    return sorted(found, key=lambda outcome: (outcome.module, outcome.line, outcome.mutant))


def reasons() -> dict[str, dict[str, str]]:
    """Return for each group its survivors and why each survives."""
    read: dict[str, dict[str, str]] = json.loads((HERE / "survivors.json").read_text("utf-8"))
    return read


def write(found: Mapping[str, Sequence[Outcome]], modules: Mapping[str, Sequence[str]], sample: int) -> None:
    """Write the page and the list; groups that were not tested keep their earlier results."""
    earlier = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    listed = {
        group: list(found.get(group) or [Outcome(**one) for one in earlier.get(group, ())])
        for group in modules
    }
    as_json = {group: [asdict(one) for one in some] for group, some in listed.items() if some}
    RESULTS.write_text(json.dumps(as_json, indent=1, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text(page(listed, modules, sample), "utf-8")


def page(found: Mapping[str, Sequence[Outcome]], modules: Mapping[str, Sequence[str]], sample: int) -> str:
    """Return the page in Markdown."""
    lines = [_INTRODUCTION.format(sample=sample).rstrip("\n")]
    for group, some in found.items():
        killed = sum(bool(one.killed_by) for one in some)
        share = f"{killed / len(some):.0%}" if some else "not run"
        names = ", ".join(f"`{module}`" for module in modules[group])
        lines.append(f"| {group} | {names} | {len(some)} | {killed} | {share} |")
    lines += _SURVIVORS.splitlines()
    for group, some in found.items():
        survivors = [one for one in some if not one.killed_by]
        if survivors:
            lines += ["", f"### {group}", ""]
            lines += [
                f"- `{one.module}`, line {one.line}, `{_in_code(one.mutant)}`:"
                f" {one.survived or 'no reason given'}"
                for one in survivors
            ]
    return "\n".join(lines) + "\n"


def _in_code(text: str) -> str:
    short = text if len(text) <= 160 else f"{text[:159]}…"
    return short.replace("`", "'")
