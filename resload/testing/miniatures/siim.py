"""SIIM-ACR Pneumothorax in miniature: five films for training, one with three annotations, and one for testing."""

from pathlib import Path

from resload.testing.miniatures.images import SECONDARY_CAPTURE, write_dicom

PREFIX = "1.2.276.0.7230010.3.1.4.8323329."
FILMS = ("6904.1517875201.850819", "13666.1517875247.117800", "11577.1517875161.85", "4541.1517875182.6", "319.15178.2")
TEST_FILM = f"{PREFIX}1000.1517875165.878027"
ROWS = (
    (FILMS[0], " -1"),
    (FILMS[1], " -1"),
    (FILMS[2], " 102500 100 924 100 924 100"),
    (FILMS[3], " 204900 50"),
    (FILMS[3], " 204925 50 974 20"),
    (FILMS[3], " 512000 10"),
    (FILMS[4], " 0 1024"),
)
"""Ends of ImageIds, and run-lengths as the first stage writes them: with a blank before."""


def write(
    root: Path,
    *,
    layout: str = "stage_1",
    blank: str = " ",
    test: bool = True,
    leave_out: tuple[str, ...] = (),
) -> Path:
    """Write SIIM-ACR Pneumothorax to a folder.

    `layout` is "stage_1" (a folder for each study and series), "stage_2" or "flat" (all films in the root); `blank` is
    what stands before the second column's name and values; `leave_out` are ends of ids of films that are not written.
    """
    root.mkdir(parents=True, exist_ok=True)
    lines = [f"ImageId,{blank}EncodedPixels"]
    lines += [f"{PREFIX}{film},{blank}{runs.strip()}" for film, runs in ROWS]
    (root / ("train-rle.csv" if layout == "stage_1" else "stage_2_train.csv")).write_text("\n".join(lines) + "\n")
    for film in FILMS:
        if film not in leave_out:
            _film(root / _folder(layout, "dicom-images-train", film), f"{PREFIX}{film}")
    if test:
        _film(root / _folder("stage_1", "dicom-images-test", "1000.1"), TEST_FILM)
    return root


def _folder(layout: str, start: str, film: str) -> str:
    if layout == "flat":
        return ""
    return f"{start}/1.2.276.0.7230010.3.1.2.{film}/1.2.276.0.7230010.3.1.3.{film}" if layout == "stage_1" else start


def _film(folder: Path, name: str) -> None:
    """1024 x 1024 as the challenge has them: JPEG, a Secondary Capture, with the spacing of the film it came from."""
    write_dicom(
        folder / f"{name}.dcm",
        1024,
        1024,
        bits=8,
        jpeg=True,
        uid=name,
        sop_class=SECONDARY_CAPTURE,
        ConversionType="WSD",
        LossyImageCompression="01",
        PatientID=f"16d7f894-55d7-4d95-8957-{name[-6:]}",
        PatientSex="M",
        PatientAge="62",
        ViewPosition="PA",
        PixelSpacing=["0.168", "0.168"],
    )
