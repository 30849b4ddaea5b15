"""Ctrl-C at a chosen moment: work in a forked process, interrupted there, and what is left of it.

    ending = interrupted(lambda: resload.build(...), after=0.3)
    ending.how        "interrupted", "whole", or the traceback of anything else
    ending.left       threads and descriptors that are still there, named: [] where all are gone
    ending.seconds    from the first Ctrl-C to the end
    ending.shown      what it wrote to its terminal

The process that calls should not have used torch's threads before, nor have threads of its own (README of `forks.py`).
"""

import faulthandler
import gc
import json
import math
import os
import pty
import select
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SETTLES = 2.0
"""Seconds in which a thread that has nothing more to do ends."""
_HANGS = 60.0


@dataclass(frozen=True)
class Ending:
    """How interrupted work ended."""

    how: str
    left: list[str]
    seconds: float
    shown: str


def interrupted(work: Callable[[], object], *, after: float | None, again: float | None = None) -> Ending:
    """Do this in a forked process that has a terminal, and press Ctrl-C.

    after: seconds from its beginning to the first Ctrl-C, None for never; again: from there to a second one.

    Raises TimeoutError, with what its threads were at, where it has not ended a minute after that. For POSIX.
    """
    got, give = os.pipe()
    child, terminal = pty.fork()
    if child == 0:
        _in_child(work, give)
    os.close(give)
    assert os.read(got, 1) == b"b"
    begun = time.monotonic()
    presses = [] if after is None else [begun + after] + ([] if again is None else [begun + after + again])
    told, shown = _watched(child, terminal, got, deque(presses))
    if told is None:
        return Ending("it died without a word", [], 0.0, shown)
    return Ending(told["how"], told["left"], max(0.0, told["at"] - presses[0]) if presses else 0.0, shown)


def _watched(child: int, terminal: int, got: int, presses: deque[float]) -> tuple[Any, str]:
    """Press when it is time, until the process is gone: what it told, and all that it wrote to its terminal."""
    told, shown = bytearray(), bytearray()
    ends = (presses[-1] if presses else time.monotonic() + 600) + _HANGS
    open_ends = {terminal: shown, got: told}
    while got in open_ends:
        now = time.monotonic()
        if presses and now >= presses[0]:
            os.kill(child, signal.SIGINT)
            presses.popleft()
        if now > ends:
            os.kill(child, signal.SIGUSR1)
            time.sleep(_SETTLES)  # in which it says where it is
            os.kill(child, signal.SIGKILL)
            ends = math.inf
        for one in select.select([*open_ends], [], [], max(0.0, (presses[0] if presses else now + 0.1) - now))[0]:
            if not _taken(one, open_ends[one]):
                del open_ends[one]
    os.waitpid(child, 0)
    while terminal in open_ends and select.select([terminal], [], [], 0)[0] and _taken(terminal, shown):
        pass
    os.close(terminal)
    os.close(got)
    text = shown.decode(errors="replace").replace("\r\n", "\n")
    if ends == math.inf:
        raise TimeoutError(f"a minute after Ctrl-C it was still there: {text}")
    return json.loads(told) if told else None, text


def _taken(one: int, into: bytearray) -> bool:
    """Read what is there; False at its end."""
    try:
        part = os.read(one, 1 << 16)
    except OSError:  # EIO: nobody has the other end of a terminal any more
        return False
    into += part
    return bool(part)


def _in_child(work: Callable[[], object], give: int) -> None:
    """Work, tell how it ended and what is left, and be gone."""
    told: dict[str, object] = {}
    faulthandler.register(signal.SIGUSR1)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before = {*_descriptors()}, {*threading.enumerate()}
        os.write(give, b"b")
        try:
            work()
            told["how"] = "whole"
        except KeyboardInterrupt:
            told["how"] = "interrupted"
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:  # the second one, after the first one was caught
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        told.setdefault("how", "interrupted")
    except BaseException:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        told["how"] = traceback.format_exc()
    told["at"] = time.monotonic()
    told["left"] = _left(*before)
    sys.stderr.flush()
    os.write(give, json.dumps(told).encode())
    os._exit(0)


def _left(files: set[str], threads: set[threading.Thread]) -> list[str]:
    """What is there that was not, after a moment."""
    gc.collect()  # what an interrupted function was working on may refer to itself
    ends = time.monotonic() + _SETTLES
    while True:
        new = {one for one in threading.enumerate() if not one.daemon} - threads
        left = [f"thread {one.name}" for one in new] + sorted({*_descriptors()} - files)
        if not left or time.monotonic() > ends:
            return left
        time.sleep(0.005)


def _descriptors() -> list[str]:
    """Each open one with what it is of."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        try:
            found.append(f"descriptor {one.name} of {one.readlink()}")
        except OSError:  # the one that lists them
            continue
    return [one for one in found if not one.endswith("/fd")]
