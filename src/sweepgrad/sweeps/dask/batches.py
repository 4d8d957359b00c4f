"""Divide a sweep into batches for remote workers.

A batch is about a second of training: long enough that communication costs little, and short enough that
little is lost with a worker. Toward the end batches become smaller, so that no core waits long for another.
"""

from collections import deque
from collections.abc import Sequence

from sweepgrad.config.schema import Config
from sweepgrad.sweeps.job import Job
from sweepgrad.training.experiment import prepare
from sweepgrad.training.loop import SMALLEST_WORK

SECONDS = 1.0  # of training, in a batch
SHARES = 4  # batches per core into which the remaining jobs are divided
_OVERHEAD = 0.002  # seconds of a job besides its training
_MOST = 500  # jobs in a batch, whose results take some megabytes


class Batches:
    """Jobs, in batches that are formed on demand.

    The first batches are single jobs; their times are used to estimate those of the others.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = deque((job, _work(job.config)) for job in jobs)
        self._left = sum(work for _, work in self._jobs)
        self._seconds = self._work = 0.0  # of the jobs that have ended

    def __len__(self) -> int:
        """Return the number of jobs that are left."""
        return len(self._jobs)

    def take(self, cores: int) -> list[Job]:
        """Return the next batch, of at least one job; empty when none is left.

        Arguments:
            cores: the number of cores that share the remaining jobs.
        """
        rate = self._seconds / self._work if self._work else None
        limit = 0.0 if rate is None else min(SECONDS, rate * self._left / (SHARES * max(cores, 1)))
        batch: list[Job] = []
        seconds = 0.0
        while self._jobs and len(batch) < _MOST:
            job, work = self._jobs[0]
            seconds += work * (rate or 0.0)
            if batch and (rate is None or seconds > limit):
                break
            self._jobs.popleft()
            self._left -= work
            batch.append(job)
        return batch

    def learn(self, job: Job, seconds: float) -> None:
        """Record the training time of a job."""
        self._seconds += seconds + _OVERHEAD
        self._work += _work(job.config)


def _work(config: Config) -> float:
    """Return a proxy for the time of a job: the multiplications of its steps."""
    experiment = prepare(config)
    rows, batch = len(experiment.train.y), config.train.batch_size
    steps = config.train.epochs * -(-rows // batch)
    return float(steps * max(SMALLEST_WORK, experiment.network.n_parameters * min(batch, rows)))
