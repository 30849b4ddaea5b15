"""Lookup tables of DICOM (PS3.3 C.11.1.1 and C.11.2.1.1) and its colour palettes (C.7.6.3.1.5 and C.7.6.3.1.6).

    descriptor   number of entries (0 means 65,536), first input mapped, bits of an entry
    data         entries in words of 16 bits, or, where they have at most 8, packed two to a word

Entries nominally span 0 to `2**bits - 1`, whatever they happen to use; larger ones count as the largest.
"""

import numpy as np
from numpy.typing import NDArray

from resload.decode import dictionary
from resload.decode.dictionary import named, within
from resload.decode.elements import DataSet
from resload.decode.gray import to_gray
from resload.decode.radiograph import Lut
from resload.errors import DecodeError, NotARadiographError


def modality_lut(dataset: DataSet, signed: bool) -> Lut | None:
    """The one item of the Modality LUT Sequence, or None. `signed`: stored values are (Pixel Representation)."""
    with within(dictionary.MODALITY_LUT):
        item = next(dataset.items(dictionary.MODALITY_LUT), None)
        return None if item is None else _lut(item, dictionary.DESCRIPTOR, dictionary.LUT_DATA, signed)


def voi_luts(dataset: DataSet, signed: bool) -> tuple[Lut, ...]:
    """All items of the VOI LUT Sequence.

    `signed`: its inputs, which are modality values, can be negative. PS3.3 C.11.2.1.1: the first input mapped is SS
    exactly then, which without rescale and Modality LUT is the sign of the stored values.
    """
    with within(dictionary.VOI_LUT):
        return tuple(
            _lut(item, dictionary.DESCRIPTOR, dictionary.LUT_DATA, signed) for item in dataset.items(dictionary.VOI_LUT)
        )


def palette_bits(dataset: DataSet) -> int:
    """How many bits the luma of a palette has: what the descriptor of its red says."""
    return _descriptor(dataset, dictionary.PALETTE_DESCRIPTORS[0])[2]


def palette(dataset: DataSet, signed: bool) -> Lut:
    """A colour palette as a table of luma. `signed`: the indices are (Pixel Representation).

    Raises NotARadiographError for segmented palettes (PS3.3 C.7.9.2), DecodeError for damaged ones.
    """
    if dictionary.SEGMENTED_PALETTE in dataset.elements:
        raise NotARadiographError(f"{named(dictionary.SEGMENTED_PALETTE)} is not read: expand the palette first")
    pairs = zip(dictionary.PALETTE_DESCRIPTORS, dictionary.PALETTE_DATA, strict=True)
    red, green, blue = (_lut(dataset, descriptor, data, signed) for descriptor, data in pairs)
    if len({(one.entries.size, one.first_mapped, one.bits) for one in (red, green, blue)}) != 1:
        raise DecodeError(f"{named(dictionary.PALETTE_DESCRIPTORS[0])} is not that of green and blue")
    colours = np.dstack([one.entries[None] for one in (red, green, blue)])
    return Lut(red.first_mapped, to_gray(colours)[0].astype(np.uint16), red.bits)


def _descriptor(dataset: DataSet, tag: int) -> tuple[int, int, int]:
    """(number of entries, first input as an unsigned number, bits)."""
    found = dataset.shorts(tag)
    if not found:
        raise DecodeError(f"{named(tag)} is missing")
    if len(found) != 3 or not 1 <= found[2] <= 16:
        raise DecodeError(f"{named(tag)} is not three numbers, the last from 1 to 16", detail=f"{found}")
    return found[0] or 1 << 16, found[1], found[2]


def _lut(dataset: DataSet, descriptor: int, data: int, signed: bool) -> Lut:
    number, first, bits = _descriptor(dataset, descriptor)
    raw = dataset.raw(data)
    if not raw:
        raise DecodeError(f"{named(data)} is missing")
    if len(raw) >= 2 * number:
        entries = np.frombuffer(raw, "<u2" if dataset.little else ">u2", number).astype(np.uint16)
    elif len(raw) >= number and bits <= 8:
        entries = _packed(raw, number, dataset.little or dataset.elements[data].vr == "OB")
    else:
        raise DecodeError(
            f"{named(data)} is shorter than {named(descriptor)} says",
            detail=f"{len(raw)} bytes for {number} entries of {bits} bits",
        )
    negative = first > 0x7FFF and (signed or dataset.elements[descriptor].vr == "SS")
    return Lut(first - (1 << 16) if negative else first, np.minimum(entries, (1 << bits) - 1), bits)


def _packed(raw: bytes, number: int, in_order: bool) -> NDArray[np.uint16]:
    """Entries of one byte; a big-endian word holds the first of two in its low byte (PS3.5 annex D)."""
    if in_order:
        return np.frombuffer(raw, np.uint8, number).astype(np.uint16)
    words = np.frombuffer(raw, ">u2", len(raw) // 2).astype("<u2")
    return words.view(np.uint8)[:number].astype(np.uint16)
