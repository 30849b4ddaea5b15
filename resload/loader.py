"""The loader only schedules: a sampler decides, a reader answers, this overlaps the two with the caller's work.

    plan (sampler.steps)     step s+2   step s+1   step s     the reader is told of later ones: it fetches ahead
                                │          │          │
    tasks on threads         [fill][fill] [fill][fill] │        a task = some images of one batch:
                                │          │          │        read, verify (or decode, resize), convert
    ready, in order             └──────────┴────> batch s ──> the caller

Threads, not processes: reading, decoding and conversion release the GIL. They exist only while an iteration runs;
leaving the loop in any way ends them. Where tasks are short the caller's thread is one of them: instead of waiting
for a batch it makes what no other thread has begun, and nothing has to be handed over.
"""

import logging
import os
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from resload import forks
from resload.asked import decoders_of, loaders_reader, planned_sizes, recipe_of, sampler_of
from resload.augment import Transform
from resload.batch import Batch
from resload.catalog import Catalog
from resload.devices import usable_device
from resload.errors import ArgumentError, ForkedError
from resload.foretold import expected, swept, telling
from resload.making import Maker, Order
from resload.pipeline import ModelInput, Pipeline
from resload.readers import DetailReader, Reader, ResidentReader
from resload.samplers import Sampler, Step
from resload.samplers.cursor import Cursor
from resload.samplers.place import said_aloud
from resload.samplers.sizes import at_least, scales_of
from resload.size import SizeLike, Spacing
from resload.store.cache import Cache
from resload.threads import ThreadPool, thread_count

_log = logging.getLogger("resload")


class Loader:
    """Iterates batches of radiographs at one resolution, from a cache or straight from the files.

    >>> loader = Loader(cache, size=256, batch_size=64, split="train", shuffle=True)  # doctest: +SKIP
    >>> for images, targets in loader: ...  # doctest: +SKIP

    Not a torch DataLoader, and not to be wrapped in one: it has its own threads. Iterating it again is the next
    epoch, also after a loop that was left early; `load_state_dict` and `set_epoch` say otherwise. A process that is
    forked meanwhile may iterate it anew; an iteration that began before belongs to its parent.

    Args:
        data: a Cache; a Catalog, with `pipeline=` saying how its files become pixels; or any Reader.
        size: of the images: int, (height, width), `Spacing`, or a list of sizes that every batch carries at once
            (`Batch.scales`; the first is `Batch.images`). A cache serves any size up to its largest level. "native":
            the films' own sizes, at the top left of zeros as large as the step's largest film (over all processes).
        batch_size: images per batch, per process, as in torch. (A sampler's budget counts over all processes.)
        sampler: a `samplers.Sampler`, instead of size, batch_size, split, rows, shuffle, seed and drop_last.
        split, rows: which radiographs: those of a split, or these row numbers. Quarantined ones are left out.
        shuffle: a new order each epoch, drawn from (seed, epoch); else row order.
        device: where batches end up; "cuda" is the device that is current now. Stored bytes travel, on CUDA beside the
            caller's work; floats are made there, on the caller's current stream.
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
        transform: called with the `augment.Sample` of each image, on the loader's threads: changes it in place, or
            returns a new image of the same shape and dtype. Or a transform of albumentations, torchvision v2 or MONAI
            (`augment.Albumentations`, `TorchVision`, `Monai` for their options), which is given display values:
            normalising and `channels` come after it. What it draws from `sample.rng` or
            `sample.torch_generator` is the same whichever process, thread or run handles the image; torch's, numpy's
            and random's own generators are shared by the threads and are not. Padding is left out. On a device images
            are then finished before they travel.
        batch_transform: called with each finished `Batch`, on its device, by the calling thread; the loop gets what it
            returns.
        resident: with a Cache and a device: keep the pixels of every size in use in the device's memory, where they
            fit (one warning where not; batches then travel as ever), N * height * width * itemsize bytes of a level
            for the whole cache. Each record is read, verified and sent when it is first asked for; a batch of records
            that are there is gathered on the device, and costs the host next to nothing. Batches are the same as
            without. Loaders of one opened cache and its views share what is kept; `close`, or dropping the loader,
            lets go of it. Not with transform= or detail=; films at their own size ("native") are not kept.
        allow_upsample: serve sizes larger than every level of a cache too, by enlarging.
        threads: how many images, or parts of a batch, are made at once (from a cache, one of them on the caller's
            thread while it waits).
        prefetch: how many batches are made ahead of the one in use; where batches are small, how many handfuls of
            them, since those of one task (up to 8 MB) are made together. More where threads would have no task else.
        drop_last: leave out the images that do not fill a last batch.
        rank, world: which process this is, of how many; each is served its part of every step, as long as any other's:
            a last step that is kept and cannot be shared evenly ends in padding (`Batch.valid` False). When None,
            torch.distributed or the environment of torchrun or srun says so, when the first batch is asked for.
        pipeline: with a Catalog, the recipe; its sizes do not matter here.
        decode: with a Catalog, "cpu", or "dali": NVIDIA DALI decodes JPEG, JPEG 2000 and HTJ2K, also inside DICOM, on
            `device`, where films are then resized too.

    Raises:
        ArgumentError: for contradicting or impossible arguments. While iterating: CorruptCacheError, DecodeError; and
            ForkedError, in a forked process, of an iteration that began before the fork.
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
        transform: Transform | None = None,
        batch_transform: Callable[[Batch], Any] | None = None,
        resident: bool = False,
        threads: int | None = None,
        prefetch: int = 2,
        drop_last: bool = False,
        allow_upsample: bool = False,
        rank: int | None = None,
        world: int | None = None,
        pipeline: Pipeline | None = None,
        decode: str = "cpu",
    ) -> None:
        device = usable_device(device)
        self.reader = loaders_reader(
            data,
            device,
            dtype,
            pipeline=pipeline,
            decode=decode,
            threads=threads,
            allow_upsample=allow_upsample,
            resident=resident,
            detail=detail,
            transform=transform,
        )
        if isinstance(self.reader, ResidentReader):
            weakref.finalize(self, self.reader.holds.release).atexit = False  # a driver that shuts down is not asked
        self._threads = thread_count(threads) + getattr(self.reader, "waiting", 0)
        self._prefetch = at_least(prefetch, "prefetch")
        self.sampler = sampler_of(
            self.reader,
            sampler,
            size=size,
            batch_size=batch_size,
            split=split,
            rows=rows,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            rank=rank,
            world=world,
        )
        self._sizes = [self.reader.checked_size(size) for size in planned_sizes(self.sampler)]
        self.normalization = self._statistics(normalize)
        self._maker = Maker(
            self.reader,
            self.sampler,
            dtype=dtype,
            channels=channels,
            normalization=self.normalization,
            device=device,
            columns=columns,
            masks=masks,
            boxes=boxes,
            transform=transform,
        )
        self._batch_transform = batch_transform
        self.mask_names, self.box_names = self._maker.mask_names, self._maker.box_names
        self._cursor = Cursor()
        self._running: weakref.WeakSet[_Run] = weakref.WeakSet()

    def _statistics(self, normalize: str | tuple[Any, Any] | None) -> tuple[Any, Any] | None:
        if normalize is None or isinstance(normalize, tuple):
            return normalize
        if normalize != "dataset":
            raise ArgumentError(f'normalize must be None, "dataset" or (mean, std); found {normalize!r}')
        table = self.reader.table
        train = "split" in table and bool((table["split"] == "train").any())
        rows = self.reader.rows(split="train") if train else self.sampler.rows
        size = self.reader.checked_size(self.sampler.sizes.at(0, epoch=0))
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
        recipe = recipe_of(self.reader if arms is None else arms.inner, "Loader.pipeline")
        size = self.reader.checked_size(self.sampler.sizes.at(0, epoch=0))
        level, rmse = self.reader.served(size)
        mean, std = self.normalization or (None, None)
        model = ModelInput(
            size=size,
            dtype=str(self._maker.scaling.dtype).removeprefix("torch."),
            channels=self._maker.scaling.channels,
            mean=mean,
            std=std,
            detail=None if arms is None else arms.detail,
            level=level,
            expected_rmse=rmse,
            decoders=decoders_of(self.reader, self.sampler.rows),
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
        at = said_aloud(self.sampler.place(), stacklevel=4)
        epoch, start = self._cursor.begin()
        steps = len(self.sampler)
        helping = self._threads > 1 and self._caller_works()
        workers = ThreadPool(self._threads - helping)
        pending: deque[Order] = deque()
        parts = partial(self.sampler.parts, epoch, start=start, at=at)
        plan = telling(parts(), self.reader)
        try:
            with swept(self.reader, self.sampler.rows, self._sizes), expected(parts, self.reader) as read:
                for some in self._maker.together(plan):
                    pending.append(self._begun(some, workers))
                    while len(pending) > self._prefetch and self._all_at_work(pending):
                        yield from self._taken(pending, helping, steps, read)
                while pending:
                    yield from self._taken(pending, helping, steps, read)
        finally:
            workers.end()

    def _all_at_work(self, pending: deque[Order]) -> bool:
        """Whether there is a task for each thread: many threads need more batches ahead than were asked for where one
        batch is one task.
        """
        return not pending[-1].tasks or sum(len(order.tasks) for order in pending) >= self._threads

    def _caller_works(self) -> bool:
        """Whether the caller's thread makes images too: unless every step of the plan has a task for each image.

        Decided once for a plan, which may mix sizes of all kinds: its place is then left free among the threads, so
        that never more of them are at work than were asked for.
        """
        together = [self._sizes] if scales_of(self.sampler.sizes) else [[size] for size in self._sizes]
        return any(self._maker.grain(some) != 1 for some in together)

    def _begun(self, some: list[Step], workers: ThreadPool) -> Order:
        """Submit the tasks of one order."""
        order, worth = self._maker.order(some)
        if worth:
            order.tasks = [workers.submit(work) for work in order.work]
        return order

    def _taken(self, pending: deque[Order], helping: bool, steps: int, read: Callable[[int], None]) -> Iterator[Batch]:
        """Wait for the first order's tasks, or help, and hand its batches over; the position moves past each, of so
        many steps. read: is told how many steps' films were read.
        """
        if helping:
            _help(pending)
        order = pending.popleft()
        try:
            _finish(order)
        except Exception:
            if len(order.steps) == 1:
                raise
            for step in order.steps:  # each alone, so that all before the failing one are handed over
                pending.appendleft(self._maker.order([step])[0])
                yield from self._taken(pending, False, steps, read)
            return
        read(len(order.steps))
        if self._maker.crosses:
            self._sent_ahead(order, pending)
        for k, step in enumerate(order.steps):
            given = self._given(order, k)
            self._cursor.passed(step.epoch, step.number, steps)
            yield given
            del given  # the caller alone holds it then: once it lets go, its memory is used again
            self._maker.handed()

    def _sent_ahead(self, order: Order, pending: deque[Order]) -> None:
        """Begin to copy this order to the loader's device, and the next one where it is made."""
        self._maker.send(order)
        if pending and pending[0].tasks and all(task.done() and not task.exception() for task in pending[0].tasks):
            self._maker.send(pending[0])

    def _given(self, order: Order, k: int) -> Any:
        """Batch k of an order, as the loop gets it."""
        batch = self._maker.batch(order, k)
        if self._batch_transform is None:
            return batch
        found = self._batch_transform(batch)
        if found is None:
            raise ArgumentError("batch_transform= must return what the loop is to get, for example its batch")
        return found

    # -- position --

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch next. A position that was loaded, or is already there, is kept."""
        self._cursor.set_epoch(epoch)

    @property
    def batch_sampler(self) -> Cursor:
        """Where frameworks look for `.sampler.set_epoch` (Lightning) or `.set_epoch`: the loader's position.

        `Loader.sampler` is the plan, with a position of its own.
        """
        return self._cursor

    def state_dict(self) -> dict[str, Any]:
        """The caller's position (not the prefetcher's): a few plain values, for JSON or torch.save."""
        return self.sampler.state_at(self._cursor, self._fingerprint())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after the batch that was the last one when `state_dict` was taken.

        Raises StateError when this loader's plan or data is another one.
        """
        self.sampler.load_state_at(self._cursor, state, self._fingerprint())

    def _fingerprint(self) -> str:
        return f"{self.sampler.fingerprint()}-{self.reader.digest()}"

    # -- the end --

    def close(self) -> None:
        """End every iteration that is under way, and its threads. The loader can be iterated again.

        With `resident=True` let go of what it keeps on its device too: the last of the loaders that share it waits for
        the device and gives the memory back to the driver. Iterating again fills it anew.
        """
        for run in list(self._running):
            run.close()
        if isinstance(self.reader, ResidentReader):
            self.reader.holds.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Run:
    """One iteration: a generator that the loader can close. Of a forked process none of it is left but to refuse."""

    def __init__(self, loader: Loader) -> None:
        self._batches = loader._batches()
        self._process = os.getpid()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if forks.elsewhere(self._process):
            raise ForkedError(
                f"this iteration began in process {self._process}, whose threads make its batches; they do not exist "
                f"in the forked process {os.getpid()}: begin another one here (`for batch in loader`)"
            )
        return next(self._batches)

    def close(self) -> None:
        if not forks.elsewhere(self._process):
            self._batches.close()  # type: ignore[attr-defined]  # it is a generator


def _finish(order: Order) -> None:
    """Wait for the order's tasks, and do what was given to no thread. Raises what went wrong."""
    try:
        for task in order.tasks:
            task.result()
        for work in order.work[len(order.tasks) :]:
            work()
    finally:
        order.work.clear()  # which refers to the order: without a circle its memory is free at once


def _help(pending: deque[Order]) -> None:
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
