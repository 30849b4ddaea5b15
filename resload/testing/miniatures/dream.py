"""DREAM Digital Mammography in miniature: five exams of three women, as the challenge's containers saw them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resload.testing.miniatures.images import MAMMOGRAM, write_dicom

EXAMS_HEADER = (
    "subjectId\texamIndex\tdaysSincePreviousExam\tcancerL\tcancerR\tinvL\tinvR\tage\timplantEver\timplantNow\tbcHistory\t"
    "yearsSincePreviousBc\tpreviousBcLaterality\treduxHistory\treduxLaterality\thrt\tantiestrogen\tfirstDegreeWithBc\t"
    "firstDegreeWithBc50\tbmi\trace"
)
EXAMS = (
    "0007\t1\t.\t0\t0\t0\t0\t51\t0\t.\t0\t.\t.\t0\t.\t0\t0\t0\t.\t24.1\t1",
    "0007\t2\t402\t1\t0\t1\t0\t52\t0\t.\t0\t.\t.\t0\t.\t0\t0\t0\t.\t24.3\t1",
    "0012\t1\t.\t.\t1\t.\t0\t63\t1\t1\t1\t4\t1\t0\t.\t.\t1\t1\t0\t.\t2",
    "0012\t2\t731\t.\t*\t.\t*\t65\t1\t1\t1\t6\t1\t0\t.\t.\t1\t1\t0\t.\t2",
    "0031\t1\t.\t0\t0\t0\t0\t47\t0\t.\t0\t.\t.\t0\t.\t0\t0\t0\t.\t31.0\t9",
)
"""The second woman has lost her left breast: `.` there. A result of her last exam is withheld."""

IMAGES_HEADER = "subjectId\texamIndex\timageIndex\tview\tlaterality\tfilename"
VIEWS = {
    ("0007", 1): ("CC L", "MLO L", "CC R", "MLO R"),
    ("0007", 2): ("CC L", "MLO L", "CC R", "MLO R", "ML L"),
    ("0012", 1): ("CC R", "MLO R"),
    ("0012", 2): ("CC R", "MLO R", "MLO R"),
    ("0031", 1): ("CC L", "MLO L", "CC R", "MLO R"),
}


def write(
    root: Path,
    *,
    pilot: bool = False,
    suffix: str = ".dcm",
    absent: Sequence[str] = (),
    extra_rows: Sequence[str] = (),
    exams: Sequence[str] = EXAMS,
    header: str = EXAMS_HEADER,
) -> Path:
    """Write the challenge's folders, or those of its pilot set.

    suffix: what the crosswalk's file names end in. absent: names (without suffix) of images that are not there.
    extra_rows: more rows of the crosswalk. exams, header: those of the table of exams.
    """
    tables, images = (root, root / "pilot_images") if pilot else (root / "metadata", root / "trainingData")
    ending = "_pilot_20160906" if pilot else ""
    tables.mkdir(parents=True, exist_ok=True)
    images.mkdir(parents=True, exist_ok=True)
    rows = []
    for (subject, exam), views in VIEWS.items():
        for number, (view, side) in enumerate((view.split() for view in views), start=1):
            name = f"{subject}{exam:02d}{number:02d}"
            rows.append(f"{subject}\t{exam}\t{number}\t{view}\t{side}\t{name}{suffix}")
            if name not in absent:
                _write_image(images / f"{name}.dcm", side, view)
    (tables / f"images_crosswalk{ending}.tsv").write_text("\n".join((IMAGES_HEADER, *rows, *extra_rows)) + "\n")
    (tables / f"exams_metadata{ending}.tsv").write_text("\n".join((header, *exams)) + "\n")
    return root


def _write_image(path: Path, side: str, view: str) -> None:
    """A bright half-oval on the side of the chest wall: left for a left breast, as mammograms are shown."""
    y, x = np.mgrid[:26, :20]
    breast = ((y - 12.5) / 11) ** 2 + (x / 14) ** 2 < 1
    pixels = np.where(breast, 1000 + 40 * x, 0).astype(np.uint16)
    write_dicom(
        path,
        pixels=pixels if side == "L" else np.ascontiguousarray(pixels[:, ::-1]),
        sop_class=MAMMOGRAM,
        bits=12,
        ImageLaterality=side,
        ViewPosition=view,
        PresentationIntentType="FOR PRESENTATION",
        ImagerPixelSpacing=[0.07, 0.07],
    )
