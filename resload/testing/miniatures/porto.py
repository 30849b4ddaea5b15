"""INbreast in miniature: six films of two patients, table as CSV or as an Excel file, contours as property lists."""

import plistlib
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from resload.testing.miniatures.images import MAMMOGRAM, write_dicom

HEADER = ("Patient ID", "Patient age", "Laterality", "View", "Acquisition date", "File Name", "ACR", "Bi-Rads")
FIRST, SECOND = "61b13c59bcba149e", "036aff49b8ac84f0"
FILMS = (
    ("22678622", FIRST, "L", "CC", "201001", "2", "1"),
    ("22678646", FIRST, "L", "MLO", "201001", "2", "3"),
    ("22678670", FIRST, "R", "CC", "201001", "2", "4a"),
    ("22678694", FIRST, "R", "MLO", "201107", "2", "6"),
    ("20586908", SECOND, "L", "CC", "200801", "", "4c"),
    ("20586934", SECOND, "R", "MLO", "200801", "4", "2"),
)
"""Number, patient, side, view, date, density, BI-RADS. The first patient came back for the fourth film."""

HEIGHT, WIDTH = 32, 24
CONTOURS: Mapping[str, Sequence[tuple[str, Sequence[tuple[float, float]]]]] = {
    "22678646": [("Calcification", [(3.4, 5.6)]), ("Calcifications", [(7.2, 8.2), (7.9, 8.3)]), ("Point 1", [(1, 1)])],
    "22678670": [
        ("Mass", [(2, 2), (8, 2), (8, 8), (2, 8)]),
        ("Mass", [(6, 6), (12, 6), (12, 12), (6, 12)]),
        ("Espiculated Region", [(1, 1), (14, 1), (14, 14), (1, 14)]),
        ("Assymetry", [(20.5, 30.5), (99, 30.5), (99, 99), (20.5, 99)]),
    ],
}
MUSCLES: Mapping[str, Sequence[tuple[float, float]]] = {
    "22678646": [(10, 0), (6, 4), (3, 7), (0, 9)],
    "22678694": [(14, 0), (18, 4), (24, 9)],
}
"""From the upper border to the chest wall; the corner is not in them."""


def write(
    root: Path,
    *,
    table: str = "csv",
    home: str = "INbreast Release 1.0",
    absent: Sequence[str] = (),
    contours: Mapping[str, Sequence[tuple[str, Sequence[tuple[float, float]]]]] = CONTOURS,
    muscles: bool = True,
) -> Path:
    """Write INbreast below `root`; `table` is "csv" or "xls", `absent` are numbers of films whose file is not there."""
    release = root / home
    (release / "AllXML").mkdir(parents=True, exist_ok=True)
    rows = [
        ("removed", "removed", side, view, date, name, acr, grade) for name, _, side, view, date, acr, grade in FILMS
    ]
    if table == "csv":
        lines = (";".join(cells) for cells in (HEADER, *rows))
        (release / "INbreast.csv").write_text("\n".join(lines) + "\n")
    else:
        junk = [("",) * 8, ("", "", "", "", "", "Total", "", "6")]
        (release / "INbreast.xls").write_bytes(workbook([HEADER, *rows, *junk]))
    for name, patient, side, view, *_ in FILMS:
        if name not in absent:
            file = f"{name}_{patient}_MG_{side}_{'ML' if view == 'MLO' else view}_ANON.dcm"
            write_dicom(
                release / "AllDICOMs" / file,
                HEIGHT,
                WIDTH,
                bits=14,
                sop_class=MAMMOGRAM,
                ImageLaterality=side,
                ImagerPixelSpacing=[0.07, 0.07],
            )
    for name, regions in contours.items():
        _write_contours(release / "AllXML" / f"{name}.xml", regions)
    for name, points in MUSCLES.items() if muscles else ():
        folder = release / "PectoralMuscle" / "Pectoral Muscle XML"
        _write_contours(folder / f"{name}_muscle.xml", [("Unnamed", points)])
    return root


def _write_contours(path: Path, regions: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> None:
    """A property list with the keys that the readers' program (OsiriX) writes."""
    rois = [
        {
            "IndexInImage": number,
            "Name": name,
            "NumberOfPoints": len(points),
            "Point_mm": [f"({0.07 * x:.6f}, {0.07 * y:.6f}, 0.000000)" for x, y in points],
            "Point_px": [f"({x:.6f}, {y:.6f})" for x, y in points],
        }
        for number, (name, points) in enumerate(regions)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"Images": [{"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": rois}]}
    path.write_bytes(plistlib.dumps(document))


def workbook(rows: Sequence[Sequence[str]]) -> bytes:
    """An Excel file of the oldest kind (BIFF2), which readers still read; numbers are floats, as Excel has them."""
    records = [struct.pack("<HHHH", 0x0009, 4, 7, 0x10), struct.pack("<HHH", 0x0042, 2, 1252)]
    for y, cells in enumerate(rows):
        for x, cell in enumerate(cells):
            place = struct.pack("<HH3x", y, x)
            if cell.isdigit():
                body, kind = place + struct.pack("<d", float(cell)), 0x0003
            elif cell:
                body, kind = place + bytes([len(cell)]) + cell.encode("latin-1"), 0x0004
            else:
                continue
            records.append(struct.pack("<HH", kind, len(body)) + body)
    return b"".join(records) + struct.pack("<HH", 0x000A, 0)
