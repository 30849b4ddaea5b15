"""What a loader is asked for: arguments checked against the data, and turned into what loading needs."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from resload.boxes import Boxes
from resload.catalog import Catalog
from resload.errors import ArgumentError
from resload.masks.inside import thresholded
from resload.pipeline import Pipeline
from resload.pipeline.model_input import decoders_here
from resload.readers import CacheReader, DetailReader, Reader, ResidentReader, SourceReader
from resload.samplers import Fixed, Images, Sampler, Scales, Sequential, Shuffle
from resload.samplers.columns import ids_digest
from resload.samplers.sizes import at_least, declared, scales_of
from resload.size import Size, SizeLike, as_size
from resload.store.cache import Cache


def sizes_of(reader: Reader, size: Any) -> Fixed | Scales:
    """One size, or a list of them."""
    if not isinstance(size, list):
        return Fixed(reader.checked_size(size))
    return Scales(*(reader.checked_size(one) for one in size))


def sampler_of(
    reader: Reader,
    sampler: Sampler | None,
    *,
    size: Any,
    batch_size: int | None,
    split: str | None,
    rows: Any,
    shuffle: bool,
    seed: int,
    drop_last: bool,
    rank: int | None,
    world: int | None,
) -> Sampler:
    """The sampler given, which must be one for this data; else the one that the other arguments mean.

    Raises ArgumentError or SizeError for arguments that contradict each other or that the data cannot serve.
    """
    if sampler is not None:
        refuse_beside_sampler(
            size=size,
            batch_size=batch_size,
            split=split,
            rows=rows,
            shuffle=shuffle or None,
            seed=seed or None,
            drop_last=drop_last or None,
            rank=rank,
            world=world,
        )
        refuse_unservable(sampler, reader)
        return sampler
    chosen = chosen_rows(reader, split, rows)
    if size is None or batch_size is None:
        raise ArgumentError("a Loader needs size= and batch_size=, or a sampler=")
    return Sampler(
        reader,
        rows=chosen,
        order=Shuffle() if shuffle else Sequential(),
        sizes=sizes_of(reader, size),
        budget=Images(at_least(batch_size, "batch_size"), per_process=True),
        seed=seed,
        tail="drop" if drop_last else "exact",
        rank=rank,
        world=world,
    )


def recipe_of(reader: Reader, wanted: str) -> Pipeline:
    """A reader's recipe. Raises ArgumentError, naming what wanted it, for a reader without one."""
    found = getattr(reader, "pipeline", None)
    if not isinstance(found, Pipeline):
        raise ArgumentError(f"{wanted} needs data with a pipeline: a Cache, or a Catalog with pipeline=")
    return found


def decoders_of(reader: Reader, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """What decoded these films: a cache's table tells; files are decoded here, unless the reader says otherwise."""
    if "decoder" not in reader.table:
        return (*decoders_here(), *getattr(reader, "decoders", ()))
    return tuple(sorted(set(reader.table["decoder"].iloc[rows].dropna()) - {""}))


def boxes_of(reader: Reader, boxes: bool | float) -> Boxes:
    """The reader's boxes, with the least share of one that must be seen."""
    return Boxes(reader.boxes, reader.table["id"], least=0.0 if boxes is True else boxes)


def mask_rule(reader: Reader, masks: bool | str | float) -> bool | str | float | None:
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
    decode: str = "cpu",
    device: str | torch.device = "cpu",
) -> Reader:
    """Whatever people load from, as a reader. Raises ArgumentError for anything else, and for a missing pipeline."""
    if isinstance(data, Catalog):
        if pipeline is None:
            raise ArgumentError("a Catalog needs pipeline=, for example pipeline=resload.Pipeline(256)")
        return SourceReader(data, pipeline, threads=threads, decode=decode, device="cpu" if decode == "cpu" else device)
    if pipeline is not None or decode != "cpu":
        raise ArgumentError("pipeline= and decode= go with a Catalog; a cache knows its own, and holds decoded films")
    if isinstance(data, Cache):
        return CacheReader(data, allow_upsample=allow_upsample)
    if not hasattr(data, "fill"):
        raise ArgumentError(f"data must be a Cache, a Catalog or a Reader; found {type(data).__name__}")
    return data


def resident_reader(
    data: object,
    device: torch.device,
    dtype: torch.dtype,
    *,
    allow_upsample: bool,
    pipeline: object,
    decode: str,
    detail: object,
    transform: object,
) -> ResidentReader:
    """A cache's reader whose levels stay on a device. Raises ArgumentError for what cannot be kept there."""
    if not isinstance(data, Cache) or pipeline is not None or decode != "cpu":
        raise ArgumentError(
            f"resident=True keeps a cache's levels on the device; found {type(data).__name__}: resload.build makes a "
            "cache of a Catalog, without pipeline= and decode= here"
        )
    if device.type == "cpu":
        raise ArgumentError(
            "resident=True keeps levels in the memory of a device, and device= is the CPU: open_cache(path, "
            'access="memory") keeps them in this process\'s'
        )
    if detail is not None:
        raise ArgumentError("resident=True keeps levels as they are stored; found detail=, which is made of them anew")
    if transform is not None:
        raise ArgumentError(
            "resident=True keeps images where transform= cannot see them: use batch_transform=, on the device"
        )
    return ResidentReader(data, device, dtype=dtype, allow_upsample=allow_upsample)


def loaders_reader(
    data: Cache | Catalog | Reader,
    device: torch.device,
    dtype: torch.dtype,
    *,
    pipeline: Pipeline | None,
    decode: str,
    threads: int | None,
    allow_upsample: bool,
    resident: bool,
    detail: SizeLike | None,
    transform: object,
) -> Reader:
    """What a loader reads from, as its arguments say. Raises ArgumentError for what does not go together."""
    if resident:
        return resident_reader(
            data,
            device,
            dtype,
            allow_upsample=allow_upsample,
            pipeline=pipeline,
            decode=decode,
            detail=detail,
            transform=transform,
        )
    reader = reader_of(data, pipeline, threads, allow_upsample=allow_upsample, decode=decode, device=device)
    return reader if detail is None else DetailReader(reader, detail, recipe_of(reader, "detail="))


def chosen_rows(reader: Reader, split: str | None, rows: Any) -> NDArray[np.int64]:
    """Readable rows of a split, or the rows named. Raises ArgumentError for others."""
    readable = reader.rows(split=split)
    if rows is not None:
        if split is not None:
            raise ArgumentError("pass split= or rows=, not both")
        chosen = np.asarray(rows)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iufO" or not np.isin(chosen, readable).all():
            raise ArgumentError(f"rows must be readable row numbers below {len(reader)} (see cache.rows())")
        return chosen.astype(np.int64)
    if readable.size == 0:
        raise ArgumentError("there is no readable radiograph here")
    return readable


def refuse_beside_sampler(**arguments: Any) -> None:
    """Raise ArgumentError for arguments that a sampler decides."""
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        raise ArgumentError(f"sampler= decides {', '.join(given)}: set them there")


def refuse_unservable(sampler: Sampler, reader: Reader) -> None:
    """Raise ArgumentError or SizeError for a sampler of other data, rows or sizes than the reader can serve."""
    if sampler.n != len(reader):
        raise ArgumentError(f"the sampler was made for {sampler.n} rows, the data has {len(reader)}")
    if sampler.data_digest not in (None, ids_digest(reader.table["id"])):
        raise ArgumentError("the sampler was made for another selection of radiographs: make it of this data")
    bad = np.setdiff1d(sampler.rows, reader.rows())
    if bad.size:
        raise ArgumentError(
            f"{bad.size} of the sampler's rows cannot be read (first: row {bad[0]}); make it with rows=cache.rows()"
        )
    for size in planned_sizes(sampler):
        reader.checked_size(size)


_LOOKED_AT = 64
"""Steps of an epoch whose sizes are asked for beforehand, of a rule that declares none."""


def planned_sizes(sampler: Sampler) -> list[Size]:
    """Sizes that a plan will ask for, each once: those that its rule declares, or those of its first steps."""
    rule, steps = sampler.sizes, range(min(_LOOKED_AT, len(sampler)))
    if getattr(rule, "sizes", ()):
        return list(declared(rule))
    epochs = range(max(1, getattr(rule, "epochs", 1)))
    seen = [as_size(rule.at(step, epoch=epoch)) for epoch in epochs for step in steps]
    return list(dict.fromkeys([*scales_of(rule), *seen]))


def hidden_targets(reader: Reader, sampler: Sampler) -> Callable[[Size], NDArray[np.bool_] | None]:
    """Which targets a batch of some size does not know, (T,) bool; None for a rule that does not say.

    A size rule says it with `targets_at(size)`, the names of those it does know. Raises ArgumentError for names that
    are no targets of the data.
    """
    told = getattr(sampler.sizes, "targets_at", None)
    if told is None:
        return lambda size: None

    @cache
    def hidden(size: Size) -> NDArray[np.bool_]:
        known = frozenset(told(size))
        if wrong := sorted(known.difference(reader.targets)):
            raise ArgumentError(
                f"sizes= names targets that this data does not have: {wrong} at {size}; there are "
                f"{list(reader.targets)}"
            )
        return np.array([name not in known for name in reader.targets], bool)

    for size in planned_sizes(sampler):
        hidden(size)
    return hidden


def known_columns(columns: Sequence[str], reader: Reader) -> dict[str, NDArray[np.object_]]:
    """Columns of the table by name, as Python values. Raises ArgumentError for others."""
    missing = [name for name in columns if name not in reader.table]
    if missing:
        raise ArgumentError(f"columns={missing}: not in the table, which has {list(reader.table.columns)}")
    return {name: as_objects(reader.table[name]) for name in columns}


def as_objects(values: "pd.Series[Any]") -> NDArray[np.object_]:
    """A column as Python's own values, which indexing an array of objects hands out fastest."""
    found = np.empty(len(values), object)
    found[:] = values.tolist()
    return found


def targets_of(reader: Reader) -> NDArray[np.float32]:
    """The targets, float32 (N, T), C-contiguous; NaN where unknown."""
    if not reader.targets:
        return np.empty((len(reader), 0), np.float32)
    frame = reader.table[list(reader.targets)]
    return np.ascontiguousarray(frame.to_numpy(np.float32, na_value=np.nan))
