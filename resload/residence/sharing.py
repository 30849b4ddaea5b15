"""One residence for all who ask for the same pixels on the same device, for as long as one of them holds it."""

import logging
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from resload import forks
from resload.residence.keepers import keeper_on
from resload.residence.kept import Residence
from resload.size import Size
from resload.wording import megabytes

_log = logging.getLogger("resload")

MODELS_SHARE = 0.2
"""Of a card's memory that is left to the model, which may not have taken it yet: 16 of 80 GB. Chosen, not measured."""


@dataclass(frozen=True)
class Pixels:
    """What a residence holds: whoever asks for equal ones gets the same."""

    device: torch.device
    size: Size
    level: Size | None
    """What they were made from."""


class Residences:
    """The residences of one cache, by what they hold. Thread-safe.

    count: rows of the cache. dtype: of its pixels.
    """

    def __init__(self, count: int, dtype: np.dtype[Any]) -> None:
        self._count, self._dtype = count, dtype
        self._here: dict[Pixels, Residence] = {}
        self._leaving: deque[Pixels] = deque()
        self._lock = forks.lock()

    def peek(self, pixels: Pixels) -> Residence | None:
        """The one that is there, not held."""
        return self._here.get(pixels)

    def take(self, pixels: Pixels) -> Residence | None:
        """The one that is there or a new one, held until it is let go of; None, with a warning, where none fits."""
        try:
            with self._lock:
                found = self._here.get(pixels) or self._new(pixels)
                if found is not None:
                    found.holders += 1
                    self._here[pixels] = found
                return found
        finally:
            self._settle()

    def let_go(self, pixels: Pixels) -> None:
        """Of one that was taken. The last one to do so waits for the device, and the memory is given back.

        Garbage collection lets go too, and may interrupt anything, `take` of the same thread as well: whoever has the
        lock then does it at its end.
        """
        self._leaving.append(pixels)
        self._settle()

    def _settle(self) -> None:
        while self._leaving and self._lock.acquire(blocking=False):
            try:
                while self._leaving:
                    self._left(self._leaving.popleft())
            finally:
                self._lock.release()

    def _left(self, pixels: Pixels) -> None:
        found = self._here[pixels]
        found.holders -= 1
        if not found.holders:
            self._here.pop(pixels).close()

    def _new(self, pixels: Pixels) -> Residence | None:
        keeper = keeper_on(pixels.device)
        needed = self._count * pixels.size.pixels * self._dtype.itemsize
        free = keeper.free()
        if free is not None and needed > free[0] - MODELS_SHARE * free[1]:
            self._warn(pixels, needed, f"{megabytes(free[0])} of {megabytes(free[1])} are free")
            return None
        try:
            return Residence(keeper, self._count, pixels.size, self._dtype)
        except torch.cuda.OutOfMemoryError:
            self._warn(pixels, needed, "torch finds no such piece of memory free")
            return None

    def _warn(self, pixels: Pixels, needed: int, found: str) -> None:
        _log.warning(
            "resident=True: %s images of %s take %s on %s, where %s and %.0f %% of all are left to the model; they "
            "travel with each batch as without it. Ask for a smaller size, or leave resident= out",
            f"{self._count:,}", pixels.size, megabytes(needed), pixels.device, found, 100 * MODELS_SHARE,
        )  # fmt: skip


class Holds:
    """What one loader holds of a cache's residences on a device. Thread-safe."""

    def __init__(self, residences: Residences, device: torch.device) -> None:
        self._residences, self._device = residences, device
        self._held: dict[Pixels, Residence | None] = {}
        self._lock = forks.lock()

    def take(self, size: Size, level: Size | None) -> Residence | None:
        """Held from the first time on, as is that there is no room."""
        pixels = Pixels(self._device, size, level)
        try:
            return self._held[pixels]
        except KeyError:
            with self._lock:
                if pixels not in self._held:
                    self._held[pixels] = self._residences.take(pixels)
                return self._held[pixels]

    def peek(self, size: Size, level: Size | None) -> Residence | None:
        """The one that is there, whoever holds it."""
        return self._residences.peek(Pixels(self._device, size, level))

    def release(self) -> None:
        """Let go of all."""
        with self._lock:
            while self._held:
                pixels, residence = self._held.popitem()
                if residence is not None:
                    self._residences.let_go(pixels)
