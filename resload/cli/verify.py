"""`resload verify`: every record of every size against both of its checksums, and films against what is stored of them.

Without --sources it answers whether the cache is as it was written; with them, also whether what was written is right.
"""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from resload.cli import source
from resload.cli.answer import Answer, columns, first_of
from resload.errors import ArgumentError

if TYPE_CHECKING:
    from resload.store.proof import LevelError
    from resload.store.verify import Problem, Report

HELP = "read every record of a cache and compare it with its checksums, and films with what is stored of them"
EXAMPLE = "  $ resload verify films.zarr\n  $ resload verify films.zarr films --sources 500"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("cache", metavar="CACHE", help="the folder of the cache")
    source.arguments(parser, required=False)
    source.key_argument(parser)
    parser.add_argument(
        "--sources",
        type=int,
        default=0,
        metavar="N",
        help="decode N films of SOURCE again, chosen by --seed, and compare every stored size with the exact resize",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="how many at once (default: one per core)")


def run(args: argparse.Namespace) -> Answer:
    """Verify and list."""
    from resload.store.verify import verify

    if args.sources and args.source is None:
        raise ArgumentError(f"--sources needs the films: resload verify {args.cache} SOURCE --sources {args.sources}")
    if args.source is not None and not args.sources:
        raise ArgumentError("SOURCE is only read with --sources N: how many of its films to decode again")
    catalog = source.catalog(args, progress=True) if args.sources else None
    report = verify(
        args.cache,
        sources=args.sources,
        catalog=catalog,
        seed=args.seed,
        pseudonymise=source.key(args),
        threads=args.threads,
    )
    document: dict[str, Any] = {
        "cache": args.cache,
        "records": report.records,
        "problems": problems(report.problems),
    }
    lines = _proof(report) if args.sources else []
    if args.sources:
        document |= {
            "sources": report.sources,
            "readable": report.readable,
            "seed": args.seed,
            "levels": [asdict(level) | {"size": str(level.size)} for level in report.levels],
            "digest": f"sha256:{report.digest}",
        }
    if report.ok:
        return Answer(document, [f"{args.cache}: {report.records} records, each as it was written", *lines])
    return Answer(document, [*listed(report.problems), f"{args.cache}: {_remedies(args.cache, report)}", *lines], True)


def _remedies(cache: str, report: "Report") -> str:
    damaged = sum(problem.repairable for problem in report.problems)
    shown = len(report.problems) - damaged
    parts = [f"{len(report.problems)} problems"]
    if damaged:
        parts.append(f"resload repair {cache} SOURCE makes {'them' if not shown else f'{damaged} of them'} again")
    if shown:
        parts.append(f"{shown} between films and cache: give the films it was built from, or build from them elsewhere")
    return "; ".join(parts)


def _proof(report: "Report") -> list[str]:
    again = f"{report.sources} of {report.readable} films decoded again"
    if not report.levels:
        return [f"{again}: nothing could be compared", f"digest sha256:{report.digest}"]
    unit = report.levels[0].unit
    top = max(report.levels, key=lambda level: level.worst)
    of = "grey levels" if unit == 1 else "of 65535"
    lines = [f"{again}: worst error {top.worst:.3f} {of} at {top.size} (limit {top.limit})"]
    head = ["size", "films", "worst", "mean", "rmse", "limit"] + ([] if unit == 1 else ["worst of 255"])
    lines += columns([head, *(_row(level) for level in report.levels)])
    return [*lines, f"digest sha256:{report.digest}"]


def _row(level: "LevelError") -> list[str]:
    numbers = [f"{level.worst:.3f}", f"{level.mean:+.4f}", f"{level.rmse:.3f}", f"{level.limit}"]
    return [str(level.size), str(level.films), *numbers] + (
        [] if level.unit == 1 else [f"{level.worst * level.unit:.4f}"]
    )


def problems(found: "tuple[Problem, ...]") -> list[dict[str, Any]]:
    """Problems as plain values."""
    return [{"file": one.file, "row": one.row, "id": one.id, "what": one.what} for one in found]


def listed(found: "tuple[Problem, ...]") -> list[str]:
    """A line for each problem."""
    lines = [f"  {one.file}: {one.what}" + ("" if one.id is None else f" ({one.id})") for one in found]
    return first_of(lines, "--json has all of them")
