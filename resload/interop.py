"""resload inside other people's loops: a map-style data set for any torch DataLoader, and what frameworks need.

`Loader` is no torch DataLoader, so that frameworks take it as it is; it finds its process's part by itself.

plain DDP     Loader, once init_process_group has been called. DistributedDataParallel averages over processes: equal
              parts, which training always has, give the gradient of the whole step
Lightning     Trainer.fit(model, Loader(...)): it says which epoch, and keeps the position in its checkpoints. A
              DataLoader(torch_dataset(...), batch_sampler=Sampler(...)) needs Trainer(use_distributed_sampler=False)
Accelerate    Loader(device=accelerator.device); register_for_checkpointing(loader) keeps the position. `prepare` deals
              the batches of a DataLoader out itself: give that `sampler.interleaved(accelerator.num_processes)`
torchdata     StatefulDataLoader(torch_dataset(...), batch_sampler=Sampler(...)): its state holds the sampler's
HF Trainer    override get_train_dataloader to return the Loader, set ignore_data_skip=True, and pass
              callbacks=[saved_with_trainer(loader)]
Composer      DataSpec(Loader(device=...), get_num_samples_in_batch=len, split_batch=lambda batch, size: [batch]). Its
              demand for a DistributedSampler is for DataLoaders alone (composer/core/data_spec.py). It resumes by
              beginning each past epoch once and reading past the batches of the last (composer/trainer/trainer.py,
              _spin_dataloaders): a new Loader is then in its place, so load no position
"""

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from resload import augment, padding
from resload.asked import reader_of
from resload.augment import Adapter, Asked, applied, globally_seeded, undisturbed
from resload.catalog import Catalog
from resload.convert import Converter, Detour
from resload.errors import ArgumentError, StateError
from resload.geometry import Geometry
from resload.geometry.placing import PLACES
from resload.loader import Loader
from resload.pipeline import Pipeline
from resload.readers import Reader
from resload.samplers import Key
from resload.samplers.keys import PADDING
from resload.size import Native, Size, SizeLike
from resload.store.cache import Cache
from resload.store.slot import Slot

Sample = tuple[Any, torch.Tensor]


class RadiographDataset(torch.utils.data.Dataset[Sample]):
    """Made by `torch_dataset`. `len`, `dataset[i]`, and `dataset.__getitems__([...])` for whole batches at once.

    Indices are ints (places in the data set) or `samplers.Key`s (rows of the reader, with their own size), so a
    `samplers.Sampler` works as a DataLoader's batch_sampler. A key's row must be one of the split's; a key of padding
    is an image of zeros whose targets are NaN. Pickles to worker processes as the cache's path.
    """

    def __init__(
        self,
        reader: Reader,
        size: Size,
        rows: "np.ndarray[Any, np.dtype[np.int64]]",
        dtype: torch.dtype,
        transform: Callable[[torch.Tensor], Any] | Adapter | None,
    ) -> None:
        self.reader, self.size, self.rows, self._dtype = reader, size, rows, dtype
        self.transform: Any = transform
        self._converter = Converter(reader.dtype, dtype, 1, None)
        self._detour = None
        if isinstance(transform, Adapter):
            takes = transform.takes(Asked(reader.dtype, [size], reader.targets))
            self._detour = Detour(reader.dtype, takes, dtype, 1, None)
        frame = reader.table[list(reader.targets)]
        self._own = frozenset(rows.tolist())
        self._targets = torch.from_numpy(np.array(frame.to_numpy(np.float32, na_value=np.nan)))
        self._unknown = torch.full((self._targets.shape[1],), torch.nan, dtype=torch.float32, device="cpu")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: "int | Key") -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: "Sequence[int | Key]") -> list[Sample]:
        sizes = {index.size if isinstance(index, Key) else self.size for index in indices}
        if len(sizes) > 1:
            raise ArgumentError(
                f"one batch has one size; found keys of {sorted(str(size) for size in sizes)}. Several sizes at once "
                "are what resload.Loader serves (Batch.scales)"
            )
        rows = np.array([self._row(index) for index in indices], np.int64)
        size = self.reader.checked_size(sizes.pop()) if sizes else self.size
        if self._detour is not None:
            return self._adapted(indices, rows, size, self._detour)
        images = self._images(rows, size)
        return [
            (self._transformed(image, index), self._targets[row] if row >= 0 else self._unknown)
            for image, index, row in zip(images, indices, rows.tolist(), strict=True)
        ]

    def _adapted(
        self, indices: "Sequence[int | Key]", rows: NDArray[np.int64], size: Size, detour: Detour
    ) -> list[Sample]:
        """Images and targets as an adapter leaves them."""
        stored = self._stored(rows, size)
        given = np.empty((len(rows), 1, *stored.shape[1:]), detour.given.made)
        detour.given.run(stored, given)
        targets = [self._targets[row].clone() if row >= 0 else self._unknown for row in rows.tolist()]
        with undisturbed():
            for i, index in enumerate(indices):
                if rows[i] >= 0:
                    sample = self._sample(torch.from_numpy(given[i]), targets[i], int(rows[i]), index, size)
                    applied(self.transform, sample)
        out = np.empty(given.shape, detour.received.made)
        detour.received.run(given[:, 0], out)
        out[rows < 0] = 0
        return list(zip(detour.received.finished(torch.from_numpy(out)), targets, strict=True))

    def _sample(
        self, image: torch.Tensor, targets: torch.Tensor, row: int, index: "int | Key", size: Size
    ) -> augment.Sample:
        """One film as a transform sees it; an int's draw is of the worker's own generator."""
        draw = index.draw if isinstance(index, Key) else int(torch.randint(1 << 62, ()))
        height, width = image.shape[1:]
        return augment.Sample(
            image,
            targets,
            row,
            str(self.reader.table["id"].iloc[row]),
            Size(height, width),
            math.nan,
            draw,
            target_names=self.reader.targets,
            placed=lambda: Geometry(Size(height, width), self.reader.facts(np.array([row]), size)[:, PLACES.start :]),
        )

    def _stored(self, rows: NDArray[np.int64], size: Size) -> NDArray[Any]:
        """(n, H, W) of these rows as stored; zeros where there is no film."""
        valid = padding.films(rows)
        if isinstance(size, Native):
            size = self.reader.native_size(rows if valid is None else rows[valid])
        slot = Slot(np.empty((len(rows), *size), self.reader.dtype))
        if valid is None:
            self.reader.fill(slot, rows, size, 0)
        else:
            slot.out[~valid] = 0
            for first, last in padding.runs(valid):
                self.reader.fill(slot, rows[first:last], size, first)
        return slot.out

    def _images(self, rows: NDArray[np.int64], size: Size) -> torch.Tensor:
        """(n, 1, H, W) of these rows; zeros where there is no film."""
        stored = self._stored(rows, size)
        shape = (len(rows), 1, *stored.shape[1:])
        if self._converter.in_place:
            return torch.from_numpy(stored.reshape(shape))
        out = np.empty(shape, self._converter.stored)
        self._converter.run(stored, out)
        return self._converter.finished(torch.from_numpy(out))

    def _transformed(self, image: torch.Tensor, index: "int | Key") -> Any:
        if self.transform is None:
            return image
        if not isinstance(index, Key):
            return self.transform(image)
        with globally_seeded(index.draw):
            found = self.transform(image)
        padded = index.index == PADDING and isinstance(found, torch.Tensor)
        return torch.zeros_like(found) if padded else found  # of the shape that others of the batch have

    def _row(self, index: "int | Key") -> int:
        if isinstance(index, Key):
            if index.region is not None:
                raise ArgumentError(f"{index}: a data set serves whole films; read parts with Cache.read(region=)")
            if index.index != PADDING and index.index not in self._own:
                raise ArgumentError(
                    f"{index}: row {index.index} is none that this data set serves: it cannot be read, or is of "
                    "another split; make the sampler with rows=data.rows(split=...)"
                )
            return index.index
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} in a data set of {len(self)}")  # what iteration over it relies on
        return int(self.rows[index])

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_converter", "_own")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._converter = Converter(self.reader.dtype, self._dtype, 1, None)
        self._own = frozenset(self.rows.tolist())


def torch_dataset(
    data: Cache | Catalog | Reader,
    *,
    size: SizeLike,
    split: str | None = None,
    dtype: torch.dtype = torch.float32,
    transform: Callable[[torch.Tensor], Any] | Adapter | None = None,
    pipeline: Pipeline | None = None,
) -> RadiographDataset:
    """A plain map-style data set of (image (1, H, W), targets (T,) float32) for any torch DataLoader.

    For those whose Python transforms need worker processes; `Loader` needs none.

    Args:
        data: a Cache, a Catalog with `pipeline=`, or any Reader.
        size: one, as for Loader; "native": one film as it is, and a batch that a DataLoader fetches padded with zeros.
        split: which rows; keys of others are refused, so that a sampler of all films never serves another split's.
        dtype: as for Loader.
        transform: called with each image tensor, in the DataLoader's worker; or an adapter, such as
            `augment.Albumentations(compose)`, which is given a sample of image and targets instead, without masks and
            boxes (its progress is NaN), and draws from the key's draw, or for ints from one of torch's generator. For a
            `samplers.Key` the generators of torch (CPU), numpy and random are seeded with the key's draw while a
            transform of tensors runs, and put back after: what it draws is the same whichever worker handles the
            image. For ints they are left alone.
        pipeline: how a Catalog's files become pixels.
    """
    reader = reader_of(data, pipeline)
    return RadiographDataset(reader, reader.checked_size(size), reader.rows(split=split), dtype, transform)


def all_gathered(rows: ArrayLike, values: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The rows (n,) and values (n,) of all processes, joined in rank order: what they must agree on, as before
    `samplers.Weighted.update`. Without a process group: those given.

    Arrays or tensors on any device; each process may have another n, also 0. Padding (row -1) is left out. A collective
    call: every process must make it. Returns new arrays. Raises ArgumentError where rows and values do not pair up; so
    do the other processes, then, with an error of torch.distributed.
    """
    own = np.asarray(_on_cpu(rows), np.int64), np.asarray(_on_cpu(values), np.float32)
    if own[0].ndim != 1 or own[0].shape != own[1].shape:
        raise ArgumentError(f"rows and values must be (n,) each; found shapes {own[0].shape} and {own[1].shape}")
    parts: list[Any] = [own]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, own)
    joined, weights = (np.concatenate(some) for some in zip(*parts, strict=True))
    return joined[joined >= 0], weights[joined >= 0]


def _on_cpu(values: Any) -> Any:
    return values.detach().cpu() if isinstance(values, torch.Tensor) else values


def saved_with_trainer(loader: Loader) -> Any:
    """A callback for Hugging Face's Trainer that keeps the loader's position in its checkpoints.

    Pass it in `callbacks=`, have `get_train_dataloader` return the loader, and set `ignore_data_skip=True`: the Trainer
    would skip batches by taking a DataLoader apart. The position is written to trainer_state.json, and loaded when
    training begins from a checkpoint. `gradient_accumulation_steps` must divide `len(loader)` for the last batches of
    an epoch that was resumed to count: the Trainer counts an epoch's batches from where it resumes.

    Needs transformers (ImportError). Raises StateError, as training begins, for a checkpoint of another plan or
    without a position.
    """
    ours: Any = importlib.import_module("transformers.trainer_callback")

    class LoaderPosition(ours.TrainerCallback, ours.ExportableState):  # type: ignore[misc]  # of an untyped import
        """Saved by its class's name, as the Trainer does with callbacks that have a state."""

        def state(self) -> dict[str, Any]:
            return {"args": {}, "attributes": {"position": loader.state_dict()}}

        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step == 0:
                return
            saved = state.stateful_callbacks.get(type(self).__name__)
            if saved is None:
                raise StateError("this checkpoint was saved without saved_with_trainer(loader): it keeps no position")
            loader.load_state_dict(saved["attributes"]["position"])

    return LoaderPosition()
