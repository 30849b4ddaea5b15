"""How much a file may ask for before it is refused: what hostile and damaged input runs into.

A few bytes can claim a terabyte of pixels, sequences a million deep, or a data set that inflates without end. Whatever
is read is compared with these limits before memory or time is spent on it. The defaults leave every real radiograph
far below; each can be set by an environment variable, which worker processes and commands inherit:

    RESLOAD_MAX_PIXELS=1073741824 resload build slides slides.zarr

    limits().pixels     the limit that holds now
    raised_by("pixels") the name of its variable, for the refusal

Variables are read whenever a limit is asked for, so a change counts from the next file on.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from resload.errors import ArgumentError

PREFIX = "RESLOAD_MAX_"
"""Of every variable; the rest is the limit's name in capitals."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits as they hold for one file. `Limits()` is the defaults. Every one is a positive whole number."""

    pixels: int = 1 << 27
    """Of one image, (height * width): 11,585 x 11,585, ten times a mammogram of 4,000 x 3,000 and some four times a
    long-leg film, and a quarter of a gigabyte of 16-bit pixels. Of a level of a cache too; its native canvas, and all
    masks of a level, may have 8 times as many."""
    file_bytes: int = 2 << 30
    """Of a source or mask, read whole: the largest radiographs are under 100 MB."""
    inflated_bytes: int = 1 << 30
    """That a deflated DICOM data set inflates to: its film, many times over."""
    frames: int = 1 << 24
    """Of a multi-frame DICOM object or pages of a TIFF: breast tomosynthesis has some hundred."""
    dicom_elements: int = 1 << 18
    """Stepped over in one file, nested ones included: mammograms have some hundred, multi-frame objects thousands."""
    dicom_depth: int = 32
    """Levels of nested sequences: radiographs have two or three."""
    fragments: int = 1 << 20
    """Of encapsulated pixel data (PS3.5 A.4), strips or tiles of a TIFF page, and tile-parts of JPEG 2000."""
    header_parts: int = 1 << 12
    """Chunks of a PNG or segments of a JPEG before the pixels: real files have about ten, or a few hundred with
    profiles and thumbnails."""
    passes: int = 16
    """Over the largest allowed image that the scans of one progressive JPEG may make: an image of fewer pixels may
    have more scans. Ten scans are usual (libjpeg's default script)."""
    crossings: int = 1 << 23
    """Of the outlines of one film's contours with its columns of pixels: some hundred megabytes while they are drawn.
    A thousand outlined calcifications have about a hundred thousand."""
    document_bytes: int = 16 << 20
    """Of a JSON document: the manifest of a cache, a saved catalog's, a recipe's. What a build leaves to be resumed
    may have 16 KiB for each row on top."""
    table_bytes: int = 8 << 30
    """That all pages of a Parquet table decompress to, and that its rows take in memory: a cache of a million films
    at nine levels has a gigabyte."""
    table_rows: int = 1 << 28
    """Of a table."""
    table_pages: int = 1 << 18
    """Of a table, which Parquet cuts into pages of about a megabyte or 20,000 rows."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(f"Limits: {one.name} is a positive whole number; found {value!r}")


NAMES = tuple(one.name for one in fields(Limits))


def raised_by(name: str) -> str:
    """The variable that sets a limit: `RESLOAD_MAX_PIXELS` for "pixels"."""
    assert name in NAMES
    return PREFIX + name.upper()


# `os.environ.get` costs a microsecond for a variable that is not set, and there are a dozen: what it looks into is
# asked directly, where it is CPython's.
_STORE: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
_KEYS: tuple[Any, ...] = tuple(
    PREFIX + name.upper() if _STORE is os.environ else os.environ.encodekey(PREFIX + name.upper()) for name in NAMES
)
_SET = _STORE.keys()
_DEFAULTS = Limits()


def limits() -> Limits:
    """The limits that hold now. Costs 0.2 microseconds while none is set; safe in any number of threads.

    Raises ArgumentError, naming the variable, for a value that is no positive whole number.
    """
    return _DEFAULTS if _SET.isdisjoint(_KEYS) else _parsed(tuple(map(_STORE.get, _KEYS)))


@lru_cache(maxsize=8)
def _parsed(found: tuple[Any, ...]) -> Limits:
    given = {name: _number(name, raw) for name, raw in zip(NAMES, found, strict=True) if raw is not None}
    return Limits(**given)


def _number(name: str, raw: bytes | str) -> int:
    text = os.fsdecode(raw)
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ArgumentError(f"{raised_by(name)} is a positive whole number; found {text[:40]!r}")
    return value
