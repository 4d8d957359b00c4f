"""Models in MLflow: log them as pyfuncs that contain our code, and register them under a name."""

import tempfile
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
import yaml
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.models import Model

from sweepgrad.tracking import mapping, shipping
from sweepgrad.tracking.connection import fluent, quiet
from sweepgrad.tracking.mapping import BUNDLE

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
    return list(client.search_logged_models([experiment], f"source_run_id = '{run_id}'", max_results=50))


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
        described = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        return Path(folder, described["flavors"]["python_function"]["artifacts"][BUNDLE]["path"])
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ValueError(f"its MLmodel: {error!r}") from None


def register(
    client: mlflow.MlflowClient, uri: str, run_id: str, name: str, decided: Path | None = None
) -> str:
    """Register a model under `name` with the alias `chosen`; return its version.

    Arguments:
        run_id: the run that has or gets the model.
        decided: the folder of a bundle to log with the run; None to register the run's own model.
    """
    digest = mapping.digest(decided) if decided else None
    with fluent(uri), quiet("mlflow"):
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        versions = client.search_model_versions(f"name = '{name}'")
        made = next((v for v in versions if (v.run_id, v.tags.get(DECIDED)) == (run_id, digest)), None)
        if made is None:
            model = model_of(client, run_id) if decided is None else None
            model = model or _log_later(client, uri, run_id, decided)
            made = client.create_model_version(
                name,
                source=f"models:/{model}",
                run_id=run_id,
                model_id=model,
                tags={DECIDED: digest} if digest else {},
            )
        client.set_registered_model_alias(name, "chosen", made.version)
    return str(made.version)


def _log_later(client: mlflow.MlflowClient, uri: str, run_id: str, bundle: Path | None) -> str:
    """Log a bundle, or the run's own, as a model of a run that has ended; return the model's id."""
    with tempfile.TemporaryDirectory() as copies:
        return log(client, uri, run_id, bundle or Path(client.download_artifacts(run_id, BUNDLE, copies)))
