"""VinDr-CXR in miniature: three films for training, each with three readers, and two for testing, in both layouts."""

from pathlib import Path

from resload.testing.miniatures.images import write_dicom

LABELS = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,Edema,Emphysema,"
    "Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,Mediastinal shift,Nodule/Mass,Pleural effusion,"
    "Pleural thickening,Pneumothorax,Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,"
    "Tuberculosis,{other},No finding"
)
TRAIN = ("50a418190bc3fb1ef1633bf9678929b3", "9a5094b2563a1ef3ff50dc5c7ff71345", "c759721d95cdb375d8b1e10c63aef0f4")
TEST = ("002a34c58c5b758217ed1f584ccbcfe9", "004f33259ee4aef671c2b95d54e4be68")
HEIGHT, WIDTH = 40, 30

READINGS = {
    (TRAIN[0], "R11"): ("No finding",),
    (TRAIN[0], "R15"): ("No finding",),
    (TRAIN[0], "R7"): ("No finding",),
    (TRAIN[1], "R10"): ("Cardiomegaly", "Aortic enlargement"),
    (TRAIN[1], "R9"): ("Cardiomegaly",),
    (TRAIN[1], "R8"): ("No finding",),
    (TRAIN[2], "R10"): ("ILD", "Nodule/Mass"),
    (TRAIN[2], "R9"): ("ILD",),
    (TRAIN[2], "R8"): ("ILD", "Pulmonary fibrosis"),
}
"""Which findings each reader drew; PhysioNet's table adds diagnoses of the whole film."""
DIAGNOSES = {(TRAIN[2], "R9"): ("Other diseases",), (TRAIN[2], "R8"): ("Other diseases", "Tuberculosis")}
CONSENSUS = {TEST[0]: ("No finding",), TEST[1]: ("Pleural effusion", "Other diseases")}
CLASSES = (
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Consolidation",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Nodule/Mass",
    "Other lesion",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
    "No finding",
)
"""By class_id, 0 to 14."""


def write(root: Path, *, layout: str = "physionet", leave_out: tuple[str, ...] = (), test: bool = True) -> Path:
    """Write VinDr-CXR to a folder.

    `layout` is "physionet" or "kaggle"; `leave_out` are films that are not written; `test` whether there are tables of
    the test films (of PhysioNet).
    """
    root.mkdir(parents=True, exist_ok=True)
    if layout == "kaggle":
        _lines(root / "train.csv", "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max", _kaggle_rows())
    else:
        _physionet(root / "annotations", test)
    for number, (folder, film) in enumerate([*(("train", f) for f in TRAIN), *(("test", f) for f in TEST)]):
        if film not in leave_out:
            photometric = "MONOCHROME1" if number % 2 else "MONOCHROME2"
            write_dicom(
                root / folder / f"{film}.dicom",
                HEIGHT,
                WIDTH,
                bits=(12, 14)[number % 2],
                photometric=photometric,
                PatientID="",
                PatientSex="M",
                PatientAge="061Y",
                PixelSpacing=["0.139", "0.139"],
            )
    return root


def _kaggle_rows() -> list[str]:
    return [
        f"{film},{finding},{CLASSES.index(finding)},{reader},{_corners(finding)}"
        for (film, reader), findings in READINGS.items()
        for finding in findings
    ]


def _corners(finding: str) -> str:
    """Blank where nothing was found."""
    return ",,," if finding == "No finding" else "2.0,4.0,20.0,36.0"


def _physionet(folder: Path, test: bool) -> None:
    train = LABELS.format(other="Other diseases")
    readings = {key: (*found, *DIAGNOSES.get(key, ())) for key, found in READINGS.items()}
    _lines(
        folder / "image_labels_train.csv",
        f"image_id,rad_id,{train}",
        [f"{film},{reader},{_flags(train, found)}" for (film, reader), found in readings.items()],
    )
    _lines(
        folder / "annotations_train.csv",
        "image_id,rad_id,class_name,x_min,y_min,x_max,y_max",
        [f"{film},{reader},{one},{_corners(one)}" for (film, reader), found in READINGS.items() for one in found],
    )
    if test:
        header = LABELS.format(other="Other disease")
        _lines(
            folder / "image_labels_test.csv",
            f"image_id,{header}",
            [f"{film},{_flags(train, found)}" for film, found in CONSENSUS.items()],
        )
        _lines(
            folder / "annotations_test.csv",
            "image_id,class_name,x_min,y_min,x_max,y_max",
            [f"{film},{found[0]},{_corners(found[0])}" for film, found in CONSENSUS.items()],
        )


def _flags(header: str, found: tuple[str, ...]) -> str:
    return ",".join(str(int(name in found)) for name in header.split(","))


def _lines(path: Path, header: str, rows: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
