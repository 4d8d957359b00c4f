"""Fuzz target: an experiment file of --config-dir."""

from contextlib import ExitStack
from pathlib import Path

from hypothesis import strategies as st
from tests.fuzz.grammar import HYDRA, KEYS, mutated, values

from sweepgrad.compose.loader import composer_for
from sweepgrad.compose.plan import plan_with

SHORT = 8  # examples in `make test`: each takes as long as a plan

_VALID = (
    "# @package _global_\nmodel:\n  hidden: [8, 4]\n  activation: tanh\ntrain:\n  epochs: 5\n",
    "# @package _global_\ndefaults:\n- override /model: deep\n- override /data: simulated\n- _self_\n",
    "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 1,2\n",
    "# @package data\npath: x.csv\ntarget: y\ndrop: &a [b, c]\nkeep: *a\n",
    "# @package _global_\nx: &x [1, 2]\ny: &y [*x, *x]\nz: {<<: {a: 1}, b: *y}\n",
)
_BITS = (
    "&a", "*a", "&b", "*b", "<<: *a", "<<: [*a, *a]", "!!python/object:os.system", "!!binary", "!!set",
    "!!omap",
    "!!float", "!!timestamp 2020-01-01", "---", "...", "%YAML 1.1", "? ", "|", ">", "- ", "# @package",
    "{", "[",
    "defaults: [evil]", "defaults: [evil, /evil]", "defaults: {a: b}", "defaults: [1]",
    "defaults: [override /x: y]",
    "defaults: ['/experiment/evil@a', '/experiment/evil@b']", "1: 2", "null: 3", "[1,2]: 3", "? {a: b}\n: c",
    "a: &a {b: *a}", "a: &a [*a]", "2020-01-01", "0o17", "1:30", "..", "\ufeff", "\x85", "\u2028",
)  # fmt: skip


def _bomb(n: int, width: int) -> str:
    lines = ["a0: &a0 [1, 2]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, n)]
    return "\n".join(lines)


def _references(n: int, width: int) -> str:
    lines = ["tracking: {experiment: '${b0}'}"]
    lines += [f"b{i}: '{f'${{b{i + 1}}}' * width}'" for i in range(n)]
    return "\n".join([*lines, f"b{n}: x"])


def examples() -> st.SearchStrategy[bytes]:
    """Return YAML: lines made by a grammar, changed valid files, and files that grow when they are read."""
    keys = st.sampled_from(KEYS + HYDRA + ("defaults", "a", "b"))
    lines = st.one_of(
        st.builds("{}: {}".format, keys, values),
        st.builds("{}:\n  {}: {}".format, keys, keys, values),
        st.sampled_from(_BITS),
        st.builds("{}: {} {}".format, keys, st.sampled_from(_BITS), values),
    )
    head = st.sampled_from(
        ("# @package _global_\n", "# @package _global_\n", "", "# @package x\n", "# @package\n")
    )
    made = st.builds(lambda h, ls: h + "\n".join(ls), head, st.lists(lines, min_size=1, max_size=4))
    size = st.integers(1, 40)
    grown = st.builds(_bomb, size, st.integers(1, 12)) | st.builds(_references, size, st.integers(1, 12))
    texts = st.one_of(
        made, made, mutated(st.sampled_from(_VALID)), grown.map("# @package _global_\n".__add__)
    )
    return texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60)


def attack(data: bytes) -> None:
    """Plan a run of an experiment."""
    with ExitStack() as stack:
        folder = Path("..", f"{Path.cwd().name}-conf")  # it stays while the current folder must be empty
        (folder / "experiment").mkdir(parents=True)
        stack.callback(folder.rmdir)
        stack.callback((folder / "experiment").rmdir)
        file = folder / "experiment" / "evil.yaml"
        stack.callback(file.unlink)
        file.write_bytes(data)
        composer = stack.enter_context(composer_for([str(folder)]))
        plan_with(composer, ["experiment=evil"], multirun=False, max_jobs=100)
