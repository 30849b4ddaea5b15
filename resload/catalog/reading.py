"""A little of many files at once: what kind they are, what their headers say.

Opening files waits for disks and servers, and then threads wait side by side. What they do with a file is Python, one
thread at a time: where nothing is waited for (a local disk, files read before), more threads only get in each other's
way.
"""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from tqdm import tqdm

from resload import decode
from resload.catalog import rules
from resload.decode.source import source_stream, unreadable
from resload.errors import DecodeError, UnreadableFileError
from resload.executors import Workers
from resload.threads import ordered_map, thread_count

ITEM = TypeVar("ITEM")
RESULT = TypeVar("RESULT")

HEAD_BYTES = 4096
"""Enough to tell every format by: DICOM's mark stands at byte 128 (PS3.10 7.1), others' at 0."""

CHUNK = 32
"""Files per task: a header takes tens of microseconds, as handing over a task does."""

PROBE = 64
"""Files that the caller's thread looks at first, to see how long each is waited for."""

SENT = 512
"""Files of one task for another process."""

MOST = 32
"""Threads at once, however long the wait: a server has others to serve."""


def spread(
    work: Callable[[ITEM], RESULT], items: Sequence[ITEM], *, threads: int | None, progress: bool, what: str
) -> list[RESULT]:
    """`[work(item) for item in items]` on threads, in order, with a bar on stderr if that is a terminal.

    Without `threads`, the first items are done on the caller's thread and tell how many are worth it (`worth`). An
    error in `work` ends it and reaches the caller.
    """
    results: list[RESULT] = []
    with tqdm(total=len(items), desc=what, unit="file", file=sys.stderr, disable=None if progress else True) as bar:
        count = _probed(work, items[:PROBE], results) if threads is None else thread_count(threads)
        bar.update(len(results))
        chunks = [items[start : start + CHUNK] for start in range(len(results), len(items), CHUNK)]
        for done in ordered_map(lambda chunk: [work(item) for item in chunk], chunks, threads=count, window=4 * count):
            results += done
            bar.update(len(done))
    return results


def _probed(work: Callable[[ITEM], RESULT], items: Sequence[ITEM], results: list[RESULT]) -> int:
    """Do these items here, and answer with the number of threads that others like them are worth."""
    begun, worked = time.perf_counter(), time.thread_time()
    results += [work(item) for item in items]
    return worth(time.perf_counter() - begun, time.thread_time() - worked)


def worth(passed: float, worked: float) -> int:
    """How many threads fill the time of one: its time by the time that it worked and did not wait (both in seconds).

    >>> worth(1.1, 1.0), worth(5.0, 1.0), worth(9.0, 0.001)
    (1, 5, 32)
    """
    return max(1, min(MOST, round(passed / max(worked, 1e-6))))


def kind(path: Path) -> str | DecodeError:
    """The format of a file by its first bytes, or why it has none."""
    try:
        with source_stream(path) as file:
            return decode.sniff(file.read(HEAD_BYTES))
    except DecodeError as exc:
        return exc
    except OSError as exc:
        return unreadable(path, exc)


def _header(path: Path) -> decode.Header | DecodeError:
    try:
        return decode.read_header(path)
    except DecodeError as exc:
        return exc


def headers(
    paths: Sequence[Path], *, threads: int | None, progress: bool, workers: Workers | None = None
) -> pd.DataFrame:
    """height, width, bits, frames, spacing_y, spacing_x, format, photometric, voi, intent, error: one row per path.

    Several rows of one file (its frames) are read once. workers: who reads; this process when None.
    """
    distinct = list(dict.fromkeys(paths))
    if workers is None:
        read = spread(_header, distinct, threads=threads, progress=progress, what="scan")
    else:
        read = _spread_wider(workers, distinct, threads=threads, progress=progress)
    found = dict(zip(distinct, read, strict=True))
    rows = [_row(found[path]) for path in paths]
    table = pd.DataFrame(rows, columns=[*NUMBER_COLUMNS, *TEXT_COLUMNS])
    table[NUMBER_COLUMNS] = table[NUMBER_COLUMNS].astype(np.float64)
    for name in TEXT_COLUMNS:
        table[name] = rules.as_text(table[name])
    return table


def _spread_wider(
    workers: Workers, paths: Sequence[Path], *, threads: int | None, progress: bool
) -> list[decode.Header | DecodeError]:
    """The headers of these files, read by an executor's workers; in order."""
    read: dict[int, decode.Header | DecodeError] = {}
    chunks = (Chunk(start, [path.absolute() for path in paths[start : start + SENT]], threads)
              for start in range(0, len(paths), SENT))  # fmt: skip
    bar = tqdm(total=len(paths), desc="scan", unit="file", file=sys.stderr, disable=None if progress else True)
    with bar, closing(workers.each(read_chunk, chunks)) as answers:
        for chunk, found in answers:
            read.update(enumerate(found, chunk.start))
            bar.update(len(found))
    for k, header in read.items():
        if isinstance(header, UnreadableFileError):  # one machine may not see what this one does
            read[k] = _header(paths[k])
    return [read[k] for k in range(len(paths))]


class Chunk(NamedTuple):
    """Files whose headers one task reads."""

    start: int
    """Place of the first."""
    paths: list[Path]
    threads: int | None


def read_chunk(chunk: Chunk) -> list[decode.Header | DecodeError]:
    """The headers of these files, or why there is none. Runs on a worker."""
    return spread(_header, chunk.paths, threads=chunk.threads, progress=False, what="scan")


NUMBER_COLUMNS = ["height", "width", "bits", "frames", "spacing_y", "spacing_x"]
TEXT_COLUMNS = ["format", "photometric", "voi", "intent", "error"]


def _row(header: decode.Header | DecodeError) -> tuple[object, ...]:
    if isinstance(header, DecodeError):
        return (*[np.nan] * len(NUMBER_COLUMNS), *[None] * (len(TEXT_COLUMNS) - 1), header.reason)
    spacing = header.spacing or (np.nan, np.nan)
    numbers = (header.height, header.width, header.bits, header.frames, *spacing)
    return (*numbers, header.format, header.photometric, header.voi or None, header.intent or None, None)


def filled(table: pd.DataFrame, headers: pd.DataFrame) -> pd.DataFrame:
    """The table with what headers say; depth and spacing that the table knows already stay."""
    columns = {str(name): column for name, column in headers.items()}
    for name in ("bits", "spacing_y", "spacing_x"):
        if name in table.columns:
            columns[name] = table[name].where(table[name].notna(), headers[name])
    return table.assign(**columns)
