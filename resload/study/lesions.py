"""How large findings are in pixels, and how well networks saw them: is it pixels that count, whatever the size?

When a study begins, the largest finding of each test film is measured in pixels of each size, and kept in its folder:

    shown_fits, shown_sizes  (M,) text: how a film lies in an image
    spacings                 (M, 2): the median mm per pixel (y, x) of the test films; NaN unless it is known of all
    lesion_pixels            (M, test films, targets): the shorter side of the largest box, or the diameter of a disc
                             of the largest mask's area; NaN where a film with the finding has none of its name,
                             and for films without it

so that the report needs no cache.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resload.geometry.placing import PLACES, SPACING
from resload.report.lesions import BoxSides, Lesions, MaskDiameters
from resload.size import Size
from resload.store.cache import Cache
from resload.study.films import Films

if TYPE_CHECKING:
    from resload.study.results import Study

Shown = tuple[str, str]
"""(fit, size), as text."""
Floats = NDArray[np.float64]


# -- measured when a study begins --


def measured(films: Films, sizes: Iterable[Size], before: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What the folder keeps of these sizes, and of those that it kept before."""
    rows = films.rows["test"]
    found = _kept(before, films.targets)
    for (_, fit), cache in films.caches.items():
        sources = _sources(cache)
        for size in sizes:
            facts = cache.facts(rows, size)
            pixels = _largest(sources, films, rows, facts[:, PLACES])
            found[fit, str(size)] = (_middle(facts[:, SPACING].astype(np.float64)), pixels)
    return {
        "shown_fits": np.array([fit for fit, _ in found], str),
        "shown_sizes": np.array([size for _, size in found], str),
        "spacings": np.array([spacing for spacing, _ in found.values()]),
        "lesion_pixels": np.array([pixels for _, pixels in found.values()], np.float32),
    }


def _kept(before: Mapping[str, NDArray[Any]], targets: tuple[str, ...]) -> dict[Shown, tuple[Floats, Floats]]:
    if "lesion_pixels" not in before or tuple(before["targets"].tolist()) != targets:
        return {}
    shown = zip(before["shown_fits"].tolist(), before["shown_sizes"].tolist(), strict=True)
    return dict(zip(shown, zip(before["spacings"], before["lesion_pixels"], strict=True), strict=True))


def _sources(cache: Cache) -> list[Lesions]:
    boxes = cache.boxes is not None and len(cache.boxes)
    return [*([BoxSides(cache)] if boxes else []), *([MaskDiameters(cache)] if cache.masks else [])]


def _largest(sources: list[Lesions], films: Films, rows: NDArray[np.int64], places: NDArray[np.float32]) -> Floats:
    """(test films, targets)."""
    found = np.full((len(rows), len(films.targets)), np.nan)
    for lesions in sources:
        wanted = {lesions.names.index(name): k for k, name in enumerate(films.targets) if name in lesions.names}
        having = (films.values[rows][:, list(wanted.values())] > 0).any(axis=1)
        for place in np.flatnonzero(having).tolist():
            here = slice(place, place + 1)
            for pixels, label in zip(*lesions(rows[here], places[here]), strict=True):
                if label in wanted:
                    found[place, wanted[label]] = np.fmax(found[place, wanted[label]], pixels)
    return found


def _middle(spacings: Floats) -> Floats:
    """(2,): of films of which all have a spacing."""
    return np.asarray(np.median(spacings, axis=0))  # NaN where one is


# -- read when it is reported --


def spacing(study: "Study", fit: str, size: Size) -> float | None:
    """Millimetres of a pixel, the geometric mean of y and x; None where they are not known of all test films."""
    place = _place(study, fit, size)
    if place is None:
        return None
    found = float(np.sqrt(np.prod(study.films["spacings"][place])))
    return found if np.isfinite(found) else None


def _place(study: "Study", fit: str, size: Size) -> int | None:
    films = study.films
    if "shown_fits" not in films:
        return None
    found = np.flatnonzero((films["shown_fits"] == fit) & (films["shown_sizes"] == str(size)))
    return int(found[0]) if len(found) else None
