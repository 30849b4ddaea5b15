"""All pairs of images that correlate, exactly, without comparing all pairs in full.

Images as vectors of zero mean and unit length have their correlation as dot product. Seen along k orthonormal
directions, such a vector is (p, r): its k coordinates, and the length of all that is left of it. Then

    |correlation(a, b)|  <=  |p_a . p_b| + r_a r_b

so pairs whose right side is below the threshold are done after k products instead of 1,024. Directions in which
radiographs differ most (principal components of a sample) leave little in r. They only have to be orthonormal for
the bound to hold, so the answer is exact whatever the sample was. Sorted by r, a block of films meets only blocks
whose r is near: (p, r) has unit length, and |r_a - r_b| is at most the distance of the two.

    every film --> (p, r), sorted by r --> blocks: |p_a . p_b| >= threshold - r_a r_b? --> survivors, in full, float64
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.threads import ordered_map, thread_count

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

DIRECTIONS = 32
"""Along how many directions films are first compared."""

SAMPLE = 4096
"""Films that the directions are taken from."""

ROUNDS = 4
"""Of the iteration that finds the directions: each brings it nearer to the principal ones."""

BLOCK = 1024
"""Films in a block: its products with another are 4 MiB of float32."""

TILE = (64, 128)
"""Products are made in tiles so small that the BLAS does not start threads of its own: those and ours, on the same
cores, took three times as long."""

ROUNDING = 1e-5
"""More than the rounding of a float32 product of 32 terms of unit vectors (at most 32 * 2^-24 * 1.5, 3e-6)."""

MOST_PAIRS = 20_000_000
"""More than that is no list of copies but a kind of film that looks all the same."""


class Pairs(NamedTuple):
    """What a search found; `first` < `second` are places in the array of images, sorted."""

    first: Rows
    second: Rows
    correlation: Floats
    """With its sign: negative for a film and its inverted copy."""
    compared: int
    """How many pairs were left to compare in full."""


def similar_pairs(images: NDArray[Any], threshold: float, *, threads: int | None = None) -> Pairs:
    """The pairs with |correlation| >= threshold, for images (n, pixels) of any real dtype.

    A constant image correlates with nothing. Memory: the images, and about 300 bytes for each film. Releases the GIL
    for most of the time; `threads` of them work (by default one per core).

    Raises ArgumentError for a threshold that is not in (0, 1), or one so low that `MOST_PAIRS` are found.
    """
    if not 0 < threshold < 1:
        raise ArgumentError(f"threshold is a correlation between 0 and 1; found {threshold!r}")
    count = thread_count(threads)
    rows, along, left = _projected(images)
    reach = math.sqrt(2.0 * (1.0 - threshold)) + ROUNDING
    starts = range(0, len(rows), BLOCK)

    def survivors(start: int) -> tuple[Rows, Rows, Floats, int]:
        found: list[tuple[Rows, Rows]] = []
        for pairs in _survivors(start, along, left, threshold - ROUNDING, reach):
            found.append(pairs)
            _refuse_many(sum(len(a) for a, _ in found), threshold)
        a, b = (rows[np.concatenate(one)] for one in zip(*found, strict=True)) if found else (rows[:0], rows[:0])
        return (*_compared(images, a, b, threshold), len(a))

    parts: list[tuple[Rows, Rows, Floats, int]] = []
    for part in ordered_map(survivors, starts, threads=count, window=2 * count):
        parts.append(part)
        _refuse_many(sum(len(one[0]) for one in parts), threshold)
    return _sorted(parts)


def _refuse_many(count: int, threshold: float) -> None:
    if count > MOST_PAIRS:
        raise ArgumentError(
            f"more than {MOST_PAIRS:,} pairs correlate by {threshold:g} or more, so this is no search for copies: "
            "raise threshold, or leave out films that look all alike"
        )


def normalised(images: NDArray[Any]) -> Floats:
    """(n, pixels) float64, a new array: zero mean, unit length; all zero where an image is constant."""
    vectors = images.astype(np.float64)
    constant = images.min(axis=1) == images.max(axis=1)
    vectors -= vectors.mean(axis=1, keepdims=True)
    vectors[constant] = 0.0
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    vectors /= np.where(length > 0, length, 1.0)[:, None]
    return vectors


def _projected(images: NDArray[Any]) -> tuple[Rows, NDArray[np.float32], Floats]:
    """(rows, along, left) of the images that are not constant: their places, p as (n, k) float32 and r, by r.

    Filled up in front to whole blocks, with (0, 0), which correlates with nothing; its row is -1.
    """
    basis = _directions(images)
    along: NDArray[np.float32] = np.zeros((len(images), basis.shape[1]), dtype=np.float32)
    left: Floats = np.full(len(images), np.nan)
    for start in range(0, len(images), BLOCK):
        block = slice(start, start + BLOCK)
        vectors = normalised(images[block])
        inside = vectors @ basis
        along[block] = inside
        left[block] = np.sqrt(np.maximum(1.0 - np.einsum("ij,ij->i", inside, inside), 0.0))
        left[block][~vectors.any(axis=1)] = np.nan
    rows = np.argsort(left, kind="stable")[: np.count_nonzero(~np.isnan(left))]
    empty = -len(rows) % BLOCK
    return (
        np.concatenate([np.full(empty, -1), rows]),
        np.concatenate([np.zeros((empty, along.shape[1]), np.float32), along[rows]]),
        np.concatenate([np.zeros(empty), left[rows]]),
    )


def _directions(images: NDArray[Any]) -> Floats:
    """(pixels, k) orthonormal: nearly the principal directions of evenly spaced films, by subspace iteration."""
    sample = normalised(images[:: max(1, len(images) // SAMPLE)][:SAMPLE])
    found: Floats = sample[:DIRECTIONS].T
    for _ in range(ROUNDS):
        found = np.linalg.qr(sample.T @ (sample @ found))[0]
    return np.ascontiguousarray(found)


def _survivors(
    start: int, along: NDArray[np.float32], left: Floats, bound: float, reach: float
) -> Iterator[tuple[Rows, Rows]]:
    """Places (in the order of r) of pairs that may reach the bound: of one block with itself and all after it."""
    rest = left[start : start + BLOCK]
    own = along[start : start + BLOCK].reshape(-1, 1, TILE[0], along.shape[1])
    product: NDArray[np.float32] = np.empty((BLOCK // TILE[0], BLOCK // TILE[1], *TILE), dtype=np.float32)
    for other in range(start, len(left), BLOCK):
        theirs = left[other : other + BLOCK]
        if theirs[0] - rest[-1] > reach:
            return
        tiles = along[other : other + BLOCK].reshape(1, -1, TILE[1], along.shape[1])
        np.matmul(own, tiles.swapaxes(-1, -2), out=product)
        largest = np.maximum(product.max(axis=(1, 3)), -product.min(axis=(1, 3))).reshape(-1)
        hot = np.flatnonzero(largest + rest * theirs[-1] >= bound)  # theirs is sorted: its last is its largest
        rows = product[hot // TILE[0], :, hot % TILE[0]].reshape(len(hot), BLOCK)
        a, b = np.nonzero(np.abs(rows) + np.outer(rest[hot], theirs) >= bound)
        apart = hot[a] + start < b + other  # a block with itself has every pair twice
        yield hot[a[apart]] + start, b[apart] + other


def _compared(images: NDArray[Any], a: Rows, b: Rows, threshold: float) -> tuple[Rows, Rows, Floats]:
    """Those of the pairs that reach the threshold in full, and their correlations."""
    exact = correlations(images, a, b)
    kept = np.abs(exact) >= threshold
    return a[kept], b[kept], exact[kept]


def correlations(images: NDArray[Any], a: Rows, b: Rows) -> Floats:
    """(len(a),) float64: the correlation of images a[i] and b[i]; 0 where one is constant."""
    found = np.empty(len(a))
    for start in range(0, len(a), BLOCK):
        pairs = slice(start, start + BLOCK)
        found[pairs] = np.einsum("ij,ij->i", normalised(images[a[pairs]]), normalised(images[b[pairs]]))
    return found


def _sorted(parts: list[tuple[Rows, Rows, Floats, int]]) -> Pairs:
    one, two, correlation = (np.concatenate([part[i] for part in parts] or [np.empty(0)]) for i in range(3))
    first, second = np.minimum(one, two).astype(np.int64), np.maximum(one, two).astype(np.int64)
    order = np.lexsort((second, first))
    return Pairs(first[order], second[order], correlation[order], sum(part[3] for part in parts))
