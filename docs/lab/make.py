"""Run the lab's questions and put the answers into the pages of this folder: `make lab`.

    python docs/lab/make.py [NAME ...]    the given questions, or all

The questions run in an empty folder, so that earlier runs are not reused.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAGES = Path(__file__).parent


def fill(page: str, name: str, finding: str) -> str:
    """Return the page with the text between its markers replaced."""
    block = re.compile(rf"(<!-- finding: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    filled, count = block.subn(lambda match: f"{match[1]}\n{finding}\n{match[2]}", page)
    if count != 1:
        raise SystemExit(f"docs/lab/{name}.md: has {count} places for its finding; it needs exactly one")
    return filled


def main(names: list[str]) -> int:
    """Run the questions and update their pages and pictures."""
    sweepgrad = Path(sys.executable).with_name("sweepgrad")
    with tempfile.TemporaryDirectory() as folder:
        for name in names or ["all"]:
            code = subprocess.run([sweepgrad, "lab", name], cwd=folder, check=False).returncode
            if code:
                return code
        for answer in sorted(Path(folder, "runs", "lab").iterdir()):
            page = PAGES / f"{answer.name}.md"
            finding = (answer / "finding.md").read_text(encoding="utf-8")
            page.write_text(fill(page.read_text(encoding="utf-8"), answer.name, finding), encoding="utf-8")
            for picture in (*answer.glob("*.svg"), *answer.glob("*.html")):
                shutil.copy(picture, PAGES / "pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
