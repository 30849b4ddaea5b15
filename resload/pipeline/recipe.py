"""The recipe: decode -> intensity -> fit -> resample, as a frozen value.

Everything that stored pixels depend on, beside the sources themselves, is a field here; threads and devices are
not. "auto" stands for a decision that depends on the data: `resolve` makes it, once per catalog for the dtype;
the intensity is resolved per film and recorded with it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from resload import geometry
from resload.errors import ArgumentError, DecodeError
from resload.geometry import Affine
from resload.intensity import RECIPES
from resload.pipeline.cpu import Film, make
from resload.reference import KERNELS
from resload.size import Size, as_ladder
from resload.threads import ordered_map, thread_count

if TYPE_CHECKING:
    from resload.catalog import Catalog

DTYPES = ("auto", "uint8", "uint16")
RECIPE_FORMAT = 1


@dataclass(frozen=True)
class Result:
    """What a pipeline made of many films."""

    images: dict[Size, torch.Tensor]
    """{size: (B, 1, H, W)} of the pipeline's dtype; a film that failed is zeros. Freshly allocated."""
    geometry: dict[Size, list[Affine | None]]
    """{size: one map from source to target pixels per film}; None for a film that failed."""
    errors: list[DecodeError | None]
    """Why a film failed, or None."""


@dataclass(frozen=True)
class Pipeline:
    """The recipe that turns films into pixels of several sizes, each from one decode.

    >>> pipeline = Pipeline((128, 512))
    >>> result = pipeline(["film.png"])  # doctest: +SKIP
    >>> result.images[Size(512, 512)].shape  # doctest: +SKIP
    torch.Size([1, 1, 512, 512])
    """

    sizes: tuple[Size, ...]
    """The ladder, ascending; given as ints or (height, width)."""
    intensity: str = "auto"
    """"auto" (DICOM: "display", other files: "none"), "display" (VOI LUT, else window, else full stored range;
    MONOCHROME1 inverted once), or "none" (stored values)."""
    fit: str = "stretch"
    """How a film fills a size: "stretch" scales each axis on its own."""
    aspect: str = "pixel"
    """What counts as a film's shape: its pixels."""
    kernel: str = "triangle"
    """The resampling kernel: one of `resload.reference.KERNELS`."""
    dtype: str = "auto"
    """Of the stored pixels: "uint8", "uint16", or "auto": uint16 if any film has more than 8 bits."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", as_ladder(self.sizes))
        for name, allowed in (
            ("intensity", RECIPES),
            ("fit", geometry.FITS),
            ("aspect", geometry.ASPECTS),
            ("kernel", tuple(KERNELS)),
            ("dtype", DTYPES),
        ):
            found = getattr(self, name)
            if found not in allowed:
                raise ArgumentError(f"{name} must be one of {', '.join(allowed)}; found {found!r}")

    def resolve(self, catalog: "Catalog", *, threads: int | None = None, progress: bool = False) -> "Pipeline":
        """The same recipe with its dtype decided: uint16 if any film of the catalog has more than 8 bits.

        Uses the catalog's `bits` where they are known, and scans the headers of the others.
        """
        if self.dtype != "auto":
            return self
        table = catalog.table
        if "bits" not in table or table["bits"].isna().any():
            table = catalog.scan(threads=threads, progress=progress).table
        return replace(self, dtype="uint16" if (table["bits"] > 8).any() else "uint8")

    def with_sizes(self, sizes: object) -> "Pipeline":
        """The same recipe at other sizes."""
        return replace(self, sizes=as_ladder(sizes))

    def __call__(self, films: object, *, threads: int | None = None) -> Result:
        """Make every size of every film; each is decoded once, on `threads` threads.

        films: a sequence of paths, bytes, pydicom datasets or (H, W) arrays, or a pair (catalog, rows).
        A film that cannot be decoded does not stop the others: see `Result.errors`. Thread-safe.

        With dtype "auto", the result is uint16 if any of these films has more than 8 bits: resolve the pipeline
        first when calls must agree.
        """
        sources = _sources(films)
        if self.dtype == "auto":
            return self._with_depth_of(sources)(films, threads=threads)
        count = thread_count(threads)
        made = list(ordered_map(self._try, sources, threads=count, window=len(sources) + 1))
        return self._result(made)

    def _with_depth_of(self, sources: Sequence["Source"]) -> "Pipeline":
        from resload.pipeline.cpu import as_radiograph

        deepest = 8
        for source, frame, bits in sources:
            try:
                deepest = max(deepest, bits or as_radiograph(source, frame=frame).bits)
            except DecodeError:
                continue  # reported again, with its place, when it is made
        return replace(self, dtype="uint16" if deepest > 8 else "uint8")

    def _try(self, source: "Source") -> Film | DecodeError:
        try:
            return make(self, source[0], frame=source[1], bits=source[2])
        except DecodeError as error:
            return error

    def _result(self, made: Sequence[Film | DecodeError]) -> Result:
        images, maps = {}, {}
        for i, size in enumerate(self.sizes):
            pixels = np.zeros((len(made), 1, *size), self.dtype)
            for row, film in zip(pixels, made, strict=True):
                if isinstance(film, Film):
                    row[0] = film.levels[i]
            images[size] = torch.from_numpy(pixels)
            maps[size] = [geometry.stretch(film.size, size) if isinstance(film, Film) else None for film in made]
        return Result(images, maps, [film if isinstance(film, DecodeError) else None for film in made])

    # -- as JSON --

    def settings(self) -> dict[str, Any]:
        """Everything but the sizes, as plain values: what the pixels of one size depend on."""
        return {name: value for name, value in asdict(self).items() if name != "sizes"}

    def save(self, path: str | Path) -> None:
        """Write the recipe as JSON."""
        document = {"resload_pipeline": RECIPE_FORMAT, "sizes": [list(size) for size in self.sizes], **self.settings()}
        Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Pipeline":
        """Read a recipe that `save` wrote. Raises ArgumentError when the file is not one."""
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            version = document.pop("resload_pipeline")
        except (ValueError, KeyError, AttributeError, TypeError) as exc:
            raise ArgumentError(f"{path}: not a recipe that Pipeline.save wrote") from exc
        if version != RECIPE_FORMAT:
            raise ArgumentError(f"{path}: recipe format {version}; this resload reads {RECIPE_FORMAT}")
        try:
            return cls(**document)
        except TypeError as exc:
            raise ArgumentError(f"{path}: not a recipe that Pipeline.save wrote ({exc})") from exc


Source = tuple[object, int, int | None]
"""(film, frame, bits or None)."""


def _sources(films: object) -> list[Source]:
    if isinstance(films, tuple) and len(films) == 2 and hasattr(films[0], "table"):
        catalog, rows = films
        known = CatalogFilms(catalog)
        return [known.source(int(row)) for row in rows]
    if isinstance(films, str | bytes | Path | np.ndarray) or not hasattr(films, "__iter__"):
        raise ArgumentError(f"films are a sequence of films, or (catalog, rows); found one {type(films).__name__}")
    return [(film, 0, None) for film in films]


class CatalogFilms:
    """What making films needs of a catalog, as plain lists: a table lookup for each film would cost more."""

    def __init__(self, catalog: "Catalog") -> None:
        table = catalog.table
        self.ids: list[str] = table["id"].tolist()
        self.paths = [catalog.path(row) for row in range(len(table))]
        self._frames = self._column(table, "frame_index")
        self._bits = self._column(table, "bits")
        self._spacing = [self._column(table, f"spacing_{axis}") for axis in "yx"]

    def _column(self, table: pd.DataFrame, name: str) -> list[float]:
        if name not in table:
            return [math.nan] * len(table)
        values: list[float] = pd.to_numeric(table[name]).to_numpy(np.float64, na_value=np.nan).tolist()
        return values

    def source(self, row: int) -> Source:
        """The file, frame and known depth of one row."""
        frame, bits = self._frames[row], self._bits[row]
        return self.paths[row], 0 if math.isnan(frame) else int(frame), None if math.isnan(bits) else int(bits)

    def spacing(self, row: int, header: tuple[float, float] | None) -> tuple[float, float]:
        """Mm per pixel (y, x): the catalog's where it knows them, else the header's, else NaN."""
        told = header or (math.nan, math.nan)
        y, x = (column[row] for column in self._spacing)
        return told[0] if math.isnan(y) else y, told[1] if math.isnan(x) else x
