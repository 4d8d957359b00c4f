"""YAML files are read as OmegaConf reads them, within limits that are checked before values are made."""

import json
import os
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sweepgrad.compose.plan import plan
from sweepgrad.compose.yaml_files import load, parse, read_text
from sweepgrad.errors import UserError
from sweepgrad.paths import config_dir

BOMB = ["a0: &a0 [1, 2]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20))]
TOWER = ["a0: &a0 [1]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 60))]
REFERENCES = [*(f"b{i}: ${{b{i + 1}}}${{b{i + 1}}}" for i in range(40)), "b40: x", "seed: ${b0}"]
LISTS = ["seed: ${c0}", *(f"c{i}: ['${{c{i + 1}}}', '${{c{i + 1}}}']" for i in range(40)), "c40: 1"]


def experiment(folder: Path, text: str | bytes) -> None:
    (folder / "experiment").mkdir(exist_ok=True)
    content = text if isinstance(text, bytes) else f"# @package _global_\n{text}".encode()
    (folder / "experiment" / "evil.yaml").write_bytes(content)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\n".join(BOMB), "evil.yaml, line 6: has more than 10,000 values, with aliases expanded"),
        ("\n".join(TOWER), "evil.yaml, line 32: is nested more than 32 deep"),
        ("a: " + "[" * 1000, "is nested more than 32 deep"),
        ("a: " + "[1, " * 1000, "is nested more than 32 deep"),
        ("a: &a [*a]", "*a contains itself"),
        ("a: &a {b: [*a]}", "*a contains itself"),
        ("data:\n  drop: [" + "x, " * 20_000 + "]", "has more than 10,000 values"),
        ("# " + "x" * 1_000_000, "is larger than 1 MB"),
        ("seed: " + "x" * 30_000, "has a text of 30,000 characters"),
        ("seed: " + "9" * 5_000, "is a whole number of more than 64 bits"),
        ("seed: '" + "${" * 40 + "'", "has more than 32 references in a text"),
        ("\n".join(REFERENCES), "too many ${references}"),
        ("\n".join(LISTS), "too many ${references}"),
        ("seed: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("seed: [1", "evil.yaml"),
        (b"\xff\xfe\x00", "evil.yaml: is not UTF-8 text, at byte 0"),
        (json.dumps("\n".join(BOMB)), ""),  # within a text, which is no YAML
        (b"5", "must be keys and values, not '5'"),
        ("defaults: [evil]", ""),
        ("defaults: [/experiment/evil@a, /experiment/evil@b]", ""),
        ("defaults: {a: b}", "defaults"),
        ("hydra: {mode: 5}", "hydra.mode"),
    ],
    ids=range(22),
)  # fmt: skip
def test_what_exceeds_a_limit_is_refused_soon_and_by_name(tmp_path, text, problem):
    experiment(tmp_path, text)
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        plan(["experiment=evil"], multirun=False, search=[str(tmp_path)])
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 5_000
    assert time.process_time() - began < 4


def test_many_files_that_include_many_are_refused(tmp_path):
    for level in range(30):
        both = "".join(f"  - /l{level + 1}/a@{name}\n" for name in ("x", "y"))
        (tmp_path / f"l{level}").mkdir()
        (tmp_path / f"l{level}" / "a.yaml").write_text(f"defaults:\n{both}")
    (tmp_path / "l30").mkdir()
    (tmp_path / "l30" / "a.yaml").write_text("z: 1\n")
    experiment(tmp_path, "defaults: [/l0/a]")
    began = time.process_time()
    with pytest.raises(UserError, match="ask for more than 1,000 files"):
        plan(["experiment=evil"], multirun=False, search=[str(tmp_path)])
    assert time.process_time() - began < 4


def test_a_device_is_not_read_as_a_file(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "evil.yaml").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="experiment: unknown option evil"):
        plan(["experiment=evil"], multirun=False, search=[str(tmp_path)])


@pytest.mark.parametrize("path", sorted(config_dir().rglob("*.yaml")), ids=lambda path: path.stem)
def test_our_own_files_are_read_as_omegaconf_reads_them(path):
    read = OmegaConf.create(load(path).content)
    assert OmegaConf.to_container(read) == OmegaConf.to_container(OmegaConf.load(path))


def test_aliases_within_the_limits_are_expanded(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("a: &a [1, 2.5, x]\nb: {c: *a, <<: {d: 1e3, e: yes}}\nf: 2020-01-01\n")
    assert OmegaConf.create(load(file).content) == OmegaConf.load(file)
    assert load(file).n_nodes == 21


def test_a_file_that_changed_is_read_again(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("a: 1")
    assert load(file).content == {"a": 1}
    file.write_text("a: 12")
    assert load(file).content == {"a": 12}


@pytest.mark.parametrize("text", ["\n".join(BOMB), "a: " + "[" * 1000, "a: &a [*a]", "9" * 5_000])
def test_texts_are_read_within_the_same_limits(text):
    with pytest.raises(UserError, match="somewhere"):
        parse(text, "somewhere")


def test_texts_are_read_by_the_rules_of_yaml():
    assert parse("{a: 1e3, b: 1.0e+3, c: '01', d: null}", "x") == {
        "a": "1e3",
        "b": 1000.0,
        "c": "01",
        "d": None,
    }


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.yaml")
    with pytest.raises(UserError, match="not a regular file"):
        read_text(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("text", "problem"), [("null: 3", "'null'"), ("x: !!set {a, b}", "data.x: Value 'set'")]
)
def test_what_omegaconf_cannot_hold_is_refused_with_the_file(tmp_path, text, problem):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "odd.yaml").write_text(f"# @package _global_\ndata:\n  {text}\n")
    with pytest.raises(UserError, match=rf"experiment/odd\.yaml: .*{problem}"):
        plan(["experiment=odd"], multirun=False, search=[str(tmp_path)])
