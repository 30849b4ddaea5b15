"""What tests of augmentation share: a reader whose films hold patterns, and loaders of it."""

import random

import numpy as np
import torch
from test_loader_steps import FindingsReader

from resload import Loader
from resload.samplers import Images, Mix, Sampler

N = 24


class PatternReader(FindingsReader):
    """Films of 200 x 80 whose pixels are random; three masks, a box, and a landmark of them.

    Mask 0 is what the box covers, mask 1 the pixel of the landmark, mask 2 random; unknown for every third film.
    """

    targets = ("value", "point_x", "point_y")
    mask_names = ("box", "point", "random")

    def __init__(self, n, *, dtype=np.uint16, **options):
        super().__init__(n, **options)
        self.dtype = np.dtype(dtype)
        rows = np.arange(n)
        # in images of 20 x 20 and 40 x 40 all edges are between pixels, and the point is the centre of one
        self.table = self.table.assign(point_x=10.0 + 4 * (rows % 15), point_y=15.0 + 10 * (rows % 17))
        self.boxes = self.boxes.assign(x=4.0 * (rows % 10), y=10.0 * (rows % 7), width=12.0, height=30.0)

    def fill(self, slot, rows, size, start):
        self.filled += rows.tolist()
        for place, row in enumerate(rows.tolist(), start):
            slot.out[place] = pattern(row, size, self.dtype)

    def masks(self, rows, size, *, nearest=False):
        found = np.zeros((len(rows), 3, *size), np.uint8)
        sy, sx = size[0] / 200, size[1] / 80
        for one, row in zip(found, rows.tolist(), strict=True):
            box, film = self.boxes.iloc[row], self.table.iloc[row]
            one[0, round(box.y * sy) : round((box.y + 30) * sy), round(box.x * sx) : round((box.x + 12) * sx)] = 255
            one[1, int(film.point_y * sy), int(film.point_x * sx)] = 255
            one[2] = pattern(row, size, np.uint8)
        known = np.ones((len(rows), 3), bool)
        known[rows % 3 == 0, 2] = False
        found[rows % 3 == 0, 2] = 0
        return found, known


def pattern(row, size, dtype):
    """Random pixels of a film at a size."""
    return np.random.default_rng((row, *size)).integers(0, np.iinfo(dtype).max + 1, tuple(size), dtype)


def plan(data=N, **options):
    """A sampler of two sizes, whose steps four processes can share."""
    return Sampler(data, **{"sizes": Mix((20, 40)), "budget": Images(8), "seed": 5} | options)


def loader(reader=None, *, size=None, **options):
    """With masks and boxes, in row order at one size unless a sampler is given."""
    reader = PatternReader(N) if reader is None else reader
    if "sampler" not in options:
        options |= {"size": 20 if size is None else size, "batch_size": 8}
    return Loader(reader, **{"masks": True, "boxes": True} | options)


def everything_of(batches):
    """{(epoch's step, row): all tensors of a film that a transform may change}."""
    found = {}
    for batch in batches:
        for i, row in enumerate(batch.rows.tolist()):
            parts = [batch.images[i], batch.targets[i], batch.known[i]]
            parts += [] if batch.masks is None else [batch.masks[i]]
            parts += [] if batch.boxes is None else [batch.boxes[i], batch.box_labels[i]]
            found[round(batch.progress, 6), row] = [part.clone() for part in parts]
    return found


def alike(found, wanted):
    """Whether two of these are the same, bit for bit."""
    return found.keys() == wanted.keys() and all(
        torch.equal(a.nan_to_num(-7), b.nan_to_num(-7))
        for key in wanted
        for a, b in zip(found[key], wanted[key], strict=True)
    )


def global_states():
    """Of the generators that threads share: random's, numpy's and torch's."""
    return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # noqa: NPY002


def ways_of_two_flips(batches):
    """For each film, in the order of the batches: which of the four outcomes of two flips it is."""
    seen = []
    for batch in batches:
        for row, image in zip(batch.rows.tolist(), batch.images.numpy(), strict=True):
            film = pattern(row, image.shape[1:], np.uint16)
            ways = [film[::y, ::x] for y in (1, -1) for x in (1, -1)]
            seen.append([np.array_equal(image[0], way) for way in ways].index(True))
    return seen
