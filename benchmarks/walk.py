"""Follow a command through the modules: `python -m benchmarks.walk finalize`.

It trains a small sweep of the Spotify songs in a temporary folder and runs the command on it. It counts the
modules that are entered, the calls between modules (each pair of functions once), and how often the table is
read and the preprocessing fitted. With `--src` it follows another checkout.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

SRC = Path(__file__).resolve().parents[1] / "src"
SWEEP = ("train", "--multirun", "data=spotify", "model=wide,deep", "seed=1,2", "train.epochs=2")
FITTED = ("learn", "fit_preprocessor")  # functions that fit the preprocessing, of any version


class Walk:
    """Collect calls between modules below `src`, as a profile function."""

    def __init__(self, src: Path) -> None:
        self.src = f"{src}{os.sep}"
        self.modules: set[str] = set()
        self.calls: set[tuple[str, str, str, str]] = set()
        self.reads = self.fits = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call":
            return
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        if name == "read_csv" and f"{os.sep}pandas{os.sep}" in file:
            self.reads += 1
        if not file.startswith(self.src) or name.startswith("<"):
            return
        self.fits += name in FITTED
        self.modules.add(file)
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(self.src):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != file:
            self.calls.add((caller.f_code.co_filename, caller.f_code.co_name, file, name))


def follow(src: Path, arguments: list[str]) -> Walk:
    """Run a command line of the checkout of `src` in this process and the current folder."""
    sys.path.insert(0, str(src))
    if (src / "sweepgrad" / "cli.py").exists():  # version 0.1.0
        from sweepgrad.cli import main  # type: ignore[attr-defined, unused-ignore]
    else:
        from sweepgrad.cli.main import main
    walk = Walk(src)
    sys.setprofile(walk)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = main(arguments)
    finally:
        sys.setprofile(None)
    if code:
        raise SystemExit(f"sweepgrad {' '.join(arguments)} ended with exit code {code}")
    return walk


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("verb", nargs="?", default="finalize")
    arguments.add_argument("--src", type=Path, default=SRC, help="another checkout's src/")
    arguments.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.here:
        walk = follow(options.src, [options.verb])
        print(
            f"{options.verb}: {len(walk.modules)} modules, {len(walk.calls)} calls from one into another,"
            f" {walk.reads} reads of the table, preprocessing fitted {walk.fits} times"
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        src = options.src.resolve()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(src), str(SRC.parent)])}
        program = (src / "sweepgrad" / "cli.py").exists()
        start = "from sweepgrad.cli import main" if program else "from sweepgrad.cli.main import main"
        train = [sys.executable, "-c", f"import sys; {start}; sys.exit(main(sys.argv[1:]))", *SWEEP]
        subprocess.run(train, cwd=folder, env=environment, check=True, capture_output=True)
        again = [sys.executable, "-m", "benchmarks.walk", options.verb, "--src", str(src), "--here"]
        subprocess.run(again, cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    main()
