"""VinDr-Mammo in miniature: three exams of four views, the three tables as they are spelled."""

from collections.abc import Sequence
from pathlib import Path

from resload.testing.miniatures.images import MAMMOGRAM, write_dicom

HEADER = "study_id,series_id,image_id,laterality,view_position,height,width,breast_birads,breast_density,split"
FINDING_HEADER = (
    "study_id,series_id,image_id,laterality,view_position,height,width,breast_birads,breast_density,"
    "finding_categories,finding_birads,xmin,ymin,xmax,ymax,split"
)
METADATA_HEADER = (
    "SOP Instance UID,Series Instance UID,Patient's Age,Manufacturer,Manufacturer's Model Name,Rows,Columns,"
    "Photometric Interpretation,Imager Pixel Spacing"
)
EXAMS = {
    "b8d273e8601f348d3664778dae0e7e0b": ("BI-RADS 2", "BI-RADS 5", "DENSITY C", "training"),
    "8269f5971eaca3e5d3772d1796e6bd7a": ("BI-RADS 1", "BI-RADS 1", "DENSITY B", "test"),
    "0025a5dc99fd5c742026f0b2b030d3e9": ("BI-RADS 3", "BI-RADS 4", "DENSITY D", "training"),
}
"""Exam -> BI-RADS of the left and of the right breast, density, split."""

HEIGHT, WIDTH = 28, 20
FINDINGS = {
    ("b8d273e8601f348d3664778dae0e7e0b", "R", "CC"): (
        ("['Mass', 'Skin Thickening']", "BI-RADS 5", "2.5", "3.0", "9.5", "12.0"),
        ("['Suspicious Calcification']", "BI-RADS 4", "15.0", "20.0", "20.7", "27.0"),
    ),
    ("b8d273e8601f348d3664778dae0e7e0b", "R", "MLO"): (("['Mass']", "BI-RADS 5", "-0.5", "4.0", "6.0", "11.0"),),
    ("0025a5dc99fd5c742026f0b2b030d3e9", "R", "MLO"): (("['Focal Asymmetry']", "BI-RADS 4", "3", "5", "8", "9"),),
}
SEEN = f'053Y,SIEMENS,Mammomat Inspiration,{HEIGHT},{WIDTH},MONOCHROME2,"[0.085, 0.085]"'
"""What the table of headers says of each image."""

NO_FINDING = ("['No Finding']", "", "", "", "", "")


def image_id(exam: str, side: str, view: str) -> str:
    """The name of one image: a hash in the release, here of another exam's letters."""
    return f"{exam[:24]}{side}{view}".lower().ljust(32, "0")


def write(
    root: Path,
    *,
    suffix: str = ".dicom",
    absent: Sequence[str] = (),
    tables: Sequence[str] = ("breast", "finding", "metadata"),
    repeated: bool = False,
    extra_findings: Sequence[str] = (),
) -> Path:
    """Write VinDr-Mammo.

    suffix: of the images. absent: ids of images that are not there. tables: which are there. repeated: the first row
    of the table of breasts is there twice. extra_findings: more rows of the table of findings.
    """
    root.mkdir(parents=True, exist_ok=True)
    breasts, findings, seen = [], [], []
    for exam, (left, right, density, split) in EXAMS.items():
        for side, view in (("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")):
            name, birads = image_id(exam, side, view), left if side == "L" else right
            start = f"{exam},{exam[::-1]},{name},{side},{view},{HEIGHT},{WIDTH},{birads},{density}"
            breasts.append(f"{start},{split}")
            for category, *rest in FINDINGS.get((exam, side, view), (NO_FINDING,)):
                findings.append(f'{start},"{category}",{",".join(rest)},{split}')
            seen.append(f"{name},{exam[::-1]},{SEEN}")
            if name not in absent:
                _write_image(root / "images" / exam / f"{name}{suffix}", side, view)
    rows = {
        "breast": [HEADER, *breasts, *breasts[:1] * repeated],
        "finding": [FINDING_HEADER, *findings, *extra_findings],
    }
    rows["metadata"] = [METADATA_HEADER, *seen]
    names = {"breast": "breast-level_annotations", "finding": "finding_annotations", "metadata": "metadata"}
    for table in tables:
        (root / f"{names[table]}.csv").write_text("\n".join(rows[table]) + "\n")
    return root


def _write_image(path: Path, side: str, view: str) -> None:
    write_dicom(
        path,
        HEIGHT,
        WIDTH,
        bits=12,
        sop_class=MAMMOGRAM,
        ImageLaterality=side,
        ViewPosition=view,
        PresentationIntentType="FOR PRESENTATION",
        ImagerPixelSpacing=[0.085, 0.085],
    )
