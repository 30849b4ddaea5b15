"""The only place where random generators are made.

Randomness is a function of the tuple (seed, epoch, purpose, index), never of a sum: with `seed + epoch`,
epoch 1 of seed 0 would be epoch 0 of seed 1. The global generators of random, numpy and torch are neither
read nor changed.
"""

import random

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError

PURPOSES = {
    "store": 1,
    "order": 2,
    "draw": 3,
    "split": 4,
    "synthetic": 5,
    "substitute": 6,
    "sizes": 7,
    "verify": 8,
    "report": 9,
    "augment": 10,
    "bench": 11,
    "retry": 12,
    "network": 13,
    "fault": 14,
    "bootstrap": 15,
}
"""What randomness is used for; the numbers are part of every plan and of every cache's row order."""


def _key(seed: int, epoch: int, purpose: str, index: int) -> np.random.SeedSequence:
    if min(seed, epoch, index) < 0:
        raise ArgumentError(f"seed, epoch and index must be >= 0; found {seed}, {epoch}, {index}")
    return np.random.SeedSequence((seed, epoch, PURPOSES[purpose], index))


def generator(seed: int, epoch: int, purpose: str, index: int = 0) -> np.random.Generator:
    """A generator of its own for this use; the same four values give the same stream on every machine."""
    return np.random.Generator(np.random.PCG64(_key(seed, epoch, purpose, index)))


def permutation(n: int, seed: int, epoch: int, purpose: str, index: int = 0) -> NDArray[np.int64]:
    """A permutation of 0 .. n-1, int64 (n,)."""
    return generator(seed, epoch, purpose, index).permutation(n)


def draws(n: int, seed: int, epoch: int, index: int = 0) -> NDArray[np.uint64]:
    """Seeds for the augmentation of n images, uint64 (n,) below 2**63 so that they fit any library's signed seed."""
    return generator(seed, epoch, "draw", index).integers(0, 1 << 63, size=n, dtype=np.uint64)


def python(seed: int) -> random.Random:
    """A generator of Python's own kind, for libraries that draw from one; the same seed gives the same stream."""
    return random.Random(seed)  # noqa: S311  # nothing secret is made of it


def legacy(rng: np.random.Generator) -> np.random.RandomState:
    """A generator of numpy's first kind that draws from another one's stream, for libraries that know no other."""
    return np.random.RandomState(rng.bit_generator)
