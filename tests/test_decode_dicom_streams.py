"""Compressed streams against their header: precision, sign and overshoot; transcodings by other libraries."""

import io
import warnings
from pathlib import Path

import gdcm
import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_files import (
    EXPLICIT,
    HTJ2K,
    J2K,
    J2K_LOSSY,
    JLS,
    JLS_NEAR,
    JPEG_12,
    JPEG_57,
    JPEG_70,
    RLE,
    known,
    make_dicom,
    smooth,
    stored,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array

from resload.decode import decode
from resload.errors import TruncatedFileError


def with_header(file: bytes, **tags: int) -> bytes:
    """The file under another header; its stream stays."""
    dataset = pydicom.dcmread(io.BytesIO(file))
    for name, value in tags.items():
        setattr(dataset, name, value)
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def with_stream(stream: bytes, syntax: str, pixels: np.ndarray, bits: int, **tags: int) -> bytes:
    """A film around a stream made elsewhere."""
    dataset = pydicom.dcmread(io.BytesIO(make_dicom(pixels, EXPLICIT, bits=bits, **tags)))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def edges(signed: bool) -> np.ndarray:
    """Squares and lines at both ends of 10 bits."""
    low, high = (-512, 511) if signed else (0, 1023)
    pixels = np.full((64, 64), low, np.int16 if signed else np.uint16)
    pixels[16:48, 16:48] = high
    pixels[::4, 20:44] = (low + high) // 2
    return pixels


class TestPrecisionAndSign:
    @pytest.mark.parametrize("signed_stream", [False, True])
    @pytest.mark.parametrize("signed_header", [False, True])
    @given(bits=st.integers(9, 15), extra=st.integers(0, 3))
    @settings(max_examples=15, deadline=None)
    def test_jpeg2000_of_either_sign_under_a_header_of_either(self, signed_stream, signed_header, bits, extra):
        """The bits are the stream's, and the header says how they are read: as pydicom does."""
        allocated = min(16, bits + extra)
        values = smooth(bits, (24, 20)).astype(np.int64) - (1 << (bits - 1)) * signed_header
        codes = values % (1 << bits)
        pixels = (codes - (1 << bits) * (codes >= 1 << (bits - 1)) * signed_stream).astype(
            "i2" if signed_stream else "u2"
        )
        stream = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, bitspersample=bits, codecformat="j2k")
        file = with_stream(stream, J2K, pixels.view("u2"), allocated, PixelRepresentation=int(signed_header))
        film = decode(file)
        assert np.array_equal(stored(film), values)
        assert film.bits == allocated
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert np.array_equal(pixel_array(io.BytesIO(file), raw=True), values)

    @pytest.mark.parametrize("syntax", [J2K, JLS, JPEG_70, RLE, HTJ2K[0]])
    @pytest.mark.parametrize("signed", [False, True])
    def test_a_lossless_copy_reads_as_its_native_original(self, syntax, signed):
        """Bits above BitsStored are overlays or rubbish, in a stream of 16 bits as in native words."""
        rng = np.random.default_rng(3)
        words = (rng.integers(0, 1 << 16, (31, 17)) & 0xFFFF).astype(np.uint16)
        tags = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": int(signed)}
        native = make_dicom(words, EXPLICIT, bits=16, **tags)
        copy = with_header(make_dicom(words, syntax, bits=16), **tags)
        assert np.array_equal(decode(copy).pixels, decode(native).pixels)
        assert np.array_equal(stored(decode(copy)), pixel_array(io.BytesIO(native), raw=True))

    @pytest.mark.parametrize("signed", [False, True])
    @pytest.mark.parametrize("bits", [12, 16])
    def test_what_jpeg2000_overshoots_saturates(self, bits, signed):
        """A lossy stream deeper than BitsStored: edges at full scale ring beyond it, and must not turn round."""
        pixels = edges(signed)
        level = 70 if bits == 16 else 48
        stream = imagecodecs.jpeg2k_encode(pixels, level=level, reversible=False, bitspersample=bits, codecformat="j2k")
        raw = imagecodecs.jpeg2k_decode(stream).astype(int)
        assert raw.max() > pixels.max()
        assert not signed or raw.min() < pixels.min()
        film = decode(with_stream(stream, J2K_LOSSY, pixels, bits, BitsStored=10, HighBit=9))
        assert film.bits == 10
        assert np.array_equal(stored(film), np.clip(raw, pixels.min(), pixels.max()))

    def test_a_signed_stream_under_an_unsigned_header_overshoots_to_black(self):
        """Values a little below 0 are not the brightest."""
        pixels = edges(False).astype(np.int16)
        stream = imagecodecs.jpeg2k_encode(pixels, level=70, reversible=False, bitspersample=16, codecformat="j2k")
        raw = imagecodecs.jpeg2k_decode(stream).astype(int)
        assert raw.min() < 0
        film = decode(with_stream(stream, J2K_LOSSY, pixels.view(np.uint16), 16, BitsStored=10, HighBit=9))
        assert np.array_equal(film.pixels, np.clip(raw, 0, 1023))

    @pytest.mark.parametrize("syntax", [JPEG_12, JLS_NEAR])
    def test_what_other_codecs_overshoot_saturates(self, syntax):
        """Extended JPEG is always of 12 bits, near-lossless JPEG-LS of what its writer says."""
        pixels = edges(False)
        if syntax == JPEG_12:
            stream = imagecodecs.jpeg8_encode(pixels, level=90, bitspersample=12)
            raw = imagecodecs.jpeg8_decode(stream)
        else:
            stream = imagecodecs.jpegls_encode(pixels, level=5)
            raw = imagecodecs.jpegls_decode(stream)
        assert raw.max() > 1023
        film = decode(with_stream(stream, syntax, pixels, 16, BitsStored=10, HighBit=9))
        assert np.array_equal(film.pixels, np.minimum(raw, 1023))

    @pytest.mark.parametrize("name", ["examples_overlay.dcm", "MR-SIEMENS-DICOM-WithOverlays.dcm"])
    def test_real_overlays_in_the_high_bits_are_no_pixels(self, name):
        """The overlay that these files carry beside their pixels, put into bits 12 to 15 as older files have it."""
        dataset = pydicom.dcmread(known(name))
        plain = decode(known(name)).pixels
        words = np.frombuffer(dataset.PixelData, "<u2").reshape(plain.shape)
        overlay = dataset.overlay_array(0x6000).astype(np.uint16)
        assert overlay.any()
        for bit in range(12, 16):
            drawn = words | overlay << bit
            assert np.array_equal(decode(make_dicom(drawn, bits=12)).pixels, plain)
        assert np.array_equal(plain, dataset.pixel_array)


class TestTiles:
    pixels = smooth(8, (60, 80))

    def stream(self) -> bytes:
        """4 x 3 tiles, one tile-part each."""
        out = io.BytesIO()
        Image.fromarray(self.pixels).save(out, "JPEG2000", tile_size=(20, 20), irreversible=False, no_jp2=True)
        return out.getvalue()

    def test_tiles_are_put_together(self):
        """All twelve there."""
        film = decode(with_stream(self.stream(), J2K, self.pixels, 8))
        assert np.array_equal(film.pixels, self.pixels)

    @pytest.mark.parametrize("lost", [0, 5, 11])
    def test_a_stream_without_one_of_its_tiles_is_refused(self, lost):
        """It ends with its end marker, and OpenJPEG would leave a black square."""
        stream = self.stream()
        starts = [at for at in range(len(stream)) if stream[at : at + 4] == b"\xff\x90\x00\x0a"]
        assert len(starts) == 12
        ends = [*starts[1:], len(stream) - 2]
        short = stream[: starts[lost]] + stream[ends[lost] :]
        file = with_stream(short, J2K, self.pixels, 8)
        with pytest.raises(
            TruncatedFileError, match=r"Pixel Data \(7FE0,0010\): the JPEG 2000 data ends early \(11 of 12"
        ):
            decode(file)


GDCM = {
    JPEG_57: "JPEGLosslessProcess14",
    JPEG_70: "JPEGLosslessProcess14_1",
    JLS: "JPEGLSLossless",
    J2K: "JPEG2000Lossless",
    RLE: "RLELossless",
}


@pytest.fixture(scope="module", params=["RG1", "RG3"])
def film(request: pytest.FixtureRequest) -> str:
    """A real CR of 15 or of 10 bits."""
    return str(request.param)


class TestTranscodings:
    @pytest.mark.parametrize("syntax", GDCM)
    def test_gdcms_copies_are_the_original(self, syntax, film, tmp_path):
        """JPEG lossless of both kinds, JPEG-LS, JPEG 2000 and RLE, made from the uncompressed film here."""
        reader = gdcm.ImageReader()
        reader.SetFileName(known(f"{film}_UNCR.dcm"))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, GDCM[syntax])))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        path = tmp_path / "copy.dcm"
        writer.SetFileName(str(path))
        assert writer.Write()
        assert pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
        self.check(path, film)

    @pytest.mark.parametrize("syntax", [RLE, JLS, J2K])
    def test_pydicoms_copies_are_the_original(self, syntax, film, tmp_path):
        """By its own RLE, pyjpegls and pylibjpeg-openjpeg."""
        dataset = pydicom.dcmread(known(f"{film}_UNCR.dcm"))
        dataset.compress(syntax, generate_instance_uid=False)
        path = tmp_path / "copy.dcm"
        dataset.save_as(path)
        self.check(path, film)

    def check(self, path: Path, film: str) -> None:
        one, other = decode(path), decode(known(f"{film}_UNCR.dcm"))
        assert np.array_equal(one.pixels, other.pixels)
        assert one.bits == other.bits
        assert one.values is not None
        assert other.values is not None
        assert (one.values.windows, one.values.invert) == (other.values.windows, other.values.invert)

    @pytest.mark.parametrize(
        ("copy", "plain", "most"),
        [
            ("RG1_J2KR", "RG1_UNCR", 0),
            ("RG3_J2KR", "RG3_UNCR", 0),
            ("RG1_UNCI", "RG1_UNCR", 403),
            ("RG1_J2KI", "RG1_UNCI", 0),
            ("RG3_J2KI", "RG3_UNCI", 0),
        ],
    )
    def test_the_copies_that_come_with_pydicom(self, copy, plain, most):
        """UNCR is the original and J2KR its lossless copy; UNCI is what the lossy J2KI decodes to."""
        one, other = (decode(known(f"{name}.dcm")).pixels.astype(int) for name in (copy, plain))
        assert np.abs(one - other).max() <= most


@pytest.mark.real
@pytest.mark.parametrize("name", ["RG2_JPLL.dcm", "RG2_JLSL.dcm"])
def test_real_films_are_as_others_read_them(name, real_data: Path):
    """JPEG lossless and JPEG-LS of 10 bits: value for value what gdcm and pydicom's other plugins decode."""
    path = real_data / "dicom" / name
    found = decode(path).pixels
    for plugin in ("gdcm", "pyjpegls")[: 1 + ("JLS" in name)]:
        assert np.array_equal(pixel_array(path, raw=True, decoding_plugin=plugin), found), plugin
