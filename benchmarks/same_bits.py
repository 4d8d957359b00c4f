"""Check that retraining gives the same bits with any launcher: `python -m benchmarks.same_bits`.

It trains sweeps over launchers (threads, dask, basic), engines, dtypes, optimizers, schedules, dropout,
patience and halving, and single runs, one of them continued, in a temporary folder with its own store. Then
`sweepgrad verify` retrains all of them in one process, on threads. After some minutes it prints `N of N
bit-equal`.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.commands import Failed, environment

SMALL = ("data=simulated", "data.rows=500", "train.epochs=8", "model=deep")
SWEEPS: tuple[tuple[str, ...], ...] = (
    # 4 optimizers, 4 schedules, with and without dropout
    (
        "optimizer=sgd,momentum,adagrad,adam",
        "schedule=constant,inverse_root,cosine",
        "model.dropout=0,0.3",
    ),
    ("optimizer=sgd,adam", "schedule=staircase", "schedule.every=3", "model.dropout=0,0.3"),
    # the same in float32 and on workers of Dask
    ("hydra/launcher=dask", "engine.dtype=float32", "optimizer=sgd,momentum,adagrad,adam", "seed=1,2"),
    ("hydra/launcher=dask", "data=spotify", "train.epochs=3", "seed=1,2", "split.fold=0,1"),
    # one after another; the NumPy engine, which uses BLAS for wide networks
    ("hydra/launcher=basic", "engine.name=numpy", "engine.dtype=float64,float32", "model.dropout=0,0.3"),
    ("engine.name=numpy,native", "model.hidden=[256,256]", "train.batch_size=256", "seed=1,2"),
    # stopped early
    ("train.epochs=60", "train.patience=2", "train.clip=1", "train.weight_decay=0.01", "seed=1,2,3,4"),
    ("sweep.halving={first: 2, factor: 2}", "optimizer.lr=0.001,0.003,0.01,0.03", "seed=5"),
    # reused from the first
    ("optimizer=sgd,adam", "schedule=constant,cosine", "model.dropout=0.3"),
)


def sweepgrad(folder: Path, *arguments: str) -> str:
    """Run a command and return what it prints.

    Raises:
        Failed: its exit code is not 0 (for `verify`, 0 or 1).
    """
    command = [str(Path(sys.executable).with_name("sweepgrad")), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode not in ((0, 1) if arguments[0] == "verify" else (0,)):
        raise Failed(f"sweepgrad {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def trained(folder: Path) -> list[str]:
    """Train everything; return the names of the sweeps and of the single runs."""
    for overrides in SWEEPS:
        given = {override.partition("=")[0] for override in overrides}
        given |= {"data.rows"} if "data" in given else set()
        base = [override for override in SMALL if override.partition("=")[0] not in given]
        sweepgrad(folder, "train", "-q", "--multirun", *base, *overrides)
        print(".", end="", flush=True)
    sweepgrad(
        folder, "train", "-q", "data=simulated", "train.epochs=4", "optimizer=adam", "model.dropout=0.2"
    )
    (single,) = (folder / "runs" / "single").iterdir()
    sweepgrad(folder, "continue", "-q", str(single), "train.epochs=9")
    print()
    return [path.name for place in ("sweeps", "single") for path in (folder / "runs" / place).iterdir()]


def main(arguments: Sequence[str] | None = None) -> int:
    if arguments or sys.argv[1:]:
        print(__doc__)
        return 2
    try:
        with tempfile.TemporaryDirectory() as name:
            printed = sweepgrad(Path(name), "verify", *trained(Path(name)))
    except Failed as error:
        print(error)
        return 1
    print(printed, end="")
    equal, _, total, *_ = printed.splitlines()[-1].split()
    return 0 if equal == total else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nstopped")
        sys.exit(130)
