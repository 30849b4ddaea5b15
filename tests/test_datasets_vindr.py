"""VinDr-CXR: each trap of its files (facts of `vindr.py`), and votes of several readers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resload.datasets import vindr_cxr
from resload.datasets.vindr import LOCAL, TARGETS
from resload.datasets.votes import decided
from resload.errors import ArgumentError, CatalogError
from resload.testing.miniatures.vindr import TEST, TRAIN
from resload.testing.miniatures.vindr import write as vindr


def film(catalog, id_):
    return catalog.table.set_index("id").loc[id_]


def positives(catalog, id_):
    row = film(catalog, id_)
    return {name for name in catalog.targets if row[name] == 1}


# -- readers --


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ("majority", {"Cardiomegaly"}),
        ("any", {"Cardiomegaly", "Aortic enlargement", "No finding"}),
        ("all", set()),
    ],
)
@pytest.mark.parametrize("layout", ["physionet", "kaggle"])
def test_three_readers_become_one_target(tmp_path, layout, votes, expected):
    """A film has three rows; the first of them, or the last, is not the film's."""
    catalog = vindr_cxr(vindr(tmp_path, layout=layout), votes=votes)
    assert positives(catalog, TRAIN[1]) == expected
    assert catalog.table["id"].is_unique


def test_the_mean_is_a_soft_label(tmp_path):
    """Two of three readers are 2/3, one is 1/3; the consensus of the test films is 0 or 1."""
    catalog = vindr_cxr(vindr(tmp_path), votes="mean")
    row = film(catalog, TRAIN[1])
    np.testing.assert_allclose(row[["Cardiomegaly", "Aortic enlargement"]].astype(float), [2 / 3, 1 / 3], rtol=1e-6)
    assert set(np.unique(catalog.select(split="test").table[list(TARGETS)])) == {0, 1}


def test_how_often_readers_disagree_is_said(tmp_path):
    """And how many read each film."""
    catalog = vindr_cxr(vindr(tmp_path))
    assert (
        "films by how many read them: 2 by 1, 3 by 3; of 2 the readers do not agree in every finding" in catalog.notes
    )
    assert catalog.table["readers"].tolist() == [3, 3, 3, 1, 1]


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=6))
def test_votes_are_their_plain_definition(films):
    """For any number of readers of each film: more than half, at least one, every one, the share."""
    rows = [(f"f{i}", "train", float(said)) for i, readers in enumerate(films) for said in readers]
    readings = pd.DataFrame(rows, columns=["id", "split", "mass"])
    found = {votes: decided(readings, ["mass"], votes)["mass"].tolist() for votes in ("majority", "any", "all", "mean")}
    assert found["majority"] == [float(2 * sum(readers) > len(readers)) for readers in films]
    assert found["any"] == [float(any(readers)) for readers in films]
    assert found["all"] == [float(all(readers)) for readers in films]
    assert found["mean"] == pytest.approx([np.mean(readers) for readers in films])


# -- labels --


def test_other_diseases_and_other_disease_are_one_label(tmp_path):
    """Two spellings in two tables: a column that half of the films lack would be unknown, or refused."""
    catalog = vindr_cxr(vindr(tmp_path))
    assert catalog.targets == TARGETS
    assert len(TARGETS) == 28
    assert film(catalog, TRAIN[2])["Other diseases"] == 1
    assert film(catalog, TEST[1])["Other diseases"] == 1
    assert not catalog.table[list(TARGETS)].isna().any(axis=None)


def test_kaggle_has_its_own_targets_and_unknown_test_films(tmp_path):
    """14 findings and `No finding` (class 14); the 3,000 test films have no labels, which is not zeros."""
    catalog = vindr_cxr(vindr(tmp_path, layout="kaggle"))
    assert catalog.targets == (*LOCAL, "No finding")
    assert positives(catalog, TRAIN[0]) == {"No finding"}
    test = catalog.select(split="test").table
    assert len(test) == 2
    assert test[list(catalog.targets)].isna().all(axis=None)
    assert test["readers"].tolist() == [0, 0]
    left = vindr_cxr(tmp_path, unlabelled="skip")
    assert len(left) == 3
    assert "films for testing without labels, left out: 2" in left.notes


def test_unknown_findings_are_refused(tmp_path):
    """A label that no target has would be a negative."""
    root = vindr(tmp_path, layout="kaggle")
    (root / "train.csv").write_text((root / "train.csv").read_text().replace("Cardiomegaly", "Big heart"))
    with pytest.raises(CatalogError, match="unknown findings Big heart; known: Aortic enlargement"):
        vindr_cxr(root)


def test_a_label_that_is_neither_0_nor_1_is_refused(tmp_path):
    """As is a reader who read a film twice."""
    root = vindr(tmp_path)
    path = root / "annotations" / "image_labels_test.csv"
    text = path.read_text()
    path.write_text(text.replace(",1\n", ",2\n"))
    with pytest.raises(CatalogError, match="No finding is 0 or 1; found 2"):
        vindr_cxr(root)
    path.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(CatalogError, match="has a reading twice: 002a34c58c5b758217ed1f584ccbcfe9 by consensus"):
        vindr_cxr(root)


# -- boxes and files --


@pytest.mark.parametrize("layout", ["physionet", "kaggle"])
def test_boxes_keep_their_reader_and_blank_ones_are_none(tmp_path, layout):
    """Corners in pixels of the file become x, y, width, height; `No finding` has no box; readers stay apart."""
    boxes = vindr_cxr(vindr(tmp_path, layout=layout)).boxes
    assert "No finding" not in set(boxes["label"])
    heart = boxes[(boxes["id"] == TRAIN[1]) & (boxes["label"] == "Cardiomegaly")]
    assert heart["reader"].tolist() == ["R10", "R9"]
    assert heart[["x", "y", "width", "height"]].iloc[0].tolist() == [2, 4, 18, 32]
    if layout == "physionet":
        assert boxes[boxes["id"] == TEST[1]]["reader"].tolist() == ["consensus"]


def test_boxes_without_an_area_are_counted(tmp_path):
    """A line is no box."""
    root = vindr(tmp_path, layout="kaggle")
    text = (root / "train.csv").read_text().replace("2.0,4.0,20.0,36.0", "2.0,4.0,2.0,36.0", 1)
    (root / "train.csv").write_text(text)
    catalog = vindr_cxr(root)
    assert "boxes without an area, left out: 1" in catalog.notes


def test_boxes_that_are_not_there_are_said(tmp_path):
    """Labels without boxes are a catalog."""
    root = vindr(tmp_path)
    for split in ("train", "test"):
        (root / "annotations" / f"annotations_{split}.csv").unlink()
    catalog = vindr_cxr(root)
    assert len(catalog.boxes) == 0
    assert any(note.startswith("no boxes of the films for test") for note in catalog.notes)


def test_nobody_knows_the_patients(tmp_path):
    """Headers were emptied: no column, a note, and a split by patient is refused."""
    catalog = vindr_cxr(vindr(tmp_path))
    assert "patient" not in catalog.table
    with pytest.raises(ArgumentError, match="use by='id'"):
        catalog.split({"train": 0.5, "val": 0.5})
    assert any("no patient is known" in note for note in catalog.notes)


def test_missing_films_are_counted_or_refused(tmp_path):
    """With their boxes."""
    root = vindr(tmp_path, leave_out=(TRAIN[1],))
    catalog = vindr_cxr(root)
    assert len(catalog) == 4
    assert TRAIN[1] not in set(catalog.boxes["id"])
    assert any(note.startswith("1 of 5 images are not in") for note in catalog.notes)
    with pytest.raises(CatalogError, match=r"1 of 5 images.*9a5094b2563a1ef3ff50dc5c7ff71345\.dicom"):
        vindr_cxr(root, missing="raise")
