"""Faults in the place of the calls by which a cache is written.

    Layer        passes every call on, and counts
    FailsAt      one call fails, or every call from one on: a full disk, no permission, read-only, an I/O error
    Short        a write takes less than it is given, as the system is free to do
    KillsAt      this process is killed (SIGKILL) in place of a call
    PowerLoss    nothing more is written, and what was not synced is lost or torn (power.py)

    with resload.testing.faulty(FailsAt(17, errno.ENOSPC, onward=True)):
        resload.build(catalog, "nih.zarr", sizes)        # DiskSpaceError

A layer stands on another one: `FailsAt(17, errno.EIO, below=Short(seed=0))`. `counted(work)` says which calls an
undisturbed run makes, so that a fault can be put in the place of each of them in turn.
"""

import os
import signal
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from resload import seeds
from resload.store.files import Files, instead

faulty = instead
"""`with faulty(layer)`: every cache that this process writes is written through the layer, in all its threads."""

T = TypeVar("T")

CALLS = (
    "create", "write", "truncate", "sync", "close", "replace", "mkdir", "unlink", "rmdir", "sync_folder",
)  # fmt: skip
"""The kinds of calls, by the names of the methods of `Files`."""


class Layer(Files):
    """Passes every call on to the layer below it, in whose place `around` may do something else. Thread-safe.

    made: the kinds of the calls so far, in their order. below: the system itself unless told otherwise.
    """

    def __init__(self, below: Files | None = None) -> None:
        self.below = Files() if below is None else below
        self.made: list[str] = []
        self._lock = threading.RLock()

    def around(self, number: int, kind: str, path: Path | None, call: Callable[[], T]) -> T:
        """What is done for the `number`-th call, from 1 on; `path` is None where a descriptor is given."""
        return call()

    def _count(self, kind: str, path: Path | None, call: Callable[[], T]) -> T:
        with self._lock:
            self.made.append(kind)
            number = len(self.made)
        return self.around(number, kind, path, call)

    def create(self, path: Path) -> int:
        """As in `Files`."""
        return self._count("create", path, lambda: self.below.create(path))

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        """As in `Files`."""
        return self._count("write", None, lambda: self.below.write(descriptor, data, offset))

    def truncate(self, descriptor: int, length: int) -> None:
        """As in `Files`."""
        self._count("truncate", None, lambda: self.below.truncate(descriptor, length))

    def sync(self, descriptor: int) -> None:
        """As in `Files`."""
        self._count("sync", None, lambda: self.below.sync(descriptor))

    def close(self, descriptor: int) -> None:
        """As in `Files`."""
        self._count("close", None, lambda: self.below.close(descriptor))

    def replace(self, path: Path, target: Path) -> None:
        """As in `Files`."""
        self._count("replace", target, lambda: self.below.replace(path, target))

    def mkdir(self, path: Path) -> None:
        """As in `Files`."""
        self._count("mkdir", path, lambda: self.below.mkdir(path))

    def unlink(self, path: Path) -> None:
        """As in `Files`."""
        self._count("unlink", path, lambda: self.below.unlink(path))

    def rmdir(self, path: Path) -> None:
        """As in `Files`."""
        self._count("rmdir", path, lambda: self.below.rmdir(path))

    def sync_folder(self, path: Path) -> None:
        """As in `Files`."""
        self._count("sync_folder", path, lambda: self.below.sync_folder(path))


def counted(work: Callable[[], object], below: Files | None = None) -> list[str]:
    """Do the work undisturbed; the kinds of the calls that it made, in their order."""
    layer = Layer(below)
    with instead(layer):
        work()
    return layer.made


class FailsAt(Layer):
    """The k-th call fails with an error of the system, as OSError with this `errno`; the others pass.

    k: from 1 on, counted among the calls of `kinds`. onward: every call from the k-th on fails, as those of a full
    or read-only disk do; then only calls that could need room or permission (`kinds`), and never `close`. A `close`
    that fails does close: so do the systems' own.

    struck: whether a call has failed.
    """

    def __init__(
        self,
        k: int,
        number: int,
        *,
        kinds: Collection[str] = CALLS,
        onward: bool = False,
        below: Files | None = None,
    ) -> None:
        super().__init__(below)
        self._k, self._errno, self._kinds, self._onward = k, number, frozenset(kinds), onward
        self._seen = 0
        self.struck = False

    def around(self, number: int, kind: str, path: Path | None, call: Callable[[], T]) -> T:
        """Fail, or pass the call on."""
        if not self._strikes(kind):
            return call()
        self.struck = True
        if kind == "close":
            call()
        raise OSError(self._errno, os.strerror(self._errno), None if path is None else str(path))

    def _strikes(self, kind: str) -> bool:
        if kind not in self._kinds:
            return False
        with self._lock:
            self._seen += 1
            if self._onward:
                return self._seen >= self._k and kind != "close"
            return self._seen == self._k


class Short(Layer):
    """A write takes from 1 to all of the bytes it is given, by a seed; who writes must go on with the rest."""

    def __init__(self, seed: int = 0, below: Files | None = None) -> None:
        super().__init__(below)
        self._seed = seed
        self._writes = 0

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        """Some of the bytes."""
        with self._lock:
            self._writes += 1
            chance = seeds.generator(self._seed, 0, "fault", self._writes)
        some = int(chance.integers(1, len(data), endpoint=True))
        return super().write(descriptor, data[:some], offset)


class KillsAt(Layer):
    """This process ends in place of the k-th call, as by `kill -9`: for a child made for it."""

    def __init__(self, k: int, below: Files | None = None) -> None:
        super().__init__(below)
        self._k = k

    def around(self, number: int, kind: str, path: Path | None, call: Callable[[], T]) -> T:
        """Kill, or pass the call on."""
        if number == self._k:
            os.kill(os.getpid(), signal.SIGKILL)
        return call()
