"""The files of an evaluation: the results of its splits, sealed, and the data of its page."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from sweepgrad.bounded import reading
from sweepgrad.errors import UserError
from sweepgrad.files import digest, write_json
from sweepgrad.selection import seals
from sweepgrad.selection.evaluation import Evaluation, SplitResult
from sweepgrad.tracking.mapping import Logged

SPLITS = "splits.json"
SPLITS_DIGEST = "sweepgrad.splits_digest"  # a tag of a sweep's own run: SHA-256 of this file


def keep(file: Path, results: Iterable[SplitResult]) -> None:
    """Write the results of the splits of a sweep, each with its checksum."""
    write_json(file, [seals.sealed(each.to_json()) for each in results])


def written(file: Path) -> object:
    """Return the data of a page; None if they are missing or damaged, so that the page is written again."""
    try:
        return reading.load(file, reading.RESULTS)
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def _naming(file: Path, where: str = "") -> Iterator[None]:
    """Add to an error of `seals` the file, where the difference is in it, and the remedy."""
    try:
        yield
    except UserError as error:
        raise UserError(
            f"{file}{where} {error}. Restore it, or move it away, and the next sweepgrad evaluate restores it"
            " from the MLflow store; if the store's was changed, restore the store from a backup"
        ) from None


def kept_in(file: Path, *, sealed: bool = False) -> list[SplitResult]:
    """Return the results of the splits of a sweep; empty if the file does not exist.

    Arguments:
        sealed: refuse results without a checksum, which those of older versions do not have.

    Raises:
        UserError: it cannot be read, or was changed. It may hold test results, so it must not be overwritten.
    """
    try:
        values = reading.load(file, reading.RESULTS)
        results = [SplitResult.from_json(each) for each in values]
        for result, each in zip(results, values, strict=True):
            with _naming(file, f", {result.split}:"):
                seals.check(each, required=sealed)
        return results
    except FileNotFoundError:
        return []
    except (KeyError, TypeError, ValidationError) as error:
        why = reading.described(error)
        raise UserError(
            f"{file} was written by another version of sweepgrad ({why}), and test results"
            " are not overwritten. Read evaluation.md in the same folder, or evaluate with that version"
        ) from None
    except ValueError as error:
        raise UserError(
            f"{file} is damaged ({error}). It holds test results and is not overwritten: restore it, or move"
            " it away; if its results were sent to the MLflow store, they are read from there"
        ) from None


def compare(file: Path, whole: Evaluation, sweep: Logged) -> None:
    """Check that an evaluation is the one that was sent to the store.

    Raises:
        UserError: a figure or the digest of the results is another one.
    """
    with _naming(file):
        seals.compare_metrics(sweep, whole.figures, "evaluation/")
        seals.compare(file, sweep, SPLITS_DIGEST)


def sent(file: Path) -> dict[str, str]:
    """Return the tag of a sweep's own run that says which results it has."""
    return {SPLITS_DIGEST: digest(file)}
