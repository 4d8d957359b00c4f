"""Build the documents as a site: all pages, valid links, drawn formulas, nothing loaded from elsewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tests.browser import chromium, needs_chromium

ROOT = Path(__file__).parents[1]
PAGES = sorted(file.relative_to(ROOT / "docs").with_suffix(".html") for file in (ROOT / "docs").rglob("*.md"))


class Page(HTMLParser):
    """A page of the site: its links, ids, loaded files, and text outside of code and scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if "src" in values:
            self.loaded.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload", "search"):
            self.loaded.append(values["href"])
        if tag in ("code", "pre", "script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    options = ["-q", "-n", "-W", "--keep-going", "-b", "html", "-d", str(folder / "trees")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), str(folder / "html")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}


def test_every_document_is_a_page_and_is_in_the_contents(site):
    index = Page((site / "index.html").read_text(encoding="utf-8"))
    for page in PAGES:
        assert (site / page).is_file()
        assert str(page) in [link.partition("#")[0] for link in index.links] or page.name == "index.html"


def test_every_link_leads_somewhere(site):
    found = pages(site)
    for file, page in found.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto"):
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.is_file(), f"{file.name}: {link}"
            if parts.fragment and target in found:
                assert unquote(parts.fragment) in found[target].ids, f"{file.name}: {link}"


def test_nothing_is_loaded_from_elsewhere(site):
    for file, page in pages(site).items():
        for address in page.loaded:
            assert not urlsplit(address).netloc, f"{file.name} loads {address}"
            path = urlsplit(address).path
            assert address.startswith(("data:", "#")) or (file.parent / path).is_file(), address
    for sheet in site.rglob("*.css"):
        for address in re.findall(r"url\(\s*['\"]?([^'\")]+)", sheet.read_text(encoding="utf-8")):
            assert not urlsplit(address).netloc, f"{sheet.name} loads {address}"
        assert "@import" not in sheet.read_text(encoding="utf-8")


def test_every_formula_is_drawn(site):
    for file, page in pages(site).items():
        assert not re.search(r"\$|\\(frac|alpha|theta|mathbb|lVert)", page.text), file
    html = (site / "lab" / "sgd.html").read_text(encoding="utf-8")
    source = re.sub(r"`[^`\n]*`", "", (ROOT / "docs" / "lab" / "sgd.md").read_text(encoding="utf-8"))
    blocks = source.count("$$") // 2
    inline = len(re.findall(r"\$[^$\n]+\$", re.sub(r"\$\$.*?\$\$", "", source, flags=re.DOTALL)))
    assert html.count('class="formula-block"') == blocks
    assert html.count('class="formula"') == inline
    assert html.count('aria-hidden="true" focusable="false"') == blocks + inline


@pytest.mark.slow
@needs_chromium
def test_pages_are_read_in_a_browser_without_a_network(site):
    with chromium() as browser:
        for scheme in ("light", "dark"):
            for width in (1280, 400):
                context = browser.new_context(
                    viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
                )
                messages: list[str] = []
                requests: list[str] = []
                context.on("console", lambda message: messages.append(message.text))  # noqa: B023
                context.on("weberror", lambda error: messages.append(str(error.error)))  # noqa: B023
                context.on("request", lambda request: requests.append(request.url))  # noqa: B023
                for page in PAGES:
                    tab = context.new_page()
                    tab.goto((site / page).as_uri())
                    over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                    assert tab.evaluate(over) <= 0, (page, width)
                    for picture in tab.locator("article img").all():
                        assert picture.evaluate("image => image.naturalWidth") > 0
                    tab.close()
                assert not messages
                assert all(url.startswith(("file:", "data:")) for url in requests)
                context.close()
        tab = browser.new_page()
        tab.goto((site / "lab" / "backprop.html").as_uri())
        for _ in range(3):
            tab.get_by_text("next ▶").click()
        assert tab.locator("#backward-grad-0").text_content() == "grad 2"
        tab.goto((site / "search.html").as_uri() + "?q=jackknife")
        tab.get_by_text("Bias and variance of networks").first.wait_for(timeout=20_000)
