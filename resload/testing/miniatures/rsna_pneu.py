"""RSNA Pneumonia in miniature: four films for training, one with two boxes, one for testing, and the mapping to NIH."""

import json
from pathlib import Path

from resload.testing.miniatures.images import SECONDARY_CAPTURE, write_dicom

FILMS = (
    ("0004cfab-14fd-4e49-80ba-63a80b6bddd6", "No Lung Opacity / Not Normal", (), "51", "PA", "00000001_000.png"),
    (
        "00436515-870c-4b36-a041-de91049b9ab4",
        "Lung Opacity",
        ("264.0,152.0,213.0,379.0", "562.0,152.0,256.0,453.0"),
        "32",
        "AP",
        "00000001_001.png",
    ),
    ("00569f44-917d-4c86-a842-81832af98c30", "Normal", (), "155", "AP", "00000002_000.png"),
    (
        "00704310-78a8-4b38-8475-49f4573b2dbb",
        "Lung Opacity",
        ("323.0,577.0,160.0,104.0",),
        "58",
        "PA",
        "00000003_001.png",
    ),
)
"""patientId, class, boxes, age and view of the header, image of ChestX-ray14."""
TEST_FILM = ("0000a175-0e68-4ca4-b1af-167204a7e0bc", "40", "PA", "00000005_006.png")
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"


def write(root: Path, *, stage: int = 2, test: bool = True, leave_out: tuple[str, ...] = ()) -> Path:
    """Write RSNA Pneumonia to a folder; `stage` is in all its names, `leave_out` are films that are not written."""
    root.mkdir(parents=True, exist_ok=True)
    labels, classes = ["patientId,x,y,width,height,Target"], ["patientId,class"]
    for film, kind, boxes, *_ in FILMS:
        labels += [f"{film},{box},1" for box in boxes] or [f"{film},,,,,0"]
        classes += [f"{film},{kind}"] * max(1, len(boxes))
    (root / f"stage_{stage}_train_labels.csv").write_text("\n".join(labels) + "\n")
    (root / f"stage_{stage}_detailed_class_info.csv").write_text("\n".join(classes) + "\n")
    pairs = [(film, last) for film, *_, last in (*FILMS, TEST_FILM)]
    mapping = [{"subset_img_id": film, "img_id": image, "orig_labels": ["No Finding"]} for film, image in pairs]
    (root / MAPPING).write_text(json.dumps(mapping))
    for film, _, _, age, view, _ in FILMS:
        if film not in leave_out:
            _film(root / f"stage_{stage}_train_images" / f"{film}.dcm", age, view)
    if test:
        _film(root / f"stage_{stage}_test_images" / f"{TEST_FILM[0]}.dcm", *TEST_FILM[1:3])
    return root


def _film(path: Path, age: str, view: str) -> None:
    """1024 x 1024 as the challenge has them: JPEG, a Secondary Capture, with the spacing of the film it came from."""
    write_dicom(
        path,
        1024,
        1024,
        bits=8,
        jpeg=True,
        sop_class=SECONDARY_CAPTURE,
        ConversionType="WSD",
        LossyImageCompression="01",
        PatientID=path.stem,
        PatientSex="F",
        PatientAge=age,
        ViewPosition=view,
        PixelSpacing=["0.143", "0.143"],
    )
