"""Films made where a tensor is: codes -> table -> every size, each directly from the film, on a CUDA device.

    codes (H, W) --one copy--> there --table--> pixels --weights of both axes--> floats --rounded once--> one copy back

The weights are the reference's, made in float64; sums are in float32 (`composite.resample_tensor`), within 2e-3 of 255
of the CPU's before rounding. Each thread queues on a stream of its own, so that films of several threads overlap.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload import carried, composite
from resload.decode import Radiograph
from resload.intensity import mapped
from resload.size import Size

_own = threading.local()


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """What is queued within goes to this thread's stream of a CUDA device. Nothing of a caller's autograd or autocast
    holds.
    """
    with torch.no_grad():
        if device.type != "cuda":
            yield
            return
        streams: dict[torch.device, torch.cuda.Stream] = vars(_own).setdefault("streams", {})
        if device not in streams:
            streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own
        with torch.cuda.stream(streams[device]):
            yield


def there(radiograph: Radiograph, table: NDArray[Any] | None, device: torch.device) -> torch.Tensor:
    """A film's codes on a device, through its table: (H, W) of the table's dtype."""
    if radiograph.held is None:
        found = torch.from_numpy(np.require(radiograph.pixels, requirements=["C", "W"])).to(device)
        return found if table is None else mapped(table, found)
    codes = radiograph.pixels.reshape(-1)
    every = codes if table is None else table[codes]
    found = torch.as_tensor(radiograph.held)
    same = every.dtype.itemsize == found.element_size() and np.array_equal(every, np.arange(every.size))
    return found if same else mapped(every, found)


def pyramid(image: torch.Tensor, sizes: Iterable[Size], *, kernel: str) -> list[NDArray[Any]]:
    """`resampling.pyramid` of an image (H, W) uint8 or uint16 on a device, which may be a part of a larger one.

    Returns numpy arrays of its dtype in the order of `sizes`, views of one new buffer. Waits for the device once.
    """
    return on_host([resized(image, size, kernel) for size in sizes])


def resized(images: torch.Tensor, size: Size, kernel: str) -> torch.Tensor:
    """Images (..., H, W) uint8 or uint16 at a size, queued there; themselves where it is their own."""
    height, width = images.shape[-2:]
    if (height, width) == tuple(size):
        return images
    vertical = composite.weights(height, height, size.height, kernel=kernel)
    horizontal = composite.weights(width, width, size.width, kernel=kernel)
    return composite.resample_stored(images, vertical, horizontal)


def stacked(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """(n, H, W) of images of one shape and dtype."""
    if len(images) == 1:
        return images[0][None]
    return torch.stack([carried.bits(one) for one in images]).view(images[0].dtype)


def on_host(tensors: Sequence[torch.Tensor]) -> list[NDArray[Any]]:
    """Tensors uint8 or uint16 as arrays, by one copy: each of them would wait for the device."""
    flat = torch.cat([one.contiguous().reshape(-1).view(torch.uint8) for one in tensors]).cpu().numpy()
    found, start = [], 0
    for one in tensors:
        dtype = np.dtype(np.uint8 if one.dtype == torch.uint8 else np.uint16)
        stop = start + one.numel() * dtype.itemsize
        found.append(flat[start:stop].view(dtype).reshape(one.shape))
        start = stop
    return found
