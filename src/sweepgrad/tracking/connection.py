"""Reaching an MLflow store: making it where there is none, and saying in our words what goes wrong."""

import logging
import os
import sqlite3
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from sweepgrad.errors import UserError
from sweepgrad.files import locked

log = logging.getLogger(__name__)


class Unreachable(UserError):
    """The MLflow store does not answer: it may later."""


class Refused(UserError):
    """The MLflow store answers, and says no: asking again will not help."""


_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE", "PERMISSION_DENIED"}
_REFUSALS |= {"RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "UNAUTHENTICATED"}


def prepare_sqlite(path: Path, uri: str) -> mlflow.MlflowClient:
    """Open a SQLite store, making it if need be, by one process at a time: two at once would ruin it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock"), make=True):
        if not path.exists() or path.stat().st_size == 0:
            log.info(f"making the MLflow store {path} (once; some seconds)")
            partial = path.with_name(f".{path.name}.partial")  # only a whole store takes the name
            partial.unlink(missing_ok=True)
            _open_sqlite(f"sqlite:///{partial}")
            with closing(sqlite3.connect(partial)) as connection:
                # Readers and a writer side by side; the setting stays in the file.
                connection.execute("PRAGMA journal_mode=WAL")
            partial.replace(path)
        return _open_sqlite(uri)


def _open_sqlite(uri: str) -> mlflow.MlflowClient:
    with quiet("mlflow"), quiet("alembic"):
        client = mlflow.MlflowClient(uri, uri)
        client.search_experiments(max_results=1)
    return client


def ask_for_health(uri: str) -> None:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5):
            pass
    except HTTPError as error:
        raise Unreachable(
            f"tracking.uri={uri} answers {error.code} {error.reason}: is it an mlflow server?"
        ) from None


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Whatever MLflow raises when a store fails, said as what it is."""
    try:
        yield
    except UserError:
        raise
    except URLError as error:
        raise Unreachable(f"the MLflow server at {uri} does not answer ({error.reason})") from None
    except MlflowException as error:
        kind = Refused if error.error_code in _REFUSALS else Unreachable
        raise kind(f"the MLflow store at {uri} failed: {str(error).splitlines()[0][:300]}") from error
    except (SQLAlchemyError, HTTPException, OSError, sqlite3.Error) as error:
        first = (str(error) or type(error).__name__).splitlines()[0][:300]
        raise Unreachable(f"the MLflow store at {uri} failed: {first}") from error


@contextmanager
def fluent(uri: str) -> Iterator[None]:
    """Some of MLflow's functions know only a global store; it is put back as it was.

    So is the environment, where MLflow writes it too: the next job's `tracking.uri` is read from there.
    """
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    variables = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before[0])
        # MLflow derives it from the tracking URI unless it is set: set, it would not follow a later change.
        mlflow.set_registry_uri(before[1] if before[1] != before[0] else "")
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def once() -> Iterator[None]:
    """Within it MLflow asks a server no second time: what makes a run would make two if an answer is lost."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ[name]  # set where our package begins
    os.environ[name] = "0"
    try:
        yield
    finally:
        os.environ[name] = before


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """What a library says to developers is not said to our users; its errors are raised all the same."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
