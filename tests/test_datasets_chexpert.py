"""CheXpert: each trap of its files (facts of `stanford.py`), and the policies for what reports say."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resload.datasets import chexpert, mentions
from resload.datasets.stanford import TARGETS, parse_table
from resload.errors import ArgumentError, CatalogError
from resload.testing.miniatures.stanford import HEADER, LABELS, TRAIN, VALID
from resload.testing.miniatures.stanford import write as stanford

FIRST = "train/patient00001/study1/view1_frontal"


def film(catalog, id_):
    return catalog.table.set_index("id").loc[id_]


def table_of(tmp_path, *rows, header=HEADER):
    path = tmp_path / "train.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


# -- paths --


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("layout", ["", "release", "batches", "plain batches"])
def test_films_are_found_in_every_layout(tmp_path, layout, small):
    """The prefix of the table is not the folder's name, and the batches lie apart: every film's path is a file."""
    catalog = chexpert(stanford(tmp_path, layout=layout, small=small))
    assert len(catalog) == len(TRAIN) + len(VALID)
    assert all(catalog.path(row).is_file() for row in range(len(catalog)))
    assert catalog.path(0).as_posix().endswith("patient00001/study1/view1_frontal.jpg")


def test_one_batch_alone_is_a_catalog(tmp_path):
    """`root` may be the folder that holds the tables and patients themselves."""
    stanford(tmp_path)
    (tmp_path / "train" / "train.csv").write_bytes((tmp_path / "train.csv").read_bytes())
    catalog = chexpert(tmp_path / "train")
    assert len(catalog) == len(TRAIN)
    assert all(catalog.path(row).is_file() for row in range(len(catalog)))


def test_two_copies_have_to_be_told_apart(tmp_path):
    """With the small release beside the large one nobody can guess which is meant; `images=` says it."""
    stanford(tmp_path, layout="release", small=True)
    stanford(tmp_path, layout="release", small=False)
    with pytest.raises(CatalogError, match=r"is both in CheXpert-v1\.0.*images="):
        chexpert(tmp_path)
    catalog = chexpert(tmp_path, images="CheXpert-v1.0-small")
    assert catalog.path(0).relative_to(tmp_path).parts[0] == "CheXpert-v1.0-small"
    with pytest.raises(CatalogError, match="no folder 'elsewhere'"):
        chexpert(tmp_path, images="elsewhere")


def test_another_path_is_refused(tmp_path):
    """Without patient and study in it a path tells nothing."""
    with pytest.raises(CatalogError, match=r"look like CheXpert-v1\.0/train.*'films/a\.jpg' in row 1"):
        parse_table(table_of(tmp_path, f"x/{TRAIN[0]}", "films/a.jpg,Male,30,Frontal,AP" + "," * 14))


def test_patients_that_are_missing_are_counted(tmp_path):
    """A patient without a folder is left out; a file that lacks in one that is there only if files are looked for."""
    gone = TRAIN[0].partition(",")[0]
    catalog = chexpert(stanford(tmp_path / "a", leave_out=(gone,)))
    assert FIRST not in set(catalog.table["id"])
    assert any(note.startswith("1 of 9 images are not in") for note in catalog.notes)
    second = TRAIN[3].partition(",")[0]
    root = stanford(tmp_path / "b", leave_out=(second,))
    assert len(chexpert(root)) == 9
    assert len(chexpert(root, check="files")) == 8
    with pytest.raises(CatalogError, match=r"1 of 9 images.*view2_lateral.*missing='skip'"):
        chexpert(root, check="files", missing="raise")


# -- who and what --


def test_patient_and_exam_are_read_from_the_path(tmp_path):
    """The table has no column for either."""
    row = film(chexpert(stanford(tmp_path)), "train/patient00002/study1/view2_lateral")
    assert (row["patient"], row["group"], row["split"]) == ("patient00002", "patient00002/study1", "train")


def test_valid_is_the_validation_part_and_test_has_no_other_columns(tmp_path):
    """`valid.csv` is val; the test set's table has only paths, without a prefix, and labels."""
    catalog = chexpert(stanford(tmp_path, test=True))
    assert catalog.table["split"].value_counts().to_dict() == {"train": 7, "val": 2, "test": 1}
    row = film(catalog, "test/patient64741/study1/view1_frontal")
    assert math.isnan(row["age"])
    assert row["Enlarged Cardiomediastinum"] == 0
    assert row["Lung Opacity"] == 0
    assert row["Cardiomegaly"] == 1


def test_stray_views_are_kept_and_said(tmp_path):
    """LL and RL are no AP and no PA: choosing by `view` must not mix them in; a lateral film has a view too."""
    catalog = chexpert(stanford(tmp_path))
    views = catalog.table["view"].value_counts().to_dict()
    assert views == {"AP": 5, "LATERAL": 2, "LL": 1, "RL": 1}
    assert "views of frontal films that are neither AP nor PA, kept: LL, RL" in catalog.notes


def test_an_unknown_sex_and_an_age_of_0_are_unknown(tmp_path):
    """`Unknown` is no third sex, and nobody of these adults is 0."""
    catalog = chexpert(stanford(tmp_path))
    assert pd.isna(film(catalog, "train/patient07958/study5/view1_frontal")["sex"])
    assert film(catalog, FIRST)["sex"] == "F"
    assert math.isnan(film(catalog, "train/patient64540/study1/view1_frontal")["age"])
    assert any("ages of 0" in note for note in catalog.notes)
    assert any("sexes that are neither F nor M" in note for note in catalog.notes)


# -- labels --


@pytest.mark.parametrize(("uncertain", "value"), [("ignore", math.nan), ("zeros", 0), ("ones", 1), ("multiclass", 2)])
def test_uncertain_labels_follow_the_policy(tmp_path, uncertain, value):
    """-1 is never a number that a loss would learn: it is unknown, or what the policy says."""
    row = film(chexpert(stanford(tmp_path), uncertain=uncertain), "train/patient00002/study2/view1_frontal")
    np.testing.assert_equal(float(row["Atelectasis"]), float(value))
    assert row["Lung Opacity"] == 1


def test_what_is_not_mentioned_is_unknown_unless_said(tmp_path):
    """A blank is not a negative: `unmentioned="zeros"` makes it one."""
    root = stanford(tmp_path)
    id_ = "train/patient00002/study2/view1_frontal"
    assert math.isnan(film(chexpert(root), id_)["Pneumothorax"])
    assert film(chexpert(root, unmentioned="zeros"), id_)["Pneumothorax"] == 0
    assert math.isnan(film(chexpert(root, unmentioned="zeros"), id_)["Edema"])  # uncertain, which is another policy


def test_no_finding_denies_the_pathologies_but_not_the_devices(tmp_path):
    """`No Finding` with blanks beside it: the pathologies are 0, `Support Devices` are as they were."""
    root = stanford(tmp_path)
    row = film(chexpert(root), "train/patient64540/study1/view1_frontal")
    assert (row[list(mentions.PATHOLOGIES)] == 0).all()
    assert math.isnan(row["Support Devices"])
    row = film(chexpert(root, no_finding="ignore"), "train/patient64540/study1/view1_frontal")
    assert row[list(mentions.PATHOLOGIES)].isna().sum() == 11  # Pleural Effusion was denied
    assert film(chexpert(root), FIRST)["Support Devices"] == 1


def test_other_labelers_tables_are_read(tmp_path):
    """`labels=` takes another table for the training films; without it there is a refusal, not a fallback."""
    root = stanford(tmp_path)
    with pytest.raises(CatalogError, match=r"no train_cheXbert\.csv"):
        chexpert(root, labels="chexbert")
    denied = [f"CheXpert-v1.0/{row.partition(',')[0]},Female,50,Frontal,AP" + ",0.0" * 14 for row in TRAIN]
    (root / "train_cheXbert.csv").write_text("\n".join([HEADER, *denied]))
    catalog = chexpert(root, labels="chexbert")
    assert (catalog.select(split="train").table[list(TARGETS)] == 0).all(axis=None)
    assert film(catalog, "valid/patient64541/study1/view1_frontal")["Enlarged Cardiomediastinum"] == 1


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [("1.0", "2.0", "No Finding is 1, 0, -1 or blank; found 2"), ("1.0", "yes", "No Finding holds numbers; found yes")],
)
def test_strange_labels_are_refused(tmp_path, old, new, sentence):
    """Another value would silently be a class."""
    with pytest.raises(CatalogError, match=sentence):
        parse_table(table_of(tmp_path, "x/" + TRAIN[0].replace(old, new, 1)))


def test_a_renamed_finding_is_refused(tmp_path):
    """A table without one of the 14 columns is another table."""
    header = f"Path,{LABELS}".replace("Pleural Effusion", "Effusion")
    with pytest.raises(CatalogError, match=r"no column Pleural Effusion; found: \['Path'"):
        parse_table(table_of(tmp_path, "x/train/patient00001/study1/a.jpg" + "," * 14, header=header))


def test_policies_are_named(tmp_path):
    """The message lists them."""
    with pytest.raises(
        ArgumentError, match="uncertain is 'ignore' or 'zeros' or 'ones' or 'multiclass'; found 'maybe'"
    ):
        chexpert(tmp_path, uncertain="maybe")


VALUES = st.sampled_from([1.0, 0.0, -1.0, math.nan])


@given(
    rows=st.lists(st.tuples(*[VALUES] * 14), min_size=1, max_size=6),
    uncertain=st.sampled_from(mentions.UNCERTAIN),
    unmentioned=st.sampled_from(mentions.UNMENTIONED),
    no_finding=st.sampled_from(mentions.NO_FINDING),
)
def test_policies_are_their_plain_definition(rows, uncertain, unmentioned, no_finding):
    """Cell by cell as the policies' words say; what is affirmed or denied is never changed."""
    found = pd.DataFrame(rows, columns=list(TARGETS), dtype=np.float32)
    made = mentions.targets(found, uncertain=uncertain, unmentioned=unmentioned, no_finding=no_finding)
    for row, cells in enumerate(rows):
        for name, cell in zip(TARGETS, cells, strict=True):
            healthy = no_finding == "zeros" and cells[0] == 1 and name in mentions.PATHOLOGIES
            if cell == -1:
                expected = {"ignore": math.nan, "zeros": 0, "ones": 1, "multiclass": 2}[uncertain]
            elif math.isnan(cell):
                expected = 0 if unmentioned == "zeros" or healthy else math.nan
            else:
                expected = cell
            np.testing.assert_equal(float(made[name][row]), float(expected))
    assert (made.dtypes == np.float32).all()


def test_how_much_the_policies_decide_is_said(tmp_path):
    """The counts of uncertain labels and of blanks are in the notes, and how partial this copy is."""
    notes = chexpert(stanford(tmp_path)).notes
    assert any(note.startswith("of 126 labels 8 are uncertain and") for note in notes)
    assert "here, compared with the full release: 7 of 223414 train images, 2 of 234 val images" in notes
    assert "here, compared with the full release: 6 of 64740 patients" in notes
