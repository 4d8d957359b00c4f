"""The overrides of each job of a sweep, counted before they are listed."""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from sweepgrad.compose.limits import MAX_JOBS, MAX_RANGE, MOST_JOBS
from sweepgrad.errors import UserError, shortened


def check_ranges(overrides: Sequence[Override]) -> None:
    """Check that the values of each range can be listed; Hydra lists those of some ranges without end.

    Raises:
        UserError: a step is 0 or lost in rounding, an end is not finite, or there are too many values.
    """
    for override in overrides:
        sweep = override.value()
        if isinstance(sweep, RangeSweep):
            line = shortened(override.input_line, 200)
            numbers = (sweep.start, sweep.stop, sweep.step)
            if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
                raise UserError(f"{line}: a range needs finite numbers")
            if sweep.step == 0:
                raise UserError(f"{line}: the step of a range must not be 0")
            whole = all(isinstance(n, int) for n in numbers)
            if not whole and _is_lost(sweep):
                raise UserError(f"{line}: the step is lost in rounding. Use a larger step")
            most = 2**62 if whole and not sweep.shuffle else MAX_RANGE
            if (n := _length(sweep)) > most:
                raise UserError(
                    f"{line}: a range of {_shown(n)} values, of which at most {most:,} are listed"
                )


def count(overrides: Sequence[Override]) -> int:
    """Return the number of jobs that the basic sweeper would list, or of values of a single override.

    It lists the values of overrides that a later one replaces too.
    """
    numbers = {o.get_key_element(): _n_values(o) for o in overrides}
    return max([math.prod(numbers.values()), *map(_n_values, overrides)])


def check_count(n: int, max_jobs: int = MAX_JOBS) -> None:
    """Check the number of jobs of a sweep.

    Raises:
        UserError: there are more than were allowed.
    """
    if n > max_jobs:
        how = (
            f"Add --max-jobs {n}"
            if n <= MOST_JOBS
            else f"--max-jobs allows up to {MOST_JOBS:,}; hydra/sweeper=optuna tries some of them"
        )
        raise UserError(f"the sweep has {_shown(n)} runs, and at most {max_jobs:,} are allowed. {how}")


def combinations_of(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the overrides of each job, as the basic sweeper creates them."""
    try:
        (batch,) = BasicSweeper.split_arguments(list(overrides), None)
    except HydraException as error:
        raise UserError(
            f"{error}. Sweep over a list, a range() or a choice() instead, or add hydra/sweeper=optuna."
        ) from None
    if not batch:
        raise _no_run(overrides)
    return batch


def samples(overrides: Sequence[Override]) -> list[list[str]]:
    """Return overrides of jobs that have each value of `_values` once, and the first value of other keys."""
    values = {override.get_key_element(): [*_values(override)] for override in overrides}
    if not all(values.values()):
        raise _no_run(overrides)
    first = {key: options[0] for key, options in values.items()}
    sampled = [first, *(first | {key: o} for key, options in values.items() for o in options[1:])]
    return [[f"{key}={value}" for key, value in sample.items()] for sample in sampled]


def _n_values(override: Override) -> int:
    value = override.value()
    if isinstance(value, RangeSweep):
        return _length(value)
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    return sum(1 for _ in _values(override))


def _length(sweep: RangeSweep) -> int:
    start, stop, step = _exact(sweep)
    if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
        return max(0, -((start - stop) // step))
    return max(0, math.ceil((Decimal(stop) - Decimal(start)) / Decimal(step)))


def _is_lost(sweep: RangeSweep) -> bool:
    """Return whether adding the step to an end leaves it as it is, in the precision of Hydra's sums."""
    start, stop, step = map(Decimal, _exact(sweep))
    return any(+end + step == +end for end in (start, stop))


def _exact(sweep: RangeSweep) -> tuple[int | float, int | float, int | float]:
    assert sweep.start is not None
    assert sweep.stop is not None
    return sweep.start, sweep.stop, sweep.step


def _shown(n: int) -> str:
    return f"{n:,}" if n < 10**15 else f"about 10^{len(str(n)) - 1}"


def _values(override: Override) -> Iterator[str]:
    """Yield all values of a choice, both ends of a range or an interval, or the single value."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        yield from (str(value.start), str(value.end))
    elif isinstance(value, RangeSweep):
        numbers = value.range()
        ends = numbers if isinstance(numbers, range) else list(numbers)
        yield from (str(number) for number in dict.fromkeys([*ends[:1], *ends[-1:]]))
    elif override.is_sweep_override():
        yield from override.sweep_string_iterator()
    else:
        yield override.get_value_element_as_str()


def _no_run(overrides: Sequence[Override]) -> UserError:
    lines = " ".join(str(override.input_line) for override in overrides)
    return UserError(f"{shortened(lines, 200)}: a sweep of 0 runs; nothing was run")
