"""The isolation test: training on garbage for validation rows must give the same weights."""

from dataclasses import dataclass, replace
from hashlib import sha256
from threading import Lock
from typing import Any

import numpy as np

from sweepgrad import rng
from sweepgrad.config.schema import Config
from sweepgrad.engine import Replay
from sweepgrad.nn.optimizers import OPTIMIZERS
from sweepgrad.training.experiment import Experiment
from sweepgrad.training.loop import Diverged, Examples

_STEPS, _EPOCHS, _SEED, _RATE = 8, 2, 0, 0.01
_WORK = 50_000_000  # parameters times training rows, at most
_VALIDATED = 256  # validation rows, at most

_results: dict[tuple[Any, ...], "Isolation"] = {}
_testing = Lock()


@dataclass(frozen=True)
class Isolation:
    """The result of an isolation test.

    Attributes:
        steps: number of training steps, over two epochs.
        rows: number of training rows.
        passed: whether the weights were the same to the bit after each part of training; None if training
            diverged, so that nothing was tested.
    """

    steps: int
    rows: int
    passed: bool | None

    def to_json(self) -> dict[str, Any]:
        tested = (
            f"{self.steps} steps over two epochs of the first {self.rows} training rows, with this run's"
            " network, optimizer, schedule, batches, clipping and weight decay"
            f" (seed {_SEED}, learning rate {_RATE}). Training was done twice, the second time with noise for"
            " the validation features and flipped validation labels. The weights were the same to the bit"
            " after each evaluation and each part of training"
        )
        if self.passed is None:
            return not_tested("training diverged within the few steps of the test")
        return {
            "unmoved": self.passed,
            "proven": tested if self.passed else "nothing: the isolation test failed",
            "garbage": ["uniform noise from -4 to 4 for features", "flipped labels"],
            "not_meant": "validation rows choose which epoch is kept and, with train.patience, the last one",
        }


def not_tested(why: str) -> dict[str, Any]:
    """Return the JSON of an isolation test that gave no result."""
    return {"unmoved": None, "proven": f"nothing was tested: {why}"}


def isolation_test(experiment: Experiment) -> Isolation:
    """Test whether validation rows influence the weights of a run like this one.

    The test takes a few steps, since each step reads the same kinds of rows, and two epochs, since validation
    rows are evaluated in between. Runs that differ only in seed, learning rate and epochs share one test.
    """
    config = _normalized(experiment.config)
    key = (
        *(config.model, config.optimizer, config.schedule, config.train, config.engine),
        *(config.data, experiment.training.digests),  # columns and rows
    )
    with _testing:  # jobs in other threads wait for the one test
        if key not in _results:
            _results[key] = _tested(replace(experiment, config=config))
        return _results[key]


def _normalized(config: Config) -> Config:
    train = config.train.model_copy(update={"epochs": _EPOCHS, "patience": None})
    optimizer = config.optimizer.model_copy(update={"lr": _RATE})
    return config.model_copy(update={"seed": _SEED, "train": train, "optimizer": optimizer})


def _tested(experiment: Experiment) -> Isolation:
    batch = experiment.config.train.batch_size
    n = min(len(experiment.train.y), _STEPS * batch, max(2, _WORK // experiment.network.n_parameters))
    train = Examples(experiment.train.X[:n], experiment.train.y[:n])
    val = Examples(experiment.val.X[:_VALIDATED], experiment.val.y[:_VALIDATED])
    noise = rng.uniform(rng.key(_SEED, "garbage"), val.X.shape)
    garbage = Examples((8 * noise - 4).astype(val.X.dtype), experiment.task.garbled(val.y))
    settings = experiment.config.optimizer
    optimizer = OPTIMIZERS[settings.name](**settings.model_dump(exclude={"name"}))
    weights = [
        _weights(replace(experiment, train=train, val=rows, optimizer=optimizer)) for rows in (val, garbage)
    ]
    steps = _EPOCHS * -(-n // min(batch, n))
    return Isolation(steps, n, None if None in weights else weights[0] == weights[1])


def _weights(experiment: Experiment) -> list[bytes] | None:
    """Return the SHA-256 of the weights after each replay of the tape; None if training diverged."""
    digests: list[bytes] = []

    def hashing(replay: Replay) -> Replay:
        def replayed(tape: Any, buffer: Any, *rest: Any) -> Any:
            done = replay(tape, buffer, *rest)
            weights = np.ascontiguousarray(tape.inputs["weights"].of(buffer))
            digests.append(sha256(weights.tobytes()).digest())
            return done

        return replayed  # type: ignore[return-value]

    try:
        for _ in experiment.fits(hashing):
            pass
    except Diverged:
        return None
    return digests
