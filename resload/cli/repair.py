"""`resload repair`: damaged records made again from the films, quarantined films tried again."""

import argparse

from resload.cli import source
from resload.cli.answer import Answer, first_of
from resload.cli.info import unreadable
from resload.cli.verify import listed, problems

HELP = "make damaged records again from the films, and try quarantined films again"
EXAMPLE = "  $ resload repair films.zarr films"
INTERRUPTED = "; records that were made again are kept, and the same command goes on"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    parser.add_argument("cache", metavar="CACHE", help="the folder of the cache")
    source.arguments(parser)
    source.key_argument(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="how many shards at once (default: one per core)")


def run(args: argparse.Namespace) -> Answer:
    """Repair, and list what is left."""
    from resload.store.cache import open_cache
    from resload.store.repair import repair

    key = source.key(args)
    report = repair(args.cache, source.catalog(args, progress=True), pseudonymise=key, threads=args.threads)
    waiting = open_cache(args.cache).quarantine.to_dict("records")
    document = {
        "cache": args.cache,
        "repaired": report.repaired,
        "problems": problems(report.problems),
        "quarantine": waiting,
    }
    lines = [f"{args.cache}: {report.repaired} records made again, {len(report.problems)} problems left"]
    lines += listed(report.problems)
    if waiting:
        lines += [f"still quarantined: {len(waiting)}", *first_of(unreadable(waiting), "--json has all of them")]
    return Answer(document, lines, bad=not report.ok)
