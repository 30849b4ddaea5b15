"""The report: what there is to know of a cache's sizes before one is chosen."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from resload.errors import CatalogError, DecodeError
from resload.geometry.placing import PLACES, SPACING
from resload.pipeline.recipe import CatalogFilms
from resload.report import drawing
from resload.report.detail import Floats
from resload.report.films import FILM, RETURN, Comparison, Measured, chosen, compared_with, octaves
from resload.report.lesions import BoxSides, LesionSize, MaskDiameters, lesion_sizes
from resload.report.numbers import Spread, plain, psnr_spread, spread
from resload.size import Native, Size
from resload.store import layout
from resload.store.cache import Cache, open_cache
from resload.store.commit import bytes_below
from resload.store.pseudonyms import names_in
from resload.threads import ordered_map, thread_count

if TYPE_CHECKING:
    from resload.catalog import Catalog

MOST_THREADS = 4
"""At once where nobody says otherwise: the spectra of a mammogram take hundreds of megabytes."""


@dataclass(frozen=True)
class Octave:
    """One octave of spatial frequency."""

    low: float
    high: float
    share: float | None
    """Of the films' energy: what lies in it in the median film. None where no film reaches it."""


@dataclass(frozen=True)
class Detail:
    """What a size lost of the films, over films."""

    films: int
    rmse: Spread
    """Root mean square error of a film, as a share of the full range."""
    psnr: Spread
    """The same in dB, -20 log10(rmse); infinite where nothing is lost."""
    kept: tuple[float | None, ...]
    """Share of the energy that is left in each octave of `Report.octaves`, in the median film; None where no film
    could tell."""


@dataclass(frozen=True)
class SizeReport:
    """What there is to know of one size."""

    size: Size
    bytes_per_film: float
    """On disk."""
    spacing_y: Spread | None
    """mm per pixel over the films whose spacing is known; None where it is of none."""
    spacing_x: Spread | None
    lesions: tuple[LesionSize, ...]
    """All findings that have boxes, then those of each label."""
    against: str
    """What the detail is compared with: "film", or a size."""
    whole: Detail
    boxes: Detail | None
    """Within the boxes; None without any."""


@dataclass(frozen=True)
class Report:
    """What `resolution_report` found: plain numbers, the same for the same cache, catalog and seed."""

    name: str
    """Of the cache's folder."""
    films: int
    """How many can be read."""
    measured: int
    """Of how many the detail was compared."""
    returned_by: str
    """The kernel that brought sizes back to the films' own."""
    unit: str
    """Of the octaves: "cycles/mm" (line pairs per mm), or "cycles/pixel" where fewer than half of the films have a
    spacing."""
    octaves: tuple[Octave, ...]
    """The finest first."""
    sizes: tuple[SizeReport, ...]
    """Ascending."""
    skipped: dict[str, str]
    """Films that should have been compared and could not: id -> reason."""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON: None for what is infinite or not known."""
        found: dict[str, Any] = plain(self)
        return found

    def draw(self, path: str | os.PathLike[str], *, dpi: int = 300) -> None:
        """Write the report as a figure, a PNG: pixels of findings, error, and energy kept, over size.

        Raises ArgumentError when path does not end in .png, and MissingPackageError without matplotlib.
        """
        drawing.draw(self, path, dpi=dpi)


def resolution_report(
    cache: Cache | str | os.PathLike[str],
    catalog: "Catalog | None" = None,
    *,
    films: int = 64,
    seed: int = 0,
    pseudonymise: str | bytes | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> Report:
    """For each size of a cache: its bytes, its millimetres per pixel, how many pixels findings have, and what is lost.

    Bytes, millimetres and findings are those of all readable films of the cache (or view); the detail is compared for
    some of them: each stored size, brought back to the film by the cubic kernel, against the film. Only the part of a
    film that a size shows is compared.

    Args:
        cache: an open cache, a view of one, or its path.
        catalog: the films that it was built from: sizes are then compared with the films' own pixels, decoded as the
            cache's recipe says. Without it, with the native size, if the cache has it; else with the largest size that
            shows the same part of the films.
        films: of how many films the detail is compared; those with boxes come first.
        seed: of their choice.
        pseudonymise: the key of a cache that was built with one, to find its films in the catalog.
        threads: how many films at once; at most 4 when None, for films are large.
        progress: show a bar on a terminal.

    Raises ArgumentError for a number of films under 1 and a view without readable films, CatalogError for a catalog
    that has none of the films or none that can be compared, and CorruptCacheError. A film whose file cannot be read, or
    is another one than the cache was built from, is left out and listed in `Report.skipped`.
    """
    count = min(MOST_THREADS, thread_count(None)) if threads is None else thread_count(threads)
    opened = cache if isinstance(cache, Cache) else open_cache(cache)
    source = None
    if catalog is not None or pseudonymise is not None:
        names = names_in(opened.path, layout.read_manifest(opened.path), pseudonymise)
    if catalog is not None:
        catalog = names.catalog(catalog)
        source = CatalogFilms(catalog, names.seal)
    rows = chosen(opened, films, seed, catalog)
    native = catalog is not None or Native(0, 0) in opened.sizes
    against = compared_with(opened, rows, native=native)
    bands = octaves(opened, rows, native=native)
    comparison = Comparison(opened, source, against, bands)
    bar = tqdm(total=len(rows), unit="film", desc=f"report {opened.path.name}", disable=None if progress else True)
    measured: list[Measured] = []
    skipped: dict[str, str] = {}
    for row, found in zip(
        rows, ordered_map(comparison.of, rows.tolist(), threads=count, window=2 * count), strict=True
    ):
        if isinstance(found, DecodeError):
            skipped[str(opened.table["id"].iloc[row])] = str(found)
        else:
            measured.append(found)
        bar.update()
    bar.close()
    if not measured:
        raise CatalogError(f"none of {len(rows)} films could be compared; the first: {next(iter(skipped.values()))}")
    return Report(
        name=opened.path.name,
        films=len(opened.rows()),
        measured=len(measured),
        returned_by=RETURN,
        unit=bands.unit,
        octaves=_octaves(bands.edges, measured),
        sizes=tuple(_size(opened, size, against[size], measured) for size in opened.sizes),
        skipped=skipped,
    )


def _octaves(edges: Floats, measured: Sequence[Measured]) -> tuple[Octave, ...]:
    shares = _medians([one.energy for one in measured])
    lows, highs = edges[:-1].tolist()[::-1], edges[1:].tolist()[::-1]
    return tuple(Octave(*one) for one in zip(lows, highs, shares, strict=True))


def _size(cache: Cache, size: Size, against: Size | None, measured: Sequence[Measured]) -> SizeReport:
    spacing = cache.facts(cache.rows(), size)[:, SPACING]
    lost = [one.lost[size] for one in measured]
    boxed = [one for one in lost if np.isfinite(one.box_rmse)]
    return SizeReport(
        size=size,
        bytes_per_film=_bytes(cache, size) / layout.read_manifest(cache.path).count,
        spacing_y=spread(spacing[:, 0]),
        spacing_x=spread(spacing[:, 1]),
        lesions=_lesions(cache, size),
        against=FILM if against is None else str(against),
        whole=_detail([one.rmse for one in lost], [one.kept for one in lost]),
        boxes=_detail([one.box_rmse for one in boxed], [one.box_kept for one in boxed]) if boxed else None,
    )


def _bytes(cache: Cache, size: Size) -> int:
    return bytes_below(cache.path / layout.level_folder(size))


def _lesions(cache: Cache, size: Size) -> tuple[LesionSize, ...]:
    """From the boxes where there are boxes, else from the masks."""
    rows = cache.rows()
    if cache.boxes is None:
        masks = MaskDiameters(cache) if cache.masks else None
        return () if masks is None else lesion_sizes(masks, rows, cache.facts(rows, size)[:, PLACES])
    rows = rows[cache.table["id"].iloc[rows].isin(cache.boxes["id"]).to_numpy()]
    return lesion_sizes(BoxSides(cache), rows, cache.facts(rows, size)[:, PLACES])


def _detail(errors: Sequence[float], kept: Sequence[Floats]) -> Detail:
    rmse = spread(errors)
    assert rmse is not None
    return Detail(len(errors), rmse, psnr_spread(rmse), _medians(kept))


def _medians(values: Sequence[Floats]) -> tuple[float | None, ...]:
    """Over films, in each octave, the finest first; None where no film has a value."""
    columns: NDArray[np.float64] = np.stack(values).T[::-1]
    found = [column[np.isfinite(column)] for column in columns]
    return tuple(float(np.median(column)) if column.size else None for column in found)
