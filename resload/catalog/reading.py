"""A little of many files at once: what kind they are, what their headers say.

Opening files mostly waits for disks and servers, so threads do it, more of them than cores.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from tqdm import tqdm

from resload import decode
from resload.catalog import rules
from resload.errors import DecodeError, UnreadableFileError
from resload.threads import ordered_map, thread_count

ITEM = TypeVar("ITEM")
RESULT = TypeVar("RESULT")

HEAD_BYTES = 4096
"""Enough to tell every format by: DICOM's mark stands at byte 128 (PS3.10 7.1), others' at 0."""

CHUNK = 32
"""Files per task: a header takes tens of microseconds, as handing over a task does."""


def spread(
    work: Callable[[ITEM], RESULT], items: Sequence[ITEM], *, threads: int | None, progress: bool, what: str
) -> list[RESULT]:
    """`[work(item) for item in items]` on threads, in order, with a bar on stderr if that is a terminal.

    By default four threads for each core. An error in `work` ends it and reaches the caller.
    """
    count = min(32, 4 * thread_count(None)) if threads is None else thread_count(threads)
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    results: list[RESULT] = []
    with tqdm(total=len(items), desc=what, unit="file", file=sys.stderr, disable=None if progress else True) as bar:
        for done in ordered_map(lambda chunk: [work(item) for item in chunk], chunks, threads=count, window=4 * count):
            results += done
            bar.update(len(done))
    return results


def kind(path: Path) -> str | DecodeError:
    """The format of a file by its first bytes, or why it has none."""
    try:
        with path.open("rb") as file:
            return decode.sniff(file.read(HEAD_BYTES))
    except DecodeError as exc:
        return exc
    except OSError as exc:
        return UnreadableFileError("the file could not be read", path=path, detail=exc.strerror or "")


def _header(path: Path) -> decode.Header | DecodeError:
    try:
        return decode.read_header(path)
    except DecodeError as exc:
        return exc


def headers(paths: Sequence[Path], *, threads: int | None, progress: bool) -> pd.DataFrame:
    """height, width, bits, frames, spacing_y, spacing_x, format, photometric, voi, intent, error: one row per path.

    Several rows of one file (its frames) are read once.
    """
    distinct = list(dict.fromkeys(paths))
    found = dict(zip(distinct, spread(_header, distinct, threads=threads, progress=progress, what="scan"), strict=True))
    rows = [_row(found[path]) for path in paths]
    table = pd.DataFrame(rows, columns=[*NUMBER_COLUMNS, *TEXT_COLUMNS])
    table[NUMBER_COLUMNS] = table[NUMBER_COLUMNS].astype(np.float64)
    for name in TEXT_COLUMNS:
        table[name] = rules.as_text(table[name])
    return table


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
