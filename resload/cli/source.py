"""SOURCE: the films that a verb is told about, as a catalog.

a folder                                    Catalog.from_folder
a folder that Catalog.save (or scan) made   Catalog.load
a file                                      Catalog.from_csv
--dataset NAME FOLDER                       resload.datasets
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resload.errors import ArgumentError, CatalogError

if TYPE_CHECKING:
    from resload.catalog import Catalog

CSV_OPTIONS = ("id", "path", "patient", "targets")
"""They name columns, and so go with a CSV only."""


def arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add SOURCE and how it is read; a verb that does not need it finds None."""
    what, metavar = "a folder of films, a saved catalog, or a CSV", "SOURCE" if required else "[SOURCE]"
    action = parser.add_argument("source", metavar=metavar, help=what)
    # nargs="?" instead: "CACHE --option SOURCE" would not find its SOURCE in Python 3.11 (python/cpython#59317)
    action.required = required
    group = parser.add_argument_group("how SOURCE is read")
    group.add_argument("--dataset", metavar="NAME", help="SOURCE is the folder of this public data set: chestxray14")
    group.add_argument("--no-classes", action="store_true", help="a folder's subfolders are not classes")
    group.add_argument("--root", help="where relative paths start (default: the CSV's folder; as saved)")
    for name, what in (("id", "ids"), ("path", "paths"), ("patient", "patients")):
        group.add_argument(f"--{name}", metavar="COLUMN", help=f"the CSV's column with {what}")
    group.add_argument("--targets", metavar="COLUMN", nargs="+", help="the CSV's columns to learn")
    group.add_argument(
        "--split",
        metavar="COLUMN|SHARES",
        help="the CSV's column with splits; or shares of a split to make, as train=.7,val=.1,test=.2",
    )
    group.add_argument("--by", metavar="COLUMN", default="patient", help="what a split keeps together (%(default)s)")
    group.add_argument("--within", metavar="SPLIT", help="a split that is there: only its films are divided by SHARES")
    group.add_argument(
        "--stratify", metavar="COLUMN", nargs="*", help="share these out, or none (default: all targets)"
    )
    group.add_argument("--leaks", metavar="NAME", help="near-duplicates that a split would part: refuse, join or allow")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that is drawn (%(default)s)")


def catalog(args: argparse.Namespace, *, progress: bool) -> "Catalog":
    """The catalog that the arguments mean.

    Raises ArgumentError for options that do not go with this kind of source, CatalogError as the catalog does.
    """
    fractions = shares(args.split) if args.split and "=" in args.split else None
    options = dividing(args)
    if options and fractions is None:
        raise ArgumentError(f"{', '.join(f'--{name}' for name in options)} go with --split SHARES, of a split to make")
    found = _found(args, None if fractions else args.split, progress)
    return found if fractions is None else found.split(fractions, by=args.by, seed=args.seed, **options)


def dividing(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `Catalog.split` that were given beside those that are always there."""
    given = {"within": args.within, "stratify": args.stratify, "leaks": args.leaks}
    return {name: value for name, value in given.items() if value is not None}


def _found(args: argparse.Namespace, split: str | None, progress: bool) -> "Catalog":
    from resload.catalog import Catalog

    source = Path(args.source)
    if source.is_file() and args.dataset is None:
        return _from_csv(source, args, split)
    given = [f"--{name}" for name in CSV_OPTIONS if getattr(args, name) is not None]
    given += ["--split COLUMN"] if split else []
    if given:
        raise ArgumentError(f"{', '.join(given)} name columns of a CSV, and {source} is not one")
    if args.dataset is not None:
        return _dataset(args.dataset, source)
    if (source / "catalog.json").is_file():
        return Catalog.load(source, root=args.root)
    if not source.exists():
        raise CatalogError(f"{source}: there is no such file or folder")
    return Catalog.from_folder(source, classes=not args.no_classes, progress=progress)


def _from_csv(csv: Path, args: argparse.Namespace, split: str | None) -> "Catalog":
    from resload.catalog import Catalog

    named: dict[str, Any] = {name: getattr(args, name) for name in ("id", "path", "patient")}
    named = {name: value for name, value in (named | {"split": split}).items() if value is not None}
    return Catalog.from_csv(csv, root=args.root or csv.parent, targets=args.targets or (), **named)


def _dataset(name: str, folder: Path) -> "Catalog":
    from resload import datasets

    if name not in datasets.__all__:
        raise ArgumentError(f"--dataset: there are {', '.join(datasets.__all__)}; found {name!r}")
    made: Catalog = getattr(datasets, name)(folder)
    return made


def shares(text: str) -> dict[str, float]:
    """`"train=.7,test=.3"` as `{"train": 0.7, "test": 0.3}`. Raises ArgumentError for anything else."""
    found = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            found[name.strip()] = float(share)
        except ValueError as exc:
            raise ArgumentError(f"--split: shares look like train=.7,val=.1,test=.2; found {text!r}") from exc
    return found
