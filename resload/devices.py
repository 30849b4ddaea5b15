"""Devices, and how batches get to one: stored bytes cross beside the caller's work, and nothing waits that need not.

    begin      a block of page-locked memory, lent by the pool (`Bus.memory`)
    fill       tasks write stored images into it
    commit     `Bus.send` queues its copy on the loader's own stream, where nothing of the caller's is in front of it
    release    `Crossing.done`: the block may be filled again; `Crossing.arrived`: the caller's *stream* waits for the
               copy, the caller does not. What is computed of it is the caller's stream's, like the caller's own work

Two races this prevents:

* **The block.** A copy from page-locked memory is asked for and not yet done when `send` returns. A block that were
  filled again as soon as nobody refers to it would send the next batch's films in this one. So it is held until `done`.
* **The copy.** torch's allocator gives memory that is let go of to the next request of the *same stream* at once, since
  what is queued there runs in order. The copy is allocated on the loader's stream and read on the caller's: once the
  caller drops the batch, the next copy would be given its memory and overwrite it while the caller's queued kernels
  have yet to read it. `record_stream` tells the allocator of them. (SPDL describes this race under the name
  `pytorch_cuda_race_condition`.)

Memory of a stream that many batches wait in would grow without a bound, so the caller's thread waits where it is
`AHEAD` batches ahead of its device.
"""

from collections import deque
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from resload.errors import ArgumentError

AHEAD = 4
"""Batches that were handed out and whose work the device has not done, at most: enough that it never waits."""


def usable_device(device: str | torch.device) -> torch.device:
    """A device that is there, CUDA's with its number. Raises ArgumentError for another one."""
    try:
        found = torch.device(device)
    except RuntimeError as exc:
        raise ArgumentError(f"device={device!r}: not a device that torch knows") from exc
    if found.type != "cuda":
        return found
    if not torch.cuda.is_available():
        raise ArgumentError(f"device={str(found)!r}: torch finds no CUDA device here; use device='cpu'")
    count, index = torch.cuda.device_count(), torch.cuda.current_device() if found.index is None else found.index
    if index >= count:
        raise ArgumentError(f"device={str(found)!r}: torch finds cuda:0 to cuda:{count - 1} here")
    return torch.device("cuda", index)


def onto(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """A small tensor on a device, in the order of the caller's stream and without waiting for what is queued there.

    (A plain `.to` of CUDA's waits for the whole stream.) The same tensor where it is there already.
    """
    device = torch.device(device)
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    with torch.cuda.device(device):  # torch keeps the page-locked copy until the device has read it
        return tensor.pin_memory().to(device, non_blocking=True)


class Crossing(Protocol):
    """One copy to a device, under way or done."""

    def done(self) -> bool:
        """Whether the host memory may be written again."""

    def wait(self) -> None:
        """Until it may."""

    def arrived(self) -> torch.Tensor:
        """The copy, for work that the caller's current stream does from here on. Owned by the caller."""


class Bus(Protocol):
    """The way to one device, for one iteration's thread."""

    def memory(self, size: int) -> NDArray[np.uint8]:
        """So many bytes of host memory that copies start from."""

    def send(self, images: NDArray[Any]) -> Crossing:
        """Begin to copy a C-contiguous part of such memory, which must stay as it is until `Crossing.done`."""

    def handed(self) -> None:
        """The caller is back from its work on a batch: waits where too much of such work is still queued."""


def bus_to(device: torch.device) -> Bus:
    """The way to a device that is not the CPU."""
    return CudaBus(device) if device.type == "cuda" else PlainBus(device)


class PlainBus:
    """Where copies are done at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def memory(self, size: int) -> NDArray[np.uint8]:
        """Of the usual kind."""
        return np.empty(size, np.uint8)

    def send(self, images: NDArray[Any]) -> Crossing:
        """Copied when it returns."""
        return _Copied(torch.from_numpy(images).to(self._device, copy=True))

    def handed(self) -> None:
        """Nothing is queued."""


class _Copied:
    """A copy that is done."""

    def __init__(self, there: torch.Tensor) -> None:
        self._there = there

    def done(self) -> bool:
        return True

    def wait(self) -> None:
        pass

    def arrived(self) -> torch.Tensor:
        return self._there


class CudaBus:
    """Page-locked memory, and a stream of its own. Raises torch's errors where the device is out of memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own
        self._handed: deque[torch.cuda.Event] = deque()

    def memory(self, size: int) -> NDArray[np.uint8]:
        """Page-locked; torch's, which keeps it for others when it is let go of."""
        with torch.cuda.device(self._device):
            return torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=True).numpy()

    def send(self, images: NDArray[Any]) -> Crossing:
        """Queued on the stream of this bus."""
        host = torch.from_numpy(images)
        with torch.cuda.stream(self._stream):
            there = torch.empty(host.shape, dtype=host.dtype, device=self._device)
            there.copy_(host, non_blocking=True)
        return _Queued(there, self._stream.record_event(_event()))

    def handed(self) -> None:
        """The caller's stream is where all of its work on the batch was queued."""
        event = _event()
        event.record(torch.cuda.current_stream(self._device))
        self._handed.append(event)
        if len(self._handed) > AHEAD:
            self._handed.popleft().synchronize()


def _event() -> torch.cuda.Event:
    """One that is waited for asleep: the cores have images to make."""
    return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch's own


class _Queued:
    """A copy that the device does when it comes to it."""

    def __init__(self, there: torch.Tensor, copied: torch.cuda.Event) -> None:
        self._there, self._copied = there, copied

    def done(self) -> bool:
        return bool(self._copied.query())  # type: ignore[no-untyped-call]  # torch's own

    def wait(self) -> None:
        self._copied.synchronize()

    def arrived(self) -> torch.Tensor:
        current = torch.cuda.current_stream(self._there.device)
        current.wait_event(self._copied)
        self._there.record_stream(current)
        return self._there
