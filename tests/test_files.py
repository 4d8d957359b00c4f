"""Atomic writes, and locks."""

import subprocess
import sys
from pathlib import Path

import pytest

from sweepgrad import files


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "some.json"
    files.write_json(path, {"a": 1.5})
    assert path.read_text() == '{\n "a": 1.5\n}\n'
    with pytest.raises(ValueError, match="nan"):
        files.write_json(path, {"a": float("nan")})
    with pytest.raises(FileNotFoundError):
        files.write_whole(tmp_path / "absent" / "some.json", b"")
    assert list(tmp_path.iterdir()) == [path]
    path.write_bytes(b"abc")  # whose SHA-256 is that of FIPS 180-2
    assert files.digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def elsewhere(path: Path) -> str:
    """Return the output of another process that tries to lock, without waiting."""
    code = f"""if True:
        from pathlib import Path
        from sweepgrad.files import locked
        try:
            with locked(Path({str(path)!r}), wait=False):
                print("got it")
        except BlockingIOError:
            print("refused")
    """
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("name", [".", "file"])
def test_who_comes_second_is_kept_out_until_the_first_is_done(tmp_path, name):
    path = tmp_path / name
    with files.locked(path, make=name == "file"):
        assert elsewhere(path) == "refused"
        with pytest.raises(BlockingIOError), files.locked(path, wait=False):  # in this process too
            pass
    assert elsewhere(path) == "got it"
