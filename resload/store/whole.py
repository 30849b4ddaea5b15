"""Whole shards from storage, read from beginning to end before their records are read at random.

Linux keeps what is read in one sweep in larger pieces (folios) than what is read a record at a time, and every later
copy out of them is faster: `benchmarks/growth.py` says by how much. The sweep is faster than random reads, too. So
where most of a level is about to be read, is not in memory, and fits into it, its shards are read whole, by a thread,
and batches begin a moment later.

The system reads into its own memory and nothing is copied: `sendfile` to /dev/null.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from resload.memory import free_bytes

SWEEPS = sys.platform == "linux" and hasattr(os, "sendfile")
"""Whether the system can."""
MOST_OF_FREE = 0.5
"""Of the memory that files may be kept in, at most."""
HEAD_START = 1.0
"""Seconds that batches wait at most: storage that takes longer is read at random meanwhile."""
_PIECE = 8 << 20
"""Bytes after which the thread looks whether it is to end."""


class Sweep:
    """A thread that has the system read files from beginning to end. What it cannot read is left to others."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files, self._ends = files, threading.Event()
        self._thread = threading.Thread(target=self._run, name="resload-sweep", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # Ctrl-C while it starts: nobody else could end it
            self._ends.set()
            raise

    def wait(self, seconds: float = HEAD_START) -> None:
        """Until everything is read, so long at most."""
        self._thread.join(seconds)

    def close(self) -> None:
        """End it; returns once it has."""
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        for path in self._files:
            with contextlib.suppress(OSError):  # a shard that is not there, or a file system that cannot
                self._read(path)

    def _read(self, path: Path) -> None:
        with path.open("rb", buffering=0) as file, Path(os.devnull).open("wb", buffering=0) as null:
            at = 0
            while not self._ends.is_set() and (sent := os.sendfile(null.fileno(), file.fileno(), at, _PIECE)):
                at += sent


def fits(size: int) -> bool:
    """Whether so many bytes of files will stay in memory, as far as can be known."""
    free = free_bytes()
    return free is not None and size <= MOST_OF_FREE * free
