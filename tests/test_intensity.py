"""Tables of intensity against the standard's own sentences, exact arithmetic, and pydicom."""

import math
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import make_dicom
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing

from resload import intensity
from resload.decode import Lut, Radiograph, Values, decode
from resload.errors import ArgumentError

DTYPES = (np.uint8, np.uint16)
DEFAULT = Values()


def film(bits: int = 12, values: Values | None = DEFAULT, pixels: np.ndarray | None = None) -> Radiograph:
    """Every code there is, in one row."""
    if pixels is None:
        pixels = np.arange(1 << bits, dtype=np.uint8 if bits <= 8 else np.uint16)[None]
    return Radiograph(pixels, bits, None, "test", values)


def shown(values: Values, bits: int = 12, dtype: type = np.uint16) -> np.ndarray:
    """What each stored value of a film becomes, in order of code."""
    return intensity.apply(film(bits, values), dtype=dtype)[0][0].astype(np.int64)


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


class TestNone:
    @pytest.mark.parametrize("dtype", DTYPES)
    @given(bits=st.integers(1, 16))
    @settings(max_examples=16, deadline=None)
    def test_full_scale_goes_to_full_scale_rounded_half_up(self, dtype, bits):
        """Every code of every depth, against exact fractions."""
        top, full = np.iinfo(dtype).max, (1 << bits) - 1
        found, scale, offset = intensity.apply(film(bits, None), dtype=dtype)
        step = max(1, full // 997)
        for code in [*range(0, full + 1, step), full]:
            assert found[0, code] == half_up(Fraction(code * top, full))
        assert (scale, offset) == (full / top, 0)
        assert found.dtype == dtype

    @pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
    def test_nothing_to_do_costs_nothing(self, bits, dtype):
        """No table, and the very same array."""
        radiograph = film(bits, None)
        assert intensity.table(radiograph, dtype=dtype) is None
        assert intensity.apply(radiograph, dtype=dtype) == (radiograph.pixels, 1.0, 0.0)
        assert intensity.apply(radiograph, dtype=dtype)[0] is radiograph.pixels

    def test_tables_have_one_entry_for_each_code(self):
        """256 or 65,536, of the dtype asked for."""
        for bits, size in ((8, 256), (5, 256), (9, 65536), (16, 65536)):
            for dtype in DTYPES:
                found = intensity.table(film(bits, None), dtype=dtype)
                assert found is None or (found.shape, found.dtype) == ((size,), dtype)

    def test_bits_of_the_caller_go_before_the_files(self):
        """PadChest: 12 bits in a 16-bit PNG; what is above them is white."""
        pixels = np.array([[0, 1, 4094, 4095, 4096, 65535]], np.uint16)
        found, scale, _ = intensity.apply(film(16, None, pixels), dtype=np.uint16, bits=12)
        assert found.tolist() == [[0, 16, 65519, 65535, 65535, 65535]]
        assert scale == 4095 / 65535

    @given(bits=st.integers(9, 16))
    @settings(max_examples=8, deadline=None)
    def test_scale_undoes_it(self, bits):
        """In 16 bits, pixel * scale rounds to the code it came from."""
        found, scale, _ = intensity.apply(film(bits, None), dtype=np.uint16)
        assert np.array_equal(np.rint(found[0] * scale), np.arange(1 << bits))

    def test_dicom_codes_as_they_are(self):
        """`none` over DICOM: no window, no inversion."""
        values = Values(windows=((100.0, 50.0),), invert=True)
        found, scale, _ = intensity.apply(film(8, values), dtype=np.uint8, recipe="none")
        assert found.tolist() == [list(range(256))]
        assert scale == 1.0


class TestDisplay:
    @given(
        center=st.integers(-100, 300), width=st.integers(1, 400), function=st.sampled_from(["LINEAR", "LINEAR_EXACT"])
    )
    @settings(max_examples=60, deadline=None)
    def test_windows_are_the_standards_pseudocode(self, center, width, function):
        """PS3.3 C.11.2.1.2.1 and C.11.2.1.3.2, in exact fractions, for every 8-bit value."""
        found = shown(Values(windows=((float(center), float(width)),), window_function=function), 8)
        middle = Fraction(center) - (Fraction(1, 2) if function == "LINEAR" else 0)
        span = width - (1 if function == "LINEAR" else 0)
        for x in range(256):
            if x <= middle - Fraction(span, 2):
                expected = 0
            elif x > middle + Fraction(span, 2):
                expected = 65535
            else:
                expected = half_up(((x - middle) / span + Fraction(1, 2)) * 65535)
            assert abs(found[x] - expected) <= (0 if expected in (0, 65535) else 1), x

    def test_a_sigmoid(self):
        """PS3.3 C.11.2.1.3.1: 1 / (1 + exp(-4 (x - c) / w))."""
        found = shown(Values(windows=((128.0, 64.0),), window_function="SIGMOID"), 8)
        for x in (0, 100, 128, 140, 255):
            assert abs(found[x] - 65535 / (1 + math.exp(-4 * (x - 128) / 64))) <= 0.5

    @given(slope=st.sampled_from([1.0, -1.0, 0.5, -10 / 3000, 3.7]), intercept=st.sampled_from([0.0, -1024.0, 12.5]))
    @settings(deadline=None)
    def test_without_window_the_full_stored_range_is_shown(self, slope, intercept):
        """Rescale alone changes nothing but, when negative, the direction."""
        found = shown(Values(slope=slope, intercept=intercept))
        plain = shown(Values())
        assert np.abs(found - (plain if slope > 0 else 65535 - plain)).max() <= (slope not in (1.0, -1.0))

    def test_the_window_is_in_modality_values(self):
        """Rescale first, window second."""
        window = {"windows": ((0.0, 1000.0),), "window_function": "LINEAR_EXACT"}
        found = shown(Values(slope=2.0, intercept=-1000.0, **window))
        assert found[250] == 0 < found[251]
        assert found[749] < found[750] == 65535
        assert found[500] == 32768

    @given(bits=st.sampled_from([8, 10, 12, 16]), windowed=st.booleans())
    @settings(max_examples=8, deadline=None)
    def test_monochrome1_is_turned_round_once_against_the_nominal_range(self, bits, windowed):
        """White minus what MONOCHROME2 would show; not the data's own maximum."""
        windows = ((300.0, 200.0),) if windowed else ()
        pixels = np.array([[3, 5]], np.uint8 if bits <= 8 else np.uint16)
        one, other = (
            intensity.apply(film(bits, Values(windows=windows, invert=invert), pixels), dtype=np.uint16)[0]
            for invert in (False, True)
        )
        assert np.abs(one.astype(int) + other - 65535).max() <= 1

    def test_signed_values(self):
        """Codes are stored values plus an offset, and the window is in stored values."""
        found = shown(Values(offset=2048, windows=((0.0, 2.0),), window_function="LINEAR_EXACT"))
        assert found[2047] == 0
        assert found[2048] == 32768
        assert found[2049] == 65535

    @given(
        first=st.integers(-50, 300),
        entries=st.lists(st.integers(0, 1023), min_size=1, max_size=60),
        offset=st.sampled_from([0, 128]),
    )
    @settings(max_examples=40, deadline=None)
    def test_lookup_tables_clamp_at_both_ends(self, first, entries, offset):
        """The first entry below, the last above, in between by position; full scale is that of its bits."""
        lut = Lut(first, np.array(entries, np.uint16), 10)
        found = shown(Values(offset=offset, voi_luts=(lut,), windows=((1.0, 1.0),)), 8)
        for code in range(256):
            place = min(max(code - offset - first, 0), len(entries) - 1)
            assert found[code] == half_up(Fraction(entries[place] * 65535, 1023))

    def test_a_modality_lut_takes_the_place_of_rescale(self):
        """And without VOI its nominal range is shown."""
        lut = Lut(0, np.arange(256, dtype=np.uint16) * 4, 12)
        found = shown(Values(slope=9.0, intercept=9.0, modality_lut=lut), 8)
        assert found.tolist() == [half_up(Fraction(code * 4 * 65535, 4095)) for code in range(256)]

    def test_auto_is_display_for_dicom_and_none_for_the_rest(self):
        """Resolved for each film, and recorded by name."""
        assert intensity.resolve("auto", film(8, None)) == "none"
        assert intensity.resolve("auto", film(8, Values())) == "display"
        assert [intensity.resolve(name, film(8)) for name in ("display", "none")] == ["display", "none"]
        assert intensity.apply(film(8, None), dtype=np.uint8, recipe="display")[0].tolist() == [list(range(256))]

    @pytest.mark.parametrize(
        "values",
        [
            Values(windows=((9.0, 9.0),)),
            Values(padding=(0, 0)),
            Values(voi_luts=(Lut(0, np.arange(3, dtype=np.uint16), 8),)),
            Values(modality_lut=Lut(0, np.arange(3, dtype=np.uint16), 8)),
        ],
    )
    def test_a_map_that_is_no_scaling_has_no_scale(self, values):
        """nan says that no factor and offset can undo it."""
        assert np.isnan(intensity.apply(film(12, values), dtype=np.uint16)[1:]).all()
        assert intensity.apply(film(12, Values()), dtype=np.uint16)[1:] == (4095 / 65535, 0)

    @pytest.mark.parametrize("slope", [1.0, -0.3])
    @pytest.mark.parametrize("invert", [False, True])
    @pytest.mark.parametrize("offset", [0, 2048])
    @pytest.mark.parametrize("recipe", ["display", "minmax"])
    def test_a_map_that_is_a_scaling_is_undone_by_it(self, recipe, slope, invert, offset):
        """Signed values, negative slopes and MONOCHROME1 too: pixel * scale + offset rounds to the stored value."""
        values = Values(offset=offset, slope=slope, intercept=7.0, invert=invert)
        pixels = np.arange(100, 3000, dtype=np.uint16)[None]
        found, scale, black = intensity.apply(film(12, values, pixels), dtype=np.uint16, recipe=recipe)
        assert np.array_equal(np.rint(found * scale + black), pixels.astype(int) - offset)

    @given(
        slope=st.floats(allow_nan=False, allow_infinity=False),
        intercept=st.floats(allow_nan=False, allow_infinity=False),
        windows=st.lists(
            st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(1e-300, 1e300)), max_size=1
        ),
        function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    )
    @settings(deadline=None)
    def test_absurd_numbers_warn_of_nothing(self, slope, intercept, windows, function):
        """Any finite slope and window makes some table, quietly, in thread or loop."""
        values = Values(slope=slope, intercept=intercept, windows=tuple(windows), window_function=function)
        shown(values, 8)
        for recipe in ("minmax", "percentile(1, 99)", "window(0, 1e300, function=linear_exact)"):
            intensity.apply(film(8, values), dtype=np.uint16, recipe=recipe)


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"dtype": np.float32}, "uint8 or uint16"),
            ({"dtype": np.uint8, "recipe": "pretty"}, "auto, display, .*none"),
            ({"dtype": np.uint8, "bits": 0}, "1 to 16"),
            ({"dtype": np.uint8, "bits": 17}, "1 to 16"),
        ],
    )
    def test_wrong_arguments_are_refused(self, options, message):
        """By name, with what was expected."""
        for step in (intensity.apply, intensity.table):
            with pytest.raises(ArgumentError, match=message):
                step(film(), **options)


def known(name: str) -> str:
    """A file that ships with pydicom-data."""
    path = get_testdata_file(name, download=False)
    assert path is not None, f"{name} is missing: install pydicom-data"
    return str(path)


class TestKnownFiles:
    @pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG3_UNCR.dcm", "MR_small.dcm", "CT_small.dcm"])
    def test_windows_agree_with_pydicom(self, name):
        """Real CR (MONOCHROME1), MR and CT: pydicom's windowing, turned round where it must be."""
        dataset = pydicom.dcmread(known(name))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            modality = apply_modality_lut(dataset.pixel_array, dataset)
            if "WindowCenter" not in dataset:
                dataset.WindowCenter, dataset.WindowWidth = 600, 1600
            expected = apply_windowing(modality, dataset).astype(np.float64)
        radiograph = decode(known(name))
        assert radiograph.values is not None
        values = Values(
            offset=radiograph.values.offset,
            slope=radiograph.values.slope,
            intercept=radiograph.values.intercept,
            windows=((float(dataset.WindowCenter), float(dataset.WindowWidth)),),
            invert=radiograph.values.invert,
        )
        found = intensity.apply(Radiograph(radiograph.pixels, radiograph.bits, None, "test", values), dtype=np.uint16)[
            0
        ]
        low, high = _windowing_range(dataset)
        fraction = (expected - low) / (high - low)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            fraction = 1 - fraction
        assert np.abs(found - fraction * 65535).max() <= 0.51

    def test_a_voi_lut_agrees_with_pydicom(self):
        """vlut_04: 256 entries of 16 bits."""
        dataset = pydicom.dcmread(known("vlut_04.dcm"))
        expected = apply_voi_lut(dataset.pixel_array, dataset)
        assert np.array_equal(intensity.apply(decode(known("vlut_04.dcm")), dtype=np.uint16)[0], expected)

    def test_a_modality_lut_agrees_with_pydicom(self):
        """mlut_18: 4,096 entries of 16 bits from -2048 on, signed data."""
        dataset = pydicom.dcmread(known("mlut_18.dcm"))
        expected = apply_modality_lut(dataset.pixel_array, dataset)
        assert np.array_equal(intensity.apply(decode(known("mlut_18.dcm")), dtype=np.uint16)[0], expected)


def _windowing_range(dataset: pydicom.Dataset) -> tuple[float, float]:
    """pydicom scales a window to the range of the modality values."""
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    bits, signed = dataset.BitsStored, dataset.PixelRepresentation
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if "RescaleSlope" in dataset:
        low, high = low * slope + intercept, high * slope + intercept
    return low, high


def test_a_file_to_pixels():
    """From a MONOCHROME1 DICOM file to 8 bits: 0 is white, the last stored value black."""
    pixels = np.array([[0, 511, 1023]], np.uint16)
    file = make_dicom(pixels, bits=10, PhotometricInterpretation="MONOCHROME1")
    assert intensity.apply(decode(file), dtype=np.uint8)[0].tolist() == [[255, 128, 0]]


@pytest.mark.real
def test_real_monochrome1_mirrors_its_twin(real_data: Path):
    """The SIIM film and its copy labelled MONOCHROME1 add up to white."""
    plain = intensity.apply(decode(next((real_data / "dicom").glob("siim_*.dcm"))), dtype=np.uint8)[0]
    other = intensity.apply(decode(real_data / "dicom" / "Fake_MONOHR1.dcm"), dtype=np.uint8)[0]
    assert np.array_equal(255 - plain, other)
