"""Access to a table's rows, with the test rows kept apart.

`open_training` and `Tables`, a cache for one command, return training and validation rows. `open_test`, which
only `sweepgrad finalize` and `sweepgrad evaluate` call, returns test rows.
"""

import logging
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np

from sweepgrad.config.data import FileData, SimulatedData
from sweepgrad.config.split import Split
from sweepgrad.data.arrays import DType, feature_arrays
from sweepgrad.data.audit.certificate import Certificate, certify
from sweepgrad.data.audit.report import CheckReport, check_table
from sweepgrad.data.digests import Digests, refuse_changed
from sweepgrad.data.io.files import locate
from sweepgrad.data.preprocess.fit import fit_preprocessor
from sweepgrad.data.preprocess.transforms import Features, Preprocessor
from sweepgrad.data.schema.roles import Roles
from sweepgrad.data.split import PARTS, Part, Parts, split_rows, uneven_parts
from sweepgrad.data.table import Rows as Rows
from sweepgrad.data.table import Table, check_parts, read
from sweepgrad.errors import UserError
from sweepgrad.messages import ProgressLog

log = logging.getLogger(__name__)

Data = FileData | SimulatedData

_MOST = 4  # cached tables, whatever their size
_SMALL = 2**30  # bytes: up to this size more tables are cached, for sweeps over folds
_LARGE = 100_000_000  # bytes, read in about a second


@dataclass(frozen=True, eq=False)
class Training:
    """Training and validation rows as features: all that a job may read.

    It contains no test row, no index of one and no means to read one. There are `n_test` test rows, which
    `digests.test` identifies for a later test-set evaluation.

    Attributes:
        X: features (n_train + n_val, D) of the training rows, then of the validation rows: one C-contiguous,
            read-only array of the requested type.
        y: labels 0 and 1, shape (n_train + n_val,), read-only, of the same type.
        preprocessor: fitted to the training rows; it computed X.
        roles: the role of each column of the table.
        source: the file's absolute path, or "simulated".
        certificate: the leaks found, if any.
        notices: messages to the user, such as inferred roles.
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
    """Return training and validation rows, without constant columns.

    Equal calls share one copy as long as the file does not change.

    Arguments:
        dtype: of the features and labels, float64 or float32.

    Raises:
        UserError: if the table is invalid (see `table.read`), a set would be empty or lack a class, or a
            column identifies rows or reveals the target.
    """
    wanted = (data, split, np.dtype(dtype))
    with _opening:  # jobs in other threads wait for the shared copy instead of making their own
        now = (*wanted, _version(data))
        if now not in _opened:
            for known in list(_opened):
                kept = sum(training.X.nbytes for training in _opened.values())
                full = len(_opened) >= _MOST and kept > _SMALL
                if known[:3] == wanted or full:  # an older version, or the oldest
                    del _opened[known]
            progress = ProgressLog(log, data.name)
            prepared = _prepared(_read(data, progress), data, split, progress)
            _opened[now] = _training(prepared, data, dtype, progress)
        else:
            _opened[now] = _opened.pop(now)
        return _opened[now]


class Tables:
    """The tables of one command: each is read once, and prepared once for each of its splits.

    It returns no test rows; see `open_test`.
    """

    def __init__(self) -> None:
        self._read: dict[Data, Table] = {}
        self._opened: dict[tuple[Data, Split], _Opened] = {}
        self._training: dict[tuple[Data, Split, np.dtype[Any]], Training] = {}

    def training(self, data: Data, split: Split, dtype: DType = np.float64) -> Training:
        """Return training and validation rows, as `open_training` does; raise the same errors."""
        wanted = (data, split, np.dtype(dtype))
        if wanted not in self._training:
            opened = self._open(data, split)
            self._training[wanted] = _training(opened, data, dtype, ProgressLog(log, data.name))
        return self._training[wanted]

    def validation(self, data: Data, split: Split, expected: Digests, model: str) -> Rows:
        """Return the validation rows with their raw values: feature and group columns.

        Arguments:
            expected: the digests of the table that was trained on.
            model: what was trained, for messages.

        Raises:
            UserError: as `open_training` does, or if the digests differ from the expected ones.
        """
        return _rows(self, data, split, expected, model, "val")

    def labels(self, data: Data, split: Split, expected: Digests, model: str) -> Features:
        """Return the labels of the validation rows, (n_val,), without preparing the other columns.

        Arguments and errors are those of `validation`.
        """
        if data not in self._read:
            self._read[data] = _read(data, ProgressLog(log, data.name))
        table = self._read[data]
        opened = self._opened.get((data, split))
        parts = opened.parts if opened else split_rows(table.y, table.units(), split)
        refuse_changed(table.source, _digests(table, parts), expected, model)
        return table.y[parts.mask("val")].astype(np.float64)

    def _open(self, data: Data, split: Split) -> "_Opened":
        if (data, split) not in self._opened:
            progress = ProgressLog(log, data.name)
            if data not in self._read:
                self._read[data] = _read(data, progress)
            self._opened[data, split] = _prepared(self._read[data], data, split, progress)
        return self._opened[data, split]


def open_test(tables: Tables, data: Data, split: Split, expected: Digests, model: str) -> Rows:
    """Return the test rows, with the same columns as `open_training`. For `finalize` and `evaluate` only.

    Raises:
        UserError: as `Tables.validation` does.
    """
    return _rows(tables, data, split, expected, model, "test")


def open_check(data: Data, split: Split) -> CheckReport:
    """Return a report on a table with the problems of all its columns, but no row.

    All labels are read, for the split and the share of positive rows.

    Raises:
        UserError: if the table cannot be read, or a set would be empty or lack a class.
    """
    progress = ProgressLog(log, data.name)
    table = _read(data, progress)
    parts = split_rows(table.y, table.units(), split)
    check_parts(table, parts, split)
    notices = table.notices + uneven_parts(parts, split)
    return check_table(table, parts, notices, unexamined=_unexamined(data, table), progress=progress.tell)


def _rows(tables: Tables, data: Data, split: Split, expected: Digests, model: str, part: Part) -> Rows:
    opened = tables._open(data, split)
    refuse_changed(opened.table.source, opened.digests, expected, model)
    return opened.table.rows(opened.parts.mask(part))


@dataclass(frozen=True, eq=False)
class _Opened:
    table: Table
    parts: Parts
    preprocessor: Preprocessor

    @property
    def digests(self) -> Digests:
        return _digests(self.table, self.parts)


def _digests(table: Table, parts: Parts) -> Digests:
    return Digests(table.columns.digest, *(parts.digest(part) for part in PARTS))


def _read(data: Data, progress: ProgressLog) -> Table:
    if (size := _size(data)) > _LARGE:
        progress.say(f"reading {size / 1e6:.0f} MB …")
    return read(data)


def _prepared(table: Table, data: Data, split: Split, progress: ProgressLog) -> _Opened:
    """Split a table and fit its preprocessing; drop or refuse columns by what the training rows show."""
    progress.tell("splitting the rows")
    parts = split_rows(table.y, table.units(), split)
    check_parts(table, parts, split)
    fitted = fit_preprocessor(
        table.columns,
        table.y,
        table.roles,
        parts.mask("train"),
        unexamined=_unexamined(data, table),
        progress=progress.tell,
    )
    findings = fitted.findings
    if refused := [finding for finding in findings if finding.refused]:
        raise UserError(
            f"{table.source}: {'; '.join(finding.reason for finding in refused)}. Add "
            f"{', '.join(finding.column for finding in refused)} to data.drop, or to data.keep if known when "
            "predicting"
        )
    table = table.without([finding.column for finding in findings])
    if not table.roles.features:
        raise UserError(f"{table.source}: every feature is constant in the training rows; check data.drop")
    dropped = tuple(
        f"{finding.reason}, so it is dropped; add it to data.drop to silence this" for finding in findings
    )
    table = replace(table, notices=table.notices + dropped + uneven_parts(parts, split))
    return _Opened(table, parts, fitted.preprocessor)


def _unexamined(data: Data, table: Table) -> tuple[str, ...]:
    """Return the columns that are used without being checked."""
    # A simulated table may be predictable, and none of its columns is an identifier.
    return data.keep if isinstance(data, FileData) else table.roles.features


def _training(opened: _Opened, data: Data, dtype: DType, progress: ProgressLog) -> Training:
    table, parts, preprocessor = opened.table, opened.parts, opened.preprocessor
    unexamined = _unexamined(data, table)
    certificate = certify(table, parts, preprocessor, unexamined=unexamined, progress=progress.tell)
    X, y, notices = feature_arrays(table, parts, preprocessor, dtype, progress)
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
        notices=(*table.notices, *notices),
    )


def _size(data: Data) -> int:
    """Return the number of bytes to be read or drawn."""
    if isinstance(data, SimulatedData):
        return 8 * data.rows * data.features
    return version[2] if (version := _version(data)) else 0


def _version(data: FileData | SimulatedData) -> tuple[str, int, int] | None:
    """Return the path, modification time and size of the file: they change when it does."""
    if isinstance(data, SimulatedData):
        return None
    try:
        status = (path := locate(data)).stat()
    except OSError:
        return None  # `read` raises the error
    return str(path), status.st_mtime_ns, status.st_size
