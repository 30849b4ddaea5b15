"""`resload bench`: how fast loading is here, where its time goes, and what to do about it."""

import argparse
from typing import Any

from resload.cli import source
from resload.cli.answer import Answer

HELP = "measure here and now what each step of loading could do, what the loader does, and what the model needs"
EXAMPLE = """  $ resload bench films.zarr
  $ resload bench films.zarr --model train.py:make_model --channels 3 --out bench.png
  $ resload bench films --size 512 --needs 400"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    source.arguments(parser, what="a cache, a folder of films, a saved catalog, or a CSV")
    asked = parser.add_argument_group("the loader")
    asked.add_argument("--size", metavar="S", help="of the images: 512, 640x512 ... (the largest stored; of films 256)")
    asked.add_argument("--batch-size", type=int, metavar="N", help="images per batch (64; of films as time allows)")
    names = "float32, float16, bfloat16, uint8 or uint16"
    asked.add_argument("--dtype", default="float32", metavar="NAME", help=f"of the images: {names} (%(default)s)")
    asked.add_argument("--channels", type=int, default=1, metavar="C", help="copies of the gray image (%(default)s)")
    asked.add_argument("--normalize", type=float, nargs=2, metavar=("MEAN", "STD"), help="on [0, 1] (not normalised)")
    asked.add_argument("--device", default="cpu", metavar="NAME", help="where batches end up (%(default)s)")
    asked.add_argument("--threads", type=int, metavar="N", help="the loader's (default: one per core)")
    model = parser.add_argument_group("the model").add_mutually_exclusive_group()
    model.add_argument(
        "--model",
        metavar="FILE.py:NAME",
        help="or package.module:NAME: called without arguments, returns a torch Module or a function step(batch)",
    )
    model.add_argument(
        "--needs", type=float, metavar="N", help="images/s that the model takes, instead of measuring it"
    )
    parser.add_argument("--seconds", type=float, default=1.0, metavar="T", help="of each measurement (%(default)s)")
    parser.add_argument("--out", metavar="PNG", help="also draw what was measured here")


def run(args: argparse.Namespace) -> Answer:
    """Measure, say, draw."""
    from resload.bench import Settings, measured
    from resload.bench.document import document
    from resload.bench.drawing import checked, draw
    from resload.bench.lines import lines

    if args.out is not None:
        checked(args.out)
    settings = Settings(
        size=args.size,
        batch_size=args.batch_size,
        dtype=args.dtype,
        channels=args.channels,
        normalize=None if args.normalize is None else tuple(args.normalize),
        device=args.device,
        threads=args.threads,
        seconds=args.seconds,
        seed=args.seed,
    )
    found = measured(
        source.data(args), settings, source=args.source, model=args.model, needs=args.needs, progress=not args.json
    )
    if args.out is not None:
        draw(found, args.out)
    told: dict[str, Any] = {**document(found), "out": args.out}
    return Answer(told, [*lines(found), *([f"drawn to {args.out}"] if args.out else [])])
