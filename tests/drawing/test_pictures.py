"""Pictures of graphs: nothing is missing, the formats are valid, and colours are those of the theme."""

import re
import shutil
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest

from sweepgrad.autograd.value import Value
from sweepgrad.drawing.diagram import diagram_of
from sweepgrad.drawing.expressions import assignment_example, graph_at
from sweepgrad.drawing.graph import graph_of
from sweepgrad.drawing.page import THEME, fragment, page
from sweepgrad.drawing.pictures import dot, mermaid, png, svg
from sweepgrad.drawing.style import THEMES

GRAPH = graph_of(assignment_example())
EXAMPLE = diagram_of(GRAPH)


def test_svg_is_xml_with_every_node_and_edge():
    root = ElementTree.fromstring(svg(EXAMPLE, prefix="p-"))
    ids = {element.get("id") for element in root.iter()}
    assert {f"p-node-{n}" for n in range(6)} | {f"p-edge-{e}" for e in range(7)} <= ids
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("grad 1.5") == 2
    assert "∂L/∂x5 = 0.5" in texts


def test_names_are_escaped():
    graph = graph_of(Value(1.0, '<a & "b">').exp())
    diagram = diagram_of(graph)
    assert ElementTree.fromstring(svg(diagram)) is not None
    assert "<a &" not in fragment(graph)
    assert '"b"' not in mermaid(diagram).replace("#quot;", "")
    assert '\\"b\\"' in dot(diagram)


def test_pictures_have_the_colours_of_their_theme_and_no_others():
    for theme in THEMES:
        colours = set(re.findall(r"#[0-9a-f]{3,6}", svg(EXAMPLE, theme)))
        assert colours == {theme.ink, theme.faint, theme.surface, *theme.colors[:2]}
    assert not re.findall(r"#[0-9a-f]{3,6}", svg(EXAMPLE, THEME))


def test_constants_are_grey(tmp_path):
    diagram = diagram_of(graph_at("2 * x", {"x": 1.5})[1])
    for theme in THEMES:
        root = ElementTree.fromstring(svg(diagram, theme, "p-"))
        (group,) = (element for element in root.iter() if element.get("id") == "p-node-0")
        box, *texts = group
        assert (box.get("stroke"), [text.text for text in texts]) == (theme.faint, ["2"])
        assert float(texts[0].get("fill-opacity", 1)) < 1
    assert "style n0 stroke:" in mermaid(diagram)
    assert "gray" in dot(diagram)
    png(diagram, tmp_path / "g.png")


def test_mermaid_has_every_node_and_edge_once():
    lines = mermaid(EXAMPLE).splitlines()
    assert lines[0] == "graph TD"
    assert len([line for line in lines if re.fullmatch(r'  n\d(\["|\(\[").*', line)]) == 6
    assert len([line for line in lines if "-->" in line]) == 7
    assert '  n2 -->|"∂x5/∂x3 = 2"| n4' in lines


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
    assert pixels.shape[0] > pixels.shape[1] > 400
    assert 0.01 < (pixels[..., :3].mean(axis=2) < 0.5).mean() < 0.5


def test_the_same_graph_is_the_same_text():
    again = graph_of(assignment_example())
    for draw in (svg, mermaid, dot):
        assert draw(diagram_of(again)) == draw(EXAMPLE)
    assert page(again) == page(GRAPH)
