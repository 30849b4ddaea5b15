"""The masks of one film, from the rows of a catalog's table of masks.

Several rows of one label are united: SIIM-ACR has films with up to ten annotations of one pneumothorax, and
Montgomery a file for each lung. A label without a row is *unknown*, and one whose run-lengths are empty or `-1` is
*known to be empty*: a loss must count the second and leave out the first.
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload import decode
from resload.decode.source import source_bytes
from resload.errors import CatalogError, DecodeError
from resload.masks import npy
from resload.masks.rects import centres, whole
from resload.masks.runs import Mask, decode_runs
from resload.size import Size, SizeLike, as_size

ASPECT_TOLERANCE = 0.02
"""How far the aspect of a mask may be from its film's. CBIS-DDSM has masks of another size than the film they belong
to (fjeg/ddsm_tools#5); those of the same shape are the same view at another scale."""


def film_masks(
    rows: pd.DataFrame, labels: Sequence[Hashable], size: SizeLike, root: str | Path = "."
) -> tuple[list[Mask | None], NDArray[np.bool_]]:
    """One film's masks, in the order of `labels`: K times (H, W) bool or None, and (K,) bool: which are known.

    rows: the film's rows of a table of masks: `id`, `label`, and `path` (a picture, or an array that numpy.save wrote,
    named .npy) or `rle` (with `rle_format`, see `runs.py`; `siim` where there is none). Labels that are not asked for
    are not read. size: the film's (height, width) as decoded. root: where relative paths start. None is a mask that is
    unknown, all False one that is known to be empty. Arrays belong to the caller. Thread-safe.

    Raises DecodeError, naming film, label and file, for a mask that cannot be read or has another shape than the film,
    and CatalogError for a row with neither path nor run-lengths, or both.
    """
    size = as_size(size)
    found: dict[Hashable, Mask] = {}
    for row in rows.to_dict("records"):
        label = row["label"]
        if label in labels:
            mask = _row_mask(row, size, Path(root))
            found[label] = found[label] | mask if label in found else mask
    return [found.get(label) for label in labels], np.array([label in found for label in labels], np.bool_)


def as_mask(array: NDArray[Any], size: SizeLike) -> Mask:
    """An array (h, w) of bool or whole numbers as a mask (H, W) bool of its film's size: not zero is inside.

    Another size of the same aspect (within 2 %) is brought to the film's by the nearest pixel. The result is a view of
    a bool array that fits, else new.

    Raises DecodeError for another kind of array, or another shape than the film's.
    """
    if array.ndim != 2 or array.dtype.kind not in "bui" or 0 in array.shape:
        raise DecodeError(
            "a mask must be (height, width) of bool or whole numbers", detail=f"found {array.dtype} {array.shape}"
        )
    inside = array if array.dtype == np.bool_ else array != 0
    return _at_size(inside, as_size(size))


def same_shape(own: SizeLike, film: SizeLike) -> bool:
    """Whether a mask of this size can be its film's: the aspects agree within 2 %. Raises SizeError for no size."""
    (height, width), (film_height, film_width) = as_size(own), as_size(film)
    aspect = (height / width) / (film_height / film_width)
    return 1 / (1 + ASPECT_TOLERANCE) <= aspect <= 1 + ASPECT_TOLERANCE


def _row_mask(row: Mapping[Hashable, Any], size: Size, root: Path) -> Mask:
    where = f"mask {row['label']!r} of film {row['id']}"
    path, runs = (_given(row.get(name)) for name in ("path", "rle"))
    if (path is None) == (runs is None):
        raise CatalogError(
            f"{where} has {'neither' if path is None else 'both'} path and rle; a row has one of them. Write '-1' "
            "as rle for a mask known to be empty, and no row for one that is unknown"
        )
    try:
        if path is not None:
            file = root / path
            return as_mask(_array(file), size) if file.suffix == ".npy" else _at_size(_from_file(file), size)
        return decode_runs(runs, size, _given(row.get("rle_format")) or "siim")
    except DecodeError as exc:
        named = exc.path if path is None else root / path
        raise type(exc)(f"{where}: {exc.reason}", path=named, detail=exc.detail) from exc.__cause__


def _given(value: Any) -> Any:
    """None for what pandas holds where nothing is: None, NaN and NA."""
    return value if isinstance(value, str | list | tuple | np.ndarray) or not pd.isna(value) else None


def _array(path: Path) -> NDArray[Any]:
    """An array that numpy.save wrote. Raises UnreadableFileError, TooLargeError, DecodeError."""
    try:
        return npy.array(source_bytes(path)[0])
    except DecodeError as exc:
        raise exc.at(path) from exc.__cause__


def _from_file(path: Path) -> Mask:
    """A picture as a mask: what is stored as zero is outside, whatever the full scale (0/1, 0/255 or 0/65535).

    JPEG smears edges over values near zero, so there the upper half of the scale is inside.
    """
    film = decode.decode(path)
    if decode.read_header(path).format == "jpeg":
        return np.greater_equal(film.pixels, 128)
    return np.not_equal(film.pixels, film.values.offset if film.values else 0)


def _at_size(mask: Mask, size: Size) -> Mask:
    """A mask at its film's size; refuses one of another shape."""
    own = Size(*mask.shape)
    if own == size:
        return mask
    if not same_shape(own, size):
        raise DecodeError(
            "the mask has another shape than its film", detail=f"the mask is {own}, the film {size} (height x width)"
        )
    film = whole(size)
    level = (film[0], whole(own)[0])  # the mask is its film at another size
    rows, columns = centres(level, film, 0), centres(level, film, 1)
    return np.asarray(mask[rows[:, None], columns])
