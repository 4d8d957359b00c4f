"""Proof, run by run, that training never looks at validation rows: the same weights when they are garbage."""

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
_WORK = 50_000_000  # parameters times rows: more rows than that are not taken
_VALIDATED = 256  # rows

_proofs: dict[tuple[Any, ...], "Proof"] = {}
_proving = Lock()


@dataclass(frozen=True)
class Proof:
    """What came of training twice.

    Attributes:
        steps: of training, over two epochs.
        rows: how many training rows they went through.
        unmoved: whether the weights were the same to the bit at each moment; None if the few steps diverged,
            so that nothing was shown.
    """

    steps: int
    rows: int
    unmoved: bool | None

    def to_json(self) -> dict[str, Any]:
        shown = (
            f"{self.steps} steps over two epochs of the first {self.rows} training rows, with this run's"
            " network, optimizer, schedule, batches, clipping and weight decay"
            f" (seed {_SEED}, learning rate {_RATE}), done twice, once with validation features replaced by"
            " noise and their labels by the others: the weights are the same to the bit after each stretch of"
            " steps and each evaluation"
        )
        if self.unmoved is None:
            return unproven("the few steps left the finite numbers")
        return {
            "unmoved": self.unmoved,
            "proven": shown if self.unmoved else "nothing",
            "garbage": ["uniform noise from -4 to 4 for features", "each label the other one"],
            "not_meant": "validation rows choose which epoch is kept and, with train.patience, the last one",
        }


def unproven(why: str) -> dict[str, Any]:
    """In the place of a proof, where there is none."""
    return {"unmoved": None, "proven": f"nothing was proven: {why}"}


def proof(experiment: Experiment) -> Proof:
    """Whether validation rows have a say in the weights of a run like this one.

    It is of a few steps, since what a step reads does not depend on how many there are; and of two epochs,
    since validation rows are evaluated between them. Runs that differ in seed, rate and epochs share it.
    """
    config = _alike(experiment.config)
    which = (
        *(config.model, config.optimizer, config.schedule, config.train, config.engine),
        *(
            config.data,
            experiment.training.digests,
        ),  # which columns are learned from, and how, and which rows
    )
    with _proving:  # jobs in other threads wait for the one proof
        if which not in _proofs:
            _proofs[which] = _proof(replace(experiment, config=config))
        return _proofs[which]


def _alike(config: Config) -> Config:
    train = config.train.model_copy(update={"epochs": _EPOCHS, "patience": None})
    optimizer = config.optimizer.model_copy(update={"lr": _RATE})
    return config.model_copy(update={"seed": _SEED, "train": train, "optimizer": optimizer})


def _proof(experiment: Experiment) -> Proof:
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
    return Proof(steps, n, None if None in weights else weights[0] == weights[1])


def _weights(experiment: Experiment) -> list[bytes] | None:
    """SHA-256 of the weights after each replay of the tape; None if training left the finite numbers."""
    seen: list[bytes] = []

    def noting(replay: Replay) -> Replay:
        def noted(tape: Any, buffer: Any, *rest: Any) -> Any:
            done = replay(tape, buffer, *rest)
            weights = np.ascontiguousarray(tape.inputs["weights"].of(buffer))
            seen.append(sha256(weights.tobytes()).digest())
            return done

        return noted  # type: ignore[return-value]

    try:
        for _ in experiment.fits(noting):
            pass
    except Diverged:
        return None
    return seen
