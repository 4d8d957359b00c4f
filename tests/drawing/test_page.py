"""The page that steps through the backward pass, as it is used in Chromium."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.browser import chromium, needs_chromium

from sweepgrad.drawing.expressions import ASSIGNMENT, ASSIGNMENT_AT, assignment_example, numbers, parsed
from sweepgrad.drawing.graph import graph_of, number
from sweepgrad.drawing.page import Source, fragment, page

SOURCE = Source(ASSIGNMENT, " ".join(ASSIGNMENT_AT))
pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def opened(browser, tmp_path) -> Iterator[Any]:
    (tmp_path / "steps.html").write_text(page(graph_of(assignment_example()), SOURCE), encoding="utf-8")
    tab = browser.new_page(viewport={"width": 390, "height": 844})
    said: list[str] = []
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("console", lambda message: said.append(message.text))
    tab.goto((tmp_path / "steps.html").as_uri())
    yield tab
    tab.close()
    assert not said


def grads(tab: Any, prefix: str = "backward-") -> list[str]:
    return [text.removeprefix("grad ") for text in tab.locator(f"[id^={prefix}grad-]").all_text_contents()]


def test_arrow_keys_work_at_once_but_not_while_the_reader_types(opened):
    where = opened.locator("#backward-where")
    assert grads(opened) == ["0", "0", "0", "0", "0.5", "1"]
    opened.keyboard.press("ArrowRight")
    assert where.text_content() == "step 2 of 4"
    assert grads(opened) == ["0", "0", "1", "0.5", "0.5", "1"]
    opened.keyboard.press("Control+ArrowRight")
    opened.locator("#backward-expression").focus()
    opened.keyboard.press("ArrowRight")
    assert where.text_content() == "step 2 of 4"
    opened.get_by_role("button", name="next").click()
    opened.keyboard.press("ArrowRight")
    assert grads(opened) == ["2", "1.5", "1.5", "0.5", "0.5", "1"]
    opened.keyboard.press("ArrowLeft")
    assert where.text_content() == "step 3 of 4"
    opened.get_by_role("button", name="restart").click()
    assert where.text_content() == "step 1 of 4"
    assert opened.get_by_role("button", name="back").is_disabled()


def test_any_expression_can_be_typed_in(opened):
    opened.locator("#backward-expression").fill("log((x1 + x2) * (2*x1 + x2))")
    opened.keyboard.press("Enter")
    assert opened.locator("#backward-where").text_content() == "step 1 of 5"
    for _ in range(4):
        opened.get_by_role("button", name="next").click()
    graph = graph_of(parsed("log((x1 + x2) * (2*x1 + x2))", numbers(ASSIGNMENT_AT)))
    assert grads(opened) == [number(float(node.grad)) for node in graph.nodes if not node.constant]
    assert opened.locator("li.now b").text_content() == "v1 = x1 + x2"
    over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.evaluate(over) <= 0
    # What was drawn stays when the next expression is wrong.
    opened.locator("#backward-expression").fill("x1 + log(x2 - 1)")
    opened.keyboard.press("Enter")
    alert = opened.get_by_role("alert")
    assert alert.text_content() == "At character 6, “log(x2 - 1)”: log has no value at -1."
    assert opened.evaluate("getSelection().toString()") == "log(x2 - 1)"
    assert len(grads(opened)) == sum(not node.constant for node in graph.nodes)
    opened.locator("#backward-expression").fill("-" * 20_000 + "x1")
    opened.keyboard.press("Enter")
    assert "nested too deeply" in alert.text_content()
    opened.locator("#backward-expression").fill("<b>x1</b>")
    opened.keyboard.press("Enter")
    assert "“<”" in alert.text_content()


def test_the_focus_is_never_lost(opened):
    focus = "document.activeElement.id"
    opened.locator("#backward-expression").fill("x1 * x2 + 1")
    opened.keyboard.press("Enter")
    assert opened.evaluate(focus) == "backward-next"
    opened.keyboard.press("Enter")
    assert opened.locator("#backward-where").text_content() == "step 2 of 2"
    assert opened.evaluate(focus) == "backward-back"
    opened.keyboard.press("Enter")
    assert opened.evaluate(focus) == "backward-next"
    opened.locator("#backward-expression").fill("x1 * x2")
    opened.keyboard.press("Enter")
    assert opened.evaluate(focus) == "backward-again"


def test_a_picture_of_another_expression_is_greyed(opened):
    opacity = "getComputedStyle(document.querySelector('.steps-parts')).opacity"
    assert float(opened.evaluate(opacity)) == 1
    opened.locator("#backward-expression").fill("x1 +")
    opened.keyboard.press("Enter")
    assert float(opened.evaluate(opacity)) < 0.5
    opened.locator("#backward-expression").fill("x1 + x2")
    opened.keyboard.press("Enter")
    assert float(opened.evaluate(opacity)) == 1


def test_the_picture_starts_at_its_top_with_the_first_box_in_view(opened):
    wide = " + ".join(f"tanh(x1 * {n}) * exp(x2 / {n})" for n in range(2, 7))
    for text in (None, wide):
        if text:
            opened.locator("#backward-expression").fill(text)
            opened.keyboard.press("Enter")
        assert opened.evaluate("document.querySelector('.steps-picture').scrollTop") == 0
        assert opened.evaluate(FIRST_IN_VIEW)


FIRST_IN_VIEW = """() => {
  const view = document.querySelector(".steps-picture").getBoundingClientRect();
  const box = document.querySelector("#backward-node-0 > rect").getBoundingClientRect();
  return box.left >= view.left && box.right <= view.right && box.top >= view.top && box.bottom <= view.bottom;
}"""


def test_constants_have_no_gradient_in_the_page_either(opened):
    opened.locator("#backward-expression").fill("2 * x1 + log(3) * x2")
    opened.keyboard.press("Enter")
    for _ in range(3):
        opened.get_by_role("button", name="next").click()
    text = opened.locator(".steps svg").text_content()
    assert "∂v1/∂x1 = 2" in text
    assert not {"∂v1/∂2", "∂v2/∂3"} & {label for label in ("∂v1/∂2", "∂v2/∂3") if label in text}
    graph = graph_of(parsed("2 * x1 + log(3) * x2", numbers(ASSIGNMENT_AT)))
    assert grads(opened) == [number(float(node.grad)) for node in graph.nodes if not node.constant]
    assert opened.evaluate(OVERLAPS) == []
    assert opened.evaluate(LEAVES_ITS_BOX)


# Whether the arrow from the first box, of the constant 2, begins at the box.
LEAVES_ITS_BOX = """() => {
  const box = document.querySelector("#backward-node-0 > rect").getBBox();
  const arrow = document.querySelector("#backward-edge-0 > path").getPointAtLength(0);
  return Math.abs(arrow.y - box.y - box.height) < 0.01 && arrow.x > box.x && arrow.x < box.x + box.width;
}"""


def test_its_own_layout_overlaps_nothing(opened):
    texts = (
        "(a + b) * a / (b + 2*a) + exp(a) * b",
        "a*b + b*c + c*a + tanh(a - b*c)",
        "h = a*b; h*h*h + a ** b",
    )
    for text in texts:
        opened.locator("#backward-expression").fill(text)
        opened.locator("#backward-values").fill("a=1.5 b=0.25 c=2" if "c" in text else "a=1.5 b=0.25")
        opened.keyboard.press("Enter")
        assert not opened.locator("#backward-problem").text_content()
        assert opened.evaluate(OVERLAPS) == []


# Of all boxes and labels: which overlap another one, and which arrows cross them.
OVERLAPS = """() => {
  const svg = document.querySelector(".steps svg"), found = [];
  const boxes = [...svg.querySelectorAll("g > rect, g[id*=edge-] > text")].map(e => [e, e.getBBox()]);
  const meet = (a, b) => {
    const aside = a.x >= b.x + b.width || b.x >= a.x + a.width;
    return !(aside || a.y >= b.y + b.height || b.y >= a.y + a.height);
  };
  boxes.forEach(([, a], i) => {
    for (const [, b] of boxes.slice(i + 1)) if (meet(a, b)) found.push("overlap");
  });
  for (const path of svg.querySelectorAll("g > path")) {
    const length = path.getTotalLength();
    for (let at = 1; at < length - 1; at += 1) {
      const {x, y} = path.getPointAtLength(at);
      for (const [, b] of boxes) if (meet(b, {x, y, width: 0, height: 0})) found.push("cross");
    }
  }
  return found;
}"""


def test_several_on_a_page_do_not_disturb_each_other(browser, tmp_path):
    graph = graph_of(assignment_example())
    parts = [fragment(graph, SOURCE, "one-"), fragment(graph, None, "two-"), '<input id="search">']
    (tmp_path / "two.html").write_text(
        f"<!doctype html><meta charset=utf-8>{''.join(parts)}", encoding="utf-8"
    )
    tab = browser.new_page()
    tab.goto((tmp_path / "two.html").as_uri())
    tab.keyboard.press("ArrowRight")
    where = [tab.locator(f"#{prefix}-where") for prefix in ("one", "two")]
    assert [w.text_content() for w in where] == ["step 2 of 4", "step 1 of 4"]
    tab.locator("#two-next").click()
    tab.keyboard.press("ArrowRight")
    assert [w.text_content() for w in where] == ["step 2 of 4", "step 3 of 4"]
    tab.locator("#search").focus()
    tab.keyboard.press("ArrowLeft")
    assert [w.text_content() for w in where] == ["step 2 of 4", "step 3 of 4"]
    tab.close()


def test_arrow_keys_are_left_to_the_page_without_a_walk_in_view_or_with_the_focus_elsewhere(
    browser, tmp_path
):
    walk = fragment(graph_of(assignment_example()), SOURCE)
    link, below = '<a id="link" href="#">link</a>', '<p style="height: 300vh">text</p>'
    (tmp_path / "long.html").write_text(
        f"<!doctype html><meta charset=utf-8>{link}{walk}{below}", encoding="utf-8"
    )
    tab = browser.new_page()
    tab.goto((tmp_path / "long.html").as_uri())
    where = tab.locator("#backward-where")
    tab.keyboard.press("ArrowRight")
    assert where.text_content() == "step 2 of 4"
    tab.locator("#link").focus()
    tab.keyboard.press("ArrowRight")
    assert where.text_content() == "step 2 of 4"
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("ArrowRight")
    assert where.text_content() == "step 3 of 4"
    tab.evaluate("scrollTo(0, document.body.scrollHeight)")
    tab.keyboard.press("ArrowLeft")
    assert where.text_content() == "step 3 of 4"
    tab.close()


def test_without_javascript_it_shows_the_picture_and_all_steps(browser, tmp_path):
    (tmp_path / "steps.html").write_text(page(graph_of(assignment_example()), SOURCE), encoding="utf-8")
    tab = browser.new_page(java_script_enabled=False)
    tab.goto((tmp_path / "steps.html").as_uri())
    assert tab.locator("li:visible").count() == 4
    assert tab.locator("svg:visible").count() == 1
    assert tab.locator("button:visible, input:visible").count() == 0
    assert "grad 1.5" in tab.locator("svg").text_content()
    tab.close()


CONTRAST = """selector => {
  const linear = c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const luminance = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(c => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const solid = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/^rgba\\(.*, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll(selector)].map(element => {
    const style = getComputedStyle(element);
    const text = luminance(element.closest("svg") ? style.fill : style.color);
    const ground = luminance(solid(element));
    return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser, tmp_path, scheme):
    (tmp_path / "steps.html").write_text(page(graph_of(assignment_example()), SOURCE), encoding="utf-8")
    tab = browser.new_page(color_scheme=scheme)
    tab.goto((tmp_path / "steps.html").as_uri())
    contrasts = tab.evaluate(CONTRAST, "h1, p, label, input, button:enabled, li, .steps-where, svg text")
    assert len(contrasts) > 25
    assert min(contrasts) >= 4.5
    tab.close()
