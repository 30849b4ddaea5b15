"""Many small files at once: results in order, whatever the number of threads, and that number chosen by the wait."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resload.catalog.reading import MOST, PROBE, spread, worth


@pytest.mark.parametrize("threads", [None, 1, 5])
@pytest.mark.parametrize("count", [0, 1, PROBE, PROBE + 1, 3 * PROBE])
def test_results_are_in_order(threads, count):
    """Fewer items than are looked at first, as many, and more."""
    found = spread(lambda item: item * item, range(count), threads=threads, progress=False, what="test")
    assert found == [item * item for item in range(count)]


@pytest.mark.parametrize("broken", [3, PROBE + 40])
def test_an_error_reaches_the_caller(broken):
    """Among the first items, and behind them."""

    def work(item):
        if item == broken:
            raise KeyError(item)
        return item

    with pytest.raises(KeyError, match=str(broken)):
        spread(work, range(4 * PROBE), threads=None, progress=False, what="test")


def test_who_waits_gets_threads():
    """Items that only wait are done side by side."""
    seen = set()

    def work(item):
        time.sleep(0.002)
        seen.add(threading.current_thread().name)
        return item

    spread(work, range(40 * PROBE), threads=None, progress=False, what="test")
    assert len(seen) > 2


@given(worked=st.floats(0, 100), waited=st.floats(0, 1e6))
def test_as_many_threads_as_fill_the_time(worked, waited):
    """One where nothing is waited for, MOST at most, and never fewer for a longer wait."""
    count = worth(worked + waited, worked)
    assert 1 <= count <= MOST
    assert worth(worked, worked) == 1
    assert worth(worked + 2 * waited, worked) >= count
