"""`resload show`: the same radiographs at each resolution, as one picture."""

import argparse
from typing import TYPE_CHECKING, Any

from resload.cli.answer import Answer, counts
from resload.errors import ArgumentError
from resload.size import Native, as_ladder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from resload.store.cache import Cache

HELP = "draw the same radiographs at each resolution, with findings and millimetres per pixel, as a PNG"
EXAMPLE = """  $ resload show films.zarr --out resolutions.png
  $ resload show films.zarr --out two.png --ids film_00000 film_00001 --sizes 64 256"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("cache", metavar="CACHE", help="the folder of the cache")
    parser.add_argument("--out", required=True, metavar="PNG", help="where to write the picture")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--rows", nargs="+", type=int, metavar="N", help="these rows of the cache")
    which.add_argument("--ids", nargs="+", metavar="ID", help="the radiographs of these names")
    which.add_argument("--count", type=int, default=5, metavar="N", help="those with most boxes and findings (5)")
    parser.add_argument("--sizes", nargs="+", metavar="S", help="of the stored sizes, these (default: all)")
    parser.add_argument("--dpi", type=int, default=300, metavar="N", help="what the file declares (%(default)s)")


def run(args: argparse.Namespace) -> Answer:
    """Read, label and draw."""
    from resload.figures import contact_sheet
    from resload.readers import CacheReader
    from resload.store.cache import open_cache

    cache = open_cache(args.cache)
    rows = chosen(cache, args)
    sizes = cache.sizes if args.sizes is None else as_ladder(args.sizes)
    images = {}
    for size in sizes:
        found = cache.read(rows, size)  # refuses rows and sizes that are not there
        images[Native(*found.shape[1:]) if isinstance(size, Native) else size] = found
    reader = CacheReader(cache)
    contact_sheet(
        images,
        titles=[title(cache, row) for row in rows.tolist()],
        spacings={size: reader.facts(rows, size)[:, :2] for size in images},
        path=args.out,
        dpi=args.dpi,
    )
    ids = cache.table["id"].iloc[rows].tolist()
    names = [str(size) for size in sizes]
    document = {"cache": args.cache, "out": args.out, "ids": ids, "sizes": names}
    return Answer(document, [f"{args.out}: {', '.join(ids)} at {', '.join(names)}"])


def chosen(cache: "Cache", args: argparse.Namespace) -> "NDArray[np.int64]":
    """The rows to draw."""
    import numpy as np

    if args.rows is not None:
        return np.array(args.rows, np.int64)
    if args.ids is None:
        return telling(cache, args.count)
    place = {name: row for row, name in enumerate(cache.table["id"].tolist())}
    unknown = [name for name in args.ids if name not in place]
    if unknown:
        raise ArgumentError(f"--ids: {', '.join(unknown)} not in {cache.path}; there are {', '.join([*place][:3])} ...")
    return np.array([place[name] for name in args.ids], np.int64)


def telling(cache: "Cache", count: int) -> "NDArray[np.int64]":
    """Readable rows of the films with the most boxes, then the most positive findings; ties in row order."""
    import numpy as np

    if count < 1:
        raise ArgumentError(f"--count must be >= 1; found {count}")
    rows = cache.rows()
    table = cache.table.iloc[rows]
    many = {} if cache.boxes is None else counts(cache.boxes["id"])
    boxes = np.array([many.get(name, 0) for name in table["id"]])
    findings = (table[list(cache.targets)] == 1).sum(axis=1).to_numpy()
    best: NDArray[np.int64] = rows[np.lexsort((-findings, -boxes))][:count]
    return best


def title(cache: "Cache", row: int) -> str:
    """A film's id, its positive findings, and the values of targets that are not yes or no."""
    film: Any = cache.table.iloc[row]
    known = [(name, float(film[name])) for name in cache.targets if film[name] == film[name]]
    words = [name if value == 1 else f"{name} {value:g}" for name, value in known if value != 0]
    return "\n".join([film["id"], ", ".join(words)]) if words else str(film["id"])
