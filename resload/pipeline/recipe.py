"""The recipe: decode -> intensity -> fit -> resample, as a frozen value.

Everything that stored pixels depend on, beside the sources themselves, is a field here; threads and devices are
not. "auto" stands for a decision that depends on the data: `resolve` makes it, once per catalog for the dtype;
the intensity is resolved per film and recorded with it. One more field, `model`, says what a model was fed of the
pixels; they do not depend on it.
"""

import json
import logging
import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from resload import regular
from resload.devices import usable_device
from resload.errors import ArgumentError, DecodeError, ResloadError
from resload.geometry import ASPECTS, Affine, Fit, Pad, Stretch, as_fit
from resload.geometry.fits import plain
from resload.geometry.placing import affine_of, distorted, film_facts, native_canvas, places
from resload.intensity import Recipe
from resload.limits import limits
from resload.pipeline import tensors
from resload.pipeline.cpu import Film, Known, as_radiograph, is_film
from resload.pipeline.engine import Engine, engine_of
from resload.pipeline.model_input import ModelInput
from resload.pipeline.together import made_together
from resload.reference import KERNELS
from resload.size import NATIVE, Native, Size, as_ladder, field_of
from resload.threads import ordered_map, thread_count

if TYPE_CHECKING:
    from resload.catalog import Catalog

_log = logging.getLogger("resload")
_MANY_DISTORTED = 0.1

DTYPES = ("auto", "uint8", "uint16")
RECIPE_FORMAT = 1


@dataclass(frozen=True)
class Result:
    """What a pipeline made of many films."""

    images: dict[Size, torch.Tensor]
    """{size: (B, 1, H, W)} of the pipeline's dtype, on the device asked for; a film that failed is zeros. Freshly
    allocated."""
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
    """The ladder, ascending; given as ints, (height, width), or `Spacing` in millimetres per pixel: then every size
    shows the same field of view, and films without a spacing fail."""
    intensity: str = "auto"
    """How stored values become pixels: "auto" ("display" for DICOM files, "none" for others), "display" (as a reader
    sees them), "window(c, w)", "minmax", "percentile(p, q)", "raw", "mimic-jpg", "chexpert-jpg" or "none", with options
    as in "display(polarity=keep)"; `resload.intensity` says what each does. Kept in its canonical spelling. Comes
    before fit and resample: what it measures, it measures of the whole film at its own resolution."""
    fit: Fit = field(default_factory=Stretch)
    """How a film fills a size: "stretch" scales each axis on its own, "pad" and "crop" keep its shape; or a value
    such as `geometry.Pad(value=0, align="chest-wall")` or `geometry.Crop("content")`."""
    aspect: str = "pixel"
    """What counts as a film's shape: that of its "pixel"s, or the "physical" one that its spacing tells (for films
    that were squashed before release; where no spacing is known, pixels count as square)."""
    kernel: str = "triangle"
    """The resampling kernel: one of `resload.reference.KERNELS`."""
    dtype: str = "auto"
    """Of the stored pixels: "uint8", "uint16", or "auto": uint16 if any film has more than 8 bits."""
    model: ModelInput | None = None
    """What a model was trained on, for `tensor`; its size is one of `sizes`. Set by `Loader.pipeline`."""

    def __post_init__(self) -> None:
        seen = field_of(self.sizes)
        object.__setattr__(self, "sizes", as_ladder(self.sizes))
        object.__setattr__(self, "fit", _seen_through(as_fit(self.fit), seen))
        object.__setattr__(self, "intensity", str(Recipe.parse(self.intensity)))
        for name, allowed in (
            ("aspect", ASPECTS),
            ("kernel", tuple(KERNELS)),
            ("dtype", DTYPES),
        ):
            found = getattr(self, name)
            if found not in allowed:
                raise ArgumentError(f"{name} must be one of {', '.join(allowed)}; found {found!r}")
        if self.aspect == "physical" and isinstance(self.fit, Stretch):
            raise ArgumentError("aspect='physical' keeps the body's shape, fit='stretch' does not: use pad or crop")
        if self.model is not None:
            self._check_model(self.model)

    def _check_model(self, model: ModelInput) -> None:
        if model.size not in self.sizes:
            listed = ", ".join(str(size) for size in self.sizes)
            raise ArgumentError(f"model: its size {model.size} is none of the recipe's; found {listed}")
        if self.dtype != "auto":
            tensors.scaling_of(self, model)

    def resolve(
        self, catalog: "Catalog", *, threads: int | None = None, progress: bool = False, executor: object = None
    ) -> "Pipeline":
        """The same recipe with its dtype decided: uint16 if any film of the catalog has more than 8 bits (and the
        intensity keeps more); and with the canvas of "native", the largest height and width.

        Uses the catalog's columns where they are known, and scans the headers of the others (`Catalog.scan`).
        """
        if self.dtype == "auto" and Recipe.parse(self.intensity).eight_bits:
            eight = replace(self, dtype="uint8")
            return eight.resolve(catalog, threads=threads, progress=progress, executor=executor)
        open_canvas = Native(0, 0) in self.sizes and not self.sizes[-1].height
        needed = [*(["bits"] if self.dtype == "auto" else []), *(["height", "width"] if open_canvas else [])]
        if not needed:
            return self
        table = catalog.table
        if any(name not in table or table[name].isna().any() for name in needed):
            table = catalog.scan(threads=threads, progress=progress, executor=executor).table
        dtype = self.dtype if self.dtype != "auto" else "uint16" if (table["bits"] > 8).any() else "uint8"
        if not open_canvas:
            return replace(self, dtype=dtype)
        return replace(self, dtype=dtype, sizes=(*self.sizes[:-1], native_canvas(film_facts(table))))

    def distorted(self, films: NDArray[np.float64]) -> float:
        """Which share of films (`geometry.film_facts`, those whose size is known) a size changes by more than a tenth
        in shape, at the worst of the sizes; 0 when no size is known.
        """
        known = films[films[:, 0] >= 1]
        if not isinstance(self.fit, Stretch) or not len(known):
            return 0.0
        return max(float(distorted(known, places(self.fit, self.aspect, known, size)).mean()) for size in self.sizes)

    def warn_of_distortion(self, films: NDArray[np.float64]) -> None:
        """Log a warning when that is more than a tenth of them."""
        share = self.distorted(films)
        if share > _MANY_DISTORTED:
            _log.warning(
                "fit='stretch' changes the shape of %.0f %% of these films by more than a tenth; fit='pad' or 'crop' "
                "keeps it, and with aspect='physical' also that of films which were squashed before release",
                100 * share,
            )

    def with_sizes(self, sizes: object) -> "Pipeline":
        """The same recipe at other sizes, without its `model`, which is of one size; a `Spacing` among them must show
        what the recipe shows, if it says so.
        """
        return replace(self, sizes=sizes, model=None)  # type: ignore[arg-type]  # made a ladder when it is checked

    def without_canvas(self) -> "Pipeline":
        """The same recipe for films of any size: the canvas that `resolve` gave "native" is of one catalog's films."""
        return replace(self, sizes=[NATIVE if isinstance(size, Native) else size for size in self.sizes])  # type: ignore[arg-type]  # made a ladder when it is checked

    def __call__(
        self,
        films: object,
        *,
        known: Known | Sequence[Known] | None = None,
        decode: str = "cpu",
        device: str | torch.device = "cpu",
        threads: int | None = None,
    ) -> Result:
        """Make every size of every film; each is decoded once, on `threads` threads.

        A film that cannot be decoded does not stop the others: see `Result.errors`. Thread-safe.

        With dtype "auto", the result is uint16 if any of these films has more than 8 bits: resolve the pipeline
        first when calls must agree.

        Args:
            films: a sequence of paths, bytes, pydicom datasets or (H, W) arrays, or a pair (catalog, rows).
            known: what a catalog would know of them (spacing, bits, frame, laterality): one for all, or one for each.
            decode: "cpu", or "dali": NVIDIA DALI decodes JPEG, JPEG 2000 and HTJ2K, also inside DICOM, on the device.
            device: where films are decoded by DALI, where they are resized, and where the images end up.
            threads: how many films are made at once.

        Raises ArgumentError for arguments that cannot be, MissingPackageError where DALI is not installed.
        """
        count = thread_count(threads)
        engine = engine_of(decode, device, count)
        sources = _sources(films, known)
        recipe = (self._with_depth_of(sources) if self.dtype == "auto" else self).without_canvas()
        pieces = [sources[start : start + engine.together] for start in range(0, len(sources), engine.together)]
        work = partial(recipe._made, engine)
        made = ordered_map(work, pieces, threads=count + engine.waiting, window=len(pieces) + 1)
        return recipe._result([film for some in made for film in some], engine.device)

    def tensor(
        self,
        films: object,
        *,
        known: Known | Sequence[Known] | None = None,
        device: str | torch.device = "cpu",
        threads: int | None = None,
    ) -> torch.Tensor:
        """The tensor (B, C, H, W) that the Loader of this recipe yields for these films; freshly allocated.

        The same bits where training read films or a stored size. Elsewhere it saw a level resized, and this resizes
        the film itself: expect them `model.expected_rmse` apart, in 1/255 of the range.

        Args:
            films: one film, for a batch of one: a path, bytes, a pydicom dataset or a (H, W) array; or what a call of
                the pipeline takes.
            known: what the catalog knew in training and a single film may not say: one for all films, or one for each.
                Else the header's spacing counts.
            device: where the tensor ends up; it is made on the CPU.
            threads: how many films are made at once.

        Raises DecodeError for the first film that cannot be made, naming its path or place; ArgumentError for a recipe
        without a `model` or with dtype "auto". Logs a warning, once, where a film is decoded by another version of
        the decoder than training had. Thread-safe.
        """
        target = usable_device(device)
        sources = _sources([films] if is_film(films) else films, known)
        return tensors.tensor(self, sources, threads=thread_count(threads)).to(target)

    def _with_depth_of(self, sources: Sequence["Source"]) -> "Pipeline":
        if Recipe.parse(self.intensity).eight_bits:
            return replace(self, dtype="uint8")
        deepest = 8
        for film, known in sources:
            try:
                deepest = max(deepest, known.bits or as_radiograph(film, frame=known.frame).bits)
            except DecodeError:
                continue  # reported again, with its place, when it is made
        return replace(self, dtype="uint16" if deepest > 8 else "uint8")

    def _made(self, engine: Engine, sources: Sequence["Source"]) -> list[Film | DecodeError]:
        made = dict(made_together(self, [partial(_given, one) for one in sources], engine))
        return [made[k] for k in range(len(sources))]

    def _result(self, made: Sequence[Film | DecodeError], device: torch.device | None) -> Result:
        images, maps = {}, {}
        for i, asked in enumerate(self.sizes):
            size = asked
            if isinstance(size, Native):
                size = Native(
                    *np.max([(0, 0), *(film.size for film in made if isinstance(film, Film))], axis=0).tolist()
                )
            pixels = np.zeros((len(made), 1, *size), self.dtype)
            for row, film in zip(pixels, made, strict=True):
                if isinstance(film, Film):
                    level = film.levels[i]
                    row[0, : level.shape[0], : level.shape[1]] = level
            images[size] = torch.from_numpy(pixels).to(device or "cpu")
            maps[size] = [affine_of(*film.places[i]) if isinstance(film, Film) else None for film in made]
        return Result(images, maps, [film if isinstance(film, DecodeError) else None for film in made])

    # -- as JSON --

    def settings(self) -> dict[str, Any]:
        """Everything but the sizes and the model, as plain values: what the pixels of one size depend on."""
        kept = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("sizes", "model")}
        return {**kept, "fit": plain(self.fit)}

    def save(self, path: str | Path) -> None:
        """Write the recipe as JSON, with its `model` where it has one."""
        sizes = [_plain_size(size) for size in self.sizes]
        document = {"resload_pipeline": RECIPE_FORMAT, "sizes": sizes, **self.settings()}
        if self.model is not None:
            model = {one.name: getattr(self.model, one.name) for one in fields(self.model)}
            document["model"] = {name: _plain_size(value) for name, value in model.items()}
        Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Pipeline":
        """Read a recipe that `save` wrote. Raises ArgumentError when the file is not one."""
        try:
            document = regular.document(path, limits().document_bytes)
            version = document.pop("resload_pipeline")
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as exc:
            raise ArgumentError(f"{path}: not a recipe that Pipeline.save wrote") from exc
        if version != RECIPE_FORMAT:
            raise ArgumentError(f"{path}: recipe format {version}; this resload reads {RECIPE_FORMAT}")
        try:
            model = document.pop("model", None)
            return cls(**document, model=None if model is None else ModelInput(**model))
        except ResloadError:
            raise
        except Exception as exc:  # a value of any type in any place
            raise ArgumentError(f"{path}: not a recipe that Pipeline.save wrote ({exc})") from exc


def _plain_size(value: Any) -> Any:
    """A size as JSON has it: [height, width], or "native"; other values as they are."""
    if isinstance(value, Native):
        return str(value)
    return list(value) if isinstance(value, Size) else value


Source = tuple[object, Known]
"""A film, and what is known of it."""


def _given(source: Source) -> Source:
    return source


def _seen_through(fit: Fit, seen: tuple[float, float] | None) -> Fit:
    """The fit, showing the field of view that sizes in millimetres ask for."""
    if seen is None:
        return fit
    if isinstance(fit, Stretch):
        fit = Pad()
    if not isinstance(fit, Pad) or fit.field not in (None, seen):
        raise ArgumentError(f"sizes in millimetres show {seen[0]:g} x {seen[1]:g} mm of every film; found fit={fit}")
    return replace(fit, field=seen)


def _sources(films: object, known: Known | Sequence[Known] | None = None) -> list[Source]:
    if isinstance(films, tuple) and len(films) == 2 and hasattr(films[0], "table"):
        if known is not None:
            raise ArgumentError("known= goes with films; (catalog, rows) takes what the catalog knows")
        catalog, rows = films
        table = CatalogFilms(catalog)
        return [table.source(int(row)) for row in rows]
    if isinstance(films, str | bytes | Path | np.ndarray) or not hasattr(films, "__iter__"):
        raise ArgumentError(f"films are a sequence of films, or (catalog, rows); found one {type(films).__name__}")
    listed = list(films)
    return list(zip(listed, _known_of(listed, known), strict=True))


def _known_of(films: list[object], known: Known | Sequence[Known] | None) -> list[Known]:
    """What is known of each film."""
    if known is None or isinstance(known, Known):
        return [known or Known()] * len(films)
    each = list(known)
    if len(each) != len(films) or not all(isinstance(one, Known) for one in each):
        raise ArgumentError(
            f"known is one resload.pipeline.Known for all films, or a list with one for each of the {len(films)}; "
            f"found {known!r}"
        )
    return each


class CatalogFilms:
    """What making films needs of a catalog, as plain lists: a table lookup for each film would cost more.

    seal: what is stored of the hash of a film's file.
    """

    def __init__(self, catalog: "Catalog", seal: Callable[[str], str] = str) -> None:
        table = catalog.table
        self.seal = seal
        self.ids: list[str] = table["id"].tolist()
        self.paths = [catalog.path(row) for row in range(len(table))]
        self._frames = self._column(table, "frame_index")
        self._bits = self._column(table, "bits")
        self._spacing = [self._column(table, f"spacing_{axis}") for axis in "yx"]
        sides = table["laterality"].fillna("").tolist() if "laterality" in table else [""] * len(table)
        self._sides = [str(side) for side in sides]

    def _column(self, table: pd.DataFrame, name: str) -> list[float]:
        if name not in table:
            return [math.nan] * len(table)
        values: list[float] = pd.to_numeric(table[name]).to_numpy(np.float64, na_value=np.nan).tolist()
        return values

    def part(self, rows: Sequence[int]) -> "CatalogFilms":
        """Some rows alone, in this order, with absolute paths: another process may stand in another folder."""
        part = copy(self)
        part.ids = [self.ids[row] for row in rows]
        part.paths = [self.paths[row].absolute() for row in rows]
        part._frames = [self._frames[row] for row in rows]
        part._bits = [self._bits[row] for row in rows]
        part._spacing = [[axis[row] for row in rows] for axis in self._spacing]
        part._sides = [self._sides[row] for row in rows]
        return part

    def source(self, row: int) -> tuple[Path, Known]:
        """The file of one row, and what the catalog knows of it."""
        frame, bits = self._frames[row], self._bits[row]
        spacing = (self._spacing[0][row], self._spacing[1][row])
        depth = None if math.isnan(bits) else int(bits)
        return self.paths[row], Known(0 if math.isnan(frame) else int(frame), depth, spacing, self._sides[row])
