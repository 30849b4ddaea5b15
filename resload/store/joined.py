"""The crc32c of records one after another, from the crc32c of each: many records verified by one sum.

A checksum is a remainder of polynomials over two elements, so appending n bytes acts on the sum of what was there by
a linear map M, and

    sum(a b c) = M M sum(a)  xor  M sum(b)  xor  sum(c)          for a, b, c of n bytes each

M can be inverted, hence a single damaged record changes the joint sum exactly when it changes its own; damage in
several records at once stays unseen with probability 2**-32, as within one.
"""

from functools import lru_cache

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

MOST = 128
"""Records per joint sum: tables of 512 KB for each length of records."""
_BITS = np.uint32(1) << np.arange(32, dtype=np.uint32)
_PLACES = np.arange(MOST * 4) * 256


def joined(sums: NDArray[np.uint32], length: int) -> NDArray[np.uint32]:
    """The crc32c of each row's records one after another, uint32 (n,).

    sums: uint32 (n, k), k <= MOST: the sums of k records of `length` bytes each.
    """
    octets = np.ascontiguousarray(sums, "<u4").view(np.uint8)
    places = _PLACES[-octets.shape[1] :]
    return _xor(_tables(length).take(octets + places), 1)


@lru_cache(maxsize=64)
def _tables(length: int) -> NDArray[np.uint32]:
    """What byte k of the sum of record i adds to the joint sum of MOST records: of value v, at (4 i + k) 256 + v."""
    zeros = bytes(length)
    still = crc32c(zeros)
    step = np.array([crc32c(zeros, int(bit)) ^ still for bit in _BITS], np.uint32)  # M of each bit
    images = _BITS
    tables = np.empty((MOST, 4, 256), np.uint32)
    for place in reversed(range(MOST)):
        tables[place] = _by_byte(images)
        images = _applied(step, images)
    return tables.reshape(-1)


def _by_byte(images: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """(4, 256): a linear map, given by what becomes of each bit, for each value of each byte."""
    values = np.arange(256, dtype=np.uint32)
    chosen = (values[:, None] >> np.arange(8, dtype=np.uint32) & 1).astype(bool)
    parts = np.where(chosen, images.reshape(4, 1, 8), np.uint32(0))
    return _xor(parts, 2)


def _applied(step: NDArray[np.uint32], values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """M of each value."""
    chosen = (values[:, None] >> np.arange(32, dtype=np.uint32) & 1).astype(bool)
    return _xor(np.where(chosen, step, np.uint32(0)), 1)


def _xor(values: NDArray[np.uint32], axis: int) -> NDArray[np.uint32]:
    total: NDArray[np.uint32] = np.bitwise_xor.reduce(values, axis=axis)
    return total
