"""`resload scan`: what is in these files, before anything is built from them."""

import argparse
from typing import TYPE_CHECKING, Any

from resload.cli import balance, duplicates, source
from resload.cli.answer import Answer, columns, counted, counts, first_of, millimetres

if TYPE_CHECKING:
    import pandas as pd

    from resload.catalog import Catalog

HELP = "read every header, and say which formats, sizes, depths and spacings there are, and what cannot be read"
EXAMPLE = """  $ resload scan films
  $ resload scan labels.csv --root films --path File --patient PatientID --targets Nodule --out scanned"""

SHAPES = 10
"""How many sizes are listed; archives have thousands."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    source.arguments(parser)
    parser.add_argument("--out", metavar="FOLDER", help="save the catalog, with what was found, for build")
    parser.add_argument("--duplicates", action="store_true", help=f"decode the films too, and {duplicates.HELP}")
    parser.add_argument("--threads", type=int, metavar="N", help="how many files at once (default: 4 per core)")


def run(args: argparse.Namespace) -> Answer:
    """Scan, save when asked to, and describe."""
    from resload.leakage import near_duplicates

    catalog = source.catalog(args, progress=True)
    found = near_duplicates(catalog, threads=args.threads) if args.duplicates else None
    scanned = catalog.scan(threads=args.threads, duplicates=False if found is None else found)
    if args.out is not None:
        scanned.save(args.out)
    document = described(scanned)
    document["duplicates"] = None if found is None else duplicates.described(scanned, found)
    bad = bool(document["unreadable"]) or (found is not None and duplicates.leaks(document["duplicates"]))
    return Answer({"source": args.source, "saved": args.out, **document}, lines(document, args.out), bad)


def described(catalog: "Catalog") -> dict[str, Any]:
    """What a scanned catalog holds, as plain values."""
    table = catalog.table
    failed = table[table["error"].notna()]
    height, width, bits = (whole(table[name]) for name in ("height", "width", "bits"))
    return {
        "films": len(table),
        "patients": int(table["patient"].nunique()) if "patient" in table else None,
        "targets": list(catalog.targets),
        "splits": counts(table["split"]) if "split" in table else {},
        "balance": balance.described(catalog),
        "patients_in_several_splits": shared(table),
        "formats": counts(table["format"]),
        "bits": counts(bits),
        "photometric": counts(table["photometric"]),
        "sizes": [{"size": size, "films": films} for size, films in counts(height + "x" + width).items()],
        "spacing": {axis: spread(table[f"spacing_{axis}"]) for axis in "yx"},
        "unreadable": [
            {"id": name, "path": path, "reason": reason}
            for name, path, reason in zip(failed["id"], failed["path"], failed["error"], strict=True)
        ],
        "notes": list(catalog.notes),
    }


def shared(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """The patients that are in several splits, with their splits and how many films they have."""
    from resload.leakage import shared_groups

    if not {"patient", "split"} <= set(table.columns):
        return []
    found = shared_groups(table).astype({"patient": str})
    return [{str(name): value for name, value in one.items()} for one in found.to_dict("records")]


def whole(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Whole numbers as texts; NaN stays missing."""
    return column.astype("Int64").astype("string")


def spread(column: "pd.Series[Any]") -> dict[str, float | int | None]:
    """How many values are known, and the smallest, middle and largest of them."""
    from resload.pipeline.cpu import plain_number

    found = {"min": column.min(), "median": column.median(), "max": column.max()}
    return {"known": int(column.notna().sum())} | {name: plain_number(value) for name, value in found.items()}


def lines(document: dict[str, Any], saved: str | None) -> list[str]:
    """The same for people."""
    patients = "" if document["patients"] is None else f" of {document['patients']} patients"
    y, x = document["spacing"]["y"], document["spacing"]["x"]
    spacing = " to ".join(dict.fromkeys(millimetres(y[name], x[name]) for name in ("min", "median", "max")))
    facts = [
        ["films", f"{document['films']}{patients}"],
        ["targets", ", ".join(document["targets"]) or "none"],
        ["splits", counted(document["splits"])],
        ["formats", counted(document["formats"])],
        ["bits", counted(document["bits"])],
        ["photometric", counted(document["photometric"])],
        ["mm per pixel", f"{spacing} (y x x; of {y['known']} films)" if y["known"] else "not known"],
    ]
    shown = (
        [f"{name:<14}{value}" for name, value in facts] + sizes(document["sizes"]) + balance.lines(document["balance"])
    )
    if document["patients_in_several_splits"]:
        several = [f"  {one['patient']}: {one['splits']}" for one in document["patients_in_several_splits"]]
        shown += [f"patients in several splits: {len(several)}", *first_of(several, "--json has all of them")]
    if document.get("duplicates"):
        shown += duplicates.lines(document["duplicates"])
    if document["unreadable"]:
        bad = [f"  {one['path']}: {one['reason']}" for one in document["unreadable"]]
        shown += [f"cannot be read: {len(bad)}", *first_of(bad, "--json has all of them")]
    shown += [f"note: {note}" for note in document["notes"]]
    return shown if saved is None else [*shown, f"saved to {saved}"]


def sizes(found: list[dict[str, Any]]) -> list[str]:
    """The most frequent sizes, height first."""
    rows = [[one["size"], str(one["films"])] for one in found[:SHAPES]]
    more = [f"  ... and {len(found) - SHAPES} other sizes"] if len(found) > SHAPES else []
    return [*columns([["size", "films"], *rows]), *more]
