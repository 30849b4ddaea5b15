"""Shenzhen and Montgomery: labels in names, readings written by hand, lungs in one file or two."""

import numpy as np
import pytest

from resload.datasets import montgomery, shenzhen
from resload.datasets.nlm_tb import parse_reading
from resload.errors import ArgumentError, CatalogError
from resload.masks.table import MaskTable
from resload.testing.miniatures.images import write_png
from resload.testing.miniatures.nlm_tb import MONTGOMERY, SHENZHEN, write_montgomery, write_shenzhen


def mask(catalog, film, size=(12, 14)):
    """The masks of one film, by label."""
    ids = list(catalog.table["id"])
    table = MaskTable(catalog.masks, ids, catalog.root)
    return dict(zip(table.labels, table.of(ids.index(film), size)[0], strict=True))


# -- what a film is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("read", "write"), [(shenzhen, write_shenzhen), (montgomery, write_montgomery)])
def test_the_last_digit_is_the_label(tmp_path, read, write):
    """Trap: no table has the labels; 1 in the name is tuberculosis, 0 is not, and the number is the patient."""
    table = read(write(tmp_path)).table
    assert table["tuberculosis"].tolist() == [float(name[-1]) for name in table["id"]]
    assert set(table["tuberculosis"]) == {0.0, 1.0}
    assert (table["patient"] == table["id"].str[:-2]).all()


def test_readings_become_sex_age_and_what_is_said(tmp_path):
    """Trap: free spelling - `male60yr`, `Femal`, months, a byte order mark, ages with and without a unit."""
    table = shenzhen(write_shenzhen(tmp_path)).table.set_index("id")
    assert table["sex"].tolist() == ["M", "F", "F", "M", "F"]
    assert table["age"].tolist() == [45, 0.75, 28, 60, 30]
    assert table["reading"]["CHNCXR_0327_1"] == "right PTB with; pleural effusion"
    assert table["reading"]["CHNCXR_0328_1"] == "1. bilateral PTB; 2. 3y old lesion"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient's Sex: F\nPatient's Age: 035Y\nnormal\n", ("F", "035Y", "normal")),
        ("Patient's Sex:M \r\nPatient's Age:3D", ("M", "3D", "")),
        ("female, 24yrs\nmalacia; 5 y ago", ("F", "24Y", "malacia; 5 y ago")),
        ("Male\n45 years\nnormal", ("M", "45Y", "normal")),
        ("normal", (None, None, "normal")),
        ("sex: unknown\nabnormal", (None, None, "abnormal")),
        ("", (None, None, "")),
    ],
)
def test_a_reading_in_its_spellings(text, expected):
    """Sex and age come from lines about the patient: numbers and words in the finding are neither."""
    assert parse_reading(text) == expected


def test_what_cannot_be_read_is_counted(tmp_path):
    """A sex that is none and an age of 411 are missing, and each of the two has a note."""
    catalog = montgomery(write_montgomery(tmp_path))
    row = catalog.table.set_index("id").loc["MCUCXR_0113_1"]
    assert np.isnan(row["age"])
    assert not isinstance(row["sex"], str)
    assert "readings without sex: 1" in catalog.notes
    assert any(note.startswith("ages that are above 120 years") for note in catalog.notes)


def test_a_missing_age_is_not_that_of_another_film(tmp_path):
    """Ages are factorised: the place of a missing one must not be the last one's."""
    write_shenzhen(tmp_path)
    home = tmp_path / "ChinaSet_AllFiles" / "ClinicalReadings"
    (home / "CHNCXR_0001_0.txt").write_bytes("\ufeffnormal".encode())
    (home / "CHNCXR_0002_0.txt").unlink()
    catalog = shenzhen(tmp_path)
    assert np.isnan(catalog.table["age"][:2]).all()
    assert catalog.table["reading"][0] == "normal"
    assert "films without a file in ClinicalReadings: 1" in catalog.notes
    assert "readings without sex: 2, age: 2" in catalog.notes


def test_a_reading_against_the_digit_is_named(tmp_path):
    """The digit counts; a film that is called normal and has a 1 is worth a look. `abnormal` is not normal."""
    write_montgomery(tmp_path)
    (tmp_path / "MontgomerySet/ClinicalReadings/MCUCXR_0108_1.txt").write_text("Patient's Sex: M\nNormal film")
    catalog = montgomery(tmp_path)
    assert catalog.table.set_index("id")["tuberculosis"]["MCUCXR_0108_1"] == 1
    (note,) = [note for note in catalog.notes if "contradicts" in note]
    assert note.endswith("MCUCXR_0108_1")


def test_the_overlap_with_tbx11k_is_named(tmp_path):
    """Trap: TBX11K re-uses both sets; who tests on one after training on it must know."""
    assert any("TBX11K" in note for note in shenzhen(write_shenzhen(tmp_path)).notes)
    assert any("TBX11K" in note for note in montgomery(write_montgomery(tmp_path)).notes)


# -- lungs -----------------------------------------------------------------------------------------------------


def test_left_and_right_lung_are_united(tmp_path):
    """Trap: a file for each lung. One mask `lungs` has the pixels of both."""
    catalog = montgomery(write_montgomery(tmp_path))
    (lungs,) = mask(catalog, "MCUCXR_0001_0").values()
    expected = np.zeros((12, 14), np.bool_)
    expected[2:-2, 1:5] = expected[2:-2, 7:11] = True
    np.testing.assert_array_equal(lungs, expected)


def test_lungs_can_be_two_labels(tmp_path):
    """`lungs="sides"`: each as its folder is called."""
    found = mask(montgomery(write_montgomery(tmp_path), lungs="sides"), "MCUCXR_0001_0")
    assert list(found) == ["left lung", "right lung"]
    assert np.flatnonzero(found["left lung"].any(axis=0)).tolist() == [7, 8, 9, 10]
    assert np.flatnonzero(found["right lung"].any(axis=0)).tolist() == [1, 2, 3, 4]


def test_one_lung_is_not_the_lungs(tmp_path):
    """A film with one of two files has no united mask, rather than one that calls the other lung background."""
    write_montgomery(tmp_path, left=("MCUCXR_0001_0",))
    catalog = montgomery(tmp_path)
    assert set(catalog.masks["id"]) == {"MCUCXR_0001_0"}
    assert any(note.startswith("films with a mask of one lung only") for note in catalog.notes)
    assert set(montgomery(tmp_path, lungs="sides").masks["id"]) == set(MONTGOMERY)


def test_masks_of_others_belong_to_shenzhen(tmp_path):
    """Trap: `CHNCXR_0001_0_mask.png` is of `CHNCXR_0001_0`; one of no film here is left out; their number is said."""
    catalog = shenzhen(write_shenzhen(tmp_path))
    assert catalog.masks["id"].tolist() == ["CHNCXR_0001_0", "CHNCXR_0327_1"]
    assert set(catalog.masks["label"]) == {"lungs"}
    assert mask(catalog, "CHNCXR_0001_0")["lungs"].sum() == 8 * 8
    assert any(note.endswith("of 2 of 5 films") for note in catalog.notes)


def test_masks_can_be_left_out_or_absent(tmp_path):
    """`masks=False` does not look; without the folder there are none."""
    assert montgomery(write_montgomery(tmp_path / "m"), masks=False).masks is None
    assert shenzhen(write_shenzhen(tmp_path / "s", masks=False)).masks is None


# -- files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("home", ["ChinaSet_AllFiles", ".", "ChinaSet_AllFiles/ChinaSet_AllFiles", "shenzhen"])
def test_the_set_is_found_in_every_layout(tmp_path, home):
    """The folder itself, one that holds it, and the archive that nests it twice."""
    catalog = shenzhen(write_shenzhen(tmp_path, home=home))
    assert catalog.table["id"].tolist() == sorted(SHENZHEN)
    assert all(catalog.path(row).is_file() for row in range(len(catalog)))


def test_two_copies_have_to_be_told_apart(tmp_path):
    """Nobody can guess which is meant."""
    write_shenzhen(tmp_path, home="a")
    write_shenzhen(tmp_path, home="b")
    with pytest.raises(CatalogError, match=r"several folders CXR_png: .*a/CXR_png, .*b/CXR_png"):
        shenzhen(tmp_path)


def test_other_files_are_left_out(tmp_path):
    """Thumbs.db and pictures that are no films: the second kind is named."""
    write_shenzhen(tmp_path)
    write_png(tmp_path / "ChinaSet_AllFiles/CXR_png/overview.png")
    catalog = shenzhen(tmp_path)
    assert len(catalog) == len(SHENZHEN)
    assert any("overview" in note for note in catalog.notes)


def test_a_reading_without_a_film_is_counted_or_refused(tmp_path):
    """Rows without image: the reading says that there was a film."""
    write_montgomery(tmp_path)
    (tmp_path / "MontgomerySet/CXR_png/MCUCXR_0002_0.png").unlink()
    catalog = montgomery(tmp_path)
    assert "MCUCXR_0002_0" not in set(catalog.table["id"])
    assert "MCUCXR_0002_0" not in set(catalog.masks["id"])
    assert any(note.startswith("1 of 4 images are not in") for note in catalog.notes)
    with pytest.raises(CatalogError, match=r"1 of 4 images.*MCUCXR_0002_0"):
        montgomery(tmp_path, missing="raise")


def test_the_folder_of_the_other_set_is_refused(tmp_path):
    """Montgomery's files are not Shenzhen's, and the message says what a film is called."""
    with pytest.raises(CatalogError, match=r"no film named CHNCXR_<number>_<0 or 1>\.png"):
        shenzhen(write_montgomery(tmp_path))
    with pytest.raises(ArgumentError, match="lungs is 'united' or 'sides'"):
        montgomery(tmp_path, lungs="both")


def test_spacing_is_known_of_released_films_only(tmp_path):
    """0.0875 mm is that of 4020 x 4892 pixels; a smaller copy has another one, and none is claimed."""
    write_montgomery(tmp_path)
    write_png(tmp_path / "MontgomerySet/CXR_png/MCUCXR_0001_0.png", 4020, 4892)
    table = montgomery(tmp_path).table.set_index("id")
    assert table["spacing_y"]["MCUCXR_0001_0"] == table["spacing_x"]["MCUCXR_0001_0"] == 0.0875
    assert table["spacing_y"].drop("MCUCXR_0001_0").isna().all()


def test_counts_are_compared_with_the_release(tmp_path):
    """A part of the data set is told from all of it."""
    assert any("5 of 662 films, 3 of 336 with tuberculosis" in n for n in shenzhen(write_shenzhen(tmp_path)).notes)
