"""A data set to publish: every film at its own size, nobody's name, and a format that needs no resload.

    python examples/full_resolution_release.py --data archive/ --key key.txt
    python examples/full_resolution_release.py --miniature     a small made-up archive, in seconds

The editorial's question, which size a task needs (Lakhani 2020), can only be asked of films at full resolution:
whoever is given 256 px never learns what was lost. A release is one cache in Zarr v3: every stored value of every
film (`"native"`, `intensity="raw"`, compressed without loss) and a small size to begin with; ids, patients and exams
are hashes under a key that stays with its maker. Everything is verified before it is published, some films against
their files, pixel by pixel. Pixels are not changed: text burnt into a film is still there, so films that say they
have such text are left out, and others have to be looked at. What a full run needs is in examples/README.md.
"""

import argparse
import contextlib
import io
import json
import secrets
from pathlib import Path

import numpy as np
import pandas as pd
import zarr

import resload
from resload.cli import main as command
from resload.testing import write_archive

WINDOW = ("WindowCenter", "WindowWidth")
COLUMNS = ("Modality", "ViewPosition", "laterality", "Manufacturer", "intent", "photometric", *WINDOW)
"""Columns that are published as they are, besides those that every cache has: how to show a film, and no dates, names
or numbers of persons. Lookup tables are not among them; `intensity="auto"` would apply them, and windows, before films
are stored."""


def main(argv: list[str] | None = None) -> None:
    """Build the release, prove it, say what is in it, and write OUT/README.md, which is published with it."""
    args = arguments(argv)
    key = args.key.read_text().strip()
    catalog = films(args.data)
    release = args.out / "release.zarr"
    recipe = resload.Pipeline((args.size, "native"), intensity="raw", fit="pad")
    cache = resload.build(catalog, release, pipeline=recipe, columns=COLUMNS, pseudonymise=key)
    report = resload.verify(cache, sources=args.sources, catalog=catalog, pseudonymise=key)
    if not report.ok:
        raise SystemExit(f"{release} is not as it should be, and must not be published: {report}")
    facts = told(release)
    facts["without_resload"] = opened_by_others(release)
    (args.out / "README.md").write_text(page(facts))
    (args.out / "result.json").write_text(json.dumps(facts, indent=1))
    print(page(facts))
    print(f"Publish {release} and README.md beside it, under a licence. Keep {args.key} where passwords are kept.")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="a hospital's archive: DICOM under any names")
    which.add_argument("--miniature", action="store_true", help="write a small archive to OUT, and release it")
    parser.add_argument("--out", type=Path, default=Path("release-out"), help="default: release-out")
    parser.add_argument("--key", type=Path, help="file with the key (default: OUT.key, made if it is not there)")
    parser.add_argument("--size", type=int, default=512, help="of the small size beside the films' own (default: 512)")
    parser.add_argument("--sources", type=int, default=64, help="films to compare with their files (default: 64)")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    args.key = args.key or args.out.with_name(f"{args.out.name}.key")  # not in what is published
    if not args.key.exists():
        args.key.touch(mode=0o600)
        args.key.write_text(secrets.token_hex(32))
    if args.miniature:
        args.data, args.size = write_archive(args.out / "data", 40).archive, 64
    return args


def films(folder: Path) -> resload.Catalog:
    """The archive's films without burnt-in text, as far as headers tell, divided by patient once for all users."""
    catalog = resload.Catalog.from_dicom(folder, tags=WINDOW)
    catalog = catalog.select((catalog.table["BurnedInAnnotation"] != "YES").to_numpy())
    return catalog.split({"train": 0.7, "val": 0.1, "test": 0.2}, by="patient", seed=0)


def told(release: Path) -> dict[str, object]:
    """What `resload info` says: films, sizes, and the columns by which people could be recognised."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        command(["info", str(release), "--json"])
    return json.loads(said.getvalue())


def opened_by_others(release: Path) -> dict[str, object]:
    """The stored values of one film, with zarr and pandas alone: what a user without resload does."""
    table = pd.read_parquet(release / "samples.parquet")
    row = int(np.flatnonzero(table["status"] == "ok")[0])
    of = table.loc[row]
    film = zarr.open_group(release, mode="r")["images/native"][row, : of["height"], : of["width"]]
    stored = np.rint(film * of["scale"] + of["offset"]).astype(int)
    return {"row": row, "shape": list(stored.shape), "least": int(stored.min()), "most": int(stored.max())}


def page(facts: dict[str, object]) -> str:
    """The text that is published beside the films."""
    sizes = ", ".join(one["size"] for one in facts["sizes"])
    splits = ", ".join(f"{count} {name}" for name, count in facts["splits"].items())
    return f"""# Films at full resolution

{facts["readable"]} films ({splits}; whole patients), {facts["dtype"]}, at {sizes}. Digest: {facts["digest"]}

Columns to look at before publishing: {", ".join(facts["identifying"]) or "none"}.
Of these, DICOM's confidentiality profile would remove: {", ".join(facts["confidential"]) or "none"}.

With zarr and pandas, here the values that the detector's file held of the first film:

    table = pandas.read_parquet("release.zarr/samples.parquet")
    film = zarr.open_group("release.zarr", mode="r")["images/native"][0, :table.height[0], :table.width[0]]
    stored = numpy.rint(film * table.scale[0] + table.offset[0])

Where `photometric` is MONOCHROME1, small values are white.

With resload, at any size: `resload.Loader(resload.open_cache("release.zarr"), size=300, batch_size=16)`
"""


if __name__ == "__main__":
    main()
