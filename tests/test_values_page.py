"""Run the code blocks of docs/values.md in order, in one namespace, as a notebook does."""

import re
import warnings
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "values.md"


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks = [*re.finditer(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)]
    assert len(blocks) > 10
    namespace: dict[str, object] = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for block in blocks:
            line = text.count("\n", 0, block.start(1))
            code = "\n" * line + block[1]  # so that a traceback has the line of the page
            exec(compile(code, str(PAGE), "exec"), namespace)  # noqa: S102
    output = capsys.readouterr().out
    for shown in ("learning_rate (1e+308)", "log: divide by zero", "Value(2., label='a', grad=", "∂L"):
        assert shown in output
    assert not list(tmp_path.iterdir())
