"""The pixels of a batch: their memory, how tasks fill it, and the last step on the loader's device.

part     block from the pool -> lent: the view whose tensors the caller will hold
fill     rows -> reader -> (converter) -> the block, some images at a time, on any thread
given    rows -> reader -> memory of their own, for a transform that takes other numbers than the model's
receive  what it left of them -> the block
send     the block -> on its way to another device
images   the lent view, or what arrived there -> (resized there) -> finished

Where images stay on the device (`ResidentReader`), only what is missing there takes this way, and joins the rest; the
images of a batch are then gathered there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload import carried
from resload.convert import Converter, Detour
from resload.devices import Bus, Crossing, onto
from resload.readers import CacheReader, Reader, ResidentReader
from resload.residence import Residence
from resload.size import Size
from resload.store.slot import Slot
from resload.transfer import Block, Pool

_NO_ROWS: NDArray[np.int64] = np.empty(0, np.int64)
_NO_BLOCK = Block(np.empty(0, np.uint8))


@dataclass
class Part:
    """The images of a batch, or of several that are made together, at one size."""

    size: Size
    made: Size
    """What tasks make: the size, or the stored level that the device makes it of."""
    shape: tuple[int, ...]
    block: Block
    bounds: list[int]
    """Images bounds[k] .. bounds[k + 1] are those of batch k."""
    lent: list[NDArray[Any] | None]
    """The block as callers will hold it, (n, C, H, W) for each batch; None once it was handed over, or sent."""
    sent: Crossing | None = None
    """The block on its way to the device."""
    residence: Residence | None = None
    """Where the images stay on the device; what is made is then what it lacks, for all batches together."""
    missing: NDArray[np.int64] = field(default_factory=lambda: _NO_ROWS)
    """(m,) the rows that it lacks, until they are there."""

    def tensor(self, k: int = 0) -> torch.Tensor:
        """A tensor on what is lent: whoever keeps it, or a part of it, keeps the memory from being used again."""
        view = self.lent[k]
        assert view is not None
        return torch.from_numpy(view)


class Filler:
    """Makes the images of a loader's batches. Thread-safe, each image filled by one thread."""

    def __init__(self, reader: Reader, converter: Converter, bus: Bus | None) -> None:
        self._reader, self._converter, self._bus = reader, converter, bus
        self.pool = Pool() if bus is None else Pool(bus.memory)
        self._together = getattr(reader, "fill_sizes", None)
        """Of a reader that has a way to make several sizes from one decode."""

    def parts(
        self, bounds: Sequence[int], sizes: Sequence[Size], rows: NDArray[np.int64], valid: NDArray[np.bool_] | None
    ) -> list[Part]:
        """Memory for images of these rows at each size; rows as in `images`, of all batches."""
        return [self.part(bounds, size) for size in sizes]

    def part(self, bounds: Sequence[int], size: Size) -> Part:
        """Memory for images of a size: bounds[k] .. bounds[k + 1] of batch k."""
        made = self.made(size)
        shape = self._converter.shape(bounds[-1], made)
        block = self.pool.block(self._converter.bytes(shape))
        lent = self.pool.lend(block, shape, self._converter.stored, bounds)
        return Part(size, made, shape, block, [*bounds], [*lent])

    def bytes(self, count: int, size: Size) -> int:
        """Of so many images of a size."""
        return self._converter.bytes(self._converter.shape(count, self.made(size)))

    def made(self, size: Size) -> Size:
        """What tasks make of a size: itself, or the stored level that the device makes it of."""
        late = self._converter.resizes_late and isinstance(self._reader, CacheReader)
        return self._reader.before_resize(size) if late else size  # type: ignore[attr-defined]  # a CacheReader

    def fill(self, parts: Sequence[Part], rows: NDArray[np.int64], start: int) -> None:
        """Images start .. of each part: these rows."""
        converter, sizes = self._converter, [part.made for part in parts]
        if converter.in_place:
            slots = [part.block.slot((part.shape[0], *part.made), self._reader.dtype) for part in parts]
            self._read(slots, rows, sizes, start)
            return
        self._converted(converter.run, rows, sizes, [self._block(part)[start:] for part in parts])

    def _converted(
        self,
        run: Callable[[NDArray[Any], NDArray[Any]], None],
        rows: NDArray[np.int64],
        sizes: list[Size],
        outs: list[NDArray[Any]],
    ) -> None:
        """The reader's pixels of some images, converted into the first places of `outs`."""
        slots = [self._converter.staging(size) for size in sizes]
        together = min(len(slot.out) for slot in slots)
        for first in range(0, len(rows), together):
            some = rows[first : first + together]
            self._read(slots, some, sizes, 0)
            for slot, out in zip(slots, outs, strict=True):
                run(slot.out[: len(some)], out[first : first + len(some)])

    def given(self, parts: Sequence[Part], rows: NDArray[np.int64], detour: Detour) -> list[NDArray[Any]]:
        """These rows at each part's size as the detour gives them, (n, 1, H, W), in new memory."""
        outs = [np.empty((len(rows), 1, *part.made), detour.given.made) for part in parts]
        self._converted(detour.given.run, rows, [part.made for part in parts], outs)
        return outs

    def receive(self, part: Part, images: NDArray[Any], start: int, detour: Detour) -> None:
        """Images start .. of a part are what a transform left of (n, 1, H, W) that it was given."""
        detour.received.run(images[:, 0], self._block(part)[start : start + len(images)])

    def _block(self, part: Part) -> NDArray[Any]:
        return part.block.view(part.shape, self._converter.stored)

    def _read(self, slots: list[Slot], rows: NDArray[np.int64], sizes: list[Size], start: int) -> None:
        """The reader's pixels of some images."""
        if self._together is not None and len(sizes) > 1:
            self._together(slots, rows, sizes, start)
            return
        for slot, size in zip(slots, sizes, strict=True):
            self._reader.fill(slot, rows, size, start)

    def blank(self, parts: Sequence[Part], start: int, stop: int) -> None:
        """Zeros in images start .. stop of each part."""
        for part in parts:
            self._block(part)[start:stop] = 0

    def send(self, parts: Sequence[Part]) -> None:
        """Begin to copy what was made to the loader's device, where that is another one; once."""
        if self._bus is None:
            return
        for part in parts:
            if part.sent is None:
                part.sent = self._bus.send(self._block(part))
                self.pool.hold([view for view in part.lent if view is not None], part.sent)
                part.lent = [None] * len(part.lent)

    def images(self, part: Part, k: int, rows: NDArray[np.int64], valid: NDArray[np.bool_] | None) -> torch.Tensor:
        """What was made of batch k at one size, finished, on the loader's device; the part lets go of it.

        rows: of the batch, any row where `valid` is False.
        """
        images = self._taken(part, k, rows)
        if part.made != part.size and isinstance(self._reader, CacheReader):
            images = self._reader.resize_on_device(images, rows, part.made, part.size)
        images = self._converter.finished(images)
        if valid is not None and self._converter.late:  # zeros as stored are no zeros once normalised
            carried.bits(images).masked_fill_(onto(torch.from_numpy(~valid), images.device).view(-1, 1, 1, 1), 0)
        return images

    def _taken(self, part: Part, k: int, rows: NDArray[np.int64]) -> torch.Tensor:
        """What was made of batch k, where it is by now."""
        if part.sent is None:
            images, part.lent[k] = part.tensor(k), None
            return images
        return part.sent.arrived()[part.bounds[k] : part.bounds[k + 1]]


class ResidentFiller(Filler):
    """Where images stay on the device: what is missing there is made, sent and put to the rest, and batches are
    gathered. Of sizes without a residence it is a `Filler`.
    """

    _reader: ResidentReader

    def parts(
        self, bounds: Sequence[int], sizes: Sequence[Size], rows: NDArray[np.int64], valid: NDArray[np.bool_] | None
    ) -> list[Part]:
        """Memory for what is missing at each size; of sizes that are made from one level, with the first."""
        films, found = rows if valid is None else rows[valid], list[Part]()
        for size in sizes:
            residence = self._reader.residence(self.made(size))
            if residence is None:
                found.append(self.part(bounds, size))
            else:
                new = all(part.residence is not residence for part in found)
                found.append(self._part(size, residence, films if new else _NO_ROWS))
        return found

    def _part(self, size: Size, residence: Residence, films: NDArray[np.int64]) -> Part:
        made, missing = self.made(size), self._reader.missing(residence, films)
        if not len(missing):
            return Part(size, made, self._converter.shape(0, made), _NO_BLOCK, [0], [], None, residence)
        part = self.part([0, len(missing)], size)
        part.residence, part.missing = residence, missing
        return part

    def send(self, parts: Sequence[Part]) -> None:
        """Of what stays, what is missing; nothing where that is nothing."""
        super().send([part for part in parts if part.residence is None or len(part.missing)])

    def _taken(self, part: Part, k: int, rows: NDArray[np.int64]) -> torch.Tensor:
        """What arrived is put to the rest with the first batch; every batch is gathered from it."""
        if part.residence is None:
            return super()._taken(part, k, rows)
        stored_rows = self._reader.cache.stored_rows
        if part.sent is not None:
            part.residence.put(stored_rows(part.missing), part.sent.arrived())
            part.missing, part.sent = _NO_ROWS, None  # it is not sent again
        return part.residence.take(stored_rows(rows))
