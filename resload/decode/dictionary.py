"""The DICOM elements that decoding reads, and what an error calls them (PS3.6 section 6: name and tag).

Tags are plain numbers, `group << 16 | element`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from resload.errors import DecodeError

TRANSFER_SYNTAX = 0x00020010
DIRECTORY = 0x00041220
CHARACTER_SET = 0x00080005
SOP_CLASS, MODALITY, CONVERSION, INTENT = 0x00080016, 0x00080060, 0x00080064, 0x00080068
MAGNIFICATION, IMAGER_SPACING, SCANNED_SPACING = 0x00181114, 0x00181164, 0x00182010
SAMPLES, PHOTOMETRIC, PLANAR, FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
ROWS, COLUMNS = 0x00280010, 0x00280011
PIXEL_SPACING, ASPECT, CALIBRATION = 0x00280030, 0x00280034, 0x00280A02
ALLOCATED, STORED, HIGH_BIT, SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103
PADDING, PADDING_LIMIT = 0x00280120, 0x00280121
CENTER, WIDTH, INTERCEPT, SLOPE, FUNCTION = 0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281056
PALETTE_DESCRIPTORS = (0x00281101, 0x00281102, 0x00281103)
PALETTE_DATA = (0x00281201, 0x00281202, 0x00281203)
SEGMENTED_PALETTE = 0x00281221
MODALITY_LUT, DESCRIPTOR, LUT_DATA, VOI_LUT = 0x00283000, 0x00283002, 0x00283006, 0x00283010
SHAPE = 0x20500020
SHARED_GROUPS, FRAME_GROUPS = 0x52009229, 0x52009230
GROUPS = (0x00289110, 0x00289145, 0x00289132)
"""Pixel Measures, Pixel Value Transformation and Frame VOI LUT Sequence."""
OFFSETS, OFFSET_LENGTHS = 0x7FE00001, 0x7FE00002
FLOAT_PIXELS, DOUBLE_PIXELS, PIXEL_DATA = 0x7FE00008, 0x7FE00009, 0x7FE00010

_NAMES = {
    TRANSFER_SYNTAX: "Transfer Syntax UID",
    DIRECTORY: "Directory Record Sequence",
    SAMPLES: "Samples per Pixel",
    PHOTOMETRIC: "Photometric Interpretation",
    FRAMES: "Number of Frames",
    ROWS: "Rows",
    COLUMNS: "Columns",
    ALLOCATED: "Bits Allocated",
    STORED: "Bits Stored",
    HIGH_BIT: "High Bit",
    SIGNED: "Pixel Representation",
    PLANAR: "Planar Configuration",
    PADDING: "Pixel Padding Value",
    PADDING_LIMIT: "Pixel Padding Range Limit",
    INTERCEPT: "Rescale Intercept",
    SLOPE: "Rescale Slope",
    FUNCTION: "VOI LUT Function",
    PALETTE_DESCRIPTORS[0]: "Red Palette Color Lookup Table Descriptor",
    PALETTE_DESCRIPTORS[1]: "Green Palette Color Lookup Table Descriptor",
    PALETTE_DESCRIPTORS[2]: "Blue Palette Color Lookup Table Descriptor",
    PALETTE_DATA[0]: "Red Palette Color Lookup Table Data",
    PALETTE_DATA[1]: "Green Palette Color Lookup Table Data",
    PALETTE_DATA[2]: "Blue Palette Color Lookup Table Data",
    SEGMENTED_PALETTE: "Segmented Red Palette Color Lookup Table Data",
    MODALITY_LUT: "Modality LUT Sequence",
    DESCRIPTOR: "LUT Descriptor",
    LUT_DATA: "LUT Data",
    VOI_LUT: "VOI LUT Sequence",
    SHAPE: "Presentation LUT Shape",
    SHARED_GROUPS: "Shared Functional Groups Sequence",
    FRAME_GROUPS: "Per-frame Functional Groups Sequence",
    OFFSETS: "Extended Offset Table",
    FLOAT_PIXELS: "Float Pixel Data",
    DOUBLE_PIXELS: "Double Float Pixel Data",
    PIXEL_DATA: "Pixel Data",
}


def named(tag: int) -> str:
    """`Rows (0028,0010)`; an element without a name here is `element (0019,10AB)`."""
    return f"{_NAMES.get(tag, 'element')} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


@contextmanager
def within(*tags: int) -> Iterator[None]:
    """Put the elements' names before the reason of a DecodeError that leaves the block, unless it starts with them."""
    try:
        yield
    except DecodeError as exc:
        where = " and ".join(named(tag) for tag in tags)
        if exc.reason.startswith(where):
            raise
        raise type(exc)(f"{where}: {exc.reason}", detail=exc.detail) from exc.__cause__
