"""Cutting a sweep into batches, for workers that are far away.

A batch is about a second of training: so much that asking for it costs nothing beside it, so little that not
much is lost with a worker. Toward the end batches grow smaller, so that no core waits long for another.
"""

from collections import deque
from collections.abc import Sequence

from sweepgrad.config.schema import Config
from sweepgrad.sweep.job import Job
from sweepgrad.training.experiment import prepare
from sweepgrad.training.loop import SMALLEST_WORK

SECONDS = 1.0  # of training, in a batch
SHARES = 4  # what is left, in batches a core
_AROUND = 0.002  # seconds that a job costs besides its training
_MOST = 500  # jobs in a batch: what they come to is some megabytes


class Batches:
    """Jobs, in batches that are made when they are asked for.

    The first are single jobs; how long the others take follows from the time that these took.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = deque((job, _work(job.config)) for job in jobs)
        self._left = sum(work for _, work in self._jobs)
        self._seconds = self._work = 0.0  # of the jobs that have ended

    def __len__(self) -> int:
        """How many jobs are left."""
        return len(self._jobs)

    def take(self, cores: int) -> list[Job]:
        """The next batch, of one job at least; empty when none is left.

        Arguments:
            cores: among which what is left is shared.
        """
        rate = self._seconds / self._work if self._work else None
        end = 0.0 if rate is None else min(SECONDS, rate * self._left / (SHARES * max(cores, 1)))
        batch: list[Job] = []
        seconds = 0.0
        while self._jobs and len(batch) < _MOST:
            job, work = self._jobs[0]
            seconds += work * (rate or 0.0)
            if batch and (rate is None or seconds > end):
                break
            self._jobs.popleft()
            self._left -= work
            batch.append(job)
        return batch

    def learn(self, job: Job, seconds: float) -> None:
        """A job took so long."""
        self._seconds += seconds + _AROUND
        self._work += _work(job.config)


def _work(config: Config) -> float:
    """Grows with the time that a job takes: multiplications of its steps."""
    experiment = prepare(config)
    rows, batch = len(experiment.train.y), config.train.batch_size
    steps = config.train.epochs * -(-rows // batch)
    return float(steps * max(SMALLEST_WORK, experiment.network.n_parameters * min(batch, rows)))
