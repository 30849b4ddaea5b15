"""What the tests of object storage and mirrors share: a catalog, its cache on disk, and comparing objects."""

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

import resload
from resload.masks.runs import encode_runs
from resload.store.remote import Url

SIZES = (16, 32)
MASKED = (16, "native")


def build(catalog, path, sizes=SIZES, **options):
    return resload.build(catalog, path, sizes, progress=False, **options)


def objects(url):
    """Every object below a URL and the hash of its bytes, as `trees.tree` of a folder."""
    folder = Url(str(url))
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sorted(folder.sizes_below())}


def masked(catalog):
    """The catalog with a mask for each film: a rectangle, or nothing, or nobody looked."""
    table = catalog.scan(progress=False).table
    rows = []
    for k, (name, height, width) in enumerate(zip(table["id"], table["height"], table["width"], strict=True)):
        inside = np.zeros((int(height), int(width)), bool)
        inside[: k % 5 * 4, 3:17] = True
        if k % 3:
            rows.append({"id": name, "label": "lung", "rle": encode_runs(inside) if inside.any() else "-1"})
    return resload.Catalog(table, targets=catalog.targets, masks=pd.DataFrame(rows), root=catalog.root)


def below(folder: Path) -> dict[str, int]:
    """Files below a folder and their bytes."""
    found = {}
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                found[str(path.relative_to(folder))] = path.stat().st_size
        except FileNotFoundError:
            continue
    return found


@contextmanager
def child():
    """Fork: gives 0 in the child, which ends with the block (status 0 unless it raised), and its number here."""
    number = os.fork()
    if number:
        yield number
        return
    status = 1
    try:
        yield 0
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)
