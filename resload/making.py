"""One batch: its memory, the tasks that fill it, and what is handed over.

Order    steps of the plan, their memory at each size, what is known of their films, and their tasks
Maker    makes orders' images and masks, some at a time on any thread, and the `Batch` of each step at the end
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload import padding
from resload.asked import hidden_targets, mask_rule, planned_sizes
from resload.augment import Adapter, Asked, Sample, Transform, adapted, applied, undisturbed
from resload.batch import Batch, with_tensors
from resload.convert import Converter, Detour
from resload.devices import bus_to, onto
from resload.filling import Filler, Part, ResidentFiller
from resload.geometry.placing import PLACES
from resload.masks.inside import thresholded
from resload.particulars import Particulars, Tensors, Told
from resload.readers import Reader, ResidentReader
from resload.samplers import Sampler, Step
from resload.size import Native, Size

_MASKS_TASK = 16
"""Films in a task whose images take no time and whose masks are decompressed."""
_TRANSFORMED_TASK = 8
"""Films in a task that transforms them, at most."""
_TOGETHER_BYTES = 8 << 20
"""Of images that are made together, where a single batch is less than a task."""


@dataclass
class Order:
    """A batch being made, or several small ones of one size that are made together."""

    steps: list[Step]
    bounds: list[int]
    """Images bounds[k] .. bounds[k + 1] are those of step k."""
    valid: NDArray[np.bool_] | None
    """(n,) where there is a film; None where there is one everywhere, as in all that is made together."""
    rows: NDArray[np.int64]
    """(n,) the steps' rows, with any other in the place of padding."""
    parts: list[Part]
    """One for each size of the steps, their own first."""
    targets: NDArray[np.float32]
    """(n, T)"""
    masks: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None = None
    """Coverage (n, K, H, W) and which are known (n, K), where masks are asked for."""
    boxes: tuple[Tensors, Tensors] | None = None
    """Boxes and labels, where a transform sees them."""
    work: list[Callable[[], None]] = field(default_factory=list)
    """Each makes some of the images."""
    tasks: list[Future[None]] = field(default_factory=list)
    """One for each piece of work that was given to the threads; the rest is done when the batch is taken."""

    def runs(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the places start .. stop, those with a film."""
        if self.valid is None:
            return [(start, stop)]
        return [(start + first, start + last) for first, last in padding.runs(self.valid[start:stop])]


class Maker:
    """Makes the batches of one loader. `Order.work` may run on any thread; `batch` on the caller's.

    Raises ArgumentError for masks, boxes and columns that the data does not have.
    """

    def __init__(
        self,
        reader: Reader,
        sampler: Sampler,
        *,
        dtype: torch.dtype,
        channels: int,
        normalization: tuple[Any, Any] | None,
        device: torch.device,
        columns: Sequence[str],
        masks: bool | str | float,
        boxes: bool | float,
        transform: Transform | None = None,
    ) -> None:
        self.reader, self._device = reader, device
        self._transform = None if transform is None else adapted(transform)
        self._bus = None if device.type == "cpu" else bus_to(device)
        self.crosses = self._bus is not None
        """Whether batches are copied to another device."""
        late = works_late(device) and transform is None  # a transform sees images that are finished
        self._stays = isinstance(reader, ResidentReader)
        converter = Converter(reader.dtype, dtype, channels, normalization, late=late, as_stored=self._stays)
        self.scaling = converter.scaling
        self._served: dict[tuple[Size, ...], list[Size]] = {}
        self._joined: dict[tuple[int, tuple[Size, ...]], int] = {}
        self._filler = (ResidentFiller if self._stays else Filler)(reader, converter, self._bus)
        self._particulars = Particulars(reader, columns, boxes)
        self._hidden = hidden_targets(reader, sampler)
        self._mask_rule = mask_rule(reader, masks)
        if self._mask_rule is not None:  # refuses a size whose masks cannot be had
            first = reader.checked_size(sampler.sizes.at(0, epoch=0))
            reader.masks(np.empty(0, np.int64), first, nearest=self._mask_rule == "nearest")
        self._detour = self._detour_of(sampler, dtype, channels, normalization)
        self.mask_names: tuple[str, ...] = () if self._mask_rule is None else reader.mask_names
        self.box_names: tuple[str, ...] = self._particulars.box_names or ()

    def _detour_of(
        self, sampler: Sampler, dtype: torch.dtype, channels: int, normalization: tuple[Any, Any] | None
    ) -> Detour | None:
        """For a transform that takes display values."""
        if not isinstance(self._transform, Adapter):
            return None
        asked = Asked(
            self.reader.dtype,
            [self.reader.checked_size(size) for size in planned_sizes(sampler)],
            self.reader.targets,
            masks=self._mask_rule is not None,
            boxes=self._particulars.box_names is not None,
        )
        return Detour(self.reader.dtype, self._transform.takes(asked), dtype, channels, normalization)

    def grain(self, sizes: Sequence[Size]) -> int:
        """Images of a task that makes each at these sizes; 0 where a thread is not worth it."""
        worth = [grain for size in sizes if (grain := self.reader.grain(self._filler.made(size)))]
        grain = min(worth, default=0 if self._mask_rule is None else _MASKS_TASK)
        return min(grain or _TRANSFORMED_TASK, _TRANSFORMED_TASK) if self._transform is not None else grain

    def together(self, steps: Iterable[Step]) -> Iterator[list[Step]]:
        """The steps in their order, those that are made together as one list: a task should be worth its thread."""
        waiting: list[Step] = []
        for step in steps:
            if waiting and not _alike(step, waiting[0]):
                yield waiting
                waiting = []
            waiting.append(step)
            if len(waiting) >= self._most_together(waiting[0]):
                yield waiting
                waiting = []
        if waiting:
            yield waiting

    def _most_together(self, step: Step) -> int:
        """How many steps like this one are made together."""
        count, asked = len(step), (step.size, *step.scales)
        if not step.full or not count or self._mask_rule is not None or self._transform is not None:
            return 1
        found = self._joined.get((count, asked))
        if found is None:
            sizes = [self.reader.checked_size(size) for size in dict.fromkeys(asked)]
            found = 1
            if not any(isinstance(size, Native) for size in sizes):
                bytes_ = sum(self._filler.bytes(count, size) for size in sizes)
                found = max(1, min(self.grain(sizes) // count, _TOGETHER_BYTES // bytes_))
            self._joined[count, asked] = found
        return found

    def order(self, steps: list[Step]) -> tuple[Order, bool]:
        """The steps' memory and work, and whether the work is worth handing to threads."""
        step = steps[0]
        whole = step.index if step.everywhere is None else step.everywhere
        index = step.index if len(steps) == 1 else np.concatenate([one.index for one in steps])
        valid = None if step.full else padding.films(index)
        rows = index if valid is None else padding.stood_in(index, valid, whole)
        sizes, bounds = self._sizes_of(step, whole), [0, *accumulate(map(len, steps))]
        order = Order(
            steps,
            bounds,
            valid,
            rows,
            self._filler.parts(bounds, sizes, rows, valid),
            self._particulars.targets(rows, valid, self._hidden(step.size)),
            self._room_for_masks(len(rows), sizes[0]),
            self._room_for_boxes(len(rows)),
        )
        grain = self.grain(sizes)
        self._give_work(order, grain)
        return order, bool(grain)

    def _give_work(self, order: Order, grain: int) -> None:
        """Tasks for all films; of what stays on the device, for those that are missing there."""
        made = [part for part in order.parts if part.residence is None] if self._stays else order.parts
        if made or order.masks is not None:
            for start, stop in _pieces(len(order.rows), grain):
                order.work.append(partial(self._make, order, made, start, stop))
        for part in order.parts if self._stays else ():
            for start, stop in _pieces(len(part.missing), grain):
                order.work.append(partial(self._filler.fill, [part], part.missing[start:stop], start))

    def _sizes_of(self, step: Step, whole: NDArray[np.int64]) -> list[Size]:
        """The sizes that a step is served at, its own first: the same for every process."""
        asked = (step.size, *step.scales)
        sizes = self._served.get(asked)
        if sizes is None:
            sizes = [self.reader.checked_size(size) for size in dict.fromkeys(asked)]
            self._served[asked] = sizes
        if not any(isinstance(size, Native) for size in sizes):
            return sizes
        native = self.reader.native_size(whole[whole >= 0])
        return [native if isinstance(size, Native) else size for size in sizes]

    def _room_for_masks(self, count: int, size: Size) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
        if self._mask_rule is None:
            return None
        shape = (count, len(self.mask_names))
        return np.zeros((*shape, *size), np.uint8), np.zeros(shape, bool)

    def _room_for_boxes(self, count: int) -> tuple[Tensors, Tensors] | None:
        if self._transform is None or self._particulars.box_names is None:
            return None
        none = (torch.from_numpy(np.empty((0, 4), np.float32)), torch.from_numpy(np.empty(0, np.int64)))
        return [none[0]] * count, [none[1]] * count

    # -- tasks --

    def _make(self, order: Order, parts: list[Part], start: int, stop: int) -> None:
        """One task: places start .. stop of a batch at the sizes of some parts, and their masks, on one thread."""
        if order.valid is None and order.masks is None and self._transform is None:
            self._filler.fill(parts, order.rows[start:stop], start)
            return
        if order.valid is not None:
            self._filler.blank(parts, start, stop)
        for first, last in order.runs(start, stop):
            rows = order.rows[first:last]
            given = None
            if self._detour is None:
                self._filler.fill(parts, rows, first)
            else:  # before masks and boxes, too: of a film that is read from its file the size is known by then
                given = self._filler.given(parts, rows, self._detour)
            if order.masks is not None:
                coverage, known = order.masks
                coverage[first:last], known[first:last] = self.reader.masks(
                    rows, order.parts[0].size, nearest=self._mask_rule == "nearest"
                )
            if self._transform is not None:
                self._transformed(self._transform, order, first, last, given)

    def _transformed(
        self, transform: Transform, order: Order, start: int, stop: int, given: list[NDArray[Any]] | None
    ) -> None:
        """Images start .. stop at each of their sizes, and what comes with them, as a transform leaves them.

        given: the images of each size where it takes display values.
        """
        rows, own = order.rows[start:stop], order.parts[0]
        ids = self._particulars.ids(rows, None)
        if order.boxes is not None:
            places = self._particulars.facts(rows, own.size, None)[:, PLACES]
            order.boxes[0][start:stop], order.boxes[1][start:stop] = self._particulars.boxes(rows, places, None)
        with undisturbed():
            for k in reversed(range(len(order.parts))):  # the first last: the others see the targets as they are
                part = order.parts[k]
                images = part.tensor()[start:stop] if given is None else torch.from_numpy(given[k])
                for i, (name, image) in enumerate(zip(ids, images, strict=True), start):
                    sample = self._sample(order, i, name, image, part.size)
                    if part is own:
                        _with_findings(sample, order, i)
                    applied(transform, sample)
                    if order.boxes is not None and sample.boxes is not None and sample.box_labels is not None:
                        order.boxes[0][i], order.boxes[1][i] = sample.boxes, sample.box_labels
                if given is not None and self._detour is not None:
                    self._filler.receive(part, given[k], start, self._detour)

    def _sample(self, order: Order, i: int, name: str, image: torch.Tensor, size: Size) -> Sample:
        """Image i at one size, with targets of its own."""
        step, targets = order.steps[0], torch.from_numpy(order.targets[i].copy())
        return Sample(
            image,
            targets,
            int(step.index[i]),
            name,
            _plain(size),
            step.progress,
            int(step.draw[i]),
            target_names=self.reader.targets,
            placed=partial(self._particulars.geometry, order.rows[i : i + 1], size),
        )

    # -- the batch --

    def send(self, order: Order) -> None:
        """Begin to copy an order that is made to the loader's device, where that is another one; again does nothing."""
        self._filler.send(order.parts)

    def handed(self) -> None:
        """The caller is back from its work on a batch."""
        if self._bus is not None:
            self._bus.handed()

    def batch(self, order: Order, k: int) -> Batch:
        """What was made of step k, with everything that is known of it; handed over once."""
        self.send(order)
        step, part, valid = order.steps[k], slice(order.bounds[k], order.bounds[k + 1]), order.valid
        rows, size, device = order.rows[part], order.parts[0].size, self._device
        images = {one.size: self._filler.images(one, k, rows, valid) for one in order.parts}
        level, rmse = self.reader.served(size)
        targets = order.targets[part]
        fields = {"targets": torch.from_numpy(targets), **self._findings(order, rows, size)}
        if self._transform is not None:  # which may have changed them
            fields["known"] = torch.from_numpy(~np.isnan(targets))
        if device.type != "cpu":
            fields = {name: with_tensors(value, lambda one: onto(one, device)) for name, value in fields.items()}
        return Batch.made(
            Told(self._particulars, step, rows, valid, size, self._hidden(step.size), device),
            images=images[size],
            size=_plain(size),
            level=level,
            expected_rmse=rmse,
            n_global=step.n_global,
            n_ref=step.n_ref,
            progress=step.progress,
            scales=images if len(images) > 1 else {},
            **fields,
        )

    def _findings(self, order: Order, rows: NDArray[np.int64], size: Size) -> dict[str, Any]:
        """Masks and boxes of a batch."""
        masks, masks_known = self._masks(order)
        boxes, labels = order.boxes or (None, None)
        if self._particulars.box_names is not None and boxes is None:
            places = self._particulars.facts(rows, size, order.valid)[:, PLACES]
            boxes, labels = self._particulars.boxes(rows, places, order.valid)
        return {"masks": masks, "masks_known": masks_known, "boxes": boxes, "box_labels": labels}

    def _masks(self, order: Order) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
        """The masks of a batch, by the loader's rule, and which are known."""
        if order.masks is None:
            return None, None
        masks, known = (torch.from_numpy(one) for one in order.masks)
        rule = self._mask_rule
        if rule is None or rule is True:
            return masks, known
        return thresholded(masks, "any" if rule == "nearest" else rule), known


def _with_findings(sample: Sample, order: Order, i: int) -> None:
    """What comes with the first size alone: the batch's own targets, masks and boxes."""
    sample.targets = torch.from_numpy(order.targets[i])
    if order.masks is not None:
        sample.masks = torch.from_numpy(order.masks[0][i])
    if order.boxes is not None:
        sample.boxes, sample.box_labels = order.boxes[0][i], order.boxes[1][i]


def _alike(step: Step, first: Step) -> bool:
    """Whether two steps can be made together."""
    return step.full and first.full and step.size == first.size and step.scales == first.scales


def _pieces(count: int, grain: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of each piece of so many; one where a piece is not worth a thread (0)."""
    step = grain or max(count, 1)
    for start in range(0, count, step):
        yield start, min(start + step, count)


def _plain(size: Size) -> Size:
    """The height and width, also of films at their own size."""
    return Size(*size) if isinstance(size, Native) else size


def works_late(device: torch.device) -> bool:
    """Whether stored bytes travel and pixel arithmetic runs where they arrive."""
    return device.type != "cpu"
