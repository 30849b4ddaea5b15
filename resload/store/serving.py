"""Any size from the stored ones: which level serves it, how its pixels are made, and how far they are from exact.

    a stored size           as it was built
    a smaller one           by a second resize that undoes the level's kernel (`composite`), from the smallest level of
                            which it is at most 5/8
    any other               from the films at their own size, where the cache has these: the direct resize; else
                            from the largest level, with one warning
    a larger one            refused, unless the caller asks for it

A film lies in its own rectangle of every size (see `geometry`), so the second resize maps the level's rectangle to the
target's, film by film; where a canvas is around it, the canvas is drawn anew.
"""

import logging
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from resload import carried, composite, forks, geometry
from resload.devices import onto
from resload.errors import ArgumentError, SizeError
from resload.geometry import Crop, Pad, Rect, Stretch, facts_at
from resload.geometry.placing import film_facts, places
from resload.size import Native, Size, reaches
from resload.store.layout import Manifest

_log = logging.getLogger("resload")
_KEPT = 64
"""Sizes whose places are kept for all rows; a plan of more sizes computes those of each batch."""


@dataclass(frozen=True)
class Served:
    """How a size is served."""

    size: Size
    level: Size
    """The stored size that its pixels come from; the size itself where it is stored."""
    rmse: float
    """Expected distance from the direct resize of the film, root of the mean square, in 1/255 of the range; 0 where
    the size is stored, or made from the film at its own size. For the cache's median film, from the table that
    `benchmarks/fidelity.py` measured."""
    worst: float
    """Largest difference of a pixel that was seen there, in the same unit."""

    @property
    def exact(self) -> bool:
        """Whether the size is stored."""
        return self.level == self.size


class Serving:
    """What a cache knows for serving sizes: its ladder, its recipe, and the facts of its films. Thread-safe."""

    def __init__(self, name: str, manifest: Manifest, table: pd.DataFrame) -> None:
        self.name = name
        self.sizes = tuple(size for size in manifest.sizes if not isinstance(size, Native))
        self.native = next((size for size in manifest.sizes if isinstance(size, Native)), None)
        self.fit = geometry.as_fit(manifest.recipe["fit"])
        self.kernel: str = manifest.recipe["kernel"]
        self._aspect, self._dtype = manifest.recipe["aspect"], manifest.dtype
        self.films = film_facts(table)
        self._places: dict[Size, NDArray[np.int32]] = {}
        self._served: dict[tuple[Size, bool], Served] = {}
        self._lock = forks.lock()

    # -- which level --

    def level_for(self, size: Size, *, allow_upsample: bool = False) -> Size:
        """The level that serves a size. Raises SizeError for one that no level can serve."""
        if size in self.sizes:
            return size
        if isinstance(size, Native):
            if self.native is None:
                raise SizeError(f"{self.name} has no native level; add it by running resload.build with sizes 'native'")
            return self.native
        able = self.showing(size)
        good = [level for level in able if reaches(level, size)]
        larger = [level for level in able if _fits(size, level)]
        if good:
            return good[0]
        if self.native is not None and (allow_upsample or _fits(size, self.native)):
            return self.native
        if larger:
            return larger[-1]
        if able and allow_upsample:
            return able[-1]
        raise SizeError(self._refusal(size, bool(able)))

    def showing(self, size: Size) -> list[Size]:
        """The levels that hold all of a film that this size shows, ascending."""
        return [level for level in self.sizes if self._shows(level, size)]

    def _shows(self, level: Size, size: Size) -> bool:
        """Whether the level holds all that this size shows: a crop's part of a film follows the target's shape."""
        if isinstance(size, Native):
            return isinstance(self.fit, Stretch) or (isinstance(self.fit, Pad) and self.fit.field is None)
        if not isinstance(self.fit, Crop):
            return True
        return Fraction(level.height, level.width) == Fraction(size.height, size.width)

    def _refusal(self, size: Size, shown: bool) -> str:
        films = [f"films up to {self.native.height}x{self.native.width}"] if self.native else []
        stored = ", ".join([*map(str, self.sizes), *films])
        add = "add it by running resload.build again with this size among sizes"
        if shown:
            return f"{size} is larger than what is stored in {self.name} ({stored}); {add}, or pass allow_upsample=True"
        return f"{size} shows another part of a film than the crops stored in {self.name} ({stored}); {add}"

    def served(self, size: Size, *, allow_upsample: bool = False) -> Served:
        """How a size is served, and how well. Warns once for a size that has only a closer level than it should."""
        found = self._served.get((size, allow_upsample))
        if found is None:
            found = self._described(size, self.level_for(size, allow_upsample=allow_upsample))
            with self._lock:
                new = (size, not allow_upsample) not in self._served
                new = self._served.setdefault((size, allow_upsample), found) is found and new
            if new and not isinstance(found.level, Native) and not reaches(found.level, size):
                self._warn(found)
        return found

    def _described(self, size: Size, level: Size) -> Served:
        if level == size or isinstance(level, Native):
            return Served(size, level, 0.0, 0.0)
        typical = self._typical(level), self._typical(size)
        errors = [
            composite.expected(int(n), int(own), int(wanted))
            for (n, own), (_, wanted) in zip(*typical, strict=True)
            if own != wanted
        ]
        rmse = max((error.rmse for error in errors), default=0.0)
        return Served(size, level, rmse, max((error.worst for error in errors), default=0.0))

    def _typical(self, size: Size) -> list[tuple[float, float]]:
        """Per axis: how many source pixels the median film shows at this size, on how many pixels."""
        found = self.places(size)
        there = found[found[:, 6] > 0]
        middle = np.median(there, axis=0) if len(there) else np.ones(8)
        return [(middle[2], middle[6]), (middle[3], middle[7])]

    def _warn(self, served: Served) -> None:
        _log.warning(
            "%s: %s is made from the stored %s, more than 5/8 of it: expect an rmse of %.2f of 255 (at worst %.1f) "
            "from the direct resize; a stored size, or one of at least 8/5 of it, would be closer",
            self.name,
            served.size,
            served.level,
            served.rmse,
            served.worst,
        )

    # -- where films lie --

    def places(self, size: Size, rows: NDArray[np.int64] | None = None) -> NDArray[np.int32]:
        """`geometry.places` of these rows (of all), int32 (n, 8); zeros for films without."""
        found = self._places.get(size)
        if found is None:
            if rows is not None and len(self._places) >= _KEPT:
                return self._placed(self.films[rows], size)
            with self._lock:
                found = self._places.setdefault(size, self._placed(self.films, size))
        return found if rows is None else found.take(rows, axis=0)

    def facts(self, rows: NDArray[np.int64], size: Size) -> NDArray[np.float32]:
        """`geometry.facts_at` of these rows, float32 (n, 16)."""
        with np.errstate(divide="ignore", invalid="ignore"):  # quarantined films have no height and width
            return facts_at(self.films[rows], self.places(size, rows).astype(np.float64))

    def _placed(self, films: NDArray[np.float64], size: Size) -> NDArray[np.int32]:
        return np.nan_to_num(places(self.fit, self._aspect, films, size)).astype(np.int32)

    # -- pixels --

    def canvas(self) -> int:
        """What a pixel beside the film holds."""
        return geometry.canvas_value(self.fit, np.dtype(self._dtype))

    def resample(
        self,
        images: NDArray[Any],
        rows: NDArray[np.int64],
        level: Size,
        size: Size,
        out: NDArray[Any],
        regions: NDArray[np.int64] | None = None,
    ) -> None:
        """Make `out` (n, *size) of the levels (n, *level) of these rows, rounded once.

        regions: int64 (n, 4), the parts (y, x, height, width) in source pixels that the targets show instead.
        """
        own = self.places(level, rows).tolist()
        if regions is None:
            wanted = self.places(size, rows).tolist()
        else:
            wanted = [[*region, 0, 0, *size] for region in regions.tolist()]
        for image, whole, part, target in zip(images, own, wanted, out, strict=True):
            self._one(image, (Rect(*whole[:4]), Rect(*whole[4:])), (Rect(*part[:4]), Rect(*part[4:])), target)

    def _one(self, image: NDArray[Any], own: tuple[Rect, Rect], wanted: tuple[Rect, Rect], out: NDArray[Any]) -> None:
        (_, stored), (_, target) = own, wanted
        if (target.height, target.width) != out.shape:
            out[...] = self.canvas()
        if target.height:  # else a film without pixels, which nobody is given
            composite.resample(image[stored.slices], *self._weights(own, wanted), out=out[target.slices])

    def _weights(
        self, own: tuple[Rect, Rect], wanted: tuple[Rect, Rect]
    ) -> tuple[composite.Weights, composite.Weights]:
        """Of both axes, from the level's rectangle to the target's."""
        (source, stored), (part, target) = own, wanted
        return (
            composite.weights(
                source.height, stored.height, target.height,
                kernel=self.kernel, begin=part.y - source.y, length=part.height, depth=self._dtype,
            ),
            composite.weights(
                source.width, stored.width, target.width,
                kernel=self.kernel, begin=part.x - source.x, length=part.width, depth=self._dtype,
            ),
        )  # fmt: skip

    def resample_on_device(
        self, images: torch.Tensor, rows: NDArray[np.int64], level: Size, size: Size
    ) -> torch.Tensor:
        """`resample` where the levels are: (n, 1, *level) of the stored dtype -> (n, 1, *size) float32, whole numbers.

        Films that lie alike are resized together. Differs from `resample` by one where the unrounded value is within
        2e-3 of 255 of a half.
        """
        out = torch.full((len(images), 1, *size), float(self.canvas()), device=images.device)
        alike: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
        both = zip(self.places(level, rows).tolist(), self.places(size, rows).tolist(), strict=True)
        for i, (own, wanted) in enumerate(both):
            alike.setdefault((tuple(own), tuple(wanted)), []).append(i)
        top = float(np.iinfo(self._dtype).max)
        for (own, wanted), members in alike.items():
            stored, target = Rect(*own[4:]), Rect(*wanted[4:])
            weights = self._weights((Rect(*own[:4]), stored), (Rect(*wanted[:4]), target))
            every = None if len(alike) == 1 else onto(torch.tensor(members, device="cpu"), images.device)
            shown = _taken(images, every)[..., stored.slices[0], stored.slices[1]]
            made = composite.resample_tensor(shown, *weights).add_(0.5).floor_().clamp_(0, top)
            out[slice(None) if every is None else every, :, target.slices[0], target.slices[1]] = made
        return out

    def region_level(
        self, regions: NDArray[np.int64], rows: NDArray[np.int64], size: Size, *, allow_upsample: bool = False
    ) -> Size:
        """The smallest level on which each of these regions has at least 8/5 as many pixels as it is given; else the
        films at their own size, else the largest.

        Raises ArgumentError for a region that is not part of its film, SizeError for one with fewer pixels there than
        it is given, unless enlarging is asked for.
        """
        parts = pixels = None
        for level in (*self.sizes, *([self.native] if self.native else [])):
            parts = self.places(level, rows)
            pixels = regions[:, 2:] * (parts[:, 6:] / np.maximum(parts[:, 2:4], 1))  # of the level, per axis
            if self._holds(regions, parts).all() and (np.asarray(size) * 8 <= pixels * 5 + 1e-9).all():
                return level
        assert parts is not None
        assert pixels is not None
        outside = ~self._holds(regions, parts)
        if outside.any():
            where = int(np.argmax(outside))
            y, x, height, width = parts[where, :4].tolist()
            raise ArgumentError(
                f"region {tuple(regions[where].tolist())} of row {rows[where]}: (y, x, height, width) in source pixels "
                f"must lie in what is stored of this film: y {y} to {y + height}, x {x} to {x + width}"
            )
        few = (np.asarray(size) > pixels + 1e-9).any(axis=1)
        if few.any() and not allow_upsample:
            where = int(np.argmax(few))
            y, x = np.floor(pixels[where]).astype(int).tolist()
            raise SizeError(
                f"region {tuple(regions[where].tolist())} of row {rows[where]} has {y}x{x} pixels of what is stored, "
                f"less than {size}: ask for fewer pixels or a larger region, or pass allow_upsample=True"
            )
        return self.native or self.sizes[-1]

    @staticmethod
    def _holds(regions: NDArray[np.int64], parts: NDArray[np.int32]) -> NDArray[np.bool_]:
        start, stop = parts[:, :2], parts[:, :2] + parts[:, 2:4]
        inside = (regions[:, :2] >= start) & (regions[:, :2] + regions[:, 2:] <= stop) & (regions[:, 2:] >= 1)
        return np.asarray(inside.all(axis=1))


def _fits(size: Size, within: Size) -> bool:
    """Whether a size is enlarged in neither direction."""
    return size.height <= within.height and size.width <= within.width


def _taken(images: torch.Tensor, members: torch.Tensor | None) -> torch.Tensor:
    """Some images; all of them (None) without a copy."""
    if members is None:
        return images
    return carried.bits(images)[members].view(images.dtype)
