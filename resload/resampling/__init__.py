"""Fast antialiased resizes, held to `reference.py`: one contract, two engines.

    contract                                                         reached by
    uint8, triangle      1.01 grey levels; mean error 0.05, rmse     two passes of 8-bit arithmetic over one film
    (ratios in           0.35 on random content                      taken as four pictures: strips.py
    strips.RATIOS)
    everything else      0.52 units                                  exact weights, one rounding at the end

    strips.py        one film as four pictures, for both engines
    bands.py         the weights that are not zero, for both engines
    by_torch.py      torch: the default, and what builds and loaders use
    by_pillow.py     Pillow, or pillow-simd in its place: for workers without torch, which it never imports

Which path a film takes depends on what its pixels are, never on what is installed; which engine, on the caller
alone. Two engines may differ by one grey level, so a cache is always made by the same one.

Both release the GIL for all but microseconds, by Pillow also but for the copying of a result out of its picture; keep
no state but a cache of weights; and are safe in any number of threads.
"""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from resload import reference
from resload.errors import ArgumentError, MissingPackageError
from resload.resampling import strips
from resload.size import Size, SizeLike, as_size

if TYPE_CHECKING:
    import torch

__all__ = ["ENGINES", "pyramid", "resample"]

Pixels = NDArray[Any]
Images = TypeVar("Images", NDArray[Any], "torch.Tensor")

ENGINES = ("torch", "pillow")
"""What can resize: torch, or Pillow (the extra `pillow`, or pillow-simd installed in its place)."""

_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))


class Engine(Protocol):
    """What by_torch.py and by_pillow.py have. Arrays in and out are C-contiguous; sizes differ from the film's own."""

    def four(self, interleaved: Pixels, size: tuple[int, int]) -> Pixels:
        """(H, W, 4) uint8 -> (*size, 4), triangle, each pass rounded half up."""

    def exact(self, image: Pixels, sizes: list[Size], kernel: str) -> list[Pixels]:
        """(H, W) -> each size, same dtype, rounded once."""


def pyramid(image: Pixels, sizes: Iterable[Size], *, kernel: str = "triangle", engine: str = "torch") -> list[Pixels]:
    """One film at several sizes, each resized directly from `image`.

    image: (H, W) uint8, uint16 or float32. Returns arrays of the same dtype, C-contiguous, in the order of
    `sizes`; a size equal to the film's own is `image` itself, not a copy.

    Raises ArgumentError for an unknown engine, and MissingPackageError where it is not installed.
    """
    chosen = _engine(engine)
    sizes = list(sizes)
    image = np.ascontiguousarray(image)
    own = Size(*image.shape)
    in_strips = [s for s in sizes if s != own and strips.suit(image, s, kernel)]
    exactly = [s for s in sizes if s != own and s not in in_strips]
    made = {own: image}
    if in_strips:
        made.update(zip(in_strips, strips.levels(image, in_strips, chosen.four), strict=True))
    if exactly:
        made.update(zip(exactly, chosen.exact(image, exactly, kernel), strict=True))
    return [made[size] for size in sizes]


def resample(images: Images, size: SizeLike, *, kernel: str = "triangle", engine: str = "torch") -> Images:
    """Resize one image or any stack of them: (..., H, W) -> (..., *size), same dtype, same library.

    images: numpy array or CPU tensor of uint8, uint16 or float32. The result is a new array, never a view.
    Kernels and their meaning: `resload.reference`. Thread-safe; releases the GIL.

    engine: "torch", or "pillow" for processes without torch (the extra `pillow`): the same contract, never importing
    torch. The two may differ by one grey level.

    Raises ArgumentError for another dtype, device, kernel or engine, SizeError for a malformed size, and
    MissingPackageError where the engine is not installed.

    >>> resample(np.zeros((8, 100, 80), np.uint8), (50, 40)).shape
    (8, 50, 40)
    """
    target = as_size(size)
    given: Any = images
    torch = sys.modules.get("torch")  # whoever holds a tensor has imported it
    is_tensor = torch is not None and isinstance(given, torch.Tensor)
    if is_tensor and given.device.type != "cpu":
        raise ArgumentError(f"resample takes arrays or CPU tensors; found a tensor on {given.device}: use .cpu()")
    made: Any = _resample(given.detach().numpy() if is_tensor else given, target, kernel, engine)
    found: Images = torch.from_numpy(made) if torch is not None and is_tensor else made
    return found


def _resample(images: Pixels, target: Size, kernel: str, engine: str) -> Pixels:
    if images.dtype not in _DTYPES or images.ndim < 2 or 0 in images.shape[-2:]:
        raise ArgumentError(
            f"resample takes uint8, uint16 or float32 images (..., height, width); found {images.dtype} {images.shape}"
        )
    if kernel not in reference.KERNELS:
        raise ArgumentError(f"kernel must be one of {', '.join(reference.KERNELS)}; found {kernel!r}")
    out = np.empty((*images.shape[:-2], *target), images.dtype)
    for index in np.ndindex(*images.shape[:-2]):
        out[index] = pyramid(images[index], [target], kernel=kernel, engine=engine)[0]
    return out


def _engine(name: str) -> Engine:
    if name == "torch":
        try:
            from resload.resampling import by_torch
        except ModuleNotFoundError as exc:
            if exc.name != "torch":
                raise  # torch is there; what it lacks is the useful message
            raise MissingPackageError(
                'torch is not installed: install it, or resize by Pillow with engine="pillow"', name="torch"
            ) from exc
        return by_torch
    if name == "pillow":
        from resload.resampling import by_pillow

        return by_pillow
    raise ArgumentError(f"engine must be one of {', '.join(ENGINES)}; found {name!r}")
