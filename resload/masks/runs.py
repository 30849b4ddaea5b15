"""Run-lengths to and from masks. Every format runs down the columns, left to right (Fortran's order).

    siim         gap length gap length ...        each start counts from the end of the run before; the first from 0
    kaggle       start length start length ...    starts count from 1, from the upper left corner, ascending
    coco         zeros ones zeros ones ... zeros  counts of all pixels, as a list or a text
    coco-string  the same, compressed as pycocotools does it

`siim` is that of the SIIM-ACR pneumothorax challenge: read so, and only so, all its runs stay inside the 1024 x 1024
film. The other two are described on Kaggle's evaluation pages, and in cocodataset/cocoapi `common/maskApi.c`
(`rleToString`). An empty text and `-1` (SIIM's file has " -1") are a mask that is known to be empty, in any format.

All become one thing: alternating counts of zeros and ones, zeros first. No state; safe in any number of threads.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError, DecodeError
from resload.size import Size, SizeLike, as_size

FORMATS = ("siim", "kaggle", "coco", "coco-string")
"""Names of the formats; a catalog's masks are `siim` where they have no column `rle_format`."""

Mask: TypeAlias = NDArray[np.bool_]
"""(H, W): which pixels are inside."""

Numbers: TypeAlias = NDArray[np.int64]


def decode_runs(runs: str | bytes | Sequence[int] | NDArray[Any], size: SizeLike, format: str = "siim") -> Mask:  # noqa: A002, format is what the column `rle_format` calls it
    """The mask of one run-length text, or list of its numbers: (H, W) bool, C-contiguous, a new array.

    Raises ArgumentError for an unknown format, and DecodeError for numbers that are none, that do not come in pairs,
    or that leave the film.

    >>> decode_runs("1 2 1 1", (3, 2)).astype(int)
    array([[0, 0],
           [1, 1],
           [1, 0]])
    """
    size = as_size(size)
    _check_format(format)
    if is_empty(runs):
        return np.zeros(size, np.bool_)
    numbers = _decompressed(runs) if format == "coco-string" else _whole_numbers(runs, format)
    if format in ("siim", "kaggle") and len(numbers) % 2:
        raise DecodeError("run-lengths come in pairs of start and length", detail=f"found {len(numbers)} numbers")
    counts = _counts_of_starts(numbers) if format == "kaggle" else numbers
    _check_counts(counts, size, whole=format.startswith("coco"))
    return _painted(counts, size)


def encode_runs(mask: Mask, format: str = "siim") -> str:  # noqa: A002, as above
    """The run-lengths of a mask (H, W) bool as text, numbers set apart by spaces; `-1` for none, except in COCO.

    `decode_runs` gives the mask back. Raises ArgumentError for an unknown format or another kind of array.
    """
    _check_format(format)
    if mask.ndim != 2 or mask.dtype != np.bool_ or 0 in mask.shape:
        raise ArgumentError(f"a mask is (height, width) of bool; found {mask.dtype} {mask.shape}")
    flat = mask.T.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate([[0] if flat[0] else [], changes, [flat.size]]).astype(np.int64)
    counts = np.diff(ends, prepend=0)
    if format == "coco-string":
        return _compressed(counts)
    if format != "coco":
        counts = counts[: len(counts) // 2 * 2]  # without the zeros behind the last run
        if format == "kaggle":
            counts[0::2] = ends[: len(counts) : 2] + 1
    return " ".join(map(str, counts.tolist())) or "-1"


def is_empty(runs: object) -> bool:
    """Whether these run-lengths say that there is nothing: an empty text, or -1 as text or number."""
    return not isinstance(runs, list | tuple | np.ndarray) and str(runs).strip() in ("", "-1", "-1.0")


def _check_format(name: str) -> None:
    if name not in FORMATS:
        raise ArgumentError(f"the format of run-lengths must be one of {', '.join(FORMATS)}; found {name!r}")


def _whole_numbers(runs: object, name: str) -> Numbers:
    try:
        if isinstance(runs, str):
            text = runs.strip("[] ").replace(",", " ") if name == "coco" else runs
            return np.array([int(word) for word in text.split()], np.int64)
        numbers = np.asarray(runs)
        if numbers.ndim == 1 and (numbers.dtype.kind in "iu" or not numbers.size):
            return numbers.astype(np.int64)
    except (ValueError, OverflowError):
        pass
    raise DecodeError("run-lengths must be whole numbers", detail=f"found {str(runs)[:40]!r}")


def _counts_of_starts(numbers: Numbers) -> Numbers:
    """Starts from 1 as gaps from the end of the run before."""
    counts = numbers.copy()
    counts[0::2] -= 1
    counts[2::2] -= counts[0:-2:2] + counts[1:-2:2]
    return counts


def _check_counts(counts: Numbers, size: Size, whole: bool) -> None:
    """Refuse counts that are negative, or do not stay inside (with `whole`: do not fill) the film."""
    if (counts < 0).any():
        raise DecodeError(
            "run-lengths go backwards: runs overlap, are out of order, or have negative numbers",
            detail=f"in run {int((counts < 0).argmax()) // 2 + 1}",
        )
    # Each count is compared before they are added up: a sum of huge ones could wrap around.
    total = int(counts.sum()) if (counts <= size.pixels).all() else int(counts.max())
    if total > size.pixels or (whole and total < size.pixels):
        raise DecodeError(
            "run-lengths do not fit the film: another size, or another format",
            detail=f"they reach pixel {total} of {size.pixels} ({size})",
        )


def _painted(counts: Numbers, size: Size) -> Mask:
    """Alternating counts as pixels; only the columns from the first to the last run are written."""
    out = np.zeros(size, np.bool_)
    counts = counts[: len(counts) // 2 * 2]
    begin, end = int(counts[0]) if len(counts) else 0, int(counts.sum())
    first, last = begin // size.height, -(-end // size.height)
    if last > first:
        near = np.append(counts, last * size.height - end)
        near[0] -= first * size.height
        flat = np.repeat(np.arange(len(near)) % 2 == 1, near)
        out[:, first:last] = flat.reshape(last - first, size.height).T
    return out


# -- COCO's compression: differences to the last count but one, in digits of five bits, the lowest first ---------


_LONGEST_NUMBER = 70
"""Bits of one number: its digits hold 5 each, and no count has more than 62."""


def _decompressed(runs: object) -> Numbers:
    text = runs.decode("latin-1") if isinstance(runs, bytes) else runs
    if not isinstance(text, str) or not all("0" <= letter <= "o" for letter in text.strip()):
        raise DecodeError("a compressed run-length is a text of the letters 0 to o", detail=f"found {str(runs)[:40]!r}")
    counts: list[int] = []
    value = bits = 0
    for digit in (ord(letter) - 48 for letter in text.strip()):
        value |= (digit & 31) << bits
        bits += 5
        if digit & 32:
            if bits > _LONGEST_NUMBER:  # which would take quadratic time
                break
            continue
        value -= (digit & 16) << (bits - 4)  # the highest bit is the sign
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = bits = 0
    if bits or any(abs(count) > 1 << 62 for count in counts):
        raise DecodeError("a compressed run-length ends inside a number", detail=f"after {len(counts)} numbers")
    return np.array(counts, np.int64)


def _compressed(counts: Numbers) -> str:
    values = counts.tolist()
    steps = [value - (values[i - 2] if i > 2 else 0) for i, value in enumerate(values)]
    return "".join(chr(48 + digit) for step in steps for digit in _digits(step))


def _digits(step: int) -> Iterator[int]:
    while not -16 <= step < 16:
        yield step & 31 | 32
        step >>= 5
    yield step & 31
