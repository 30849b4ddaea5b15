"""What a transform that takes display values has to be, for a loader to run it: an `Adapter`.

stored -> what it takes, (1, H, W) -> the transform -> normalised, rounded, repeated along channels -> the batch
"""

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from resload.augment.sample import Sample
from resload.errors import ArgumentError
from resload.size import Size

DTYPES = ("auto", "float32", "uint8")
"""What an adapter can be asked to give: as stored where that is 8 bits, else floats; floats; as stored."""


@dataclass(frozen=True)
class Asked:
    """What a loader will hand to a transform."""

    stored: np.dtype[Any]
    """uint8 or uint16: of the pixels that the reader serves."""
    sizes: Sequence[Size] = ()
    """Of the images, as far as they are known beforehand; of films at their own size, the largest."""
    targets: Sequence[str] = ()
    """What the targets are called."""
    masks: bool = False
    """Whether samples have masks."""
    boxes: bool = False
    """Whether they have boxes."""


@runtime_checkable
class Adapter(Protocol):
    """A transform that takes display values instead of a model's numbers; normalising and `channels` come after it."""

    def takes(self, asked: Asked) -> torch.dtype:
        """Of the images (1, H, W) that it is to be given: float32 on [0, 1], or the stored dtype for stored values.

        Asked once, when the loader is made: raises ArgumentError for what it cannot do, and warns.
        """
        ...

    def __call__(self, sample: Sample) -> Any:
        """As any transform: changes the sample, or returns a new image. Called by many threads at once."""
        ...


class OfEachThread:
    """Copies of an object that may not be shared, one for each thread that asks; pickles as the object alone."""

    def __init__(self, original: Any) -> None:
        self.original = original
        self._local = threading.local()

    def own(self) -> Any:
        """This thread's."""
        found = getattr(self._local, "copy", None)
        if found is None:
            found = self._local.copy = copy.deepcopy(self.original)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return OfEachThread, (self.original,)


def checked_dtype(dtype: str) -> str:
    """One of DTYPES; raises ArgumentError."""
    if dtype not in DTYPES:
        raise ArgumentError(f'dtype must be "auto", "float32" or "uint8"; found {dtype!r}')
    return dtype


def given_dtype(dtype: str, stored: np.dtype[Any]) -> torch.dtype:
    """Of what a transform is given from such a cache. Raises ArgumentError where that would lose depth."""
    if dtype == "uint8" and stored != np.uint8:
        raise ArgumentError(f'dtype="uint8" would lose depth: this data is {stored}; use dtype="float32"')
    return torch.uint8 if stored == np.uint8 and dtype != "float32" else torch.float32
