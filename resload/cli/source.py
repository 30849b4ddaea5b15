"""SOURCE: the films that a verb is told about, as a catalog.

a folder                                    Catalog.from_folder
a folder that Catalog.save (or scan) made   Catalog.load
a file                                      Catalog.from_csv
--dicom FOLDER                              Catalog.from_dicom
--dataset NAME FOLDER                       resload.datasets
any of them with --join SPREADSHEET         and then Catalog.join
"""

import argparse
import ast
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resload.errors import ArgumentError, CatalogError

if TYPE_CHECKING:
    from resload.catalog import Catalog
    from resload.store.cache import Cache

CSV_OPTIONS = ("id", "path", "patient", "targets")
"""They name columns, and so go with a CSV only; the targets with a spreadsheet that is joined, too."""
DICOM_OPTIONS = ("tags", "modalities", "index")
"""They go with --dicom only."""


OF_FILMS = ("dataset", "tags", "modalities", "index", "join", "on", "root", "id", "path", "patient", "targets", "split",
            "within", "stratify", "leaks")  # fmt: skip
"""Options that say how films are read; with a cache they would mean nothing."""

WHAT = "a folder of films, a saved catalog, or a CSV"


def arguments(parser: argparse.ArgumentParser, *, required: bool = True, what: str = WHAT) -> None:
    """Add SOURCE, `what` it is, and how it is read; a verb that does not need it finds None."""
    action = parser.add_argument("source", metavar="SOURCE" if required else "[SOURCE]", help=what)
    # nargs="?" instead: "CACHE --option SOURCE" would not find its SOURCE in Python 3.11 (python/cpython#59317)
    action.required = required
    group = parser.add_argument_group("how SOURCE is read")
    sets = ", ".join(dataset_names())
    group.add_argument("--dataset", metavar="NAME", help=f"SOURCE is the folder of this public data set: {sets}")
    group.add_argument("--dicom", action="store_true", help="SOURCE is an archive: take the radiographs in it")
    group.add_argument("--tags", metavar="KEYWORD", nargs="+", help="DICOM attributes of an archive to keep as columns")
    group.add_argument("--modalities", metavar="M", nargs="+", help="those to take (CR DX MG RG PX IO)")
    group.add_argument(
        "--index", metavar="FILE", help="keeps an archive's headers, to go on where a run stopped (holds identifiers)"
    )
    group.add_argument("--join", metavar="SPREADSHEET", help="a CSV, xlsx or xls whose columns belong to the films")
    group.add_argument("--on", metavar="COLUMN", help="the column both have; or THEIRS, named as ours=THEIRS")
    group.add_argument("--no-classes", action="store_true", help="a folder's subfolders are not classes")
    group.add_argument("--root", help="where relative paths start (default: the CSV's folder; as saved)")
    for name, held in (("id", "ids"), ("path", "paths"), ("patient", "patients")):
        group.add_argument(f"--{name}", metavar="COLUMN", help=f"the CSV's column with {held}")
    group.add_argument("--targets", metavar="COLUMN", nargs="+", help="the CSV's (or spreadsheet's) columns to learn")
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


def key_argument(parser: argparse._ActionsContainer) -> None:
    """Add the key of pseudonyms: by file, since command lines are seen by others and kept in histories."""
    parser.add_argument(
        "--pseudonymise-key",
        metavar="FILE",
        help="ids, patients and groups are hashed under the key in this file (its text, without the last line end)",
    )


def key(args: argparse.Namespace) -> bytes | None:
    """The key that --pseudonymise-key names, or None. Raises ArgumentError for a file that cannot be read."""
    if args.pseudonymise_key is None:
        return None
    try:
        return Path(args.pseudonymise_key).read_bytes().removesuffix(b"\n").removesuffix(b"\r")
    except OSError as exc:
        raise ArgumentError(f"--pseudonymise-key {args.pseudonymise_key}: {exc.strerror}") from exc


def dataset_names() -> tuple[str, ...]:
    """The names in `resload.datasets`, read without importing it: help must not wait for pandas."""
    code = ast.parse(pkgutil.get_data("resload", "datasets/__init__.py") or b"")
    (names,) = (
        ast.literal_eval(line.value)
        for line in code.body
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "__all__"
    )
    return tuple(names)


def catalog(args: argparse.Namespace, *, progress: bool, threads: int | None = None) -> "Catalog":
    """The catalog that the arguments mean; `threads` read an archive.

    Raises ArgumentError for options that do not go with this kind of source, CatalogError as the catalog does.
    """
    fractions = shares(args.split) if args.split and "=" in args.split else None
    options = dividing(args)
    if options and fractions is None:
        raise ArgumentError(f"{', '.join(f'--{name}' for name in options)} go with --split SHARES, of a split to make")
    found = _found(args, None if fractions else args.split, progress, threads)
    if args.join is not None:
        found = found.join(args.join, on=_keys(args.on), targets=args.targets or ())
    return found if fractions is None else found.split(fractions, by=args.by, seed=args.seed, **options)


def data(args: argparse.Namespace) -> "Cache | Catalog":
    """The cache that SOURCE is, or else its films; raises as `catalog` does."""
    from resload.store.cache import open_cache
    from resload.store.remote import location

    if args.dicom or args.dataset is not None or not (location(args.source) / "zarr.json").is_file():
        return catalog(args, progress=not args.json)
    given = [f"--{name.replace('_', '-')}" for name in OF_FILMS if getattr(args, name) is not None]
    if given or args.no_classes:
        raise ArgumentError(
            f"{', '.join(given or ['--no-classes'])}: only where films are read; {args.source} is a cache"
        )
    return open_cache(args.source)


def dividing(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `Catalog.split` that were given beside those that are always there."""
    given = {"within": args.within, "stratify": args.stratify, "leaks": args.leaks}
    return {name: value for name, value in given.items() if value is not None}


def _keys(on: str | None) -> str | dict[str, str]:
    """`--on AccessionNumber`, or `--on AccessionNumber=Acc` where the spreadsheet calls it otherwise."""
    if on is None:
        raise ArgumentError("--join needs --on: the column by which films and rows of the spreadsheet belong together")
    ours, equals, theirs = on.partition("=")
    return {ours: theirs} if equals else on


def _found(args: argparse.Namespace, split: str | None, progress: bool, threads: int | None) -> "Catalog":
    from resload.catalog import Catalog

    source = Path(args.source)
    _refuse_stray(args)
    if source.is_file() and args.dataset is None and not args.dicom:
        return _from_csv(source, args, split)
    of_csv = [name for name in CSV_OPTIONS if name != "targets" or args.join is None]
    given = [f"--{name}" for name in of_csv if getattr(args, name) is not None]
    given += ["--split COLUMN"] if split else []
    if given:
        raise ArgumentError(f"{', '.join(given)} name columns of a CSV, and {source} is not one")
    if args.dataset is not None:
        return _dataset(args.dataset, source)
    if args.dicom:
        options = {name: getattr(args, name) for name in DICOM_OPTIONS if getattr(args, name) is not None}
        return Catalog.from_dicom(source, threads=threads, progress=progress, **options)
    if (source / "catalog.json").is_file():
        return Catalog.load(source, root=args.root)
    if not source.exists():
        raise CatalogError(f"{source}: there is no such file or folder")
    return Catalog.from_folder(source, classes=not args.no_classes, progress=progress)


def _refuse_stray(args: argparse.Namespace) -> None:
    """Options that go with another one, without it."""
    stray = [f"--{name}" for name in DICOM_OPTIONS if getattr(args, name) is not None]
    if stray and not args.dicom:
        raise ArgumentError(f"{', '.join(stray)} go with --dicom, for an archive")
    if args.on is not None and args.join is None:
        raise ArgumentError("--on goes with --join SPREADSHEET")
    if args.dicom and args.dataset is not None:
        raise ArgumentError("--dicom and --dataset are two ways to read SOURCE: give one")


def _from_csv(csv: Path, args: argparse.Namespace, split: str | None) -> "Catalog":
    from resload.catalog import Catalog

    named: dict[str, Any] = {name: getattr(args, name) for name in ("id", "path", "patient")}
    targets = args.targets or () if args.join is None else ()
    named = {name: value for name, value in (named | {"split": split}).items() if value is not None}
    return Catalog.from_csv(csv, root=args.root or csv.parent, targets=targets, **named)


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
