"""Worker threads: ordered, bounded, and gone."""

import gc
import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loading import workers

from resload.errors import ArgumentError
from resload.threads import ordered_map, thread_count


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 4), st.integers(1, 40))
def test_it_is_map(delays_ms, threads, window):
    """Results in the order of the items, whatever takes how long, for any number of threads and any window."""

    def work(pair):
        time.sleep(pair[1] / 1000)
        return pair[0]

    items = list(enumerate(delays_ms))
    assert list(ordered_map(work, items, threads=threads, window=window)) == list(range(len(items)))
    assert workers() == []


@pytest.mark.parametrize("window", [1, 3, 8])
def test_no_more_than_a_window_is_begun(window):
    """Items are drawn when there is room: at most `window` begun and not yet taken."""
    drawn = []

    def items():
        for i in range(50):
            drawn.append(i)
            yield i

    for taken, _ in enumerate(ordered_map(str, items(), threads=2, window=window), start=1):
        assert len(drawn) <= taken - 1 + window


def test_as_many_threads_as_asked():
    """All of them work at once, and no more."""
    together = threading.Barrier(3, timeout=20)
    names = set()

    def work(_):
        names.add(threading.current_thread().name)
        return together.wait()

    assert sorted(ordered_map(work, range(3), threads=3, window=3)) == [0, 1, 2]
    assert len(names) == 3


def test_a_failure_comes_in_its_place():
    """The results before it, then the very exception; what was not begun is dropped, no thread is left."""
    failure = ValueError("item 5")
    begun = []

    def work(i):
        begun.append(i)
        if i == 5:
            raise failure
        return i

    found = []
    with pytest.raises(ValueError, match="item 5") as caught:
        found.extend(ordered_map(work, range(1000), threads=2, window=10))
    assert caught.value is failure
    assert found == [0, 1, 2, 3, 4]
    assert len(begun) < 20
    assert workers() == []


def test_a_failing_source_of_items_is_the_callers_error():
    """An exception of the iterable arrives, and no thread is left."""

    def items():
        yield 1
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        list(ordered_map(str, items(), threads=2, window=2))
    assert workers() == []


def test_an_abandoned_map_leaves_no_thread():
    """A generator that is dropped or closed half way joins its threads; unstarted items never run."""
    begun = []

    def work(i):
        begun.append(i)
        time.sleep(0.005)
        return i

    results = ordered_map(work, range(1000), threads=2, window=400)
    assert next(results) == 0
    assert workers()
    del results
    gc.collect()
    assert workers() == []
    count = len(begun)
    assert count < 200
    time.sleep(0.03)
    assert len(begun) == count


def test_threads_are_what_this_process_may_use():
    """None: the CPUs of this process's affinity; an int >= 1: itself; anything else is refused."""
    expected = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert thread_count(None) == expected
    assert thread_count(7) == 7
    for wrong in (0, -1, 2.0, True, "2"):
        with pytest.raises(ArgumentError, match=f"threads must be an int >= 1 .* found {wrong!r}"):
            thread_count(wrong)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_affinity_is_respected():
    """Where containers or SLURM allow one CPU, one thread is used."""
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert thread_count(None) == 1
    finally:
        os.sched_setaffinity(0, allowed)
