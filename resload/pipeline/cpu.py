"""The CPU engine: one film in, every size out, from one decode.

    file, bytes, dataset, array  --decode-->  codes  --intensity table-->  values  --resample-->  levels

All four stages release the GIL for nearly all of their time; `make` is safe in any number of threads.
"""

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resload import decode, intensity, resampling
from resload.decode import Radiograph
from resload.errors import ArgumentError, NotARadiographError
from resload.size import Size

if TYPE_CHECKING:
    from resload.pipeline.recipe import Pipeline


@dataclass(frozen=True, slots=True)
class Film:
    """One radiograph made by a pipeline."""

    levels: tuple[NDArray[Any], ...]
    """One (H, W) array of the pipeline's dtype for each of its sizes, in their order."""
    size: Size
    """Height and width of the decoded film."""
    bits: int
    """Bits of a stored value of the source."""
    scale: float
    """Source units per stored unit; NaN when the intensity recipe is not a plain scaling."""
    intensity: str
    """The recipe that "auto" became for this film."""
    spacing: tuple[float, float] | None
    """mm per pixel of the source, (y, x), as its header tells; None when it does not."""
    content: tuple[int, int, int, int]
    """The part of the source that is image: (y, x, height, width) in source pixels."""
    decoder: str
    """Codec and version."""


def make(pipeline: "Pipeline", source: object, *, frame: int = 0, bits: int | None = None) -> Film:
    """Decode a film once and make each of the pipeline's sizes directly from it.

    source: a path, the bytes of a file, a pydicom dataset, a (H, W) uint8 or uint16 array, or a Radiograph.
    bits: overrides how many bits a stored value uses (10 or 12 in PadChest's 16-bit PNGs).
    The pipeline's dtype must be resolved. Raises DecodeError for a film that cannot be made.
    """
    radiograph = as_radiograph(source, frame=frame)
    recipe = intensity.resolve(pipeline.intensity, radiograph)
    pixels, scale = intensity.apply(radiograph, dtype=np.dtype(pipeline.dtype), recipe=recipe, bits=bits)
    height, width = pixels.shape
    return Film(
        levels=tuple(resampling.pyramid(pixels, pipeline.sizes, kernel=pipeline.kernel)),
        size=Size(height, width),
        bits=radiograph.bits if bits is None else bits,
        scale=scale,
        intensity=recipe,
        spacing=radiograph.spacing,
        content=radiograph.content,
        decoder=radiograph.decoder,
    )


def as_radiograph(source: object, *, frame: int = 0) -> Radiograph:
    """Any of the forms in which people hold a film, decoded."""
    if isinstance(source, Radiograph):
        return source
    if isinstance(source, str | Path):
        return decode.decode(Path(source), frame=frame)
    if isinstance(source, bytes | bytearray | memoryview):
        return decode.decode(bytes(source), frame=frame)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if hasattr(source, "save_as") and hasattr(source, "Rows"):  # a pydicom dataset, without importing pydicom
        return decode.decode(_as_file(source), frame=frame)
    raise ArgumentError(
        f"a film is a path, bytes, a pydicom dataset or a (height, width) array; found {type(source).__name__}"
    )


def _as_file(dataset: Any) -> bytes:
    file = BytesIO()
    try:
        dataset.save_as(file, enforce_file_format=True)
    except Exception as exc:  # pydicom raises many kinds for a dataset that is not a whole file
        raise NotARadiographError("the dataset cannot be written as a DICOM file", detail=str(exc)) from exc
    return file.getvalue()


def _from_array(array: NDArray[Any]) -> Radiograph:
    if array.ndim != 2 or array.dtype not in (np.uint8, np.uint16) or 0 in array.shape:
        raise NotARadiographError(
            "an array must be (height, width) of uint8 or uint16", detail=f"found {array.dtype} {array.shape}"
        )
    pixels = np.ascontiguousarray(array)
    return Radiograph(pixels=pixels, bits=8 * pixels.dtype.itemsize, spacing=None, decoder="array")


def plain_number(value: float) -> float | None:
    """NaN as None, for JSON."""
    return None if math.isnan(value) else float(value)
