"""INbreast: patients in file names, grades with letters, contours as masks."""

import sys

import numpy as np
import pytest

from resload.datasets import inbreast
from resload.datasets.porto import parse_contours
from resload.errors import ArgumentError, CatalogError, MissingPackageError
from resload.masks.table import MaskTable
from resload.testing.miniatures.images import write_dicom
from resload.testing.miniatures.porto import CONTOURS, FIRST, HEIGHT, SECOND, WIDTH, write

RELEASE = "INbreast Release 1.0"


def film(catalog, id_):
    return catalog.table.set_index("id").loc[id_]


def mask(catalog, id_, size=(HEIGHT, WIDTH)):
    """The masks of one film, by label; None where a label is unknown."""
    ids = list(catalog.table["id"])
    table = MaskTable(catalog.masks, ids, catalog.root)
    return dict(zip(table.labels, table.of(ids.index(id_), size)[0], strict=True))


def replaced(root, old, new):
    csv = root / RELEASE / "INbreast.csv"
    csv.write_text(csv.read_text().replace(old, new))
    return root


# -- the table -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["csv", "xls"])
def test_both_tables_say_the_same(tmp_path, table):
    """Trap: semicolons in one, and two rows of junk at the end of the other, with numbers that are floats."""
    catalog = inbreast(write(tmp_path, table=table))
    assert catalog.table["id"].tolist() == ["22678622", "22678646", "22678670", "22678694", "20586908", "20586934"]
    assert catalog.table["assessment"].tolist() == ["1", "3", "4a", "6", "4c", "2"]
    assert catalog.table["date"].tolist()[:4] == ["201001"] * 3 + ["201107"]
    assert catalog.table["density"].tolist()[:4] == [2, 2, 2, 2]
    assert np.isnan(catalog.table["density"][4])
    assert ("rows of INbreast.xls that are no films, left out: 2" in catalog.notes) == (table == "xls")


def test_an_excel_file_needs_its_package(tmp_path, monkeypatch):
    """The message names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "xlrd", None)
    with pytest.raises(MissingPackageError, match=r"xlrd is needed to read INbreast\.xls.*resload\[excel\]"):
        inbreast(write(tmp_path, table="xls"))


def test_a_broken_excel_file_is_named(tmp_path):
    """Whatever its reader stumbles over."""
    file = write(tmp_path, table="xls") / RELEASE / "INbreast.xls"
    file.write_bytes(file.read_bytes()[:30])
    with pytest.raises(CatalogError, match=r"INbreast\.xls"):
        inbreast(tmp_path)


def test_grades_have_letters(tmp_path):
    """Trap: 4a, 4b and 4c. They are 4 in `birads`, as spelled in `assessment`, and malignant."""
    catalog = inbreast(write(tmp_path))
    assert catalog.table["birads"].tolist() == [1, 3, 4, 6, 4, 2]
    assert catalog.table["malignant"].tolist() == [0, 0, 1, 1, 1, 0]


@pytest.mark.parametrize(("policy", "expected"), [("benign", 0), ("malignant", 1), ("unknown", np.nan)])
def test_three_is_a_policy(tmp_path, policy, expected):
    """Probably benign: 0, 1 or unknown; the others stay."""
    table = inbreast(write(tmp_path), birads_3=policy).table.set_index("id")["malignant"]
    np.testing.assert_equal(table["22678646"], np.float32(expected))
    assert table.drop("22678646").tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("old", "new", "what"), [(";4a", ";4d", "Bi-Rads is"), (";4;2", ";9;2", "ACR is"), (";L;", ";X;", "Laterality is")]
)
def test_unknown_grades_and_sides_are_refused(tmp_path, old, new, what):
    """Never a silent negative."""
    with pytest.raises(CatalogError, match=rf"INbreast\.csv: {what}"):
        inbreast(replaced(write(tmp_path), old, new))


# -- names -----------------------------------------------------------------------------------------------------


def test_patients_are_in_the_file_s_name(tmp_path):
    """Trap: the table says `removed`. A patient who came back has two exams: there are three of two patients."""
    table = inbreast(write(tmp_path)).table
    assert table["patient"].tolist() == [FIRST] * 4 + [SECOND] * 2
    assert table["group"].nunique() == 3
    assert table["group"][3] == f"{FIRST}/201107"


def test_ml_is_mlo(tmp_path):
    """Trap: `ML` in the name and `MLO` in the table are one view, and no contradiction."""
    catalog = inbreast(write(tmp_path))
    assert catalog.path(1).name == f"22678646_{FIRST}_MG_L_ML_ANON.dcm"
    assert catalog.table["slot"].tolist() == ["L-CC", "L-MLO", "R-CC", "R-MLO", "L-CC", "R-MLO"]
    assert not any("another in their file's name" in note for note in catalog.notes)
    odd = inbreast(replaced(tmp_path, "L;CC;201001;22678622", "R;CC;201001;22678622"))
    assert film(odd, "22678622")["laterality"] == "L"
    assert any(note.endswith("which counts: 22678622") for note in odd.notes)


@pytest.mark.parametrize("home", [RELEASE, ".", f"inbreast/{RELEASE}"])
def test_the_release_is_found(tmp_path, home):
    """The folder itself, and those that hold it."""
    assert len(inbreast(write(tmp_path, home=home))) == 6


def test_missing_films_strangers_and_counts_are_told(tmp_path):
    """Rows without image, images without row, files of other names, and the full release."""
    write(tmp_path, absent=["22678622"])
    write_dicom(tmp_path / RELEASE / "AllDICOMs" / f"99999999_{FIRST}_MG_L_CC_ANON.dcm")
    write_dicom(tmp_path / RELEASE / "AllDICOMs" / "notes.dcm")
    catalog = inbreast(tmp_path)
    assert len(catalog) == 5
    said = " | ".join(catalog.notes)
    for words in ("1 of 6 images are not in", "left out: 99999999", "left out: notes", "5 of 410 films"):
        assert words in said
    with pytest.raises(CatalogError, match=r"1 of 6 images.*22678622"):
        inbreast(tmp_path, missing="raise")


# -- contours --------------------------------------------------------------------------------------------------


def test_contours_of_a_label_are_united(tmp_path):
    """Two masses that overlap are one mask; what nobody marked is unknown."""
    found = mask(inbreast(write(tmp_path)), "22678670")
    expected = np.zeros((HEIGHT, WIDTH), np.bool_)
    expected[2:8, 2:8] = expected[6:12, 6:12] = True
    np.testing.assert_array_equal(found["mass"], expected)
    assert found["calcification"] is None


def test_points_are_single_pixels(tmp_path):
    """Trap: the smallest calcifications are one or two points. (x, y) is column, row; none vanishes."""
    found = mask(inbreast(write(tmp_path)), "22678646")
    assert np.argwhere(found["calcification"]).tolist() == [[5, 3], [8, 7]]


def test_names_in_their_spellings(tmp_path):
    """Trap: `Espiculated Region`, `Assymetry`, `Calcifications`; `Point 1` is a label of its own, not a guess."""
    masks = inbreast(write(tmp_path)).masks
    labels = masks.groupby("id")["label"].agg(sorted).to_dict()
    assert labels["22678670"] == ["asymmetry", "mass", "spiculated region"]
    assert labels["22678646"] == ["calcification", "pectoral muscle", "unnamed"]


def test_an_unknown_name_is_refused(tmp_path):
    """A contour that no label takes would be background."""
    with pytest.raises(CatalogError, match=r"22678646\.xml has a contour named 'Nodule'; known: mass"):
        inbreast(write(tmp_path, contours={"22678646": [("Nodule", [(1, 1)])]}))


def test_the_muscle_reaches_into_its_corner(tmp_path):
    """Trap: its contour leaves out the corner between upper border and chest wall: upper left in a left breast."""
    catalog = inbreast(write(tmp_path))
    left, right = (mask(catalog, one)["pectoral muscle"] for one in ("22678646", "22678694"))
    assert left[0, 0]
    assert not left[:, 12:].any()
    assert right[0, -1]
    assert not right[:, :12].any()


def test_contours_are_cut_at_their_own_film(tmp_path):
    """Trap: films have two sizes. The run-lengths fit the film's header, wherever the points are."""
    root = write(tmp_path)
    path = root / RELEASE / "AllDICOMs" / f"22678670_{FIRST}_MG_R_CC_ANON.dcm"
    write_dicom(path, 40, 30, bits=14)
    found = mask(inbreast(root), "22678670", (40, 30))
    assert found["asymmetry"].sum() == (30 - 20) * (40 - 30)
    path.write_bytes(b"")
    again = inbreast(root)
    assert "22678670" not in set(again.masks["id"])
    assert any(note.startswith("film 22678670 cannot be read") for note in again.notes)


def test_what_is_not_marked_is_unknown_or_empty(tmp_path):
    """By default unknown; `unmarked="empty"` makes the six findings known to be empty, on films without a file too."""
    catalog = inbreast(write(tmp_path), unmarked="empty")
    clean, marked = mask(catalog, "22678622"), mask(catalog, "22678646")
    assert not clean["mass"].any()
    assert not marked["distortion"].any()
    assert marked["calcification"].sum() == 2
    assert clean["pectoral muscle"] is None
    with pytest.raises(ArgumentError, match="unmarked is 'unknown' or 'empty'"):
        inbreast(tmp_path, unmarked="absent")


def test_masks_can_be_left_out_or_absent(tmp_path):
    """`masks=False` does not look; without contours there are none."""
    assert inbreast(write(tmp_path / "a"), masks=False).masks is None
    catalog = inbreast(write(tmp_path / "b", contours={}, muscles=False))
    assert catalog.masks is None
    assert any(note.startswith("no contours") for note in catalog.notes)


def test_contours_of_a_film_that_is_not_there_are_named(tmp_path):
    """Masks without image."""
    catalog = inbreast(write(tmp_path, absent=["22678670"]))
    assert "files of contours without their film: 22678670" in catalog.notes
    assert "22678670" not in set(catalog.masks["id"])


HEAD = (
    '<?xml version="1.0"?>\n<!DOCTYPE plist PUBLIC "-//Apple Computer//DTD PLIST 1.0//EN" "http://x.invalid/p.dtd"{}>\n'
)
BOMB = ' [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]'
OUTSIDE = ' [<!ENTITY x SYSTEM "file:///etc/hostname">]'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<plist",
        HEAD.format(BOMB) + "<plist><string>&b;</string></plist>",
        HEAD.format(OUTSIDE) + "<plist><string>&x;</string></plist>",
        HEAD.format("") + "<plist><array/></plist>",
        HEAD.format("") + "<plist><dict><key>Images</key><array><dict/></array></dict></plist>",
    ],
)
def test_hostile_and_broken_files_are_refused(tmp_path, text):
    """Entities are neither expanded nor fetched, and whatever is no list of contours is named."""
    path = tmp_path / "1.xml"
    path.write_text(text)
    with pytest.raises(CatalogError, match=r"1\.xml is no list of contours as INbreast has them"):
        parse_contours(path, "", [])


@pytest.mark.parametrize("point", ["(1, 2, 3)", "1", "(a, b)"])
def test_points_that_are_none_are_refused(tmp_path, point):
    """Two numbers, x before y."""
    write(tmp_path, contours=CONTOURS)
    path = tmp_path / RELEASE / "AllXML" / "22678646.xml"
    path.write_text(path.read_text().replace("(3.400000, 5.600000)", point))
    with pytest.raises(CatalogError, match=r"22678646\.xml is no list of contours"):
        inbreast(tmp_path)


def test_a_contour_without_points_is_counted(tmp_path):
    """It marks nothing, and is no reason to refuse the film's others."""
    catalog = inbreast(write(tmp_path, contours={"22678646": [("Mass", []), ("Calcification", [(2, 2)])]}))
    assert set(catalog.masks.loc[catalog.masks["id"] == "22678646", "label"]) == {"calcification", "pectoral muscle"}
    assert "22678646.xml has a contour 'Mass' without points, left out" in catalog.notes
