"""The loader only schedules: a sampler decides, a reader answers, this overlaps the two with the caller's work.

    plan (sampler.steps)     step s+2   step s+1   step s
                                │          │          │
    tasks on threads         [fill][fill] [fill][fill] │        a task = some images of one batch:
                                │          │          │        read, verify (or decode, resize), convert
    ready, in order             └──────────┴────> batch s ──> the caller

Threads, not processes: reading, decoding and conversion release the GIL. They exist only while an iteration runs;
leaving the loop in any way ends them. Where tasks are short the caller's thread is one of them: instead of waiting
for a batch it makes what no other thread has begun, and nothing has to be handed over.
"""

import logging
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from resload.batch import Batch
from resload.boxes import Boxes
from resload.catalog import Catalog
from resload.convert import Converter
from resload.errors import ArgumentError
from resload.geometry import Geometry
from resload.geometry.placing import CONTENT, PLACES, SPACING
from resload.masks.inside import thresholded
from resload.pipeline import ModelInput, Pipeline
from resload.pipeline.model_input import decoders_here
from resload.readers import CacheReader, DetailReader, Reader, SourceReader
from resload.samplers import Fixed, Images, Sampler, Scales, Sequential, Shuffle, Step
from resload.samplers.sampler import checked_state
from resload.scaling import usable_device
from resload.size import Native, Size, SizeLike, Spacing
from resload.store.cache import Cache
from resload.store.gather import Slot
from resload.threads import thread_count
from resload.transfer import Block, Pool

_log = logging.getLogger("resload")


@dataclass(frozen=True)
class _Part:
    """The images of a batch at one size."""

    size: Size
    shape: tuple[int, ...]
    block: Block


@dataclass
class _Order:
    """A batch being made."""

    epoch: int
    step: Step
    parts: list["_Part"]
    """One for each size of the step, the step's own first."""
    masks: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None = None
    """Coverage (n, K, H, W) and which are known (n, K), where masks are asked for."""
    work: list[Callable[[], None]] = field(default_factory=list)
    """Each makes some of the images."""
    tasks: list[Future[None]] = field(default_factory=list)
    """One for each piece of work that was given to the threads; the rest is done when the batch is taken."""


class Loader:
    """Iterates batches of radiographs at one resolution, from a cache or straight from the files.

    >>> loader = Loader(cache, size=256, batch_size=64, split="train", shuffle=True)  # doctest: +SKIP
    >>> for images, targets in loader: ...  # doctest: +SKIP

    Not a torch DataLoader, and not to be wrapped in one: it has its own threads. Iterating it again is the next
    epoch, also after a loop that was left early; `load_state_dict` and `set_epoch` say otherwise.

    Args:
        data: a Cache; a Catalog, with `pipeline=` saying how its files become pixels; or any Reader.
        size: of the images: int, (height, width), `Spacing`, or a list of sizes that every batch carries at once
            (`Batch.scales`; the first is `Batch.images`). A cache serves any size up to its largest level. "native":
            the films' own sizes, at the top left of zeros as large as the largest film of the batch.
        batch_size: images per batch, per process, as in torch.
        sampler: a `samplers.Sampler`, instead of size, batch_size, split, rows, shuffle, seed and drop_last.
        split, rows: which radiographs: those of a split, or these row numbers. Quarantined ones are left out.
        shuffle: a new order each epoch, drawn from (seed, epoch); else row order.
        device: where batches end up. Stored bytes travel; floats are made there, by the calling thread.
        dtype: float32, float16 or bfloat16 (values in [0, 1], then normalised), or uint8 / uint16 as stored
            (uint8 widened to uint16 keeps its place in the range; uint16 is never narrowed).
        channels: copies of the gray image along C, for models that want three.
        normalize: None; (mean, std) on [0, 1], numbers or one per channel; or "dataset": those of the train split
            (of the loader's rows when there is none), as `loader.normalization` then says.
        columns: further columns of the table, handed out in `Batch.columns`.
        masks: hand out masks in `Batch.masks`, by the order of `mask_names`: True as coverage, uint8 0 to 255; or
            by the rule that says what is inside: "any", a share of the pixel's area such as 0.5, or "nearest" (the
            pixel's centre), as bool.
        boxes: hand out the boxes of findings in `Batch.boxes`, mapped and clipped to each image; a number is the least
            share of a box's area that must be seen for it to be kept (True: any).
        detail: shrink every film to this size first and enlarge it to `size` with the recipe's kernel: the control arm
            that tells what detail is worth from what computation is worth.
        allow_upsample: serve sizes larger than every level of a cache too, by enlarging.
        threads: how many images, or parts of a batch, are made at once (from a cache, one of them on the caller's
            thread while it waits).
        prefetch: how many batches are made ahead of the one in use.
        drop_last: leave out the images that do not fill a last batch.
        pipeline: with a Catalog, the recipe; its sizes do not matter here.

    Raises:
        ArgumentError: for contradicting or impossible arguments. While iterating: CorruptCacheError, DecodeError.
    """

    def __init__(
        self,
        data: Cache | Catalog | Reader,
        *,
        size: SizeLike | Spacing | list[SizeLike | Spacing] | None = None,
        batch_size: int | None = None,
        sampler: Sampler | None = None,
        split: str | None = None,
        rows: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        shuffle: bool = False,
        seed: int = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        channels: int = 1,
        normalize: str | tuple[Any, Any] | None = None,
        columns: Sequence[str] = (),
        masks: bool | str | float = False,
        boxes: bool | float = False,
        detail: SizeLike | None = None,
        threads: int | None = None,
        prefetch: int = 2,
        drop_last: bool = False,
        allow_upsample: bool = False,
        pipeline: Pipeline | None = None,
    ) -> None:
        self.reader = reader_of(data, pipeline, threads, allow_upsample=allow_upsample)
        if detail is not None:
            self.reader = DetailReader(self.reader, detail, _recipe_of(self.reader, "detail="))
        self._threads = thread_count(threads)
        self._prefetch = _at_least_one("prefetch", prefetch)
        self._device = usable_device(device)
        self._columns = _known_columns(columns, self.reader)
        if sampler is None:
            chosen = _chosen_rows(self.reader, split, rows)
            if size is None or batch_size is None:
                raise ArgumentError("a Loader needs size= and batch_size=, or a sampler=")
            sampler = Sampler(
                self.reader,
                rows=chosen,
                order=Shuffle() if shuffle else Sequential(),
                sizes=_sizes(self.reader, size),
                budget=Images(_at_least_one("batch_size", batch_size)),
                seed=seed,
                tail="drop" if drop_last else "exact",
            )
        else:
            _refuse_beside_sampler(
                size=size,
                batch_size=batch_size,
                split=split,
                rows=rows,
                shuffle=shuffle or None,
                seed=seed or None,
                drop_last=drop_last or None,
            )
            _refuse_unservable(sampler, self.reader)
        self.sampler = sampler
        self.normalization = self._statistics(normalize)
        late = self._device.type != "cpu"
        self._converter = Converter(self.reader.dtype, dtype, channels, self.normalization, late=late)
        self._targets, self._ids = _targets(self.reader), _objects(self.reader.table["id"])
        self._known = ~np.isnan(self._targets)
        self._boxes = None if boxes is False else _boxes(self.reader, boxes)
        self._mask_rule = _mask_rule(self.reader, masks)
        self.mask_names = () if self._mask_rule is None else self.reader.mask_names
        self.box_names = () if self._boxes is None else self._boxes.names
        self._pool = Pool()
        self._epoch, self._step = 0, 0
        self._deliberate = True  # the position was set by the caller or reached by finishing an epoch
        self._running: weakref.WeakSet[_Run] = weakref.WeakSet()

    def _statistics(self, normalize: str | tuple[Any, Any] | None) -> tuple[Any, Any] | None:
        if normalize is None or isinstance(normalize, tuple):
            return normalize
        if normalize != "dataset":
            raise ArgumentError(f'normalize must be None, "dataset" or (mean, std); found {normalize!r}')
        table = self.reader.table
        train = "split" in table and bool((table["split"] == "train").any())
        rows = self.reader.rows(split="train") if train else self.sampler.rows
        size = self.sampler.sizes.at(0, epoch=0)
        mean, std = self.reader.stats(size, rows)
        _log.info("normalize: mean %.6f, std %.6f of %s at %s", mean, std, "split train" if train else "its rows", size)
        return mean, std

    @property
    def pipeline(self) -> Pipeline:
        """The recipe that makes this loader's tensors from single films: `loader.pipeline.tensor(path)`, and `save`.

        Of the loader's first size, with everything that its images depend on in `Pipeline.model`: dtype, channels,
        normalization, detail, and how training's pixels were made. Raises ArgumentError for a Reader without a recipe.
        """
        arms = self.reader if isinstance(self.reader, DetailReader) else None
        recipe = _recipe_of(self.reader if arms is None else arms.inner, "Loader.pipeline")
        size = self.reader.checked_size(self.sampler.sizes.at(0, epoch=0))
        level, rmse = self.reader.served(size)
        mean, std = self.normalization or (None, None)
        model = ModelInput(
            size=size,
            dtype=str(self._converter.scaling.dtype).removeprefix("torch."),
            channels=self._converter.scaling.channels,
            mean=mean,
            std=std,
            detail=None if arms is None else arms.detail,
            level=level,
            expected_rmse=rmse,
            decoders=_decoders(self.reader, self.sampler.rows),
        )
        return replace(recipe, sizes=(size,), dtype=str(self.reader.dtype), model=model)

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return len(self.sampler)

    # -- iterating --

    def __iter__(self) -> "Iterator[Batch]":
        """A new pass. The threads begin with its first batch and end with it."""
        run = _Run(self)
        self._running.add(run)
        return run

    def _batches(self) -> Iterator[Batch]:
        if not self._deliberate:
            self._epoch, self._step = self._epoch + 1, 0
        self._deliberate = False
        epoch, start = self._epoch, self._step
        grain = self.reader.grain(self.reader.checked_size(self.sampler.sizes.at(start, epoch=epoch)))
        helping = grain > 1 and self._threads > 1
        executor = ThreadPoolExecutor(self._threads - helping, thread_name_prefix="resload")
        pending: deque[_Order] = deque()
        try:
            for step in self.sampler.steps(epoch, start=start):
                pending.append(self._begun(epoch, step, executor))
                if len(pending) > self._prefetch:
                    yield self._taken(pending, helping)
            while pending:
                yield self._taken(pending, helping)
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def _begun(self, epoch: int, step: Step, executor: ThreadPoolExecutor) -> _Order:
        """Submit the tasks of one batch."""
        count, sizes = len(step), self._sizes_of(step)
        order = _Order(epoch, step, [self._part(count, size) for size in sizes], self._room_for_masks(count, sizes[0]))
        grain = min(self.reader.grain(size) for size in sizes) or int(len(sizes) > 1 or order.masks is not None)
        for start in range(0, count, grain or count):
            stop = min(start + (grain or count), count)
            order.work.append(partial(self._make, order, start, stop))
        if grain:
            order.tasks = [executor.submit(work) for work in order.work]
        return order

    def _sizes_of(self, step: Step) -> list[Size]:
        """The sizes that a step is served at, its own first."""
        scales = getattr(self.sampler.sizes, "scales", ())
        sizes = [self.reader.checked_size(size) for size in dict.fromkeys([step.size, *scales])]
        return [self.reader.native_size(step.index) if isinstance(size, Native) else size for size in sizes]

    def _part(self, count: int, size: Size) -> _Part:
        shape = self._converter.shape(count, size)
        return _Part(size, shape, self._pool.block(self._converter.bytes(shape)))

    def _room_for_masks(self, count: int, size: Size) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
        if self._mask_rule is None:
            return None
        shape = (count, len(self.mask_names))
        return np.zeros((*shape, *size), np.uint8), np.zeros(shape, bool)

    def _make(self, order: _Order, start: int, stop: int) -> None:
        """One task: images start .. stop of a batch, and their masks, on one thread."""
        self._fill(order.step, order.parts, start, stop)
        if order.masks is not None:
            index, size = order.step.index[start:stop], order.parts[0].size
            coverage, known = order.masks
            coverage[start:stop], known[start:stop] = self.reader.masks(
                index, size, nearest=self._mask_rule == "nearest"
            )

    def _fill(self, step: Step, parts: list[_Part], start: int, stop: int) -> None:
        """Images start .. stop of a batch, at each of its sizes."""
        converter, sizes = self._converter, [part.size for part in parts]
        if converter.in_place:
            slots = [part.block.slot((len(step), *part.size), self.reader.dtype) for part in parts]
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

    def _taken(self, pending: deque[_Order], helping: bool) -> Batch:
        """Wait for the first batch's tasks, or help, and hand it over; the position moves past it."""
        if helping:
            _help(pending)
        order = pending.popleft()
        for task in order.tasks:
            task.result()
        for work in order.work[len(order.tasks) :]:
            work()
        batch = self._batch(order)
        self._epoch, self._step, self._deliberate = order.epoch, order.step.number + 1, False
        if self._step == len(self.sampler):
            self._epoch, self._step, self._deliberate = self._epoch + 1, 0, True
        return batch

    def _batch(self, order: _Order) -> Batch:
        step, (own, *_) = order.step, order.parts
        images = {part.size: self._images(part) for part in order.parts}
        index, size = step.index, own.size
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
            size=Size(*size),
            level=level,
            expected_rmse=rmse,
            spacing=torch.from_numpy(facts[:, SPACING]),
            content=torch.from_numpy(facts[:, CONTENT]),
            valid=torch.ones(len(step), dtype=torch.bool),
            draws=torch.from_numpy(step.draw.astype(np.int64)),
            columns={name: values[index].tolist() for name, values in self._columns.items()},
            geometry=Geometry(Size(*size), facts[:, PLACES.start :]),
            scales=images if len(images) > 1 else {},
            masks=masks,
            masks_known=masks_known,
            boxes=boxes,
            box_labels=labels,
        )
        return batch if self._device.type == "cpu" else batch.to(self._device)

    def _masks(self, order: _Order) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
        """The masks of a batch, by the loader's rule, and which are known."""
        if order.masks is None:
            return None, None
        masks, known = (torch.from_numpy(one) for one in order.masks)
        rule = self._mask_rule
        if rule is None or rule is True:
            return masks, known
        return thresholded(masks, "any" if rule == "nearest" else rule), known

    def _images(self, part: _Part) -> torch.Tensor:
        """What was made at one size, finished, on the loader's device."""
        images = torch.from_numpy(self._pool.lend(part.block, part.shape, self._converter.stored))
        if self._device.type != "cpu":
            images = images.to(self._device)
        return self._converter.finished(images)

    # -- position --

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch next. A position that was loaded, or is already there, is kept."""
        if epoch != self._epoch or not self._deliberate:
            self._epoch, self._step = epoch, 0
        self._deliberate = True

    def state_dict(self) -> dict[str, Any]:
        """The caller's position (not the prefetcher's): a few plain values, for JSON or torch.save."""
        return {"version": 1, "epoch": self._epoch, "step": self._step, "fingerprint": self._fingerprint()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after the batch that was the last one when `state_dict` was taken.

        Raises StateError when this loader's plan or data is another one.
        """
        self._epoch, self._step = checked_state(state, self._fingerprint(), len(self))
        self._deliberate = True

    def _fingerprint(self) -> str:
        return f"{self.sampler.fingerprint()}-{self.reader.digest()}"

    # -- the end --

    def close(self) -> None:
        """End every iteration that is under way, and its threads. The loader can be iterated again."""
        for run in list(self._running):
            run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Run:
    """One iteration: a generator that the loader can close."""

    def __init__(self, loader: Loader) -> None:
        self._batches = loader._batches()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return next(self._batches)

    def close(self) -> None:
        self._batches.close()  # type: ignore[attr-defined]  # it is a generator


def _help(pending: deque[_Order]) -> None:
    """Until the first batch is made: do the work that no thread has begun, the first first.

    What goes wrong is kept in its task, to be raised when that batch is taken.
    """
    for order in pending:
        for k, work in enumerate(order.work[: len(order.tasks)]):
            if all(task.done() for task in pending[0].tasks):
                return
            if order.tasks[k].cancel():
                order.tasks[k] = done = Future[None]()
                try:
                    done.set_result(work())
                except Exception as exc:
                    done.set_exception(exc)


# -- arguments -------------------------------------------------------------------------------------------


def _sizes(reader: Reader, size: Any) -> Fixed | Scales:
    """One size, or a list of them."""
    if not isinstance(size, list):
        return Fixed(reader.checked_size(size))
    return Scales(*(reader.checked_size(one) for one in size))


def _recipe_of(reader: Reader, wanted: str) -> Pipeline:
    found = getattr(reader, "pipeline", None)
    if not isinstance(found, Pipeline):
        raise ArgumentError(f"{wanted} needs data with a pipeline: a Cache, or a Catalog with pipeline=")
    return found


def _decoders(reader: Reader, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """What decoded these films: a cache's table tells; files are decoded here."""
    if "decoder" not in reader.table:
        return decoders_here()
    return tuple(sorted(set(reader.table["decoder"].iloc[rows].dropna()) - {""}))


def _boxes(reader: Reader, boxes: bool | float) -> Boxes:
    return Boxes(reader.boxes, reader.table["id"], least=0.0 if boxes is True else boxes)


def _mask_rule(reader: Reader, masks: bool | str | float) -> bool | str | float | None:
    """None when no masks are asked for; else True (coverage), or the rule. Raises ArgumentError."""
    if masks is False:
        return None
    if not reader.mask_names:
        raise ArgumentError("masks= asked for, and this data has none; give them to the Catalog (masks=)")
    if masks is not True and masks != "nearest":
        thresholded(torch.zeros(1, 1, dtype=torch.uint8), masks)  # refuses what is no rule
    return masks


def reader_of(
    data: Cache | Catalog | Reader,
    pipeline: Pipeline | None,
    threads: int | None = None,
    *,
    allow_upsample: bool = False,
) -> Reader:
    """Whatever people load from, as a reader. Raises ArgumentError for anything else, and for a missing pipeline."""
    if isinstance(data, Catalog):
        if pipeline is None:
            raise ArgumentError("a Catalog needs pipeline=, for example pipeline=resload.Pipeline(256)")
        return SourceReader(data, pipeline, threads=threads)
    if pipeline is not None:
        raise ArgumentError("pipeline= goes with a Catalog; a cache knows its own")
    if isinstance(data, Cache):
        return CacheReader(data, allow_upsample=allow_upsample)
    if not hasattr(data, "fill"):
        raise ArgumentError(f"data must be a Cache, a Catalog or a Reader; found {type(data).__name__}")
    return data


def _at_least_one(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(f"{name} must be an int >= 1; found {value!r}")
    return value


def _chosen_rows(reader: Reader, split: str | None, rows: Any) -> NDArray[np.int64]:
    readable = reader.rows(split=split)
    if rows is not None:
        if split is not None:
            raise ArgumentError("pass split= or rows=, not both")
        chosen = np.asarray(rows)
        if chosen.ndim != 1 or chosen.dtype == bool or not set(chosen.tolist()) <= set(readable.tolist()):
            raise ArgumentError(f"rows must be readable row numbers below {len(reader)} (see cache.rows())")
        return chosen.astype(np.int64)
    if readable.size == 0:
        raise ArgumentError("there is no readable radiograph here")
    return readable


def _refuse_beside_sampler(**arguments: Any) -> None:
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        raise ArgumentError(f"sampler= decides {', '.join(given)}: set them there")


def _refuse_unservable(sampler: Sampler, reader: Reader) -> None:
    if sampler.n != len(reader):
        raise ArgumentError(f"the sampler was made for {sampler.n} rows, the data has {len(reader)}")
    bad = np.setdiff1d(sampler.rows, reader.rows())
    if bad.size:
        raise ArgumentError(
            f"{bad.size} of the sampler's rows cannot be read (first: row {bad[0]}); make it with rows=cache.rows()"
        )
    for size in {sampler.sizes.at(0, epoch=0), *getattr(sampler.sizes, "scales", ())}:
        reader.checked_size(size)


def _known_columns(columns: Sequence[str], reader: Reader) -> dict[str, NDArray[np.object_]]:
    missing = [name for name in columns if name not in reader.table]
    if missing:
        raise ArgumentError(f"columns={missing}: not in the table, which has {list(reader.table.columns)}")
    return {name: _objects(reader.table[name]) for name in columns}


def _objects(values: "pd.Series[Any]") -> NDArray[np.object_]:
    """A column as Python's own values, which indexing an array of objects hands out fastest."""
    found = np.empty(len(values), object)
    found[:] = values.tolist()
    return found


def _targets(reader: Reader) -> NDArray[np.float32]:
    if not reader.targets:
        return np.empty((len(reader), 0), np.float32)
    frame = reader.table[list(reader.targets)]
    return np.ascontiguousarray(frame.to_numpy(np.float32, na_value=np.nan))
