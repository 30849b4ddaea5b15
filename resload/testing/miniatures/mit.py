"""MIMIC-CXR-JPG in miniature: six films of four exams of three patients, its tables packed as PhysioNet has them."""

import gzip
from pathlib import Path

from resload.testing.miniatures.images import write_jpeg

METADATA_HEADER = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
    "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
)
FILMS = (
    ("02aa804e-bde0afdd-112c0b34-7bc16630-4e384014", 10000032, 50414267, "PA", "train"),
    ("174413ec-4ec4c1f7-34ea26b7-c5f994f8-79ef1962", 10000032, 50414267, "LATERAL", "train"),
    ("2a2277a9-b0ded155-c0de8eb9-c124d10e-82c5caab", 10000032, 53189527, "PA", "train"),
    ("68b5c4b1-227d0485-9cc38c3f-7b84ab51-4b472714", 10000898, 50771383, "AP", "validate"),
    ("096052b7-d256dc40-453a102b-fa7d01c6-1b22c6b4", 19999987, 55368167, "", "test"),
    ("b79e55c3-735ce5ac-64412506-cdc9ea79-f1af521f", 19999987, 55368167, "LL", "test"),
)
"""dicom_id, subject_id, study_id, ViewPosition, split. Of the third exam there are no labels."""
FINDINGS = (
    "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,"
    "No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
)
CHEXPERT = (
    "10000032,50414267,,,,,,,,,1.0,,,,,1.0",
    "10000032,53189527,-1.0,1.0,0.0,,1.0,1.0,1.0,1.0,,1.0,1.0,-1.0,0.0,",
    "19999987,55368167,1.0,,,0.0,,,,-1.0,,0.0,,,0.0,",
)
NEGBIO = (*CHEXPERT[:2], "19999987,55368167,-1.0,,,0.0,,,,,,0.0,,,0.0,")
RADIOLOGISTS = ("55368167,0.0,,,1.0,,,,1.0,,0.0,,,-1.0,",)
"""Release 2.1.0: no patient, and Airspace Opacity where the labelers write Lung Opacity."""


def write(
    root: Path,
    *,
    packed: bool = True,
    radiologists: bool = True,
    leave_out: tuple[str, ...] = (),
) -> Path:
    """Write MIMIC-CXR-JPG to a folder.

    `packed` is whether its tables end in .gz; `radiologists` whether that of release 2.1.0 is there; `leave_out` are
    films (dicom_id) that are not written.
    """
    root.mkdir(parents=True, exist_ok=True)
    metadata = [
        f"{film},{patient},{exam},CHEST (PA AND LAT),{view},12,10,21800506,213014.531,CHEST (PA AND LAT),,Erect"
        for film, patient, exam, view, _ in FILMS
    ]
    split = [f"{film},{exam},{patient},{part}" for film, patient, exam, _, part in FILMS]
    _table(root, "metadata", METADATA_HEADER, metadata, packed)
    _table(root, "split", "dicom_id,study_id,subject_id,split", split, packed)
    _table(root, "chexpert", f"subject_id,study_id,{FINDINGS}", CHEXPERT, packed)
    _table(root, "negbio", f"subject_id,study_id,{FINDINGS}", NEGBIO, packed)
    if radiologists:
        header = f"study_id,{FINDINGS}".replace("Lung Opacity", "Airspace Opacity")
        (root / "mimic-cxr-2.1.0-test-set-labeled.csv").write_text("\n".join((header, *RADIOLOGISTS)) + "\n")
    for film, patient, exam, _, _ in FILMS:
        if film not in leave_out:
            write_jpeg(root / f"files/p{str(patient)[:2]}/p{patient}/s{exam}/{film}.jpg", 12, 10)
    return root


def _table(root: Path, name: str, header: str, rows: tuple[str, ...] | list[str], packed: bool) -> None:
    text = "\n".join((header, *rows)) + "\n"
    path = root / f"mimic-cxr-2.0.0-{name}.csv"
    if packed:
        Path(f"{path}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        path.write_text(text)
