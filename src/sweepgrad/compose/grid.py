"""The overrides of each job of a sweep."""

from collections.abc import Iterator, Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from sweepgrad.errors import UserError


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
    return UserError(f"{' '.join(str(o.input_line) for o in overrides)}: a sweep of 0 runs; nothing was run")
