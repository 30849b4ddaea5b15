"""Recipes by name: their spelling, what each makes of a film, and how it is undone or applied later."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from dicom_files import make_dicom
from hypothesis import given, settings
from hypothesis import strategies as st

import resload
from resload import decode, intensity, reference
from resload.cli import make_parser
from resload.decode import Lut, Radiograph, Values
from resload.errors import ArgumentError, DecodeError, NotARadiographError
from resload.intensity import RECIPES, Recipe, published, statistics
from resload.pipeline import Known, make


def film(pixels, bits: int = 12, values: Values | None = None) -> Radiograph:
    pixels = np.asarray(pixels)
    return Radiograph(np.atleast_2d(pixels).astype(np.uint8 if bits <= 8 else np.uint16), bits, None, "test", values)


def shown(radiograph: Radiograph, recipe: str, dtype: type = np.uint16, **how: int) -> np.ndarray:
    return intensity.apply(radiograph, dtype=dtype, recipe=recipe, **how).pixels


def ramp(low: int = 100, high: int = 3000, bits: int = 12) -> np.ndarray:
    return np.random.default_rng(bits).integers(low, high, (50, 40), endpoint=True)


# -- spelling --------------------------------------------------------------------------------------------


class TestSpelling:
    @pytest.mark.parametrize(
        ("text", "canonical"),
        [
            ("auto", "auto"),
            (" Display ( voi = 1 , polarity=Presentation)", "display(polarity=presentation, voi=1)"),
            ("display(polarity=photometric, voi=0, prefer=lut)", "display"),
            ("minmax()", "minmax"),
            ("percentile(0.50,99.0)", "percentile(0.5, 99)"),
            ("window(-600,1500.0,function=linear)", "window(-600, 1500)"),
            ("window(0, 0.25, function=sigmoid)", "window(0, 0.25, function=sigmoid)"),
            ("MIMIC-JPG", "mimic-jpg"),
            ("none(colour=reject)", "none(colour=reject)"),
        ],
    )
    def test_one_recipe_has_one_canonical_spelling(self, text, canonical):
        """Spaces, capitals, trailing zeros and options that hold anyway do not make another recipe."""
        assert str(Recipe.parse(text)) == canonical
        assert resload.Pipeline(64, intensity=text).intensity == canonical

    @given(
        name=st.sampled_from(["window", "percentile"]),
        numbers=st.tuples(st.floats(0, 50), st.floats(51, 100)),
        polarity=st.sampled_from(["photometric", "presentation", "keep"]),
    )
    @settings(deadline=None)
    def test_the_canonical_spelling_reads_back_as_the_same_recipe(self, name, numbers, polarity):
        """Any numbers, to the last bit: what a table records is what was done."""
        recipe = Recipe(name, numbers, polarity=polarity)
        assert Recipe.parse(str(recipe)) == recipe

    @pytest.mark.parametrize("recipe", RECIPES)
    def test_the_list_of_recipes_is_canonical(self, recipe):
        """Each of RECIPES is itself a spelling that is taken."""
        assert str(Recipe.parse(recipe)) == recipe

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("bright", "one of auto, display, .*found 'bright'"),
            ("minmax(", "found 'minmax\\('"),
            ("display(1)", "options of display: polarity=photometric|presentation|keep"),
            ("display(voi=-1)", "voi=0, 1"),
            ("display(voi=first)", "voi=0, 1"),
            ("display(voi=1, voi=2)", "found"),
            ("display(polarity=white)", "polarity=photometric"),
            ("raw(polarity=keep)", "options of raw: colour=luma|reject"),
            ("window(1)", "window"),
            ("window(x, 3)", "window"),
            ("percentile(polarity=keep, 1, 99)", "percentile"),
            ("percentile(nan, 3)", "percentile"),
            ("percentile(99, 1)", "0 <= p < q <= 100; found 'percentile\\(99, 1\\)'"),
            ("window(0, 0.5)", "width of a linear window is at least 1"),
            ("window(0, 0, function=linear_exact)", "width of a linear_exact window is above 0"),
            (5, "found 5"),
        ],
    )
    def test_what_is_no_recipe_is_refused_with_those_there_are(self, text, message):
        """With what was found, and the options of a name that is right."""
        with pytest.raises(ArgumentError, match=message):
            resload.Pipeline(64, intensity=text)

    def test_a_recipe_travels_through_json(self, tmp_path):
        """Numbers and options too."""
        pipeline = resload.Pipeline((32, 64), intensity="percentile(0.1, 99.9, polarity=keep)")
        pipeline.save(tmp_path / "recipe.json")
        assert resload.Pipeline.load(tmp_path / "recipe.json") == pipeline

    def test_help_names_every_recipe(self):
        """The command line's word for each of them."""
        (verbs,) = [action for action in make_parser()._actions if action.dest == "verb"]
        (option,) = [action for action in verbs.choices["build"]._actions if "--intensity" in action.option_strings]
        for recipe in RECIPES:
            assert recipe.partition("(")[0] in option.help


# -- display and its options -----------------------------------------------------------------------------


class TestDisplay:
    LUTS = (Lut(0, np.array([0, 1000], np.uint16), 10), Lut(0, np.array([1023, 0], np.uint16), 10))
    WINDOWS = ((1.0, 2.0), (0.5, 4.0))

    def test_the_index_chooses_among_lookup_tables(self):
        """voi=1 is the second item of the VOI LUT Sequence."""
        two = film([0, 1], values=Values(voi_luts=self.LUTS, windows=self.WINDOWS))
        assert shown(two, "display").tolist() == [[0, round(1000 / 1023 * 65535)]]
        assert shown(two, "display(voi=1)").tolist() == [[65535, 0]]

    def test_the_index_chooses_among_windows(self):
        """voi=1 is the second window, where there are no lookup tables or windows are preferred."""
        values = Values(windows=self.WINDOWS, window_function="LINEAR_EXACT")
        second = [[round((x - 0.5) / 4 * 65535 + 65535 / 2) for x in (0, 1)]]
        assert shown(film([0, 1], values=values), "display(voi=1)").tolist() == second
        both = replace(values, voi_luts=self.LUTS)
        assert shown(film([0, 1], values=both), "display(voi=1, prefer=window)").tolist() == second
        alone = Values(voi_luts=self.LUTS)
        assert shown(film([0, 1], values=alone), "display(voi=1, prefer=window)").tolist() == [[65535, 0]]

    @pytest.mark.parametrize("values", [Values(), Values(windows=WINDOWS), Values(voi_luts=LUTS)])
    def test_a_film_that_lacks_the_one_asked_for_is_refused(self, values):
        """Another contrast than was asked for would go unseen; the film is quarantined instead."""
        with pytest.raises(DecodeError, match="no VOI LUT and no window of the index that the recipe names"):
            shown(film([0, 1], values=values), "display(voi=2)")

    @pytest.mark.parametrize(
        ("polarity", "monochrome1", "shape", "turned"),
        [
            ("photometric", True, False, True),
            ("photometric", False, True, False),
            ("presentation", True, False, False),
            ("presentation", False, True, True),
            ("presentation", True, None, True),
            ("presentation", False, None, False),
            ("presentation", True, True, True),
            ("keep", True, True, False),
        ],
    )
    @pytest.mark.parametrize("recipe", ["display", "window(2048, 4096)", "minmax", "percentile(0, 100)"])
    def test_polarity_is_decided_once(self, recipe, polarity, monochrome1, shape, turned):
        """By one element, never by both: Photometric Interpretation and Presentation LUT Shape say the same thing."""
        values = Values(invert=monochrome1, presentation_inverse=shape)
        head = recipe.rstrip(")") + (", " if "(" in recipe else "(")
        found = shown(film([0, 4095], values=values), f"{head}polarity={polarity})")
        assert found.tolist() == ([[65535, 0]] if turned else [[0, 65535]])

    @pytest.mark.parametrize("invert", [False, True])
    @pytest.mark.parametrize("offset", [0, 2048])
    @pytest.mark.parametrize("recipe", ["display", "window(100, 5000)", "minmax", "percentile(5, 95)"])
    def test_padding_is_black_whatever_the_polarity(self, recipe, offset, invert):
        """PS3.3 C.7.5.1.1.2: it is left out of rendering; a range counts both of its ends."""
        pixels = np.array([[9, 10, 15, 20, 21, 3000, 4000]])
        values = Values(offset=offset, invert=invert, padding=(10 - offset, 20 - offset))
        found = shown(film(pixels, values=values), recipe)[0]
        plain = shown(film(pixels, values=replace(values, padding=None)), recipe)[0]
        assert found[1:4].tolist() == [0, 0, 0]
        if recipe in ("display", "window(100, 5000)"):
            assert np.array_equal(found[[0, 4, 5, 6]], plain[[0, 4, 5, 6]])

    def test_a_window_of_the_recipe_takes_the_place_of_the_files(self):
        """In modality values, whatever VOI the film has and whatever its function."""
        values = Values(
            slope=2.0, intercept=-100.0, windows=((5.0, 5.0),), window_function="SIGMOID", voi_luts=self.LUTS
        )
        found = shown(film([0, 50, 100, 150], values=values), "window(0.5, 201)")
        assert found.tolist() == [[0, 32768, 65535, 65535]]
        assert shown(film([0, 2048, 4095]), "window(2048, 4096)").tolist() == [[0, 32776, 65535]]


# -- recipes that measure a film -------------------------------------------------------------------------


class TestMeasured:
    @pytest.mark.parametrize("bits", [8, 10, 12, 16])
    @pytest.mark.parametrize("slope", [1.0, -0.5])
    @pytest.mark.parametrize("invert", [False, True])
    def test_minmax_is_the_films_own_range(self, bits, slope, invert):
        """Of modality values, to one rounding."""
        top = (1 << bits) - 1
        pixels = ramp(top // 9, top // 2, bits)
        found = shown(film(pixels, bits, Values(slope=slope, intercept=3.0, invert=invert)), "minmax")
        modality = pixels * slope + 3.0
        exact = (modality - modality.min()) / (modality.max() - modality.min())
        assert np.abs(found - 65535 * (1 - exact if invert else exact)).max() <= 0.5 + 1e-6

    @given(data=st.data())
    @settings(max_examples=60, deadline=None)
    def test_percentiles_are_numpys(self, data):
        """Of every pixel's modality value, by linear interpolation, from a histogram."""
        low = data.draw(st.floats(0, 60))
        high = data.draw(st.floats(61, 100))
        pixels = np.array(data.draw(st.lists(st.integers(0, 255), min_size=1, max_size=40)), np.uint8)
        slope = data.draw(st.sampled_from([1.0, -3.0, 0.1]))
        found = statistics.percentiles(np.arange(256) * slope, statistics.histogram(pixels), (low, high))
        np.testing.assert_allclose(found, np.percentile(pixels * slope, [low, high]), rtol=1e-12, atol=1e-12)

    def test_percentile_clips_what_lies_outside(self):
        """And stretches what lies inside."""
        pixels = np.arange(1001)
        found = shown(film(pixels), "percentile(10, 90)")[0]
        exact = np.clip((pixels - 100) / 800, 0, 1) * 65535
        assert np.abs(found - exact).max() <= 0.5 + 1e-6

    @pytest.mark.parametrize("recipe", ["minmax", "percentile(0, 100)"])
    @pytest.mark.parametrize("invert", [False, True])
    def test_padding_does_not_count(self, recipe, invert):
        """A frame of padding changes nothing of the film inside it."""
        pixels = ramp()
        values = Values(invert=invert)
        framed = np.full((60, 60), 4095)
        framed[5:55, 10:50] = pixels
        alone = shown(film(pixels, values=values), recipe)
        found = shown(film(framed, values=replace(values, padding=(4095, 4095))), recipe)
        assert np.array_equal(found[5:55, 10:50], alone)
        assert not found[:5].any()

    @pytest.mark.parametrize("recipe", ["minmax", "percentile(1, 99)", "display", "window(2048, 4096)"])
    @pytest.mark.parametrize("invert", [False, True])
    def test_a_film_that_is_all_padding_is_black(self, recipe, invert):
        """Zeros, whatever its polarity."""
        values = Values(invert=invert, padding=(0, 5))
        assert not shown(film([0, 3, 5], values=values), recipe).any()

    @pytest.mark.parametrize("recipe", ["minmax", "percentile(1, 99)", "mimic-jpg"])
    @pytest.mark.parametrize("value", [0, 7, 4095])
    @pytest.mark.parametrize("invert", [False, True])
    def test_a_film_of_one_value_is_black(self, recipe, value, invert):
        """Nothing is divided by zero, and no warning is given."""
        assert not shown(film(np.full(9, value), values=Values(invert=invert)), recipe).any()

    def test_percentiles_that_meet_part_the_film_in_two(self):
        """Where most pixels are equal, those above them are white."""
        pixels = np.array([5] * 98 + [4, 6])
        found = shown(film(pixels), "percentile(10, 90)")[0]
        assert found.tolist() == [0] * 99 + [65535]

    def test_depth_of_the_catalog_counts(self):
        """PadChest: 12 bits in 16-bit PNG. Values above them take the last value, and count as it."""
        pixels = np.array([[1000, 2000, 4095, 60000]], np.uint16)
        pad = Radiograph(pixels, 16, None, "test", None)
        assert shown(pad, "minmax", bits=12).tolist() == [[0, round(1000 / 3095 * 65535), 65535, 65535]]
        assert shown(pad, "percentile(0, 100)", bits=12).tolist() == shown(pad, "minmax", bits=12).tolist()
        assert shown(pad, "raw", bits=12).tolist() == [[16004, 32007, 65535, 65535]]
        assert np.array_equal(shown(pad, "raw", bits=12), shown(pad, "none", bits=12))


class TestRaw:
    @pytest.mark.parametrize("bits", range(1, 17))
    @pytest.mark.parametrize("signed", [False, True])
    def test_scale_and_offset_lead_back_to_every_stored_value(self, bits, signed):
        """All of them, of every depth and sign; nothing else of the film takes part."""
        offset = 1 << (bits - 1) if signed else 0
        values = Values(offset, 2.0, 9.0, None, (), ((1.0, 1.0),), invert=True, padding=(0, 0))
        codes = np.arange(1 << bits)
        pixels, scale, black = intensity.apply(film(codes, bits, values), dtype=np.uint16, recipe="raw")
        assert np.array_equal(np.rint(pixels[0] * scale + black), codes - offset)

    def test_it_keeps_every_bit_or_refuses(self):
        """More than 8 bits do not fit into uint8."""
        assert shown(film([0, 255], 8), "raw", np.uint8).tolist() == [[0, 255]]
        with pytest.raises(DecodeError, match="ask for dtype uint16"):
            shown(film([0, 256], 9), "raw", np.uint8)


# -- as public data sets were made -----------------------------------------------------------------------


def opencv_equalize_hist(gray: np.ndarray) -> np.ndarray:
    """OpenCV's `cv::equalizeHist` (4.x, modules/imgproc/src/histogram.cpp), line by line, one pixel at a time."""
    hist = [0] * 256
    for value in gray.reshape(-1).tolist():
        hist[value] += 1
    i = 0
    while not hist[i]:
        i += 1
    total = gray.size
    if hist[i] == total:
        return np.full_like(gray, i)
    scale = np.float32(np.float32(256 - 1.0) / np.float32(total - hist[i]))
    total_so_far, lut = 0, [0] * 256
    for k in range(i + 1, 256):
        total_so_far += hist[k]
        lut[k] = min(max(round(float(np.float32(total_so_far) * scale)), 0), 255)  # cvRound: halves to even
    return np.array(lut, np.uint8)[gray]


def as_mimic(stored: np.ndarray, monochrome1: bool) -> np.ndarray:
    """The function of MIT-LCP/mimic-cxr#16, with the transcription in place of OpenCV."""
    image = stored - stored.min()
    gray = (image / image.max() * 255).astype(np.uint8)
    return opencv_equalize_hist(~gray if monochrome1 else gray)


def as_chexpert(stored: np.ndarray, monochrome1: bool) -> np.ndarray:
    """The code of stanfordmlgroup/chexpert-labeler#11; cv2.convertScaleAbs in float32, halves to even."""
    scaled = np.abs(stored.astype(np.float32) * np.float32(255.0 / float(stored.max())))
    gray = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return opencv_equalize_hist(~gray if monochrome1 else gray)


class TestPublished:
    @pytest.mark.parametrize("bits", [8, 12, 15])
    @pytest.mark.parametrize("signed", [False, True])
    @pytest.mark.parametrize("monochrome1", [False, True])
    @pytest.mark.parametrize(("recipe", "theirs"), [("mimic-jpg", as_mimic), ("chexpert-jpg", as_chexpert)])
    def test_pixels_are_those_of_the_published_code(self, recipe, theirs, bits, signed, monochrome1):
        """Every pixel, before JPEG compression, of a film with rescaling, windows and padding that the code ignores."""
        offset = 1 << (bits - 1) if signed else 0
        codes = np.random.default_rng(bits).normal(0.6, 0.1, (60, 50)) * (1 << bits)
        codes = np.clip(codes, 1, (1 << bits) - 2).astype(np.int64)
        values = Values(offset, -2.0, 5.0, windows=((3.0, 4.0),), invert=monochrome1, padding=(60, 70))
        found = shown(film(codes, bits, values), recipe, np.uint8)
        assert np.array_equal(found, theirs((codes - offset).astype(np.int32), monochrome1))
        assert np.array_equal(shown(film(codes, bits, values), recipe), found.astype(np.uint16) * 257)

    def test_they_are_two_recipes(self):
        """CheXpert's does not subtract the smallest value: before equalisation the gray levels differ."""
        pixels = film(ramp(2000, 4000))
        assert not np.array_equal(shown(pixels, "mimic-jpg"), shown(pixels, "chexpert-jpg"))

    @given(st.lists(st.integers(0, 255), min_size=1, max_size=200))
    @settings(max_examples=200, deadline=None)
    def test_equalised_is_opencvs_loop(self, gray):
        """For any gray levels."""
        image = np.array(gray, np.uint8)
        assert np.array_equal(published.equalised(statistics.histogram(image))[image], opencv_equalize_hist(image))

    def test_equalised_by_hand(self):
        """4 pixels of 10, 2 of 20, 2 of 30: the first becomes 0, then 255 * 2 / 4 = 127.5, to even, and 255."""
        counts = np.zeros(256, np.int64)
        counts[[10, 20, 30]] = 4, 2, 2
        assert published.equalised(counts)[[0, 10, 19, 20, 29, 30, 255]].tolist() == [0, 0, 0, 128, 128, 255, 255]

    def test_equalised_of_one_level_keeps_it(self):
        """As OpenCV does."""
        assert published.equalised(np.bincount([77] * 5, minlength=256))[77] == 77

    def test_chexpert_of_a_black_film_is_black(self):
        """Where the published code divides by zero."""
        assert not shown(film(np.zeros(9)), "chexpert-jpg").any()

    def test_they_need_no_more_than_8_bits(self, films):
        """dtype "auto" is uint8, for films of any depth."""
        assert resload.Pipeline(32, intensity="mimic-jpg").resolve(films).dtype == "uint8"
        deep = make_dicom(ramp().astype(np.uint16), bits=12)
        assert next(iter(resload.Pipeline(32, intensity="chexpert-jpg")([deep]).images.values())).dtype == torch.uint8


# -- the order of intensity and resampling ---------------------------------------------------------------


class TestOrder:
    PIXELS = np.random.default_rng(5).integers(0, 4096, (64, 64)).astype(np.uint16)
    RECIPE = "window(2048, 1024)"

    def test_intensity_comes_first(self):
        """Window, then resize is ours: the resize of the windowed film. Resize, then window is something else."""
        source = film(self.PIXELS)
        made = make(resload.Pipeline(16, intensity=self.RECIPE, dtype="uint16"), source).levels[0]
        windowed = shown(source, self.RECIPE)
        assert np.abs(made - reference.resample(windowed, 16)).max() <= 0.52
        small = reference.resample(self.PIXELS.astype(np.float64), 16)
        other = np.clip((small - 2047.5) / 1023 + 0.5, 0, 1) * 65535
        assert np.abs(made - other).max() > 1000

    def test_raw_pixels_take_a_window_later(self):
        """The other order: a `raw` cache, and a table that its scale and offset make."""
        values = Values(offset=2048, invert=True)
        made = make(resload.Pipeline(16, intensity="raw", dtype="uint16"), film(self.PIXELS, values=values))
        recipe = "window(0, 1024)"
        table = intensity.pixel_table(recipe, scale=made.scale, offset=made.offset, values=values)
        found = intensity.mapped(table, made.levels[0])
        small = reference.resample(self.PIXELS.astype(np.float64), 16) - 2048
        exact = 255 * (1 - np.clip((small + 0.5) / 1023 + 0.5, 0, 1))
        assert found.dtype == np.uint8
        assert np.abs(found - exact).max() <= 0.52

    @pytest.mark.parametrize("recipe", ["display", "window(40, 3000)", "display(polarity=keep)"])
    def test_the_two_orders_agree_where_nothing_is_resized(self, recipe):
        """At the film's own size, a table over raw pixels is the recipe itself, padding too."""
        values = Values(
            offset=2048, slope=-0.5, intercept=3.0, windows=((9.0, 1999.5),), invert=True, padding=(-50, 60)
        )
        source = film(self.PIXELS, values=values)
        raw = intensity.apply(source, dtype=np.uint16, recipe="raw")
        table = intensity.pixel_table(recipe, scale=raw.scale, offset=raw.offset, values=values, dtype=np.uint16)
        found, own = intensity.mapped(table, raw.pixels), shown(source, recipe)
        assert np.abs(found.astype(int) - own).max() <= 1
        assert np.array_equal(found == 0, own == 0)

    @pytest.mark.parametrize(
        ("recipe", "how", "message"),
        [
            ("minmax", {"scale": 1.0, "offset": 0.0}, "display or window"),
            ("raw", {"scale": 1.0, "offset": 0.0}, "display or window"),
            ("display", {"scale": math.nan, "offset": math.nan}, "intensity='raw'"),
            ("display", {"scale": 1.0, "offset": 0.0, "dtype": np.float32}, "uint8 or uint16"),
        ],
    )
    def test_what_cannot_be_applied_later_is_refused(self, recipe, how, message):
        """Statistics of a film are gone once it is small."""
        with pytest.raises(ArgumentError, match=message):
            intensity.pixel_table(recipe, **how)


class TestMapped:
    @pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
    @pytest.mark.parametrize("source", [np.uint8, np.uint16])
    @pytest.mark.parametrize("target", [np.uint8, np.uint16, np.float32])
    @pytest.mark.parametrize("each", [False, True])
    def test_numpy_and_torch_give_the_same_entries(self, source, target, each, device):
        """Bit for bit, where the pixels are: one table for all images, or one for each; every dtype."""
        generator = np.random.default_rng(0)
        top = np.iinfo(source).max
        pixels = generator.integers(0, top, (3, 1, 40, 30), source, endpoint=True)
        pixels[:, 0, 0, :2] = 0, top
        table = (generator.random((3, top + 1) if each else top + 1) * 65000).astype(target)
        expected = np.stack([table[i][pixels[i]] if each else table[pixels[i]] for i in range(3)])
        found = intensity.mapped(table, pixels)
        assert found.dtype == target
        assert np.array_equal(found, expected)
        tensor = intensity.mapped(table, torch.from_numpy(pixels).to(device))
        assert tensor.device.type == device
        assert np.array_equal(tensor.cpu().numpy(), expected)
        assert np.array_equal(intensity.mapped(torch.from_numpy(table), torch.from_numpy(pixels)).numpy(), expected)

    def test_a_torch_table_serves_numpy_pixels(self):
        """The answer is where the pixels are."""
        found = intensity.mapped(torch.arange(255, -1, -1, dtype=torch.uint8), np.array([[0, 200]], np.uint8))
        assert found.tolist() == [[255, 55]]

    @pytest.mark.parametrize(
        ("table", "pixels", "message"),
        [
            (np.zeros(256), np.zeros((2, 2), np.uint16), "\\(65536,\\)"),
            (np.zeros((3, 256)), np.zeros((2, 2), np.uint8), "\\(B, 256\\) for B images"),
            (np.zeros(256), np.zeros((2, 2), np.float32), "uint8 or uint16; found float32"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, table, pixels, message):
        """For arrays and tensors."""
        with pytest.raises(ArgumentError, match=message):
            intensity.mapped(table, pixels)
        with pytest.raises(ArgumentError, match=message):
            intensity.mapped(table, torch.from_numpy(pixels))


# -- in pipelines and caches -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Six DICOM films of one kind each, and a 16-bit PNG that holds 12 bits."""
    import imagecodecs
    import pandas as pd

    root = tmp_path_factory.mktemp("mixed")
    kinds = [
        {},
        {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 1500, "WindowWidth": 2000},
        {"WindowCenter": [1500, 900], "WindowWidth": [2000, 300], "VOILUTFunction": "SIGMOID"},
        {"RescaleSlope": -2, "RescaleIntercept": 10},
        {"PixelPaddingValue": 100, "PresentationLUTShape": "INVERSE"},
        {"signed": True},
    ]
    for number, tags in enumerate(kinds):
        pixels = np.random.default_rng(number).integers(100, 3000, (70, 60)).astype(np.uint16)
        if tags.pop("signed", False):
            pixels = pixels.astype(np.int16) - 2000
        (root / f"{number}.dcm").write_bytes(make_dicom(pixels, bits=12, **tags))
    deep = np.random.default_rng(9).integers(0, 4096, (70, 60)).astype(np.uint16)
    (root / "png.png").write_bytes(imagecodecs.png_encode(deep))
    names = [f"{number}.dcm" for number in range(len(kinds))] + ["png.png"]
    table = pd.DataFrame({"id": [name[:3] for name in names], "path": names, "bits": 12})
    return resload.Catalog(table, root=root)


BUILT = (*RECIPES, "percentile(0.5, 99.5, polarity=keep)", "display(polarity=presentation, prefer=window)")


@pytest.mark.parametrize("recipe", BUILT)
def test_every_recipe_is_proved_from_what_the_cache_records(mixed, tmp_path, recipe):
    """`verify(sources=)` makes every film again from the recorded string, to the contract of the resize."""
    cache = resload.build(mixed, tmp_path / "x.zarr", (24, 40), intensity=recipe, progress=False)
    assert cache.pipeline.intensity == str(Recipe.parse(recipe))
    rows = cache.table.set_index("id")["intensity"]
    if recipe == "auto":
        assert rows["0.d"] == "display"
        assert rows["png"] == "none"
    else:
        assert (rows == recipe).all()
    report = resload.verify(cache, sources=100, catalog=mixed, progress=False)
    assert report.problems == ()
    assert report.sources == 7


def test_a_recipe_that_was_recorded_wrongly_is_found(mixed, tmp_path, monkeypatch):
    """The proof above can fail: pixels of another percentile are not the recorded one's."""
    real = Recipe.parse("percentile(1, 99)")
    cache = resload.build(mixed, tmp_path / "x.zarr", (24,), intensity=str(real), progress=False)
    from resload.store import proof

    apply = proof.intensity.apply
    monkeypatch.setattr(
        proof.intensity, "apply", lambda film, *, recipe, **how: apply(film, recipe="percentile(2, 98)", **how)
    )
    assert resload.verify(cache, sources=100, catalog=mixed, progress=False).problems != ()


def test_a_raw_cache_is_undone_by_what_its_loader_hands_out(mixed, tmp_path):
    """`columns=("scale", "offset", "bits")`: pixels of the native size are the stored values of every film again."""
    cache = resload.build(mixed, tmp_path / "x.zarr", ("native",), intensity="raw", progress=False)
    loader = resload.Loader(cache, size="native", batch_size=3, dtype=torch.uint16, columns=("scale", "offset", "bits"))
    seen = 0
    for batch in loader:
        scale, offset = (np.array(batch.columns[name]) for name in ("scale", "offset"))
        assert batch.columns["bits"] == [12] * len(batch.ids)
        for i, name in enumerate(batch.ids):
            path = mixed.path(mixed.table["id"].tolist().index(name))
            source = decode.decode(path)
            stored = source.pixels.astype(int) - (source.values.offset if source.values else 0)
            assert np.array_equal(np.rint(batch.images[i, 0].numpy() * scale[i] + offset[i]), stored)
            seen += 1
    assert seen == 7


def test_a_window_over_the_batches_of_a_raw_cache(mixed, tmp_path):
    """Tables for a batch, one for each film, applied where the batch is."""
    cache = resload.build(mixed, tmp_path / "x.zarr", (24,), intensity="raw", progress=False)
    loader = resload.Loader(cache, size=24, batch_size=7, dtype=torch.uint16, columns=("scale", "offset"))
    (batch,) = loader
    pairs = zip(batch.columns["scale"], batch.columns["offset"], strict=True)
    tables = np.stack([intensity.pixel_table("window(1000, 500)", scale=s, offset=o) for s, o in pairs])
    found = intensity.mapped(tables, batch.images)
    assert found.shape == batch.images.shape
    assert found.dtype == torch.uint8
    assert all(
        np.array_equal(found[i], intensity.mapped(tables[i], batch.images[i].numpy())) for i in range(len(tables))
    )


def test_films_that_lack_the_window_asked_for_are_quarantined(mixed, tmp_path):
    """With the reason; the one that has it is served."""
    cache = resload.build(mixed, tmp_path / "x.zarr", (24,), intensity="display(voi=1)", progress=False)
    assert len(cache.rows()) == 2  # two windows, and the PNG, which has no meaning to choose
    assert cache.quarantine["reason"].str.contains("no window of the index that the recipe names").all()


def test_another_recipe_is_not_mixed_in(mixed, tmp_path):
    """The same recipe in another spelling is the same one; other numbers are refused."""
    resload.build(mixed, tmp_path / "x.zarr", (24,), intensity="percentile(1, 99)", progress=False)
    resload.build(mixed, tmp_path / "x.zarr", (24, 32), intensity="Percentile(1.0,99)", progress=False)
    with pytest.raises(resload.errors.CacheMismatchError, match="built with intensity='percentile\\(1, 99\\)'"):
        resload.build(mixed, tmp_path / "x.zarr", (24,), intensity="percentile(2, 98)", progress=False)


def test_a_cache_without_offsets_still_opens(mixed, tmp_path):
    """A cache of an earlier resload lacks the column: 0 where a scale is known, and the cache can be extended."""
    from resload.store import layout, tables
    from resload.store.publish import publish

    half = mixed.select(np.arange(4))
    path = tmp_path / "x.zarr"
    resload.build(half, path, (24,), progress=False)
    manifest = layout.read_manifest(path)
    table, kept = tables.read_samples(path, manifest, levels=True)
    table["scale"] = table["scale"].where(table["offset"] == 0)  # it knew no others
    publish(path, manifest, manifest, {layout.SAMPLES: tables.as_parquet(table.drop(columns="offset"), kept)})
    old = resload.open_cache(path)
    known = old.table["scale"].notna()
    assert (old.table["offset"][known] == 0).all()
    assert old.table["offset"][~known].isna().all()
    assert list(old.table).index("offset") == list(old.table).index("scale") + 1
    grown = resload.build(mixed, path, (24, 32), progress=False)
    assert len(grown.rows()) == 7
    assert resload.verify(grown, sources=9, catalog=mixed, progress=False).ok


def test_colour_is_refused_where_the_recipe_says_so(tmp_path):
    """`colour=reject`: a photograph is no radiograph; the default is its luma."""
    import imagecodecs

    photo = imagecodecs.png_encode(np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8))
    assert make(resload.Pipeline(16, dtype="uint8"), photo).intensity == "none"
    with pytest.raises(NotARadiographError):
        make(resload.Pipeline(16, intensity="auto(colour=reject)", dtype="uint8"), photo)


def test_statistics_are_of_the_whole_film(tmp_path):
    """A bright spot that no small level shows still sets the range, and what the catalog knows of depth counts."""
    pixels = np.full((200, 200), 1000, np.uint16)
    pixels[7, 9], pixels[0, 0] = 4000, 0
    made = make(resload.Pipeline(4, intensity="minmax", dtype="uint16"), film(pixels), Known(bits=12))
    assert np.abs(made.levels[0].astype(int) - 65535 // 4).max() < 60
    assert made.scale == pytest.approx(4000 / 65535)


def test_deep_films_join_a_cache_of_eight_bit_pixels(mixed, tmp_path):
    """A recipe that makes 256 levels loses nothing in uint8: films of 12 bits are appended, and repaired, there."""
    root = tmp_path / "films"
    root.mkdir()
    for path in mixed.table["path"]:
        (root / path).write_bytes((mixed.root / path).read_bytes())
    catalog = resload.Catalog(mixed.table, root=root)
    whole = (root / "5.dcm").read_bytes()
    (root / "5.dcm").write_bytes(whole[:300])
    resload.build(catalog.select(np.arange(3)), tmp_path / "x.zarr", (24,), intensity="mimic-jpg", progress=False)
    cache = resload.build(catalog, tmp_path / "x.zarr", (24,), intensity="mimic-jpg", progress=False)
    assert cache.dtype == np.uint8
    assert len(cache.rows()) == 6
    (root / "5.dcm").write_bytes(whole)
    assert resload.repair(cache, catalog, progress=False).ok
    assert len(resload.open_cache(cache.path).rows()) == 7
