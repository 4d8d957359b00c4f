"""One run, from a configuration to a trained model. It reads only training and validation rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sweepgrad import engine
from sweepgrad.autograd.value import Array
from sweepgrad.config.schema import Config
from sweepgrad.data.access import Training, open_training
from sweepgrad.engine import Replay
from sweepgrad.engine.tape import DType, Tape
from sweepgrad.errors import UserError
from sweepgrad.nn.network import Network, Weights
from sweepgrad.nn.optimizers import OPTIMIZERS, Optimizer
from sweepgrad.nn.schedules import SCHEDULES, Schedule
from sweepgrad.tasks.registry import task_of
from sweepgrad.tasks.task import RowWeights, Task
from sweepgrad.training.bundle import Bundle, Member
from sweepgrad.training.epoch import Epoch
from sweepgrad.training.layer_stats import PROBED
from sweepgrad.training.loop import EVALUATED_AT_ONCE, Examples, Fit, evaluated, fit
from sweepgrad.training.steps import Update, evaluation, training


@dataclass(frozen=True)
class Experiment:
    """A run that is ready to train: its rows as arrays, its network and its optimizer."""

    config: Config
    training: Training
    train: Examples
    val: Examples
    network: Network
    optimizer: Optimizer
    schedule: Schedule
    class_weights: RowWeights | None

    def fits(
        self, wrap: Callable[[Replay], Replay] = lambda replay: replay, start: Fit | None = None
    ) -> Iterator[Fit]:
        """Train as configured, and yield the state after each epoch.

        Arguments:
            wrap: applied to the engine's replay, for instance to stop between two replays.
            start: the state to continue from, see `loop.fit`.

        Raises:
            Diverged: a loss or weight is infinite or NaN.
        """
        return fit(
            self.network,
            self.optimizer,
            self.train,
            self.val,
            epochs=self.config.train.epochs,
            batch_size=self.config.train.batch_size,
            seed=self.config.seed,
            task=self.task,
            patience=self.config.train.patience,
            schedule=self.schedule,
            weight_decay=self.config.train.weight_decay,
            clip=self.config.train.clip,
            class_weights=self.class_weights,
            diagnose=self.config.train.diagnose,
            engine=wrap(engine.load(self.config.engine.name, self.dtype)),
            start=start,
        )

    @property
    def task(self) -> Task:
        """The task, which depends on the kind of target."""
        return task_of(self.config.data)

    @property
    def dtype(self) -> DType:
        return dtype_of(self.config)

    def training_tape(self) -> Tape:
        """Return the tape that is replayed at each training step."""
        update = Update(self.optimizer, self.config.train.weight_decay, self.config.train.clip)
        rows = min(self.config.train.batch_size, len(self.train.y))
        weighted = self.class_weights is not None
        return training(self.network, update, rows, self.dtype, task=self.task, weighted=weighted)

    def evaluation_tape(self) -> Tape:
        """Return the tape that is replayed after each epoch."""
        return evaluation(self.network, EVALUATED_AT_ONCE, self.dtype, task=self.task)

    def bundle(self, fit: Fit) -> Bundle:
        """Return the model of the best epoch, which predicts from raw columns."""
        roles = self.training.roles
        return Bundle(
            members=(Member(self.network, fit.weights, self.training.preprocessor),),
            target=roles.target,
            positive=roles.positive,
            negative=roles.negative,
        )

    def val_scores(self, fit: Fit) -> Array:
        """Return the scaled scores of the validation rows by the model of the best epoch; (n_val,)."""
        return self.network.scaled_scores(fit.weights, self.val.X)

    def summary(self, fit: Fit, scores: Array | None = None) -> dict[str, float]:
        """Return the metrics of the best epoch on training and validation rows, by name.

        Arguments:
            scores: the result of `val_scores`, if it is known.
        """
        if scores is None:
            scores = self.val_scores(fit)
        known, metrics = fit.best.val, self.task.metrics
        on_val = {
            metric.key: known[name] if name in known else metric.value(self.val.y, scores, 0.5)
            for name, metric in metrics.items()
        }
        on_train = {f"best/train/{name}": fit.best.train[name] for name in metrics if name in known}
        return {**on_val, **on_train, "best/epoch": float(fit.best_epoch)}

    def evaluated(self, weights: Weights) -> Epoch:
        """Return the figures of weights on training and validation rows, with the same bits as in `fits`."""
        replay = engine.load(self.config.engine.name, self.dtype)
        on_train, on_val = (
            evaluated(self.network, weights, rows, replay, self.task) for rows in (self.train, self.val)
        )
        return Epoch(on_train, on_val)

    @property
    def n_bytes(self) -> int:
        """Upper bound of the memory for recording and training without the rows, in bytes, estimated.

        It does not need a tape, since recording computes on arrays of the network's size.
        """
        rows = min(self.config.train.batch_size, len(self.train.y)) + EVALUATED_AT_ONCE
        rows += PROBED * self.config.train.diagnose
        numbers = 24 * self.network.n_parameters + 6 * rows * sum(self.network.widths)
        return numbers * np.dtype(self.dtype).itemsize


def prepare(config: Config) -> Experiment:
    """Read and split the table, fit the preprocessing to the training rows, and build the network.

    Raises:
        UserError: the table does not fit the configuration.
    """
    training = open_training(config.data, config.split, dtype_of(config))
    train = Examples(training.X_train, training.y_train)
    val = Examples(training.X_val, training.y_val)
    network = Network(n_features=train.X.shape[1], **config.model.model_dump())
    optimizer = OPTIMIZERS[config.optimizer.name](**config.optimizer.model_dump(exclude={"name"}))
    schedule = SCHEDULES[config.schedule.name](**config.schedule.model_dump(exclude={"name"}))
    weight = config.train.class_weight
    try:
        classes = None if weight is None else task_of(config.data).class_weights(train.y, weight)
    except ValueError as error:
        raise UserError(f"train.class_weight: {error}; set train.class_weight=null") from None
    return Experiment(config, training, train, val, network, optimizer, schedule, classes)


def dtype_of(config: Config) -> DType:
    """Return the dtype that a run computes with."""
    return np.float32 if config.engine.dtype == "float32" else np.float64
