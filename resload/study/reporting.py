"""The files of a study's report: figures, tables, and the page that holds the figures inside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from resload.errors import require
from resload.store.commit import write_whole
from resload.study import drawing, page, tables

if TYPE_CHECKING:
    from resload.study.results import Study

EXAMPLES = "examples.png"
"""In the study's folder, drawn when it began."""


def write(study: "Study", folder: Path) -> Path:
    """All files into a folder; the page, written last. Raises MissingPackageError without matplotlib."""
    require("matplotlib.figure", "figures", drawing.WHY)
    pictures = figures(study)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name, data in pictures.items():
        write_whole(data, folder / "figures" / name)
    write_whole(tables.csv(study).encode(), folder / "table.csv")
    write_whole(tables.latex(study).encode(), folder / "table.tex")
    target = folder / "report.html"
    write_whole(page.made(study, pictures).encode(), target)
    return target


def figures(study: "Study") -> Mapping[str, bytes]:
    """Name of its file -> PNG: those that this study has anything for."""
    found = {"size.png": drawing.sizes(study)}
    examples = study.path / EXAMPLES
    if examples.exists():
        found["examples.png"] = examples.read_bytes()
    return found
