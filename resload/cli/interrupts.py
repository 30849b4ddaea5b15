"""Ctrl-C on the command line: one sentence and exit code 130, whatever it interrupted."""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_LATER = 0.01
"""Seconds."""


class Interrupts:
    """While entered, notes each Ctrl-C before it is raised as KeyboardInterrupt.

    An import that is interrupted within C code ends in an ImportError of its own, and other libraries do alike: what is
    raised after an interrupt is its consequence. A handler that somebody else has set is left in place.

    Python drops an interrupt that comes in a callback of garbage collection ("Exception ignored in"): it is sent again.

    last: the process ends with it, and further interrupts would only add to what was said.
    """

    def __init__(self, *, last: bool) -> None:
        self.seen = False
        self._last = last
        self._before: Any = None
        self._hook = sys.unraisablehook

    def __enter__(self) -> Self:
        here = threading.current_thread() is threading.main_thread()  # only there may handlers be set
        if here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._note)
            if hasattr(signal, "pthread_kill"):
                sys.unraisablehook = self._dropped
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.no_more()

    def no_more(self) -> None:
        """None is noted any more: it is for the handler that was there before, or for nobody."""
        if self._before is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN if self._last else self._before)
            sys.unraisablehook = self._hook

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        raise KeyboardInterrupt

    def _dropped(self, what: "sys.UnraisableHookArgs") -> None:
        """What nobody could catch: an interrupt a moment later, when the callback is over; else as ever."""
        if not isinstance(what.exc_value, KeyboardInterrupt):
            self._hook(what)
            return
        main = threading.main_thread().ident
        later = threading.Timer(_LATER, signal.pthread_kill, (main, signal.SIGINT))  # which ends a sleep, too
        later.daemon = True
        later.start()
