"""MIMIC-CXR-JPG: each trap of its files (facts of `mit.py`)."""

import gzip
import math
import os

import pytest

from resload.datasets import mimic_cxr_jpg
from resload.errors import CatalogError
from resload.testing.miniatures.mit import FILMS
from resload.testing.miniatures.mit import write as mimic

IDS = [film for film, *_ in FILMS]


@pytest.fixture
def root(tmp_path):
    return mimic(tmp_path / "mimic")


def film(catalog, number):
    return catalog.table.set_index("id").loc[IDS[number]]


def test_films_of_an_exam_without_labels_stay_and_are_unknown(root):
    """Labels are joined from the films' side: an inner join loses the third film, and zeros would be a lie."""
    catalog = mimic_cxr_jpg(root, unmentioned="zeros")
    assert list(catalog.table["id"]) == IDS
    assert film(catalog, 2)["Cardiomegaly"] == 1
    row = film(catalog, 3)
    assert row[list(catalog.targets)].isna().all()
    assert row.isna()["labelled_by"]
    assert "1 films of 1 exams have no labels; they are kept as unknown" in catalog.notes


def test_labels_of_an_exam_are_those_of_all_its_films(root):
    """One row of labels, two films."""
    catalog = mimic_cxr_jpg(root)
    for number in (0, 1):
        row = film(catalog, number)
        assert (row["No Finding"], row["Edema"], row["Support Devices"]) == (1, 0, 1)
        assert (row["patient"], row["group"]) == (10000032, 50414267)


def test_the_official_parts_have_our_names(root):
    """`validate` is val."""
    catalog = mimic_cxr_jpg(root)
    assert list(catalog.table["split"]) == ["train"] * 3 + ["val"] + ["test"] * 2


def test_an_unknown_part_is_refused(root):
    """A split nobody knows must not become no split."""
    path = root / "mimic-cxr-2.0.0-split.csv.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"validate", b"holdout")))
    with pytest.raises(CatalogError, match="unknown parts of the official split holdout"):
        mimic_cxr_jpg(root)


def test_uncertain_labels_and_the_two_labelers(root):
    """-1 follows the policy; `labels="negbio"` reads the other table, which disagrees."""
    assert math.isnan(film(mimic_cxr_jpg(root), 2)["Atelectasis"])
    assert film(mimic_cxr_jpg(root, uncertain="ones"), 2)["Atelectasis"] == 1
    assert film(mimic_cxr_jpg(root), 4)["Atelectasis"] == 1
    catalog = mimic_cxr_jpg(root, labels="negbio", uncertain="zeros")
    assert film(catalog, 4)["Atelectasis"] == 0
    assert film(catalog, 4)["labelled_by"] == "negbio"


def test_radiologists_labels_of_the_test_part(root):
    """They have no patient column and write Airspace Opacity; exams that they did not read keep the labeler's."""
    catalog = mimic_cxr_jpg(root, test_labels="radiologist")
    row = film(catalog, 4)
    assert (row["Atelectasis"], row["Lung Opacity"], row["Edema"]) == (0, 1, 1)
    assert math.isnan(row["Pneumothorax"])
    assert list(catalog.table["labelled_by"].fillna("")) == ["chexpert"] * 3 + ["", "radiologist", "radiologist"]
    assert film(mimic_cxr_jpg(root), 4)["Edema"] == 0


def test_radiologists_labels_that_are_not_there_are_refused(tmp_path):
    """No fallback to the labeler's."""
    with pytest.raises(CatalogError, match=r"no mimic-cxr-2\.1\.0-test-set-labeled\.csv"):
        mimic_cxr_jpg(mimic(tmp_path, radiologists=False), test_labels="radiologist")


def test_views_are_kept_as_they_are(root):
    """A blank is unknown; LL is not LATERAL: the user chooses by the column."""
    views = mimic_cxr_jpg(root).table["view"]
    assert list(views.fillna("")) == ["PA", "LATERAL", "PA", "AP", "", "LL"]


@pytest.mark.parametrize("packed", [True, False])
def test_the_folder_of_films_itself_may_be_given(tmp_path, packed):
    """torchxrayvision wants `files/`, PhysioNet's tables lie beside it: both folders give the same films."""
    root = mimic(tmp_path / "mimic", packed=packed)
    for given in (root, root / "files"):
        catalog = mimic_cxr_jpg(given)
        assert len(catalog) == 6
        assert all(catalog.path(row).is_file() for row in range(6))
    assert catalog.table["path"][0] == f"p10/p10000032/s50414267/{IDS[0]}.jpg"


def test_no_file_is_asked_for_one_by_one(root, monkeypatch):
    """Ten folders of patients are listed, whatever the number of films; with `check="files"` those of the exams too."""
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(str(folder)) or scandir(folder))
    mimic_cxr_jpg(root)
    assert sorted(folder[-3:] for folder in listed) == ["p10", "p19"]
    mimic_cxr_jpg(root, check="files")
    assert sum(folder.rpartition("/")[2].startswith("s") for folder in listed) == 4


def test_what_is_missing_is_counted_or_refused(tmp_path):
    """A patient without a folder is left out by default; a film that lacks beside others needs `check="files"`."""
    root = mimic(tmp_path, leave_out=(IDS[1], IDS[3]))
    catalog = mimic_cxr_jpg(root)
    assert [id_ for id_ in IDS if id_ not in set(catalog.table["id"])] == [IDS[3]]
    assert any(note.startswith("1 of 6 images are not in") for note in catalog.notes)
    assert len(mimic_cxr_jpg(root, check="files")) == 4
    with pytest.raises(CatalogError, match=r"2 of 6 images.*missing='skip'"):
        mimic_cxr_jpg(root, check="files", missing="raise")


def test_an_exam_that_is_labelled_twice_is_refused(root):
    """Films would be repeated by a join."""
    path = root / "mimic-cxr-2.0.0-chexpert.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress((text + text.splitlines()[1] + "\n").encode()))
    with pytest.raises(CatalogError, match="has an exam twice: 50414267"):
        mimic_cxr_jpg(root)


def test_the_notes_compare_with_the_release(root):
    """How partial this copy is."""
    assert any("6 of 377110 images, 3 of 65379 patients, 4 of 227835 exams" in n for n in mimic_cxr_jpg(root).notes)
