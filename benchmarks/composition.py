"""Measure the cost of composing a sweep: `python -m benchmarks.composition`, half a minute.

A job of a sweep is composed when the basic sweeper checks it and again when the launcher starts it; before
both, `sweepgrad.compose.plan` composes and checks it too. This prints the processor milliseconds per job for
Hydra's loader and for ours, over the same sweep of 200 jobs in one process, with reading files.
"""

import time
from collections.abc import Callable, Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.types import RunMode

from sweepgrad.compose.loader import CONFIG_NAME, SweepLoader, hydra_for
from sweepgrad.compose.plan import checked, plan

SWEEP = ("model=wide,deep", "optimizer=adam,sgd", "optimizer.lr=0.01,0.02,0.05,0.1,0.2", "seed=range(0,10)")


def milliseconds(work: Callable[[], object], jobs: int) -> float:
    """Return processor time, since wall time would include other work of the machine."""
    start = time.process_time()
    work()
    return (time.process_time() - start) / jobs * 1e3


def main() -> None:
    with hydra_for() as hydra:
        ours = hydra.config_loader
        assert isinstance(ours, SweepLoader)
        hydras = ConfigLoaderImpl(ours.get_search_path())
        master = hydras.load_configuration(CONFIG_NAME, [*SWEEP], RunMode.MULTIRUN)
        (jobs,) = BasicSweeper.split_arguments(ours.parse(SWEEP), None)
        n = len(jobs)

        def compose(loader: ConfigLoaderImpl, batch: Sequence[Sequence[str]]) -> None:
            for job in batch:
                loader.load_sweep_config(master, [*job])

        # A new loader, which has not parsed or composed anything yet.
        fresh = SweepLoader(ours.get_search_path())
        first = milliseconds(lambda: compose(fresh, jobs), n)
        again = milliseconds(lambda: compose(fresh, jobs), n)
        each = milliseconds(lambda: compose(hydras, jobs), n)
        config = ours.load_sweep_config(master, [*jobs[0]])
        check = milliseconds(lambda: [checked(config) for _ in range(n)], n)
    whole = milliseconds(lambda: plan(SWEEP, multirun=True), n)
    print(f"| {n} jobs, ms a job | Hydra's loader | ours | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for name, slow, fast in (
        ("composed for the first time", each, first),
        ("validated and launched", 2 * each, first + again),
        ("composed once and checked", each + check, first + check),
    ):
        print(f"| {name} | {slow:.1f} | {fast:.2f} | {slow / fast:.0f} |")
    print(f"\nchecking alone {check:.2f} ms a job; the whole of preflight, {whole:.2f} ms a job")


if __name__ == "__main__":
    main()
