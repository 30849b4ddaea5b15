"""What to do about it: one rule for each cause, from numbers to a sentence. Nothing is measured here.

model        nothing to do; or model and loader share the cores, and that is what costs
storage      a local copy, or patience for one epoch, by whether everything fits in memory
steps        each step of the loader that takes a large part of its time has its remedy
threads      more of them where they pay and are wanted; a word where they do not
"""

from collections.abc import Callable

from resload.bench.found import (
    CHECKSUM,
    COLD,
    CONVERT,
    COPY,
    DECODE,
    DECOMPRESS,
    DEVICE,
    DEVICE_RESIZE,
    MEMORY,
    MODEL,
    OTHER,
    RESIZE,
    THREADS,
    WARM,
    Found,
    bottleneck,
    lane_sum,
    scaling,
    shares,
    stays_in_memory,
    storage_limits,
)
from resload.wording import megabytes

LARGE = 0.25
"""Share of the loader's time from which a step is worth a sentence, beside the largest one."""
TOGETHER = 0.85
"""Loader and model in one loop reach at least this share of the slower of them, or they are in each other's way."""
PAYS, BARELY = 0.7, 0.6
"""Of the speed that so many threads could have: from here on more of them pay; below it they hardly do."""

Rule = Callable[[Found], str | None]


def advice(found: Found) -> list[str]:
    """Sentences, the most useful first. Where the model is the bottleneck, nothing about the loader's own steps."""
    rules = (
        (model, competing, storage) if bottleneck(found) == MODEL else (storage, competing, *STEPS, threads, software)
    )
    said = [rule(found) for rule in rules]
    return [sentence for sentence in said if sentence is not None]


# -- the model --


def model(found: Found) -> str | None:
    """The model is the bottleneck: nothing has to be done."""
    if found.need is None or bottleneck(found) != MODEL:
        return None
    return f"nothing: the model is the bottleneck; the loader is {found.loader.median / found.need:.2g} times as fast"


def competing(found: Found) -> str | None:
    """Loader and model in one loop are slower than the slower of them alone: they work on the same cores."""
    if found.model is None or found.together is None:
        return None
    apart, both = (found.model.median, found.loader.median), found.together.median
    if both >= TOGETHER * min(apart):
        return None
    what = f"in one loop they reach {both:,.0f} images/s, and each alone at least {min(apart):,.0f}"
    if found.device != "cpu":
        return f"{what}: the calling thread does both; larger batches, or less Python in the step, leave it more time"
    in_turn = 1 / sum(1 / rate for rate in apart)
    if both >= TOGETHER * in_turn:
        return f"{what}: both work on the same {found.cores} cores, so what either saves is gained"
    return (
        f"{what}, or {in_turn:,.0f} if they took turns: they are in each other's way on {found.cores} cores; fewer "
        "threads for each (torch.set_num_threads, --threads) may do more"
    )


# -- storage --


def storage(found: Found) -> str | None:
    """Reading without the page cache is slower than what is wanted."""
    cold = found.stage(COLD)
    if cold is None or not storage_limits(found):
        return None
    slow = f"from storage come {cold.rate.median:,.0f} images/s ({cold.megabytes:,.0f} MB/s)"
    size = "" if found.level_bytes is None else f" ({megabytes(int(found.level_bytes))})"
    if stays_in_memory(found):
        return f"{slow}: the first epoch waits for it; what it reads{size} then fits in the memory that is free"
    remedy = "copy the cache to a local disk" if found.kind == "cache" else "build a cache, or copy the films here"
    return f"{slow}, and all of it{size} is not known to fit in free memory: {remedy}, or load a smaller size"


# -- the loader's steps --


def _matters(found: Found, *names: str) -> bool:
    """Whether the steps of these names are where the loader's time goes: the bottleneck, or a large part."""
    parts = shares(found)
    own = sum(parts.get(name, 0.0) for name in names)
    return bottleneck(found) in names or own >= LARGE


def _threads_lane(found: Found, name: str) -> bool:
    stage = found.stage(name)
    return stage is not None and stage.lane == THREADS and _matters(found, name)


def decoding(found: Found) -> str | None:
    """Films are decoded again in every epoch."""
    if not _threads_lane(found, DECODE):
        return None
    return (
        f"decoding is {_share(found, DECODE)} of the loader's time, in every epoch: build a cache once "
        f"(resload build {found.source} films.zarr --sizes {_plain(found.size)}) and load from it"
    )


def decompressing(found: Found) -> str | None:
    """The size is made from the films at their own size."""
    if not _threads_lane(found, DECOMPRESS):
        return None
    return f"decompressing films is {_share(found, DECOMPRESS)} of the loader's time: {_add(found)}"


def resizing(found: Found) -> str | None:
    """The size is not stored."""
    name = RESIZE if found.stage(RESIZE) is not None else DEVICE_RESIZE
    if found.stage(name) is None or not _matters(found, name) or decompressing(found) is not None:
        return None  # the same remedy is said once
    share = f"the resize from {found.level or 'the films'} is {_share(found, name)} of the loader's time"
    if found.kind == "films":
        return f"{share}: a cache stores the resized images (resload build {found.source} films.zarr " + (
            f"--sizes {_plain(found.size)})"
        )
    return f"{share}: {_add(found)}"


def _add(found: Found) -> str:
    return f"add this size to the cache (resload build SOURCE {found.source} --sizes {_plain(found.size)})"


def converting(found: Found) -> str | None:
    """Floats are written on the CPU: four bytes for each that is stored."""
    if not _threads_lane(found, CONVERT):
        return None
    share = f"writing {found.dtype} is {_share(found, CONVERT)} of the loader's time"
    copies = f", of {found.channels} channels alike" if found.channels > 1 else ""
    remedy = f"ask for what is stored (--dtype {found.stored}, channels=1) and make floats on the device"
    return f"{share}{copies}: {remedy}, where device='cuda' does it by itself, or in the model's first step"


def copying(found: Found) -> str | None:
    """The way to the device, or the arithmetic there, is the busier lane."""
    stage = found.stage(COPY)
    if stage is None or not _matters(found, COPY) or lane_sum(found, DEVICE) <= lane_sum(found, THREADS):
        return None
    fits = "" if found.level_bytes is None else f" ({megabytes(int(found.level_bytes))} in all)"
    return (
        f"the copy to {found.device} is {_share(found, COPY)} of the loader's time, at {stage.megabytes:,.0f} MB/s: "
        f"load a smaller level, or keep a cache's images on the device (resident=True) where they fit{fits}"
    )


def reading(found: Found) -> str | None:
    """Copies from the page cache or from memory, one call for each record."""
    name = MEMORY if found.stage(MEMORY) is not None else WARM
    if found.kind != "cache" or not _threads_lane(found, name):
        return None
    share = f"copying records that are in memory is {_share(found, name)} of the loader's time"
    deep = ", a cache of 8 bit (build --dtype uint8)" if found.stored == "uint16" else ""
    kept = "" if name != WARM else f", or open_cache(path, access='memory') where {_all(found)}fits in memory"
    return f"{share}: fewer bytes help, a smaller size{deep}{kept}"


def _all(found: Found) -> str:
    return "it " if found.level_bytes is None else f"all of it ({megabytes(int(found.level_bytes))}) "


def summing(found: Found) -> str | None:
    """Checksums are a large part; they stay."""
    if not _threads_lane(found, CHECKSUM):
        return None
    return f"checksums are {_share(found, CHECKSUM)} of the loader's time, and what no wrong pixel costs: they stay on"


def others(found: Found) -> str | None:
    """No step explains the time: small images, whose batches cost more than their pixels."""
    if not _matters(found, OTHER):
        return None
    return (
        f"{_share(found, OTHER)} of the loader's time is in no step: making batches, handing them over, waiting; "
        f"larger batches than {found.batch_size} cost less for each image"
    )


STEPS: tuple[Rule, ...] = (decoding, decompressing, resizing, converting, copying, reading, summing, others)
"""The steps' rules, in the order in which they are said."""


# -- threads --


def threads(found: Found) -> str | None:
    """More threads where they pay and are wanted; a word where they do not pay."""
    times = scaling(found)
    if times is None or bottleneck(found) in (MODEL, COLD):
        return None
    share = times / found.threads
    if share < BARELY:
        return f"{found.threads} threads are only {times:.2g} times as fast as one: more of them will not help"
    if share < PAYS:
        return None
    told = f"{found.threads} threads are {times:.2g} times as fast as one"
    if found.threads < found.cores:
        return f"{told}: use more of the {found.cores} cores (--threads {found.cores})"
    starved = found.need is not None and found.loader.median < found.need
    return f"{told}, and all {found.cores} cores are in use: more cores would help" if starved else None


def software(found: Found) -> str | None:
    """crc32c without the processor's instruction for it."""
    if found.kind != "cache" or found.machine.get("crc32c", {}).get("hardware", True):
        return None
    return "crc32c is computed in software here: on a processor with SSE 4.2 or ARMv8's CRC it takes a fraction of that"


def _share(found: Found, name: str) -> str:
    return f"{100 * shares(found)[name]:.0f} %"


def _plain(size: str) -> str:
    """`256` for `256x256`."""
    height, _, width = size.partition("x")
    return height if height == width else size
