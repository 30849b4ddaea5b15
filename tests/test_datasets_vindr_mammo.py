"""VinDr-Mammo: grades of breasts, findings in lists, boxes of findings, and its official split."""

import numpy as np
import pandas as pd
import pytest

from resload.datasets import vindr_mammo
from resload.datasets.vinmammo import FINDINGS, TARGETS, parse_categories
from resload.errors import ArgumentError, CatalogError
from resload.testing.miniatures.vinmammo import EXAMS, FINDING_HEADER, image_id, write

FIRST, SECOND, THIRD = EXAMS


def film(catalog, exam, side, view):
    return catalog.table.set_index("id").loc[image_id(exam, side, view)]


# -- grades ----------------------------------------------------------------------------------------------------


def test_grades_are_ordinal(tmp_path):
    """Trap: `BI-RADS 4` and `DENSITY D` are texts with an order: 4 and 4, of the breast and so of both its views."""
    catalog = vindr_mammo(write(tmp_path))
    for view in ("CC", "MLO"):
        right = film(catalog, THIRD, "R", view)
        assert (right["birads"], right["density"], right["suspicious"]) == (4, 4, 1)
        left = film(catalog, THIRD, "L", view)
        assert (left["birads"], left["density"], left["suspicious"]) == (3, 4, 0)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("BI-RADS 2", "BI-RADS 7", "breast_birads"),
        ("DENSITY C", "dense", "breast_density"),
        ("BI-RADS 5", "5", "birads"),
    ],
)
def test_a_grade_of_unknown_spelling_is_refused(tmp_path, old, new, name):
    """Never a silent negative."""
    csv = write(tmp_path) / "breast-level_annotations.csv"
    csv.write_text(csv.read_text().replace(old, new))
    with pytest.raises(CatalogError, match=rf"{name} is spelled as .* found {new}"):
        vindr_mammo(tmp_path)


def test_a_missing_grade_is_unknown(tmp_path):
    """Nothing is neither 1 nor benign."""
    csv = write(tmp_path) / "breast-level_annotations.csv"
    csv.write_text(csv.read_text().replace("BI-RADS 1,DENSITY B", ",DENSITY B"))
    exam = vindr_mammo(tmp_path).table.loc[lambda table: table["group"] == SECOND]
    assert exam[["birads", "suspicious"]].isna().all(axis=None)


def test_any_grade_or_finding_may_be_learned(tmp_path):
    """`targets=` chooses; all are columns in any case; another name is refused."""
    write(tmp_path)
    assert vindr_mammo(tmp_path).targets == ("suspicious",)
    catalog = vindr_mammo(tmp_path, targets=TARGETS)
    assert catalog.targets == TARGETS
    assert all(catalog.table[name].dtype == np.float32 for name in TARGETS)
    with pytest.raises(ArgumentError, match=r"each of targets is 'suspicious' or .* found 'cancer'"):
        vindr_mammo(tmp_path, targets=("cancer",))


# -- findings --------------------------------------------------------------------------------------------------


def test_findings_are_parsed_not_searched(tmp_path):
    """Trap: a list as text. `Focal Asymmetry` is not `Asymmetry`, whose letters are in it."""
    found = film(vindr_mammo(write(tmp_path)), THIRD, "R", "MLO")[list(FINDINGS)]
    assert found[found == 1].index.tolist() == ["Focal Asymmetry"]
    assert not found.isna().any()


def test_several_categories_of_several_findings(tmp_path):
    """An image has what any of its findings is; one with `No Finding` has zeros."""
    catalog = vindr_mammo(write(tmp_path))
    found = film(catalog, FIRST, "R", "CC")[list(FINDINGS)]
    assert set(found[found == 1].index) == {"Mass", "Skin Thickening", "Suspicious Calcification"}
    assert (film(catalog, SECOND, "L", "CC")[list(FINDINGS)] == 0).all()


def test_an_image_that_nobody_read_has_unknown_findings(tmp_path):
    """No row in the table of findings is not `No Finding`."""
    csv = write(tmp_path) / "finding_annotations.csv"
    name = image_id(SECOND, "L", "CC")
    csv.write_text("".join(line for line in csv.read_text().splitlines(keepends=True) if name not in line))
    assert film(vindr_mammo(tmp_path), SECOND, "L", "CC")[list(FINDINGS)].isna().all()


@pytest.mark.parametrize(
    "text", ["['Mas']", "Mass", "[]", "['Mass', 3]", "__import__('os').getcwd()", "['Mass'", "nan", "(" * 500]
)
def test_a_category_of_unknown_spelling_is_refused(text):
    """What is no list of known names is refused, and no code in it runs."""
    with pytest.raises(CatalogError, match="finding_categories is a list of Mass, "):
        parse_categories(pd.Series([text]), "x.csv")


def test_without_the_table_findings_are_unknown(tmp_path):
    """No table, no boxes, NaN in all ten columns, and a note."""
    catalog = vindr_mammo(write(tmp_path, tables=("breast",)))
    assert catalog.boxes is None
    assert catalog.table[list(FINDINGS)].isna().all(axis=None)
    assert any(note.startswith("no findings and no boxes") for note in catalog.notes)
    assert any(note.startswith("no ages and manufacturers") for note in catalog.notes)


# -- boxes -----------------------------------------------------------------------------------------------------


def test_corners_become_boxes_of_each_category(tmp_path):
    """Trap: xmin, ymin, xmax, ymax; a finding of two categories is a box of each; BI-RADS of the finding beside it."""
    boxes = vindr_mammo(write(tmp_path)).boxes
    first = boxes[boxes["id"] == image_id(FIRST, "R", "CC")]
    assert first["label"].tolist() == ["Mass", "Skin Thickening", "Suspicious Calcification"]
    assert first.iloc[0][["x", "y", "width", "height"]].tolist() == [2.5, 3, 7, 9]
    assert first["birads"].tolist() == [5, 5, 4]


def test_boxes_beyond_the_file_are_cut(tmp_path):
    """Trap: corners outside of the image. They are cut at its border and counted; what is left has an area."""
    catalog = vindr_mammo(write(tmp_path))
    boxes = catalog.boxes
    assert boxes.loc[boxes["id"] == image_id(FIRST, "R", "MLO"), ["x", "width"]].to_numpy().tolist() == [[0, 6]]
    assert (boxes["x"] + boxes["width"]).max() == 20
    assert "boxes that reached beyond their file, cut at its border: 2" in catalog.notes


def test_a_box_without_an_area_is_left_out(tmp_path):
    """Corners in the wrong order, or none, are counted and not a box."""
    name = image_id(SECOND, "L", "CC")
    row = f"{SECOND},s,{name},L,CC,28,20,BI-RADS 1,DENSITY B,\"['Mass']\",BI-RADS 4,9,9,4,12,test"
    catalog = vindr_mammo(write(tmp_path, extra_findings=[row, row.replace("9,9,4,12", ",,,")]))
    assert name not in set(catalog.boxes["id"])
    assert "findings whose box has no area, left out: 2" in catalog.notes
    assert "boxes that reached beyond their file, cut at its border: 2" in catalog.notes


def test_a_corner_that_is_no_number_is_refused(tmp_path):
    """The table and the column are named."""
    csv = write(tmp_path) / "finding_annotations.csv"
    csv.write_text(csv.read_text().replace("9.5,12.0", "9.5,bottom"))
    with pytest.raises(CatalogError, match=r"finding_annotations\.csv: ymax holds numbers; found bottom"):
        vindr_mammo(tmp_path)


def test_boxes_can_be_left_out(tmp_path):
    """`boxes=False` keeps the findings."""
    catalog = vindr_mammo(write(tmp_path), boxes=False)
    assert catalog.boxes is None
    assert film(catalog, FIRST, "R", "MLO")["Mass"] == 1


# -- exams, splits, files --------------------------------------------------------------------------------------


def test_exams_splits_and_slots(tmp_path):
    """Trap: `training` is train. An exam is a group and, for want of another number, a patient; it is in one split."""
    table = vindr_mammo(write(tmp_path)).table
    assert set(table["split"]) == {"train", "test"}
    assert len(table.groupby(["group", "split"])) == 3
    assert (table["patient"] == table["group"]).all()
    assert table.loc[table["group"] == FIRST, "slot"].tolist() == ["L-CC", "L-MLO", "R-CC", "R-MLO"]
    assert table["laterality"].tolist() == ["L", "L", "R", "R"] * 3


@pytest.mark.parametrize(("name", "old", "new"), [("split", ",test", ",testing"), ("laterality", ",L,CC", ",X,CC")])
def test_other_words_are_refused(tmp_path, name, old, new):
    """A split or a side that nobody knows is not guessed."""
    csv = write(tmp_path) / "breast-level_annotations.csv"
    csv.write_text(csv.read_text().replace(old, new))
    with pytest.raises(CatalogError, match=f"has unknown {name}"):
        vindr_mammo(tmp_path)


def test_a_repeated_row_counts_once(tmp_path):
    """Rows that say the same again are left out and counted, rather than refused as two films of one id."""
    catalog = vindr_mammo(write(tmp_path, repeated=True))
    assert len(catalog) == 12
    assert any("say the same again, left out: 1" in note for note in catalog.notes)


def test_ages_and_manufacturers_come_from_the_headers_table(tmp_path):
    """`053Y` is 53; an age of no number is missing and not that of another row."""
    csv = write(tmp_path) / "metadata.csv"
    lines = csv.read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace("053Y", "")
    csv.write_text("".join(lines))
    table = vindr_mammo(tmp_path).table
    assert np.isnan(table["age"][0])
    assert set(table["age"][1:]) == {53}
    assert set(table["manufacturer"]) == {"SIEMENS"}


@pytest.mark.parametrize("suffix", [".dicom", ".dcm"])
def test_images_lie_in_a_folder_for_each_exam(tmp_path, suffix):
    """Trap: `.dicom` is the extension."""
    catalog = vindr_mammo(write(tmp_path, suffix=suffix))
    assert catalog.path(0).relative_to(tmp_path).parts == ("images", FIRST, image_id(FIRST, "L", "CC") + suffix)


def test_missing_images_and_strangers_are_counted(tmp_path):
    """Rows without image, images without row, and the counts of the full release."""
    write(tmp_path, absent=[image_id(FIRST, "R", "CC")])
    (tmp_path / "images" / FIRST / "stray.dicom").write_bytes(b"")
    catalog = vindr_mammo(tmp_path)
    assert len(catalog) == 11
    assert image_id(FIRST, "R", "CC") not in set(catalog.boxes["id"])
    said = " | ".join(catalog.notes)
    assert "1 of 12 images are not in" in said
    assert "stray" in said
    assert "12 of 20000 images, 3 of 5000 exams" in said
    with pytest.raises(CatalogError, match="1 of 12 images"):
        vindr_mammo(tmp_path, missing="raise")


def test_another_table_is_refused(tmp_path):
    """The table of findings under the name of the other one, for example."""
    write(tmp_path)
    (tmp_path / "finding_annotations.csv").write_text(FINDING_HEADER.replace("xmin", "left") + "\n")
    with pytest.raises(CatalogError, match=r"finding_annotations\.csv is no table of findings.* no column xmin"):
        vindr_mammo(tmp_path)
