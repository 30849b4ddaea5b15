"""Images in colour: palettes, and the policy that refuses colour."""

import io
import warnings

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_files import BIG, EXPLICIT, J2K, NATIVE, RLE, known, make_dicom, smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import apply_color_lut

from resload.decode import decode, read_header
from resload.errors import ArgumentError, DecodeError, NotARadiographError

COLOURS = ("Red", "Green", "Blue")


def luma(colours: np.ndarray) -> np.ndarray:
    """BT.601 in whole numbers, the plain definition."""
    return (colours.astype(np.int64) @ (19595, 38470, 7471) + 32768) >> 16


def palette_tags(table: np.ndarray, bits: int, first: int = 0, syntax: str = EXPLICIT, packed: bool = False) -> dict:
    """Elements of a palette: `table` is (n, 3)."""
    tags: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, column in zip(COLOURS, table.T, strict=True):
        words = column.astype(np.uint16)
        if packed:
            words = np.frombuffer(column.astype(np.uint8).tobytes() + b"\0" * (len(column) % 2), "<u2")
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [len(column) & 0xFFFF, first, bits]
        tags[f"{name}PaletteColorLookupTableData"] = words.astype(">u2" if syntax == BIG else "<u2").tobytes()
    return tags


class TestPalettes:
    @pytest.mark.parametrize("syntax", [*NATIVE, RLE, J2K])
    @pytest.mark.parametrize(("bits", "packed"), [(8, True), (8, False), (16, False)])
    @given(number=st.integers(2, 300), first=st.integers(0, 50), seed=st.integers(0, 99))
    @settings(max_examples=8, deadline=None)
    def test_colours_become_luma(self, syntax, bits, packed, number, first, seed):
        """Entries of 8 and 16 bits, packed or in words; indices outside take the first or last colour."""
        rng = np.random.default_rng(seed)
        table = rng.integers(0, 1 << bits, (number, 3))
        indices = rng.integers(0, 400, (9, 7)).astype(np.uint16)
        file = make_dicom(indices, syntax, bits=16, **palette_tags(table, bits, first, syntax, packed))
        film, header = decode(file), read_header(file)
        expected = luma(table)[np.clip(indices.astype(int) - first, 0, number - 1)]
        assert np.array_equal(film.pixels, expected)
        assert film.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
        assert (film.bits, film.values) == (header.bits, None) == (bits, None)
        assert header.photometric == "PALETTE COLOR"

    def test_signed_indices(self):
        """The first colour may belong to a negative index."""
        indices = np.arange(-4, 4, dtype=np.int16).reshape(2, 4)
        table = np.repeat(np.arange(8)[:, None] * 10, 3, axis=1)
        tags = palette_tags(table, 8, packed=True)
        for name in COLOURS:
            tags[f"{name}PaletteColorLookupTableDescriptor"] = [8, -4, 8]
        assert decode(make_dicom(indices, bits=16, **tags)).pixels.tolist() == [[0, 10, 20, 30], [40, 50, 60, 70]]

    @pytest.mark.parametrize("name", ["examples_palette.dcm", "OBXXXX1A.dcm", "OBXXXX1A_rle.dcm", "OT-PAL-8-face.dcm"])
    def test_real_palettes_are_pydicoms(self, name):
        """Ultrasound and a face, of 256 and 200 colours of 16 bits."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(known(name), force=True)
            if "TransferSyntaxUID" not in getattr(dataset, "file_meta", {}):
                dataset.file_meta = pydicom.dataset.FileMetaDataset()
                dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
            expected = luma(apply_color_lut(dataset.pixel_array, dataset))
        assert np.array_equal(decode(known(name)).pixels, expected)

    def test_palettes_in_big_endian(self):
        """The words of the tables are swapped too, which pydicom 3.0 leaves out."""
        assert np.array_equal(decode(known("OBXXXX1A_expb.dcm")).pixels, decode(known("OBXXXX1A.dcm")).pixels)

    @pytest.mark.parametrize("name", ["gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"])
    def test_segmented_palettes_are_refused_by_name(self, name):
        """Lines between points: a language of their own, which no radiograph speaks."""
        with pytest.raises(
            NotARadiographError, match=r"Segmented Red Palette Color Lookup Table Data \(0028,1221\) is not read"
        ):
            decode(known(name))

    @pytest.mark.parametrize("colour", COLOURS)
    def test_missing_and_unequal_tables_are_refused(self, colour):
        """All three, of one length."""
        tags = palette_tags(np.zeros((4, 3), int), 8)
        for part in ("Descriptor", "Data"):
            missing = {name: value for name, value in tags.items() if name != f"{colour}PaletteColorLookupTable{part}"}
            with pytest.raises(DecodeError, match=rf"{colour} Palette Color Lookup Table {part} .* is missing"):
                decode(make_dicom(smooth(), bits=12, **missing))
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [3, 0, 8]
        with pytest.raises(
            DecodeError, match=r"Red Palette Color Lookup Table Descriptor \(0028,1101\) is not that of"
        ):
            decode(make_dicom(smooth(), bits=12, **tags))


class TestPolicy:
    rgb = np.dstack([smooth(8), smooth(8)[::-1], smooth(8)])

    @pytest.mark.parametrize(
        "file",
        [
            make_dicom(rgb),
            make_dicom(rgb, J2K),
            make_dicom(np.dstack([smooth(8)] * 3)),  # gray, stored as colour
            make_dicom(smooth(8), **palette_tags(np.zeros((256, 3), int), 8)),
        ],
    )
    def test_reject(self, file):
        """By what the header says, which is named."""
        decode(file)
        with pytest.raises(NotARadiographError, match=r"in colour by Photometric Interpretation \(0028,0004\)"):
            decode(file, colour="reject")

    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    def test_gray_passes(self, photometric):
        """Either polarity."""
        file = make_dicom(smooth(), bits=12, PhotometricInterpretation=photometric)
        assert np.array_equal(decode(file, colour="reject").pixels, decode(file).pixels)

    @pytest.mark.parametrize("encode", [imagecodecs.png_encode, imagecodecs.jpeg8_encode, imagecodecs.tiff_encode])
    def test_other_formats(self, encode):
        """The policy holds for all of them."""
        for pixels in (smooth(8), self.rgb):
            file = encode(pixels)
            decode(file)
            if pixels.ndim == 2:
                decode(file, colour="reject")
            else:
                with pytest.raises(NotARadiographError, match="in colour by its kind of picture"):
                    decode(file, colour="reject")

    def test_another_word_is_refused(self):
        """Before the file is looked at."""
        with pytest.raises(ArgumentError, match="colour is one of luma, reject; found 'gray'"):
            decode(b"", colour="gray")

    def test_header_and_pixels_agree_about_bits(self):
        """Colour of 16 bits too."""
        deep = (self.rgb.astype(np.uint16) << 4) + 7
        for syntax in (EXPLICIT, RLE, J2K):
            file = make_dicom(deep, syntax, bits=12)
            assert decode(file).bits == read_header(file).bits == 12
            assert np.array_equal(decode(file).pixels, luma(deep))

    def test_bits_that_do_not_count_are_ignored_in_colour(self):
        """As in gray."""
        deep = self.rgb.astype(np.uint16) << 4
        dirty = deep | 0xF000
        assert np.array_equal(decode(make_dicom(dirty, bits=12)).pixels, luma(deep))

    def test_a_colour_space_that_is_not_read_is_named(self):
        """With the element that says it."""
        dataset = pydicom.dcmread(io.BytesIO(make_dicom(self.rgb)))
        dataset.PhotometricInterpretation = "YBR_PARTIAL_420"
        out = io.BytesIO()
        dataset.save_as(out)
        with pytest.raises(
            NotARadiographError, match=r"Photometric Interpretation \(0028,0004\) is a colour space that"
        ):
            decode(out.getvalue())
