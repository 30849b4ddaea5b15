"""Work in a child of this process, which may be killed at any moment, or kill itself.

The child is forked: what the parent has imported is there at once, and a child costs some milliseconds. So import all
that is needed first, and run nothing in the parent that starts threads (a fork copies only the thread that forks).
"""

import gc
import os
import pickle
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 120.0
"""Seconds after which a child that has not ended counts as hung."""


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    killed: bool
    """By SIGKILL; the others are what it left then."""
    value: Any = None
    """What its work returned."""
    error: BaseException | None = None
    """What its work raised, as it arrives here (its cause is a text in `trace`)."""
    trace: str = ""


def in_child(
    work: Callable[[], Any], *, kill_after: float | None = None, meanwhile: Callable[[int], object] | None = None
) -> Ended:
    """Do the work in a child, and wait for its end; killed with SIGKILL after so many seconds where that is given.

    meanwhile: called here, with the child's number, while the child works: it may kill that or another process when
    it sees fit (`has_ended` tells whether it came too late). What it raises, this raises; the child is killed then.

    The result, or what was raised, is sent home by pickle. Raises RuntimeError for a child that hangs (it is killed),
    or that died of something else than SIGKILL. POSIX only. Not from a program with other threads.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(work, writing)
    os.close(writing)
    try:
        if meanwhile is not None:
            meanwhile(child)
        data, late = _received(reading, child, PATIENCE_S if kill_after is None else kill_after)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    if late and kill_after is None:
        raise RuntimeError(f"a child has not ended after {PATIENCE_S:g} s: it hangs")
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Ended(killed=True)
    if status or not data:
        raise RuntimeError(f"a child died (wait status {status}); what it had to say is on stderr")
    return Ended(False, *pickle.loads(data))  # noqa: S301  # from our own child


def has_ended(child: int) -> bool:
    """Whether a child of this process has ended, one that nobody has waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _work(work: Callable[[], Any], writing: int) -> None:
    gc.freeze()  # collecting garbage would write to, and so copy, every page that is shared with the parent
    answer: tuple[Any, BaseException | None, str]
    try:
        try:
            answer = work(), None, ""
        except BaseException as exc:
            answer = None, exc, traceback.format_exc()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(_pickled(answer))
        sys.stderr.flush()
        os._exit(0)
    finally:
        os._exit(1)


def _pickled(answer: tuple[Any, BaseException | None, str]) -> bytes:
    try:
        return pickle.dumps(answer)
    except Exception:  # an exception that holds what cannot be pickled
        value, error, trace = answer
        return pickle.dumps((None, RuntimeError(f"{error or value!r} cannot be sent home"), trace))


def _received(reading: int, child: int, seconds: float) -> tuple[bytes, bool]:
    """All that comes through the pipe until its end, and whether the child had to be killed for it to end."""
    parts: list[bytes] = []
    end, late = time.monotonic() + seconds, False
    while True:
        if not late and not select.select([reading], [], [], max(0.0, end - time.monotonic()))[0]:
            os.kill(child, signal.SIGKILL)
            late = True
        part = os.read(reading, 1 << 16)
        if not part:
            return b"".join(parts), late
        parts.append(part)
