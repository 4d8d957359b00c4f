"""Whether runs give the same bits again, wherever they were trained: `python -m benchmarks.same_bits`.

Trains sweeps over launchers (threads, dask, basic), engines, dtypes, optimizers, schedules, dropout, patience
and halving, and runs on their own, one of them continued, in a temporary folder with a store of its own. Then
`sweepgrad verify` trains every one again, all in one process and on threads. It prints `N of N bit-equal`,
after some minutes.
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
    # one after another; NumPy's engine, in which wide networks are multiplied by BLAS
    ("hydra/launcher=basic", "engine.name=numpy", "engine.dtype=float64,float32", "model.dropout=0,0.3"),
    ("engine.name=numpy,native", "model.hidden=[256,256]", "train.batch_size=256", "seed=1,2"),
    # ended early
    ("train.epochs=60", "train.patience=2", "train.clip=1", "train.weight_decay=0.01", "seed=1,2,3,4"),
    ("sweep.halving={first: 2, factor: 2}", "optimizer.lr=0.001,0.003,0.01,0.03", "seed=5"),
    # taken over from the first
    ("optimizer=sgd,adam", "schedule=constant,cosine", "model.dropout=0.3"),
)


def sweepgrad(folder: Path, *words: str) -> str:
    """What a command prints.

    Raises:
        Failed: it ended with another code than 0 or, of `verify`, 1.
    """
    command = [str(Path(sys.executable).with_name("sweepgrad")), *words]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode not in ((0, 1) if words[0] == "verify" else (0,)):
        raise Failed(f"sweepgrad {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def trained(folder: Path) -> list[str]:
    """Train everything; the names of the sweeps and of the runs on their own."""
    for words in SWEEPS:
        said = {word.partition("=")[0] for word in words}
        said |= {"data.rows"} if "data" in said else set()
        base = [word for word in SMALL if word.partition("=")[0] not in said]
        sweepgrad(folder, "train", "-q", "--multirun", *base, *words)
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
            said = sweepgrad(Path(name), "verify", *trained(Path(name)))
    except Failed as error:
        print(error)
        return 1
    print(said, end="")
    counted, of, total, *_ = said.splitlines()[-1].split()
    return 0 if of == "of" and counted == total else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nstopped")
        sys.exit(130)
