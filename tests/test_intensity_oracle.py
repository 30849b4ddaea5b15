"""From DICOM files to pixels, against two oracles that share no code with resload: highdicom, and exact fractions.

Every file goes the whole way: bytes -> `decode.decode` -> `intensity.apply`. highdicom's full pipeline (modality, VOI,
presentation; float64) judges what it defines. Where it does not, or departs from the standard, the standard's own
sentences judge, in exact arithmetic:

    padding                       it does not look at Pixel Padding Value
    a LINEAR window over a slope  it scales the width by the slope before the standard's "minus 1" (C.11.2.1.2.1)
    LINEAR of width 1             it divides by zero
    a VOI LUT over a slope        it takes every n-th entry, which clamps elsewhere, and refuses fractions
    tables of 9 to 15 bits        it refuses
    a table short of its range    it stretches, and turns round, the entries there are, not their nominal range
    a table for signed 8 bits     it indexes in 8 bits, which wrap round
    a VOI LUT over a Modality LUT it leaves the entries unscaled and unturned

Stored values for highdicom are decoded by pydicom, which is so the oracle of that step.
"""

import functools
import io
import itertools
import math
import warnings
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_files import make_dicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_presentation_lut, apply_voi, apply_voi_lut
from pydicom.sequence import Sequence

import resload
from resload import intensity
from resload.decode import decode

DX, MG = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.2"
PIXELS = 24


def ours(data: Any, recipe: str = "display") -> np.ndarray:
    """A file's pixels by resload, 0 to 65,535."""
    return intensity.apply(decode(data), dtype=np.uint16, recipe=recipe).pixels.astype(np.float64)


def highdicoms(dataset: Dataset, *, voi: int = 0) -> np.ndarray:
    """A file's display values by highdicom; [0, 1], but in modality values where the film has no VOI."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it remarks on files that lack attributes no pixel depends on
        _ = dataset.pixel_array  # kept by the dataset; by itself highdicom takes Bits Allocated for Bits Stored
        image = hd.Image.from_dataset(dataset, copy=False)
        return image.get_frame(
            1,
            apply_modality_transform=None,
            apply_voi_transform=None,
            voi_transform_selector=voi,
            apply_presentation_lut=True,
            voi_output_range=(0.0, 1.0),
        )


# -- real files ------------------------------------------------------------------------------------------


def shipped(name: str) -> str:
    path = get_testdata_file(name, download=False)
    assert path is not None, f"{name} is missing: install pydicom-data"
    return str(path)


@pytest.mark.parametrize("film", ["RG1", "RG3"])
@pytest.mark.parametrize("encoding", ["UNCR", "UNCI", "J2KR", "J2KI"])
def test_computed_radiographs_in_all_encodings(film, encoding):
    """MONOCHROME1, 15 and 10 bits, native and JPEG 2000: each equals highdicom to 1 unit in 65,535."""
    path = shipped(f"{film}_{encoding}.dcm")
    assert np.abs(ours(path) - 65535 * highdicoms(pydicom.dcmread(path))).max() <= 1


def test_a_voi_lut_file():
    """vlut_04: a table of 256 entries of 16 bits."""
    path = shipped("vlut_04.dcm")
    assert np.abs(ours(path) - 65535 * highdicoms(pydicom.dcmread(path))).max() <= 1


def test_a_modality_lut_file():
    """mlut_18: signed 12 bits, 4,096 entries of 16 bits from -2048 on; no VOI, so its nominal range is shown."""
    path = shipped("mlut_18.dcm")
    assert np.abs(ours(path) - highdicoms(pydicom.dcmread(path))).max() <= 1


@pytest.mark.real
@pytest.mark.parametrize("name", ["Fake_MONOHR1.dcm", "RG2_JLSL.dcm", "RG2_JPLL.dcm", "siim_*.dcm"])
def test_real_files(real_data: Path, name):
    """JPEG, JPEG-LS and JPEG lossless; without VOI, the full stored range is shown."""
    (path,) = (real_data / "dicom").glob(name)
    dataset = pydicom.dcmread(path)
    shown = highdicoms(dataset)
    if "WindowCenter" not in dataset and "VOILUTSequence" not in dataset:
        shown = shown / ((1 << dataset.BitsStored) - 1)
    assert np.abs(ours(path) - 65535 * shown).max() <= 1


# -- synthetic files: every combination ------------------------------------------------------------------


@dataclass
class Case:
    """A film of some pixels, and its meaning as plain numbers."""

    bits: int
    signed: bool
    monochrome1: bool
    slope: Fraction = Fraction(1)
    intercept: Fraction = Fraction(0)
    modality: tuple[int, int, list[int]] | None = None
    """First value mapped, bits, entries."""
    luts: list[tuple[int, int, list[int]]] = field(default_factory=list)
    windows: list[tuple[Fraction, Fraction]] = field(default_factory=list)
    function: str = "LINEAR"
    padding: tuple[int, int] | None = None
    shape: str | None = None
    voi: int = 0
    stored: list[int] = field(default_factory=list)

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return self.low + (1 << self.bits) - 1

    @property
    def turned(self) -> bool:
        """By the Presentation LUT Shape where there is one, as highdicom does it."""
        return self.monochrome1 if self.shape is None else self.shape == "INVERSE"

    def value(self, stored: int) -> Fraction | float:
        """What a stored value becomes, on [0, 1]: the standard's sentences, one after another."""
        if self.padding is not None and self.padding[0] <= stored <= self.padding[1]:
            return Fraction(0)
        shown = self.voied(self.modalities(stored))
        return 1 - shown if self.turned else shown

    def modalities(self, stored: int) -> Fraction:
        """PS3.3 C.11.1.1."""
        return self.slope * stored + self.intercept if self.modality is None else Fraction(entry(self.modality, stored))

    def voied(self, x: Fraction) -> Fraction | float:
        """PS3.3 C.11.2.1."""
        if self.luts:
            lut = self.luts[self.voi]
            return Fraction(entry(lut, math.floor(x + Fraction(1, 2))), (1 << lut[1]) - 1)
        if self.windows:
            return windowed(x, *self.windows[self.voi], self.function)
        return self.unwindowed(x)

    def unwindowed(self, x: Fraction) -> Fraction:
        """Without VOI: all that can be stored is shown."""
        low, high = self.reach()
        return (x - low) / (high - low)

    def reach(self) -> tuple[Fraction, Fraction]:
        if self.modality is not None:
            return Fraction(0), Fraction((1 << self.modality[1]) - 1)
        low, high = sorted(self.slope * end + self.intercept for end in (self.low, self.high))
        return low, high

    def defined_by_highdicom(self) -> bool:
        """Whether highdicom follows the standard here; see the head of this file."""
        tables = [*self.luts, *([self.modality] if self.modality else [])]
        if any(lut[1] not in (8, 16) for lut in tables) or (tables and self.signed and self.bits == 8):
            return False
        if self.luts:
            return whole(self.luts[self.voi]) and self.modality is None and self.slope == 1
        if not self.windows and self.modality is not None:
            return whole(self.modality) or not self.turned
        if not self.windows or self.function != "LINEAR":
            return True
        return self.windows[self.voi][1] > 1 and (self.modality is not None or self.slope == 1)

    def file(self) -> bytes:
        """As a DX or MG file."""
        samples = np.array(self.stored, self.dtype).reshape(4, -1)
        tags: dict[str, Any] = {"SOPClassUID": DX if self.bits % 2 else MG, "Modality": "DX" if self.bits % 2 else "MG"}
        tags["PhotometricInterpretation"] = "MONOCHROME1" if self.monochrome1 else "MONOCHROME2"
        if self.modality is not None:
            tags["ModalityLUTSequence"] = Sequence([item(self.modality, self.signed, ModalityLUTType="US")])
        elif (self.slope, self.intercept) != (1, 0):
            tags |= {"RescaleSlope": str(float(self.slope)), "RescaleIntercept": str(float(self.intercept))}
        if self.luts:
            below_zero = self.modality is None and self.reach()[0] < 0
            tags["VOILUTSequence"] = Sequence([item(one, below_zero) for one in self.luts])
        if self.windows:
            tags["WindowCenter"] = [str(float(center)) for center, _ in self.windows]
            tags["WindowWidth"] = [str(float(width)) for _, width in self.windows]
            if self.function != "LINEAR":
                tags["VOILUTFunction"] = self.function
        if self.padding is not None:
            first, last = self.padding[::-1] if self.monochrome1 else self.padding
            tags["PixelPaddingValue"] = first
            if first != last:
                tags["PixelPaddingRangeLimit"] = last
        if self.shape is not None:
            tags["PresentationLUTShape"] = self.shape
        return make_dicom(samples, bits=self.bits, **tags)

    @property
    def dtype(self) -> str:
        return f"{'i' if self.signed else 'u'}{1 if self.bits <= 8 else 2}"


def entry(lut: tuple[int, int, list[int]], index: int) -> int:
    """PS3.3 C.11.1.1.1: below the first value mapped the first entry, above the last one the last."""
    first, _, entries = lut
    return entries[min(max(index - first, 0), len(entries) - 1)]


def windowed(x: Fraction, c: Fraction, w: Fraction, function: str) -> Fraction | float:
    """PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2, with 0 and 1 for ymin and ymax."""
    half = Fraction(1, 2)
    if function == "SIGMOID":
        return 1 / (1 + math.exp(min(float(-4 * (x - c) / w), 700.0)))
    if function == "LINEAR_EXACT":
        if x <= c - w / 2:
            return Fraction(0)
        return Fraction(1) if x > c + w / 2 else (x - c) / w + half
    if x <= c - half - (w - 1) / 2:
        return Fraction(0)
    return Fraction(1) if x > c - half + (w - 1) / 2 else (x - (c - half)) / (w - 1) + half


def item(lut: tuple[int, int, list[int]], signed: bool, **tags: str) -> Dataset:
    """An item of a LUT sequence."""
    first, bits, entries = lut
    made = Dataset()
    made.add_new("LUTDescriptor", "SS" if signed else "US", [len(entries), first, bits])
    data = np.array(entries, "u1" if bits == 8 else "<u2").tobytes()
    made.add_new("LUTData", "OW", data + b"\0" * (len(data) % 2))
    for name, value in tags.items():
        setattr(made, name, value)
    return made


RESCALES = ("none", "offset", "steep", "flat", "turned", "turned and odd", "lut")
SLOPES = {"steep": Fraction(3), "flat": Fraction(1, 4), "turned": Fraction(-1), "turned and odd": Fraction(-13, 4)}
VOIS = ("none", "LINEAR", "LINEAR several", "LINEAR_EXACT", "SIGMOID", "lut 8", "lut 12", "lut 16 several")
PADDINGS = ("none", "value", "range")


def cases(bits: int) -> list[Case]:
    """Every combination for a depth, with numbers drawn for each."""
    found = []
    chance = np.random.default_rng(bits)
    for signed, monochrome1, rescale, voi, padding in itertools.product(
        (False, True), (False, True), RESCALES, VOIS, PADDINGS
    ):
        case = Case(bits, signed, monochrome1)
        rescaled(case, rescale, chance)
        seen_through(case, voi, chance)
        case.shape = [None, None, "INVERSE", "IDENTITY"][chance.integers(4)]
        if padding != "none":
            start = int(chance.integers(case.low, case.high - 4))
            case.padding = (start, start if padding == "value" else start + int(chance.integers(1, 4)))
        case.stored = chosen_pixels(case, chance)
        found.append(case)
    return found


def rescaled(case: Case, kind: str, chance: np.random.Generator) -> None:
    case.slope = SLOPES.get(kind, Fraction(1))
    if kind in ("offset", "flat", "turned", "turned and odd"):
        case.intercept = Fraction(int(chance.integers(-3000, 3000)))
    if kind == "turned and odd":
        case.intercept += Fraction(1, 8)
    if kind == "lut":
        bits, first = int(chance.choice([8, 10, 12, 15, 16, 16])), int(chance.integers(case.low, case.high))
        case.modality = (first, bits, drawn_entries(bits, chance))


def drawn_entries(bits: int, chance: np.random.Generator) -> list[int]:
    """Of a table; most of them use all of their nominal range."""
    entries = chance.integers(0, 1 << bits, int(chance.integers(1, 400))).tolist()
    return [*entries, 0, (1 << bits) - 1] if chance.integers(3) else entries


def whole(lut: tuple[int, int, list[int]]) -> bool:
    """Whether a table uses all of its nominal range."""
    return (min(lut[2]), max(lut[2])) == (0, (1 << lut[1]) - 1)


def seen_through(case: Case, kind: str, chance: np.random.Generator) -> None:
    low, high = (float(end) for end in case.reach())
    name, _, several = kind.partition(" ")
    if name == "none":
        return
    if name == "lut":
        bits = int(several.split()[0])
        ends = sorted((max(low, -32768.0), min(high, 32767.0)))
        for _ in range(2 if "several" in several else 1):
            first = int(chance.integers(math.floor(ends[0]), math.ceil(ends[1]) + 1))
            if case.modality is not None or low >= 0:
                first = max(first, 0)
            case.luts.append((first, bits, drawn_entries(bits, chance)))
    else:
        case.function = name
        for _ in range(3 if several else 1):
            center = Fraction(int(chance.integers(math.floor(low), math.ceil(high) + 1)) * 4 + 1, 4)
            width = Fraction(int(chance.integers(1, max(2, math.ceil(high - low)))))
            if name != "LINEAR":
                width += Fraction(1, 2)
            elif chance.integers(12) == 0:
                width = Fraction(1)
            case.windows.append((center, width))
    case.voi = int(chance.integers(max(len(case.luts), len(case.windows))))


def chosen_pixels(case: Case, chance: np.random.Generator) -> list[int]:
    """The ends of the range, those of padding, windows and tables, and others."""
    wanted = [case.low, case.high]
    if case.padding is not None:
        wanted += [case.padding[0] - 1, *case.padding, case.padding[1] + 1]
    if case.modality is not None:
        wanted += [case.modality[0] - 1, case.modality[0], case.modality[0] + len(case.modality[2])]
    else:
        edges = [c + side * w / 2 for c, w in case.windows for side in (-1, 1)] + [
            Fraction(lut[0]) for lut in case.luts
        ]
        wanted += [round((edge - case.intercept) / case.slope) for edge in edges]
    others = chance.integers(case.low, case.high, PIXELS, endpoint=True).tolist()
    return [one for one in [*wanted, *others] if case.low <= one <= case.high][:PIXELS]


DEPTHS = range(8, 17)


def recipe_of(case: Case) -> str:
    """The Presentation LUT Shape decides in highdicom; a film without one tells nothing apart."""
    polarity = "presentation" if case.shape is not None else "photometric"
    return f"display(polarity={polarity}, voi={case.voi})"


@functools.cache
def displayed(bits):
    """Of each case of a depth: the case, its file, and what we make of it."""
    files = [(case, case.file()) for case in cases(bits)]
    return [(case, data, ours(data, recipe_of(case)).reshape(-1)) for case, data in files]


@pytest.mark.parametrize("bits", DEPTHS)
def test_every_combination_is_the_standards(bits):
    """Within the one rounding of the exact value, for every pixel of every film."""
    for case, _, found in displayed(bits):
        exact = np.array([float(case.value(one) * 65535) for one in case.stored])
        assert np.abs(found - exact).max() <= 0.5 + 1e-6, case


@pytest.mark.parametrize("bits", DEPTHS)
def test_every_combination_that_highdicom_defines_is_highdicoms(bits):
    """To 1 unit in 65,535; padding aside, which it shows as if it were film."""
    judged = [one for one in displayed(bits) if one[0].defined_by_highdicom()]
    assert len(judged) > 250
    for case, data, found in judged:
        shown = highdicoms(pydicom.dcmread(io.BytesIO(data)), voi=case.voi).reshape(-1)
        if not case.luts and not case.windows:
            low, high = (float(end) for end in case.reach())
            shown = (shown - low) / (high - low)
        film = np.array([case.padding is None or not case.padding[0] <= x <= case.padding[1] for x in case.stored])
        assert np.abs(found - 65535 * shown)[film].max(initial=0) <= 1, case
        assert not found[~film].any()


def test_the_combinations_are_many_and_all_there():
    """More than 2,000 files; each depth, sign, polarity, rescale, function, table and padding with every other."""
    made = [case for bits in DEPTHS for case in cases(bits)]
    assert len(made) == 9 * 2 * 2 * len(RESCALES) * len(VOIS) * len(PADDINGS) > 2000
    assert sum(case.defined_by_highdicom() for case in made) > 2000
    assert any(lut[0] < 0 for case in made for lut in case.luts)
    assert any(width == 1 and case.function == "LINEAR" for case in made for _, width in case.windows)
    assert any(case.voi > 0 for case in made if case.luts)
    assert any(case.voi > 0 for case in made if case.windows)


# -- what pydicom gets wrong -----------------------------------------------------------------------------

FIXED = "pydicom's result is right now, so this is no fault of it any more: take it out of these tests and of the docs"


def test_an_8_bit_table_over_more_than_8_bits():
    """pydicom indexes such a table in 8 bits, so inputs wrap round (seen in 3.0.2: 256 -> 0 where 16 is right)."""
    stored = np.array([[256, 300, 2048, 4095]], np.uint16)
    lut = (0, 8, [x // 16 for x in range(4096)])
    one = Dataset()
    one.add_new("LUTDescriptor", "US", [len(lut[2]), lut[0], lut[1]])
    one.add_new("LUTData", "US", lut[2])
    data = make_dicom(stored, bits=12, VOILUTSequence=Sequence([one]))
    right = [lut[2][x] for x in stored[0]]
    assert ours(data)[0].tolist() == [257 * x for x in right]
    dataset = pydicom.dcmread(io.BytesIO(data))
    wrong = apply_voi(dataset.pixel_array, dataset)[0].tolist()
    assert wrong != right, FIXED


def test_inverse_against_the_nominal_range():
    """pydicom turns round against the largest value that the film happens to have (seen in 3.0.2)."""
    stored = np.array([[0, 100, 1000]], np.uint16)
    data = make_dicom(stored, bits=12, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    right = 4095 - stored.astype(int)
    assert np.abs(ours(data) - right * 65535 / 4095).max() <= 0.5
    wrong = apply_presentation_lut(stored, pydicom.dcmread(io.BytesIO(data)))
    assert wrong.tolist() != right.tolist(), FIXED


def test_pydicoms_steps_do_not_turn_monochrome1_round():
    """Modality and VOI leave small values dark though they are meant white: a reader must do the last step itself."""
    stored = np.array([[0, 4095]], np.uint16)
    tags = {"WindowCenter": 2048, "WindowWidth": 4096, "PhotometricInterpretation": "MONOCHROME1"}
    data = make_dicom(stored, bits=12, **tags)
    dataset = pydicom.dcmread(io.BytesIO(data))
    theirs = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    assert theirs[0, 0] < theirs[0, 1]
    assert ours(data).tolist() == [[65535, 0]]


def test_a_film_in_a_pipeline_is_the_same_film():
    """The whole way to a level of the film's own size: what the oracles judged is what a model gets."""
    case = cases(12)[37]
    native = resload.Pipeline("native", intensity=recipe_of(case), dtype="uint16")([case.file()])
    (image,) = native.images.values()
    assert np.array_equal(image[0, 0].numpy(), ours(case.file(), recipe_of(case)))
