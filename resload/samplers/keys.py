"""What a plan is made of: a step is one global optimiser step, a key is one image of it.

step          index   7  3  9  1  4  0  2  8      row numbers of the reader; -1 where there is no image
part(0, 2)            7  3  9  1                  what process 0 of 2 serves: as many as every other process
part(1, 2)                        4  0  2  8
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resload.size import Size

PADDING = -1
"""The index of a place in a batch that holds no image: `Batch.valid` is False there."""


class Key(NamedTuple):
    """One image of one step: the reader's row, the size to serve it at, the seed of its augmentation.

    `index` -1 is padding: a view that an exam lacks, or the place of an evaluation's last images on a process that has
    none left. `region` is kept for samplers of patches: (y, x, height, width) in pixels of the film. None is all of it,
    and the only value that is served so far; `Cache.read(region=)` reads parts of films.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index on purpose: the field's name is the contract
    size: Size
    draw: int
    region: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """One global optimiser step, or one process's part of it."""

    number: int
    """Of this epoch, from 0."""
    size: Size
    index: NDArray[np.int64]
    """(n,) rows of the reader; -1 where there is no image."""
    draw: NDArray[np.uint64]
    """(n,) the seed of each image's augmentation, below 2**63."""
    epoch: int = 0
    progress: float = 0.0
    """Epochs of training before this step, a fraction: 2.5 is the middle of the third."""
    scales: tuple[Size, ...] = ()
    """The sizes that every image is served at, `size` first; empty when it is `size` alone."""
    stride: int = 1
    """So many places belong together: the views of an exam. A part never divides them."""
    n_ref: int = 0
    """How many images the budget means where it counts in images: what learning rates are set for."""
    everywhere: NDArray[np.int64] | None = None
    """Of a part: the rows of the whole step."""
    full: bool = False
    """Whether every place is known to hold an image; False says nothing. Spares looking at each step."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def n_global(self) -> int:
        """How many images the step has over all processes together, padding left out."""
        whole = self.index if self.everywhere is None else self.everywhere
        return len(whole) if self.full else int((whole != PADDING).sum())

    def part(self, rank: int, world: int) -> "Step":
        """What process `rank` of `world` serves: a run of the step, filled with padding where it is shorter.

        A view where nothing has to be filled. Parts are equally long, and joined they are the step.
        """
        if world == 1:
            return self
        units = len(self.index) // self.stride
        width = -(-units // world) * self.stride
        own = slice(rank * width, (rank + 1) * width)
        index, draw = self.index[own], self.draw[own]
        short = len(index) < width
        if short:
            index = np.concatenate([index, np.full(width - len(index), PADDING, np.int64)])
            draw = np.concatenate([draw, np.zeros(width - len(draw), np.uint64)])
        return replace(self, index=index, draw=draw, everywhere=self.index, full=self.full and not short)

    def keys(self) -> list[Key]:
        """The step as the plain list that a torch batch sampler yields; of several scales, all images of each."""
        pairs = list(zip(self.index.tolist(), self.draw.tolist(), strict=True))
        return [Key(index, size, draw) for size in self.scales or (self.size,) for index, draw in pairs]
