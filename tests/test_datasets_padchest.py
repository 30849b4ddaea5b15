"""PadChest: each trap of its files (facts of `bimcv.py`)."""

import ast
import math

import numpy as np
import pandas as pd
import pytest

from resload import decode
from resload.datasets import padchest
from resload.datasets.bimcv import DAMAGED, TARGETS, parse_table
from resload.errors import ArgumentError, CatalogError
from resload.testing.miniatures.bimcv import FILMS, HEADER, TABLE
from resload.testing.miniatures.bimcv import write as bimcv
from resload.testing.miniatures.images import write_png

IDS = [film[0].removesuffix(".png") for film in FILMS]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The miniature; it is not changed."""
    return bimcv(tmp_path_factory.mktemp("padchest"))


def film(catalog, number):
    return catalog.table.set_index("id").loc[IDS[number]]


# -- labels --


def test_a_label_is_a_whole_word(root):
    """`nodule` is not in `pseudonodule`, nor `emphysema` in `subcutaneous emphysema`, nor effusions of other places."""
    catalog = padchest(root, findings=["nodule", "pseudonodule", "pleural effusion", "subcutaneous emphysema"])
    values = catalog.table.set_index("id")[list(catalog.targets)]
    assert values.loc[IDS[1]].tolist() == [1, 1, 0, 0]
    assert values.loc[IDS[2]].tolist() == [0, 1, 0, 0]
    assert values.loc[IDS[3]].tolist() == [0, 0, 0, 1]
    assert film(padchest(root), 3)["emphysema"] == 0


def test_blanks_around_labels_do_not_count(root):
    """' nodule ' and 'pleural effusion ' are the labels without blanks; '' is none."""
    row = film(padchest(root), 6)
    assert (row["cardiomegaly"], row["pleural effusion"]) == (1, 1)
    assert row["labels"] == "cardiomegaly|pleural effusion"
    assert film(padchest(root), 3)["labels"] == "subcutaneous emphysema"


def test_a_report_that_says_nothing_is_unknown(root):
    """`unchanged` alone, `exclude` alone and no list at all are not zeros; beside a finding they do not count."""
    catalog = padchest(root, unusable="keep")
    for number in (4, 5, 7):
        assert film(catalog, number)[list(TARGETS)].isna().all()
    assert film(catalog, 8)["emphysema"] == 1
    assert film(catalog, 8)["nodule"] == 0
    assert any(note.startswith("3 films have no label about findings") for note in catalog.notes)


def test_lists_are_read_and_not_run(tmp_path):
    """A list is data: a call in its place is refused and does nothing."""
    bimcv(tmp_path)
    text = (tmp_path / TABLE).read_text().replace("['normal']\"", "__import__('os').remove('x')\"", 1)
    (tmp_path / TABLE).write_text(text)
    with pytest.raises(CatalogError, match="Labels are lists of texts"):
        padchest(tmp_path)


def test_findings_that_no_film_has_are_refused(root):
    """A misspelled finding would be a target of zeros; the message has those that are spelled alike."""
    with pytest.raises(ArgumentError, match=r"no film of .* has the finding 'Nodule'; spelled alike: nodule"):
        padchest(root, findings=["Nodule"])
    with pytest.raises(ArgumentError, match="has the finding 'unchanged'"):
        padchest(root, findings=["unchanged"])


# -- pixels --


def test_the_depth_is_that_of_the_film_and_not_of_the_file(root):
    """10 and 12 bits in 16-bit PNGs: `bits` says which, also after a scan whose headers say 16."""
    catalog = padchest(root)
    assert catalog.table["bits"].tolist() == [12, 12, 12, 10, 10, 12, 12]
    assert decode.read_header(catalog.path(3)).bits == 16
    assert catalog.scan(progress=False).table["bits"].tolist() == catalog.table["bits"].tolist()


def test_full_scale_is_full_scale_in_a_cache(root, tmp_path):
    """A white pixel of a 10-bit film is as white as one of a 12-bit film; dividing by 65,535 makes both black."""
    import resload

    cache = resload.build(padchest(root), tmp_path / "a.zarr", ((12, 10),), progress=False)
    stored = cache.read(np.arange(len(cache)), (12, 10))
    assert stored.dtype == np.uint16
    assert (stored.reshape(len(cache), -1).max(axis=1) == 65535).all()


# -- films --


@pytest.mark.parametrize("layout", ["*", "", "images", "images/*"])
@pytest.mark.parametrize("packed", [True, False])
def test_images_are_found_in_every_layout(tmp_path, layout, packed):
    """In folders 0 to 54, or all in one; the table packed or not."""
    catalog = padchest(bimcv(tmp_path, layout=layout, packed=packed))
    assert len(catalog) == 7
    assert all(catalog.path(row).is_file() for row in range(7))


def test_unusable_projections_are_left_out_and_counted(root):
    """EXCLUDE and UNK are no projections; `unusable="keep"` keeps the films."""
    catalog = padchest(root)
    assert set(catalog.table["view"]) == {"PA", "L", "AP_horizontal", "AP", "COSTAL"}
    assert "films of the projections EXCLUDE and UNK, left out: 2" in catalog.notes
    assert not any("that no row of the table names" in note for note in catalog.notes)
    assert len(padchest(root, unusable="keep")) == 9


def test_whose_labels_is_a_choice(root):
    """Physicians' and the network's are told apart by a column and chosen by a policy."""
    assert set(padchest(root).table["labelled_by"]) == {"Physician", "RNN_model"}
    physician, network = padchest(root, labelled_by="physician"), padchest(root, labelled_by="rnn")
    assert (len(physician), len(network)) == (4, 3)
    assert "films whose labels are not by 'rnn', left out: 4" in network.notes


def test_nan_and_none_are_nothing(root):
    """Missing values are texts in this table: an age, a sex and a depth of 'None' must not be one."""
    row = film(padchest(root), 3)
    assert math.isnan(row["age"])
    assert pd.isna(row["sex"])
    assert film(padchest(root), 0)["age"] == 84


def test_patients_keep_all_their_digits(root):
    """Numbers of 39 digits do not fit a float: two patients would become one."""
    table = padchest(root).table
    assert table["patient"].iloc[0] == "8398604886942"
    assert table["group"].iloc[1] == "S2305"
    assert table["patient"].nunique() == 5


def test_damaged_files_are_counted_and_go_to_quarantine(tmp_path):
    """The 21 files of the release that are broken are known; a build goes on without them."""
    import resload

    assert len(DAMAGED) == 21
    catalog = padchest(bimcv(tmp_path / "data", damaged=True))
    assert "1 files of this table are known to be missing or damaged in the release" in catalog.notes
    cache = resload.build(catalog, tmp_path / "a.zarr", (16,), progress=False)
    assert [f"{id_}.png" for id_ in cache.quarantine["id"]] == sorted(
        DAMAGED & {f"{i}.png" for i in catalog.table["id"]}
    )


def test_what_is_missing_and_what_is_too_much_is_said(tmp_path):
    """A file that lacks is left out, one that no row names is not in the catalog; both are in the notes."""
    root = bimcv(tmp_path, leave_out=(FILMS[6][0],))
    write_png(root / "54" / "other.png")
    catalog = padchest(root)
    assert len(catalog) == 6
    assert any(note.startswith("1 of 7 images are not in") for note in catalog.notes)
    assert "images that no row of the table names, left out: other.png" in catalog.notes
    with pytest.raises(CatalogError, match="1 of 7 images"):
        padchest(root, missing="raise")


def test_an_exam_of_two_patients_is_said(tmp_path):
    """The release has one; whole exams would else carry a patient into two splits without a word."""
    bimcv(tmp_path)
    text = (tmp_path / TABLE).read_text().replace("S2306,2306", "S2305,2306")
    (tmp_path / TABLE).write_text(text)
    assert "exams of more than one patient, kept as they are: S2305" in padchest(tmp_path).notes


def test_another_table_is_refused(tmp_path):
    """It is named with what it lacks."""
    path = tmp_path / TABLE
    path.write_text(HEADER.replace("BitsStored_DICOM", "Bits") + "\n")
    with pytest.raises(CatalogError, match=r"no table of PadChest: it has no column BitsStored_DICOM"):
        parse_table(path)


def test_the_miniature_is_spelled_as_the_release():
    """Its labels are lists that Python reads, as the real ones are."""
    assert all(isinstance(ast.literal_eval(film[-1]), list) for film in FILMS if film[-1])
