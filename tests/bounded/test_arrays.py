"""Arrays are read as NumPy writes them, if they are the expected ones; nothing is allocated before."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sweepgrad.bounded import arrays
from sweepgrad.errors import DamagedFile

MATRIX = np.arange(12.0).reshape(3, 4)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f8", ">f4"])
@pytest.mark.parametrize(
    "array", [MATRIX, MATRIX.T, MATRIX[0], np.float64(2.5).reshape(()), np.zeros((0, 3))]
)
def test_an_array_is_read_as_numpy_reads_it(array, dtype):
    content = npy(array.astype(dtype))
    expected = np.load(io.BytesIO(content))
    found = arrays.parse(content, array.shape)
    assert np.array_equal(found, expected)
    assert found.dtype == expected.dtype.newbyteorder("=")
    assert found.flags.f_contiguous == expected.flags.f_contiguous  # products may round differently
    assert found.flags.writeable


def test_a_length_may_be_any(tmp_path):
    np.save(tmp_path / "state.npy", MATRIX)
    assert np.array_equal(arrays.load(tmp_path / "state.npy", (None, 4)), MATRIX)
    with pytest.raises(DamagedFile, match=r"its shape is \(3, 4\), not \(any, 5\)"):
        arrays.load(tmp_path / "state.npy", (None, 5))


def header(text: str, numbers: bytes = MATRIX.tobytes(), version: bytes = b"\x01\x00") -> bytes:
    content = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(content)) + content + numbers


GOOD = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a NumPy array"),
        (b"\x93NUMPY\x03\x00" + b"\x00" * 200, "not a NumPy array of format 1 or 2"),
        (header(GOOD.replace("<f8", "|O")), "its header"),
        (header(GOOD.replace("<f8", "<i8")), "its header"),
        (header(GOOD.replace("'<f8'", "[('a', '<f8')]")), "its header"),
        (header(GOOD.replace("(3, 4)", "(-3, 4)")), "its header"),
        (header(GOOD.replace("False", "print(1)")), "its header"),
        (header("{" * 100), "its header"),
        (header(GOOD.replace("(3, 4)", "(3000000000, 4)")), "its shape is"),
        (header(GOOD, MATRIX.tobytes()[:-1]), "95 bytes of numbers"),
        (header(GOOD, MATRIX.tobytes() + b"x"), "97 bytes of numbers"),
        (header(GOOD, np.full(12, np.nan).tobytes()), "not finite"),
        (header(GOOD, np.full(12, -np.inf).tobytes()), "not finite"),
    ],
)
def test_an_array_that_is_not_as_expected_is_refused(content, problem):
    assert np.array_equal(arrays.parse(header(GOOD), (3, 4)), MATRIX)
    with pytest.raises(DamagedFile, match=problem):
        arrays.parse(content, (3, 4))


def test_an_array_is_copied_once():
    """Besides the array, the check for infinities takes a byte for each number."""
    content = npy(np.ones(1 << 20))
    tracemalloc.start()
    try:
        arrays.parse(content, (None,))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * len(content)


def test_nan_may_be_allowed():
    content = header(GOOD, np.full(12, np.nan).tobytes())
    assert np.isnan(arrays.parse(content, (3, 4), finite=False)).all()


W0, W1 = npy(MATRIX), npy(MATRIX[0])
SHAPES = {"w0": (3, 4), "w1": (4,)}


@pytest.fixture
def load(tmp_path) -> Callable[[bytes], dict[str, np.ndarray]]:
    def loaded(content: bytes) -> dict[str, np.ndarray]:
        path = Path(tmp_path, "weights.npz")
        path.write_bytes(content)
        return arrays.load_all(path, SHAPES)

    return loaded


def test_an_archive_is_read_as_numpy_writes_it(load):
    file = io.BytesIO()
    np.savez(file, w1=MATRIX[0], w0=MATRIX)
    found = load(file.getvalue())
    assert list(found) == ["w0", "w1"]
    assert np.array_equal(found["w0"], MATRIX)
    assert np.array_equal(found["w1"], MATRIX[0])


def test_the_members_of_an_archive_are_copied_once(tmp_path):
    """Besides the file and the array, the check for infinities takes a byte for each number."""
    path = tmp_path / "weights.npz"
    np.savez(path, w=np.ones(1 << 20))
    tracemalloc.start()
    try:
        arrays.load_all(path, {"w": (1 << 20,)})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.2 * path.stat().st_size


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({}, "0 members"),
        ({"w0.npy": W0}, "1 members, such as 'w0.npy', where 2 arrays are expected"),
        ({"w0.npy": W0, "w1.npy": W1, "w2.npy": W1}, "3 members"),
        ({"w0.npy": W0, "../w1.npy": W1}, "2 members"),
        ({"w0.npy": W1, "w1.npy": W0}, "w0: its shape is"),
        ({"w0.npy": npy(np.zeros((3, 40))), "w1.npy": W1}, "w0.npy has 1088 bytes, and at most|its shape is"),
        ({"w0.npy": W0, "w1.npy": npy(np.array([None] * 4, dtype=object))}, "w1: its header"),
    ],
)
def test_an_archive_that_holds_anything_else_is_refused(load, members, problem):
    with pytest.raises(DamagedFile, match=problem):
        load(npz(members))


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members_are_refused_without_unpacking(load, compression):
    zeros = npy(np.zeros((100_000, 1)))
    bomb = npz({"w0.npy": zeros, "w1.npy": W1}, compression)
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFile, match=r"is compressed|are read"):
            load(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_members_that_share_their_bytes_are_refused(load):
    content = npz({"w0.npy": W0, "w1.npy": W1})
    place = content.rindex(b"PK\x01\x02")  # the second entry of the directory
    first = content.index(b"PK\x01\x02")
    shared = bytearray(content)
    shared[place + 42 : place + 46] = shared[first + 42 : first + 46]
    with pytest.raises(DamagedFile, match="overlap"):
        load(bytes(shared))


def test_every_bit_of_an_archive_matters_or_does_not_change_what_is_read(load):
    content = npz({"w0.npy": W0, "w1.npy": W1})
    for at in range(0, len(content), 3):
        changed = bytearray(content)
        changed[at] ^= 1 << (at % 8)
        try:
            found = load(bytes(changed))
        except DamagedFile:
            continue
        assert np.array_equal(found["w0"], MATRIX)
        assert np.array_equal(found["w1"], MATRIX[0])
