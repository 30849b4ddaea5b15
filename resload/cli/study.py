"""`resload study`: which size a finding needs: a network for every size, trained alike, compared, and written up."""

import argparse
from typing import TYPE_CHECKING, Any

from resload.cli import source
from resload.cli.answer import Answer, columns
from resload.errors import ArgumentError

if TYPE_CHECKING:
    from resload.study import Study

HELP = "train networks at every size, all else equal, and say from which size on a finding is seen as well"
EXAMPLE = """  $ resload study films.zarr --out study --sizes 32 64 128 --seeds 3 --epochs 10
  $ resload study labels.csv --out study --root films --path File --patient PatientID --targets Nodule \\
      --split train=.7,val=.1,test=.2 --sizes 128 256 512 --model densenet121 --control enlarged --device cuda
  $ resload study --out study
without a source the report is written again, of what is finished"""
INTERRUPTED = "; networks that are finished are kept, and the same command goes on from there"

OPTIONS = (
    "task",
    "epochs",
    "batch_size",
    "batches",
    "at",
    "lr",
    "lr_rule",
    "schedule",
    "weight_decay",
    "precision",
    "channels",
    "normalize",
    "columns",
    "kernels",
    "fits",
    "test_sizes",
    "reference",
    "margin",
    "repeats",
    "device",
    "threads",
)
"""Passed on when they are given, so that `resload.study.Settings` alone says what holds when they are not."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    what = "a cache that stores the sizes, a folder of films, a saved catalog, or a CSV; none: only the report"
    source.arguments(parser, required=False, what=what)
    parser.add_argument("--out", required=True, metavar="FOLDER", help="of the study: new, or one to go on with")
    grid = parser.add_argument_group("the grid")
    grid.add_argument("--sizes", nargs="+", metavar="S", help="to train and test at: 64 128 256 512, 640x512 ...")
    grid.add_argument("--learn", nargs="+", metavar="TARGET", help="of the targets, these (all)")
    grid.add_argument("--seeds", type=int, default=3, metavar="N", help="networks of each kind (%(default)s)")
    named = "small, resnet34, densenet121, timm:NAME, FILE.py:NAME or package.module:NAME"
    grid.add_argument("--model", nargs="+", metavar="NAME", dest="models", help=f"{named} (small)")
    grid.add_argument("--kernels", nargs="+", metavar="NAME", help="of the resize, of films: triangle, area ...")
    grid.add_argument("--fits", nargs="+", metavar="NAME", help="how films fill a size, of films: stretch, pad, crop")
    grid.add_argument("--test-sizes", nargs="+", metavar="S", help="test every network at these too")
    grid.add_argument(
        "--control",
        nargs="?",
        const="enlarged",
        choices=("enlarged",),
        help="also networks of the largest size that see no more detail than each smaller one shows",
    )
    train = parser.add_argument_group("training")
    train.add_argument("--task", metavar="NAME", help="binary, multilabel, regression or segmentation (binary)")
    train.add_argument("--epochs", type=int, metavar="N", help="the one best on validation films is tested (10)")
    train.add_argument("--batch-size", type=int, metavar="N", help="films of a step (32)")
    train.add_argument("--batches", metavar="NAME", help="at other sizes: fixed, pixels or steps (fixed)")
    train.add_argument("--at", metavar="S", help="the size that --batch-size and --lr are meant at (the largest)")
    train.add_argument("--lr", type=float, metavar="R", help="learning rate (0.001)")
    train.add_argument("--lr-rule", metavar="NAME", help="with larger batches: constant, sqrt or linear (constant)")
    train.add_argument("--schedule", metavar="NAME", help="cosine or constant (cosine)")
    train.add_argument("--weight-decay", type=float, metavar="W", help="of AdamW (0.01)")
    train.add_argument("--precision", metavar="NAME", help="float32, bfloat16 or float16 (float32)")
    train.add_argument("--balanced", action="store_true", help="as many films with the finding as without")
    train.add_argument("--channels", type=int, metavar="C", help="copies of the gray image (1)")
    train.add_argument(
        "--normalize", metavar="S", help="the stored size whose mean and deviation all use (the largest)"
    )
    train.add_argument("--columns", nargs="+", metavar="COLUMN", help="of the table, for --train-step and --predict")
    train.add_argument("--train-step", metavar="FILE.py:NAME", help="(network, batch) -> loss, instead of the task's")
    train.add_argument("--predict", metavar="FILE.py:NAME", help="(network, batch) -> outputs")
    train.add_argument("--any-size", action="store_true", help="also sizes that the cache does not store")
    compare = parser.add_argument_group("comparison, set before the first network is trained")
    compare.add_argument("--reference", metavar="S", help="the size that others are compared with (the largest)")
    compare.add_argument("--margin", type=float, metavar="M", help="how much worse is as good (0.01)")
    compare.add_argument("--repeats", type=int, metavar="N", help="resamples of patients (2000)")
    parser.add_argument("--device", metavar="NAME", help="where networks are trained: cpu, cuda, cuda:1 ... (cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="the loader's (default: one per core)")
    parser.add_argument("--resident", action="store_true", help="keep pixels in the device's memory")


def run(args: argparse.Namespace) -> Answer:
    """Train what is missing, compare, write the report."""
    from resload.study import opened
    from resload.study import run as train

    if args.source is None:
        found = opened(args.out)
    else:
        settings = asked(args)
        found = train(source.data(args), args.out, progress=not args.json, **settings)
    page = found.write_report()
    return Answer(document(found) | {"report": str(page)}, [*lines(found), f"written to {page}"])


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """`study.Settings` as the options say. Raises ArgumentError where they lack the sizes."""
    from resload import byname

    if args.sizes is None:
        raise ArgumentError("--sizes says at which sizes networks are trained, for example --sizes 64 128 256")
    settings = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    for name in ("train_step", "predict"):
        if getattr(args, name) is not None:
            settings[name] = byname.found(getattr(args, name), f"--{name.replace('_', '-')}")
    if args.models is not None:
        settings["models"] = {name: name for name in args.models}
    first = args.seed
    return settings | {
        "sizes": args.sizes,
        "targets": args.learn or (),
        "seeds": range(first, first + args.seeds),
        "control": args.control is not None,
        "balanced": args.balanced,
        "any_size": args.any_size,
        "resident": args.resident,
    }


def document(study: "Study") -> dict[str, Any]:
    """Plain values for JSON."""
    table = study.table
    return {
        "study": str(study.path),
        "networks": len(study.runs),
        "settings": dict(study.settings),
        "table": table.astype(object).where(table.notna(), None).to_dict("records"),
        "plateau": {target: None if (size := study.plateau(target)) is None else str(size) for target in study.targets},
    }


def lines(study: "Study") -> list[str]:
    """The same for people."""
    from resload.study import words

    if not study.runs:
        return [f"{study.path}: no network is finished yet"]
    found = [f"{study.path}: {len(study.runs)} networks; {study.metric} on {len(study.films['rows'])} test films"]
    several = len({line.curve for line in study.lines if not line.curve.control}) > 1
    for line, comparison in study.comparisons.items():
        curve = line.curve
        name = f" ({curve.model}, {curve.kernel}, {curve.fit})" if several else ""
        what = f"{line.target}{name}"
        what += f", {comparison.reference} from the detail of each size" if curve.control else ""
        rows = [["size", study.metric, "95 %", f"less than {comparison.reference}", "95 %", "Holm's p", "SD of seeds"]]
        for size, one in comparison.arms.items():
            other = comparison.differences.get(size)
            less = ["", "", ""] if other is None else [f"{other.value:+.3f}", _interval(other), f"{other.p_holm:.3f}"]
            rows.append([str(size), f"{one.value:.3f}", _interval(one), *less, f"{one.sd_seeds:.3f}"])
        found += [what, *columns(rows)]
        if not curve.control:
            found.append(_plateau(study, comparison))
    return [*found, *(f"note: {caution}" for caution in words.cautions(study))]


def _plateau(study: "Study", comparison: Any) -> str:
    margin = study.settings["margin"]
    if comparison.reference != study.reference:
        return f"the reference {study.reference} is not trained yet"
    if not comparison.plateau.tested:
        return f"nothing smaller than {comparison.reference} to compare it with"
    if comparison.plateau.size is None:
        return f"no smaller size was shown to be as good as {comparison.reference} by the margin of {margin:g}"
    return f"as good as {comparison.reference} by the margin of {margin:g}: from {comparison.plateau.size} on"


def _interval(one: Any) -> str:
    return f"{one.low:.3f} to {one.high:.3f}"
