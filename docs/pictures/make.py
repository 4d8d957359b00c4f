"""Draw the README's pictures of the latest sweep in runs/ with Debian's Chromium (`make pictures`)."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def leaderboard(page: Page) -> None:
    """Draw the leaderboard as a terminal shows it."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "142"}
    done = subprocess.run(
        ["sweepgrad", "leaderboard"], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    console = Console(record=True, width=142, file=io.StringIO())
    console.print(Text.from_ansi(done.stdout))
    page.set_viewport_size({"width": 1200, "height": 400})
    page.set_content(console.export_html(inline_styles=True))
    style = "pre { font: 13px/1.1 'DejaVu Sans Mono', monospace !important; display: inline-block }"
    page.add_style_tag(content=style)
    page.locator("pre").screenshot(path=HERE / "leaderboard.png")


def comparison(page: Page) -> None:
    """Draw MLflow's comparison of configurations, which a link of `sweepgrad ui` opens."""
    with subprocess.Popen(["sweepgrad", "ui"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = ""
        for line in server.stdout:
            if found := re.search(r"comparison.*?: (http\S+)", line):
                address = found[1]
            if "Ctrl-C" in line:
                break
        try:
            assert urlsplit(address).hostname == "127.0.0.1", "sweepgrad ui printed no comparison"
            page.set_viewport_size({"width": 1400, "height": 720})
            page.goto(address)
            page.get_by_text("Parallel Coordinates Plot").wait_for()
            page.wait_for_timeout(4000)  # the plot is drawn after its heading
            left_of_the_assistant = {"x": 0, "y": 0, "width": 1036, "height": 720}
            page.screenshot(path=HERE / "mlflow_comparison.png", clip=left_of_the_assistant)
        finally:
            server.terminate()


def main() -> int:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = browser.new_page()
        leaderboard(page)
        comparison(page)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
