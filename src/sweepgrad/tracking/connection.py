"""Connect to an MLflow store, make it if there is none, and turn MLflow's exceptions into our errors."""

import logging
import os
import sqlite3
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from threading import RLock, local
from typing import Any
from urllib.error import HTTPError, URLError

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service import utils as service_utils
from sqlalchemy.exc import SQLAlchemyError

from sweepgrad.errors import UserError, first_line
from sweepgrad.files import locked
from sweepgrad.tracking import relocate, sqlite_store

log = logging.getLogger(__name__)


class Unreachable(UserError):
    """The MLflow store does not answer; trying again later may help."""


class Refused(UserError):
    """The MLflow store refuses a request; trying again does not help."""


class Missing(Refused):
    """The MLflow store does not have what is asked for."""


_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE", "PERMISSION_DENIED"}
_REFUSALS |= {"RESOURCE_ALREADY_EXISTS", "UNAUTHENTICATED"}
_MISSING = "RESOURCE_DOES_NOT_EXIST"


def prepare_sqlite(path: Path, uri: str) -> mlflow.MlflowClient:
    """Open a SQLite store, and make it if there is none; one process at a time.

    Raises:
        UserError: the file is damaged, another program's, or of a newer MLflow; or it was moved away without
            the files beside it.
    """
    if path.exists():
        sqlite_store.refuse_other(path)  # before the lock, whose file would stay beside a file of the user
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock"), make=True):
        if not path.exists():
            sqlite_store.check_alone(path)
            log.info(f"creating the MLflow store {path} (only once; takes some seconds)")
            partial = path.with_name(f".{path.name}.partial")  # renamed when it is complete
            sqlite_store.delete(partial)
            _open_sqlite(f"sqlite:///{partial}")
            with closing(sqlite3.connect(partial)) as connection:
                # Lets readers and a writer work at the same time; the setting stays in the file.
                connection.execute("PRAGMA journal_mode=WAL")
            partial.replace(path)
        with quiet("alembic"):
            sqlite_store.check(path)
        relocate.follow(path)
        forget_artifacts()
        return _open_sqlite(uri)


def forget_artifacts() -> None:
    """Have MLflow look up again where each run's artifacts are.

    It remembers them by the run's id: of a copy of this store, or of an earlier address of its server.
    """
    service_utils._artifact_repos_cache.clear()


def _open_sqlite(uri: str) -> mlflow.MlflowClient:
    with quiet("mlflow"), quiet("alembic"):
        client = mlflow.MlflowClient(uri, uri)
        client.search_experiments(max_results=1)
    return client


def pages(search: Callable[..., Any], size: int = 1000) -> Iterator[Any]:
    """Yield all pages of a search of MLflow."""
    token = None
    while True:
        page = search(max_results=size, page_token=token)
        yield page
        if not (token := page.token):
            return


def ask_for_health(uri: str) -> None:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5):
            pass
    except HTTPError as error:
        raise Unreachable(
            f"tracking.uri={uri} answers {error.code} {error.reason}: check that it is an MLflow server"
        ) from None


class _Reaching(local):
    """Counts the calls of `reaching` that this thread is in."""

    depth = 0


_reaching = _Reaching()
# MLflow logs the traceback of a database error and then raises the error, which `reaching` puts into words.
logging.getLogger("mlflow.store.db.utils").addFilter(lambda record: not _reaching.depth)


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Raise `Unreachable` or `Refused` for any exception of MLflow when a store fails."""
    _reaching.depth += 1
    try:
        yield
    except UserError:
        raise
    except URLError as error:
        raise Unreachable(f"the MLflow server at {uri} does not answer ({error.reason})") from None
    except MlflowException as error:
        refusal = Missing if error.error_code == _MISSING else Refused
        kind = refusal if error.error_code in _REFUSALS | {_MISSING} else Unreachable
        raise kind(f"the MLflow store at {uri} failed: {first_line(error)}") from error
    except MemoryError as error:
        raise Unreachable(f"not enough memory to write to the MLflow store at {uri}") from error
    except (SQLAlchemyError, HTTPException, OSError, sqlite3.Error) as error:
        raise Unreachable(f"the MLflow store at {uri} failed: {first_line(error)}") from error
    finally:
        _reaching.depth -= 1


_GLOBALS = RLock()  # MLflow's settings, which all threads share


@contextmanager
def fluent(uri: str) -> Iterator[None]:
    """Set MLflow's global store, which some of its functions need, and restore it afterwards.

    One thread at a time; others wait.
    """
    with _GLOBALS:
        before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
        with _same_environment():
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
        try:
            yield
        finally:
            with _same_environment():
                mlflow.set_tracking_uri(before[0])
                # MLflow derives it from the tracking URI unless it is set: set, it would not follow a change.
                mlflow.set_registry_uri(before[1] if before[1] != before[0] else "")


@contextmanager
def _same_environment() -> Iterator[None]:
    """Restore what MLflow writes to the environment, where other threads read the store of their runs."""
    variables = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    try:
        yield
    finally:
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def once() -> Iterator[None]:
    """Turn off MLflow's retries: a request that makes a run would make two if the first answer was lost.

    One thread at a time; others wait.
    """
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    with _GLOBALS:
        before = os.environ[name]  # set in sweepgrad/__init__.py
        os.environ[name] = "0"
        try:
            yield
        finally:
            os.environ[name] = before


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Silence the log messages and warnings of a library; its errors are still raised."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
