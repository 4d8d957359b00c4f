"""Models in MLflow: log them as pyfuncs that contain our code, and register them under a name."""

import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
import yaml
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.models import Model

from sweepgrad.bounded import reading
from sweepgrad.errors import UserError
from sweepgrad.tracking import mapping, shipping
from sweepgrad.tracking.connection import fluent, pages, quiet
from sweepgrad.tracking.mapping import BUNDLE

_LARGEST_MLMODEL = 1 << 22  # bytes; it lists the columns
_PAGE = 50  # models that are asked for at once
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DECIDED = "sweepgrad.decided"  # SHA-256 of the files of a registered model that is not a run's own


def log(client: mlflow.MlflowClient, uri: str, run_id: str, bundle: Path) -> str:
    """Log a bundle as a model of a run; return the model's id. What an interrupted call left is deleted.

    The model can be served where sweepgrad is not installed. The run's status stays as it is:
    `start_run`, which MLflow's own function needs, would reopen a run that has ended, and an error would
    mark it as FAILED.
    """
    _delete_unfinished(client, run_id)
    run = client.get_run(run_id)
    packages = ("mlflow", "numpy", "pandas", "scipy", "pydantic")
    with tempfile.TemporaryDirectory() as code, fluent(uri), quiet("mlflow"):
        model = client.create_logged_model(
            run.info.experiment_id, name="model", source_run_id=run_id, params=run.data.params
        )
        Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            name="model",
            run_id=run_id,
            model_id=model.model_id,
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            code_paths=[str(shipping.copy_into(Path(code)))],
            artifacts={BUNDLE: str(bundle)},
            signature=mapping.signature(bundle),
            pip_requirements=[f"{package}=={version(package)}" for package in packages],
        )
    return str(model.model_id)


def model_of(client: mlflow.MlflowClient, run_id: str) -> str | None:
    """Return the id of a run's own model, or None. It is the first; `finalize` may have added others."""
    found = [model for model in _models_of(client, run_id) if model.status == LoggedModelStatus.READY]
    return str(min(found, key=lambda model: model.creation_timestamp).model_id) if found else None


def _models_of(client: mlflow.MlflowClient, run_id: str) -> list[LoggedModel]:
    """Return the models that were logged with a run, also those of which MLflow has only a part.

    MLflow lists a model with its run first, writes its files then, and marks it READY last.
    """
    experiment = client.get_run(run_id).info.experiment_id
    search = partial(client.search_logged_models, [experiment], f"source_run_id = '{run_id}'")
    return [model for page in pages(search, _PAGE) for model in page]


def _delete_unfinished(client: mlflow.MlflowClient, run_id: str) -> None:
    for model in _models_of(client, run_id):
        if model.status != LoggedModelStatus.READY:
            client.delete_logged_model(model.model_id)


def bundle_of(client: mlflow.MlflowClient, uri: str, run_id: str, into: Path) -> Path | None:
    """Return the folder of the bundle in a run's model, or None if the run has no model.

    Arguments:
        into: a folder to download it to if the store is on another machine.

    Raises:
        ValueError: the model was not made by sweepgrad.
    """
    model = model_of(client, run_id)
    if model is None:
        return None
    place = urlsplit(client.get_logged_model(model).artifact_location)
    if place.scheme == "file":
        folder = Path(url2pathname(place.path))
    else:
        with fluent(uri), quiet("mlflow"):
            folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model}", dst_path=str(into)))
    return _bundle_in(folder)


def download(uri: str, address: str, into: Path) -> Path:
    """Return the folder of the bundle in a copy of a model.

    Arguments:
        address: MLflow's URI of the model, such as `models:/NAME@chosen`.
        into: a folder for the copy.

    Raises:
        ValueError: it is no model of sweepgrad.
        OSError: it cannot be read.
    """
    with fluent(uri), quiet("mlflow"):
        return _bundle_in(Path(mlflow.artifacts.download_artifacts(address, dst_path=str(into))))


def source_run(client: mlflow.MlflowClient, registered: str) -> str | None:
    """Return the id of the run that a registered model was made from; None if there is no such model.

    Arguments:
        registered: its name and version, as in `NAME/1`.
    """
    name, _, number = registered.rpartition("/")
    found = client.search_model_versions(f"name = '{name}'")
    return next((str(each.run_id) for each in found if str(each.version) == number), None)


def _bundle_in(folder: Path) -> Path:
    try:
        content = reading.read(folder / "MLmodel", _LARGEST_MLMODEL).decode()
        if any(isinstance(each, yaml.AliasEvent) for each in yaml.parse(content, _Loader)):
            raise ValueError("it has an alias")  # of which few lines make gigabytes
        described = _Loader(content).get_single_data()
        path = Path(folder, described["flavors"]["python_function"]["artifacts"][BUNDLE]["path"])
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"the path {path} is outside of the model")
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"its MLmodel: {error!r}") from None
    return path


def register(
    client: mlflow.MlflowClient, uri: str, run_id: str, name: str, bundle: Path, *, own: bool
) -> str:
    """Register a model under `name` with the alias `chosen`; return its version.

    Arguments:
        run_id: the run that has or gets the model.
        bundle: the folder of the model's bundle.
        own: whether it is the run's own model, which MLflow may have already.

    Raises:
        UserError: MLflow's copy of the model is not this bundle.
    """
    digest = mapping.digest(bundle)
    tags = {} if own else {DECIDED: digest}
    with fluent(uri), quiet("mlflow"):
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        versions = client.search_model_versions(f"name = '{name}'")
        made = next(
            (v for v in versions if (v.run_id, v.tags.get(DECIDED)) == (run_id, tags.get(DECIDED))), None
        )
        if made is None:
            model = (model_of(client, run_id) if own else None) or log(client, uri, run_id, bundle)
        source = f"models:/{model}" if made is None else f"models:/{name}/{made.version}"
        if _digest(uri, source) != digest:
            raise UserError(
                f"{source} in {uri} is not the model of run {run_id}: it was changed after it was logged."
                " Delete it in MLflow, and try again"
            )
        if made is None:
            made = client.create_model_version(name, source=source, run_id=run_id, model_id=model, tags=tags)
        client.set_registered_model_alias(name, "chosen", made.version)
    return str(made.version)


def _digest(uri: str, source: str) -> str:
    """Return the digest of the bundle in a model; empty if it lacks files or is no model of sweepgrad.

    Raises:
        OSError: it cannot be read or copied now, for instance because the disk is full.
    """
    with tempfile.TemporaryDirectory() as copies:
        try:
            return mapping.digest(download(uri, source, Path(copies)))
        except (FileNotFoundError, ValueError):
            return ""
