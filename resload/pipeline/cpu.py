"""One film in, every size out, from one decode: on the CPU, or with a decoder and a device of an `Engine`.

    file, bytes, dataset, array  --decode-->  codes  --intensity table-->  values  --place, resample-->  levels

All stages release the GIL for nearly all of their time; `make` is safe in any number of threads.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resload import decode, foreground, geometry, intensity, resampling
from resload.decode import Radiograph
from resload.errors import ArgumentError, NotARadiographError
from resload.geometry import Crop, Fit, Pad, Rect
from resload.geometry.fits import CHEST_WALL
from resload.geometry.placing import WALLS, placed
from resload.intensity import Recipe
from resload.pipeline.engine import CPU, Engine
from resload.size import Native, Size

if TYPE_CHECKING:
    from resload.decode.others import Other
    from resload.pipeline.recipe import Pipeline


@dataclass(frozen=True, slots=True)
class Film:
    """One radiograph made by a pipeline."""

    levels: tuple[NDArray[Any], ...]
    """One (H, W) array of the pipeline's dtype for each of its sizes, in their order; the film itself for "native"."""
    size: Size
    """Height and width of the decoded film."""
    bits: int
    """Bits of a stored value of the source."""
    scale: float
    """Stored value of the source = pixel * scale + offset; NaN when the intensity recipe is not a plain scaling."""
    offset: float
    """See `scale`; NaN with it."""
    intensity: str
    """The intensity recipe, canonical, with what "auto" became for this film."""
    spacing: tuple[float, float]
    """mm per pixel of the source, (y, x): what the caller knew, else what its header tells, else NaN."""
    content: tuple[int, int, int, int]
    """The part of the source that is image: (y, x, height, width) in source pixels; the foreground, where the fit
    looks for it."""
    chest_wall: str
    """The side at which a breast begins, "left" or "right", where the fit asks for it; else ""."""
    places: tuple[tuple[Rect, Rect], ...]
    """For each level: the rectangle of the source that it shows, and where on the level."""
    decoder: str
    """Codec and version."""

    @property
    def facts(self) -> NDArray[np.float64]:
        """The columns `geometry.FACTS` of this film, float64 (9,)."""
        wall = WALLS.get(self.chest_wall, math.nan)
        return np.array([*self.size, *self.spacing, *self.content, wall], np.float64)


class Known(NamedTuple):
    """What the caller knows of a film beside its pixels; it goes before what the film says of itself."""

    frame: int = 0
    """Which image of a file with several."""
    bits: int | None = None
    """How many bits a stored value uses (10 or 12 in PadChest's 16-bit PNGs)."""
    spacing: tuple[float, float] = (math.nan, math.nan)
    """mm per pixel, (y, x); NaN where it is not known."""
    laterality: str = ""
    """"L" or "R" for mammograms: a left breast hangs with its chest wall at the left of the film."""


_NOTHING = Known()


def make(pipeline: "Pipeline", source: object, known: Known = _NOTHING, engine: Engine = CPU) -> Film:
    """Decode a film once and make each of the pipeline's sizes directly from it.

    source: a path, the bytes of a file, a pydicom dataset, a (H, W) uint8 or uint16 array, or a Radiograph.
    The pipeline's dtype must be resolved. Raises DecodeError for a film that cannot be made.
    """
    radiograph = as_radiograph(source, frame=known.frame, colour=colour_of(pipeline), other=engine.other)
    return finished(pipeline, drafted(pipeline, radiograph, known, engine), engine)


class Draft(NamedTuple):
    """A film before it is resized."""

    but_levels: "partial[Film]"
    """All of it but its levels."""
    places: tuple[tuple[Rect, Rect], ...]
    """Where each of them comes from, and where it goes."""
    radiograph: Radiograph
    """Codes, or pixels where `table` is None."""
    table: NDArray[Any] | None
    """What the device is to look up."""

    def film(self, levels: Sequence[NDArray[Any]]) -> Film:
        """With its levels, one for each of its places."""
        return self.but_levels(levels=tuple(levels))


def colour_of(pipeline: "Pipeline") -> str:
    """What becomes of films in colour."""
    return Recipe.parse(pipeline.intensity).colour


def drafted(pipeline: "Pipeline", radiograph: Radiograph, known: Known, engine: Engine) -> Draft:
    """All that is to be known of a decoded film before it is resized. Raises DecodeError."""
    if radiograph.held is not None and (Recipe.parse(pipeline.intensity).measures or _looks(pipeline.fit)):
        radiograph = _brought(radiograph)
    recipe = intensity.resolve(pipeline.intensity, radiograph)
    table, scale, offset = intensity.tabled(radiograph, dtype=pipeline.dtype, recipe=recipe, bits=known.bits)
    if table is not None and (engine.device is None or _looks(pipeline.fit)):  # else the device does it
        radiograph, table = replace(radiograph, pixels=intensity.shown(radiograph, table)), None
    spacing = told(known.spacing, radiograph.spacing)
    content, wall = _looked_at(pipeline.fit, radiograph.pixels, radiograph.content, known.laterality)
    facts = np.array([*radiograph.shape, *spacing, *content, WALLS.get(wall, math.nan)], np.float64)
    places = tuple(_place(pipeline, facts, size) for size in pipeline.sizes)
    but_levels = partial(
        Film,
        size=Size(*radiograph.shape),
        bits=radiograph.bits if known.bits is None else known.bits,
        scale=scale,
        offset=offset,
        intensity=recipe,
        spacing=spacing,
        content=content,
        chest_wall=wall,
        places=places,
        decoder=radiograph.decoder,
    )
    return Draft(but_levels, places, radiograph, table)


def told(known: tuple[float, float], header: tuple[float, float] | None) -> tuple[float, float]:
    """Mm per pixel (y, x): what is known, else what the header tells, else NaN."""
    y, x = header or (math.nan, math.nan)
    return y if math.isnan(known[0]) else known[0], x if math.isnan(known[1]) else known[1]


def finished(pipeline: "Pipeline", found: Draft, engine: Engine) -> Film:
    """With each of the pipeline's sizes, made where the engine makes them."""
    if engine.device is None:
        return found.film(levels_of(pipeline, found.radiograph.pixels, found.places))
    from resload.pipeline import device

    with device.own_stream(engine.device):
        image = device.there(found.radiograph, found.table, engine.device)
        return found.film(levels_of(pipeline, image, found.places, device.pyramid))


def _brought(radiograph: Radiograph) -> Radiograph:
    """The same with its codes on the host."""
    codes = radiograph.pixels.reshape(-1)
    return replace(radiograph, pixels=codes[radiograph.held.cpu().numpy()], held=None)


def _looks(fit: Fit) -> bool:
    """Whether a fit may look at the film's own pixels."""
    return (isinstance(fit, Crop) and fit.to == "content") or (isinstance(fit, Pad) and fit.align == CHEST_WALL)


def _looked_at(
    fit: Fit, pixels: NDArray[Any], content: tuple[int, int, int, int], laterality: str
) -> tuple[tuple[int, int, int, int], str]:
    """What the fit needs to know of the film's own pixels: its content box, and the side of the chest wall."""
    if isinstance(fit, Crop) and fit.to == "content":
        return foreground.box(pixels), ""
    if isinstance(fit, Pad) and fit.align == CHEST_WALL:
        return content, {"L": "left", "R": "right"}.get(laterality[:1].upper()) or foreground.chest_wall(pixels)
    return content, ""


def _place(pipeline: "Pipeline", facts: NDArray[np.float64], size: Size) -> tuple[Rect, Rect]:
    found = placed(pipeline.fit, pipeline.aspect, facts, size)
    if isinstance(size, Native) and size.height and (facts[0] > size.height or facts[1] > size.width):
        raise NotARadiographError(
            f"the film is larger than the native canvas of {size.height} x {size.width}; correct the catalog's height "
            "and width where it has them, or build to another path",
            detail=f"{facts[0]:g} x {facts[1]:g}",
        )
    if found is None:
        raise NotARadiographError(
            "its spacing is not known, so it cannot be shown at a size in millimetres; give spacing_y and spacing_x "
            "in the catalog"
        )
    return found


def levels_of(
    pipeline: "Pipeline",
    pixels: Any,
    rects: Sequence[tuple[Rect, Rect]],
    pyramid: Callable[..., list[NDArray[Any]]] = resampling.pyramid,
) -> list[NDArray[Any]]:
    """Each of the pipeline's sizes, resized from its rectangle of the film (H, W) and put on its canvas.

    pixels: an array; or a tensor, with the `pyramid` that takes it.
    """
    asked = shown(rects).items()
    found = {source: pyramid(pixels[source.slices], shapes, kernel=pipeline.kernel) for source, shapes in asked}
    return on_canvases(pipeline, rects, found)


def shown(rects: Sequence[tuple[Rect, Rect]]) -> dict[Rect, list[Size]]:
    """What is to be made of each rectangle of a film."""
    found: dict[Rect, dict[Size, None]] = {}
    for source, to in rects:
        found.setdefault(source, {})[Size(to.height, to.width)] = None
    return {source: list(shapes) for source, shapes in found.items()}


def on_canvases(
    pipeline: "Pipeline", rects: Sequence[tuple[Rect, Rect]], found: Mapping[Rect, Sequence[NDArray[Any]]]
) -> list[NDArray[Any]]:
    """The pipeline's sizes, (..., H, W) each, of what was made of each rectangle: `shown` of them, (..., h, w)."""
    made = {
        (source, shape): image
        for source, shapes in shown(rects).items()
        for shape, image in zip(shapes, found[source], strict=True)
    }
    levels = []
    for size, (source, to) in zip(pipeline.sizes, rects, strict=True):
        image = made[source, Size(to.height, to.width)]
        own = isinstance(size, Native)
        value = 0 if own else geometry.canvas_value(pipeline.fit, image.dtype)
        levels.append(image if own else on_canvas(image, size, to, value))
    return levels


def is_film(value: object) -> bool:
    """Whether this is one film, rather than several."""
    if hasattr(value, "save_as"):  # a pydicom dataset
        return True
    return isinstance(value, str | Path | bytes | bytearray | memoryview | np.ndarray | Radiograph)


def on_canvas(image: NDArray[Any], shape: tuple[int, ...], place: Rect | None = None, value: int = 0) -> NDArray[Any]:
    """Images (..., h, w) at a place, or at the top left, of a new canvas of this shape; themselves if they fill it."""
    if image.shape[-2:] == tuple(shape):
        return image
    canvas = np.full((*image.shape[:-2], *shape), value, image.dtype)
    canvas[(..., *(map(slice, image.shape[-2:]) if place is None else place.slices))] = image
    return canvas


def enlarged(image: NDArray[Any], shown: Rect, place: Rect, size: Size, recipe: "Pipeline") -> NDArray[Any]:
    """What is film of an image, enlarged by the recipe's kernel to its place at a larger size, on its canvas."""
    film = resampling.resample(image[shown.slices], (place.height, place.width), kernel=recipe.kernel)
    return on_canvas(film, size, place, geometry.canvas_value(recipe.fit, image.dtype))


def as_radiograph(source: object, *, frame: int = 0, colour: str = "luma", other: "Other | None" = None) -> Radiograph:
    """Any of the forms in which people hold a film, decoded. colour, other: as `decode.decode` takes them."""
    if isinstance(source, Radiograph):
        return source
    if isinstance(source, str | Path):
        return decode.decode(source, frame=frame, colour=colour, other=other)
    if isinstance(source, bytes | bytearray | memoryview):
        return decode.decode(bytes(source), frame=frame, colour=colour, other=other)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if hasattr(source, "save_as") and hasattr(source, "Rows"):  # a pydicom dataset, without importing pydicom
        return decode.decode(_as_file(source), frame=frame, colour=colour, other=other)
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
