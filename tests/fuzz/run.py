"""Run fuzz targets for long: `make fuzz`, or `python -m tests.fuzz.run --n 100000 [TARGET …]`.

Each batch of inputs runs in a process of its own, whose memory and processor time are limited. Inputs that
fail are added to the corpus, one of each kind, where `make test` replays them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.fuzz.property import BYTES, Failed, check, keep, target, targets

BATCH = 100  # inputs of a process
ADDRESS_SPACE = 4 * BYTES  # more than memory: libraries reserve what they do not use
NICE = 10


@dataclass
class Report:
    """Add up what the inputs of a target came to.

    Attributes:
        counts: inputs, and those accepted, refused and failed; `configurations` has those within the inputs.
        failed: an input of each kind of failure.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failed: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    worst: bytes = b""
    n_bytes: int = 0

    def merge(self, other: dict[str, Any]) -> None:
        """Add the report of a batch."""
        self.counts.update(other["counts"])
        self.failed |= {kind: bytes.fromhex(data) for kind, data in other["failed"].items()}
        self.n_bytes = max(self.n_bytes, other["n_bytes"])
        if other["seconds"] > self.seconds:
            self.seconds, self.worst = other["seconds"], bytes.fromhex(other["worst"])


def run_batch(name: str, n: int, first_seed: int, current: Path) -> Report:
    """Check a batch of inputs in this process; the input under way is in the file `current`."""
    module, report = target(name), Report()

    @seed(first_seed)
    @settings(
        max_examples=n,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(module.examples())
    def attacked(data: bytes) -> None:
        current.write_bytes(data)
        report.counts["inputs"] += 1
        report.counts["configurations"] += getattr(module, "MANY", 1)
        try:
            result = check(module.attack, data)
        except Failed as failure:
            report.counts["failed"] += 1
            report.failed.setdefault(_kind(failure), data)
            return
        report.counts["refused" if result.refused else "accepted"] += 1
        report.n_bytes = max(report.n_bytes, result.n_bytes)
        if result.seconds > report.seconds:
            report.seconds, report.worst = result.seconds, data

    attacked()
    return report


def run(name: str, n: int, first_seed: int) -> Report:
    """Check n inputs of a target, batch by batch; print what they came to, and keep those that failed."""
    total = Report()
    for number in range(-(-n // BATCH)):
        with tempfile.TemporaryDirectory() as folder:
            current, known = Path(folder, "input"), set(total.failed)
            size = min(BATCH, n - number * BATCH)
            command = [sys.executable, "-m", "tests.fuzz.run", "--batch", str(current)]
            command += ["--n", str(size), "--seed", str(first_seed + number), name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                total.merge(json.loads(done.stdout.splitlines()[-1]))
            else:  # it was killed, or had no memory left
                total.counts["failed"] += 1
                data = current.read_bytes() if current.exists() else b""
                total.failed[f"code {done.returncode}: {done.stderr[-200:]}"] = data
        for kind in total.failed.keys() - known:  # now, since a long run may be ended early
            print(f"{name}: {kind} [{keep(name, total.failed[kind])}]", flush=True)
        print(f"{name}: {_shown(total)}", flush=True)
    return total


def _kind(failure: Failed) -> str:
    """Return the exception and the line where it was raised: failures with the same are one bug."""
    lines = str(failure).splitlines()
    places = [line.strip() for line in lines if line.strip().startswith("File ")]
    return f"{lines[0][:80]} {places[-1] if places else ''}"


def _shown(report: Report) -> str:
    counts = ", ".join(f"{n:,} {what}" for what, n in sorted(report.counts.items()))
    worst = f"worst {report.seconds:.2f} s, {report.n_bytes / 1e6:.0f} MB"
    return f"{counts}; {worst}; {report.worst[:100]!r}"


def main() -> int:
    """Run the command line; the exit code is 1 if an input failed."""
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    arguments.add_argument("--n", type=int, default=1000, help="configurations of all targets together")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--batch", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("targets", nargs="*", choices=[*targets(), []], metavar="TARGET")
    options = arguments.parse_args()
    names = options.targets or targets()
    if options.batch is not None:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        report = run_batch(names[0], options.n, options.seed, options.batch)
        failed = {kind: data.hex() for kind, data in report.failed.items()}
        print(json.dumps({**vars(report), "failed": failed, "worst": report.worst.hex()}))
        return 0
    os.nice(NICE)
    shares = {name: getattr(target(name), "SHARE", 1) for name in names}
    reports = {}
    for name, share in shares.items():
        n = options.n * share // sum(shares.values()) // getattr(target(name), "MANY", 1)
        reports[name] = run(name, max(1, n), options.seed)
    for name, report in reports.items():
        print(f"{name}: {_shown(report)}")
    n_failed = sum(report.counts["failed"] for report in reports.values())
    n = sum(report.counts["configurations"] for report in reports.values())
    print(f"{n:,} in all, {n_failed:,} failed")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
