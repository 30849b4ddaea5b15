"""DICOM objects of an archive, written by pydicom: radiographs of many kinds, and what lies between them."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from resload.testing.dicom import DEFLATED, EXPLICIT, JPEG_2000, JPEG_LOSSLESS, JPEG_LS, RLE, put_pixels, saved, uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CLASS = "1.2.840.10008.5.1.4.1.1."
CLASSES = {
    "cr": f"{_CLASS}1",
    "dx": f"{_CLASS}1.1",
    "dx-processing": f"{_CLASS}1.1.1",
    "mg": f"{_CLASS}1.2",
    "tomosynthesis": f"{_CLASS}13.1.3",
    "captured": f"{_CLASS}7",
    "ct": f"{_CLASS}2",
    "ultrasound": f"{_CLASS}3.1",
    "report": f"{_CLASS}88.11",
    "key-object": f"{_CLASS}88.59",
    "presentation": f"{_CLASS}11.1",
}
"""Kind -> SOP Class UID (PS3.4 B.5)."""
MODALITIES = {"cr": "CR", "mg": "MG", "tomosynthesis": "MG", "ct": "CT", "ultrasound": "US"} | {
    "report": "SR", "key-object": "KO", "presentation": "PR"
}  # fmt: skip
"""Kind -> Modality; the others are DX."""
SYNTAXES = (EXPLICIT, DEFLATED, JPEG_LOSSLESS, JPEG_LS, JPEG_2000, RLE)
DEPTHS = {"Aurora Imaging": (10, 12), "Borealis Medical": (12, 15), "Cirrus X-ray": (12, 14)}
"""Maker -> bits stored of its machines."""
NAMES = (
    ("ISO_IR 100", "Müller^Jörg"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
    ("ISO_IR 144", "Люкceмбypг"),  # noqa: RUF001  these are the letters
    ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
    ("", "Adams^John Robert Quincy^^Rev."),
)
"""Specific Character Set, and a name of PS3.5 annexes H to K in it."""


@dataclass(frozen=True, slots=True)
class Study:
    """An exam: who, when, and on whose machine."""

    number: int
    patient: int
    accession: str
    maker: str
    entropy: str
    """What its UID is a hash of."""

    @property
    def date(self) -> str:
        """As DICOM writes it."""
        return (date(2024, 1, 1) + timedelta(days=self.number)).strftime("%Y%m%d")


def file_of(kind: str, study: Study, sop_uid: str, rng: np.random.Generator) -> bytes:
    """One file: a kind of CLASSES, or `cut` for a native CR."""
    native = kind == "cut"
    kind = "cr" if native else kind
    dataset = _head(kind, study, sop_uid)
    syntax = EXPLICIT
    if kind == "ct":
        put_pixels(dataset, _picture(rng, (64, 64), 12), 12, EXPLICIT)
    elif kind == "ultrasound":
        _ultrasound(dataset, rng)
    elif kind not in ("report", "key-object", "presentation"):
        syntax = EXPLICIT if native else SYNTAXES[int(rng.integers(len(SYNTAXES)))]
        _film(dataset, kind, study, syntax, rng)
    return saved(dataset, syntax)


def directory() -> bytes:
    """A DICOMDIR with one record."""
    from pydicom.dataset import Dataset

    record, dataset = Dataset(), Dataset()
    record.OffsetOfTheNextDirectoryRecord = record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
    record.RecordInUseFlag, record.DirectoryRecordType, record.PatientID = 0xFFFF, "PATIENT", "P00001"
    dataset.FileSetID, dataset.FileSetConsistencyFlag = "DISC", 0
    dataset.DirectoryRecordSequence = [record]
    return saved(dataset, EXPLICIT, sop_class="1.2.840.10008.1.3.10")


def _head(kind: str, study: Study, sop_uid: str) -> "Dataset":
    """What every object of a study says."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    charset, name = NAMES[study.patient % len(NAMES)]
    if charset:
        dataset.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
    dataset.SOPClassUID, dataset.SOPInstanceUID = CLASSES[kind], sop_uid
    dataset.StudyDate, dataset.Modality = study.date, MODALITIES.get(kind, "DX")
    dataset.AccessionNumber, dataset.Manufacturer = study.accession, study.maker
    dataset.PatientName, dataset.PatientID = name, f"P{study.patient:05d}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid(study.entropy), uid(f"{study.entropy} {kind}")
    return dataset


def _film(dataset: "Dataset", kind: str, study: Study, syntax: str, rng: np.random.Generator) -> None:
    """A radiograph: where it was taken from, how its values are meant, and its pixels."""
    turn = int(rng.integers(2))
    bits = DEPTHS[study.maker][turn]
    dataset.PhotometricInterpretation = f"MONOCHROME{1 + int(rng.integers(2))}"
    _view(dataset, kind, rng)
    if kind != "cr":
        dataset.PresentationIntentType = "FOR PROCESSING" if kind == "dx-processing" else "FOR PRESENTATION"
    dataset.BurnedInAnnotation = "YES" if kind == "captured" else "NO"
    if kind != "dx-processing":
        _voi(dataset, bits, rng)
    if kind == "captured":
        # The spacing of the 2500 x 2048 film that it was made from.
        dataset.ConversionType, dataset.PixelSpacing = "WSD", ["0.168", "0.168"]
        dataset.DerivationDescription = "resized"
    else:
        dataset.ImagerPixelSpacing = ["0.143", "0.143"] if turn else ["0.168", "0.168"]
    shape = (96, 72) if dataset.Modality == "MG" else ((96, 80), (80, 96))[turn]
    frames = 3 if kind == "tomosynthesis" else 1
    put_pixels(dataset, np.stack([_picture(rng, shape, bits) for _ in range(frames)]), bits, syntax)


def _view(dataset: "Dataset", kind: str, rng: np.random.Generator) -> None:
    from pydicom.dataset import Dataset

    side = "RL"[int(rng.integers(2))]
    if dataset.Modality == "MG":
        dataset.ImageLaterality, dataset.ViewPosition = side, ("CC", "MLO")[int(rng.integers(2))]
    elif kind == "cr":
        dataset.Laterality, dataset.ViewPosition = side, ("PA", "LL")[int(rng.integers(2))]
    else:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "399348003", "SCT", "antero-posterior"
        dataset.ViewCodeSequence = [code]


def _voi(dataset: "Dataset", bits: int, rng: np.random.Generator) -> None:
    """A window, a lookup table, both, or neither."""
    from pydicom.dataset import Dataset

    which = rng.random()
    if which < 0.65:
        dataset.WindowCenter, dataset.WindowWidth = str(1 << bits - 1), str((1 << bits) * 3 // 4)
    if 0.6 < which < 0.95:
        table = Dataset()
        table.LUTDescriptor = [1 << bits, 0, 12]
        curve = 4095 / (1 + np.exp(-8 * (np.arange(1 << bits) / (1 << bits) - 0.5)))
        table.LUTData = curve.astype("<u2").tobytes()
        table["LUTData"].VR = "OW"
        dataset.VOILUTSequence = [table]


def _ultrasound(dataset: "Dataset", rng: np.random.Generator) -> None:
    frames = rng.integers(0, 256, (4, 24, 32, 3), dtype=np.uint8)
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    put_pixels(dataset, frames, 8, EXPLICIT)


def _picture(rng: np.random.Generator, shape: tuple[int, int], bits: int) -> npt.NDArray[np.uint16]:
    """A gradient with noise."""
    rows, columns = np.linspace(0.1, 0.8, shape[0]), np.linspace(0, 0.15, shape[1])
    values = rows[:, None] + columns[None, :] + 0.01 * rng.random(shape)
    picture: npt.NDArray[np.uint16] = (values * ((1 << bits) - 1)).astype(np.uint16)
    return picture
