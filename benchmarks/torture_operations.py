"""What `torture.py` interrupts: everything that writes a cache, on films so small that each takes a tenth of a second.

build             a cache of three row groups
append            16 films to a cache of 24, whose last row group is then made again
add level         a second size
append and more   films, a size, the films' own size and masks, in two steps
retarget          tables written again: another target, no boxes any more
repair            records with a flipped bit, a shard that was cut, one that is missing, a document too
revive            repair of films that could not be read when the cache was built
other append      films appended where an append of other films was interrupted
repair between    repair where an append was interrupted, which is then finished
"""

import contextlib
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import resload
from resload.testing import Place, write_synthetic
from resload.testing.faults import Layer, faulty

SIZES = (16, 24)
FILMS = 40


@dataclass(frozen=True)
class Operation:
    """One thing that writes a cache."""

    name: str
    start: Callable[[Place], object] | None
    """Makes what is there before; None: nothing is."""
    act: Callable[[Place, int], object]
    """(where, threads): what is interrupted, and then done again."""
    between: tuple[Callable[[Place], object], ...] = ()
    """What else may be served on the way: each makes of the start what it is then."""
    damaged: bool = False
    """Whether records of the start are damaged: they must be refused."""


class Films:
    """The catalogs that operations work on, written once below a folder."""

    def __init__(self, folder: Path) -> None:
        sound = write_synthetic(folder / "sound", FILMS, size=(48, 48), seed=1, broken=0, dicom_share=0.0)
        sound = sound.scan(progress=False)
        table = sound.table
        self.all = resload.Catalog(table, targets=sound.targets, boxes=sound.boxes, root=sound.root)
        self.masked = resload.Catalog(table, targets=sound.targets, masks=_masks(table), root=sound.root)
        corrected = table.assign(nodule=1 - table["nodule"])
        self.corrected = resload.Catalog(corrected, targets=sound.targets, root=sound.root)
        self.broken = _with_broken(self.all, folder / "broken", ("film_00003", "film_00021"))

    def some(self, catalog: resload.Catalog, begin: int, end: int) -> resload.Catalog:
        """The films begin .. end - 1."""
        return catalog.select(np.arange(begin, end))

    def build(self, catalog: resload.Catalog, sizes: object, place: Place, threads: int = 1) -> None:
        """`resload.build`, silent."""
        resload.build(catalog, place.path, sizes, threads=threads, progress=False)

    def repair(self, catalog: resload.Catalog, place: Place, threads: int = 1) -> None:
        """`resload.repair`, silent; everything must be mended."""
        report = resload.repair(place.path, catalog, threads=threads, progress=False)
        if not report.ok:
            raise RuntimeError(f"not repaired: {report.problems[0]}")


def _with_broken(catalog: resload.Catalog, folder: Path, ids: tuple[str, ...]) -> resload.Catalog:
    """The same films, some of whose files end too early."""
    folder.mkdir()
    for row, name in enumerate(catalog.table["id"]):
        data = catalog.path(row).read_bytes()
        (folder / catalog.table["path"].iloc[row]).write_bytes(data[: len(data) // 2] if name in ids else data)
    return resload.Catalog(catalog.table, targets=catalog.targets, boxes=catalog.boxes, root=folder)


def _masks(table: pd.DataFrame) -> pd.DataFrame:
    """A rectangle in every third film; on the films before it somebody looked and found nothing."""
    runs = " ".join(f"{column * 48 + 10} 12" for column in range(8, 20))
    rows = [
        {"id": name, "label": "nodule", "rle": runs if k % 3 == 0 else "-1"}
        for k, name in enumerate(table["id"])
        if k % 3 < 2
    ]
    return pd.DataFrame(rows)


def operations(films: Films) -> list[Operation]:
    """All of them."""
    build, repair, some = films.build, films.repair, films.some
    first, other = some(films.all, 0, 24), films.all.select(np.r_[0:24, 32:40])
    few, grow = partial(build, first, SIZES), partial(build, films.all, SIZES)
    masked_start = partial(build, some(films.masked, 0, 24), 16)
    return [
        Operation("build", None, grow),
        Operation("append", few, grow),
        Operation("add level", partial(build, films.all, 16), grow),
        Operation(
            "append and more",
            masked_start,
            partial(build, films.masked, (*SIZES, "native")),
            (partial(build, films.masked, 16),),
        ),
        Operation("retarget", partial(build, films.all, 16), partial(build, films.corrected, 16)),
        Operation("retarget, boxes", partial(build, films.corrected, 16), partial(build, films.all, 16)),
        Operation("repair", partial(_damaged, build, films.all), partial(repair, films.all), damaged=True),
        Operation("revive", partial(build, films.broken, SIZES), partial(repair, films.all), damaged=True),
        Operation("other append", partial(_interrupted, few, partial(build, other, SIZES)), grow),
        Operation(
            "repair between",
            partial(_interrupted_and_damaged, few, grow),
            partial(_repair_then_build, partial(repair, films.all), grow),
            (few,),
            damaged=True,
        ),
    ]  # fmt: skip


def _damaged(build: Callable[..., None], catalog: resload.Catalog, place: Place) -> None:
    build(catalog, (*SIZES, "native"), place)
    _flip(place, "images/16x16/c/0/0/0", 40)
    _flip(place, "images/16x16/c/0/0/0", 15 * (16 * 16 * 2 + 4) - 3)
    _flip(place, "images/native/c/1/0/0", 100)
    place.change("images/24x24/c/1/0/0", (place.path / "images/24x24/c/1/0/0").read_bytes()[:1000])
    place.change("images/24x24/c/2/0/0", None)
    place.change("images/16x16/zarr.json", b"{}")


def _flip(place: Place, name: str, at: int) -> None:
    data = bytearray((place.path / name).read_bytes())
    data[at] ^= 8
    place.change(name, bytes(data))


class _NoTable(Layer):
    """A layer under which no table can be written."""

    def around(self, number: int, kind: str, path: Path | None, call: Callable[[], Any]) -> Any:
        if kind == "create" and path is not None and path.name.startswith("samples.parquet"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return call()


def _interrupted(start: Callable[[Place], None], then: Callable[[Place], None], place: Place) -> None:
    """An update that ended, by an error, when its row groups were there and its tables were not."""
    start(place)
    with faulty(_NoTable()), contextlib.suppress(OSError):
        then(place)
    if not (place.path / ".build" / "rows-1.json").exists():
        raise RuntimeError("the update was to be interrupted before its table, and was not")


def _interrupted_and_damaged(start: Callable[[Place], None], then: Callable[[Place], None], place: Place) -> None:
    _interrupted(start, then, place)
    _flip(place, "images/16x16/c/1/0/0", 40)


def _repair_then_build(repair: Callable[..., None], build: Callable[..., None], place: Place, threads: int) -> None:
    repair(place, threads)
    build(place, threads)
