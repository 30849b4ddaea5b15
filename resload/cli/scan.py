"""`resload scan`: what is in these files, before anything is built from them."""

import argparse

from resload.cli import balance, duplicates, source
from resload.cli.answer import Answer

HELP = "read every header, and say what the films are, what cannot be read, and which attributes would be shortcuts"
EXAMPLE = """  $ resload scan films
  $ resload scan labels.csv --root films --path File --patient PatientID --targets Nodule --out scanned
  $ resload scan films --dicom --index headers.jsonl --tags BodyPartExamined --figure scan.png"""


INTERRUPTED = "; with --index, the same command goes on where it stopped"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    source.arguments(parser)
    parser.add_argument("--out", metavar="FOLDER", help="save the catalog, with what was found, for build")
    parser.add_argument("--figure", metavar="FILE.png", help="also draw what there is, as a PNG")
    parser.add_argument("--duplicates", action="store_true", help=f"decode the films too, and {duplicates.HELP}")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="how many files at once (default: as the wait for them is worth)"
    )


def run(args: argparse.Namespace) -> Answer:
    """Scan, save and draw when asked to, and describe."""
    from resload.leakage import near_duplicates
    from resload.overview import catalog_report, drawing

    if args.figure is not None:
        drawing.checked(args.figure)
    catalog = source.catalog(args, progress=True, threads=args.threads)
    pairs = near_duplicates(catalog, threads=args.threads) if args.duplicates else None
    # An archive's headers were read to make its catalog.
    if not args.dicom or pairs is not None:
        catalog = catalog.scan(threads=args.threads, duplicates=False if pairs is None else pairs)
    if args.out is not None:
        catalog.save(args.out)
    report = catalog_report(catalog)
    if args.figure is not None:
        report.draw(args.figure)
    parts = balance.described(catalog)
    twice = None if pairs is None else duplicates.described(catalog, pairs)
    document = {"source": args.source, "saved": args.out, "figure": args.figure, **report.to_dict(), **parts}
    lines = [*report.lines(), *balance.lines(parts), *([] if twice is None else duplicates.lines(twice))]
    lines += [f"{what} {where}" for what, where in (("saved to", args.out), ("drawn to", args.figure)) if where]
    bad = bool(report.unreadable) or (twice is not None and duplicates.leaks(twice))
    return Answer(document | {"duplicates": twice}, lines, bad)
