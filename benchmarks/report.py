"""The tables of a benchmark run: measurements and goals."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import workloads as w
from benchmarks.peers import task

Records = list[dict[str, Any]]
BOTH = ("float64", "float32")

HOW = """\
Microseconds per model and step; lower is better. Two numbers are float64 / float32. One core.
Task: 3,840 rows of 14 features, ReLU and dropout 0.5 after each hidden layer, plain SGD, fixed seeds.
"""

PEERS = """\
- **ours, native**: a recorded tape, replayed by compiled code; **ours, NumPy**: the same tape, replayed by
  NumPy.
- **eager Value**: sweepgrad's `Value`s without a tape, float64.
- **scalar Value**: automatic differentiation of single numbers in pure Python, as in a course.
- **PyTorch eager**: module, loss and optimizer, or gradients and one update call, whichever is
  faster; float32.
- **PyTorch compiled**: the whole step as one function under `torch.compile`, with a C++ wrapper and a hash
  for dropout; the smallest networks with 8 steps a call. Compiling only the module is slower than eager.
- **JAX scan**: a whole epoch under `jit` and `lax.scan`, `jax.random.bernoulli` for dropout, as documented.
  **Tuned**: the same with a hash for dropout and the loop unrolled where that helps.
- **scikit-learn**: `MLPClassifier.partial_fit`, float64; it has no dropout, so its step does less.
"""


def number(x: float) -> str:
    """Format a number with three significant digits and commas for thousands."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}" if x < 1 else f"{x:.{2 if x < 10 else 1}f}"


def formatted(value: float, work: str) -> str:
    """Format a value in a suitable unit."""
    if work == w.RATE:
        return f"{value / 1e9:.1f} GFLOP/s"
    if work == w.SHAPES:
        return f"{number(value)} s"
    if work == w.FIRST_STEP:
        return f"{number(value * 1e3)} ms"
    return f"{number(value * 1e6)} µs"


def best(
    records: Records,
    peers: Iterable[str],
    work: str,
    hidden: tuple[int, ...] = (),
    batch: int = 0,
    dtypes: Iterable[str] = ("",),
    cores: int = 1,
) -> float | None:
    """Return the lowest value of these libraries for this work; None if none was measured."""
    peers, dtypes = list(peers), list(dtypes)
    values = [
        r["value"]
        for r in records
        if r["value"] is not None
        and r["peer"] in peers
        and r["dtype"] in dtypes
        and (r["work"], tuple(r["hidden"]), r["batch"], r["cores"]) == (work, hidden, batch, cores)
    ]
    return min(values, default=None)


def useful_flops(hidden: tuple[int, ...], batch: int) -> int:
    """Return the operations of a step's matrix products, two per multiply-add.

    These are the products of the forward pass, of the gradients of the weights, and of the gradients of the
    inputs, except for the first layer.
    """
    widths = (task.FEATURES, *hidden, 1)
    products = [batch * inputs * outputs for inputs, outputs in pairwise(widths)]
    return 2 * (3 * sum(products) - products[0])


def aims(records: Records) -> list[dict[str, Any]]:
    """Return the work, the goal, the measured ratio and whether the goal is met, for each goal.

    The last two are None if it was not measured.
    """
    rows: list[dict[str, Any]] = []

    def add(work: str, against: str, aim: str, target: float, ratio: float | None, shown: str) -> None:
        met = None if ratio is None else ratio >= target
        rows.append(
            {
                "work": work,
                "against": against,
                "aim": aim,
                "ratio": ratio,
                "shown": shown if ratio is not None else "not measured",
                "met": met,
            }
        )

    def faster(
        work: str, against: str, target: float, ours: float | None, peer: float | None, unit_of: str = w.STEP
    ) -> None:
        ratio = peer / ours if ours and peer else None
        shown = (
            f"{number(ratio)} × ({formatted(ours, unit_of)}, {formatted(peer, unit_of)})"
            if ours and peer and ratio
            else ""
        )
        add(work, against, f"{target:,g} × faster", target, ratio, shown)

    def steps(
        hidden: tuple[int, ...], batch: int, dtypes: tuple[str, ...], targets: list[tuple[str, str, float]]
    ) -> None:
        work = f"{w.network(hidden)}, batch {batch}" + (", float32" if dtypes == ("float32",) else "")
        ours = best(records, [w.OURS_NATIVE], w.STEP, hidden, batch, dtypes)
        for peer, name, target in targets:
            faster(work, name, target, ours, best(records, [peer], w.STEP, hidden, batch, dtypes))

    def jax(target: float) -> list[tuple[str, str, float]]:
        return [(w.JAX_TUNED, "JAX scan, tuned", target), (w.JAX, "JAX scan, as documented", target)]

    scalar = (w.SCALAR, "scalar `Value`", 3000)
    steps((8, 4), 1, BOTH, [*jax(12), (w.PYTORCH, "PyTorch eager", 500), scalar])
    steps((8, 4), 32, BOTH, [*jax(12), (w.PYTORCH, "PyTorch eager", 120)])
    steps((64, 64), 32, ("float32",), jax(3))
    steps((256, 256), 256, ("float32",), jax(1.2))

    rate = best(records, [w.MACHINE], w.RATE)
    ours = best(records, [w.OURS_NATIVE], w.STEP, (256, 256), 256, ("float32",))
    share = useful_flops((256, 256), 256) / ours / rate if ours and rate else None
    shown = f"{share:.0%} of {formatted(rate, w.RATE)}" if share and rate else ""
    work = f"{w.network((256, 256))}, batch 256, float32"
    add(work, "the machine's sgemm, one core", "85 % of its rate", 0.85, share, shown)

    def many(work: str, peers: list[str], cores: int = 2) -> float | None:
        return best(records, peers, work, cores=cores)

    native = [w.OURS_NATIVE]
    population = many(w.POPULATION, native)
    faster(
        "64 models of 14-8-4-1, batch 1, both cores",
        "JAX vmap",
        2,
        population,
        many(w.POPULATION, [w.JAX_VMAP]),
    )
    shapes = many(w.SHAPES, native)
    work = "64 models of 64 shapes, 25 epochs, batch 32, both cores, from the call"
    for against, peer in (
        ("JAX, each shape compiled", w.JAX_EACH),
        ("the same, compiled quickly", w.JAX_EACH_QUICK),
        ("JAX, padded to one shape a depth", w.JAX_PADDED),
    ):
        faster(work, against, 30, shapes, many(w.SHAPES, [peer]), w.SHAPES)
    first = best(records, native, w.FIRST_STEP)
    others = [
        f"{name} {formatted(value, w.FIRST_STEP)}"
        for name, peer in (("PyTorch eager", w.PYTORCH), ("JAX", w.JAX))
        if (value := best(records, [peer], w.FIRST_STEP))
    ]
    shown = "; ".join([formatted(first, w.FIRST_STEP), *others]) if first else ""
    add(
        "first step of a new architecture",
        "",
        "under 20 ms",
        1,
        0.020 / first if first else None,
        shown,
    )
    faster(
        "64 models of 64 shapes, 25 epochs, batch 32",
        "ours on one core",
        1.8,
        shapes,
        many(w.SHAPES, native, 1),
        w.SHAPES,
    )
    return rows


def steps_table(records: Records) -> str:
    lines = [f"| network, batch | {' | '.join(w.PEERS)} |", "| --- |" + " ---: |" * len(w.PEERS)]
    for hidden, batch in w.TABLE:
        cells = []
        for peer in w.PEERS:
            values = [best(records, [peer], w.STEP, hidden, batch, [dtype]) for dtype in BOTH]
            cells.append(" / ".join(number(v * 1e6) for v in values if v is not None))
        lines.append(f"| {w.network(hidden)}, batch {batch} | {' | '.join(cells)} |")
    return "\n".join(lines)


def aims_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| work | compared with | goal | measured (ours, theirs) | met? |",
        "| --- | --- | --- | --- | --- |",
    ]
    words = {True: "yes", False: "no", None: "—"}
    lines += [
        f"| {r['work']} | {r['against']} | {r['aim']} | {r['shown']} | {words[r['met']]} |" for r in rows
    ]
    return "\n".join(lines)


def absent(records: Records) -> str:
    """List what was not measured, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for r in records:
        if r["why_not"]:
            reasons.setdefault((r["peer"], r["why_not"]), []).append(r["work"])
    return "\n".join(
        f"- {peer}: {why} ({len(works)} measurement{'s' if len(works) > 1 else ''})"
        for (peer, why), works in reasons.items()
    )


def page(results: dict[str, Any], pictures: list[Path]) -> str:
    """Return the text of benchmarks.md."""
    records = results["measurements"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    not_measured = absent(records)
    flops = useful_flops((256, 256), 256)
    parts = [
        "# Benchmarks",
        "Times of a training step, compared with other libraries. Written by `make bench`; do not edit.",
        f"{results['date']}, {results['processor']}, {results['cores']} cores, {results['system']}; "
        f"Python {results['python']}, {versions}.",
        "## Time per step",
        HOW + "\n" + steps_table(records),
        "## Goals",
        "A ratio is their time divided by ours, each in its faster precision unless one is named.\n"
        f"The largest step has {flops / 1e6:.0f} million useful operations: the matrix products of the\n"
        "forward pass, of the gradients of the weights, and of the gradients of the inputs of all layers\n"
        "but the first.\n\n" + aims_table(results["aims"]),
        "## What is compared",
        PEERS + (f"\nNot measured:\n\n{not_measured}\n" if not_measured else ""),
        "## Reproduce it",
        "    make peers    # install PyTorch and JAX, once\n"
        "    make bench    # half an hour or more; run nothing else on the machine",
        "## Pictures",
        *[f"![{picture.stem.replace('_', ' ')}]({picture.as_posix()})" for picture in pictures],
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
