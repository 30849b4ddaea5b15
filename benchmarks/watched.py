"""Work that may crash or hang, in processes that a watchdog looks after: one that does is replaced, and told of."""

import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

CRASH, HANG = "crash", "hang"


def watched(
    begin: Callable[[], Callable[[int], Any]], numbers: Iterable[int], *, workers: int, longest_s: float
) -> Iterator[tuple[int, Any]]:
    """(number, answer) of each number, in no order; CRASH or HANG for one that ends its process or takes longer.

    begin: called in each process, forked from this one, and not counted as work; its answer is then called with one
    number after another.
    """
    left = iter(numbers)
    busy = [_Worker(begin, number) for number in itertools.islice(left, workers)]
    while busy:
        ready = wait([one.pipe for one in busy], timeout=0.5)
        for one in list(busy):
            if one.pipe not in ready and not one.late(longest_s):
                continue
            answer = one.answer() if one.pipe in ready else HANG
            if answer is _READY:
                continue
            yield one.number, answer
            busy.remove(one)
            number, lost = next(left, None), answer in (CRASH, HANG)
            if lost or number is None:
                one.stop()
            if number is not None:
                busy.append(_Worker(begin, number) if lost else one.given(number))


_READY = "<ready>"


def _work(pipe: Connection, begin: Callable[[], Callable[[int], Any]], parent: int) -> None:
    judge = begin()
    pipe.send(_READY)
    while os.getppid() == parent:  # a parent that is killed cannot say so: its other children hold the pipe open
        if pipe.poll(1.0):
            pipe.send(judge(pipe.recv()))


class _Worker:
    """A process, and the number it has now."""

    def __init__(self, begin: Callable[[], Callable[[int], Any]], number: int) -> None:
        self.pipe, there = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=_work, args=(there, begin, os.getpid()))
        self.process.start()
        there.close()
        self.since: float | None = None  # until it is ready
        self.number = number
        self.pipe.send(number)

    def given(self, number: int) -> "_Worker":
        self.number, self.since = number, time.monotonic()
        self.pipe.send(number)
        return self

    def late(self, longest_s: float) -> bool:
        return self.since is not None and time.monotonic() - self.since > longest_s

    def answer(self) -> Any:
        try:
            found = self.pipe.recv()
        except EOFError:
            return CRASH
        if isinstance(found, str) and found == _READY:
            self.since = time.monotonic()
            return _READY
        return found

    def stop(self) -> None:
        """End it, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.pipe.close()
