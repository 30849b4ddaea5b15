"""Reading parts of files with and without the system's page cache.

Pages are dropped by `posix_fadvise(DONTNEED)`, for whole files and without any right to do so being needed. The system
keeps those that are not written yet, are mapped by somebody, or have no disk behind them (tmpfs); so it is asked
afterwards, by reads that refuse to wait (`RWF_NOWAIT`), whether they are gone, and a cold rate is only given where
they are.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from resload.bench.clock import ROUNDS, Rate, Work, on_threads, rate_of

PROBES = 16
"""Pieces of which the system is asked whether they are in memory: few, since asking may begin to read them."""
MOST_LEFT = 0.1
"""Share of the probed pieces that may still be in memory for a sweep to count as cold."""
_BUNDLE = 16
"""Pieces between two looks at the clock."""


class Piece(NamedTuple):
    """Some bytes of a file."""

    path: Path
    offset: int
    length: int


class Kept:
    """Files that stay open, and are read piece by piece into each thread's own buffer. A context manager."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.largest = max(piece.length for piece in pieces)
        self._files: dict[Path, int] = {}
        for piece in pieces:
            if piece.path not in self._files:
                self._files[piece.path] = os.open(piece.path, os.O_RDONLY)

    def read(self, piece: Piece, buffer: memoryview) -> int:
        """Fill the buffer's first bytes with a piece; how many."""
        return os.preadv(self._files[piece.path], [buffer[: piece.length]], piece.offset)

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, *error: object) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)


class Whole:
    """Files that are opened, read and closed again, as films are."""

    largest = 0

    def read(self, piece: Piece, _: memoryview) -> int:
        """Read a whole file; how many bytes it has."""
        return len(piece.path.read_bytes())


@dataclass(frozen=True)
class Sweep:
    """Every piece read once, in order, until the time was over."""

    rate: Rate
    read: int
    """How many of the pieces were: the first ones."""
    cold: bool
    reason: str
    """Why this sweep is not known to be cold; empty where it is."""


def swept(pieces: Sequence[Piece], files: Kept | Whole, threads: int, seconds: float) -> Sweep:
    """Drop the pages of the pieces' files, and read each piece once."""
    reason = dropped(pieces)
    rounds, read = list[float](), 0
    part = max(1, -(-len(pieces) // ROUNDS))
    with ThreadPoolExecutor(threads, thread_name_prefix="resload-bench") as pool:
        for start in range(0, len(pieces), part):
            some = pieces[start : start + part]
            ends = time.perf_counter() + seconds / ROUNDS
            shared, begun = iter(some), time.perf_counter()  # shared: of a list, taking the next one is a single step
            done = [pool.submit(_taken, shared, files, ends) for _ in range(threads)]
            count = sum(one.result() for one in done)
            rounds.append(count / max(time.perf_counter() - begun, 1e-9))
            read += count
            if count < len(some):
                break
    return Sweep(rate_of(rounds), read, not reason, reason)


def _taken(shared: Iterator[Piece], files: Kept | Whole, ends: float) -> int:
    buffer, count = memoryview(bytearray(files.largest)), 0
    for piece in shared:
        files.read(piece, buffer)
        count += 1
        if time.perf_counter() > ends:
            break
    return count


def warm(pieces: Sequence[Piece], files: Kept | Whole, threads: int, seconds: float) -> Rate:
    """Images/s of reading pieces that were read before, again and again, each thread its own part of them."""

    def work(k: int) -> Work:
        own, buffer = itertools.cycle(pieces[k::threads] or pieces), memoryview(bytearray(files.largest))

        def once() -> int:
            for piece in itertools.islice(own, _BUNDLE):
                files.read(piece, buffer)
            return _BUNDLE

        return once

    return on_threads(work, threads, seconds)


def dropped(pieces: Sequence[Piece]) -> str:
    """Drop the pages of these files; "" when they are gone, else why a cold rate cannot be measured."""
    if not hasattr(os, "posix_fadvise") or not hasattr(os, "RWF_NOWAIT"):
        return "this system cannot be asked to drop pages, or to say whether it did"
    for path in dict.fromkeys(piece.path for piece in pieces):
        _on_file(path, lambda file: os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED))
    there = [_on_file(piece.path, partial(_in_memory, offset=piece.offset)) for piece in pieces[-PROBES:]]
    if None in there:
        return "this file system does not say which pages are in memory"
    share = sum(map(bool, there)) / len(there)
    if share <= MOST_LEFT:
        return ""
    return f"pages stayed in memory ({100 * share:.0f} % of those looked at): not yet written, mapped, or not on a disk"


def _on_file(path: Path, asked: Callable[[int], bool | None]) -> bool | None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return asked(descriptor)
    finally:
        os.close(descriptor)


def _in_memory(descriptor: int, offset: int) -> bool | None:
    """Whether a byte can be had without waiting; None where the file system does not know."""
    try:
        os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
