"""`resload build`: films in, a cache out; the same line again finishes, extends or corrects it."""

import argparse
from typing import TYPE_CHECKING

from resload.cli import info, source
from resload.cli.answer import Answer, first_of
from resload.errors import ArgumentError
from resload.size import as_ladder, field_of

if TYPE_CHECKING:
    from resload.geometry import Fit

HELP = "make a cache of films at every size asked for, finish one, or add sizes and films to it"
EXAMPLE = """  $ resload build films films.zarr --sizes 64 128 256
  $ resload build labels.csv labels.zarr --root films --path File --patient PatientID --targets Nodule \\
      --split train=.7,val=.1,test=.2 --sizes 128 160x120
  $ resload build films shapes.zarr --sizes auto:512 --fit pad --aspect physical
  $ resload build films millimetres.zarr --sizes 0.4mm@1024x1024 512"""
INTERRUPTED = "; what is finished is kept, and the same command goes on from there"

OPTIONS = (
    "intensity",
    "aspect",
    "kernel",
    "dtype",
    "columns",
    "identifiers",
    "shard_mb",
    "on_error",
    "check",
    "decode",
    "device",
    "threads",
    "executor",
)
"""Passed on when they are given, so that `resload.build` alone says what holds when they are not."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    source.arguments(parser)
    parser.add_argument("cache", metavar="CACHE", help="the folder of the cache: new, empty, or a cache")
    sizes = "256 2100x1700 0.4mm@1024x832 auto:512 native"
    parser.add_argument("--sizes", nargs="+", required=True, metavar="S", help=sizes)
    recipe = parser.add_argument_group("the recipe")
    names = "auto, display, minmax, 'percentile(1, 99)', 'window(C, W)', raw, mimic-jpg, chexpert-jpg or none"
    recipe.add_argument("--intensity", metavar="RECIPE", help=f"stored values to pixels: {names} (auto)")
    recipe.add_argument("--fit", metavar="NAME", help="how a film fills a size: stretch, pad or crop (stretch)")
    recipe.add_argument("--aspect", metavar="NAME", help="what shape pad and crop keep: pixel or physical (pixel)")
    recipe.add_argument("--align", metavar="WHERE", help="pad: centre, top, left, chest-wall ... (centre)")
    recipe.add_argument("--pad-value", type=float, metavar="V", help="pad: of the canvas, 0 black to 1 white (0)")
    recipe.add_argument("--crop-to", metavar="WHAT", help="crop: centre or content, the foreground (centre)")
    recipe.add_argument("--kernel", metavar="NAME", help="of the resize: triangle, area, lanczos3 or cubic (triangle)")
    recipe.add_argument("--dtype", metavar="NAME", help="of the pixels: auto, uint8 or uint16 (auto)")
    kept = parser.add_argument_group("what is kept, and how")
    kept.add_argument("--columns", nargs="+", metavar="COLUMN", help="further columns of the catalog to copy")
    kept.add_argument("--identifiers", metavar="NAME", help="patients and groups: number or keep (number)")
    source.key_argument(kept)
    kept.add_argument("--shard-mb", type=float, metavar="MB", help="most MiB in a file (512)")
    kept.add_argument("--on-error", metavar="NAME", help="a film that cannot be read: quarantine or raise (quarantine)")
    kept.add_argument("--check", metavar="NAME", help="compare files of stored films by: stamp, hash or none (stamp)")
    parser.add_argument("--decode", metavar="NAME", help="who decodes JPEG, JPEG 2000 and HTJ2K: cpu or dali (cpu)")
    parser.add_argument("--device", metavar="NAME", help="where films are resized: cpu or cuda (cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="how many films at once (default: one per core)")
    where = "who makes films: processes, processes:4, dask, dask:ADDRESS, ray or ray:ADDRESS (threads of this process)"
    parser.add_argument("--executor", metavar="NAME", help=where)


def run(args: argparse.Namespace) -> Answer:
    """Build, then say what is there; a quarantine is told, and is no failure."""
    from resload.store.builder import build

    as_ladder(args.sizes)  # before a long look at the files
    options = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    options["fit"] = fit(args)
    options["pseudonymise"] = source.key(args)
    catalog = source.catalog(args, progress=True)
    # Sentences go to stderr, bars only to a terminal. A machine that asked for JSON reads neither.
    cache = build(catalog, args.cache, args.sizes, shuffle_seed=args.seed, progress=not args.json, **options)
    document = info.described(cache) | {"notes": list(catalog.notes)}
    bad = info.unreadable(document["quarantine"])
    shown = [f"note: {note}" for note in catalog.notes]
    if bad:
        again = f"resload repair {args.cache} tries them again"
        shown += [f"quarantined: {len(bad)} ({again})", *first_of(bad, f"resload info {args.cache} --json")]
    return Answer(document, [*shown, *info.sizes(document)])


def fit(args: argparse.Namespace) -> "str | Fit":
    """The fit that the options mean. Raises ArgumentError for options of another fit."""
    from resload.geometry import Crop, Pad, as_fit

    padding = {"align": args.align, "value": args.pad_value}
    padding = {name: value for name, value in padding.items() if value is not None}
    name = args.fit or ("pad" if field_of(args.sizes) is not None else "stretch")
    if padding and name != "pad":
        raise ArgumentError(f"--align and --pad-value go with --fit pad; found --fit {name}")
    if args.crop_to is not None and name != "crop":
        raise ArgumentError(f"--crop-to goes with --fit crop; found --fit {name}")
    if padding:
        return Pad(**padding)
    return as_fit(name) if args.crop_to is None else Crop(args.crop_to)
