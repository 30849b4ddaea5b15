"""How large findings are in pixels of a size.

Where sizes come from is a function, so that boxes are one source of them and others can stand beside it:

    Lesions: (rows, places) -> (size of each finding in target pixels, number of its label)

`places` (n, 8) say where those rows lie in the target (see `geometry.placing`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from resload.boxes import Boxes
from resload.geometry.placing import affines
from resload.report.numbers import Spread, spread
from resload.store.cache import Cache
from resload.store.tables import mask_column

FEW = (2, 4, 8)
"""Findings are counted that are shorter than so many pixels."""


@dataclass(frozen=True)
class LesionSize:
    """The findings of one label at one size."""

    label: str | None
    """None: those of all labels."""
    count: int
    """How many can be seen at this size: whole or clipped, not outside it."""
    pixels: Spread
    """The shorter side of their boxes, or the diameter of a disc of their masks' area, in pixels of the size."""
    under: dict[int, float]
    """Share of them under 2, 4 and 8 pixels."""


class Lesions(Protocol):
    """A source of sizes of findings."""

    @property
    def names(self) -> Sequence[str]:
        """The labels, by their numbers."""

    def __call__(
        self, rows: NDArray[np.int64], places: NDArray[np.floating[Any]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(sizes, labels) of all findings of these rows, float64 (k,) in target pixels and int64 (k,)."""


class BoxSides:
    """The shorter sides of a cache's boxes, clipped as the boxes of a batch are."""

    def __init__(self, cache: Cache) -> None:
        self._boxes = Boxes(cache.boxes, cache.table["id"])
        self.names = self._boxes.names

    def __call__(
        self, rows: NDArray[np.int64], places: NDArray[np.floating[Any]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """See `Lesions`."""
        boxes, labels = self._boxes.of(rows, places)
        corners = np.concatenate([np.zeros((0, 4)), *(one.numpy() for one in boxes)])
        numbers = np.concatenate([np.zeros(0, np.int64), *(one.numpy() for one in labels)])
        return (corners[:, 2:] - corners[:, :2]).min(axis=1), numbers


class MaskDiameters:
    """The diameters of discs that cover as many pixels as a cache's masks do, by their areas on the film.

    A mask's area at a size is that on the film, scaled as the film is; what a crop does not show is not left out.
    """

    def __init__(self, cache: Cache) -> None:
        self.names = cache.masks
        self._areas = cache.table[[mask_column(label) for label in cache.masks]].to_numpy(np.float64)

    def __call__(
        self, rows: NDArray[np.int64], places: NDArray[np.floating[Any]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """See `Lesions`."""
        scale = np.prod(affines(places.astype(np.float64))[:, :2], axis=1)
        diameters = 2 * np.sqrt(self._areas[rows] * scale[:, None] / np.pi)
        which, labels = np.nonzero(self._areas[rows] > 0)  # neither empty nor unknown
        return diameters[which, labels], labels


def lesion_sizes(
    lesions: Lesions, rows: NDArray[np.int64], places: NDArray[np.floating[Any]]
) -> tuple[LesionSize, ...]:
    """All findings of these rows together, then those of each label that can be seen, in the order of the labels."""
    sizes, labels = lesions(rows, places)
    groups = [(None, sizes), *((name, sizes[labels == number]) for number, name in enumerate(lesions.names))]
    return tuple(
        LesionSize(name, len(own), pixels, {few: float((own < few).mean()) for few in FEW})
        for name, own in groups
        if (pixels := spread(own)) is not None
    )
