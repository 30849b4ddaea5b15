"""Ctrl-C on the command line: one sentence and exit code 130, whatever it interrupted."""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

_LATER = 0.02
"""Seconds."""
_IMPORTS_TAKE = 10.0
"""Seconds that an import is not interrupted: torch's takes one or two, and on a busy machine five."""


class Interrupts:
    """While entered, notes each Ctrl-C before it is raised as KeyboardInterrupt.

    Some moments cannot take one; it is then sent again a moment later:

    * imports: within torch's, C++ code ends the process ("terminate called"), and others turn it into an ImportError
    * callbacks of garbage collection, which cannot raise anything: Python drops it ("Exception ignored in")

    Whatever is raised after an interrupt is its consequence. A handler that somebody else has set is left in place.

    last: the process ends with it, and further interrupts would only add to what was said.
    """

    def __init__(self, *, last: bool) -> None:
        self.seen = False
        self._last = last
        self._before: Any = None
        self._hook = sys.unraisablehook
        self._again: threading.Timer | None = None
        self._first = 0.0

    def __enter__(self) -> Self:
        here = threading.current_thread() is threading.main_thread()  # only there may handlers be set
        if here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._note)
            sys.unraisablehook = self._dropped
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.no_more()

    def no_more(self) -> None:
        """None is noted any more: it is for the handler that was there before, or for nobody."""
        if self._again is not None:
            self._again.cancel()
        if self._before is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN if self._last else self._before)
            sys.unraisablehook = self._hook

    def leave(self, code: int) -> None:
        """End the process here, if it ends anyway.

        Python's own end takes C++ libraries apart, and one that was interrupted at a bad moment then ends the process
        with a message of its own. What resload began has ended, and what it wrote is closed.
        """
        if self._last and self._before is not None and self.seen:
            with suppress(OSError, ValueError):  # nobody reads any more
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        self._first = self._first if self.seen else now
        self.seen = True
        if now < self._first + _IMPORTS_TAKE and _importing(frame) and self._sent_again():
            return
        raise KeyboardInterrupt

    def _dropped(self, what: "sys.UnraisableHookArgs") -> None:
        """What nobody could catch."""
        if not (isinstance(what.exc_value, KeyboardInterrupt) and self._sent_again()):
            self._hook(what)

    def _sent_again(self) -> bool:
        """A moment later; False where the system cannot."""
        if not hasattr(signal, "pthread_kill"):
            return False
        if self._again is not None:
            self._again.cancel()  # two at once are one
        main = threading.main_thread().ident
        self._again = threading.Timer(_LATER, signal.pthread_kill, (main, signal.SIGINT))  # which ends a sleep, too
        self._again.daemon = True
        self._again.start()
        return True


def _importing(frame: FrameType | None) -> bool:
    """Whether an import is under way in this thread."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
