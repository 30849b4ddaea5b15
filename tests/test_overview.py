"""What a catalog holds: its mix, its targets, and the attributes that would be shortcuts."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import resload
from resload import Catalog, catalog_report
from resload.errors import ArgumentError
from resload.overview import lines, mix, shortcuts


def films(n=4, *, targets=(), **columns):
    """A catalog of n films with these columns."""
    table = pd.DataFrame({"id": [f"f{k}" for k in range(n)], "path": "a.png", **columns})
    return Catalog(table, targets=targets)


# -- the mix --


def test_values_are_counted_the_most_frequent_first():
    """Of every attribute that is there; what is not known is counted in none."""
    catalog = films(
        5,
        Modality=["CR", "CR", "DX", "CR", None],
        bits=[12, 12, 10, None, 12],
        height=[8, 8, 8, 4, None],
        width=[6, 6, 6, 4, None],
        Manufacturer=[None] * 5,
        TransferSyntaxUID=["1.2.840.10008.1.2.4.70"] * 4 + ["1.2.3"],
        spacing_y=[0.1, 0.3, 0.2, None, None],
        spacing_x=[0.1, 0.3, 0.2, None, None],
    )
    report = catalog_report(catalog)
    assert report.mix == {
        "modality": {"CR": 3, "DX": 1},
        "bits": {"12": 3, "10": 1},
        "size": {"8x6": 3, "4x4": 1},
        "syntax": {"JPEG lossless": 4, "1.2.3": 1},
    }
    assert list(report.mix["modality"]) == ["CR", "DX"]
    assert report.spacing["y"] == mix.Spread(3, 0.1, 0.2, 0.3)
    assert report.patients is None


def test_public_data_sets_say_view_in_small_letters():
    """`view` of the adapters and `ViewPosition` of DICOM are one attribute."""
    assert catalog_report(films(2, view=["PA", "AP"])).mix["view"] == {"AP": 1, "PA": 1}
    assert catalog_report(films(2, ViewPosition=["PA", "PA"])).mix["view"] == {"PA": 2}


def test_targets_are_counted():
    """Known, positive above one half, prevalence among the known; an age has neither."""
    catalog = films(4, targets=["mass", "age", "none"], mass=[1, 0.4, 0.6, None], age=[50, 60, 1, None], none=np.nan)
    mass, age, none = catalog_report(catalog).targets
    assert (mass.films, mass.known, mass.positive) == (4, 3, 2)
    assert mass.prevalence == pytest.approx(2 / 3)
    assert (age.known, age.positive, age.prevalence) == (3, None, None)
    assert (none.known, none.positive, none.prevalence) == (0, 0, None)


def test_a_report_is_plain_values(films8):
    """It survives JSON without a NaN, and its lines have the numbers."""
    report = catalog_report(films8.scan(progress=False))
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["films"] == report.films == 23
    assert document["formats"] == {"png": 23}
    assert sum(one["films"] for one in document["sizes"]) == 23
    assert document["targets"] == ["nodule", "effusion", "cardiomegaly"]
    assert [one["name"] for one in document["findings"]] == document["targets"]
    text = "\n".join(report.lines())
    assert "formats       png (23)\n" in text
    assert re.search(r"^  nodule +\d+ +\d+ +[\d.]+ % ", text, re.MULTILINE)


def test_films_that_cannot_be_read_are_listed():
    """With path and reason, and not among those of which something is not known."""
    report = catalog_report(films(3, format=["png", "png", None], error=[None, None, "the file is empty"]))
    assert report.unreadable == ({"id": "f2", "path": "a.png", "reason": "the file is empty"},)
    assert report.lines()[-2:] == ["cannot be read: 1", "  a.png: the file is empty"]
    assert "formats       png (2)" in report.lines()


def test_long_lists_are_cut_short():
    """Eight values and ten sizes in the text, all in the document."""
    sides = np.arange(1, 31)
    report = catalog_report(
        films(30, height=sides, width=sides, Manufacturer=[f"Maker {k % 15:02d}" for k in range(30)])
    )
    text = "\n".join(report.lines())
    assert "Maker 07 (2), 7 others (14)" in text
    assert "... and 20 other sizes" in text
    assert len(report.to_dict()["sizes"]) == 30


def test_only_catalogs_are_reported_on():
    """A table is not one."""
    with pytest.raises(ArgumentError, match="catalog_report takes a Catalog; found DataFrame"):
        catalog_report(films().table)


# -- shortcuts --


def plain_auc(yes, no):
    """The same by its definition: every pair of films within a part, scored by the films of the other parts."""
    right, pairs = 0.0, 0
    for part in range(len(yes)):
        others = [p for p in range(len(yes)) if p != part]
        sick, films = yes[others].sum(axis=0), (yes + no)[others].sum(axis=0)
        average = sick.sum() / max(films.sum(), 1)
        score = [(s + shortcuts.PRIOR * average) / (f + shortcuts.PRIOR) for s, f in zip(sick, films, strict=True)]
        for a, positives in enumerate(yes[part]):
            for b, negatives in enumerate(no[part]):
                right += positives * negatives * (0.5 if score[a] == score[b] else float(score[a] > score[b]))
                pairs += positives * negatives
    return right / pairs if pairs else 0.5


COUNTS = arrays(np.int64, (5, 4), elements=st.integers(0, 6))


@settings(max_examples=100)
@given(COUNTS, COUNTS)
def test_the_auc_is_its_definition(yes, no):
    """Counting films per part and value is the same as comparing every pair of films."""
    assert shortcuts.auc_of(yes, no) == pytest.approx(plain_auc(yes, no), abs=1e-12)


def sick_and_makers(n=600, seed=0, *, told=0.0):
    """A target, and a manufacturer that tells it for a share of the films."""
    rng = np.random.default_rng(seed)
    sick = rng.random(n) < 0.4
    maker = np.where(rng.random(n) < told, sick, rng.random(n) < 0.5)
    return sick.astype(float), np.where(maker, "Mobile Ltd", "Fixed plc")


def test_a_manufacturer_that_tells_the_finding_is_a_warning():
    """With its AUC, its shares, and what to do."""
    sick, maker = sick_and_makers(told=0.95)
    report = catalog_report(films(600, targets=["mass"], mass=sick, Manufacturer=maker, bits=[10, 12] * 300))
    by_maker, by_bits = report.shortcuts
    assert by_maker.attribute == "manufacturer"
    assert by_maker.nearly_separates
    assert not by_bits.nearly_separates
    assert {share.value: share.films for share in by_maker.shares} == dict(pd.Series(maker).value_counts())
    (warning,) = report.warnings
    assert warning.startswith(
        f"manufacturer alone nearly separates mass (AUC {by_maker.auc:.2f}: positive are Mobile Ltd 9"
    )
    assert "A network can learn the manufacturer instead of the finding: measure it within one manufacturer" in warning
    assert f"warning: {warning}" in report.lines()


def test_a_perfect_shortcut_has_an_auc_of_one():
    """And a useless one is near one half, not below it as leaving one film out would make it."""
    sick, maker = sick_and_makers(told=1.0)
    assert catalog_report(films(600, targets=["m"], m=sick, Manufacturer=maker)).shortcuts[0].auc == 1.0
    sick, maker = sick_and_makers(told=0.0)
    assert 0.4 < catalog_report(films(600, targets=["m"], m=sick, Manufacturer=maker)).shortcuts[0].auc < 0.6


def test_not_knowing_tells_as_well():
    """A header without the attribute is a value of its own."""
    sick, _ = sick_and_makers()
    intent = [None if one else "FOR PRESENTATION" for one in sick]
    (found,) = catalog_report(films(600, targets=["m"], m=sick, intent=intent)).shortcuts
    assert found.auc == 1.0
    assert "not known" in {share.value for share in found.shares}


def test_values_of_single_films_do_not_flatter():
    """A size of its own for each film separates the films that it was counted on, and tells nothing."""
    sick, _ = sick_and_makers()
    side = 1000 + np.arange(600)
    (found,) = catalog_report(films(600, targets=["m"], m=sick, height=side, width=side)).shortcuts
    assert found.auc == pytest.approx(0.5, abs=0.05)
    assert len(found.shares) == shortcuts.VALUES


def test_patients_are_kept_together():
    """What stands for a patient is no shortcut to what the patient has: it is not met again."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(60), 10)
    sick = (rng.random(60) < 0.5)[patient].astype(float)
    columns = {"m": sick, "height": 1000 + patient, "width": 1000}
    alone = catalog_report(films(600, targets=["m"], **columns)).shortcuts[0]
    together = catalog_report(films(600, targets=["m"], patient=patient, **columns)).shortcuts[0]
    assert alone.auc > 0.95
    assert together.auc == pytest.approx(0.5, abs=0.1)


def test_too_few_films_say_nothing():
    """Below 20 of either class, or with one value, there is no AUC."""
    sick = np.r_[np.ones(19), np.zeros(100)]
    maker = np.where(sick == 1, "A", "B")
    assert catalog_report(films(119, targets=["m"], m=sick, Manufacturer=maker)).shortcuts == ()
    sick = np.r_[np.ones(50), np.zeros(50)]
    assert catalog_report(films(100, targets=["m"], m=sick, Manufacturer="A")).shortcuts == ()
    assert catalog_report(films(100, Manufacturer=maker[:100])).shortcuts == ()


def test_an_age_is_told_above_and_below_its_median():
    """Targets that are numbers are divided in the middle."""
    age = np.r_[np.arange(50), np.arange(60, 110)].astype(float)
    (found,) = catalog_report(films(100, targets=["age"], age=age, view=["PA"] * 50 + ["AP"] * 50)).shortcuts
    assert found.auc == 1.0
    assert [share.positive for share in found.shares] == [0, 50]


# -- other warnings --


def test_raw_films_among_others_are_a_warning():
    """FOR PROCESSING beside anything else; alone they are one kind."""
    raw, shown = "FOR PROCESSING", "FOR PRESENTATION"
    catalog = films(4, intent=[raw, shown, shown, None])
    (warning,) = catalog_report(catalog).warnings
    assert warning.startswith("1 films are FOR PROCESSING and 3 are not")
    assert len(catalog.select("intent != 'FOR PROCESSING'")) == 3  # as the warning says
    assert catalog_report(films(2, intent=[raw, raw])).warnings == ()
    assert catalog_report(films(2, intent=[shown, None])).warnings == ()


def test_writing_in_the_pixels_is_a_warning():
    """Films whose header says that there is some."""
    catalog = films(3, BurnedInAnnotation=["YES", "NO", None])
    (warning,) = catalog_report(catalog).warnings
    assert warning.startswith("1 films have Burned In Annotation YES")
    assert len(catalog.select("BurnedInAnnotation != 'YES'")) == 2


# -- the figure --


def many(n=400):
    """Films with every attribute, 15 targets, one of them a number, and a shortcut."""
    rng = np.random.default_rng(1)
    columns = {f"finding {k}": np.where(rng.random(n) < 0.1, np.nan, rng.random(n) < 0.3) for k in range(14)}
    sick, maker = sick_and_makers(n, told=1.0)
    columns |= {"finding 3": sick, "Manufacturer": maker, "age": rng.normal(50, 9, n)}
    columns |= {"view": rng.choice([f"view {k}" for k in range(9)], n), "bits": rng.choice([10, 12], n)}
    columns |= {"height": rng.integers(200, 400, n), "width": 300, "intent": "FOR PRESENTATION"}
    columns |= {"split": rng.choice(["train", "test"], n)}
    return films(n, targets=[*(f"finding {k}" for k in range(14)), "age"], **columns)


@pytest.mark.parametrize(
    "catalog", [many(), films(), films(3, targets=["m"], m=[1, 0, None])], ids=["many", "bare", "few"]
)
def test_a_report_is_drawn(catalog, tmp_path):
    """Whatever there is or is not: a PNG of the size that is declared, the same bytes each time."""
    report = catalog_report(catalog)
    report.draw(tmp_path / "a.png", dpi=60)
    report.draw(tmp_path / "b.png", dpi=60)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (780, 456)
        assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_a_figure_is_a_png(tmp_path):
    """Another suffix is refused before anything is drawn."""
    with pytest.raises(ArgumentError, match=r"must end in \.png; found .*a\.pdf"):
        catalog_report(films()).draw(tmp_path / "a.pdf")


def test_every_attribute_has_a_line():
    """What is counted is told: no attribute is left out of the text or of the document."""
    assert {one.name for one in mix.ATTRIBUTES} == set(lines.PLURALS)
    assert set(lines.PLURALS.values()) <= set(catalog_report(films()).to_dict())


def test_the_door_has_it():
    """`resload.catalog_report` is this one."""
    assert resload.catalog_report is catalog_report
