"""Mutations of files: bytes, JSON values, members of zip archives, headers of NumPy arrays.

A mutation is a function of a `random.Random`, so that a seed reproduces it.
"""

import io
import json
import random
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

Random = random.Random

_NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 255, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 10**400),
    *(0.0, -0.0, 0.5, -1.5, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
)
_TEXTS = (
    *("", "x", "0", "1.5", "nan", "null", "../../etc/passwd", "/dev/zero", "a/b", "..", ".", "a" * 20_000),
    *(
        "\x1b[31mred",
        "a\nb",
        "\x00",
        "\u202e",
        "\U0001f600",
        "é",
        "<script>",
        "=1+1",
        "${oc.env:HOME}",
        "{0.x}",
    ),
)
_RAW = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1" * 5000, b"-", b"[", b"{", b"]", b"}", b",",
    b'"\\ud800"', b'"\\u0000"', b"\xff", b"\xed\xa0\x80", b"[" * 500, b'{"a":' * 500, b"//", b"tru",
    b"\xef\xbb\xbf", b"0x10", b"01", b"1.", b".5", b'"', b"'", b"\x00",
)  # fmt: skip


_LARGEST = 1 << 20  # characters


def of_bytes(rng: Random, content: bytes) -> bytes:
    """Change, delete, repeat or add some bytes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 30))):
        at, n = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 8, 64, 1000))
        kind = rng.randrange(7)
        if kind == 0 and data:
            data[min(at, len(data) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + n] = rng.randbytes(n)
        elif kind == 2:
            del data[at : at + n]
        elif kind == 3:
            data[at:at] = data[at : at + n] * rng.choice((1, 2, 10))
        elif kind == 4:
            data[at:at] = rng.choice(_RAW)
        elif kind == 5:
            data[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 65536)))
        else:
            del data[at:]
    return bytes(data)


def of_json(rng: Random, content: bytes) -> bytes:
    """Change some values, keys or the nesting of a JSON text."""
    value = json.loads(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        value = _changed(rng, value)
        if len(json.dumps(value)) > _LARGEST:
            break
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:  # a key twice
        text = re.sub(rb'("[^"\\]{1,30}": )', rb"\g<1>0, \g<1>", text, count=rng.randrange(1, 20))
    return of_bytes(rng, text) if rng.random() < 0.1 else text


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return each place in a value as a list or dictionary and a key of it."""
    found, waiting = [], [value]
    while waiting:
        each = waiting.pop()
        keys: Any = each if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        for key in list(keys):
            found.append((each, key))
            waiting.append(each[key])
    return found


def _changed(rng: Random, value: Any) -> Any:
    places = _places(value)
    if not places or rng.random() < 0.02:
        return _replacement(rng, value)
    holder, key = rng.choice(places)
    kind = rng.randrange(10)
    if kind < 5:
        holder[key] = _replacement(rng, holder[key])
    elif kind == 5:
        del holder[key]
    elif kind == 6 and isinstance(holder, dict):
        holder[rng.choice((*_TEXTS, "format", "__class__", "members", key + " "))] = holder.pop(key)
    elif kind == 7 and isinstance(holder, dict):
        holder[rng.choice(_TEXTS)] = _replacement(rng, 0)
    elif kind == 8 and isinstance(holder, list):
        holder[key:key] = _copies(rng, holder[key])
    else:
        other, place = rng.choice(places)  # values change places
        if isinstance(holder[key], (dict, list)) or isinstance(other[place], (dict, list)):
            holder[key] = json.loads(json.dumps(other[place]))
        else:
            holder[key], other[place] = other[place], holder[key]
    return value


def _copies(rng: Random, value: Any) -> list[Any]:
    """Return some copies of a value, which together are not too large."""
    text = json.dumps(value)
    return [json.loads(text) for _ in range(min(rng.choice((0, 1, 3, 10_000)), _LARGEST // len(text)))]


def _replacement(rng: Random, value: Any) -> Any:
    kind = rng.randrange(9)
    if kind == 0:
        return json.loads(rng.choice(("null", "true", "false", "[]", "{}", "[[]]", "[null]", '{"": null}')))
    if kind == 1:
        return rng.choice(_TEXTS)
    if kind == 2:
        for _ in range(rng.choice((1, 3, 40, 150, 400))):
            value = [value] if rng.random() < 0.5 else {"a": value}
        return value
    if kind == 3 and isinstance(value, (int, float)):
        return str(value)
    if kind == 4 and isinstance(value, (int, float)) and not isinstance(value, bool):
        return value * rng.choice((-1, 0, 2, 10, 1000, 1e300)) if abs(value) < 2**53 else 0
    if kind == 5:
        return _copies(rng, value)
    if kind == 6 and isinstance(value, str):
        return value[: rng.randrange(len(value) + 1)] + rng.choice(_TEXTS)
    return rng.choice(_NUMBERS)


_DTYPES = (
    "<f8", "<f4", ">f8", "<f2", "<i8", "|b1", "|u1", "<c16", "|O", "|V8", "<U1", "|S5", "<M8[ns]", "<f16",
    "[('a', '<f8')]", "None", "<f8\\x00", "f8", "<f999999999",
)  # fmt: skip
_SHAPES = (
    "()", "(0,)", "(1,)", "(3, 4)", "(4, 3)", "(12,)", "(-1,)", "(1000000000,)", "(4294967296, 4294967296)",
    "(9223372036854775807,)", "(3L,)", "(True,)", "[3]", "(" * 200 + ")" * 200, "(1, " * 40 + ")" * 40,
)  # fmt: skip


def of_npy(rng: Random, content: bytes) -> bytes:
    """Change the header or the numbers of a NumPy array."""
    kind = rng.randrange(8)
    start = 10 + int.from_bytes(content[8:10], "little")
    header, numbers = content[10:start], content[start:]
    if kind == 0:
        return of_bytes(rng, content)
    if kind == 1:
        header = re.sub(rb"'<f[48]'", lambda _: b"'%s'" % rng.choice(_DTYPES).encode(), header)
    elif kind == 2:
        header = re.sub(rb"\([^)]*\)", lambda _: rng.choice(_SHAPES).encode(), header)
    elif kind == 3:
        header = header.replace(b"False", rng.choice((b"True", b"None", b"0", b"'x'", b"False or True")))
    elif kind == 4:
        numbers = numbers[: rng.randrange(len(numbers) + 1)] + rng.randbytes(rng.choice((0, 0, 8, 1000)))
    elif kind == 5 and len(numbers) >= 8:
        at = 8 * rng.randrange(len(numbers) // 8)
        number = rng.choice((float("nan"), float("inf"), -float("inf"), 1e308, 5e-324))
        numbers = numbers[:at] + struct.pack("<d", number) + numbers[at + 8 :]
    elif kind == 6:
        value = rng.choice(
            (b"__import__('os').getpid()", b"{" * 3000, b"'a'" * 3000, b"1" * 9000, b"[" * 9000)
        )
        header = header.replace(b"'shape'", b"'shape': " + value + b", 'x'")
    else:
        made = io.BytesIO()
        np.save(
            made,
            np.zeros(rng.choice(((0,), (3, 4), (1,), (1, 1, 1), (2,) * 12)), rng.choice(("f8", "i4", "f4"))),
        )
        return made.getvalue()
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    width = 2 if version[0] == 1 else 4
    length = len(header) if rng.random() < 0.8 else rng.choice((0, 1, 65535, 100))
    return b"\x93NUMPY" + version + length.to_bytes(width, "little") + header + numbers


def of_zip(rng: Random, content: bytes) -> bytes:
    """Change the members of an archive, or its own structures."""
    if rng.random() < 0.25:
        return of_bytes(rng, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    compression = rng.choice(
        (zipfile.ZIP_STORED,) * 6 + (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    at = rng.randrange(len(members)) if members else 0
    name, data = members[at] if members else ("w0.npy", b"")
    kind = rng.randrange(11)
    if kind < 4 and members:
        members[at] = (name, of_npy(rng, data))
    elif kind == 4 and members:
        del members[at]
    elif kind == 5:
        members.insert(at, (name, data))
    elif kind == 6 and members:
        other = (
            *("../w0.npy", "/w0.npy", "w00.npy", "W0.npy", "w0", "w\u0660.npy", "w-1.npy", "w0.npy\x00.txt"),
            "",
        )
        members[at] = (rng.choice(other) or name * 2, data)
    elif kind == 7:
        members += [(f"w{len(members) + i}.npy", data) for i in range(rng.choice((1, 2, 500)))]
    elif kind == 8:
        made = io.BytesIO()
        np.save(made, np.zeros((rng.choice((10, 1000, 1_000_000)), 1)))
        members[at : at + 1] = [(name, made.getvalue())]
        compression = zipfile.ZIP_DEFLATED
    elif kind == 9:
        rng.shuffle(members)
    made = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(made, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, data in members:
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=rng.random() < 0.5) as member:
                member.write(data)
        archive.comment = rng.choice((b"", b"", b"", b"x" * 65535))
    changed = bytearray(made.getvalue())
    if kind == 10:  # sizes, offsets, flags and versions in the headers
        magic = rng.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
        places = [found.start() for found in re.finditer(re.escape(magic), changed)]
        place = rng.choice(places) + rng.choice((4, 6, 8, 10, 14, 16, 18, 20, 22, 24, 26, 28, 30, 34, 38, 42))
        value = struct.pack("<I", rng.choice((0, 1, 9, 99, 2**16 - 1, 2**31, 2**32 - 1, rng.getrandbits(32))))
        width = rng.choice((1, 2, 4))
        changed[place : place + width] = value[:width]
    return bytes(changed)


Mutation = Callable[[Random, bytes], bytes]
