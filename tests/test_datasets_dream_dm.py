"""DREAM Digital Mammography: exams of four views, results by breast, and a cache of whole exams from end to end."""

import numpy as np
import pytest

import resload
from resload.datasets import dream_dm
from resload.errors import ArgumentError, CatalogError
from resload.geometry import Pad
from resload.testing.miniatures.dream import EXAMS, EXAMS_HEADER, write


def film(catalog, id_):
    return catalog.table.set_index("id").loc[id_]


# -- what is known of an image ---------------------------------------------------------------------------------


def test_an_image_has_the_result_of_its_own_breast(tmp_path):
    """Trap: `cancerL` and `cancerR` are of breasts. An exam with a cancer on the left has it in the left views only."""
    table = dream_dm(write(tmp_path)).table
    exam = table[table["group"] == "0007/2"]
    assert exam[["slot", "cancer"]].to_numpy().tolist() == [
        ["L-CC", 1.0],
        ["L-MLO", 1.0],
        ["R-CC", 0.0],
        ["R-MLO", 0.0],
        ["L-ML", 1.0],
    ]


def test_results_belong_to_one_exam_of_a_woman(tmp_path):
    """Trap: the join is on subjectId and examIndex; the exam before the cancer is negative, and no row doubles."""
    catalog = dream_dm(write(tmp_path))
    assert len(catalog) == 18
    assert catalog.table["id"].is_unique
    assert (catalog.table.loc[catalog.table["group"] == "0007/1", "cancer"] == 0).all()


def test_a_breast_that_was_not_imaged_is_unknown(tmp_path):
    """Trap: `.` is no negative, whatever public code makes of it; an image of such a breast is unknown, and counted."""
    row = "0012\t1\t9\tCC\tL\tcontradiction.dcm"
    write(tmp_path, extra_rows=[row])
    (tmp_path / "trainingData" / "contradiction.dcm").write_bytes(
        (tmp_path / "trainingData" / "00120101.dcm").read_bytes()
    )
    catalog = dream_dm(tmp_path)
    assert np.isnan(film(catalog, "contradiction")["cancer"])
    assert film(catalog, "00120101")["cancer"] == 1
    assert any(note.startswith("images of a breast whose cancer is marked") for note in catalog.notes)


def test_a_withheld_result_is_unknown(tmp_path):
    """`*` is what the challenge kept for itself: not 0, and counted."""
    catalog = dream_dm(write(tmp_path))
    assert np.isnan(catalog.table.loc[catalog.table["group"] == "0012/2", "cancer"]).all()
    assert any(note.endswith("withheld (*), now unknown: 1") for note in catalog.notes)


@pytest.mark.parametrize("wrong", ["2", "yes", "0.5"])
def test_a_result_of_unknown_spelling_is_refused(tmp_path, wrong):
    """Never a silent negative."""
    exams = (EXAMS[0].replace("\t.\t0\t0\t0\t0\t51", f"\t.\t0\t{wrong}\t0\t0\t51"), *EXAMS[1:])
    with pytest.raises(CatalogError, match=r"exams_metadata\.tsv: cancerR (is 0, 1|holds numbers)"):
        dream_dm(write(tmp_path, exams=exams))


def test_invasive_cancers_are_a_target_when_asked_for(tmp_path):
    """`targets=("cancer", "invasive")` takes invL and invR by the same rule; other names are refused."""
    catalog = dream_dm(write(tmp_path), targets=("cancer", "invasive"))
    assert catalog.targets == ("cancer", "invasive")
    assert film(catalog, "00070201")["invasive"] == 1
    assert film(catalog, "00120101")["invasive"] == 0
    with pytest.raises(ArgumentError, match=r"each of targets is 'cancer' or 'invasive'; found 'birads'"):
        dream_dm(tmp_path, targets=("birads",))


def test_the_woman_s_columns_are_numbers(tmp_path):
    """Ages and answers keep the names of the data dictionary; `.` is NaN; a table without them is read too."""
    table = dream_dm(write(tmp_path / "a")).table
    assert table["age"].tolist()[:4] == [51] * 4
    assert np.isnan(table["daysSincePreviousExam"][0])
    assert table.loc[table["group"] == "0007/2", "daysSincePreviousExam"].iloc[0] == 402
    header = "\t".join(EXAMS_HEADER.split("\t")[:7])
    short = ["\t".join(row.split("\t")[:7]) for row in EXAMS]
    assert "age" not in dream_dm(write(tmp_path / "b", exams=short, header=header)).table


# -- exams -----------------------------------------------------------------------------------------------------


def test_exams_are_groups_with_slots(tmp_path):
    """An exam is one woman's and stands together; views beside the four keep their names; odd exams are counted."""
    catalog = dream_dm(write(tmp_path))
    table = catalog.table
    assert (table.groupby("group")["patient"].nunique() == 1).all()
    assert table["group"].tolist() == sorted(table["group"])
    assert table.loc[table["group"] == "0031/1", "slot"].tolist() == ["L-CC", "L-MLO", "R-CC", "R-MLO"]
    assert (table["slot"] == table["laterality"] + "-" + table["view"]).all()
    assert any(note.endswith("3 of 5; with a view more than once: 1") for note in catalog.notes)


def test_numbers_keep_their_zeros(tmp_path):
    """Subject 0007 is not subject 7."""
    assert set(dream_dm(write(tmp_path)).table["patient"]) == {"0007", "0012", "0031"}


def test_an_exam_twice_is_refused(tmp_path):
    """Two rows for one exam would double its images, or hide one of two results."""
    with pytest.raises(CatalogError, match=r"exams twice, the first: 0007/2"):
        dream_dm(write(tmp_path, exams=(*EXAMS, EXAMS[1].replace("\t1\t0\t1", "\t0\t0\t0"))))


def test_rows_that_repeat_or_lack_their_other_half_are_counted(tmp_path):
    """A repeated image counts once; an image without exam is unknown; an exam without image is counted."""
    rows = ["0007\t1\t1\tCC\tL\t00070101.dcm", "0099\t1\t1\tCC\tL\t0099.dcm"]
    write(tmp_path, extra_rows=rows, exams=(*EXAMS, EXAMS[0].replace("0007", "0500")))
    (tmp_path / "trainingData" / "0099.dcm").write_bytes((tmp_path / "trainingData" / "00070101.dcm").read_bytes())
    catalog = dream_dm(tmp_path)
    assert len(catalog) == 19
    assert np.isnan(film(catalog, "0099")["cancer"])
    said = " | ".join(catalog.notes)
    assert "say the same again, left out: 1" in said
    assert "without a row for their exam, with unknown targets: 1" in said
    assert "exams without an image here: 1 of 6" in said


def test_a_side_of_unknown_spelling_is_refused(tmp_path):
    """Without a side there is no result to take."""
    with pytest.raises(CatalogError, match="laterality is L or R; found B"):
        dream_dm(write(tmp_path, extra_rows=["0007\t1\t9\tCC\tB\tx.dcm"]))


# -- files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quirks", [{}, {"pilot": True}, {"suffix": ".dcm.gz"}])
def test_every_layout_gives_the_same_films(tmp_path, quirks):
    """The containers' folders, those of the pilot, and a crosswalk that names files as they were packed."""
    catalog = dream_dm(write(tmp_path, **quirks))
    assert len(catalog) == 18
    assert all(catalog.path(row).is_file() for row in range(18))


def test_missing_images_are_counted_or_refused(tmp_path):
    """As every data set does; images that no row names are named."""
    write(tmp_path, absent=["00070101"])
    (tmp_path / "trainingData" / "stray.dcm").write_bytes(b"")
    catalog = dream_dm(tmp_path)
    assert len(catalog) == 17
    assert any(note.startswith("1 of 18 images are not in") for note in catalog.notes)
    assert any("stray" in note for note in catalog.notes)
    with pytest.raises(CatalogError, match="1 of 18 images"):
        dream_dm(tmp_path, missing="raise")
    with pytest.raises(CatalogError, match="no folder 'elsewhere'"):
        dream_dm(tmp_path, images="elsewhere")


def test_two_pairs_of_tables_have_to_be_told_apart(tmp_path):
    """The pilot's tables beside the challenge's: nobody can guess which are meant."""
    write(tmp_path)
    write(tmp_path, pilot=True)
    with pytest.raises(CatalogError, match="has several tables exams_metadata"):
        dream_dm(tmp_path)


# -- from tables to batches ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exams(tmp_path_factory):
    """The miniature, split by woman, as a cache of two sizes with the breast at its chest wall."""
    root = tmp_path_factory.mktemp("dream")
    catalog = dream_dm(write(root / "data")).split({"train": 0.7, "test": 0.3}, by="patient", seed=1)
    return resload.build(
        catalog,
        root / "dream.zarr",
        sizes=((26, 26), (13, 13)),
        fit=Pad(align="chest-wall"),
        columns=("laterality",),
        identifiers="keep",
        progress=False,
    )


def test_a_woman_is_in_one_split(exams):
    """Her exams, of different years, stay together."""
    assert (exams.table.groupby("patient")["split"].nunique() == 1).all()
    assert set(exams.table["split"]) == {"train", "test"}


def test_batches_know_exam_slot_and_side(exams):
    """A batch says of each image which exam it is of, and which view of it: whole exams can be put together."""
    loader = resload.Loader(exams, size=26, batch_size=18, columns=("laterality",))
    (batch,) = loader
    table = exams.table.set_index("id").loc[batch.ids]
    assert batch.group == table["group"].tolist()
    assert batch.slot == table["slot"].tolist()
    assert batch.columns == {"laterality": table["laterality"].tolist()}
    np.testing.assert_array_equal(batch.targets[:, 0].numpy(), table["cancer"].to_numpy())
    assert batch.known[:, 0].sum() == 15


def test_the_chest_wall_is_where_the_side_says(exams):
    """A left breast touches the left border and its canvas is on the right; a right one the other way round."""
    (batch,) = resload.Loader(exams, size=26, batch_size=18, columns=("laterality",))
    for image, side, content in zip(batch.images, batch.columns["laterality"], batch.content, strict=True):
        assert content[3] == 20  # 26 x 20 films in 26 x 26
        assert content[1] == (0 if side == "L" else 6)
        wall, canvas = (image[0, :, 0], image[0, :, -1]) if side == "L" else (image[0, :, -1], image[0, :, 0])
        assert wall.max() > 0
        assert canvas.max() == 0
