"""Earlier results are found by their digest if their files are intact."""

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.sweeps.support import jobs, run

from sweepgrad.runs import record as records
from sweepgrad.sweeps import reuse


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three results in folders 0, 1, 2: two that finished, and one that diverged in between."""
    folder = tmp_path_factory.mktemp("trained")
    run(jobs(folder, "optimizer=sgd", "optimizer.lr=0.1,1e300,0.2"))
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "runs" / "deep" / "down")
    return tmp_path / "runs"


def digest(folder: Path) -> str:
    return records.read(folder).digest


@pytest.fixture
def silent(caplog):
    """Fail if anything is logged."""
    yield
    assert caplog.messages == []


def test_what_is_looked_for_is_found_however_deep(runs, trained, silent):
    wanted = [digest(trained / "0"), digest(trained / "2")]
    found = reuse.find(wanted, reuse.index(runs))
    assert found == {wanted[0]: runs / "deep/down/0", wanted[1]: runs / "deep/down/2"}
    assert reuse.find([wanted[1]], reuse.index(runs)).keys() == {wanted[1]}


def test_what_is_not_there_is_not_found(runs, tmp_path, silent):
    assert reuse.find(["0" * 64], reuse.index(runs)) == {}
    assert reuse.find(["0" * 64], reuse.index(tmp_path / "nowhere")) == {}


def test_a_failure_is_no_result(runs, trained, silent):
    assert records.read(trained / "1").status == "FAILED"
    assert reuse.find([digest(trained / "1")], reuse.index(runs)) == {}


def test_the_digest_stands_where_it_is_looked_for(trained):
    """Check that the digest is within the first bytes of a record, which are all that is read."""
    head = (trained / "0" / "record.json").read_bytes()[: reuse._HEAD_BYTES]
    assert digest(trained / "0").encode() in head


def test_one_of_two_copies_will_do(runs, trained, caplog):
    shutil.copytree(trained / "0", runs / "another")
    wanted = digest(trained / "0")
    (runs / "another" / "model" / "weights.npz").unlink()
    assert reuse.find([wanted], reuse.index(runs)) == {wanted: runs / "deep/down/0"}
    assert "weights.npz" in caplog.text


@pytest.mark.parametrize("name", ["model/weights.npz", "model/bundle.json", "state.npy", "validation.npy"])
@pytest.mark.parametrize("how", ["changed", "cut", "gone"])
def test_a_result_whose_model_is_damaged_is_told_and_not_used(name, how, runs, trained, caplog):
    file = runs / "deep/down/0" / name
    content = file.read_bytes()
    if how == "changed":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif how == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.unlink()
    assert reuse.find([digest(trained / "0")], reuse.index(runs)) == {}
    (line,) = caplog.messages
    assert str(file) in line
    assert line.endswith("the run is trained again")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": "'])
def test_a_record_that_is_damaged_at_its_head_is_passed_over(text, runs, trained, silent):
    (runs / "deep/down/0" / "record.json").write_text(text)
    assert reuse.find([digest(trained / "0"), digest(trained / "2")], reuse.index(runs)).keys() == {
        digest(trained / "2")
    }


def test_a_pipe_in_place_of_a_record_is_passed_over(runs, trained, silent):
    os.mkfifo(runs / records.RECORD)
    assert reuse.index(runs) != {}


def test_a_record_that_is_damaged_behind_its_head_is_told(runs, trained, caplog):
    file = runs / "deep/down/0" / "record.json"
    file.write_text(file.read_text()[:-20])
    assert reuse.find([digest(trained / "0")], reuse.index(runs)) == {}
    assert "record.json is damaged" in caplog.messages[0]


def test_what_halving_stopped_will_do_only_if_asked(runs, silent):
    file = runs / "deep/down/0" / "record.json"
    values = {**json.loads(file.read_text()), "stopped": True}
    file.write_bytes(records.seal(json.dumps(values, indent=1).encode()))
    assert reuse.whole(file.parent) is None
    assert reuse.whole(file.parent, stopped_too=True) is not None
    assert reuse.find([digest(file.parent)], reuse.index(runs)) == {}


def test_a_folder_without_a_record_holds_nothing(tmp_path, silent):
    assert reuse.whole(tmp_path) is None


def test_a_figure_that_was_typed_into_a_record_is_not_taken_over(runs, trained, caplog):
    file = runs / "deep/down/0" / "record.json"
    values = json.loads(file.read_text())
    values["summary"]["best/val/accuracy"] = 0.999
    file.write_text(json.dumps(values, indent=1))
    assert reuse.find([digest(trained / "0")], reuse.index(runs)) == {}
    (line,) = caplog.messages
    assert line.startswith(
        f"{file} was changed after it was written: its checksum does not match; the run is"
    )


def test_a_record_without_a_checksum_is_not_taken_over(runs, trained, caplog):
    """Make it one of 0.1.0, which has neither: its summary could be anything."""
    file = runs / "deep/down/0" / "record.json"
    values = json.loads(file.read_text())
    del values["checksum"], values["files"]["validation.npy"]
    file.write_text(json.dumps(values, indent=1))
    assert records.read(file.parent).status == "FINISHED"
    assert reuse.find([digest(trained / "0")], reuse.index(runs)) == {}
    assert "before validation scores were kept" in caplog.text
