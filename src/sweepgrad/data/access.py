"""The way to a table's rows, and the seal on the test rows.

`open_training` gives training and validation rows as features, and it is all that a job ever calls. `Tables`
keeps what one command that chooses or judges has read, and gives training and validation rows. `open_test`
gives the test rows, and `sweepgrad finalize` and `sweepgrad evaluate` alone call it, once a model is chosen.
"""

import logging
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np

from sweepgrad.config.data import FileData, SimulatedData
from sweepgrad.config.split import Split
from sweepgrad.data.arrays import DType, place
from sweepgrad.data.audit.certificate import Certificate, certify
from sweepgrad.data.audit.report import CheckReport, look
from sweepgrad.data.digests import Digests, refuse_changed
from sweepgrad.data.io.files import locate
from sweepgrad.data.preprocess.fit import learn
from sweepgrad.data.preprocess.transforms import Features, Preprocessor
from sweepgrad.data.schema.roles import Roles
from sweepgrad.data.split import PARTS, Part, Parts, lopsided, split_rows
from sweepgrad.data.table import Rows as Rows
from sweepgrad.data.table import Table, read
from sweepgrad.errors import UserError
from sweepgrad.messages import ProgressLog

log = logging.getLogger(__name__)

Data = FileData | SimulatedData

_MOST = 4  # tables that are kept open, however large
_SMALL = 2**30  # bytes that may be kept of more: a sweep over folds asks for each table in turn
_LARGE = 100_000_000  # bytes: to read as many takes about a second


@dataclass(frozen=True, eq=False)
class Training:
    """All that a job may see: no test row is in it, no index of one, and nothing that could read one.

    `n_test` is how many there are, and `digests.test` lets the one who opens them prove which they were.

    Attributes:
        X: features (n_train + n_val, D) of the training rows and, after them, of the validation rows: one
            C-contiguous array, read-only, in the type that was asked for.
        y: their labels, 0 and 1, shape (n_train + n_val,), in the same type, read-only.
        preprocessor: fitted to the training rows, and what made X.
        roles: what each column of the table is for.
        source: the file's absolute path, or "simulated".
        certificate: what leaks, or that nothing does: counts, digests and names of columns.
        notices: what the user should be told, such as roles that were guessed.
    """

    X: Features
    y: Features
    n_train: int
    n_val: int
    n_test: int
    preprocessor: Preprocessor
    roles: Roles
    source: str
    digests: Digests
    certificate: Certificate
    notices: tuple[str, ...]

    @property
    def X_train(self) -> Features:
        return self.X[: self.n_train]

    @property
    def y_train(self) -> Features:
        return self.y[: self.n_train]

    @property
    def X_val(self) -> Features:
        return self.X[self.n_train :]

    @property
    def y_val(self) -> Features:
        return self.y[self.n_train :]


_opened: dict[tuple[Any, ...], Training] = {}
_opening = Lock()


def open_training(data: Data, split: Split, dtype: DType = np.float64) -> Training:
    """Training and validation rows. Calls with equal arguments share one copy while the file stays the same.

    Constant columns are dropped, with a notice.

    Arguments:
        dtype: of the features and labels, float64 or float32.

    Raises:
        UserError: if the table is unfit (see `table.read`), a part would be empty or lack a class, or a
            column identifies rows or gives the target away.
    """
    wanted = (data, split, np.dtype(dtype))
    with _opening:  # jobs in other threads wait for the one copy, rather than make their own
        now = (*wanted, _version(data))
        if now not in _opened:
            for known in list(_opened):
                kept = sum(training.X.nbytes for training in _opened.values())
                full = len(_opened) >= _MOST and kept > _SMALL
                if known[:3] == wanted or full:  # an older version, or the oldest
                    del _opened[known]
            pace = ProgressLog(log, data.name)
            _opened[now] = _training(_prepared(_read(data, pace), data, split, pace), data, dtype, pace)
        else:
            _opened[now] = _opened.pop(now)
        return _opened[now]


class Tables:
    """The tables of one command: each is read once, and prepared once for each split of it.

    No test rows come from here: see `open_test`.
    """

    def __init__(self) -> None:
        self._read: dict[Data, Table] = {}
        self._opened: dict[tuple[Data, Split], _Opened] = {}
        self._training: dict[tuple[Data, Split, np.dtype[Any]], Training] = {}

    def training(self, data: Data, split: Split, dtype: DType = np.float64) -> Training:
        """Return and raise what `open_training` does."""
        which = (data, split, np.dtype(dtype))
        if which not in self._training:
            self._training[which] = _training(
                self._open(data, split), data, dtype, ProgressLog(log, data.name)
            )
        return self._training[which]

    def validation(self, data: Data, split: Split, expected: Digests, whose: str) -> Rows:
        """Return the validation rows as the table has them, with the columns that are learned from.

        Arguments:
            expected: of what was trained on.
            whose: what was trained, for people.

        Raises:
            UserError: as `open_training`; or what was read is not what the digests speak of.
        """
        return _rows(self, data, split, expected, whose, "val")

    def _open(self, data: Data, split: Split) -> "_Opened":
        if (data, split) not in self._opened:
            pace = ProgressLog(log, data.name)
            if data not in self._read:
                self._read[data] = _read(data, pace)
            self._opened[data, split] = _prepared(self._read[data], data, split, pace)
        return self._opened[data, split]


def open_test(tables: Tables, data: Data, split: Split, expected: Digests, whose: str) -> Rows:
    """Return the test rows, with the columns that `open_training` gives. For `finalize` and `evaluate` only.

    Raises:
        UserError: as `Tables.validation` does.
    """
    return _rows(tables, data, split, expected, whose, "test")


def open_check(data: Data, split: Split) -> CheckReport:
    """What a table is like, all faults of its columns at once, and no row of it.

    Labels of validation and test rows are read for the split, and counted over the whole table.

    Raises:
        UserError: if the table cannot be read or a part would be empty or lack a class.
    """
    pace = ProgressLog(log, data.name)
    table = _read(data, pace)
    parts = split_rows(table.y, table.units(), split)
    _check_parts(table, parts, split)
    notices = table.notices + lopsided(parts, split)
    return look(table, parts, notices, unexamined=_unexamined(data, table), tell=pace.tell)


def _rows(tables: Tables, data: Data, split: Split, expected: Digests, whose: str, part: Part) -> Rows:
    opened = tables._open(data, split)
    refuse_changed(opened.table.source, opened.digests, expected, whose)
    return opened.table.rows(opened.parts.mask(part))


@dataclass(frozen=True, eq=False)
class _Opened:
    table: Table
    parts: Parts
    preprocessor: Preprocessor

    @property
    def digests(self) -> Digests:
        return Digests(self.table.columns.digest, *(self.parts.digest(part) for part in PARTS))


def _read(data: Data, pace: ProgressLog) -> Table:
    if (size := _size(data)) > _LARGE:
        pace.say(f"reading {size / 1e6:.0f} MB …")
    return read(data)


def _prepared(table: Table, data: Data, split: Split, pace: ProgressLog) -> _Opened:
    """Split a table, learn from the training rows, and drop or refuse columns by what these say of them."""
    pace.tell("splitting the rows")
    parts = split_rows(table.y, table.units(), split)
    _check_parts(table, parts, split)
    learned = learn(
        table.columns,
        table.y,
        table.roles,
        parts.mask("train"),
        unexamined=_unexamined(data, table),
        tell=pace.tell,
    )
    findings = learned.findings
    refused = [finding for finding in findings if finding.refused]
    if refused:
        raise UserError(
            f"{table.source}: {'; '.join(finding.reason for finding in refused)}. List under data.drop: "
            f"{', '.join(finding.column for finding in refused)}. What is honestly known when predicting "
            "goes under data.keep instead"
        )
    table = table.without([finding.column for finding in findings])
    if not table.roles.features:
        raise UserError(f"{table.source}: every feature column is constant on the training rows")
    dropped = tuple(
        f"{finding.reason}, so it is dropped; list it under data.drop to silence this" for finding in findings
    )
    table = replace(table, notices=table.notices + dropped + lopsided(parts, split))
    return _Opened(table, parts, learned.preprocessor)


def _unexamined(data: Data, table: Table) -> tuple[str, ...]:
    """Columns to be learned from whatever they are like."""
    # A simulated table is meant to be predictable, and none of its columns is an identifier.
    return data.keep if isinstance(data, FileData) else table.roles.features


def _training(opened: _Opened, data: Data, dtype: DType, pace: ProgressLog) -> Training:
    table, parts, preprocessor = opened.table, opened.parts, opened.preprocessor
    certificate = certify(table, parts, preprocessor, unexamined=_unexamined(data, table), tell=pace.tell)
    X, y, kept = place(table, parts, preprocessor, dtype, pace)
    return Training(
        X,
        y,
        n_train=parts.size("train"),
        n_val=parts.size("val"),
        n_test=parts.size("test"),
        preprocessor=preprocessor,
        roles=table.roles,
        source=table.source,
        digests=opened.digests,
        certificate=certificate,
        notices=(*table.notices, *kept),
    )


def _size(data: Data) -> int:
    """Bytes to be read or drawn."""
    if isinstance(data, SimulatedData):
        return 8 * data.rows * data.features
    version = _version(data)
    return version[2] if version else 0


def _version(data: FileData | SimulatedData) -> tuple[str, int, int] | None:
    """What changes when the file does."""
    if isinstance(data, SimulatedData):
        return None
    path = locate(data)
    try:
        status = path.stat()
    except OSError:
        return None  # `read` says what is wrong with the file
    return str(path), status.st_mtime_ns, status.st_size


def _check_parts(table: Table, parts: Parts, split: Split) -> None:
    names: dict[str, Part] = {"training": "train", "validation": "val", "test": "test"}
    sizes = {name: parts.size(part) for name, part in names.items()}
    faults = []
    for name, part in names.items():
        positives = int(np.count_nonzero(table.y[parts.mask(part)]))
        if sizes[name] == 0:
            faults.append(f"the {name} part has no rows")
        elif positives in (0, sizes[name]):
            faults.append(f"the {name} part has {'only' if positives else 'no'} positive rows")
    if faults:
        said = ", ".join(f"{size} {name}" for name, size in sizes.items())
        groups = ", groups that are smaller (data.group)" if table.roles.group else ""
        folds = "" if split.fold is None else ", fewer folds (split.folds)"
        raise UserError(
            f"{table.source}: {'; '.join(faults)} ({len(table)} rows were split into {said}); it takes more "
            f"rows, other shares (split.train, split.val, split.test){folds}{groups} or another split.seed"
        )
