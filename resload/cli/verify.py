"""`resload verify`: every record of every size, against both of its checksums."""

import argparse
from typing import TYPE_CHECKING, Any

from resload.cli.answer import Answer, first_of

if TYPE_CHECKING:
    from resload.store.verify import Problem

HELP = "read every record of a cache and compare it with its checksums"
EXAMPLE = "  $ resload verify films.zarr"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("cache", metavar="CACHE", help="the folder of the cache")
    parser.add_argument("--threads", type=int, metavar="N", help="how many shards at once (default: one per core)")


def run(args: argparse.Namespace) -> Answer:
    """Verify and list."""
    from resload.store.verify import verify

    report = verify(args.cache, threads=args.threads)
    document = {"cache": args.cache, "records": report.records, "problems": problems(report.problems)}
    if report.ok:
        return Answer(document, [f"{args.cache}: {report.records} records, each as it was written"])
    remedy = f"resload repair {args.cache} SOURCE makes them again"
    lines = [*listed(report.problems), f"{args.cache}: {len(report.problems)} problems; {remedy}"]
    return Answer(document, lines, bad=True)


def problems(found: "tuple[Problem, ...]") -> list[dict[str, Any]]:
    """Problems as plain values."""
    return [{"file": one.file, "row": one.row, "id": one.id, "what": one.what} for one in found]


def listed(found: "tuple[Problem, ...]") -> list[str]:
    """A line for each problem."""
    lines = [f"  {one.file}: {one.what}" + ("" if one.id is None else f" ({one.id})") for one in found]
    return first_of(lines, "--json has all of them")
