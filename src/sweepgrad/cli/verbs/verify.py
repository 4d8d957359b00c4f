"""`sweepgrad verify`."""

import argparse
import logging
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sweepgrad.cli.verbs.stores import RUNS, add_store, store_of
from sweepgrad.messages import show, show_json

if TYPE_CHECKING:
    from sweepgrad.verify.verify import Verdict

log = logging.getLogger(__name__)

HELP = "Train runs again and compare the results bit for bit."
DESCRIPTION = """\
Train runs again from their records, and compare the metrics of every epoch and the weights with MLflow and
with the run folders, bit for bit. If this machine may round differently, its differences are listed and the
results are compared with a tolerance.
Exit code: 0 all equal, 1 a run differs, 2 a run cannot be compared, for example because the table changed."""
EXAMPLES = """\
examples:
  sweepgrad verify SWEEP
  sweepgrad verify 3f2a runs/single/FOLDER"""

_LINE_SECONDS = 2.0


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="MLflow id of a run or its beginning, name of a sweep (all its finished runs), or run folder",
    )
    verb.add_argument("--json", action="store_true", help="print JSON")
    add_store(verb)


def run(options: argparse.Namespace) -> int:
    import json
    import tempfile
    from functools import cache
    from pathlib import Path

    from sweepgrad.sweeps.threads import cores
    from sweepgrad.verify.sources import Kept, find
    from sweepgrad.verify.verify import Verdict, check_rows, verify

    store = cache(lambda: store_of(options))
    with tempfile.TemporaryDirectory(prefix="sweepgrad-fetched-") as scratch:
        found: dict[str, Kept] = {}
        for name in options.runs:
            found |= {kept.id: kept for kept in find(name, store, RUNS, Path(scratch))}
        kept = list(found.values())
        check_rows(kept)
        verdicts: list[Verdict] = []
        logged = time.monotonic()
        for event in verify(kept, cores()):
            if isinstance(event, Verdict):
                verdicts.append(event)
            if time.monotonic() - logged > _LINE_SECONDS:
                logged = time.monotonic()
                current = "" if isinstance(event, Verdict) else f", {event.job.name} at epoch {event.epoch}"
                log.info(f"{len(verdicts)} of {len(kept)} trained again{current}")
    order = {run.id: place for place, run in enumerate(kept)}
    verdicts.sort(key=lambda verdict: order[verdict.run.id])
    if options.json:
        show_json(json.dumps(_summary(verdicts), indent=1))
    else:
        show("\n".join(_lines(verdicts)))
    return 1 if any(verdict.kind == "differs" for verdict in verdicts) else 0


def _summary(verdicts: "list[Verdict]") -> dict[str, object]:
    return {
        "runs": [verdict.to_json() for verdict in verdicts],
        "bit_equal": sum(verdict.kind == "bit-equal" for verdict in verdicts),
        "equal_to_rounding": sum(verdict.kind == "equal to rounding" for verdict in verdicts),
        "differ": sum(verdict.kind == "differs" for verdict in verdicts),
    }


def _lines(verdicts: "list[Verdict]") -> Iterator[str]:
    """Yield the report: differences of the environment, runs that are not bit-equal, and counts."""
    for environment in dict.fromkeys(verdict.environment for verdict in verdicts if verdict.environment):
        yield "trained in another environment, in which numbers may be rounded differently:"
        yield from (f"  {difference}" for difference in environment)
    for verdict in verdicts:
        if verdict.kind != "bit-equal" or len(verdicts) == 1:
            epochs = "1 epoch" if verdict.epochs == 1 else f"{verdict.epochs} epochs"
            yield f"{verdict.run.name} ({verdict.run.id}), {epochs}: {verdict.kind}"
            yield from (f"  {finding}" for finding in verdict.findings)
    counts = Counter(verdict.kind for verdict in verdicts)
    parts = [f"{counts['bit-equal']} of {len(verdicts)} bit-equal"]
    parts += [f"{rounded} equal to rounding"] if (rounded := counts["equal to rounding"]) else []
    parts += (
        [f"{counts['differs']} differ{'s' if counts['differs'] == 1 else ''}"] if counts["differs"] else []
    )
    despite = counts["bit-equal"] and any(v.environment and v.kind == "bit-equal" for v in verdicts)
    yield ", ".join(parts) + (", despite the differences above" if despite else "")
