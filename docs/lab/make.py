"""Run the lab's questions and put the answers into the pages of this folder: `make lab`.

    python docs/lab/make.py [NAME ...]    the given pages, or all

The questions run in an empty folder, so that earlier runs are not reused. The Python of the pages is run too,
and what it prints is written after it. Last, the notebooks are written.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[2]))

from docs.lab import notebook, pages


def main(names: list[str]) -> int:
    """Update pages, pictures and notebooks.

    Returns:
        The exit code of the first question whose claims do not hold, or that cannot be answered.
    """
    if unknown := set(names) - set(pages.names()):
        raise SystemExit(
            f"docs/lab/ has no page {', '.join(sorted(unknown))}; it has {', '.join(pages.names())}"
        )
    sweepgrad = Path(sys.executable).with_name("sweepgrad")
    with tempfile.TemporaryDirectory() as folder:
        for name in [name for name in names if name not in pages.NO_EXPERIMENT] if names else ["all"]:
            code = subprocess.run([sweepgrad, "lab", name], cwd=folder, check=False).returncode
            if code:
                return code
        for answer in sorted(Path(folder).glob("runs/lab/*")):
            take(answer)
    for name in names or pages.names():
        page = pages.read(name)
        file = pages.FOLDER / f"{name}.md"
        file.write_text(pages.with_outputs(page, pages.printed(page)), encoding="utf-8")
    return notebook.main([name for name in names if name in notebook.names()]) if names else notebook.main([])


def take(answer: Path) -> None:
    """Put an answer into its page, and its pictures beside it; remove pictures of earlier versions.

    Arguments:
        answer: the folder that `sweepgrad lab NAME` wrote.
    """
    name, page = answer.name, pages.FOLDER / f"{answer.name}.md"
    finding = (answer / "finding.md").read_text(encoding="utf-8")
    page.write_text(pages.with_finding(page.read_text(encoding="utf-8"), name, finding), encoding="utf-8")
    pages.PICTURES.mkdir(exist_ok=True)
    for old in pages.PICTURES.iterdir():
        if old.stem.removesuffix("-dark") == name or old.stem.startswith(f"{name}_"):
            old.unlink()
    for picture in (*answer.glob("*.svg"), *answer.glob("*.html")):
        shutil.copy(picture, pages.PICTURES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
