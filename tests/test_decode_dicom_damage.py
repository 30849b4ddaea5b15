"""Malformed DICOM: every refusal names the file and the element it is about, in a sentence that does not vary."""

import re
import struct
import time
import tracemalloc
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dicom_files import (
    BIG,
    DEFLATED,
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    J2K,
    JLS,
    JPEG_70,
    RLE,
    frame_bytes,
    known,
    make_dicom,
    saved,
    smooth,
    with_raw,
)
from dicom_mutants import SYNTAXES, mutate, outcome, refusal, sound_files
from pydicom.dataset import Dataset

from resload.decode import decode, read_header
from resload.errors import (
    DecodeError,
    NotARadiographError,
    TooLargeError,
    TruncatedFileError,
    UnknownFormatError,
)

NEEDED = {
    "Rows": "Rows (0028,0010)",
    "Columns": "Columns (0028,0011)",
    "SamplesPerPixel": "Samples per Pixel (0028,0002)",
    "PhotometricInterpretation": "Photometric Interpretation (0028,0004)",
    "BitsAllocated": "Bits Allocated (0028,0100)",
    "BitsStored": "Bits Stored (0028,0101)",
    "PixelRepresentation": "Pixel Representation (0028,0103)",
}
SYNTAX_TAG, PIXELS = "Transfer Syntax UID (0002,0010)", "Pixel Data (7FE0,0010)"


def refused(file: bytes, folder: Path, **options: object) -> DecodeError:
    """What decoding the file raises; its message starts with the file's name."""
    path = folder / "film.dcm"
    path.write_bytes(file)
    with pytest.raises(DecodeError) as caught:
        decode(path, **options)
    assert str(caught.value).startswith(f"{path}: {caught.value.reason}")
    return caught.value


def relabelled(file: bytes, old: str, new: str) -> bytes:
    """Another transfer syntax of the same length."""
    one, other = (uid.ljust(len(uid) + len(uid) % 2, "\0").encode() for uid in (old, new))
    assert len(one) == len(other)
    assert one in file[:400]
    return file.replace(one, other, 1)


class TestMissing:
    @pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED, J2K])
    @pytest.mark.parametrize("name", NEEDED)
    def test_elements_of_type_1_are_needed(self, syntax, name, tmp_path):
        """A guessed polarity, sign or depth would be a wrong film without a word."""
        found = refused(make_dicom(smooth(), syntax, bits=12, **{name: None}), tmp_path)
        assert found.reason == f"{NEEDED[name]} is missing"

    @pytest.mark.parametrize("name", NEEDED)
    def test_empty_is_missing(self, name, tmp_path):
        """An element without a value tells as little."""
        tag = int(NEEDED[name][-10:-1].replace(",", ""), 16)
        empty = (tag, "CS" if name == "PhotometricInterpretation" else "US", b"")
        found = refused(with_raw(make_dicom(smooth(), bits=12, **{name: None}), empty), tmp_path)
        assert found.reason == f"{NEEDED[name]} is missing"

    def test_high_bit_may_be_absent(self):
        """The standard leaves it no choice."""
        assert np.array_equal(decode(make_dicom(smooth(), bits=12, HighBit=None)).pixels, smooth())


class TestWrongVr:
    @pytest.mark.parametrize("vr", ["US", "SS", "UN", "OW", "IS", "UL"])
    def test_a_number_is_read_in_any_vr(self, vr):
        """61 rows, whichever way they are written."""
        value = {"IS": b"61", "UL": b"\x3d\0\0\0"}.get(vr, b"\x3d\0")
        file = with_raw(make_dicom(smooth(), bits=12, Rows=None), (0x00280010, vr, value))
        assert np.array_equal(decode(file).pixels, smooth())

    @pytest.mark.parametrize(("vr", "value"), [("US", b"\x01"), ("LO", b"many"), ("UL", b"\x01\0"), ("OB", b"\x01")])
    def test_what_is_no_number_is_refused(self, vr, value, tmp_path):
        """Too short for one, or words."""
        found = refused(with_raw(make_dicom(smooth(), bits=12, Rows=None), (0x00280010, vr, value)), tmp_path)
        assert found.reason == "Rows (0028,0010) is no whole number"

    def test_frames_that_are_no_number(self, tmp_path):
        """Number of Frames is a string of digits."""
        found = refused(with_raw(make_dicom(smooth(), bits=12), (0x00280008, "IS", b"many")), tmp_path)
        assert found.reason == "Number of Frames (0028,0008) is no finite number"


class TestContradictions:
    @pytest.mark.parametrize(
        ("tags", "error", "reason"),
        [
            ({"Rows": 0}, NotARadiographError, "Rows (0028,0010) and Columns (0028,0011): the image has no pixels"),
            ({"Columns": 0}, NotARadiographError, "Rows (0028,0010) and Columns (0028,0011): the image has no pixels"),
            ({"SamplesPerPixel": 2}, NotARadiographError, "Samples per Pixel (0028,0002) is neither 1 nor 3"),
            ({"BitsAllocated": 32}, NotARadiographError, "Bits Allocated (0028,0100) is neither 8 nor 16"),
            ({"BitsAllocated": 1}, NotARadiographError, "Bits Allocated (0028,0100) is neither 8 nor 16"),
            ({"BitsAllocated": 12}, NotARadiographError, "Bits Allocated (0028,0100) is neither 8 nor 16"),
            *[
                (
                    tags,
                    DecodeError,
                    "Bits Stored (0028,0101), High Bit (0028,0102) and Bits Allocated (0028,0100) "
                    "contradict each other",
                )
                for tags in ({"BitsStored": 17}, {"HighBit": 16}, {"BitsStored": 0}, {"BitsStored": 14})
            ],
            *[
                (
                    {"PhotometricInterpretation": colour},
                    DecodeError,
                    "Photometric Interpretation (0028,0004) and Samples per Pixel (0028,0002) contradict each other",
                )
                for colour in ("RGB", "MONOCHROME", "YBR_FULL")
            ],
            ({"NumberOfFrames": 0}, TooLargeError, "Number of Frames (0028,0008) is impossible"),
            ({"NumberOfFrames": -1}, TooLargeError, "Number of Frames (0028,0008) is impossible"),
            (
                {"NumberOfFrames": 2_000_000_000},
                TooLargeError,
                "Number of Frames (0028,0008) is above the limit (RESLOAD_MAX_FRAMES)",
            ),
        ],
    )
    def test_headers_that_cannot_be_true(self, tags, error, reason, tmp_path):
        """Refused by decoding and by reading the header, with one sentence."""
        file = make_dicom(smooth(), bits=12, **tags)
        found = refused(file, tmp_path)
        assert type(found) is error
        assert found.reason == reason
        with pytest.raises(error, match=re.escape(reason)):
            read_header(file)

    def test_a_frame_that_is_not_there(self, tmp_path):
        """Neither the third of two nor the one before the first."""
        file = make_dicom([smooth(), smooth()], bits=12)
        for frame in (2, -1):
            found = refused(file, tmp_path, frame=frame)
            assert found.reason == "Number of Frames (0028,0008): the frame asked for is not in the file"
            assert found.detail == f"frame {frame}, it holds 2"

    @pytest.mark.parametrize(("made", "called"), [(EXPLICIT, RLE), (RLE, EXPLICIT), (J2K, f"{EXPLICIT}.90")])
    def test_encapsulation_and_syntax(self, made, called, tmp_path):
        """Native pixels under a compressed syntax, and the reverse."""
        if called.endswith(".90"):
            file = make_dicom(smooth(), made, bits=12).replace(J2K.encode(), b"1.2.840.10008.1.2.1\0\0\0", 1)
        else:
            file = relabelled(make_dicom(smooth(), made, bits=12), made, called)
        found = refused(file, tmp_path)
        assert found.reason == f"{PIXELS} and {SYNTAX_TAG} contradict each other"

    @pytest.mark.parametrize(
        ("made", "called", "label"),
        [(J2K, JLS, "JPEG-LS"), (JLS, J2K, "JPEG 2000"), (JPEG_70, J2K, "JPEG 2000"), (J2K, JPEG_70, "JPEG")],
    )
    def test_the_wrong_codec(self, made, called, label, tmp_path):
        """A stream labelled as another is refused, not rescued."""
        found = refused(relabelled(make_dicom(smooth(), made, bits=12), made, called), tmp_path)
        assert found.reason == f"{PIXELS}: the {label} data is damaged"

    def test_syntaxes_that_are_not_read(self, tmp_path):
        """Video, for example."""
        found = refused(relabelled(make_dicom(smooth(), bits=12), EXPLICIT, "1.2.840.10008.1.2.9"), tmp_path)
        assert type(found) is UnknownFormatError
        assert found.reason == f"{SYNTAX_TAG} is one that is not read"
        assert found.detail == "1.2.840.10008.1.2.9"

    def test_a_stream_and_a_header_of_two_sizes(self, tmp_path):
        """The frame's own claim is compared before a codec sees it."""
        found = refused(make_dicom(smooth(), J2K, bits=12, Rows=60), tmp_path)
        assert found.reason == (
            f"{PIXELS}: the JPEG 2000 data disagrees with Rows (0028,0010), Columns (0028,0011) or "
            "Samples per Pixel (0028,0002)"
        )


class TestTruncated:
    @pytest.mark.parametrize("syntax", SYNTAXES.values())
    def test_the_last_frame_cut(self, syntax, tmp_path):
        """Half of the last frame is missing, the data set around it too."""
        eight = syntax == SYNTAXES["JPEG"]
        pages = [smooth(8 if eight else 12)] * 2
        file = make_dicom(pages, syntax, bits=8 if eight else 12)
        found = refused(file[: len(file) * 3 // 4], tmp_path, frame=1)
        assert type(found) is TruncatedFileError
        assert (SYNTAX_TAG if syntax == DEFLATED else PIXELS) in found.reason

    @pytest.mark.parametrize("syntax", [JPEG_70, JLS, J2K, HTJ2K[0], RLE])
    def test_a_frame_cut_inside_a_whole_file(self, syntax, tmp_path):
        """The data set is sound, the stream in it is not."""
        stream = frame_bytes(smooth(), syntax, 12)
        file = make_dicom(smooth(), syntax, bits=12)
        at = file.index(stream)
        short = len(stream) // 2 & ~1
        file = file[: at - 4] + struct.pack("<I", short) + stream[:short] + file[at + len(stream) + len(stream) % 2 :]
        found = refused(file, tmp_path)
        assert found.reason.startswith(f"{PIXELS}: the ")

    def test_more_frames_than_there_are(self, tmp_path):
        """Native frames are counted by their bytes."""
        found = refused(make_dicom(smooth(), bits=12, NumberOfFrames=2), tmp_path, frame=1)
        assert found.reason == f"{PIXELS} ends early"

    def test_a_cut_inside_an_element_names_it(self, tmp_path):
        """And a cut between two, the one before it."""
        file = make_dicom(smooth(), bits=12)
        at = file.index(struct.pack("<HH", 0x0028, 0x0004))
        assert "Photometric Interpretation (0028,0004)" in refused(file[: at + 10], tmp_path).detail
        assert "Samples per Pixel (0028,0002)" in refused(file[: at + 3], tmp_path).detail

    def test_a_value_longer_than_its_file(self, tmp_path):
        """A wrong length is noticed at its element."""
        file = make_dicom(smooth(), bits=12, PatientComments="none")
        at = file.index(struct.pack("<HH2s", 0x0010, 0x4000, b"LT"))
        found = refused(file[: at + 6] + b"\xf0\xff" + file[at + 8 :], tmp_path)
        assert found.reason == "the DICOM file ends early"
        assert "(0010,4000)" in found.detail


class TestBombs:
    @pytest.mark.parametrize("syntax", [EXPLICIT, RLE, J2K, JLS, JPEG_70])
    def test_rows_by_columns(self, syntax, tmp_path):
        """Four thousand million pixels: refused before anything is allocated, naming both elements."""
        file = make_dicom(smooth(), syntax, bits=12, Rows=65535, Columns=65535)
        decode(make_dicom(smooth(), syntax, bits=12))
        tracemalloc.start()
        try:
            found = refused(file, tmp_path)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()
        assert type(found) is TooLargeError
        assert found.reason == (
            "Rows (0028,0010) and Columns (0028,0011): the header claims more pixels than the limit "
            "(RESLOAD_MAX_PIXELS)"
        )
        assert read_header(file).height == 65535  # what it says of itself may be read

    def test_a_deflated_one(self, tmp_path):
        """A megabyte that inflates to a gigabyte stops at the limit."""
        file = make_dicom(smooth(), DEFLATED, bits=12)
        start = 144 + struct.unpack("<I", file[140:144])[0]
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
        element = struct.pack("<HH2sHI", 8, 0x11, b"OB", 0, 1 << 30)
        zeros = b"\0" * (1 << 20)
        body = squeeze.compress(element) + b"".join(squeeze.compress(zeros) for _ in range(80)) + squeeze.flush()
        found = refused(file[:start] + body, tmp_path, max_pixels=1 << 20)
        assert (
            found.reason
            == f"the data set that {SYNTAX_TAG} calls deflated is larger than the limit (RESLOAD_MAX_INFLATED_BYTES)"
        )

    def test_sequences_without_end(self, tmp_path):
        """A thousand open ones, each in the one before: the element is named, and nothing recurses so deep."""
        opened = struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
            "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
        )
        found = refused(opened * 1000, tmp_path)
        assert found.reason.endswith("nests sequences more deeply than the limit (RESLOAD_MAX_DICOM_DEPTH)")
        assert found.detail == "32, in element (0008,1115)"

    def test_items_without_end(self, tmp_path):
        """Millions of empty items in a sequence, or of empty elements, are not all walked."""
        items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * (1 << 20)
        file = struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, 0xFFFFFFFF) + items
        begun = time.perf_counter()
        assert "more elements than the limit (RESLOAD_MAX_DICOM_ELEMENTS)" in refused(file, tmp_path).reason
        luts = with_raw(make_dicom(smooth(), bits=12), (0x00283010, "SQ", items))
        assert refused(luts, tmp_path).reason.startswith("VOI LUT Sequence (0028,3010)")
        assert time.perf_counter() - begun < 20  # a hang, not a speed


class TestOtherObjects:
    @pytest.mark.parametrize("name", ["reportsi.dcm", "test-SR.dcm", "rtplan.dcm", "rtstruct.dcm", "waveform_ecg.dcm"])
    def test_data_sets_without_pixels(self, name):
        """Reports, plans, waveforms; the modality says which it is."""
        for step in (decode, read_header):
            with pytest.raises(NotARadiographError, match=r"holds no image: it has no Pixel Data \(7FE0,0010\)"):
                step(known(name))

    @pytest.mark.parametrize("modality", ["PR", "KO", "SR"])
    def test_presentation_states_and_key_objects(self, modality, tmp_path):
        """Their modality is told."""
        dataset = Dataset()
        dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.11.1", modality
        found = refused(saved(dataset, EXPLICIT), tmp_path)
        assert type(found) is NotARadiographError
        assert found.detail == modality

    def test_a_header_whose_pixels_are_gone(self, tmp_path):
        """Rows and Columns alone are no image, for the header either."""
        file = make_dicom(smooth(), bits=12, PixelData=None)
        assert refused(file, tmp_path).reason == "the DICOM file holds no image: it has no Pixel Data (7FE0,0010)"
        with pytest.raises(NotARadiographError, match="no Pixel Data"):
            read_header(file)

    @pytest.mark.parametrize(
        ("name", "vr", "element"),
        [
            ("FloatPixelData", "OF", "Float Pixel Data (7FE0,0008)"),
            ("DoubleFloatPixelData", "OD", "Double Float Pixel Data (7FE0,0009)"),
        ],
    )
    def test_pixels_that_are_no_whole_numbers(self, name, vr, element, tmp_path):
        """Parametric maps."""
        file = make_dicom(smooth(), bits=12, PixelData=None, **{name: b"\0" * 8})
        found = refused(file, tmp_path)
        assert type(found) is NotARadiographError
        assert found.reason == f"the DICOM image's pixels are no whole numbers: it has {element}"

    def test_directories(self):
        """DICOMDIR lists files and is none of them."""
        with pytest.raises(NotARadiographError, match=r"DICOMDIR: it has Directory Record Sequence \(0004,1220\)"):
            decode(known("DICOMDIR"))

    @pytest.mark.parametrize(("name", "bits"), [("rtdose.dcm", "32"), ("liver.dcm", "1")])
    def test_other_depths(self, name, bits):
        """Doses have 32 bits, segmentations one."""
        with pytest.raises(NotARadiographError, match=rf"Bits Allocated \(0028,0100\) is neither 8 nor 16 \({bits}\)"):
            decode(known(name))


def test_damaged_files_crash_nothing():
    """Some of `benchmarks/dicom_mutations.py`: pixels or a DecodeError, within the time a film takes.

    What is kept of a refusal is one of few sentences, whose only numbers are those of elements and of the standard.
    """
    sound = sound_files(crop=48)
    assert set(sound) == set(SYNTAXES)
    reasons: Counter[str] = Counter()
    for index in range(1600):
        name = list(sound)[index % len(sound)]
        rng = np.random.default_rng((7, index))
        file = mutate(sound[name][int(rng.integers(len(sound[name])))], rng)
        begun = time.perf_counter()
        found = refusal(file)
        assert time.perf_counter() - begun < 5, f"file {index} of {name}"
        reasons["pixels" if found is None else found.reason] += 1
    assert 100 < reasons.pop("pixels") < 800
    assert 20 < len(reasons) < 80
    for reason in reasons:
        assert not re.search(
            r"\d", re.sub(r"\([0-9A-F]{4},[0-9A-F]{4}\)|JPEG 2000|1 nor 3|8 nor 16|1 to 16", "", reason)
        )


def test_sound_files_are_sound():
    """Before they are damaged, all but the odd ones among pydicom's decode."""
    for name, files in sound_files(crop=48).items():
        ours = files[:5]
        assert [outcome(file) for file in ours].count("pixels") >= 4, name
