"""Whether what a cache was made of is still what it was: films by their files, masks by their rows and files.

A file that is gone is not missed until it is needed.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.masks.table import MaskTable
from resload.pipeline.recipe import CatalogFilms
from resload.store import tables
from resload.store.made import content_hash, read_file, stamp_of


def changed_sources(films: CatalogFilms, known: pd.DataFrame, places: NDArray[np.int64], check: str) -> list[str]:
    """Paths of stored films whose file is another one now.

    known: the cache's table. places: the catalog's row of each of its rows. check: "stamp", "hash" or "none".
    """
    if check == "none":
        return []
    stored = zip(known["source_hash"].tolist(), known["source_stamp"].tolist(), places.tolist(), strict=True)
    return [
        str(films.paths[row])
        for content, stamp, row in stored
        if content and _differs(films, row, content, stamp, check)
    ]


def changed_masks(table: MaskTable | None, known: pd.DataFrame, places: NDArray[np.int64], check: str) -> list[str]:
    """Films whose masks, or the files they are in, are no longer what was stored."""
    if table is None or check == "none":
        return []
    stored = zip(known["id"], known[tables.MASKS_HASH], known[tables.MASKS_STAMP], places.tolist(), strict=True)
    return [
        f"the masks of {name}"
        for name, content, stamp, row in stored
        if content and _masks_differ(table, row, content, stamp, check)
    ]


def _differs(films: CatalogFilms, row: int, source_hash: str, stamp: str, check: str) -> bool:
    path = films.paths[row]
    try:
        if check == "stamp" and stamp_of(path.stat()) == stamp:
            return False
        return films.seal(content_hash(read_file(path)[0])) != source_hash
    except OSError:
        return False


def _masks_differ(masks: MaskTable, row: int, content: str, stamp: str, check: str) -> bool:
    try:
        return not (check == "stamp" and masks.stamp(row) == stamp) and masks.content_hash(row) != content
    except OSError:
        return False
