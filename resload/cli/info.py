"""`resload info`: what a cache holds, from its manifest and tables; of pixels, masks and, when asked, small films."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resload.cli import duplicates, vanishing
from resload.cli.answer import Answer, columns, counted, counts, first_of, megabytes, millimetres
from resload.cli.confidential import is_confidential

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from resload.store.cache import Cache

HELP = (
    "say what a cache holds: films, splits, sizes, recipe, targets, how many masks vanish at each size (their records "
    "are read), quarantine, and who could be recognised"
)
EXAMPLE = """  $ resload info films.zarr
  $ resload info films.zarr --size 24 40"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("cache", metavar="CACHE", help="the folder of the cache")
    parser.add_argument("--size", nargs="+", metavar="S", help="which level serves these sizes, and how exactly")
    parser.add_argument("--duplicates", action="store_true", help=f"also read a small level, and {duplicates.HELP}")


def run(args: argparse.Namespace) -> Answer:
    """Open and describe."""
    from resload.store.cache import open_cache

    cache = open_cache(args.cache)
    document = described(cache) | {"served": [served(cache, size) for size in args.size or ()]}
    if not args.duplicates:
        return Answer(document, lines(document))
    from resload.leakage import near_duplicates

    found = duplicates.described(cache, near_duplicates(cache))
    return Answer(
        document | {"duplicates": found}, [*lines(document), *duplicates.lines(found)], duplicates.leaks(found)
    )


def described(cache: "Cache") -> dict[str, Any]:
    """What a cache holds, as plain values."""
    from resload.geometry import film_facts
    from resload.store import layout, tables

    manifest = layout.read_manifest(cache.path)
    kept = tables.read_samples(cache.path, manifest, ["id"])[1]
    table = cache.table
    return {
        "cache": str(cache.path),
        "format": layout.FORMAT,
        "films": len(cache),
        "readable": len(cache.rows()),
        "splits": counts(table["split"]) if "split" in table else {},
        "dtype": manifest.dtype,
        "recipe": dict(manifest.recipe),
        "per_shard": manifest.per_shard,
        "row_groups": manifest.groups,
        "distorted": cache.pipeline.distorted(film_facts(table.iloc[cache.rows()])),
        "sizes": levels(cache),
        "targets": [target_facts(cache, name) for name in cache.targets],
        "boxes": 0 if cache.boxes is None else len(cache.boxes),
        "masks": vanishing.masks(cache),
        "vanishing": vanishing.vanishing(cache),
        "quarantine": cache.quarantine.to_dict("records"),
        "identifying": identifying(list(table.columns), kept),
        "confidential": [name for name in (*kept.columns, *kept.targets) if is_confidential(name)],
        "pseudonyms": bool(manifest.pseudonyms),
        "fingerprint": manifest.fingerprint,
        "digest": cache.digest,
    }


def levels(cache: "Cache") -> list[dict[str, Any]]:
    """Each level: its bytes on disk and the median of mm per pixel, (y, x), where that is known."""
    from resload.readers import CacheReader
    from resload.store import layout
    from resload.store.commit import bytes_below

    reader, rows = CacheReader(cache), cache.rows()
    found = []
    for size in cache.sizes:
        spacing = reader.facts(rows, size)[:, :2]
        taken = bytes_below(cache.path / layout.level_folder(size))
        found.append({"size": str(size), "bytes": taken, "mm_per_pixel": [middle(axis) for axis in spacing.T]})
    return found


def served(cache: "Cache", size: str) -> dict[str, Any]:
    """Which level serves a size, and the expected error, in 1/255 of the range."""
    found = cache.serving(size)
    return {"size": str(found.size), "level": str(found.level), "expected_rmse": found.rmse, "worst": found.worst}


def middle(values: "NDArray[np.float32]") -> float | None:
    """The median of what is known; None where nothing is."""
    import numpy as np

    there = values[np.isfinite(values)]
    return float(np.median(there)) if there.size else None


def target_facts(cache: "Cache", name: str) -> dict[str, Any]:
    """One target over the readable films: how many are known; positives if it is yes or no, else its range."""
    values = cache.table[name].iloc[cache.rows()]
    there = values.dropna()
    facts: dict[str, Any] = {"name": name, "known": len(there), "unknown": len(values) - len(there)}
    if there.isin([0, 1]).all():
        return facts | {"positive": int(there.sum()), "prevalence": float(there.mean()) if len(there) else None}
    return facts | {"min": float(there.min()), "median": float(there.median()), "max": float(there.max())}


def identifying(names: list[str], kept: Any) -> list[str]:
    """The columns by which people could be recognised: names of films, kept identifiers, columns asked for."""
    from resload.store.tables import NUMBERED, PSEUDONYMS

    own = () if kept.identifiers == PSEUDONYMS else ("id", "path")
    suspects = (*own, *(NUMBERED if kept.identifiers == "keep" else ()), *kept.columns)
    return [name for name in names if name in suspects]


def lines(document: dict[str, Any]) -> list[str]:
    """The same for people."""
    recipe = ", ".join(f"{name} {setting(value)}" for name, value in document["recipe"].items())
    squashed = [["distorted", f"{_share(document['distorted'])} of the films by more than a tenth (fit stretch)"]]
    facts = [
        ["cache", f"{document['cache']} (format {document['format']})"],
        ["films", f"{document['films']}, of which {document['readable']} can be read"],
        ["splits", counted(document["splits"])],
        ["pixels", f"{document['dtype']}; {recipe}"],
        *(squashed if document["distorted"] else []),
        ["row groups", f"{document['row_groups']} of {document['per_shard']} films"],
        ["boxes", str(document["boxes"])],
        ["identifying", f"{', '.join(document['identifying']) or 'no column'}: {_advice(document)}"],
        ["fingerprint", document["fingerprint"]],
        ["digest", document["digest"]],
    ]
    return [
        *(f"{name:<13}{value}" for name, value in facts),
        *sizes(document),
        *servings(document.get("served", [])),
        *targets(document["targets"]),
        *vanishing.lines(document),
        *quarantine(document["quarantine"]),
    ]


def _advice(document: dict[str, Any]) -> str:
    """What to do about the columns by which people could be recognised."""
    words = [] if not document["pseudonyms"] else ["ids, patients and groups are hashed under a key"]
    if document["identifying"]:
        words.append("look at these before you share the cache")
    if document["confidential"]:
        words.append(f"DICOM's confidentiality profile has {', '.join(document['confidential'])} removed or replaced")
    return "; ".join(words)


def sizes(document: dict[str, Any]) -> list[str]:
    """The levels as a table."""
    rows = [[one["size"], megabytes(one["bytes"]), millimetres(*one["mm_per_pixel"])] for one in document["sizes"]]
    return columns([["size", "on disk", "mm per pixel (median, y x x)"], *rows])


def setting(value: Any) -> str:
    """A part of the recipe: a word, or a fit with its settings."""
    if not isinstance(value, dict):
        return str(value)
    parts = [f"{name} {part}" for name, part in value.items() if name != "name" and part is not None]
    return f"{value['name']} ({', '.join(parts)})"


def servings(found: list[dict[str, Any]]) -> list[str]:
    """How the sizes that were asked about are served; nothing when none was."""
    rows = [
        [one["size"], one["level"], "exact" if one["size"] == one["level"] else f"{one['expected_rmse']:.2f}"]
        for one in found
    ]
    return columns([["size", "served from", "expected rmse (of 255)"], *rows]) if rows else []


def targets(found: list[dict[str, Any]]) -> list[str]:
    """The targets as a table; nothing when there are none."""
    rows = [
        [one["name"], str(one["known"]), str(one["unknown"]), str(one["positive"]), _share(one["prevalence"])]
        if "positive" in one
        else [one["name"], str(one["known"]), str(one["unknown"]), f"{one['min']:g} to {one['max']:g}", ""]
        for one in found
    ]
    return columns([["target", "known", "unknown", "positive or range", "share"], *rows]) if rows else []


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def quarantine(found: list[dict[str, Any]]) -> list[str]:
    """The films that could not be read."""
    if not found:
        return []
    return [f"quarantined: {len(found)}", *first_of(unreadable(found), "--json")]


def unreadable(found: Sequence[Mapping[Any, Any]]) -> list[str]:
    """A line for each film in quarantine: its path, or its id where no path is kept."""
    return [f"  {one.get('path', one['id'])}: {one['reason']}" for one in found]
