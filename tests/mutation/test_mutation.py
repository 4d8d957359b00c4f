"""The mutator makes what it says, and what the campaign names exists."""

import ast
import subprocess
import sys
from typing import Any

import pytest
from tests.mutation import campaign, report
from tests.mutation.campaign import Baseline
from tests.mutation.modules import GROUPS, SAMPLE
from tests.mutation.mutator import PROBE, mutants, mutated, probed, sample
from tests.mutation.processes import ROOT, SOURCE, python_path


def changed(source: str) -> list[str]:
    """Return each mutant of a source as source, without the mutated `return None` and dropped statements."""
    return [ast.unparse(mutated(source, mutant)) for mutant in mutants(source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a <= b", "a >= b"]),
        ("a >= b", ["a > b", "a < b"]),
        ("a == b", ["a != b"]),
        ("a is None", ["a is not None"]),
        ("a not in b", ["a in b"]),
        ("a + b", ["a - b"]),
        ("a // b", ["a * b"]),
        ("a and b", ["a or b", "b", "a"]),
        ("not a", ["a"]),
        ("-a", ["a"]),
        ("3", ["4", "2"]),
        ("0.5", ["1.5", "-0.5"]),
        ("1e200", []),
        ("True", ["False"]),
        ("min(a, b)", ["max(a, b)"]),
        ("np.argmin(a)", ["np.argmax(a)"]),
        ("f(side='left')", ["f(side='right')"]),
        ("f(a, b, c)", ["f(b, a, c)", "f(a, c, b)"]),
        ("f(a, *b)", []),
        ("f(a, a)", []),
        ("a[b:c]", ["a[b + 1:c]", "a[b:c + 1]"]),
        ("a[b]", []),
        ("a if b else c", ["a if not b else c"]),
        ("[a for a in b if a]", ["[a for a in b]"]),
    ],
)
def test_the_mutants_of_an_expression(source, expected):
    assert changed(f"x = {source}") == [f"x = {after}" for after in expected]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    return a", ["def f():\n    return None"]),
        ("def f():\n    return None", []),
        ("if a:\n    b", ["if not a:\n    b"]),
        ("a += b", ["pass"]),
        ("a.b = c", ["pass"]),
        ("a[b] = c", ["pass"]),
        ("a = b", []),
        ("f(a)", ["pass"]),
        ("while True:\n    break", ["while False:\n    break", "while True:\n    pass"]),
        ("raise ValueError(a + 1)", ["pass"]),
    ],
)
def test_the_mutants_of_a_statement(source, expected):
    assert changed(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring with 3 + 4."""',
        "x: int | None",
        "@dataclass(frozen=True)\nclass A:\n    b: Literal[3]",
        "def f(a: Annotated[int, 3]) -> Annotated[int, 3]:\n    pass",
        "log.info(f'{a + 1} of {b}')",
        "progress('reading')",
        "x = f'{a - 1}'",
        "assert a is not None",
        "__all__ = ['a' + 'b']",
        "Rule = Callable[[int], int | None]",
        "if TYPE_CHECKING:\n    import a",
        "zip(a, strict=True)",
    ],
)
def test_what_only_a_reader_would_notice_is_not_mutated(source):
    assert [text for text in changed(source) if text != "pass"] == []


def test_a_mutant_is_known_by_its_scope_and_text():
    source = "class A:\n    def f(self):\n        x = 1 + a\n        y = 1\n"
    found = mutants(source)
    assert [one.key for one in found] == [
        *("A.f: 1 + a → 1 - a", "A.f: 1 → 2", "A.f: 1 → 0"),
        *("A.f: 1 → 2 (2)", "A.f: 1 → 0 (2)"),
    ]
    assert [one.line for one in found] == [3, 3, 3, 4, 4]
    assert [one.key for one in mutants(f"import b\n\n{source}")] == [one.key for one in found]


def test_the_sample_keeps_its_mutants_when_others_come_and_go():
    keys = [f"{number}" for number in range(300)]
    chosen = sample(keys, 60)
    assert len(set(chosen)) == 60
    assert sample(keys[::-1], 60) == chosen
    # One more key replaces one at most.
    assert len(set(sample([*keys, "another"], 60)) - set(chosen)) <= 1
    assert set(sample(keys, 60, seed=1)) != set(chosen)


def test_each_group_names_modules_and_tests_that_exist_and_enough_mutants():
    assert len({group.name for group in GROUPS}) == len(GROUPS)
    for group in GROUPS:
        assert all((SOURCE / module).is_file() for module in group.modules)
        assert all((ROOT / "tests" / test).exists() for test in group.tests)
        assert len(campaign.chosen(group)) == SAMPLE, group.name


def test_every_reason_is_for_a_mutant_that_is_made():
    chosen = {group.name: campaign.chosen(group) for group in GROUPS}
    gone = [key for group, some in report.reasons().items() for key in some if key not in chosen[group]]
    assert not gone, "remove them from survivors.json"


def test_the_fastest_tests_that_reach_a_line_come_first():
    seconds = {"a": 3.0, "b": 1.0, "c": 2.0}
    baseline = Baseline(seconds, {"a": {"m.py": [1, 2]}, "b": {"n.py": [1]}, "c": {"m.py": [2]}}, [])
    assert baseline.tests("m.py", 2) == ["c", "a"]
    assert baseline.tests("m.py", 3) == ["b", "c", "a"]  # no test reaches it: the import does


def test_each_statement_of_a_function_reports_its_lines_before_it_runs():
    source = """
def f(a):
    "Return a number."
    b = (a
         + 1)
    if b > 2:
        b = 0
    else:
        b = 1
    return b
"""
    seen: list[tuple[int, int]] = []
    names: dict[str, Any] = {PROBE: lambda first, last: seen.append((first, last))}
    exec(compile(probed(source), "f.py", "exec"), names)  # noqa: S102 - the source above
    assert (names["f"](1), names["f"].__doc__) == (1, "Return a number.")
    assert seen == [(4, 5), (6, 6), (9, 9), (10, 10)]


def test_a_process_imports_the_mutant_and_so_do_those_it_starts():
    """Run the real hook: `times(1)` of the mutant says otherwise, and the file is as it was."""
    (number,) = [
        number
        for number, mutant in enumerate(mutants((SOURCE / "runs" / "ledger.py").read_text("utf-8")))
        if mutant.key == "times: n == 1 → n != 1"
    ]
    show = "from sweepgrad.runs.ledger import times; print(times(1))"
    again = f"subprocess.run([sys.executable, '-c', {show!r}])"
    start = f"import subprocess, sys; {show}; sys.stdout.flush(); {again}"
    hooked = {"PYTHONPATH": python_path(), "SWEEPGRAD_MUTANT": f"sweepgrad.runs.ledger {number}"}
    for environment, expected in ((hooked, "1 times"), ({}, "once")):
        done = subprocess.run(
            [sys.executable, "-c", start], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split("\n") == [expected, expected, ""]


def test_the_page_counts_the_killed_and_lists_the_others():
    found = {
        "one": [
            report.Outcome("a.py", 3, "f: 1 → 2", killed_by="tests/test_a.py::test_f"),
            report.Outcome("a.py", 4, "f: a < b → a <= b", survived="they are never equal"),
        ],
        "two": [],
    }
    page = report.page(found, {"one": ["a.py"], "two": ["b.py"]}, 2)
    assert "| one | `a.py` | 2 | 1 | 50% |" in page
    assert "| two | `b.py` | 0 | 0 | not run |" in page
    assert "- `a.py`, line 4, `f: a < b → a <= b`: they are never equal" in page
