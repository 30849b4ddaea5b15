"""What a cache stores of a film: its levels and masks, and what its row of the table says of it.

film_of      a catalog's row --read, hashed, decoded--> Film, or why there is none
made_of      Film, its masks --> {array: pixels}
record_of    Film --> its columns; with `mask_facts`, those of its masks; `failed`: of a film that there is none of
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.decode.source import source_bytes
from resload.errors import DecodeError
from resload.masks.runs import Mask
from resload.masks.table import MaskTable, areas, coverages
from resload.pipeline import Film, Pipeline
from resload.pipeline.cpu import Known, plain_number
from resload.pipeline.engine import CPU, Engine
from resload.pipeline.recipe import CatalogFilms
from resload.pipeline.together import made_together
from resload.size import Size
from resload.store import layout, tables
from resload.store.layout import Manifest

Record = dict[str, Any]
"""What making one film recorded: the columns of tables.RESULTS, its id, and {size: [crc32c, sum, sumsq]}."""

Made = tuple[Film, str, str]
"""A film at every size of a recipe, the (sealed) hash of its file, and the file's stamp."""


def film_of(films: CatalogFilms, row: int, recipe: Pipeline, engine: Engine = CPU) -> Made:
    """One film of a catalog. Raises DecodeError, naming its file."""
    ((_, made),) = films_of(films, [row], recipe, engine)
    if isinstance(made, DecodeError):
        raise made
    return made


def films_of(
    films: CatalogFilms, rows: Sequence[int], recipe: Pipeline, engine: Engine
) -> Iterator[tuple[int, Made | DecodeError]]:
    """Films of a catalog in any order, each with its place in `rows`; or why it cannot be made, naming its file."""
    files = [_File(films, row) for row in rows]
    for k, film in made_together(recipe, files, engine):
        file = files[k]
        yield k, film.at(file.path) if isinstance(film, DecodeError) else (film, file.source_hash, file.stamp)


class _File:
    """A film's file: the film as `made_together` takes it; and, once it was read, what is recorded of the file."""

    def __init__(self, films: CatalogFilms, row: int) -> None:
        self._seal = films.seal
        self.path, self._known = films.source(row)
        self.source_hash = self.stamp = ""

    def __call__(self) -> tuple[bytes, Known]:
        data, self.stamp = read_file(self.path)
        self.source_hash = self._seal(content_hash(data))
        return data, self._known


def read_file(path: Path) -> tuple[bytes, str]:
    """A source's bytes and its stamp. Raises UnreadableFileError or TooLargeError, naming it."""
    data, status = source_bytes(path)
    return data, stamp_of(status)


def content_hash(data: bytes) -> str:
    """The first 128 bits of SHA-256, as hex."""
    return hashlib.sha256(data).hexdigest()[:32]


def stamp_of(status: os.stat_result) -> str:
    """Size and modification time folded into 16 hex digits: enough to notice a change, and no date to read."""
    return hashlib.blake2b(f"{status.st_size}:{status.st_mtime_ns}".encode(), digest_size=8).hexdigest()


def record_of(film: Film, source_hash: str, stamp: str) -> Record:
    """The columns of tables.RESULTS for a film."""
    content = dict(zip(("y", "x", "height", "width"), film.content, strict=True))
    return {
        "height": film.size.height,
        "width": film.size.width,
        "bits": film.bits,
        "scale": plain_number(film.scale),
        "offset": plain_number(film.offset),
        "intensity": film.intensity,
        "spacing_y": plain_number(film.spacing[0]),
        "spacing_x": plain_number(film.spacing[1]),
        **{f"content_{name}": value for name, value in content.items()},
        "chest_wall": film.chest_wall,
        "decoder": film.decoder,
        "source_hash": source_hash,
        "source_stamp": stamp,
        "status": "ok",
        "reason": "",
    }


def failed(error: DecodeError) -> Record:
    """The columns of tables.RESULTS for a film that could not be made: a class and a fixed sentence."""
    shape = dict.fromkeys(("height", "width", "bits", "content_y", "content_x", "content_height", "content_width"), 0)
    numbers = dict.fromkeys(("scale", "offset", "spacing_y", "spacing_x"))
    words = dict.fromkeys(("intensity", "chest_wall", "decoder", "source_hash", "source_stamp"), "")
    return {**shape, **numbers, **words, "status": "failed", "reason": f"{type(error).__name__}: {error.reason}"}


# -- its masks --


@dataclass(frozen=True)
class FilmMasks:
    """What is known of one film's masks, in the order of a cache's labels."""

    masks: list[Mask | None]
    """(H, W) bool in the film's pixels; None where nobody looked."""
    content_hash: str
    """Of the rows of the catalog's table and the files that they name."""
    stamp: str
    """Of the rows, and the files' sizes and times."""


def masks_of(table: MaskTable | None, row: int, film: Film, goal: Manifest) -> FilmMasks | None:
    """The masks of a catalog's film; None in a cache without masks. Raises DecodeError."""
    if not goal.masks:
        return None
    assert table is not None
    return FilmMasks(table.of(row, film.size)[0], table.content_hash(row), table.stamp(row))


def mask_facts(found: FilmMasks | None, goal: Manifest) -> Record:
    """What the table keeps of masks: their areas in pixels of the film (None: unknown), their hash and stamp."""
    if found is None:
        return {}
    known = {label: plain_number(float(area)) for label, area in zip(goal.masks, areas(found.masks), strict=True)}
    return {"masks": known, tables.MASKS_HASH: found.content_hash, tables.MASKS_STAMP: found.stamp}


def no_masks(goal: Manifest) -> Record:
    """`mask_facts` of a film that could not be made."""
    if not goal.masks:
        return {}
    return {"masks": dict.fromkeys(goal.masks), tables.MASKS_HASH: "", tables.MASKS_STAMP: ""}


# -- its records --


def levels_recipe(recipe: Pipeline, arrays: Sequence[Size]) -> Pipeline:
    """The recipe that makes all that these arrays need of a film."""
    return recipe.with_sizes([one.level if isinstance(one, layout.Masks) else one for one in arrays])


def made_of(film: Film, found: FilmMasks | None, recipe: Pipeline, arrays: Sequence[Size]) -> dict[Size, NDArray[Any]]:
    """The records of a film: its pixels at each level, the coverage of its masks."""
    sizes = levels_recipe(recipe, arrays).sizes
    levels, places = dict(zip(sizes, film.levels, strict=True)), dict(zip(sizes, film.places, strict=True))
    made = {}
    for one in arrays:
        if not isinstance(one, layout.Masks):
            made[one] = levels[one]
        elif found is not None:
            made[one] = coverages(found.masks, places[one.level], one.level)
    return made


def integer_sums(pixels: NDArray[Any]) -> tuple[int, int]:
    """Sum and sum of squares of (H, W) uint8 or uint16, exact."""
    if pixels.dtype == np.uint8:
        square = pixels.astype(np.uint16)
        square *= square  # at most 65,025; a column of 65,536 of them stays below 2**32
        return int(pixels.sum(dtype=np.uint64)), int(
            np.add.reduce(square, axis=0, dtype=np.uint32).sum(dtype=np.uint64)
        )
    wide = pixels.astype(np.float64)  # a row of 65,536 squares of 65,535 stays below 2**53: exact
    return int(pixels.sum(dtype=np.uint64)), sum(int(row) for row in np.einsum("ij,ij->i", wide, wide))


def record_sums(pixels: NDArray[Any]) -> tuple[int, int]:
    """`integer_sums` of a record, (H, W) or (K, H, W); mask by mask, as many of them would not fit its bounds."""
    if pixels.ndim == 2:
        return integer_sums(pixels)
    sums = [integer_sums(one) for one in pixels]
    return sum(total for total, _ in sums), sum(squares for _, squares in sums)
