"""Targets that are a point of the film: two columns, x and y, in pixels of the film.

to the image and into a library, through its transform, and back into the targets: in pixels of the batch's image then,
NaN where the point is not seen. Coordinates here are continuous (pixel i covers i to i + 1), as everywhere in resload.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.augment.sample import Sample
from resload.errors import ArgumentError

Floats = NDArray[np.float64]
Pairs = tuple[tuple[str, str], ...]


def as_pairs(keypoints: Sequence[Any]) -> Pairs:
    """(x, y) names of targets, for each landmark. Raises ArgumentError for anything else."""
    for one in keypoints:
        if isinstance(one, str) or len(one) != 2 or not all(isinstance(name, str) for name in one):
            raise ArgumentError(f'keypoints must be pairs of targets, such as ("carina_x", "carina_y"); found {one!r}')
    return tuple((x, y) for x, y in keypoints)


def check_pairs(pairs: Pairs, targets: Sequence[str]) -> None:
    """Raises ArgumentError for a name that is no target, or is there twice."""
    names = [name for pair in pairs for name in pair]
    missing = sorted(set(names) - set(targets))
    if missing:
        raise ArgumentError(f"keypoints: {', '.join(missing)} are no targets of this data, which has {list(targets)}")
    if len(set(names)) < len(names):
        raise ArgumentError(f"keypoints: a target belongs to one landmark; found {list(pairs)}")


def seen(sample: Sample, pairs: Pairs) -> tuple[Floats, NDArray[np.int64]]:
    """The landmarks that this image shows, (n, 2) as (x, y) in its pixels, and which of the pairs they are, (n,)."""
    columns = _columns(sample, pairs)
    points = sample.targets.numpy().astype(np.float64)[columns]
    placed = sample.to_image(points[:, ::-1])[:, ::-1]
    which = np.flatnonzero(_inside(placed, sample))
    return placed[which], which


def put(sample: Sample, pairs: Pairs, points: Floats, which: NDArray[np.int64]) -> None:
    """Write these landmarks into the targets, in pixels of the image; NaN for those that are not seen.

    One that is there several times, as where a border reflects the film, is unknown unless one of them is in the image.
    """
    found = np.full((len(pairs), 2), np.nan)
    shown = _inside(points, sample)
    points, which = points[shown], which[shown]
    once = np.bincount(which, minlength=len(pairs))[which] == 1
    found[which[once]] = points[once]
    sample.targets.numpy()[_columns(sample, pairs)] = found


def _columns(sample: Sample, pairs: Pairs) -> NDArray[np.int64]:
    """(n, 2) places of the landmarks' numbers among the targets."""
    places = {name: place for place, name in enumerate(sample.target_names)}
    return np.array([(places[x], places[y]) for x, y in pairs], np.int64).reshape(-1, 2)


def _inside(points: Floats, sample: Sample) -> NDArray[np.bool_]:
    """Which are on the image; False where unknown."""
    height, width = sample.size
    return np.asarray(((points >= 0) & (points <= (width, height))).all(axis=1))
