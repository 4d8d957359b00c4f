"""Test the tests: run them on mutants of a module, each in a process of its own.

    python -m tests.mutation.campaign [GROUP ...] [--processes N] [--again]

First the unchanged module is tested, and each line that a test reaches is noted. A mutant is then tested by
the tests that reach its line, the fastest first, until one fails; by all of them where only the import reads
it. Results are kept in `build/mutation/`: an interrupted campaign continues, and a mutant that survived is
tested again when the tests have changed. `docs/mutation.md` is written at the end.

mutmut and Cosmic Ray were considered. mutmut changes functions only, not the constants of a module, in a copy
of the project, where the engine is compiled again; Cosmic Ray changes the file itself, which other processes
read. Neither draws a seeded sample for each module, leaves out text for the user, or takes the tests by name.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tests.mutation import hook, report
from tests.mutation.modules import GROUPS, SAMPLE, Group
from tests.mutation.mutator import Mutant, mutants, sample
from tests.mutation.processes import BUILD, ROOT, SOURCE, STORE, Observer, forked, killer, run


@dataclass(frozen=True)
class Baseline:
    """Times and lines of the tests of a group while nothing is changed.

    Attributes:
        seconds: how long each test took.
        lines: the lines of each module that a test reached.
        imported: modules of other packages, imported once before the processes are forked.
    """

    seconds: dict[str, float]
    lines: dict[str, dict[str, list[int]]]
    imported: list[str]

    @property
    def limit(self) -> float:
        """Seconds that a test may take; the first one also makes the fixtures that it shares with others."""
        return 15 + 4 * max(self.seconds.values())

    def tests(self, module: str, line: int) -> list[str]:
        """Return the tests that reach a line, the fastest first; all where none does."""
        reaching = [test for test, lines in self.lines.items() if line in lines.get(module, ())]
        return sorted(reaching or self.seconds, key=lambda test: self.seconds[test])


def _baseline(group: Group) -> Baseline:
    """Return the baseline of a group, from the build folder where the same source and tests were run."""
    source, tests = _digests(group)
    kept = BUILD / f"{group.name}.{source}.{tests}.json"
    folder = BUILD / group.name / "baseline"

    def work() -> int:
        observer = Observer(folder)
        for module in group.modules:
            observer.observe(module)
        code = run([f"tests/{test}" for test in group.tests], observer)
        lines = {
            test: {module: sorted(some) for module, some in reached.items()}
            for test, reached in observer.lines.items()
        }
        imported = [name for name in sys.modules if name.partition(".")[0] not in hook.OURS]
        kept.write_text(json.dumps(asdict(Baseline(observer.seconds, lines, imported))))
        return code

    if not kept.exists():
        _, status = os.waitpid(forked(work, folder), 0)
        if status:
            kept.unlink(missing_ok=True)
            sys.exit(f"the tests of {group.name} fail without a mutant: see {folder / 'output.txt'}")
        for made in (folder / "temp").glob("template*/mlflow.db"):
            shutil.copy(made, STORE)
        shutil.rmtree(folder)
    return Baseline(**json.loads(kept.read_text()))


def _digests(group: Group) -> tuple[str, str]:
    """Return digests of the modules and of the tests of a group."""
    paths = [ROOT / "tests" / test for test in group.tests]
    tests = [file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    of_source, of_tests = (
        hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
        for files in ([SOURCE / module for module in group.modules], tests)
    )
    return of_source, of_tests


def _results(group: Group) -> Path:
    return BUILD / f"{group.name}.results.json"


def chosen(group: Group) -> dict[str, tuple[str, int, Mutant]]:
    """Return the sample of a group: for each key the module, the mutant's number in it, and the mutant."""
    found = {
        f"{module} {mutant.key}": (module, number, mutant)
        for module in group.modules
        for number, mutant in enumerate(mutants((SOURCE / module).read_text("utf-8")))
    }
    return {key: found[key] for key in sample(list(found), SAMPLE)}


def _run(group: Group, processes: int, again: bool) -> None:
    """Test the mutants of a group that have no result yet, and write each result as it comes."""
    results = _results(group)
    known = json.loads(results.read_text("utf-8")) if results.exists() else {}
    (source, tests_now), sampled = _digests(group), chosen(group)
    known = {key: result for key, result in known.items() if key in sampled and result["source"] == source}
    waiting = [
        key
        for key in sampled
        if again or key not in known or (not known[key]["by"] and known[key]["tests"] != tests_now)
    ]
    if waiting:
        baseline = _baseline(group)
        for name in baseline.imported:
            with contextlib.suppress(Exception):  # optional parts of other packages
                importlib.import_module(name)
        _check_fork(group, baseline)
    running: dict[int, tuple[str, Path]] = {}
    while waiting or running:
        while waiting and len(running) < processes:
            key = waiting.pop(0)
            module, number, mutant = sampled[key]
            folder = BUILD / group.name / str(number)
            observer = Observer(folder, limit=baseline.limit)
            tests = baseline.tests(module, mutant.line)
            running[forked(partial(_test, module, number, tests, observer), folder)] = (key, folder)
        time.sleep(0.05)
        for pid, (key, folder) in list(running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # what its tests started and left
            del running[pid]
            by = killer(folder) if status else ""
            known[key] = {"by": by, "source": source, "tests": tests_now}
            shutil.rmtree(folder)
            results.write_text(json.dumps(known, indent=1, ensure_ascii=False), "utf-8")
            print(f"{group.name} {len(known)}/{len(sampled)} {key}: {by or 'SURVIVED'}", flush=True)


def _check_fork(group: Group, baseline: Baseline) -> None:
    """Stop unless a test succeeds in a forked process without a mutant: else all would seem killed."""
    folder = BUILD / group.name / "unchanged"
    test = min(baseline.seconds, key=lambda name: baseline.seconds[name])
    pid = forked(partial(run, [test], Observer(folder, limit=baseline.limit)), folder)
    if os.waitpid(pid, 0)[1]:
        sys.exit(f"a test of {group.name} fails without a mutant: see {folder / 'output.txt'}")


def _test(module: str, number: int, tests: Sequence[str], observer: Observer) -> int:
    hook.install(hook.module_name(module), number)
    return run(tests, observer)


def main() -> None:
    """Run the campaign and write its page."""
    parser = argparse.ArgumentParser(description="Run the tests on mutants of the modules.")
    names = [group.name for group in GROUPS]
    parser.add_argument("groups", nargs="*", choices=[*names, []], help="all without one")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="test mutants that have a result as well")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    BUILD.mkdir(parents=True, exist_ok=True)
    for group in GROUPS:
        if not arguments.groups or group.name in arguments.groups:
            _run(group, arguments.processes, arguments.again)
    reasons = report.reasons()
    found = {
        group.name: report.outcomes(
            chosen(group), json.loads(_results(group).read_text("utf-8")), reasons.get(group.name, {})
        )
        for group in GROUPS
        if _results(group).exists()
    }
    report.write(found, {group.name: group.modules for group in GROUPS}, SAMPLE)


if __name__ == "__main__":
    main()
