"""RSNA Pneumonia and RSNA Bone Age: each trap of their files (facts of `rsna_pneu.py` and `rsna_bone.py`)."""

import numpy as np
import pandas as pd
import pytest

from resload.datasets import rsna_bone_age, rsna_pneumonia
from resload.datasets.rsna_bone import parse_table
from resload.datasets.rsna_pneu import CLASSES, parse_classes, parse_labels, parse_mapping
from resload.errors import CatalogError
from resload.testing.miniatures import rsna_bone, rsna_pneu

FILMS = [film for film, *_ in rsna_pneu.FILMS]
TEST = rsna_pneu.TEST_FILM[0]


def film(catalog, id_):
    return catalog.table.set_index("id").loc[id_]


def written(tmp_path, name, *lines):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


# -- pneumonia --


@pytest.mark.parametrize("stage", [1, 2])
def test_a_row_for_each_box_is_one_film(tmp_path, stage):
    """Two boxes are two rows of labels and two of classes: the film is there once, its boxes beside."""
    catalog = rsna_pneumonia(rsna_pneu.write(tmp_path, stage=stage))
    assert catalog.table["id"].tolist() == [*FILMS, TEST]
    boxes = catalog.boxes[catalog.boxes["id"] == FILMS[1]]
    assert boxes[["x", "y", "width", "height"]].iloc[1].tolist() == [562, 152, 256, 453]
    assert set(boxes["label"]) == {"pneumonia"}
    assert len(catalog.boxes) == 3


def test_negative_test_and_not_normal_are_three_things(tmp_path):
    """0 is negative, a test film unknown, and `No Lung Opacity / Not Normal` negative but not normal."""
    catalog = rsna_pneumonia(rsna_pneu.write(tmp_path), classes=True)
    assert catalog.targets == ("pneumonia", *CLASSES)
    assert film(catalog, FILMS[0])[list(catalog.targets)].tolist() == [0, 0, 1, 0]
    assert film(catalog, FILMS[2])[list(catalog.targets)].tolist() == [0, 1, 0, 0]
    assert film(catalog, FILMS[1])[list(catalog.targets)].tolist() == [1, 0, 0, 1]
    assert film(catalog, TEST)[list(catalog.targets)].isna().all()
    assert catalog.table["split"].tolist() == ["train"] * 4 + ["test"]
    left = rsna_pneumonia(tmp_path, unlabelled="skip")
    assert len(left) == 4
    assert left.targets == ("pneumonia",)


def test_patient_ids_are_not_patients(tmp_path):
    """`patientId` names a film: without the mapping there is no patient, with it two films are of one."""
    root = rsna_pneu.write(tmp_path)
    catalog = rsna_pneumonia(root)
    assert "patient" not in catalog.table
    assert any("nih_mapping= gives the patients" in note for note in catalog.notes)
    mapped = rsna_pneumonia(root, nih_mapping=root / rsna_pneu.MAPPING)
    assert mapped.table["patient"].tolist() == [1, 1, 2, 3, 5]
    assert mapped.table["nih_image"].iloc[1] == "00000001_001.png"


def test_the_mapping_may_be_a_table(tmp_path):
    """A CSV with the film and the image; films it lacks are left out, as their patient is unknown."""
    root = rsna_pneu.write(tmp_path)
    rows = [f"{one},0000000{i}_000.png" for i, one in enumerate(FILMS[:3])]
    mapped = rsna_pneumonia(root, nih_mapping=written(tmp_path, "map.csv", "patientId,img_id", *rows))
    assert mapped.table["patient"].tolist() == [0, 1, 2]
    assert any(note.endswith("no patient of, left out: 2") for note in mapped.notes)
    assert set(mapped.boxes["id"]) == {FILMS[1]}


@pytest.mark.parametrize(
    ("name", "lines", "sentence"),
    [
        ("map.csv", ["patientId,img_id", "a,1_0.png"], "look like 00000001_000.png; found 1_0.png"),
        ("map.csv", ["patientId,image", "a,b"], "no mapping to ChestX-ray14: it has no column img_id"),
        ("map.json", ["[{'a'}"], "cannot be read as JSON"),
        ("map.csv", ["patientId,img_id", "a,00000001_000.png", "a,00000002_000.png"], "has a film twice: a"),
    ],
)
def test_a_mapping_that_is_none_is_refused(tmp_path, name, lines, sentence):
    """A wrong mapping would put a patient into two splits."""
    with pytest.raises(CatalogError, match=sentence):
        parse_mapping(written(tmp_path, name, *lines))


def test_ages_views_and_sexes_are_in_the_headers(tmp_path):
    """They are read when asked for; an age of 155 becomes unknown and is counted."""
    catalog = rsna_pneumonia(rsna_pneu.write(tmp_path), header=True)
    np.testing.assert_equal(catalog.table["age"].to_numpy(), [51, 32, np.nan, 58, 40])
    assert catalog.table["view"].tolist() == ["PA", "AP", "AP", "PA", "PA"]
    assert (catalog.table["sex"] == "F").all()
    assert "ages that are above 120 years or no ages at all, now unknown: 1" in catalog.notes


def test_a_header_that_cannot_be_read_is_counted(tmp_path):
    """The film stays, for a build to say what is wrong with it."""
    root = rsna_pneu.write(tmp_path)
    (root / "stage_2_train_images" / f"{FILMS[0]}.dcm").write_bytes(b"DICM")
    catalog = rsna_pneumonia(root, header=True)
    assert len(catalog) == 5
    assert pd.isna(catalog.table["view"][0])
    assert "films whose header cannot be read, without view, sex and age: 1" in catalog.notes


@pytest.mark.parametrize("row", ["a,1,2,3,4,0", "a,,,,,1", "a,,,,,2", "a,1,2,,4,1"])
def test_a_target_and_its_box_must_agree(tmp_path, row):
    """A positive without a box, or a box without a positive, is a table that was changed."""
    with pytest.raises(CatalogError, match=r"1 in rows with a box and 0 in rows without; not so for a"):
        parse_labels(written(tmp_path, "labels.csv", "patientId,x,y,width,height,Target", row))


def test_a_film_is_one_thing(tmp_path):
    """Two targets or two classes of a film are refused, and so is a class that nobody knows."""
    header = "patientId,x,y,width,height,Target"
    with pytest.raises(CatalogError, match="a film with two targets, so twice: a"):
        parse_labels(written(tmp_path, "labels.csv", header, "a,,,,,0", "a,1,2,3,4,1"))
    with pytest.raises(CatalogError, match="a film with two classes, so twice: a"):
        parse_classes(written(tmp_path, "classes.csv", "patientId,class", "a,Normal", "a,Lung Opacity"))
    with pytest.raises(CatalogError, match="unknown classes Healthy"):
        parse_classes(written(tmp_path, "classes.csv", "patientId,class", "a,Healthy"))


def test_missing_films_of_pneumonia_are_counted_or_refused(tmp_path):
    """Their boxes go with them, and the count is compared with the release."""
    root = rsna_pneu.write(tmp_path, leave_out=(FILMS[1],))
    catalog = rsna_pneumonia(root)
    assert set(catalog.boxes["id"]) == {FILMS[3]}
    assert any("3 of 26684 train images, 1 of 3000 test images" in note for note in catalog.notes)
    with pytest.raises(CatalogError, match=r"1 of 5 images.*missing='skip'"):
        rsna_pneumonia(root, missing="raise")


# -- bone age --


def test_three_headers_are_one_table(tmp_path):
    """Age and sex by name, not by place: the validation table has them the other way round, the third in letters."""
    table = rsna_bone_age(rsna_bone.write(tmp_path)).table
    assert table["id"].tolist() == ["1377", "1378", "1379", "1380", "1386", "1392", "4360", "4361"]
    np.testing.assert_allclose(table["boneage"], [180, 12, 94, 120, 32.03, 138, 168.93, 180], rtol=1e-6)
    assert "".join(table["sex"]) == "FFMMMFMF"
    assert table["split"].tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 2


def test_validation_lies_in_two_parts(tmp_path):
    """Both are found."""
    catalog = rsna_bone_age(rsna_bone.write(tmp_path))
    folders = {catalog.path(row).parent.name for row in range(len(catalog))}
    assert {"boneage-validation-dataset-1", "boneage-validation-dataset-2"} <= folders


def test_kaggles_folders_are_nested_twice_and_test_ages_unknown(tmp_path):
    """The test table of Kaggle has no ages: NaN, not 0; there are no validation films, which is said."""
    catalog = rsna_bone_age(rsna_bone.write(tmp_path, layout="kaggle"))
    assert catalog.table["path"].iloc[0] == "boneage-training-dataset/boneage-training-dataset/1377.png"
    assert catalog.table["split"].value_counts().to_dict() == {"train": 4, "test": 2}
    assert catalog.select(split="test").table["boneage"].isna().all()
    assert "".join(catalog.table["sex"]) == "FFMMMF"
    assert "films without a bone age, kept as unknown: 2" in catalog.notes
    assert any(note.startswith("no films for val: Validation Dataset.csv") for note in catalog.notes)


def test_without_the_excel_file_as_csv_the_test_part_is_left_out(tmp_path):
    """It is said which table lacks."""
    catalog = rsna_bone_age(rsna_bone.write(tmp_path, ages=False))
    assert set(catalog.table["split"]) == {"train", "val"}
    assert any(note.startswith("no films for test: Bone age ground truth.csv") for note in catalog.notes)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("1,180,maybe", "unknown sexes maybe; known: true, false, m, f"),
        ("1,ten,True", "boneage holds numbers; found ten"),
        ("1,2500,True", "months from 1 to 240; found 2500.0 of films 1"),
        ("1,0,True", "months from 1 to 240; found 0.0 of films 1"),
    ],
)
def test_what_is_no_age_and_no_sex_is_refused(tmp_path, line, sentence):
    """Days or years in the place of months would be learned."""
    with pytest.raises(CatalogError, match=sentence):
        parse_table(written(tmp_path, "train.csv", "id,boneage,male", line))


def test_a_hand_in_two_tables_is_refused(tmp_path):
    """It would be in two splits."""
    root = rsna_bone.write(tmp_path)
    path = root / "Validation Dataset.csv"
    path.write_text(path.read_text() + "1377,TRUE,10\n")
    with pytest.raises(CatalogError, match="has a film twice: 1377"):
        rsna_bone_age(root)


def test_missing_hands_are_counted_or_refused(tmp_path):
    """And a film that no table names is left out, and said."""
    root = rsna_bone.write(tmp_path, leave_out=("1378",))
    (root / "boneage-training-dataset" / "99.png").write_bytes(b"")
    catalog = rsna_bone_age(root)
    assert any(note.startswith("1 of 8 images are not in") for note in catalog.notes)
    assert "images that no row of the table names, left out: 99.png" in catalog.notes
    with pytest.raises(CatalogError, match=r"1 of 8 images.*1378\.png"):
        rsna_bone_age(root, missing="raise")


def test_stale_spacing_of_pneumonia_films_is_not_believed(tmp_path):
    """Trap: their headers too have the spacing of the ChestX-ray14 originals."""
    table = rsna_pneumonia(rsna_pneu.write(tmp_path)).scan(progress=False).table
    assert table[["spacing_y", "spacing_x"]].isna().all(axis=None)
