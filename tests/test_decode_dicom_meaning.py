"""What the header says of the codes: padding, lookup tables, polarity, and how large a pixel is."""

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import BIG, EXPLICIT, IMPLICIT, NATIVE, known, make_dicom, noise, saved, smooth, with_raw
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from resload.decode import Values, decode, read_header
from resload.errors import DecodeError

SECONDARY = "1.2.840.10008.5.1.4.1.1.7"


def meaning(file: bytes) -> Values:
    found = decode(file).values
    assert found is not None
    return found


def with_elements(file: bytes, syntax: str, *elements: tuple[int, str, object]) -> bytes:
    """The file with elements of any VR put in, or, without a value, taken out."""
    dataset = pydicom.dcmread(io.BytesIO(file))
    for tag, vr, value in elements:
        if tag in dataset:
            del dataset[tag]
        if value is not None:
            dataset.add_new(tag, vr, value)
    return saved(dataset, syntax)


def lut_item(descriptor: list[int], data: object, vr: str = "US", data_vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, vr, descriptor)
    item.add_new(0x00283006, data_vr, data)
    return item


def as_stored(number: int, bits: int, signed: bool) -> int:
    """Plain definition: the lowest bits, as two's complement where the samples are signed."""
    low = number % (1 << bits)
    return low - (1 << bits) if signed and low >= 1 << (bits - 1) else low


class TestPadding:
    @pytest.mark.parametrize("syntax", NATIVE)
    @given(bits=st.integers(8, 16), signed=st.booleans(), ends=st.tuples(*[st.integers(-32768, 65535)] * 2))
    @settings(max_examples=30, deadline=None)
    def test_the_range_is_in_stored_values(self, syntax, bits, signed, ends):
        """Value and limit in either order, US or SS as it pleases the writer, masked as the samples are."""
        pixels = noise((4, 5), 16, signed)
        elements = [
            (tag, "SS" if end < 0 else "US", end) for tag, end in zip((0x00280120, 0x00280121), ends, strict=True)
        ]
        file = with_elements(make_dicom(pixels, syntax, bits=bits), syntax, *elements)
        expected = sorted(as_stored(end, bits, signed) for end in ends)
        assert meaning(file).padding == tuple(expected)

    def test_padded_samples_lie_in_the_range(self):
        """A padding value beyond BitsStored is what its samples are once their unused bits are off."""
        pixels = noise((6, 7), 12)
        pixels[:2] = 0xF800
        film = decode(with_elements(make_dicom(pixels, bits=12), EXPLICIT, (0x00280120, "US", 0xF800)))
        assert film.values is not None
        assert film.values.padding == (0x800, 0x800)
        assert (film.pixels[:2] == 0x800).all()

    @pytest.mark.parametrize(
        ("vr", "value"),
        [
            ("US", b"\x07\0"),
            ("SS", b"\x07\0"),
            ("IS", b"7 "),
            ("UL", b"\x07\0\0\0"),
            ("OW", b"\x07\0"),
            ("UN", b"\x07\0"),
        ],
    )
    def test_whatever_vr_the_writer_took(self, vr, value):
        """Seven is seven."""
        assert meaning(with_raw(make_dicom(smooth(), bits=12), (0x00280120, vr, value))).padding == (7, 7)

    def test_a_limit_alone_means_nothing(self):
        """And neither does an empty value, nor no element."""
        plain = make_dicom(smooth(), bits=12)
        assert meaning(plain).padding is None
        assert meaning(with_elements(plain, EXPLICIT, (0x00280121, "US", 5))).padding is None
        assert meaning(with_elements(plain, EXPLICIT, (0x00280120, "US", None))).padding is None

    def test_a_real_file(self):
        """693_J2KI.dcm: signed 14 bits, padded with -2000."""
        assert pydicom.dcmread(known("693_J2KI.dcm")).PixelPaddingValue == -2000
        film = decode(known("693_J2KI.dcm"))
        assert film.values is not None
        assert film.values.padding == (-2000, -2000)

    def test_what_is_no_number_is_refused(self):
        """By name."""
        file = with_elements(make_dicom(smooth(), bits=12), EXPLICIT, (0x00280120, "LO", "none"))
        with pytest.raises(DecodeError, match=r"Pixel Padding Value \(0028,0120\) is no whole number"):
            decode(file)


class TestVoiLuts:
    @pytest.mark.parametrize("syntax", NATIVE)
    @pytest.mark.parametrize("open_ended", [False, True])
    def test_all_items_are_read(self, syntax, open_ended):
        """In their order, of defined and undefined length; windows beside them too."""
        items = [lut_item([2, first, 12], [first, 4095]) for first in (0, 10, 20)]
        for item in items:
            item.is_undefined_length_sequence_item = open_ended
        sequence = Sequence(items)
        sequence.is_undefined_length = open_ended
        file = make_dicom(smooth(), syntax, bits=12, VOILUTSequence=sequence, WindowCenter=[1, 2], WindowWidth=[3, 4])
        found = meaning(file)
        assert [lut.first_mapped for lut in found.voi_luts] == [0, 10, 20]
        assert [lut.entries.tolist() for lut in found.voi_luts] == [[0, 4095], [10, 4095], [20, 4095]]
        assert found.windows == ((1.0, 3.0), (2.0, 4.0))
        assert read_header(file).voi == "lut+window"

    @pytest.mark.parametrize(
        ("signed", "tags", "vr", "first"),
        [
            (False, {}, "US", 60000),
            (True, {}, "US", -5536),  # the input is the stored value
            (False, {"RescaleSlope": "1", "RescaleIntercept": "-1024"}, "US", -5536),
            (False, {"RescaleSlope": "-1", "RescaleIntercept": "0"}, "US", -5536),
            (True, {"RescaleSlope": "1", "RescaleIntercept": "2048"}, "US", 60000),  # 0 to 4095: never negative
            (True, {"ModalityLUTSequence": Sequence([lut_item([2, 0, 16], [0, 9])])}, "US", 60000),
            (False, {}, "SS", -5536),  # the writer says so
        ],
    )
    def test_the_first_input_is_signed_when_inputs_can_be(self, signed, tags, vr, first):
        """PS3.3 C.11.2.1.1: inputs of the VOI LUT are modality values, not stored ones."""
        descriptor = [2, 60000 if vr == "US" else -5536, 16]
        pixels = smooth().astype(np.int16 if signed else np.uint16)
        tags = {**tags, "VOILUTSequence": Sequence([lut_item(descriptor, [0, 65535], vr)])}
        assert meaning(make_dicom(pixels, bits=12, **tags)).voi_luts[0].first_mapped == first

    @pytest.mark.parametrize("syntax", NATIVE)
    @pytest.mark.parametrize("number", [256, 255])
    def test_packed_entries(self, syntax, number):
        """Entries of 8 bits two to a word, in words of either byte order, an odd number of them padded."""
        entries = bytes(range(number)) + b"\0" * (number % 2)
        words = np.frombuffer(entries, "<u2")
        raw = words.astype(">u2").tobytes() if syntax == BIG else entries
        item = lut_item([number, 0, 8], raw, data_vr="OW")
        found = meaning(make_dicom(smooth(), syntax, bits=12, VOILUTSequence=Sequence([item]))).voi_luts[0]
        assert found.entries.tolist() == list(range(number))
        assert found.bits == 8

    def test_entries_of_8_bits_in_words_of_16(self):
        """As many bytes as words: one entry to a word."""
        found = meaning(make_dicom(smooth(), VOILUTSequence=Sequence([lut_item([3, 0, 8], [1, 2, 300])])))
        assert found.voi_luts[0].entries.tolist() == [1, 2, 255]

    def test_more_data_than_entries_is_ignored(self):
        """The descriptor counts."""
        found = meaning(make_dicom(smooth(), VOILUTSequence=Sequence([lut_item([2, 0, 16], [1, 2, 3, 4])])))
        assert found.voi_luts[0].entries.tolist() == [1, 2]

    def test_entries_of_8_bits_under_a_descriptor_of_16_are_refused(self):
        """Nearly black or full scale: no one knows."""
        item = lut_item([4, 0, 16], b"\x01\x02\x03\x04", data_vr="OW")
        with pytest.raises(DecodeError, match=r"VOI LUT Sequence \(0028,3010\): LUT Data \(0028,3006\) is shorter"):
            decode(make_dicom(smooth(), VOILUTSequence=Sequence([item])))

    def test_damage_in_any_item_is_refused(self):
        """Also in the second."""
        items = Sequence([lut_item([2, 0, 16], [1, 2]), lut_item([2, 0, 16], [1])])
        with pytest.raises(DecodeError, match=r"VOI LUT Sequence \(0028,3010\): LUT Data"):
            decode(make_dicom(smooth(), VOILUTSequence=items))
        for missing in ("LUTData", "LUTDescriptor"):
            item = lut_item([2, 0, 16], [1, 2])
            delattr(item, missing)
            with pytest.raises(DecodeError, match=r"Modality LUT Sequence \(0028,3000\): LUT D.* is missing"):
                decode(make_dicom(smooth(), ModalityLUTSequence=Sequence([item])))

    def test_a_value_that_is_no_sequence_is_refused(self):
        """Not taken for an absent table."""
        for tag, name in ((0x00283010, "VOI LUT Sequence"), (0x00283000, "Modality LUT Sequence")):
            file = with_elements(make_dicom(smooth(), bits=12), EXPLICIT, (tag, "LO", "not a sequence at all"))
            with pytest.raises(DecodeError, match=rf"^{name} \(0028,30.0\) is no sequence"):
                decode(file)

    @pytest.mark.parametrize(("name", "bits"), [("vlut_04.dcm", 16), ("mlut_18.dcm", 16)])
    def test_real_tables_are_pydicoms(self, name, bits):
        """A VOI LUT of 256 entries; a Modality LUT of 4096, the first for -2048."""
        dataset, found = pydicom.dcmread(known(name)), decode(known(name)).values
        assert found is not None
        lut = found.voi_luts[0] if name.startswith("v") else found.modality_lut
        item = (dataset.get("VOILUTSequence") or dataset.ModalityLUTSequence)[0]
        assert lut is not None
        assert [lut.entries.size, lut.first_mapped, lut.bits] == list(item.LUTDescriptor)
        data = item.LUTData
        expected = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.array(data)
        assert np.array_equal(lut.entries, expected)


class TestWindowsAndScale:
    @pytest.mark.parametrize(
        ("center", "width", "windows"),
        [
            ("40\\50", "400\\500", ((40, 400), (50, 500))),
            ("40\\", "400\\", ((40, 400),)),
            ("\\50", "400\\500", ((50, 500),)),
            ("40\\x", "400\\500", ((40, 400),)),
            ("40\\50", "400", ((40, 400),)),
            ("\\", "\\", ()),
            ("", "", ()),
        ],
    )
    def test_windows_with_holes(self, center, width, windows):
        """Each window is a pair; a pair with a hole is none, and the others stay."""
        elements = ((0x00281050, "DS", center.encode()), (0x00281051, "DS", width.encode()))
        file = with_raw(make_dicom(smooth(), bits=12), *elements)
        assert meaning(file).windows == windows
        assert read_header(file).voi == ("window" if windows else "none")

    @pytest.mark.parametrize(("tag", "name"), [(0x00281053, "Rescale Slope"), (0x00281052, "Rescale Intercept")])
    @pytest.mark.parametrize("value", [b"abc ", b"1,5 ", b"nan ", b"1e999 ", b"\\2"])
    def test_a_scale_that_is_no_number_is_refused(self, tag, name, value):
        """All values would be wrong without a word."""
        file = with_raw(make_dicom(smooth(), bits=12), (tag, "DS", value))
        with pytest.raises(DecodeError, match=rf"{name} \({tag >> 16:04X},{tag & 0xFFFF:04X}\) is no finite number"):
            decode(file)

    def test_an_empty_scale_is_absent(self):
        """Type 2 elsewhere."""
        file = with_elements(make_dicom(smooth()), EXPLICIT, (0x00281053, "DS", ""), (0x00281052, "DS", ""))
        assert (meaning(file).slope, meaning(file).intercept) == (1.0, 0.0)

    def test_a_function_without_windows_is_not_judged(self):
        """There is nothing it would be applied to."""
        assert meaning(make_dicom(smooth(), VOILUTFunction="CUBIC")).window_function == "LINEAR"


class TestPolarity:
    @pytest.mark.parametrize(
        ("shape", "expected"), [("INVERSE", True), ("IDENTITY", False), ("LIN OD", None), (None, None)]
    )
    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    def test_both_words_are_kept_apart(self, shape, expected, photometric):
        """Presentation LUT Shape is not mixed into `invert`: which of them counts is the recipe's to say."""
        tags = {} if shape is None else {"PresentationLUTShape": shape}
        found = meaning(make_dicom(smooth(), bits=12, PhotometricInterpretation=photometric, **tags))
        assert found.presentation_inverse is expected
        assert found.invert is (photometric == "MONOCHROME1")

    @pytest.mark.parametrize("intent", ["FOR PROCESSING", "FOR PRESENTATION"])
    def test_the_intent_is_in_the_header(self, intent):
        """Raw detector values are no picture."""
        assert read_header(make_dicom(smooth(), PresentationIntentType=intent)).intent == intent


def captured(conversion: str | None = None, sop: str = SECONDARY, **tags: object) -> bytes:
    return make_dicom(smooth(8), SOPClassUID=sop, **({"ConversionType": conversion} if conversion else {}), **tags)


class TestSpacing:
    def test_an_uncorrected_copy_of_the_detectors_spacing(self):
        """PixelSpacing that equals ImagerPixelSpacing was not corrected (PS3.3 10.7.1.1): the magnification counts."""
        tags = {"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.2, 0.2]}
        magnified = {**tags, "EstimatedRadiographicMagnificationFactor": "1.25"}
        assert read_header(make_dicom(smooth(), **tags)).spacing == (0.2, 0.2)
        assert read_header(make_dicom(smooth(), **magnified)).spacing == (0.16, 0.16)
        calibrated = {**magnified, "PixelSpacingCalibrationType": "GEOMETRY"}
        assert read_header(make_dicom(smooth(), **calibrated)).spacing == (0.2, 0.2)

    @pytest.mark.parametrize("value", [b"0.1\\", b"\\0.1", b"\\ ", b"0.1 ", b"0.1\\-2 ", b"0,1\\0,2 ", b"nan\\1 "])
    def test_pairs_with_holes_count_as_absent(self, value):
        """Then the next in the order of trust is asked."""
        file = make_dicom(smooth(), ImagerPixelSpacing=[0.3, 0.4])
        assert read_header(with_raw(file, (0x00280030, "DS", value))).spacing == (0.3, 0.4)

    @pytest.mark.parametrize("sop", [SECONDARY, f"{SECONDARY}.2"])
    def test_a_workstations_capture_has_no_spacing(self, sop):
        """WSD without a calibration type: the header was copied from an image of another size."""
        for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
            file = captured("WSD", sop, **{name: [0.168, 0.168]})
            assert read_header(file).spacing is None
            assert decode(file).spacing is None

    @pytest.mark.parametrize(
        ("conversion", "sop", "tags"),
        [
            ("DF", SECONDARY, {"NominalScannedPixelSpacing": [0.1, 0.2]}),  # a digitized film
            ("DF", SECONDARY, {"PixelSpacing": [0.1, 0.2]}),
            ("DI", SECONDARY, {"PixelSpacing": [0.1, 0.2]}),
            (None, SECONDARY, {"PixelSpacing": [0.1, 0.2]}),
            ("WSD", SECONDARY, {"PixelSpacing": [0.1, 0.2], "PixelSpacingCalibrationType": "FIDUCIAL"}),
            ("WSD", "1.2.840.10008.5.1.4.1.1.1", {"PixelSpacing": [0.1, 0.2]}),  # a CR image
            ("WSD", "1.2.840.10008.5.1.4.1.1.77.1.4", {"PixelSpacing": [0.1, 0.2]}),  # a UID that starts alike
        ],
    )
    def test_others_keep_theirs(self, conversion, sop, tags):
        """Film digitizers, digital interfaces, calibrated captures, and all that is no secondary capture."""
        assert read_header(captured(conversion, sop, **tags)).spacing == (0.1, 0.2)

    @pytest.mark.real
    def test_the_real_trap(self, real_data: Path):
        """SIIM-ACR: 1024 x 1024, Pixel Spacing 0.168 of the 2500 x 2048 original."""
        path = next((real_data / "dicom").glob("siim_*.dcm"))
        assert list(pydicom.dcmread(path).PixelSpacing) == [0.168, 0.168]
        assert read_header(path).spacing is None
        assert decode(path).spacing is None

    @pytest.mark.parametrize(
        ("ratio", "aspect"),
        [([2, 1], 2.0), ([3, 4], 0.75), ([1, 1], None), ([0, 1], None), ([5, 5], None), (None, None)],
    )
    def test_pixel_aspect_ratio(self, ratio, aspect):
        """Height over width of a pixel; nothing where pixels are square or the ratio is none."""
        tags = {} if ratio is None else {"PixelAspectRatio": ratio}
        assert read_header(make_dicom(smooth(), **tags)).aspect == aspect

    def test_spacing_tells_the_aspect_itself(self):
        """So that the two cannot disagree; a spacing that is not believed does not count."""
        tags = {"PixelAspectRatio": [2, 1], "PixelSpacing": [0.1, 0.1]}
        assert read_header(make_dicom(smooth(), **tags)).aspect is None
        assert read_header(captured("WSD", **tags)).aspect == 2.0


def test_all_of_it_survives_implicit_vr():
    """Padding, tables, windows, spacing and shape without any VR in the file."""
    tags = {
        "VOILUTSequence": Sequence([lut_item([2, 5, 12], [1, 2])]),
        "PixelPaddingValue": 3,
        "PixelPaddingRangeLimit": 1,
        "PresentationLUTShape": "INVERSE",
        "PixelAspectRatio": [2, 1],
    }
    one, other = (meaning(make_dicom(smooth(), syntax, bits=12, **tags)) for syntax in (EXPLICIT, IMPLICIT))
    assert (one.padding, one.presentation_inverse) == (other.padding, other.presentation_inverse) == ((1, 3), True)
    assert one.voi_luts[0].entries.tolist() == other.voi_luts[0].entries.tolist() == [1, 2]
    assert read_header(make_dicom(smooth(), IMPLICIT, **tags)).aspect == 2.0


def group(**elements: object) -> Sequence:
    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return Sequence([item])


class TestFunctionalGroups:
    @pytest.mark.parametrize("syntax", NATIVE)
    def test_what_is_said_of_single_frames(self, syntax):
        """Spacing shared by all, a window and a scale of each: the frame's own goes before the shared."""
        shared, first, second = Dataset(), Dataset(), Dataset()
        shared.PixelMeasuresSequence = group(PixelSpacing=[0.1, 0.2])
        shared.FrameVOILUTSequence = group(WindowCenter=1, WindowWidth=10)
        second.FrameVOILUTSequence = group(WindowCenter=[2, 3], WindowWidth=[20, 30])
        second.PixelValueTransformationSequence = group(RescaleSlope=2, RescaleIntercept=-1)
        groups = {
            "SharedFunctionalGroupsSequence": Sequence([shared]),
            "PerFrameFunctionalGroupsSequence": Sequence([first, second]),
        }
        file = make_dicom([smooth(), smooth()], syntax, bits=12, **groups)
        header = read_header(file)
        assert (header.spacing, header.voi, header.frames) == ((0.1, 0.2), "window", 2)
        one, other = (decode(file, frame=frame) for frame in (0, 1))
        assert one.values is not None
        assert other.values is not None
        assert one.spacing == other.spacing == (0.1, 0.2)
        assert (one.values.windows, one.values.slope) == (((1.0, 10.0),), 1.0)
        assert other.values.windows == ((2.0, 20.0), (3.0, 30.0))
        assert (other.values.slope, other.values.intercept) == (2.0, -1.0)

    def test_fewer_groups_than_frames(self):
        """A frame without an item has what all share, and no group at all is no error."""
        shared = Dataset()
        shared.PixelMeasuresSequence = group(PixelSpacing=[0.1, 0.2])
        groups = {
            "SharedFunctionalGroupsSequence": Sequence([shared]),
            "PerFrameFunctionalGroupsSequence": Sequence([Dataset()]),
        }
        file = make_dicom([smooth(), smooth()], bits=12, **groups)
        assert decode(file, frame=1).spacing == (0.1, 0.2)
