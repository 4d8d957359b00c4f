"""Build the documents as a site: all pages, valid links, drawn formulas, nothing loaded from elsewhere."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from docs.lab import notebook, pages
from tests.browser import chromium, needs_chromium
from tests.support import made_once

ROOT = Path(__file__).parents[1]
LAB = [Path("lab", f"{name}.html") for name in pages.names()]
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


def build(docs: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build a folder of documents as a site in `folder / "html"`; warnings are errors."""
    options = ["-q", "-n", "-W", "--keep-going", "-b", "html", "-d", str(folder / "trees")]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(docs), str(folder / "html")],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    def make(folder: Path) -> None:
        done = build(ROOT / "docs", folder)
        assert done.returncode == 0, done.stderr

    return made_once("site", make, tmp_path_factory) / "html"


def parsed(site: Path) -> dict[Path, Page]:
    return {file: Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}


@pytest.fixture
def small(tmp_path):
    """Take the site's own settings and extensions for a folder with one page."""
    docs = tmp_path / "docs"
    for name in ("extensions", "static"):
        shutil.copytree(ROOT / "docs" / name, docs / name)
    shutil.copy(ROOT / "docs" / "conf.py", docs)
    (docs / "pictures").mkdir()
    for name in ("a.svg", "a-dark.svg", "b.svg"):
        (docs / "pictures" / name).write_text(
            "<svg xmlns='http://www.w3.org/2000/svg' width='384' height='9'/>"
        )
    return docs


@pytest.mark.slow
def test_every_document_is_a_page_and_is_in_the_contents(site):
    index = Page((site / "index.html").read_text(encoding="utf-8"))
    for page in PAGES:
        assert (site / page).is_file()
        assert str(page) in [link.partition("#")[0] for link in index.links] or page.name == "index.html"


@pytest.mark.slow
def test_every_link_leads_somewhere(site):
    found = parsed(site)
    for file, page in found.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto"):
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.is_file(), f"{file.name}: {link}"
            if parts.fragment and target in found:
                assert unquote(parts.fragment) in found[target].ids, f"{file.name}: {link}"


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site):
    for file, page in parsed(site).items():
        for address in page.loaded:
            assert not urlsplit(address).netloc, f"{file.name} loads {address}"
            path = urlsplit(address).path
            assert address.startswith(("data:", "#")) or (file.parent / path).is_file(), address
    for sheet in site.rglob("*.css"):
        for address in re.findall(r"url\(\s*['\"]?([^'\")]+)", sheet.read_text(encoding="utf-8")):
            assert not urlsplit(address).netloc, f"{sheet.name} loads {address}"
        assert "@import" not in sheet.read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_formula_is_drawn(site):
    for file, page in parsed(site).items():
        assert not re.search(r"\$|\\(frac|alpha|theta|mathbb|lVert)", page.text), file
    html = (site / "lab" / "sgd.html").read_text(encoding="utf-8")
    source = re.sub(r"`[^`\n]*`", "", pages.FENCE.sub("", pages.read("sgd")))
    blocks = source.count("$$") // 2
    inline = len(re.findall(r"\$[^$\n]+\$", re.sub(r"\$\$.*?\$\$", "", source, flags=re.DOTALL)))
    assert html.count('class="formula-block"') == blocks
    assert html.count('class="formula"') == inline
    assert html.count('aria-hidden="true" focusable="false"') == blocks + inline


def test_pictures_are_there_for_both_themes_and_claims_for_a_phone(small, tmp_path):
    parts = (
        "# Title",
        "![left](pictures/a.svg)\n![right](pictures/b.svg)",
        "![alone](pictures/a.svg)",
        "![in](pictures/b.svg) a sentence.",
        "|  | claim |\n| --- | --- |\n| ✓ | one |\n| ✗ | two |",
        "|  | a |\n| --- | --- |\n| ✓ | 1 |\n| x | 2 |",
    )
    (small / "index.md").write_text("\n\n".join(parts))
    done = build(small, tmp_path)
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    light, dark = (
        f'class="only-{theme}" src="_images/a{end}.svg"' for theme, end in (("light", ""), ("dark", "-dark"))
    )
    right = '<img alt="right" src="_images/b.svg" />'
    pair = rf'<p class="pictures"><img alt="left" {light} /><img alt="left" {dark} />\s*{right}</p>'
    assert re.search(pair, html)
    assert f'<p class="picture"><img alt="alone" {light} /><img alt="alone" {dark} /></p>' in html
    assert '<p><img alt="in"' in html
    assert sorted(file.name for file in (tmp_path / "html" / "_images").iterdir()) == [
        "a-dark.svg",
        "a.svg",
        "b.svg",
    ]
    assert html.count('<table class="claims ') == 1


def test_a_formula_with_an_unknown_command_is_an_error(small, tmp_path):
    (small / "index.md").write_text(
        "# Title\n\n$\\Bigl\\lVert x \\Bigr\\rVert + \\bigl\\langle x \\bigr\\rangle$\n"
    )
    assert build(small, tmp_path).returncode == 0
    (small / "index.md").write_text("# Title\n\n$\\lVertt x$\n")
    done = build(small, tmp_path)
    assert done.returncode
    assert "unknown command \\\\lVertt" in done.stderr


@pytest.mark.slow
def test_each_page_of_the_lab_offers_its_notebook(site):
    offering = {
        file.relative_to(site): [link for link in page.links if link.endswith(".ipynb")]
        for file, page in parsed(site).items()
    }
    for file, links in offering.items():
        wanted = file.parent.name == "lab" and file.stem in notebook.names()
        assert [Path(link).name for link in links] == [f"{file.stem}.ipynb"] * wanted, file
        for link in links:
            own = notebook.FOLDER / Path(link).name
            assert (site / file.parent / link).read_bytes() == own.read_bytes()


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_are_read_in_a_browser_without_a_network(site, scheme, width):
    messages: list[str] = []
    requests: list[str] = []
    wide = "e => e.scrollWidth - e.clientWidth"
    with chromium() as browser:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        context.on("console", lambda message: messages.append(message.text))
        context.on("weberror", lambda error: messages.append(str(error.error)))
        context.on("request", lambda request: requests.append(request.url))
        for page in PAGES:
            tab = context.new_page()
            tab.goto((site / page).as_uri())
            for part in ("html", ".content"):
                assert tab.locator(part).first.evaluate(wide) <= 0, (page, part)
            for details in tab.locator("article details").all():
                summary, body = (
                    details.locator("summary").first,
                    details.locator(":scope > :not(summary)").first,
                )
                assert not body.is_visible()
                summary.click()
                assert body.is_visible()
            assert tab.locator(".content").first.evaluate(wide) <= 0, (page, "unfolded")
            for picture in tab.locator("article img").all():
                assert picture.evaluate("image => image.naturalWidth") > 0, page
                of = picture.get_attribute("class") or scheme
                assert picture.is_visible() == (scheme in of), (page, picture.get_attribute("src"))
                if "only-" in of:
                    assert picture.evaluate("e => getComputedStyle(e).backgroundColor") == "rgba(0, 0, 0, 0)"
            for pictures in tab.locator("article p.pictures").all():
                boxes = [box for image in pictures.locator("img").all() if (box := image.bounding_box())]
                assert all(box["width"] <= 384.5 for box in boxes)
                if len(boxes) == 2:
                    assert (boxes[0]["y"] == boxes[1]["y"]) == (width == 1280), page
            tab.close()
    assert not messages
    assert all(url.startswith(("file:", "data:")) for url in requests)


@pytest.mark.slow
@needs_chromium
def test_the_reader_finds_a_page_by_its_words(site):
    with chromium() as browser:
        tab = browser.new_page()
        tab.goto((site / "search.html").as_uri() + "?q=marking")
        tab.locator(".search a", has_text="Teaching with the lab").first.wait_for(timeout=20_000)


@pytest.mark.slow
@needs_chromium
def test_claims_are_rows_on_a_screen_and_blocks_on_a_phone(site):
    with chromium() as browser:
        for width, display in ((1280, "table-row"), (390, "grid")):
            context = browser.new_context(viewport={"width": width, "height": 900})
            for page in LAB:
                tab = context.new_page()
                tab.goto((site / page).as_uri())
                for row in tab.locator("table.claims tbody tr").all():
                    assert row.evaluate("e => getComputedStyle(e).display") == display
                    mark = row.locator("td").first.bounding_box()
                    assert mark is None or mark["width"] < 50  # None: it is folded
                tab.close()
            context.close()
