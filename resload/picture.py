"""Where a picture goes: asked before long work, not when it is to be written."""

import os
from pathlib import Path

from resload.errors import ArgumentError, require


def png_path(path: str | os.PathLike[str], what: str, why: str) -> Path:
    """The path, when a picture can be written there. what: "the figure"; why: "to draw it", for who lacks matplotlib.

    Raises ArgumentError for one that does not end in .png, MissingPackageError without matplotlib.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ArgumentError(f"{what} is a PNG, so its path must end in .png; found {str(path)!r}")
    require("matplotlib.figure", "figures", why)
    return target
