"""Pictures of graphs: nothing overlaps, nothing is missing, and the formats are valid."""

import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from tests.browser import chromium, needs_chromium
from tests.drawing.test_graph import expressions

from sweepgrad.autograd.value import Value
from sweepgrad.drawing.expressions import assignment_example
from sweepgrad.drawing.graph import graph_of
from sweepgrad.drawing.layout import layout
from sweepgrad.drawing.page import fragment, page
from sweepgrad.drawing.pictures import dot, mermaid, png, svg

EXAMPLE = graph_of(assignment_example())


@settings(max_examples=60, deadline=None)
@given(expressions())
def test_no_two_boxes_overlap_and_all_edges_go_to_the_right(output):
    graph = graph_of(output)
    drawn = layout(graph)
    for a, b in combinations(drawn.boxes, 2):
        aside = abs(a.x - b.x) >= (a.width + b.width) / 2
        above = abs(a.y - b.y) >= (a.height + b.height) / 2
        assert aside or above
    for edge, path in zip(graph.edges, drawn.paths, strict=True):
        xs = [x for x, _ in path]
        assert xs == sorted(xs)
        assert xs[0] == drawn.boxes[edge.parent].x + drawn.boxes[edge.parent].width / 2
        assert xs[-1] == drawn.boxes[edge.child].x - drawn.boxes[edge.child].width / 2
    for box in drawn.boxes:
        assert box.x - box.width / 2 > 0
        assert box.x + box.width / 2 < drawn.width
        assert box.y - box.height / 2 > 0
        assert box.y + box.height / 2 < drawn.height


def test_svg_is_xml_with_every_node_and_edge():
    root = ElementTree.fromstring(svg(EXAMPLE, "p-"))
    ids = {element.get("id") for element in root.iter()}
    assert {f"p-node-{n}" for n in range(6)} | {f"p-edge-{e}" for e in range(7)} <= ids
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("grad 1.5") == 2
    assert "∂ 0.5" in texts


def test_names_are_escaped():
    graph = graph_of(Value(1.0, '<a & "b">').exp())
    assert ElementTree.fromstring(svg(graph)) is not None
    assert "<a &" not in fragment(graph)
    assert '"b"' not in mermaid(graph).replace("#quot;", "")
    assert '\\"b\\"' in dot(graph)


def test_mermaid_has_every_node_and_edge_once():
    lines = mermaid(EXAMPLE).splitlines()
    assert lines[0] == "graph LR"
    assert len([line for line in lines if re.fullmatch(r'  n\d(\["|\(\[").*', line)]) == 6
    assert len([line for line in lines if "-->" in line]) == 7
    assert '  n2 -->|"∂ 2"| n4' in lines


def test_dot_has_every_node_and_edge_once_and_graphviz_reads_it(tmp_path):
    text = dot(EXAMPLE)
    assert len(re.findall(r"^  n\d \[", text, flags=re.MULTILINE)) == 6
    assert len(re.findall(r"^  n\d -> n\d ", text, flags=re.MULTILINE)) == 7
    if shutil.which("dot") is None:
        pytest.skip("no Graphviz here: its own parser is not asked")
    (tmp_path / "g.dot").write_text(text)
    done = subprocess.run(
        ["dot", "-Tplain", "g.dot"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("\nnode ") == 6


def test_png_is_a_picture_with_ink(tmp_path):
    from matplotlib.image import imread

    png(EXAMPLE, tmp_path / "g.png")
    pixels = np.asarray(imread(tmp_path / "g.png"))
    assert pixels.shape[1] > 1000
    assert 0.01 < (pixels[..., :3].mean(axis=2) < 0.5).mean() < 0.5


def test_the_same_graph_is_the_same_text():
    again = graph_of(assignment_example())
    for draw in (svg, mermaid, dot, page):
        assert draw(again) == draw(EXAMPLE)


@pytest.mark.slow
@needs_chromium
def test_the_page_steps_through_the_backward_pass(tmp_path):
    (tmp_path / "steps.html").write_text(page(EXAMPLE))
    with chromium() as browser:
        for javascript in (True, False):
            tab = browser.new_page(java_script_enabled=javascript)
            said: list[str] = []
            tab.on("pageerror", lambda error: said.append(str(error)))  # noqa: B023
            tab.goto(Path(tmp_path, "steps.html").as_uri())
            if not javascript:
                assert tab.locator("li:visible").count() == 4
                continue
            assert tab.locator("li:visible").count() == 1
            assert tab.locator("#backward-grad-0").text_content() == "grad 0"
            tab.get_by_text("next ▶").click()
            assert tab.locator("#backward-grad-2").text_content() == "grad 1"  # of x5 alone, so far
            tab.locator("#backward-walk").press("ArrowRight")
            assert tab.locator("#backward-grad-2").text_content() == "grad 1.5"
            assert "step 3 of 4" in tab.locator("#backward-walk").inner_text()
            tab.get_by_text("next ▶").click()
            for n, node in enumerate(EXAMPLE.nodes):
                assert tab.locator(f"#backward-grad-{n}").text_content() == f"grad {float(node.grad):g}"
            tab.get_by_text("start again").click()
            assert "step 1 of 4" in tab.locator("#backward-walk").inner_text()
            assert not said
