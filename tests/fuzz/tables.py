"""Fuzz target: CSV and Parquet files, read to the last row."""

import io
import random
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from tests.fuzz.mutations import of_bytes

from sweepgrad.data.io.files import open_columns

SHORT = 15  # inputs in `make test`
_CELLS = (
    *(
        "",
        "NA",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "0x1F",
        "1_000",
        "1,5",
        '"',
        '""',
        '"a\nb"',
        "a;b",
        "\t",
        "\x00",
        "é",
    ),
    *("\u202e", "=1+1", "9" * 400, "1e-400", "True", "2020-01-01", "\x1b[31m", "a" * 100_000, "-", "."),
)


def _frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": np.arange(rows) / 3,
            "count": np.arange(rows),
            "town": ["Ulm", "Rom", None][:rows] * (rows // 3) + ["Ulm"] * (rows % 3),
            "member": np.arange(rows) % 2 == 0,
            "when": pd.date_range("2026-01-01", periods=rows),
        }
    )


def examples() -> st.SearchStrategy[bytes]:
    """Return files, changed, each after its name and the end of a line."""
    return st.integers(0, 2**62).map(made)


def made(seed: int) -> bytes:
    """Return a file, changed, after its name and the end of a line."""
    rng = random.Random(seed)
    rows = rng.choice((0, 1, 3, 30))
    if rng.random() < 0.5:
        frame = _frame(rows)
        if rng.random() < 0.3:
            frame = frame.set_index("age")
        file = io.BytesIO()
        frame.to_parquet(file, compression=rng.choice(("snappy", "zstd", "gzip", None)))
        content = file.getvalue()
        footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        if rng.random() < 0.6:  # the header is at the end
            return b"table.parquet\n" + content[:footer] + of_bytes(rng, content[footer:])
        return b"table.parquet\n" + of_bytes(rng, content)
    lines = [line.split(",") for line in _frame(rows).to_csv(index=False).splitlines()]
    for _ in range(rng.choice((0, 1, 3))):
        line = rng.choice(lines)
        kind = rng.randrange(5)
        if kind == 0:
            line[rng.randrange(len(line)) : len(line)] = []
        elif kind == 1:
            line *= rng.choice((2, 100, max(2, 50_000 // len(line))))
        elif kind == 2 and lines:
            lines = [list(each) for each in lines * 2]
        elif line and len(line) < 1000:
            line[rng.randrange(len(line))] = rng.choice(_CELLS)
        lines = [each for each in lines if each] or [["a"]]
    content = rng.choice(("\n", "\r\n", "\r")).join(map(",".join, lines)).encode("utf-8", "surrogatepass")
    return b"table.csv\n" + (of_bytes(rng, content) if rng.random() < 0.5 else content)


def attack(data: bytes) -> None:
    """Open a table and read its columns."""
    name, _, content = data.partition(b"\n")
    path = Path(name.decode())
    path.write_bytes(content)
    try:
        columns = open_columns(path.absolute(), None)
        rows = sum(len(block) for block in columns.blocks(columns.names))
        assert rows == columns.n_rows
        columns.notices(columns.names)
    finally:
        path.unlink()
