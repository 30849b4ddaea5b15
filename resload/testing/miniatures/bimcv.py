"""PadChest in miniature: nine films of seven patients, with the table's columns, lists and spellings of nothing."""

import gzip
from pathlib import Path

from resload.testing.miniatures.images import write_png

HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
    "MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,PhotometricInterpretation_DICOM,"
    "PixelRepresentation_DICOM,PixelAspectRatio_DICOM,SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,"
    "WindowWidth_DICOM,Rows_DICOM,Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,"
    "RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,LabelsLocalizationsBySentence,"
    "labelCUIS,LocalizationsCUIS"
)
LONG = "216840111366964012819207061112010"
FILMS = (
    ("20536686640136348236148679891455886468_k6ga29.png", 0, "8398604886942", "PA", 12, "Physician", "['normal']"),
    (f"{LONG}307142602253_04-014-085.png", 0, "2305", "PA", 12, "RNN_model", "['pseudonodule', ' nodule ']"),
    (
        f"{LONG}307142602254_04-014-086.png",
        0,
        "2305",
        "L",
        12,
        "RNN_model",
        "['pseudonodule', ' pericardial effusion']",
    ),
    (
        f"{LONG}315104455352_04-024-185.png",
        13,
        "2306",
        "AP_horizontal",
        10,
        "RNN_model",
        "['subcutaneous emphysema', '']",
    ),
    (f"{LONG}315104455353_04-024-186.png", 13, "2307", "COSTAL", 10, "Physician", "['unchanged', ' ']"),
    (f"{LONG}315104455354_04-024-187.png", 54, "2308", "PA", 12, "Physician", ""),
    (f"{LONG}315104455355_04-024-188.png", 54, "2308", "AP", 12, "Physician", "[' cardiomegaly', 'pleural effusion ']"),
    (f"{LONG}315104455356_04-024-189.png", 54, "2309", "EXCLUDE", 12, "Physician", "['exclude']"),
    (f"{LONG}315104455357_04-024-190.png", 54, "2310", "UNK", 12, "RNN_model", "['suboptimal study', 'emphysema']"),
)
"""ImageID, ImageDir, PatientID, Projection, BitsStored, MethodLabel, Labels."""
TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"


def write(
    root: Path,
    *,
    layout: str = "*",
    packed: bool = False,
    damaged: bool = False,
    leave_out: tuple[str, ...] = (),
) -> Path:
    """Write PadChest to a folder.

    `layout` is the folder for images ("" for the root), `*` in it is a film's ImageDir; `damaged` adds a film that the
    release has only the first half of; `leave_out` are images that are not written.
    """
    root.mkdir(parents=True, exist_ok=True)
    films = [*FILMS]
    if damaged:
        broken = f"{LONG}281134410801_00-129-131.png"
        films.append((broken, 54, "2311", "PA", 12, "Physician", "['normal']"))
    text = "\n".join([HEADER, *(_row(number, *film) for number, film in enumerate(films))]) + "\n"
    if packed:
        (root / f"{TABLE}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        (root / TABLE).write_text(text)
    for image, folder, _, _, bits, _, _ in films:
        if image not in leave_out:
            path = write_png(root / layout.replace("*", str(folder)) / image, 12, 10, bits=bits)
            if damaged and image == films[-1][0]:
                path.write_bytes(path.read_bytes()[:60])
    return root


def _row(number: int, image: str, folder: int, patient: str, view: str, bits: int, method: str, labels: str) -> str:
    """A line of the table: missing values are empty, `nan` or `None`, as they come."""
    sex, born = ("None", "nan") if patient == "2306" else ("F", "1930.0")
    return (
        f"{number},{image},{folder},20140915,S{patient},{patient},{born},{sex},POSTEROANTERIOR,{view},"
        f"Manual review of DICOM fields,No,CR,ImagingDynamicsCompanyLtd,MONOCHROME2,0,\"['1', '1']\",nan,{bits},"
        f'5.115000e+02,None,12,10,250,2,2500,10,-1.42,{4765777 + number},sin hallazg .,{method},"{labels}",[],'
        f"\"[['normal'], ['normal']]\",[],[]"
    )
