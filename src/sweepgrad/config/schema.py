"""What a configuration may say: every key with its type, its range and what it must agree with.

The YAML under `conf/` holds the values, the modules of this package the rules, and `config.check` says what
breaks them.
"""

import struct
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from sweepgrad.config.data import DataConfig
from sweepgrad.config.ensembles import EnsembleConfig, NoEnsemble
from sweepgrad.config.metrics import known
from sweepgrad.config.model import Model
from sweepgrad.config.optimizers import OptimizerConfig
from sweepgrad.config.schedules import ScheduleConfig, StaircaseSchedule
from sweepgrad.config.section import Section, Seed
from sweepgrad.config.split import Split
from sweepgrad.config.thresholds import CostThreshold, HalfThreshold, ThresholdConfig


class Train(Section):
    """How long, in what batches, and what is done to gradients and weights besides the optimizer's step.

    `patience`: stop after that many epochs without a better validation loss; null trains them all.
    `clip`: shorten the gradient of a batch to this length; null leaves it.
    `weight_decay`: times the learning rate, the share that every step takes off the weights, biases apart.
    `class_weight`: what a positive row counts in the training loss, relative to a negative one; "balanced" is
    negative over positive training rows, null counts all alike.
    `diagnose`: record statistics of the layers after each epoch.
    """

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    patience: Annotated[int, Field(ge=1)] | None
    clip: Annotated[float, Field(gt=0)] | None
    weight_decay: Annotated[float, Field(ge=0)]
    # As in config.yaml: runs that are older than these two do not say.
    class_weight: Literal["balanced"] | Annotated[float, Field(gt=0)] | None = None
    diagnose: bool = False

    @field_validator("class_weight", mode="before")
    @classmethod
    def _a_class_weight_has_an_effect(cls, weight: object) -> object:
        number = isinstance(weight, int | float) and not isinstance(weight, bool) and 0 < weight < inf
        if weight not in (None, "balanced") and not number:
            raise ValueError(f"{weight!r} should be balanced, null, or a number above 0")
        if weight == 1:
            raise ValueError("1 has no effect; say train.class_weight: null")
        return weight

    @model_validator(mode="after")
    def _patience_has_an_effect(self) -> "Train":
        if self.patience is not None and self.patience >= self.epochs:
            raise ValueError(
                f"patience {self.patience} has no effect within {self.epochs} epochs; say patience: null"
            )
        return self


def store_uri(uri: str) -> str:
    """The address of an MLflow store, a relative SQLite path made absolute: no change of folder moves it.

    Raises:
        ValueError: it is no address of a store that we can use, or holds a password.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and parts.hostname:
        if parts.username or parts.password:
            raise ValueError(
                "a name and a password go into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, since"
                " the address is logged"
            )
        return uri.rstrip("/")
    file = uri.removeprefix("sqlite:///")
    if file not in ("", uri):
        return f"sqlite:///{Path(file).absolute()}"
    raise ValueError(f"{uri!r} is no store: say sqlite:///FILE, or http://HOST:PORT of an mlflow server")


class Engine(Section):
    """What replays the recorded step: compiled code, or NumPy; and the numbers it computes with."""

    name: Literal["native", "numpy"]
    dtype: Literal["float64", "float32"]


class Tracking(Section):
    uri: Annotated[str, AfterValidator(store_uri)]
    experiment: Annotated[str, Field(min_length=1)]


class Halving(Section):
    """Successive halving: after `first` epochs, and `factor` times as many, 1 of `factor` goes on."""

    first: Annotated[int, Field(ge=1)]
    factor: Annotated[int, Field(ge=2)]


class Select(Section):
    """How the best of a sweep is chosen, on validation rows: declared before it is trained.

    `metric` is also what searches and halving go by. `rule`: "best" takes the highest mean (of nll the
    lowest), and the smaller of equals; "one_standard_error" the smallest configuration that is no more than
    one standard error of the best one's mean behind it.

    `calibration: temperature` puts the chosen model's probabilities right by one number. `threshold` says
    from which probability on it answers "positive". `ensemble` adds averages of models to the candidates.
    A bare word stands for a kind without settings: `threshold: f1` is `threshold: {rule: f1}`.
    """

    metric: Annotated[str, AfterValidator(known)]
    rule: Literal["best", "one_standard_error"]
    # What sweeps that are older than these three did.
    calibration: Literal["none", "temperature"] = "none"
    threshold: ThresholdConfig = HalfThreshold(rule="half")
    ensemble: EnsembleConfig = NoEnsemble(kind="none")

    @model_validator(mode="before")
    @classmethod
    def _words_are_kinds(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        named = {"threshold": "rule", "ensemble": "kind"}
        return {
            key: {named[key]: value} if key in named and isinstance(value, str) else value
            for key, value in values.items()
        }

    @model_validator(mode="after")
    def _costs_are_weighed_by_right_probabilities(self) -> "Select":
        if isinstance(self.threshold, CostThreshold) and self.calibration == "none":
            raise ValueError(
                "a threshold by cost weighs probabilities, which are to be right for that; say calibration:"
                " temperature"
            )
        return self


class Sweep(Section):
    """How the jobs of a sweep go together. Nothing of it changes what a single job comes to.

    `id` ties a job to its sweep; `sweepgrad train --multirun` sets it, null means a run on its own.
    """

    id: str | None
    resume: bool
    fail_fast: bool
    halving: Halving | None


def _in_float32(value: float) -> float:
    """What float32 makes of it. (NumPy would cost --help a tenth of a second.)"""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return inf


class Config(Section):
    """One run, whole."""

    seed: Seed
    data: DataConfig
    split: Split
    model: Model
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    train: Train
    engine: Engine
    tracking: Tracking
    sweep: Sweep
    select: Select

    @model_validator(mode="after")
    def _numbers_fit_their_type(self) -> "Config":
        """float32 takes what is tiny for 0, what is huge for infinity, and 0.99999999 for 1."""
        if self.engine.dtype == "float32":
            said = {f"optimizer.{k}": v for k, v in self.optimizer.model_dump().items()}
            said |= {"model.scale": self.model.scale, "model.dropout": self.model.dropout}
            said |= {"train.clip": self.train.clip, "train.weight_decay": self.train.weight_decay}
            said |= {"train.class_weight": self.train.class_weight}
            for key, value in said.items():
                if isinstance(value, float):
                    taken = _in_float32(value)
                    if taken in (0.0, 1.0, inf) and value != taken:
                        raise ValueError(
                            f"{key}: {value!r} is {taken:g} in float32; say engine.dtype: float64"
                        )
        return self

    @model_validator(mode="after")
    def _decay_leaves_something(self) -> "Config":
        share = self.train.weight_decay * self.optimizer.lr
        if share >= 1:
            raise ValueError(
                f"train.weight_decay: {self.train.weight_decay:g} times optimizer.lr is {share:g}, the share"
                " of the weights that every step takes off, which must be below 1"
            )
        return self

    @model_validator(mode="after")
    def _the_schedule_has_an_effect(self) -> "Config":
        if isinstance(self.schedule, StaircaseSchedule) and self.schedule.every >= self.train.epochs:
            raise ValueError(
                f"schedule.every: {self.schedule.every} has no effect within {self.train.epochs} epochs;"
                " say schedule: constant"
            )
        return self
