"""How large findings are in pixels, and how well networks saw them: is it pixels that count, whatever the size?

When a study begins, the largest finding of each test film is measured in pixels of each size, and kept in its folder:

    shown_fits, shown_sizes  (M,) text: how a film lies in an image
    spacings                 (M, 2): the median mm per pixel (y, x) of the test films; NaN unless it is known of all
    lesion_pixels            (M, test films, targets): the shorter side of the largest box, or the diameter of a disc
                             of the largest mask's area; NaN where a film with the finding has none of its name,
                             and for films without it

so that the report needs no cache. How detectable a film's finding was is the share of the films without it that it
outscores (DeLong's placement, whose mean over films is the area under the ROC curve); in segmentation it is the Dice
coefficient.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resload.geometry.placing import PLACES, SPACING
from resload.report.lesions import BoxSides, Lesions, MaskDiameters
from resload.size import Size
from resload.statistics import Estimate, Resampling, placements
from resload.statistics.estimates import estimate
from resload.statistics.metrics import measure
from resload.statistics.ranks import Weights
from resload.store.cache import Cache
from resload.study.films import Films

if TYPE_CHECKING:
    from resload.study.results import Line, Point, Study

FEWEST = 5
"""Films of an octave that is shown."""
REPEATS = 500
"""Resamples of patients of an octave's interval, which nothing is tested by."""
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


@dataclass(frozen=True)
class Octave:
    """Films whose largest finding has between so many pixels and twice as many."""

    low: float
    """Pixels."""
    middle: float
    """The geometric mean of the films'."""
    films: int
    detectability: Estimate
    """The mean over seeds and films, with its interval over patients."""


def octaves(study: "Study", line: "Line") -> dict[Size, tuple[Octave, ...]]:
    """Detectability of one target by pixels of its findings, for each size that has any; empty without boxes or masks.

    Films are those with the finding and a box or mask of its name. Octaves of fewer than `FEWEST` films are left out.
    """
    found: dict[Size, tuple[Octave, ...]] = {}
    for size, point in study.points(line).items():
        place = _place(study, line.curve.fit, size)
        pixels = None if place is None else _column(study, line.target, place)
        if pixels is not None and study.metric in ("auc", "dice"):
            own = _binned(pixels, _detected(study, line.target, point), study.films["patients"])
            found |= {size: own} if own else {}
    return found


def _column(study: "Study", target: str, place: int) -> Floats:
    """(N,)."""
    column = study.films["targets"].tolist().index(target)
    return np.asarray(study.films["lesion_pixels"][place, :, column], np.float64)


def _detected(study: "Study", target: str, point: "Point") -> Floats:
    """(N,), the mean over seeds; NaN for films without the finding."""
    if study.metric == "dice":
        return np.asarray(point.values.mean(axis=0))
    truth = study.truth(target)
    known = ~np.isnan(truth)
    found = np.full(len(truth), np.nan)
    found[truth == 1] = np.mean([placements(scores[known], truth[known])[0] for scores in point.values], axis=0)
    return found


def _binned(pixels: Floats, detected: Floats, patients: NDArray[Any]) -> tuple[Octave, ...]:
    usable = np.isfinite(pixels) & (pixels > 0) & np.isfinite(detected)
    pixels, detected, patients = pixels[usable], detected[usable], patients[usable]
    number = np.floor(np.log2(pixels))
    parts = [own for octave in np.unique(number) if (own := number == octave).sum() >= FEWEST]
    if not parts:
        return ()
    every = measure([_Part(detected, own) for own in parts], Resampling(patients.tolist(), repeats=REPEATS), 0)
    return tuple(
        Octave(
            low=float(2.0 ** number[own][0]),
            middle=float(np.exp(np.log(pixels[own]).mean())),
            films=int(own.sum()),
            detectability=estimate(replace(one, carriers=len(np.unique(patients[own])))),
        )
        for own, one in zip(parts, every, strict=True)
    )


class _Part:
    """The mean of some films' values, a `statistics.metrics.Measurable`; NaN where a resample has none of them."""

    def __init__(self, values: Floats, own: NDArray[np.bool_]) -> None:
        self._values, self._own = values[own], own

    def measured(self, weights: Weights) -> Floats:
        """(b, 1)."""
        mine = weights[self._own]
        total = mine.sum(axis=0)
        part = np.asarray(self._values @ mine, np.float64)
        return np.divide(part, total, out=np.full(part.shape, np.nan), where=total > 0)[:, None]


def _place(study: "Study", fit: str, size: Size) -> int | None:
    films = study.films
    if "shown_fits" not in films:
        return None
    found = np.flatnonzero((films["shown_fits"] == fit) & (films["shown_sizes"] == str(size)))
    return int(found[0]) if len(found) else None
