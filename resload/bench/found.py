"""What was measured, and what follows from it without measuring: shares, the bottleneck, what a model would need.

    lane "threads"   steps on the loader's threads: their costs add up, shared out over the threads
    lane "device"    steps on the calling thread and its device, beside the threads
    no lane          ceilings that are no step of this loader once it is warm

The loader's time per image is 1 / its images/s; a step on T threads takes its own cost / T of it. What the steps of the
threads do not explain is everything else: waiting, handing over, making batches.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from resload.bench.clock import Rate

THREADS, DEVICE = "threads", "device"
COLD, WARM = "storage, cold", "storage, warm"
CHECKSUM, MEMORY = "checksum", "copy from memory"
DECOMPRESS, DECODE, RESIZE = "decompress", "decode", "resize"
CONVERT, COPY, DEVICE_RESIZE = "convert", "copy to device", "resize on device"
OTHER, MODEL = "everything else", "the model"


@dataclass(frozen=True)
class Stage:
    """One step alone: the most that loading could do if there were nothing else."""

    name: str
    rate: Rate
    threads: int
    """At work at once."""
    bytes: float
    """Per image: what comes out of the step (for the checksum, what goes in)."""
    lane: str = ""
    """"threads", "device", or "" for what is no part of the loader's time."""
    note: str = ""

    @property
    def microseconds(self) -> float:
        """Per image, of one thread."""
        return 1e6 * self.threads / self.rate.median

    @property
    def megabytes(self) -> float:
        """Per second, in millions of bytes."""
        return self.rate.median * self.bytes / 1e6


@dataclass(frozen=True)
class Found:
    """All that was measured."""

    source: str
    kind: str
    """"cache" or "films"."""
    size: str
    """Of the images, as they are asked for."""
    level: str | None
    """The stored size they come from; None for films."""
    dtype: str
    """Of the images."""
    stored: str
    """Of the pixels before they are converted."""
    channels: int
    batch_size: int
    threads: int
    device: str
    films: int
    """How many there are to load."""
    sampled: int
    """How many of them were used."""
    image_bytes: float
    """Of one image in a batch."""
    level_bytes: float | None
    """Of all stored records that serve this size, or of the films' files (estimated from those that were read)."""
    stages: tuple[Stage, ...]
    loader: Rate
    one_thread: Rate | None
    """The loader on one thread; None where it was asked for no more."""
    model: Rate | None = None
    model_name: str = ""
    together: Rate | None = None
    """Loader and model in one loop."""
    needs: float | None = None
    """Images/s that the user says the model needs."""
    expected_rmse: float = 0.0
    sizes: tuple[str, ...] = ()
    """What the cache stores."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Films of the sample that could not be read: id -> reason."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """What could not be measured: name -> reason."""
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def need(self) -> float | None:
        """Images/s that the model takes: as said, else as measured; None when neither is known."""
        return self.needs if self.needs is not None else None if self.model is None else self.model.median

    @property
    def cores(self) -> int:
        """That this process may use."""
        return int(self.machine.get("cores", self.threads))

    def stage(self, name: str) -> Stage | None:
        """The step of this name, if it was measured."""
        return next((stage for stage in self.stages if stage.name == name), None)


def lane_sum(found: Found, lane: str) -> float:
    """Which share of the loader's time the steps of a lane take alone; above 1 where together they are faster."""
    return sum(_raw_share(found, stage) for stage in found.stages if stage.lane == lane)


def shares(found: Found) -> dict[str, float]:
    """Step -> share of the loader's time, 0 to 1, of each lane; "everything else" is what the threads have left.

    Where the steps of a lane measured alone take longer than the loader with all of them, they are scaled to fill it.
    """
    parts: dict[str, float] = {}
    for lane in (THREADS, DEVICE):
        whole = max(1.0, lane_sum(found, lane))
        parts |= {one.name: _raw_share(found, one) / whole for one in found.stages if one.lane == lane}
    return parts | {OTHER: max(0.0, 1.0 - lane_sum(found, THREADS))}


def _raw_share(found: Found, stage: Stage) -> float:
    return found.loader.median / stage.rate.median


def scaling(found: Found) -> float | None:
    """How many times as fast the loader is on all of its threads as on one; None where it has one."""
    return None if found.one_thread is None else found.loader.median / found.one_thread.median


def storage_limits(found: Found) -> bool:
    """Whether reading without the page cache is slower than what is wanted: the model's need, or the loader."""
    cold = found.stage(COLD)
    wanted = found.loader.median if found.need is None else min(found.need, found.loader.median)
    return cold is not None and cold.rate.median < wanted


def stays_in_memory(found: Found) -> bool | None:
    """Whether everything that is read fits the memory that is free; None when that is not known."""
    free = found.machine.get("free_bytes")
    return None if free is None or found.level_bytes is None else found.level_bytes < 0.8 * free


def bottleneck(found: Found) -> str:
    """The name of what limits training here: the model, storage, a step of the loader, or everything else."""
    if found.need is not None and found.loader.median >= found.need:
        cold = storage_limits(found) and stays_in_memory(found) is False
        return COLD if cold else MODEL
    if storage_limits(found) and not stays_in_memory(found):
        return COLD
    return largest(found)


def largest(found: Found) -> str:
    """The step with the largest share of the busier lane, or "everything else"."""
    parts = shares(found)
    on_device = lane_sum(found, DEVICE) > lane_sum(found, THREADS)
    lane = DEVICE if on_device else THREADS
    own = {one.name: parts[one.name] for one in found.stages if one.lane == lane}
    rest = 1.0 - lane_sum(found, lane)
    return max({**own, OTHER: rest}.items(), key=lambda item: item[1])[0]
