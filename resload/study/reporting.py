"""The files of a study's report: figures, tables, and the page that holds the figures inside it."""

from pathlib import Path
from typing import TYPE_CHECKING

from resload.store.commit import write_whole
from resload.study import drawing, page, panels, tables
from resload.study.elements import Picture
from resload.study.folder import Folder

if TYPE_CHECKING:
    from resload.study.results import Study


def write(study: "Study", folder: Path) -> Path:
    """All files into a folder; the page, written last. Raises MissingPackageError without matplotlib."""
    figures = {name: figure for name, figure in drawn(study).items() if figure is not None}
    pixels = {name: figure.png() for name, figure in figures.items()}
    pictures = {name: Picture(figure.svg(), "svg+xml") for name, figure in figures.items()}
    examples = Folder(study.path).examples
    if examples.exists():
        pixels["examples"] = examples.read_bytes()
        pictures["examples"] = Picture(pixels["examples"], "png")
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        _put(pixels.get(name), folder / "figures" / f"{name}.png")
    write_whole(tables.csv(study).encode(), folder / "table.csv")
    write_whole(tables.latex(study).encode(), folder / "table.tex")
    target = folder / "report.html"
    write_whole(page.made(study, {name: pictures[name] for name in NAMES if name in pictures}).encode(), target)
    return target


NAMES = ("size", "cost", "lesions", "examples", "training")
"""Of the figures, in their order."""


def drawn(study: "Study") -> dict[str, drawing.Painted | None]:
    """The figures by their names; None for those that this study has nothing for."""
    return {
        "size": drawing.sizes(study),
        "cost": panels.cost(study),
        "lesions": panels.lesions(study),
        "training": panels.training(study),
    }


def _put(data: bytes | None, target: Path) -> None:
    """Write a file; one of an earlier report goes where there is none now."""
    if data is None:
        target.unlink(missing_ok=True)
    else:
        write_whole(data, target)
