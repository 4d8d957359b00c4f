"""Run the code of pages of the lab, in order and in one namespace, and compare the outputs that they show."""

import re
import time
from pathlib import Path

import pytest

LAB = Path(__file__).parents[2] / "docs" / "lab"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", ["programming", "spotify"])
def test_the_blocks_of_a_page_print_what_it_shows(name, capsys):
    blocks = BLOCK.findall((LAB / f"{name}.md").read_text(encoding="utf-8"))
    assert blocks
    namespace: dict[str, object] = {"__name__": "__main__"}
    started = time.process_time()
    for code, shown in blocks:
        exec(compile(code, f"{name}.md", "exec"), namespace)  # noqa: S102
        assert capsys.readouterr().out == shown
    assert time.process_time() - started < 5


def test_gradients_must_be_added(capsys):
    """Check what the page says of `=` instead of `+=`: the contribution of one use is lost."""
    code, _ = BLOCK.findall((LAB / "programming.md").read_text(encoding="utf-8"))[0]
    namespace: dict[str, object] = {}
    exec(code.replace("parent.grad += ", "parent.grad = "), namespace)  # noqa: S102
    exec("x, y = Scalar(0.0), Scalar(2.0); (x.exp() * y.log() + x).backward()", namespace)  # noqa: S102
    assert namespace["x"].grad == pytest.approx(0.6931, abs=1e-4)  # type: ignore[attr-defined]
