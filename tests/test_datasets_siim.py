"""SIIM-ACR Pneumothorax: each trap of its files (facts of `siim.py`), and its real run-lengths."""

import numpy as np
import pytest

from resload.datasets import siim_pneumothorax
from resload.datasets.siim import parse_masks
from resload.errors import CatalogError
from resload.masks.read import film_masks
from resload.masks.runs import decode_runs
from resload.testing.miniatures.siim import FILMS, PREFIX, TEST_FILM
from resload.testing.miniatures.siim import write as siim


def film(catalog, number):
    return catalog.table.set_index("id").loc[PREFIX + FILMS[number]]


def mask_of(catalog, id_):
    """The film's one mask, or None where it is unknown."""
    rows = catalog.masks[catalog.masks["id"] == id_]
    return film_masks(rows, ["pneumothorax"], 1024)[0][0]


def plainly(runs):
    """A mask by the definition, pixel after pixel down the columns: a gap from the end of the last run, then a run."""
    flat = np.zeros(1024 * 1024, bool)
    at = 0
    numbers = [int(word) for word in runs.split()]
    for gap, length in zip(numbers[0::2], numbers[1::2], strict=True):
        at += gap
        assert at + length <= flat.size, "a run leaves the film"
        flat[at : at + length] = True
        at += length
    return flat.reshape(1024, 1024).T


@pytest.mark.parametrize("blank", [" ", ""])
def test_a_blank_before_minus_one_is_no_positive(tmp_path, blank):
    """The challenge's file writes " EncodedPixels" and " -1": compared with "-1", every film would be positive."""
    catalog = siim_pneumothorax(siim(tmp_path, blank=blank))
    assert catalog.select(split="train").table["pneumothorax"].tolist() == [0, 0, 1, 1, 1]


def test_run_lengths_are_relative_and_run_down_the_columns(tmp_path):
    """Read from the start of the film, or along rows, the same numbers are another mask."""
    catalog = siim_pneumothorax(siim(tmp_path))
    assert set(catalog.masks["rle_format"]) == {"siim"}
    mask = mask_of(catalog, PREFIX + FILMS[2])
    inside = np.argwhere(mask)
    assert inside.min(axis=0).tolist() == [100, 100]
    assert inside.max(axis=0).tolist() == [199, 102]
    np.testing.assert_array_equal(mask, plainly("102500 100 924 100 924 100"))


def test_several_annotations_are_united(tmp_path):
    """Three rows of one film are one mask of all of them; the last alone would be 10 pixels."""
    catalog = siim_pneumothorax(siim(tmp_path))
    mask = mask_of(catalog, PREFIX + FILMS[3])
    assert mask.sum() == 75 + 20 + 10
    assert "1 films have several annotations, which are united" in catalog.notes
    assert len(catalog.table) == 6


def test_no_pneumothorax_is_an_empty_mask_and_a_test_film_an_unknown_one(tmp_path):
    """Both are counted differently by a loss."""
    catalog = siim_pneumothorax(siim(tmp_path))
    assert mask_of(catalog, PREFIX + FILMS[0]).sum() == 0
    assert mask_of(catalog, TEST_FILM) is None
    assert np.isnan(catalog.table.set_index("id").loc[TEST_FILM, "pneumothorax"])


@pytest.mark.parametrize("layout", ["stage_1", "stage_2", "flat"])
def test_films_are_found_in_every_layout(tmp_path, layout):
    """A folder for each study and series, one folder, or none; the table of either stage."""
    catalog = siim_pneumothorax(siim(tmp_path, layout=layout))
    assert catalog.table["split"].tolist() == ["train"] * 5 + ["test"]
    assert all(catalog.path(row).is_file() for row in range(6))


def test_test_films_can_be_left_out(tmp_path):
    """They are counted then."""
    catalog = siim_pneumothorax(siim(tmp_path), unlabelled="skip")
    assert len(catalog) == 5
    assert "films for testing without labels, left out: 1" in catalog.notes


def test_a_film_without_a_row_is_no_negative(tmp_path):
    """A file in a folder for training that no row names is left out and counted, not taken as healthy."""
    root = siim(tmp_path)
    source = next((root / "dicom-images-train").rglob("*.dcm"))
    (source.parent / "1.2.3.dcm").write_bytes(source.read_bytes())
    catalog = siim_pneumothorax(root)
    assert "1.2.3" not in set(catalog.table["id"])
    assert "images that no row of the table names, left out: 1.2.3.dcm" in catalog.notes


def test_missing_films_are_counted_or_refused(tmp_path):
    """Their masks go with them."""
    root = siim(tmp_path, leave_out=(FILMS[3],))
    catalog = siim_pneumothorax(root)
    assert PREFIX + FILMS[3] not in set(catalog.masks["id"])
    with pytest.raises(CatalogError, match=r"1 of 6 images.*missing='skip'"):
        siim_pneumothorax(root, missing="raise")


def test_films_that_are_there_twice_have_to_be_told_apart(tmp_path):
    """`images=` says which are meant."""
    siim(tmp_path)
    siim(tmp_path / "copy")
    with pytest.raises(CatalogError, match=r"is both in .*images="):
        siim_pneumothorax(tmp_path)
    assert len(siim_pneumothorax(tmp_path, images="copy")) == 6


def test_headers_are_read_when_asked_for(tmp_path):
    """View, sex and age (written as `62`, which the standard does not know) are in the DICOM files only."""
    root = siim(tmp_path)
    assert "view" not in siim_pneumothorax(root).table
    row = film(siim_pneumothorax(root, header=True), 0)
    assert (row["view"], row["sex"], row["age"]) == ("PA", "M", 62)


def test_a_row_that_says_nothing_is_refused(tmp_path):
    """Neither run-lengths nor -1: nobody knows which is meant."""
    path = tmp_path / "train-rle.csv"
    path.write_text("ImageId, EncodedPixels\na, -1\nb,\n")
    with pytest.raises(CatalogError, match="without run-lengths and without -1: b"):
        parse_masks(path)


def test_odd_rows_are_said(tmp_path):
    """A repeated row is one; an outline counts more than a -1 beside it."""
    path = tmp_path / "train-rle.csv"
    path.write_text("ImageId, EncodedPixels\na, -1\na, 5 2\nb, 1 1\nb, 1 1\n")
    notes = []
    assert len(parse_masks(path, notes)) == 3
    assert notes == [
        "rows that repeat another one, left out: 1",
        "films with an outline and with -1, taken as positive: a",
    ]


def test_nobody_knows_the_patients(tmp_path):
    """PatientID in the header is a film's name."""
    catalog = siim_pneumothorax(siim(tmp_path), header=True)
    assert "patient" not in catalog.table
    assert any("no patient is known" in note for note in catalog.notes)


def test_stale_spacing_is_not_believed(tmp_path):
    """Trap: headers have the spacing of the 2500 x 2048 original, not of the 1024 x 1024 pixels that are there."""
    table = siim_pneumothorax(siim(tmp_path)).scan(progress=False).table
    assert table[["spacing_y", "spacing_x"]].isna().all(axis=None)


@pytest.mark.real
def test_the_real_run_lengths_decode_and_unite(real_data):
    """All stay inside 1024 x 1024; areas are those of a plain decoder, film by film, several annotations united."""
    masks = parse_masks(real_data / "siim" / "train-rle-sample.csv")
    positive = masks[masks["rle"] != "-1"]
    assert (len(masks), len(positive), positive["id"].nunique()) == (129, 89, 60)
    several = 0
    for _, rows in positive.groupby("id"):
        expected = np.any([plainly(runs) for runs in rows["rle"]], axis=0)
        table = rows.assign(label="pneumothorax", rle_format="siim")
        (found,), known = film_masks(table, ["pneumothorax"], 1024)
        assert known.all()
        np.testing.assert_array_equal(found, expected)
        several += len(rows) > 1
        for runs in rows["rle"]:
            assert decode_runs(runs, 1024).sum() == sum(map(int, runs.split()[1::2]))
    assert several == 20
