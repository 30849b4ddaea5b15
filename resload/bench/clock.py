"""How fast something is: images per second within a budget of seconds, as the median of rounds with their spread.

Each measurement is warmed up by one unit of work that does not count. Rounds are cut by time, not by amount, so that
a slow machine takes no longer than a quick one; what runs on several threads is counted by each thread's own clock,
so that nobody waits for the last one.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

ROUNDS = 5

Work = Callable[[], int]
"""Does some images and says how many."""


@dataclass(frozen=True)
class Rate:
    """Images per second."""

    median: float
    least: float
    most: float
    runs: int
    """Rounds that were counted; 1 where one unit of work took the whole budget."""


def rate_of(rounds: Sequence[float]) -> Rate:
    """The median of some rounds (at least one), and their range."""
    return Rate(statistics.median(rounds), min(rounds), max(rounds), len(rounds))


def on_threads(work: Callable[[int], Work], threads: int, seconds: float) -> Rate:
    """Images/s of so many threads together, each doing `work(k)` again and again.

    work: called with the number of each thread, from 0, before the clock starts; what it returns runs on that thread
    alone. What it raises is raised here.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="resload-bench") as pool:

        def together(span: float) -> float:
            return sum(future.result() for future in [pool.submit(_spun, one, span) for one in own])

        own = [work(k) for k in range(threads)]
        return _in_rounds(together, seconds)


def alone(work: Work, seconds: float) -> Rate:
    """Images/s of the calling thread: of a model, whose settings may be those of this thread."""
    return _in_rounds(lambda span: _spun(work, span), seconds)


def _in_rounds(together: Callable[[float], float], seconds: float) -> Rate:
    """Rounds of a fifth of the time each; fewer when single units are longer than that."""
    together(0.0)
    begun, found = time.perf_counter(), list[float]()
    while len(found) < ROUNDS and (not found or time.perf_counter() - begun < seconds):
        found.append(together(seconds / ROUNDS))
    return rate_of(found)


def _spun(work: Work, span: float) -> float:
    """Images/s of one thread in one round: at least one unit of work."""
    begun, done, passed = time.perf_counter(), 0, 0.0
    while not done or passed < span:
        done += work()
        passed = time.perf_counter() - begun
    return done / max(passed, 1e-9)


def of_stream(passes: Callable[[], Iterable[Any]], images: Callable[[Any], int], seconds: float, *, skip: int) -> Rate:
    """Images/s of an iteration, begun anew whenever it ends; the first `skip` items of each pass do not count.

    They are what a loader has in preparation when the clock starts. A pass needs more items than that.
    """
    begun, found = time.perf_counter(), list[float]()
    while len(found) < ROUNDS and (not found or time.perf_counter() - begun < 2 * seconds):
        _one_pass(passes(), images, found, seconds, skip)
    return rate_of(found)


def _one_pass(
    items: Iterable[Any], images: Callable[[Any], int], found: list[float], seconds: float, skip: int
) -> None:
    """Add the rounds of one pass to those that were found."""
    ends, counted, start = time.perf_counter() + 2 * seconds, 0, 0.0
    for number, item in enumerate(items, 1):
        now = time.perf_counter()
        if number <= skip:
            start = now
            continue
        counted += images(item)
        if now - start >= seconds / ROUNDS:
            found.append(counted / (now - start))
            counted, start = 0, now
            if len(found) >= ROUNDS or now > ends:
                return
    if counted and not found:
        found.append(counted / max(time.perf_counter() - start, 1e-9))
