"""Public data sets in miniature: their tables, names, layouts and quirks as they are, a few tiny images each.

`write_miniature(name, folder)` writes the one that `resload.datasets.<name>` reads. Each module here is one data
set, with a `write(root, ...)` whose keywords are the quirks that circulate; `images.py` makes the pictures.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resload.errors import ArgumentError
from resload.testing.miniatures import (
    bimcv,
    dream,
    mit,
    nih,
    nlm_tb,
    porto,
    rsna_bone,
    rsna_pneu,
    siim,
    stanford,
    tcia,
    vindr,
    vinmammo,
)

WRITERS: dict[str, Callable[..., Path]] = {
    "cbis_ddsm": tcia.write,
    "chestxray14": nih.write,
    "chexpert": stanford.write,
    "dream_dm": dream.write,
    "inbreast": porto.write,
    "mimic_cxr_jpg": mit.write,
    "montgomery": nlm_tb.write_montgomery,
    "padchest": bimcv.write,
    "rsna_bone_age": rsna_bone.write,
    "rsna_pneumonia": rsna_pneu.write,
    "shenzhen": nlm_tb.write_shenzhen,
    "siim_pneumothorax": siim.write,
    "vindr_cxr": vindr.write,
    "vindr_mammo": vinmammo.write,
}
"""Name of the data set, as in `resload.datasets` -> what writes it."""


def write_miniature(name: str, folder: str | os.PathLike[str], **quirks: Any) -> Path:
    """Write a data set in miniature and return its folder, which `resload.datasets.<name>` reads.

    >>> root = write_miniature("chestxray14", "nih")
    >>> root.name
    'nih'

    Raises ArgumentError for a name that is none of `WRITERS`.
    """
    if name not in WRITERS:
        raise ArgumentError(f"there are miniatures of {', '.join(WRITERS)}; found {name!r}")
    return WRITERS[name](Path(folder), **quirks)
