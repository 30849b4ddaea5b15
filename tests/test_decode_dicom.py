"""DICOM files against the samples they were made from, against pydicom, and against each other."""

import contextlib
import io
import struct
import warnings
import zlib
from pathlib import Path

import hostile
import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_files import (
    BIG,
    DEFLATED,
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    J2K,
    J2K_LOSSY,
    JLS,
    JLS_NEAR,
    JPEG,
    JPEG_12,
    JPEG_57,
    JPEG_70,
    NATIVE,
    RLE,
    frame_bytes,
    known,
    make_dicom,
    noise,
    saved,
    smooth,
    stored,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.sequence import Sequence

from resload.decode import decode, read_header, sniff
from resload.decode.elements import read
from resload.errors import (
    DecodeError,
    NotARadiographError,
    TooLargeError,
    TruncatedFileError,
    UnknownFormatError,
)

LOSSLESS = (RLE, JPEG_57, JPEG_70, JLS, J2K, *HTJ2K)


shapes = st.tuples(st.integers(1, 17), st.integers(1, 17))
seeds = st.integers(0, 1 << 32)


class TestNative:
    @pytest.mark.parametrize("syntax", NATIVE)
    @given(shape=shapes, bits=st.integers(1, 16), signed=st.booleans(), seed=seeds, wide=st.booleans())
    @settings(max_examples=40, deadline=None)
    def test_stored_values_come_back_exactly(self, syntax, shape, bits, signed, seed, wide):
        """Every number of bits, either sign, every uncompressed transfer syntax, any shape."""
        pixels = noise(shape, bits, signed, seed)
        if wide:
            pixels = pixels.astype(np.int16 if signed else np.uint16)
        file = make_dicom(pixels, syntax, bits=bits)
        film = decode(file)
        assert np.array_equal(stored(film), pixels)
        assert film.bits == read_header(file).bits == bits
        assert film.pixels.dtype == (np.uint8 if bits <= 8 else np.uint16)
        assert int(film.pixels.max()) < 1 << bits

    @given(bits=st.integers(1, 15), up=st.integers(0, 15), signed=st.booleans(), seed=seeds)
    @settings(max_examples=60, deadline=None)
    def test_bits_that_do_not_count_are_ignored(self, bits, up, signed, seed):
        """Overlays or rubbish around BitsStored, wherever HighBit puts them (PS3.5 8.1.1)."""
        high_bit = min(15, bits - 1 + up)
        shift = high_bit + 1 - bits
        values = noise((7, 9), bits, signed, seed).astype(np.int64)
        mask = ((1 << bits) - 1) << shift
        rubbish = np.random.default_rng(seed + 1).integers(0, 1 << 16, (7, 9))
        words = ((values << shift) & mask | rubbish & ~mask & 0xFFFF).astype(np.uint16)
        words = words.view(np.int16) if signed else words
        assert np.array_equal(stored(decode(make_dicom(words, bits=bits, high_bit=high_bit))), values)

    def test_eight_bits_in_big_endian_words(self):
        """OW in big endian holds two samples to a word, the first in its low byte (PS3.5 annex D)."""
        pixels = noise((5, 3), 8)
        words = np.frombuffer(pixels.tobytes() + b"\0", "<u2").astype(">u2").tobytes()
        dataset = pydicom.dcmread(io.BytesIO(make_dicom(pixels, BIG)))
        dataset.PixelData = words
        dataset["PixelData"].VR = "OW"
        file = saved(dataset, BIG)
        assert np.array_equal(decode(file).pixels, pixels)

    def test_frames_are_told_apart(self):
        """Each frame by its number; one too many is refused."""
        pages = [noise((6, 5), 12, seed=k) for k in range(3)]
        for syntax in NATIVE:
            file = make_dicom(pages, syntax, bits=12)
            assert read_header(file).frames == 3
            for k, page in enumerate(pages):
                assert np.array_equal(decode(file, frame=k).pixels, page)
            with pytest.raises(NotARadiographError, match="holds 3"):
                decode(file, frame=3)

    def test_pixels_belong_to_the_caller(self):
        """Writable, contiguous, no view of the file, even where nothing had to be changed."""
        for pixels in (noise((5, 4), 8), noise((5, 4), 16), noise((5, 4), 16, True)):
            found = decode(make_dicom(pixels)).pixels
            assert found.flags.writeable
            assert found.flags.c_contiguous
            assert found.flags.owndata


class TestCompressed:
    @pytest.mark.parametrize("syntax", LOSSLESS)
    @given(shape=st.tuples(st.integers(2, 40), st.integers(2, 40)), bits=st.sampled_from([8, 10, 12, 15, 16]))
    @settings(max_examples=15, deadline=None)
    def test_lossless_syntaxes_lose_nothing(self, syntax, shape, bits):
        """RLE, JPEG lossless, JPEG-LS, JPEG 2000 and HTJ2K of 8 to 16 bits."""
        pixels = smooth(bits, shape)
        film = decode(make_dicom(pixels, syntax, bits=bits))
        assert np.array_equal(film.pixels, pixels)
        assert film.bits == bits

    @pytest.mark.parametrize(
        ("syntax", "bits", "most"), [(JPEG, 8, 3), (JPEG_12, 12, 40), (JLS_NEAR, 12, 2), (J2K_LOSSY, 12, 40)]
    )
    def test_lossy_syntaxes_stay_close(self, syntax, bits, most):
        """JPEG of 8 and 12 bits, near-lossless JPEG-LS, lossy JPEG 2000."""
        pixels = smooth(bits)
        film = decode(make_dicom(pixels, syntax, bits=bits))
        assert film.bits == bits
        assert np.abs(film.pixels.astype(int) - pixels).max() <= most

    @pytest.mark.parametrize("syntax", [RLE, J2K, *HTJ2K])
    def test_signed_samples(self, syntax):
        """Negative values survive compression."""
        pixels = smooth(12).astype(np.int16) - 2048
        bits = 16 if syntax == RLE else 12
        film = decode(make_dicom(pixels, syntax, bits=bits))
        assert np.array_equal(stored(film), pixels)

    @pytest.mark.parametrize("syntax", [JLS, JPEG_70])
    def test_signed_samples_in_streams_that_know_no_sign(self, syntax):
        """JPEG-LS and JPEG lossless carry bit patterns; the header's sign is put back."""
        pixels = smooth(12).astype(np.int64) - 2048
        unsigned = (pixels & 0xFFF).astype(np.uint16)
        file = make_dicom(unsigned, syntax, bits=12, PixelRepresentation=1)
        assert np.array_equal(stored(decode(file)), pixels)

    def test_a_stream_of_fewer_bits_than_the_header_says(self):
        """A 13-bit stream under a signed 16-bit header: the sign is that of the 13 bits."""
        pixels = smooth(13).astype(np.int64) - 4096
        unsigned = (pixels & 0x1FFF).astype(np.uint16)
        dataset = pydicom.dcmread(io.BytesIO(make_dicom(unsigned, J2K, bits=13)))
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 1
        file = io.BytesIO()
        dataset.save_as(file)
        film = decode(file.getvalue())
        assert film.bits == 16
        assert np.array_equal(stored(film), pixels)

    @pytest.mark.parametrize("syntax", [J2K, RLE, JLS])
    @pytest.mark.parametrize(
        ("offsets", "fragments"), [("none", 1), ("basic", 1), ("basic", 3), ("extended", 1), ("none", 3)]
    )
    def test_frames_in_fragments(self, syntax, offsets, fragments):
        """Frames of one or several fragments, found by either offset table or by their end marker."""
        if syntax == RLE:
            fragments = 1  # has no end marker, so that the standard allows no more (PS3.5 A.4.2)
        pages = [np.roll(smooth(12), 5 * k, axis=1) for k in range(4)]
        file = make_dicom(pages, syntax, bits=12, fragments=fragments, offsets=offsets)
        for k, page in enumerate(pages):
            assert np.array_equal(decode(file, frame=k).pixels, page)

    def test_the_transfer_syntax_alone_chooses_the_codec(self):
        """A JPEG 2000 stream that is labelled JPEG-LS is refused, not rescued."""
        dataset = pydicom.dcmread(io.BytesIO(make_dicom(smooth(), J2K, bits=12)))
        dataset.file_meta.TransferSyntaxUID = JLS
        file = io.BytesIO()
        dataset.save_as(file)
        with pytest.raises(DecodeError, match="JPEG-LS data is damaged"):
            decode(file.getvalue())

    def test_the_decoder_is_named(self):
        """Library, codec and version."""
        version = imagecodecs.__version__
        assert decode(make_dicom(smooth(), JLS, bits=12)).decoder == f"imagecodecs.jpegls {version}"
        assert decode(make_dicom(smooth(), HTJ2K[0], bits=12)).decoder == f"imagecodecs.jpeg2k {version}"
        assert decode(make_dicom(smooth())).decoder == f"numpy.frombuffer {np.__version__}"


class TestColour:
    rgb = np.dstack([smooth(8), smooth(8)[::-1], 255 - smooth(8)])
    luma = (rgb.astype(int) @ (19595, 38470, 7471) + 32768) >> 16

    @pytest.mark.parametrize("syntax", [*NATIVE, RLE, JLS, JPEG_70])
    def test_rgb_becomes_luma(self, syntax):
        """Interleaved colour, uncompressed and compressed, by the one rule."""
        film = decode(make_dicom(self.rgb, syntax))
        assert np.array_equal(film.pixels, self.luma)
        assert (film.values, film.bits) == (None, 8)

    def test_planes(self):
        """PlanarConfiguration 1: one colour after another."""
        raw = np.ascontiguousarray(np.moveaxis(self.rgb, -1, 0)).tobytes()
        file = make_dicom(self.rgb, PlanarConfiguration=1, PixelData=raw + b"\0" * (len(raw) % 2))
        assert np.array_equal(decode(file).pixels, self.luma)

    @pytest.mark.parametrize(
        ("name", "most"),
        [
            ("SC_rgb_rle.dcm", 0),
            ("SC_rgb_jpeg_gdcm.dcm", 0),  # JPEG lossless
            ("SC_rgb_gdcm_KY.dcm", 0),  # JPEG 2000
            ("SC_rgb_jls_lossy_line.dcm", 2),
            ("SC_rgb_jls_lossy_sample.dcm", 2),
            ("SC_rgb_expb.dcm", 0),
            ("SC_ybr_full_uncompressed.dcm", 1),
            ("SC_ybr_full_422_uncompressed.dcm", 1),
            ("SC_rgb_dcmtk_+eb+cr.dcm", 1),  # JPEG holding RGB, told by an Adobe segment
            ("SC_rgb_dcmtk_+eb+cy+s4.dcm", 2),  # JPEG holding YCbCr
            ("SC_rgb_jpeg_dcmtk.dcm", 2),
            ("SC_rgb_jpeg_lossy_gdcm.dcm", 8),
        ],
    )
    def test_one_picture_in_many_encodings(self, name, most):
        """The same colour bars, whatever the colour space and codec, are the same gray."""
        expected = decode(known("SC_rgb.dcm")).pixels.astype(int)
        assert np.abs(decode(known(name)).pixels - expected).max() <= most

    def test_an_untold_jpeg_is_what_the_header_says(self):
        """No JFIF, an Adobe segment too short to count, PhotometricInterpretation RGB: RGB it is."""
        found = decode(known("SC_rgb_jpeg.dcm")).pixels
        assert abs(float(np.median(found)) - 244) < 2

    @pytest.mark.parametrize(("interpretation", "message"), [("YBR_PARTIAL_420", "not read"), ("HSV", "not read")])
    def test_other_colours_are_refused(self, interpretation, message):
        """Colour spaces without a rule."""
        with pytest.raises(NotARadiographError, match=message):
            decode(make_dicom(self.rgb, PhotometricInterpretation=interpretation))


AGREE = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_padded.dcm",
    "JPEG2000.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "693_J2KI.dcm",
    "693_J2KR.dcm",
    "693_UNCI.dcm",
    "693_UNCR.dcm",
    "image_dfl.dcm",
    "emri_small.dcm",
    "emri_small_big_endian.dcm",
    "emri_small_RLE.dcm",
    "emri_small_jpeg_2k_lossless.dcm",
    "examples_overlay.dcm",
    "mlut_18.dcm",
    "vlut_04.dcm",
    "RG1_UNCR.dcm",
    "RG1_J2KR.dcm",
    "RG3_UNCR.dcm",
    "RG3_J2KI.dcm",
]


class TestKnownFiles:
    @pytest.mark.parametrize("name", AGREE)
    def test_stored_values_are_pydicoms(self, name):
        """Value for value what pydicom decodes, of the first frame and the last."""
        header = read_header(known(name))
        for frame in {0, header.frames - 1}:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = pixel_array(pydicom.dcmread(known(name)), index=frame)
            assert np.array_equal(stored(decode(known(name), frame=frame)), expected)

    @pytest.mark.parametrize(
        ("compressed", "plain"),
        [
            ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
            ("emri_small_jpeg_ls_lossless.dcm", "emri_small.dcm"),
            ("RG1_J2KR.dcm", "RG1_UNCR.dcm"),
            ("RG3_J2KR.dcm", "RG3_UNCR.dcm"),
        ],
    )
    def test_lossless_copies_are_equal(self, compressed, plain):
        """A film and its losslessly compressed copy, every frame."""
        for frame in range(read_header(known(plain)).frames):
            one, other = decode(known(compressed), frame=frame), decode(known(plain), frame=frame)
            assert np.array_equal(stored(one), stored(other))

    @pytest.mark.parametrize("name", ["JPEG-LL.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm", "bad_sequence.dcm"])
    def test_lossless_jpeg_agrees_with_another_decoder(self, name):
        """libjpeg-turbo's pixels are liblj92's."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = next(
                iter(pydicom.encaps.generate_frames(pydicom.dcmread(known(name)).PixelData, number_of_frames=1))
            )
        expected = imagecodecs.ljpeg_decode(frame)
        assert np.array_equal(stored(decode(known(name))).astype(expected.dtype), expected)

    @pytest.mark.parametrize(("name", "bits"), [("JPGExtended.dcm", 12), ("JPEG-lossy.dcm", 12)])
    def test_extended_jpeg(self, name, bits):
        """12-bit JPEG, which many readers refuse."""
        film = decode(known(name))
        assert (film.bits, film.pixels.shape) == (bits, (1024, 256))
        assert film.pixels.max() > 255

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("MR_truncated.dcm", TruncatedFileError),
            ("emri_small_jpeg_2k_lossless_too_short.dcm", TruncatedFileError),
            ("rtplan_truncated.dcm", TruncatedFileError),
            ("JPEG2000-embedded-sequence-delimiter.dcm", DecodeError),
            ("rtdose.dcm", NotARadiographError),
            ("liver.dcm", NotARadiographError),
            ("SC_rgb_32bit.dcm", NotARadiographError),
            ("reportsi.dcm", NotARadiographError),
            ("waveform_ecg.dcm", NotARadiographError),
            ("rtstruct.dcm", NotARadiographError),
            ("no_meta.dcm", UnknownFormatError),
        ],
    )
    def test_what_is_no_radiograph_is_refused(self, name, error):
        """Truncated files, doses, segmentations, reports, plans, waveforms."""
        with pytest.raises(error) as caught:
            decode(known(name))
        assert known(name) in str(caught.value)

    def test_the_walk_finds_what_pydicom_finds(self):
        """Every file that pydicom ships: the same elements at the outermost level, up to Pixel Data."""
        compared = 0
        for path in sorted(Path(known("CT_small.dcm")).parent.glob("*.dcm")):
            data = path.read_bytes()
            with contextlib.suppress(DecodeError):
                if sniff(data) != "dicom":
                    continue
                found = read(data, 1 << 30)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    expected = pydicom.dcmread(path, force=True)
                    tags = {int(tag) for tag in expected.keys() if tag <= 0x7FE00010}  # noqa: SIM118
                assert tags == set(found.elements), path.name
                for tag in tags & {0x00280010, 0x00280011, 0x00280101}:
                    assert found.short(tag, -1) == expected[tag].value, path.name
                compared += 1
        assert compared > 70


def test_a_value_that_is_no_sequence_has_no_first_item():
    """Whoever only wants to know what an item says is told that there is none."""
    found = read(make_dicom(smooth(), ModalityLUTSequence=Sequence([])), 1 << 30)
    assert found.first_item(0x00283000) is None
    assert found.first_item(0x00280010) is None
    assert found.first_item(0x7FE00010) is None
    assert found.first_item(0x00080000) is None


class TestMeaning:
    @given(spacing=st.tuples(*[st.floats(0.01, 5).map(lambda v: round(v, 4))] * 2), factor=st.floats(1, 3))
    @settings(max_examples=20, deadline=None)
    def test_spacing_in_its_order_of_trust(self, spacing, factor):
        """PixelSpacing, else ImagerPixelSpacing by the magnification, else NominalScannedPixelSpacing; (y, x)."""
        factor = round(factor, 4)
        tags = {"NominalScannedPixelSpacing": [9, 8]}
        assert read_header(make_dicom(smooth(), **tags)).spacing == (9, 8)
        tags["ImagerPixelSpacing"] = list(spacing)
        assert read_header(make_dicom(smooth(), **tags)).spacing == spacing
        tags["EstimatedRadiographicMagnificationFactor"] = factor
        film = decode(make_dicom(smooth(), **tags))
        assert film.spacing == (spacing[0] / factor, spacing[1] / factor)
        tags["PixelSpacing"] = [0.2, 0.3]
        assert decode(make_dicom(smooth(), **tags)).spacing == (0.2, 0.3)

    def test_spacing_that_is_none(self):
        """Zeros count as absent; so does nothing at all."""
        assert read_header(make_dicom(smooth())).spacing is None
        assert read_header(make_dicom(smooth(), PixelSpacing=[0, 0])).spacing is None
        both = make_dicom(smooth(), PixelSpacing=[0, 0], ImagerPixelSpacing=[0.1, 0.2])
        assert read_header(both).spacing == (0.1, 0.2)

    @pytest.mark.parametrize("syntax", NATIVE)
    def test_values_are_read(self, syntax):
        """Rescale, windows (the first of several), function, polarity, sign."""
        file = make_dicom(
            smooth(12).astype(np.int16),
            syntax,
            bits=14,
            RescaleSlope="-0.5",
            RescaleIntercept="100",
            WindowCenter=[40, 50],
            WindowWidth=[400, 500],
            VOILUTFunction="SIGMOID",
            PhotometricInterpretation="MONOCHROME1",
        )
        values = decode(file).values
        assert values is not None
        assert (values.offset, values.slope, values.intercept) == (8192, -0.5, 100.0)
        assert (values.windows, values.window_function, values.invert) == (
            ((40.0, 400.0), (50.0, 500.0)),
            "SIGMOID",
            True,
        )
        assert (values.modality_lut, values.voi_luts) == (None, ())

    @pytest.mark.parametrize("width", [0, -5, 0.5])
    def test_windows_that_the_standard_forbids_count_as_absent(self, width):
        """Width below 1 (PS3.3 C.11.2.1.2.1)."""
        values = decode(make_dicom(smooth(), WindowCenter=40, WindowWidth=width)).values
        assert values is not None
        assert values.windows == ()

    @pytest.mark.parametrize("syntax", NATIVE)
    @pytest.mark.parametrize("open_ended", [False, True])
    def test_lookup_tables_are_read(self, syntax, open_ended):
        """Both sequences, of defined and undefined length, in every byte order; entries above their bits clamp."""
        modality, voi = Dataset(), Dataset()
        modality.add_new(0x00283002, "SS", [3, -2, 12])
        modality.add_new(0x00283006, "OW", np.array([0, 7, 5000], ">u2" if syntax == BIG else "<u2").tobytes())
        voi.add_new(0x00283002, "US", [4, 40000, 16])
        voi.add_new(0x00283006, "US", [1, 2, 3, 65535])
        for item in (modality, voi):
            item.is_undefined_length_sequence_item = open_ended
        sequences = {"ModalityLUTSequence": Sequence([modality]), "VOILUTSequence": Sequence([voi])}
        for sequence in sequences.values():
            sequence.is_undefined_length = open_ended
        film = decode(make_dicom(smooth().astype(np.int16), syntax, bits=12, **sequences))
        assert film.values is not None
        first, (second,) = film.values.modality_lut, film.values.voi_luts
        assert first is not None
        assert (first.first_mapped, first.bits, first.entries.tolist()) == (-2, 12, [0, 7, 4095])
        assert (second.bits, second.entries.tolist()) == (16, [1, 2, 3, 65535])

    def test_zero_entries_means_65536_and_bytes_may_be_packed(self):
        """The two oddities of LUT Descriptor and LUT Data (PS3.3 C.11.1.1)."""
        full, packed = Dataset(), Dataset()
        full.add_new(0x00283002, "US", [0, 0, 16])
        full.add_new(0x00283006, "OW", np.arange(65536, dtype="<u2").tobytes())
        packed.add_new(0x00283002, "US", [256, 0, 8])
        packed.add_new(0x00283006, "OW", bytes(range(256)))
        for item, number in ((full, 65536), (packed, 256)):
            values = decode(make_dicom(smooth(), VOILUTSequence=Sequence([item]))).values
            assert values is not None
            assert np.array_equal(values.voi_luts[0].entries, np.arange(number))

    @pytest.mark.parametrize(
        ("descriptor", "size", "message"),
        [
            ([4, 0, 16], 6, r"LUT Data \(0028,3006\) is shorter than LUT Descriptor \(0028,3002\)"),
            ([4, 0, 40], 8, r"LUT Descriptor \(0028,3002\) is not three numbers"),
            ([4, 0, 0], 8, r"LUT Descriptor \(0028,3002\) is not three numbers"),
        ],
    )
    def test_damaged_lookup_tables_are_refused(self, descriptor, size, message):
        """Too short, or of impossible bits: wrong gray would look like a film."""
        item = Dataset()
        item.add_new(0x00283002, "US", descriptor)
        item.add_new(0x00283006, "OW", b"\0" * size)
        with pytest.raises(DecodeError, match=r"VOI LUT Sequence \(0028,3010\): " + message):
            decode(make_dicom(smooth(), VOILUTSequence=Sequence([item])))

    def test_an_unknown_voi_function_is_refused(self):
        """Rather than guessed."""
        with pytest.raises(DecodeError, match="VOI LUT Function"):
            decode(make_dicom(smooth(), WindowCenter=1, WindowWidth=2, VOILUTFunction="CUBIC"))


CODED = {
    "native": make_dicom(smooth(), bits=12),
    "implicit": make_dicom(smooth(), IMPLICIT, bits=12, ModalityLUTSequence=Sequence([])),
    "deflated": make_dicom(smooth(), DEFLATED, bits=12),
    "rle": make_dicom(smooth(), RLE, bits=12),
    "jpeg": make_dicom(smooth(8), JPEG),
    "lossless": make_dicom(smooth(), JPEG_70, bits=12),
    "jpegls": make_dicom(smooth(), JLS, bits=12),
    "jpeg2k": make_dicom(smooth(), J2K, bits=12),
    "htj2k": make_dicom(smooth(), HTJ2K[0], bits=12),
}


def reframed(syntax: str, stream: bytes, **tags: object) -> bytes:
    """A film of `smooth()` whose compressed frame is exchanged."""
    dataset = pydicom.dcmread(io.BytesIO(make_dicom(smooth(), syntax, bits=12, **tags)))
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


class TestHostile:
    @pytest.mark.parametrize("name", CODED)
    def test_every_truncation_is_noticed(self, name):
        """A file cut anywhere behind its first elements is refused, mostly as truncated, always as ours."""
        file = CODED[name]
        decode(file)
        truncated = 0
        cuts = range(140, len(file) - 8, max(1, len(file) // 300))
        for size in cuts:
            with pytest.raises(DecodeError) as caught:
                decode(file[:size])
            truncated += isinstance(caught.value, TruncatedFileError)
        # Between two elements the rest is a whole data set that happens to hold no image yet.
        assert truncated > 0.8 * len(cuts)

    @pytest.mark.parametrize("syntax", [JPEG_12, JPEG_70, JLS, J2K, HTJ2K[0], RLE])
    def test_streams_that_end_early_inside_a_whole_file(self, syntax):
        """The data set is sound and the frame in it is not: no codec hangs, crashes or fills up with gray."""
        stream = frame_bytes(smooth(), syntax, 12)
        for size in range(2, len(stream) - 2, max(1, len(stream) // 60)):
            with pytest.raises(DecodeError):
                decode(reframed(syntax, stream[:size]))

    @pytest.mark.parametrize("name", CODED)
    @given(data=st.data())
    @settings(max_examples=60, deadline=None)
    def test_damage_raises_nothing_but_our_errors(self, name, data):
        """Bytes changed at random: pixels or a DecodeError, never another exception, never a crash."""
        hostile.raises_nothing_but_our_errors(data, CODED[name], first=132)

    def test_rle_segments_outside_the_data_are_refused(self):
        """Offsets that imagecodecs would follow out of the buffer."""
        stream = frame_bytes(smooth(), RLE, 12)
        for place, value in ((8, 0x7FFFFFFF), (8, len(stream)), (8, 64), (4, 0), (0, 15), (0, 0)):
            with pytest.raises(DecodeError, match="RLE data"):
                decode(reframed(RLE, stream[:place] + struct.pack("<I", value) + stream[place + 4 :]))

    @pytest.mark.parametrize("syntax", [EXPLICIT, J2K])
    def test_a_claim_of_60000_by_60000_is_refused_before_anything_is_allocated(self, syntax):
        """Rows and Columns, quickly and with next to no memory."""
        file = make_dicom(smooth(), syntax, bits=12, Rows=60_000, Columns=60_000)
        hostile.claim_is_refused_before_anything_is_allocated(file)

    @pytest.mark.parametrize("syntax", [J2K, JLS, JPEG_70])
    def test_a_stream_that_claims_more_than_the_header_is_refused(self, syntax):
        """The frame's own claim is compared before its codec sees it."""
        stream = frame_bytes(smooth(shape=(122, 47)), syntax, 12)
        with pytest.raises(DecodeError, match="disagree"):
            decode(reframed(syntax, stream))

    def test_a_deflated_bomb_is_refused(self):
        """A megabyte that inflates to a gigabyte stops at the limit."""
        file = CODED["deflated"]
        start = file.index(b"DICM") + 4
        length = struct.unpack("<I", file[start + 8 : start + 12])[0]
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
        zeros = b"\0" * (1 << 20)
        element = struct.pack("<HH2sHI", 8, 0x11, b"OB", 0, 1 << 30)
        body = squeeze.compress(element) + b"".join(squeeze.compress(zeros) for _ in range(200)) + squeeze.flush()
        with pytest.raises(TooLargeError, match="deflated"):
            decode(file[: start + 12 + length] + body, max_pixels=1 << 20)

    def test_sequences_nested_without_end_are_refused(self):
        """A thousand open sequences are no recursion."""
        opened = struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
            "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
        )
        with pytest.raises(TooLargeError, match="RESLOAD_MAX_DICOM_DEPTH"):
            decode(opened * 1000)

    def test_elements_without_end_are_refused(self):
        """Millions of empty elements are not all walked."""
        with pytest.raises(TooLargeError, match="RESLOAD_MAX_DICOM_ELEMENTS"):
            decode(struct.pack("<HH2sH", 8, 0x60, b"CS", 0) * (1 << 19))

    def test_encapsulation_must_match_the_syntax(self):
        """Native pixels under a compressed syntax."""
        dataset = pydicom.dcmread(io.BytesIO(CODED["native"]))
        dataset.file_meta.TransferSyntaxUID = J2K
        dataset["PixelData"].is_undefined_length = False
        raw = CODED["native"].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
        with pytest.raises(DecodeError, match="contradict"):
            decode(raw)

    def test_unknown_syntaxes_are_refused_by_name(self):
        """Video, for example."""
        raw = CODED["native"].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
        with pytest.raises(UnknownFormatError, match=r"1\.2\.840\.10008\.1\.2\.9"):
            decode(raw)


class TestFiles:
    def test_files_without_preamble(self):
        """A bare data set, explicit or implicit, and one that starts with its file meta group."""
        for syntax in (EXPLICIT, IMPLICIT):
            file = make_dicom(smooth(), syntax, bits=12)
            meta_bytes = struct.unpack("<I", file[140:144])[0]
            for bare in (file[132:], file[144 + meta_bytes :]):
                assert sniff(bare) == "dicom"
                assert np.array_equal(decode(bare).pixels, smooth())

    def test_a_text_that_starts_like_an_element_is_no_dicom(self):
        """Two lucky bytes are not enough."""
        with pytest.raises(UnknownFormatError):
            sniff(b"\x08\x00\x0b\nsome text, longer than a header would be")

    def test_headers_of_paths_and_bytes_agree(self, tmp_path: Path):
        """And the header of a large file reads a small part of it."""
        path = tmp_path / "film"
        path.write_bytes(make_dicom(noise((600, 700), 12), bits=12, ImagerPixelSpacing=[0.1, 0.2]))
        header = read_header(path)
        assert header == read_header(path.read_bytes())
        assert (header.format, header.height, header.width, header.bits) == ("dicom", 600, 700, 12)
        assert (header.photometric, header.spacing, header.frames) == ("MONOCHROME2", (0.1, 0.2), 1)

    def test_threads_get_what_one_thread_gets(self):
        """Every codec at once, warnings being errors."""
        hostile.threads_get_what_one_thread_gets(CODED)


@pytest.mark.real
def test_real_lossless_jpeg_and_jpegls_are_one_film(real_data: Path):
    """RG2, a 10-bit CR, in JPEG lossless and in JPEG-LS."""
    one, other = (decode(real_data / "dicom" / name) for name in ("RG2_JPLL.dcm", "RG2_JLSL.dcm"))
    assert np.array_equal(one.pixels, other.pixels)
    assert (one.bits, one.pixels.shape, one.spacing) == (10, (2140, 1760), (0.2, 0.2))


@pytest.mark.real
def test_real_monochrome1_is_the_same_codes_read_the_other_way(real_data: Path):
    """The SIIM film and its copy labelled MONOCHROME1."""
    plain = decode(next((real_data / "dicom").glob("siim_*.dcm")))
    other = decode(real_data / "dicom" / "Fake_MONOHR1.dcm")
    assert np.array_equal(plain.pixels, other.pixels)
    assert plain.values is not None
    assert other.values is not None
    assert (plain.values.invert, other.values.invert) == (False, True)
