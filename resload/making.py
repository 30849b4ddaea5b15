"""One batch: memory for it, the tasks that fill it, and what is handed over.

Order    a step of the plan, its memory at each size, and its tasks
Maker    makes orders' images and masks, some at a time on any thread, and the `Batch` at the end
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload.asked import as_objects, boxes_of, known_columns, mask_rule, targets_of
from resload.batch import Batch
from resload.convert import Converter
from resload.geometry import Geometry
from resload.geometry.placing import CONTENT, PLACES, SPACING
from resload.masks.inside import thresholded
from resload.readers import CacheReader, Reader
from resload.samplers import Step
from resload.samplers.sizes import Sizes, scales_of
from resload.size import Native, Size
from resload.store.gather import Slot
from resload.transfer import Block, Pool

_MASKS_TASK = 16
"""Films in a task whose images take no time and whose masks are decompressed."""


@dataclass(frozen=True)
class Part:
    """The images of a batch at one size."""

    size: Size
    made: Size
    """What tasks make: the size, or the stored level that the device makes it of."""
    shape: tuple[int, ...]
    block: Block


@dataclass
class Order:
    """A batch being made."""

    epoch: int
    step: Step
    parts: list["Part"]
    """One for each size of the step, the step's own first."""
    masks: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None = None
    """Coverage (n, K, H, W) and which are known (n, K), where masks are asked for."""
    work: list[Callable[[], None]] = field(default_factory=list)
    """Each makes some of the images."""
    tasks: list[Future[None]] = field(default_factory=list)
    """One for each piece of work that was given to the threads; the rest is done when the batch is taken."""


EXAM = ("group", "slot")
"""Columns that a batch hands out wherever there are any."""


class Maker:
    """Makes the batches of one loader. `Order.work` may run on any thread; `batch` on the caller's.

    Raises ArgumentError for masks, boxes and columns that the data does not have.
    """

    def __init__(
        self,
        reader: Reader,
        sizes: Sizes,
        *,
        dtype: torch.dtype,
        channels: int,
        normalization: tuple[Any, Any] | None,
        device: torch.device,
        columns: Sequence[str],
        masks: bool | str | float,
        boxes: bool | float,
    ) -> None:
        self.reader, self._device = reader, device
        self._scales = scales_of(sizes)
        late = works_late(device)
        self._converter = Converter(reader.dtype, dtype, channels, normalization, late=late)
        self.scaling = self._converter.scaling
        self._columns = known_columns(columns, reader)
        self._exam = known_columns([name for name in EXAM if name in reader.table], reader)
        self._targets, self._ids = targets_of(reader), as_objects(reader.table["id"])
        self._known = ~np.isnan(self._targets)
        self._boxes = None if boxes is False else boxes_of(reader, boxes)
        self._mask_rule = mask_rule(reader, masks)
        if self._mask_rule is not None:  # refuses a size whose masks cannot be had
            first = reader.checked_size(sizes.at(0, epoch=0))
            reader.masks(np.empty(0, np.int64), first, nearest=self._mask_rule == "nearest")
        self.mask_names: tuple[str, ...] = () if self._mask_rule is None else reader.mask_names
        self.box_names: tuple[str, ...] = () if self._boxes is None else self._boxes.names
        self._pool = Pool()

    def order(self, epoch: int, step: Step) -> tuple[Order, bool]:
        """A step's memory and work, and whether the work is worth handing to threads."""
        count, sizes = len(step), self._sizes_of(step)
        order = Order(epoch, step, [self._part(count, size) for size in sizes], self._room_for_masks(count, sizes[0]))
        grain = min(self.reader.grain(size) for size in sizes)
        if not grain and (len(sizes) > 1 or order.masks is not None):
            grain = 1 if len(sizes) > 1 else _MASKS_TASK
        for start in range(0, count, grain or count):
            stop = min(start + (grain or count), count)
            order.work.append(partial(self._make, order, start, stop))
        return order, bool(grain)

    def _sizes_of(self, step: Step) -> list[Size]:
        """The sizes that a step is served at, its own first."""
        asked = dict.fromkeys([step.size, *self._scales]) if self._scales else [step.size]
        sizes = [self.reader.checked_size(size) for size in asked]
        return [self.reader.native_size(step.index) if isinstance(size, Native) else size for size in sizes]

    def _part(self, count: int, size: Size) -> Part:
        made = size
        if self._converter.late and isinstance(self.reader, CacheReader):
            made = self.reader.before_resize(size)
        shape = self._converter.shape(count, made)
        return Part(size, made, shape, self._pool.block(self._converter.bytes(shape)))

    def _room_for_masks(self, count: int, size: Size) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
        if self._mask_rule is None:
            return None
        shape = (count, len(self.mask_names))
        return np.zeros((*shape, *size), np.uint8), np.zeros(shape, bool)

    def _make(self, order: Order, start: int, stop: int) -> None:
        """One task: images start .. stop of a batch, and their masks, on one thread."""
        self._fill(order.step, order.parts, start, stop)
        if order.masks is not None:
            index, size = order.step.index[start:stop], order.parts[0].size
            coverage, known = order.masks
            coverage[start:stop], known[start:stop] = self.reader.masks(
                index, size, nearest=self._mask_rule == "nearest"
            )

    def _fill(self, step: Step, parts: list[Part], start: int, stop: int) -> None:
        """Images start .. stop of a batch, at each of its sizes."""
        converter, sizes = self._converter, [part.made for part in parts]
        if converter.in_place:
            slots = [part.block.slot((len(step), *part.made), self.reader.dtype) for part in parts]
            self._read(slots, step.index[start:stop], sizes, start)
            return
        images = [part.block.view(part.shape, converter.stored) for part in parts]
        slots = [converter.staging(size) for size in sizes]
        together = min(len(slot.out) for slot in slots)
        for first in range(start, stop, together):
            some = slice(first, min(first + together, stop))
            self._read(slots, step.index[some], sizes, 0)
            for slot, out in zip(slots, images, strict=True):
                converter.run(slot.out[: some.stop - first], out[some])

    def _read(self, slots: list[Slot], rows: NDArray[np.int64], sizes: list[Size], start: int) -> None:
        """The reader's pixels of some images; of several sizes together where it has a way to make them from one
        decode.
        """
        together = getattr(self.reader, "fill_sizes", None)
        if together is not None and len(sizes) > 1:
            together(slots, rows, sizes, start)
            return
        for slot, size in zip(slots, sizes, strict=True):
            self.reader.fill(slot, rows, size, start)

    def batch(self, order: Order) -> Batch:
        """What was made, with everything that is known of it."""
        step, (own, *_) = order.step, order.parts
        images = {part.size: self._images(part, step.index) for part in order.parts}
        index, size = step.index, own.size
        plain = Size(*size) if isinstance(size, Native) else size
        facts = self.reader.facts(index, size)
        masks, masks_known = self._masks(order)
        level, rmse = self.reader.served(size)
        targets = torch.from_numpy(self._targets.take(index, axis=0))
        boxes, labels = (None, None) if self._boxes is None else self._boxes.of(index, facts[:, PLACES])
        batch = Batch(
            images=images[size],
            targets=targets,
            known=torch.from_numpy(self._known.take(index, axis=0)),
            rows=torch.from_numpy(index.copy()),
            ids=self._ids[index].tolist(),
            size=plain,
            level=level,
            expected_rmse=rmse,
            spacing=torch.from_numpy(facts[:, SPACING]),
            content=torch.from_numpy(facts[:, CONTENT]),
            valid=torch.ones(len(step), dtype=torch.bool),
            draws=torch.from_numpy(step.draw.astype(np.int64)),
            columns={name: values[index].tolist() for name, values in self._columns.items()},
            geometry=Geometry(plain, facts[:, PLACES.start :]),
            scales=images if len(images) > 1 else {},
            masks=masks,
            masks_known=masks_known,
            boxes=boxes,
            box_labels=labels,
            **{name: values[index].tolist() for name, values in self._exam.items()},
        )
        return batch if self._device.type == "cpu" else batch.to(self._device)

    def _masks(self, order: Order) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
        """The masks of a batch, by the loader's rule, and which are known."""
        if order.masks is None:
            return None, None
        masks, known = (torch.from_numpy(one) for one in order.masks)
        rule = self._mask_rule
        if rule is None or rule is True:
            return masks, known
        return thresholded(masks, "any" if rule == "nearest" else rule), known

    def _images(self, part: Part, rows: NDArray[np.int64]) -> torch.Tensor:
        """What was made at one size, finished, on the loader's device."""
        images = torch.from_numpy(self._pool.lend(part.block, part.shape, self._converter.stored))
        if self._device.type != "cpu":
            images = images.to(self._device)
        if part.made != part.size and isinstance(self.reader, CacheReader):
            images = self.reader.resize_on_device(images, rows, part.made, part.size)
        return self._converter.finished(images)


def works_late(device: torch.device) -> bool:
    """Whether stored bytes travel and pixel arithmetic runs where they arrive."""
    return device.type != "cpu"
