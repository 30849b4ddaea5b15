"""The Image Pixel module (PS3.3 C.7.6.3): what the header says of the samples, and what is refused by it."""

from dataclasses import dataclass

from resload.decode import dictionary
from resload.decode.dictionary import named, within
from resload.decode.elements import DataSet
from resload.decode.radiograph import check_claim
from resload.errors import DecodeError, NotARadiographError, TooLargeError
from resload.limits import limits, raised_by

_GRAY = ("MONOCHROME1", "MONOCHROME2")
_PALETTE = "PALETTE COLOR"


@dataclass(frozen=True, slots=True)
class Image:
    """Its elements, as numbers."""

    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    planar: bool
    """Colour planes one after another rather than interleaved."""
    frames: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame."""
        samples = 2 if self.halved else self.samples
        return self.rows * self.columns * samples * self.bits_allocated // 8

    @property
    def halved(self) -> bool:
        """Native YBR_FULL_422: two Y, then one Cb and one Cr, for two pixels (PS3.3 C.7.6.3.1.2)."""
        return self.photometric == "YBR_FULL_422" and self.samples == 3 and self.columns % 2 == 0

    @property
    def palette(self) -> bool:
        """Samples are indices of a colour table."""
        return self.photometric == _PALETTE

    @property
    def offset(self) -> int:
        """What is added to stored values so that codes are never negative."""
        return 1 << (self.bits_stored - 1) if self.signed else 0


def image_of(dataset: DataSet, max_pixels: int) -> Image:
    """The module of a data set that holds an image of at most `max_pixels` a frame.

    Every element of type 1 must be there: a guessed polarity, sign or depth would be a wrong film without a word. Only
    High Bit may be absent, since the standard leaves it no choice (PS3.5 8.1.1), and Planar Configuration and Number
    of Frames, which mean 0 and 1 then.

    Raises NotARadiographError for data sets without an image or with one of another kind, TooLargeError for claims
    above the limit, DecodeError for elements that are missing or contradict each other; each names its element.
    """
    _check_pixels(dataset)
    bits = _needed(dataset, dictionary.STORED)
    image = Image(
        rows=_needed(dataset, dictionary.ROWS),
        columns=_needed(dataset, dictionary.COLUMNS),
        samples=_needed(dataset, dictionary.SAMPLES),
        photometric=_photometric(dataset),
        bits_allocated=_needed(dataset, dictionary.ALLOCATED),
        bits_stored=bits,
        high_bit=_optional(dataset, dictionary.HIGH_BIT, bits - 1),
        signed=_needed(dataset, dictionary.SIGNED) == 1,
        planar=_optional(dataset, dictionary.PLANAR, 0) == 1,
        frames=_frames(dataset),
    )
    with within(dictionary.ROWS, dictionary.COLUMNS):
        check_claim(image.rows, image.columns, max_pixels)
    _check_samples(image)
    _check_bits(image)
    return image


def _check_pixels(dataset: DataSet) -> None:
    """Refuse reports, presentation states, directories, and pixels that are no whole numbers."""
    if dictionary.PIXEL_DATA in dataset.elements:
        return
    for tag in (dictionary.FLOAT_PIXELS, dictionary.DOUBLE_PIXELS):
        if tag in dataset.elements:
            raise NotARadiographError(f"the DICOM image's pixels are no whole numbers: it has {named(tag)}")
    if dictionary.DIRECTORY in dataset.elements:
        raise NotARadiographError(f"the DICOM file is a DICOMDIR: it has {named(dictionary.DIRECTORY)} and no image")
    kind = dataset.text(dictionary.MODALITY) or dataset.text(dictionary.SOP_CLASS)
    raise NotARadiographError(
        f"the DICOM file holds no image: it has no {named(dictionary.PIXEL_DATA)}", detail=kind[:64]
    )


def _needed(dataset: DataSet, tag: int) -> int:
    found = dataset.whole(tag)
    if found is None:
        raise DecodeError(f"{named(tag)} is missing")
    return found


def _optional(dataset: DataSet, tag: int, default: int) -> int:
    found = dataset.whole(tag)
    return default if found is None else found


def _photometric(dataset: DataSet) -> str:
    found = dataset.text(dictionary.PHOTOMETRIC).upper()
    if not found:
        raise DecodeError(f"{named(dictionary.PHOTOMETRIC)} is missing")
    return found


def _frames(dataset: DataSet) -> int:
    found = dataset.real(dictionary.FRAMES)
    if found is None:
        return 1
    if found < 1 or found != int(found):
        raise TooLargeError(f"{named(dictionary.FRAMES)} is impossible", detail=f"{found:g}")
    if found > limits().frames:
        raise TooLargeError(
            f"{named(dictionary.FRAMES)} is above the limit ({raised_by('frames')})", detail=f"{found:g}"
        )
    return int(found)


def _check_samples(image: Image) -> None:
    if image.samples not in (1, 3):
        raise NotARadiographError(f"{named(dictionary.SAMPLES)} is neither 1 nor 3", detail=f"{image.samples}")
    if (image.photometric in _GRAY or image.palette) != (image.samples == 1):
        raise DecodeError(
            f"{named(dictionary.PHOTOMETRIC)} and {named(dictionary.SAMPLES)} contradict each other",
            detail=f"{image.photometric[:64]} of {image.samples}",
        )


def _check_bits(image: Image) -> None:
    if image.bits_allocated not in (8, 16):
        raise NotARadiographError(
            f"{named(dictionary.ALLOCATED)} is neither 8 nor 16", detail=f"{image.bits_allocated}"
        )
    if not 1 <= image.bits_stored <= image.high_bit + 1 <= image.bits_allocated:
        raise DecodeError(
            f"{named(dictionary.STORED)}, {named(dictionary.HIGH_BIT)} and {named(dictionary.ALLOCATED)} "
            "contradict each other",
            detail=f"{image.bits_stored} stored, high bit {image.high_bit}, {image.bits_allocated} allocated",
        )
