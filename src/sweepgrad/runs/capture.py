"""Make the record of a run from its experiment."""

import json
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import numpy as np

from sweepgrad.autograd.value import Array
from sweepgrad.config.identity import trains
from sweepgrad.config.schema import Config
from sweepgrad.runs import provenance
from sweepgrad.runs.isolation import isolation_test, not_tested
from sweepgrad.runs.record import Data, Record, Status
from sweepgrad.training import diagnosis
from sweepgrad.training.experiment import Experiment
from sweepgrad.training.loop import Fit


def of(
    config: Config,
    *,
    job: str,
    name: str,
    overrides: tuple[str, ...],
    status: Status,
    started: int,
    ended: int,
    error: str | None = None,
    experiment: Experiment | None = None,
    fit: Fit | None = None,
    stopped: bool = False,
    continued: str | None = None,
    scores: Array | None = None,
) -> Record:
    """Return the record of a run that ended, whether it finished, failed or was stopped.

    Arguments:
        scores: the result of `experiment.val_scores(fit)`, if it is known.
    """
    data = _data(experiment) if experiment else None
    if scores is None:
        scores = experiment.val_scores(fit) if experiment and fit else np.zeros(0)
    summary = experiment.summary(fit, scores) if experiment and fit else {}
    return Record(
        digest=identity(config, data.digests) if data else "",
        job=job,
        name=name,
        overrides=overrides,
        status=status,
        started=started,
        ended=ended,
        error=error,
        config=config.model_dump(mode="json"),
        history=fit.history if fit else (),
        best_epoch=fit.best_epoch if fit else 0,
        summary=summary,
        n_parameters=experiment.network.n_parameters if experiment else 0,
        data=data,
        environment=provenance.environment(),
        stopped=stopped,
        continued=continued,
        certificate=_certificate(experiment, status) if experiment and fit else None,
        diagnosis=diagnosis_of(experiment, fit, scores) if experiment and fit else "",
    )


def identity(config: Config, digests: dict[str, str]) -> str:
    """Return the SHA-256 of all that determines a result: the configuration, the data and the code.

    The folder and the sweep of a run do not count.

    Arguments:
        digests: of the table and of its parts.
    """
    settings = {key: value for key, value in config.model_dump(mode="json").items() if trains(key)}
    whole = {"config": settings, "data": digests, "code": provenance.code()}
    return sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def diagnosis_of(experiment: Experiment, fit: Fit, scores: Array) -> str:
    """Return the diagnosis of a run, given its scaled scores of the validation rows, (n_val,)."""
    return diagnosis.verdict(
        experiment.task,
        experiment.network,
        fit.history,
        fit.best_epoch,
        lr=experiment.config.optimizer.lr,
        steps_an_epoch=-(-len(experiment.train.y) // experiment.config.train.batch_size),
        y=experiment.val.y,
        scores=scores,
    )


def _certificate(experiment: Experiment, status: Status) -> dict[str, Any]:
    """Return the certificate of a run. An error in the isolation test does not lose the model."""
    if status == "KILLED":  # the user is waiting for the program to end
        weights = not_tested("the run was stopped")
    else:
        try:
            weights = isolation_test(experiment).to_json()
        except Exception as error:  # noqa: BLE001 - it may run out of memory
            weights = not_tested(f"the isolation test raised {type(error).__name__}: {error}")
    return {**experiment.training.certificate.to_json(), "weights": weights}


def _data(experiment: Experiment) -> Data:
    training = experiment.training
    return Data(
        source=training.source,
        n_train=training.n_train,
        n_val=training.n_val,
        n_test=training.n_test,
        features=training.preprocessor.names,
        digests=asdict(training.digests),
        notices=training.notices,
    )
