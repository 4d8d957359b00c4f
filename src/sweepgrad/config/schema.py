"""The schema of a configuration: each key's type, limits and description, and rules between keys.

The YAML files in `conf/` have the values, the modules of this package the rules. `config.check` applies the
rules and reports the errors.
"""

import struct
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from sweepgrad.config.data import DataConfig
from sweepgrad.config.ensembles import EnsembleConfig, NoEnsemble
from sweepgrad.config.metrics import NAMES, known
from sweepgrad.config.model import Model
from sweepgrad.config.optimizers import OptimizerConfig
from sweepgrad.config.schedules import ScheduleConfig, StaircaseSchedule
from sweepgrad.config.section import Section, Seed, path_text
from sweepgrad.config.split import Split
from sweepgrad.config.thresholds import CostThreshold, HalfThreshold, ThresholdConfig


class Train(Section):
    """Training: length, batches, and changes to gradients and weights besides the optimizer's step."""

    epochs: int = Field(ge=1, le=1_000_000, description="Number of epochs.")
    batch_size: int = Field(ge=1, le=100_000_000, description="Rows in a batch.")
    patience: int | None = Field(
        ge=1,
        description="Stop after this many epochs without a better validation loss; null never stops.",
    )
    clip: float | None = Field(
        gt=0, description="Largest norm of a batch's gradient; null does not clip gradients."
    )
    weight_decay: float = Field(
        ge=0,
        description="Decoupled weight decay: a step subtracts lr times this share of weights, not biases.",
    )
    # The defaults are for records of runs that are older than these two keys.
    class_weight: Literal["balanced"] | Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Weight of positive rows in the loss; balanced: negative / positive rows, null: 1.",
    )
    diagnose: bool = Field(
        False, description="Record gradient norms, update ratios, dead and saturated units after each epoch."
    )

    @field_validator("class_weight", mode="before")
    @classmethod
    def _a_class_weight_has_an_effect(cls, weight: object) -> object:
        number = isinstance(weight, int | float) and not isinstance(weight, bool) and 0 < weight < inf
        if weight not in (None, "balanced") and not number:
            raise ValueError(f"{weight!r} should be balanced, null, or a number above 0")
        if weight == 1:
            raise ValueError("1 has no effect. Set train.class_weight=null")
        return weight

    @model_validator(mode="after")
    def _patience_has_an_effect(self) -> "Train":
        if self.patience is not None and self.patience >= self.epochs:
            raise ValueError(
                f"patience={self.patience} has no effect within {self.epochs} epochs. Set train.patience=null"
            )
        return self


def store_uri(uri: str) -> str:
    """Return the address of an MLflow store; a relative SQLite path is made absolute.

    Raises:
        ValueError: the address is not one of a supported store, or has a password.
    """
    parts = urlsplit(path_text(uri))
    if parts.scheme in ("http", "https") and parts.hostname:
        if parts.username or parts.password:
            raise ValueError(
                "the address must not have a user name or password, because it is logged. Set"
                " MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        return uri.rstrip("/")
    file = uri.removeprefix("sqlite:///")
    if file not in ("", uri):
        return f"sqlite:///{Path(file).absolute()}"
    raise ValueError(
        f"{uri!r} is not an MLflow store. Use sqlite:///FILE, or http://HOST:PORT of an MLflow server"
    )


class Engine(Section):
    """The implementation and the number type of the training step."""

    name: Literal["native", "numpy"] = Field(
        description="native is compiled code; numpy is slower and gives equal results up to rounding."
    )
    dtype: Literal["float64", "float32"] = Field(
        description="Number type; float32 is faster for wide networks and needs half the memory."
    )


class Tracking(Section):
    """The MLflow store that runs are logged to."""

    uri: Annotated[str, AfterValidator(store_uri)] = Field(
        description="MLflow store: sqlite:///FILE, or http://HOST:PORT of an MLflow server."
    )
    experiment: str = Field(min_length=1, max_length=200, description="Name of the MLflow experiment.")


class Halving(Section):
    """Successive halving: a rung after `first` epochs, and after each `factor` times as many."""

    first: int = Field(ge=1, le=1_000_000, description="Epochs before the first rung.")
    factor: int = Field(
        ge=2, le=1_000_000, description="At each rung the best 1 of this many runs continues."
    )


class Select(Section):
    """The selection of the best model of a sweep on the validation set; set it before training.

    A name stands for a kind without settings: `threshold: f1` is `threshold: {rule: f1}`.
    """

    metric: Annotated[str, AfterValidator(known)] = Field(
        description=f"Metric for selection, searches and successive halving: {', '.join(NAMES)}."
    )
    rule: Literal["best", "one_standard_error"] = Field(
        description="best: highest mean; one_standard_error: smallest model within one standard error of it."
    )
    # The defaults are for records of sweeps that are older than these three keys.
    calibration: Literal["none", "temperature"] = Field(
        "none",
        description="temperature calibrates the chosen model's probabilities by temperature scaling.",
    )
    threshold: ThresholdConfig = Field(
        HalfThreshold(rule="half"),
        description="Rule that chooses the decision threshold: half, accuracy, f1, prevalence or cost.",
    )
    ensemble: EnsembleConfig = Field(
        NoEnsemble(kind="none"),
        description="Averages of models that are candidates too: none, seeds or best.",
    )

    @model_validator(mode="before")
    @classmethod
    def _expand_names_of_kinds(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        named = {"threshold": "rule", "ensemble": "kind"}
        return {
            key: {named[key]: value} if key in named and isinstance(value, str) else value
            for key, value in values.items()
        }

    @model_validator(mode="after")
    def _costs_need_calibration(self) -> "Select":
        if isinstance(self.threshold, CostThreshold) and self.calibration == "none":
            raise ValueError(
                "a threshold by cost needs calibrated probabilities. Set select.calibration=temperature"
            )
        return self


class Sweep(Section):
    """The execution of a sweep; nothing here changes the result of a single job."""

    id: str | None = Field(description="Name of the sweep that a run belongs to; --multirun sets it.")
    resume: bool = Field(description="Reuse finished runs of the same sweep; false trains all from scratch.")
    fail_fast: bool = Field(description="End the sweep at its first failed run.")
    halving: Halving | None = Field(
        description="Successive halving, such as {first: 3, factor: 3}; null trains every run to the end."
    )


def _in_float32(value: float) -> float:
    """Return the value rounded to float32, without NumPy: its import would slow --help down."""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return inf


class Config(Section):
    """The configuration of one run."""

    seed: Seed = Field(description="Seed of the initial weights, the order of rows and dropout.")
    data: DataConfig = Field(description="The table and the roles of its columns.")
    split: Split = Field(description="Training, validation and test sets.")
    model: Model = Field(description="Architecture of the network.")
    optimizer: OptimizerConfig = Field(description="Optimizer and its settings.")
    schedule: ScheduleConfig = Field(description="Schedule of the learning rate.")
    train: Train = Field(description="Training loop.")
    engine: Engine = Field(description="Implementation of the training step.")
    tracking: Tracking = Field(description="MLflow store.")
    sweep: Sweep = Field(description="Execution of the jobs of a sweep.")
    select: Select = Field(description="Choice of the best model on the validation set.")

    @model_validator(mode="after")
    def _numbers_fit_their_type(self) -> "Config":
        """Refuse numbers that float32 rounds to 0, 1 or infinity."""
        if self.engine.dtype == "float32":
            numbers = {f"optimizer.{k}": v for k, v in self.optimizer.model_dump().items()}
            numbers |= {"model.scale": self.model.scale, "model.dropout": self.model.dropout}
            numbers |= {"train.clip": self.train.clip, "train.weight_decay": self.train.weight_decay}
            numbers |= {"train.class_weight": self.train.class_weight}
            for key, value in numbers.items():
                if isinstance(value, float):
                    rounded = _in_float32(value)
                    if rounded in (0.0, 1.0, inf) and value != rounded:
                        raise ValueError(
                            f"{key}: {value!r} is {rounded:g} in float32. Set engine.dtype=float64"
                        )
        return self

    @model_validator(mode="after")
    def _decay_is_below_1(self) -> "Config":
        share = self.train.weight_decay * self.optimizer.lr
        if share >= 1:
            raise ValueError(
                f"train.weight_decay: {self.train.weight_decay:g} times optimizer.lr is {share:g}; it must be"
                " below 1, or a step removes all weights"
            )
        return self

    @model_validator(mode="after")
    def _the_schedule_has_an_effect(self) -> "Config":
        if isinstance(self.schedule, StaircaseSchedule) and self.schedule.every >= self.train.epochs:
            raise ValueError(
                f"schedule.every: {self.schedule.every} has no effect within {self.train.epochs} epochs."
                " Set schedule=constant"
            )
        return self
