"""Steps that loading from a cache and from films have in common: conversion, and the way to the device."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from resload.bench.clock import Work, alone, on_threads
from resload.bench.found import CONVERT, COPY, DEVICE, THREADS, Stage
from resload.bench.settings import Settings
from resload.devices import bus_to
from resload.scaling import Scaling
from resload.size import Size

HOT_BYTES = 1 << 20
"""Of images that a thread works on at a time, as the loader does: near the core."""
WRITTEN_BYTES = 32 << 20
"""Of converted images that a thread writes before it begins again: far from the core, as batches are."""


def some(images: int, bytes_each: int, within: int) -> int:
    """How many of so many images fit into a number of bytes; at least one."""
    return max(1, min(images, within // max(1, bytes_each)))


def scaling_of(settings: Settings, stored: np.dtype[np.generic]) -> Scaling:
    """The loader's arithmetic. Raises ArgumentError for a dtype, channels or normalisation that cannot be."""
    return Scaling(stored, settings.torch_dtype, settings.channels, settings.normalize)


def conversion(images: NDArray[np.generic], settings: Settings) -> Stage | None:
    """Stored images (n, H, W) -> the dtype asked for, on the CPU; None where nothing has to be done there."""
    scaling = scaling_of(settings, images.dtype)
    nothing = scaling.made == images.dtype and settings.channels == 1
    if settings.late or nothing:
        return None
    size = Size(*images.shape[1:])
    count = some(len(images), images[0].nbytes, HOT_BYTES)
    source = np.ascontiguousarray(images[:count])
    made = settings.channels * size.pixels * scaling.made.itemsize
    turns = max(1, WRITTEN_BYTES // (made * count))

    def work(_: int) -> Work:
        outs = np.zeros((turns, count, settings.channels, *size), scaling.made) + scaling.made.type(1)
        turn = 0

        def once() -> int:
            nonlocal turn
            turn = (turn + 1) % turns
            scaling.run(source, outs[turn])
            scaling.finished(torch.from_numpy(outs[turn]))
            return count

        return once

    rate = on_threads(work, settings.workers, settings.seconds)
    return Stage(CONVERT, rate, settings.workers, settings.image_bytes(size), THREADS, f"to {settings.dtype}")


def to_device(images: NDArray[np.generic], settings: Settings, batch: int) -> list[Stage]:
    """A batch of these images, as it travels, to the device; and floats made there. None of it on the CPU.

    images: (n, H, W) as they are stored.
    """
    if not settings.on_device:
        return []
    scaling = scaling_of(settings, images.dtype)
    if not settings.late:
        channels, kind = settings.channels, scaling.made
    else:
        channels, kind = 1, images.dtype
    size = Size(*images.shape[1:])
    device = torch.device(settings.device)
    bus, shape = bus_to(device), (batch, channels, *size)
    sent = bus.memory(math.prod(shape) * kind.itemsize).view(kind).reshape(shape)
    sent.fill(1)

    def copied() -> int:
        bus.send(sent).wait()
        return batch

    bytes_each = channels * size.pixels * kind.itemsize
    found = [Stage(COPY, alone(copied, settings.seconds), 1, bytes_each, DEVICE, f"{kind} to {device}")]
    if settings.late:
        there = torch.from_numpy(sent).to(device)

        def converted() -> int:
            scaling.finished(scaling.on_device(there))
            settle(device)
            return batch

        rate = alone(converted, settings.seconds)
        note = f"to {settings.dtype}, on {device}"
        found.append(Stage(CONVERT, rate, 1, settings.image_bytes(size), DEVICE, note))
    return found


def settle(device: torch.device) -> None:
    """Wait until a device has done what it was given, so that the clock sees it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type in ("mps", "xpu"):
        getattr(torch, device.type).synchronize()
