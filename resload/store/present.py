"""The arrays of a cache as they are now, by which an append copies old records and verifies them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.size import Size
from resload.store import layout, tables
from resload.store.gather import Level
from resload.store.native import Packed
from resload.store.opened import Shards
from resload.store.remote import Location


def levels(cache: Location, known: pd.DataFrame) -> dict[Size, Level]:
    """The levels of a cache. known: its table, at least the checksums."""
    manifest = layout.read_manifest(cache)
    shards = Shards(cache, manifest)
    return {size: Level(shards, size, _crcs(known, size)) for size in manifest.arrays if not layout.is_packed(size)}


def packed(cache: Location, known: pd.DataFrame) -> dict[Size, Packed]:
    """Its arrays of compressed records."""
    manifest = layout.read_manifest(cache)
    sizes = [size for size in manifest.arrays if layout.is_packed(size)]
    shards = Shards(cache, manifest)
    return {size: Packed(shards, size, _crcs(known, size)) for size in sizes}


def _crcs(known: pd.DataFrame, size: Size) -> NDArray[np.uint32]:
    return known[tables.level_column("crc32c", size)].to_numpy(np.uint32)
