"""Memory of one device that outlasts batches, and the order of work on it."""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from resload.devices import onto


class Keeper(Protocol):
    """The memory of one residence on its device, and the order of work on it. Work is queued on the caller's current
    stream; nothing waits but `give_back`.
    """

    def free(self) -> tuple[int, int] | None:
        """Bytes that can be had now, and that the device has altogether; None where it does not say."""

    def room(self, shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
        """Memory for everything, not written to. Raises torch's OutOfMemoryError."""

    def put(self, kept: torch.Tensor, rows: NDArray[np.int64], arrived: torch.Tensor) -> None:
        """Queue: kept[rows] = arrived."""

    def take(self, kept: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
        """Queue: kept[rows], a new tensor."""

    def mark(self) -> Any:
        """What is queued on the current stream so far."""

    def after(self, mark: Any) -> None:
        """What is queued on the current stream from here on is done after that."""

    def give_back(self) -> None:
        """Once nothing refers to the memory: leave none of it with torch. Waits for the device."""


def keeper_on(device: torch.device) -> Keeper:
    """Of a device that is not the CPU."""
    return CudaKeeper(device) if device.type == "cuda" else PlainKeeper(device)


class PlainKeeper:
    """Where all work is done in the order in which it was asked for."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def free(self) -> tuple[int, int] | None:
        """Not known."""
        return None

    def room(self, shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
        """Of torch."""
        return torch.empty(shape, dtype=dtype, device=self._device)

    def put(self, kept: torch.Tensor, rows: NDArray[np.int64], arrived: torch.Tensor) -> None:
        """One copy."""
        kept.index_copy_(0, onto(torch.from_numpy(rows), self._device), arrived)

    def take(self, kept: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
        """One gather."""
        return kept.index_select(0, onto(torch.from_numpy(rows), self._device))

    def mark(self) -> None:
        """Nothing needs one."""

    def after(self, mark: None) -> None:
        """It is."""

    def give_back(self) -> None:
        """Where torch keeps memory of such devices."""
        empty = getattr(getattr(torch, self._device.type, None), "empty_cache", None)
        if empty is not None:
            empty()


class CudaKeeper(PlainKeeper):
    """With streams, events, and a driver that says what is free."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._told: set[int] = set()

    def free(self) -> tuple[int, int] | None:
        """The driver's, and what torch has and does not use: it lets go of that before it says that memory is out."""
        free, total = torch.cuda.mem_get_info(self._device)
        return free + torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device), total

    def put(self, kept: torch.Tensor, rows: NDArray[np.int64], arrived: torch.Tensor) -> None:
        """One copy, on the current stream."""
        self._used(kept)
        super().put(kept, rows, arrived)

    def take(self, kept: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
        """One gather, on the current stream."""
        self._used(kept)
        return super().take(kept, rows)

    def _used(self, kept: torch.Tensor) -> None:
        """Tell torch's allocator of a stream that works on the memory; once, since it looks at the whole stream when
        the memory is let go of.
        """
        current = torch.cuda.current_stream(self._device)
        if current.cuda_stream not in self._told:
            kept.record_stream(current)
            self._told.add(current.cuda_stream)

    def mark(self) -> Any:
        """The stream, and an event on it."""
        current = torch.cuda.current_stream(self._device)
        return current, current.record_event()

    def after(self, mark: Any) -> None:
        """Nothing where the stream is the same."""
        stream, event = mark
        current = torch.cuda.current_stream(self._device)
        if current != stream:
            current.wait_event(event)

    def give_back(self) -> None:
        """What other streams still read is let go of once they have."""
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()
