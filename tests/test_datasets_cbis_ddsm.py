"""CBIS-DDSM: one film of several abnormalities, masks that hide behind crops, and patients under other names."""

import numpy as np
import pydicom
import pytest

import resload
from resload.datasets import cbis_ddsm
from resload.datasets.tcia import mask_among
from resload.errors import ArgumentError, CatalogError
from resload.masks.table import MaskTable
from resload.testing.miniatures.tcia import FILM, ROWS, write

UNITED = "Mass-Training_P_00001_LEFT_CC"
SMALL_MASK = "Mass-Training_P_00001_LEFT_MLO"
OTHER_ASPECT = "Calc-Training_P_00005_RIGHT_CC"


def film(catalog, id_):
    return catalog.table.set_index("id").loc[id_]


def mask(catalog, id_, size=FILM):
    """The masks of one film, by label; None where a label is unknown."""
    ids = list(catalog.table["id"])
    table = MaskTable(catalog.masks, ids, catalog.root)
    return dict(zip(table.labels, table.of(ids.index(id_), size)[0], strict=True))


# -- the tables ------------------------------------------------------------------------------------------------


def test_one_row_for_each_film(tmp_path):
    """Trap: tables have a row for each abnormality. Two of one film are one row of the catalog, and counted in it."""
    catalog = cbis_ddsm(write(tmp_path))
    assert len(catalog) == 8
    united = film(catalog, UNITED)
    assert united["abnormalities"] == 2
    assert (united["assessment"], united["subtlety"], united["density"]) == (4, 2, 3)
    assert (united["mass_shape"], united["mass_margins"]) == ("IRREGULAR|OVAL", "SPICULATED")
    assert united["types"] == "mass"


def test_pathology_is_united_by_a_policy(tmp_path):
    """Malignant beside benign: malignant by "any", unknown by "agree"; films that agree are the same by both."""
    root = write(tmp_path)
    every, agreed = cbis_ddsm(root), cbis_ddsm(root, pathology="agree")
    assert film(every, UNITED)["malignant"] == 1
    assert np.isnan(film(agreed, UNITED)["malignant"])
    assert film(agreed, OTHER_ASPECT)["malignant"] == film(every, OTHER_ASPECT)["malignant"] == 1
    assert "films with a malignant and another abnormality, now malignant: 1" in every.notes
    assert "films with a malignant and another abnormality, now unknown: 1" in agreed.notes


def test_benign_without_callback_is_a_policy(tmp_path):
    """Trap: the third pathology. Benign by default; unknown when asked for; never malignant."""
    root = write(tmp_path)
    name = "Mass-Test_P_01009_RIGHT_CC"
    assert film(cbis_ddsm(root), name)["malignant"] == 0
    assert np.isnan(film(cbis_ddsm(root, without_callback="unknown"), name)["malignant"])


def test_an_unknown_abnormality_beside_others(tmp_path):
    """Malignant beside unknown is malignant, benign beside unknown is not benign."""
    second = {"pathology": "BENIGN_WITHOUT_CALLBACK"}
    root = write(tmp_path, rows=[row._replace(**second) if row.number == 2 else row for row in ROWS])
    first = cbis_ddsm(root, without_callback="unknown")
    assert film(first, UNITED)["malignant"] == 1
    assert np.isnan(film(cbis_ddsm(root, without_callback="unknown", pathology="agree"), UNITED)["malignant"])
    benign = [row._replace(pathology="BENIGN") if row.number == 1 else row._replace(**second) for row in ROWS]
    other = cbis_ddsm(write(tmp_path / "b", rows=benign), without_callback="unknown")
    assert np.isnan(film(other, UNITED)["malignant"])


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("MALIGNANT", "MALIGN", "pathology"),
        (",LEFT,", ",BOTH,", "left or right breast"),
        (",CC,", ",XCC,", "image view"),
        (",mass,", ",lump,", "abnormality type"),
    ],
)
def test_unknown_words_are_refused(tmp_path, old, new, what):
    """Never a silent negative."""
    csv = write(tmp_path) / "mass_case_description_train_set.csv"
    csv.write_text(csv.read_text().replace(old, new))
    with pytest.raises(
        CatalogError, match=rf"mass_case_description_train_set\.csv has unknown {what} {new.strip(',')}"
    ):
        cbis_ddsm(tmp_path)


def test_density_is_read_under_either_name(tmp_path):
    """Trap: `breast_density` for masses, `breast density` for calcifications; 0 is no density, and counted."""
    catalog = cbis_ddsm(write(tmp_path))
    assert film(catalog, OTHER_ASPECT)["density"] == 3
    assert film(catalog, SMALL_MASK)["density"] == 3
    assert np.isnan(film(catalog, "Mass-Training_P_00016_RIGHT_CC")["density"])
    assert "mass_case_description_train_set.csv: density that is not 1 to 4, now unknown: 1" in catalog.notes


def test_line_feeds_in_paths_are_no_part_of_them(tmp_path):
    """Trap: paths are quoted and end in a line feed, words in blanks. Films, masks and meanings are the same."""
    root = write(tmp_path, layout="paths")
    csv = root / "mass_case_description_train_set.csv"
    assert '.dcm\n"' in csv.read_text()
    csv.write_text(csv.read_text().replace('"Mass-', '"\nMass-').replace("MALIGNANT,", "MALIGNANT ,"))
    catalog = cbis_ddsm(root)
    assert len(catalog.masks) == 6
    assert not catalog.masks["path"].str.contains("\n").any()


def test_the_path_names_the_film_of_its_row(tmp_path):
    """A row whose path is of another patient, side or view is refused: its labels would go to that film."""
    csv = write(tmp_path) / "calc_case_description_train_set.csv"
    csv.write_text(csv.read_text().replace("P_00005,3,LEFT,MLO", "P_00006,3,LEFT,MLO"))
    with pytest.raises(CatalogError, match=r"1 do not: Calc-Training_P_00005_LEFT_MLO"):
        cbis_ddsm(tmp_path)


# -- patients and splits ---------------------------------------------------------------------------------------


def test_the_patient_is_not_dicom_s_patient_id(tmp_path):
    """Trap: PatientID is the name of a series, so a catalog of it has as many patients as series, here and there."""
    catalog = cbis_ddsm(write(tmp_path))
    headers = [pydicom.dcmread(catalog.path(row)).PatientID for row in range(len(catalog))]
    assert len(set(headers)) == 8
    assert set(catalog.table["patient"]) == {"P_00001", "P_00005", "P_00016", "P_01009"}
    mask_id = pydicom.dcmread(tmp_path / catalog.masks["path"][0]).PatientID
    assert mask_id == "Mass-Training_P_00001_LEFT_CC_1"


def test_the_split_is_the_official_one_and_its_leak_is_told(tmp_path):
    """Trap: a patient in train and in test, and in both kinds of tables. The split stays; who leaks is named."""
    catalog = cbis_ddsm(write(tmp_path))
    assert film(catalog, UNITED)["split"] == "train"
    assert film(catalog, "Calc-Test_P_00016_RIGHT_CC")["split"] == "test"
    said = " | ".join(catalog.notes)
    assert "patients with films in train and in test, which leak: P_00016" in said
    assert "patients in the tables of masses and of calcifications: 1" in said
    again = catalog.split({"train": 0.6, "test": 0.4}, by="patient").table
    assert (again.groupby("patient")["split"].nunique() == 1).all()


def test_slots_are_those_of_mammography(tmp_path):
    """LEFT and RIGHT are L and R; the group is the case, one exam of a patient."""
    table = cbis_ddsm(write(tmp_path)).table
    assert set(table["slot"]) == {"L-CC", "L-MLO", "R-CC", "R-MLO"}
    assert (table["slot"].str[0] == table["laterality"]).all()
    assert (table["group"] == table["patient"]).all()


# -- masks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["series", "described", "paths", "jpeg"])
def test_every_layout_gives_the_same_films_and_masks(tmp_path, layout):
    """Folders by series, by description, by the table's paths, and Kaggle's JPEG."""
    catalog = cbis_ddsm(write(tmp_path, layout=layout))
    assert len(catalog) == 8
    assert all(catalog.path(row).is_file() for row in range(8))
    assert all((tmp_path / path).is_file() for path in catalog.masks["path"])
    assert mask(catalog, UNITED)["mass"].sum() == FILM[0] * FILM[1] // 2


def test_the_masks_of_a_film_s_abnormalities_are_united(tmp_path):
    """Trap: a file for each abnormality, and mask and crop in one series in either order: both masks are found."""
    (united, unknown) = (mask(cbis_ddsm(write(tmp_path)), UNITED)[name] for name in ("mass", "calcification"))
    expected = np.zeros(FILM, np.bool_)
    expected[:, : FILM[1] // 2] = True
    np.testing.assert_array_equal(united, expected)
    assert unknown is None


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        ({"1-1": (40, 24), "1-2": (9, 8)}, "1-1"),
        ({"1-1": (9, 8), "1-2": (40, 24)}, "1-2"),
        ({"1-1": (20, 12), "1-2": (9, 8)}, "1-1"),
        ({"1-1": (10, 6), "1-2": (80, 48)}, "1-2"),
        ({"1-1": (40, 24)}, "1-1"),
        ({"1-1": (9, 8), "1-2": (35, 30)}, "another aspect"),
        ({"1-1": (40, 24), "1-2": (40, 24)}, "told from"),
        ({"1-1": (20, 12), "1-2": (20, 12)}, "told from"),
        ({"1-1": (20, 12)}, "told from"),
        ({}, "without a picture"),
    ],
)
def test_the_mask_is_told_from_the_crop_by_its_size(pictures, expected):
    """Trap: their order is unreliable. It has the film's size, or is the larger; if nobody can tell, none is taken."""
    path, why = mask_among(pictures, (40, 24))
    assert path == (expected if expected in pictures else None)
    assert (why is None) == (path is not None)
    assert path is not None or expected in why


def test_a_mask_of_another_size_is_scaled(tmp_path):
    """Trap: masks smaller than their film. One of the same aspect is the same view at another scale."""
    inside = mask(cbis_ddsm(write(tmp_path)), SMALL_MASK)["mass"]
    expected = np.zeros(FILM, np.bool_)
    expected[: FILM[0] // 2, : FILM[1] // 2] = True
    np.testing.assert_array_equal(inside, expected)


def test_a_mask_of_another_aspect_is_left_out_and_does_not_fail_its_film(tmp_path):
    """Trap: 35 x 30 for a film of 40 x 24. The film is built; its other mask goes too, for half is not all."""
    catalog = cbis_ddsm(write(tmp_path))
    assert OTHER_ASPECT in set(catalog.table["id"])
    assert OTHER_ASPECT not in set(catalog.masks["id"])
    said = " | ".join(catalog.notes)
    for reason in ("whose mask has another aspect", "whose mask cannot be told", "without a picture of their mask"):
        assert f"abnormalities {reason}" in said
    cache = resload.build(catalog, tmp_path / "cbis.zarr", (16,), fit="pad", progress=False)
    assert len(cache.quarantine) == 0
    covered = dict(zip(cache.table["id"], cache.read_masks(np.arange(len(cache)), 16).any(axis=(1, 2, 3)), strict=True))
    assert covered[UNITED]
    assert not covered[OTHER_ASPECT]


def test_masks_can_be_left_out(tmp_path):
    """`masks=False` opens no file."""
    assert cbis_ddsm(write(tmp_path), masks=False).masks is None


# -- files -----------------------------------------------------------------------------------------------------


def test_films_have_sixteen_bits(tmp_path):
    """Trap: 16-bit secondary captures, of which no depth is lost."""
    scanned = cbis_ddsm(write(tmp_path)).scan(progress=False).table
    assert (scanned["bits"] == 16).all()
    assert (scanned["spacing_y"].isna()).all()


def test_missing_films_tables_and_counts_are_told(tmp_path):
    """Rows without image, tables that are not there, and what the full release has."""
    root = write(tmp_path, absent=[UNITED], tables=[("mass", "train"), ("calc", "test")])
    catalog = cbis_ddsm(root)
    said = " | ".join(catalog.notes)
    assert UNITED not in set(catalog.table["id"])
    assert "1 of 4 images are not in" in said
    assert "mass_case_description_test_set.csv, calc_case_description_train_set.csv" in said
    assert "4 of 3103 films, 5 of 3568 abnormalities, 2 of 1566 patients" in said
    with pytest.raises(CatalogError, match=rf"1 of 4 images.*{UNITED}"):
        cbis_ddsm(root, missing="raise")


def test_a_film_of_two_pictures_is_not_guessed(tmp_path):
    """The only picture in a film's folder is the film; of two nobody knows. Hidden files do not count."""
    root = write(tmp_path, layout="described")
    path = cbis_ddsm(root).path(0)
    (path.parent / f"._{path.name}").write_bytes(path.read_bytes())
    assert len(cbis_ddsm(root)) == 8
    (path.parent / "1-9.dcm").write_bytes(path.read_bytes())
    catalog = cbis_ddsm(root)
    assert UNITED not in set(catalog.table["id"])
    assert any(note.endswith(f"so that nobody knows: {UNITED}") for note in catalog.notes)


def test_a_film_that_cannot_be_read_has_no_masks(tmp_path):
    """Its size is unknown, and so is which picture is its mask; the film stays, and building says what is wrong."""
    root = write(tmp_path)
    catalog = cbis_ddsm(root)
    catalog.path(list(catalog.table["id"]).index(UNITED)).write_bytes(b"")
    again = cbis_ddsm(root)
    assert UNITED in set(again.table["id"])
    assert UNITED not in set(again.masks["id"])
    assert any("of a film that cannot be read" in note for note in again.notes)


def test_policies_are_checked(tmp_path):
    """By name, with those there are."""
    with pytest.raises(ArgumentError, match="pathology is 'any' or 'agree'; found 'worst'"):
        cbis_ddsm(tmp_path, pathology="worst")
