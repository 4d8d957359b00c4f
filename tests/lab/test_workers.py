"""Running tasks in parallel."""

from threading import Event

import pytest

from sweepgrad.lab.workers import side_by_side


def test_results_keep_their_order():
    assert side_by_side(lambda x: x * x, range(50)) == [x * x for x in range(50)]


def test_after_an_error_nothing_more_is_begun():
    begun, failed = [], Event()

    def work(number: int) -> int:
        begun.append(number)
        if number == 0:
            failed.set()
            raise KeyboardInterrupt
        failed.wait(10)
        Event().wait(0.05)  # long enough for waiting tasks to be cancelled
        return number

    with pytest.raises(KeyboardInterrupt):
        side_by_side(work, range(1000))
    assert len(begun) < 100
