"""How many masks of a cache are left at each of its sizes: for `resload info`, which reads the masks' records."""

from typing import TYPE_CHECKING, Any

from resload.cli.answer import columns, megabytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from resload.size import Size
    from resload.store.cache import Cache

RULES: dict[str, str | float] = {"any": "any", "half": 0.5}
"""What counts as inside, by the name in the document: any overlap, or at least half of a pixel's area."""
_TOGETHER = 16
"""Films read by one task."""


def masks(cache: "Cache") -> list[dict[str, Any]]:
    """Each label over the readable films: how many know it, and how many of those are known to be empty."""
    found = cache.table.iloc[cache.rows()]
    areas = {label: found[f"mask_area_{label}"] for label in cache.masks}
    return [
        {"label": label, "known": int(area.notna().sum()), "empty": int((area == 0).sum())}
        for label, area in areas.items()
    ]


def vanishing(cache: "Cache") -> list[dict[str, Any]]:
    """For each size that has masks and each label: how many films have something, and at how many nothing is left.

    A mask has vanished by a rule when it has something in the film and no pixel of the size is inside: because the
    size is too small, or because a crop does not show it. Reads the records of the films that have something, on
    as many threads as this process may use. Raises CorruptCacheError.
    """
    import numpy as np

    from resload.size import Native
    from resload.store import tables

    names = [tables.mask_column(label) for label in cache.masks]
    there = np.nan_to_num(cache.table[names].to_numpy(np.float32)) > 0
    there[np.setdiff1d(np.arange(len(cache)), cache.rows())] = False
    found = []
    for size in cache.sizes if names else ():
        if isinstance(size, Native):
            continue
        lost, taken = _lost(cache, size, there), _bytes(cache, size)
        for k, label in enumerate(cache.masks):
            counts = {name: int(gone[k]) for name, gone in lost.items()}
            found.append(
                {"size": str(size), "label": label, "masks": int(there[:, k].sum()), "vanish": counts, "bytes": taken}
            )
    return found


def _lost(cache: "Cache", size: "Size", there: "NDArray[np.bool_]") -> "dict[str, NDArray[np.int64]]":
    """By rule: how many masks of each label, (K,), have something in the film and nothing at this size."""
    import numpy as np

    from resload.masks.inside import thresholded
    from resload.threads import ordered_map, thread_count

    rows = np.flatnonzero(there.any(axis=1))
    parts = [rows[first : first + _TOGETHER] for first in range(0, len(rows), _TOGETHER)]

    def count(part: "NDArray[np.int64]") -> "list[NDArray[np.int64]]":
        stored = cache.read_masks(part, size)
        left = [thresholded(stored, rule).any(axis=(2, 3)) for rule in RULES.values()]
        return [(there[part] & ~one).sum(axis=0) for one in left]

    total = np.zeros((len(RULES), there.shape[1]), np.int64)
    threads = thread_count(None)
    for counts in ordered_map(count, parts, threads=threads, window=4 * threads):
        total += counts
    return dict(zip(RULES, total, strict=True))


def _bytes(cache: "Cache", size: "Size") -> int:
    from resload.store import layout
    from resload.store.commit import bytes_below

    return bytes_below(cache.path / layout.level_folder(layout.Masks(*size)))


def lines(document: dict[str, Any]) -> list[str]:
    """Both as tables, for people; nothing for a cache without masks."""
    if not document["masks"]:
        return []
    known = [
        [one["label"], str(one["known"]), str(document["readable"] - one["known"]), str(one["empty"])]
        for one in document["masks"]
    ]
    lost = [
        [f"{one['size']} {one['label']}", str(one["masks"]), *(str(one["vanish"][rule]) for rule in RULES),
         megabytes(one["bytes"])]
        for one in document["vanishing"]
    ]  # fmt: skip
    return [
        *columns([["masks of", "known", "unknown", "known to be empty"], *known]),
        *(["masks that have vanished, by what counts as inside (read from their records)"] if lost else []),
        *(columns([["size", "masks", "any overlap", "area >= 0.5", "on disk, all labels"], *lost]) if lost else []),
    ]
