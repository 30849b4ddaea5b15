"""ChestX-ray14: each trap of its files, on a miniature spelled as they are, and the real table's counts."""

import gzip
import logging

import numpy as np
import pandas as pd
import pytest

from resload.datasets import chestxray14
from resload.datasets.nih import TARGETS, parse_boxes, parse_entries
from resload.errors import ArgumentError, CatalogError
from resload.testing.miniatures.images import write_png
from resload.testing.miniatures.nih import BOX_ROWS, HEADER, NAMES, ROWS
from resload.testing.miniatures.nih import write as nih


def positives(catalog, id_):
    row = catalog.table.set_index("id").loc[id_]
    return {name for name in TARGETS if row[name] == 1}


def entries(tmp_path, *lines):
    path = tmp_path / "entries.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


# -- the table ---------------------------------------------------------------------------------------------


def test_the_catalog_has_what_the_table_says(tmp_path):
    """Ids, patients, views, ages, sexes and the 14 targets, as numbers and texts of plain types."""
    catalog = chestxray14(nih(tmp_path))
    assert catalog.targets == TARGETS
    assert len(TARGETS) == 14
    first = catalog.table.iloc[0]
    assert (first["id"], first["patient"], first["view"], first["sex"]) == ("00000001_000", 1, "PA", "M")
    assert (first["age"], first["follow_up"]) == (57.0, 0)
    assert catalog.table["patient"].dtype == np.int64
    assert all(catalog.table[name].dtype == np.float32 for name in TARGETS)
    assert catalog.path(0) == tmp_path / "images" / "00000001_000.png"


def test_labels_are_divided_at_the_bar(tmp_path):
    """Two findings are two ones; `No Finding` is zeros, not unknown; underscores are kept."""
    catalog = chestxray14(nih(tmp_path))
    assert positives(catalog, "00000001_001") == {"Cardiomegaly", "Emphysema"}
    assert positives(catalog, "00000005_006") == {"Infiltration", "Pleural_Thickening"}
    assert positives(catalog, "00000002_000") == set()
    assert not catalog.table[list(TARGETS)].isna().any(axis=None)


def test_an_unknown_label_is_refused(tmp_path):
    """A misspelled finding would silently be a negative."""
    path = entries(tmp_path, HEADER, ROWS[0].replace("Cardiomegaly", "Mass|Pleural Thickening"))
    with pytest.raises(CatalogError, match="'Pleural Thickening'"):
        parse_entries(path)


def test_header_commas_do_not_shift_width_and_height(tmp_path):
    """`OriginalImage[Width,Height]` is two columns: width first, and the spacing's x before its y."""
    table = parse_entries(entries(tmp_path, HEADER, "a.png,Mass,0,1,57,M,PA,2500,2048,0.1,0.2"))
    first = table.iloc[0]
    assert (first["original_width"], first["original_height"]) == (2500, 2048)
    assert (first["original_spacing_x"], first["original_spacing_y"]) == (0.1, 0.2)


@pytest.mark.parametrize("in_header", [True, False])
@pytest.mark.parametrize("in_rows", [True, False])
def test_trailing_commas_shift_nothing(tmp_path, in_header, in_rows):
    """The first release ends lines in a comma; a line longer than its header must not become an index."""
    lines = [HEADER + "," * in_header, *(row + "," * in_rows for row in ROWS)]
    pd.testing.assert_frame_equal(
        parse_entries(entries(tmp_path, *lines)), parse_entries(entries(tmp_path, HEADER, *ROWS))
    )


def test_resaved_tables_are_read(tmp_path):
    """Copies that circulate spell the split columns, the sex and the ages in another way."""
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
        "OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,OriginalImagePixelSpacing_y"
    )
    rows = [ROWS[0].replace(",57,", f",{age},") for age in ("058Y", "006M", "073D", "57")]
    table = parse_entries(entries(tmp_path, "\ufeff" + header, *rows))
    assert table["age"].tolist() == pytest.approx([58, 0.5, 0.2, 57], abs=1e-3)
    assert (table["sex"] == "M").all()
    assert (table["original_height"] == 2749).all()


def test_impossible_ages_become_unknown(tmp_path):
    """The first release has people of several hundred years; it is said how many."""
    notes = []
    rows = [ROWS[0].replace(",57,", f",{age},") for age in (414, 95)]
    table = parse_entries(entries(tmp_path, HEADER, *rows), notes)
    assert np.isnan(table["age"][0])
    assert table["age"][1] == 95
    assert notes == ["ages that are above 120 years or no ages at all, now unknown: 1"]


def test_another_table_is_refused(tmp_path):
    """A CSV without the columns is named, with those it has."""
    with pytest.raises(CatalogError, match=r"no column Finding Labels.*found: \['Image Index', 'x'\]"):
        parse_entries(entries(tmp_path, "Image Index,x", "a.png,1"))


@pytest.mark.parametrize("name", ["Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv"])
@pytest.mark.parametrize("packed", [True, False])
def test_both_releases_are_found_packed_or_not(tmp_path, name, packed):
    """Either file name, also ending in .gz, gives the same catalog."""
    nih(tmp_path, entries=name, trailing_comma=name == "Data_Entry_2017.csv")
    if packed:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        (tmp_path / name).unlink()
    assert list(chestxray14(tmp_path).table["original_width"]) == [2682, 2894, 2500, 2500, 2048, 2048]


def test_a_folder_without_a_table_is_refused(tmp_path):
    """The message names the file that is wanted and those that are there."""
    write_png(tmp_path / "other.png")
    with pytest.raises(CatalogError, match=r"Data_Entry_2017_v2020\.csv.*found: other\.png"):
        chestxray14(tmp_path)
    with pytest.raises(CatalogError, match="found: nothing"):
        chestxray14(tmp_path / "nowhere")


# -- millimetres -------------------------------------------------------------------------------------------


def test_spacing_is_that_of_the_released_file(tmp_path):
    """A 2500 x 2048 film (width x height) of 0.168 mm, squashed to 1024 x 1024: 0.410 by 0.336 mm."""
    table = chestxray14(nih(tmp_path)).table.set_index("id")
    film = table.loc["00000003_001"]
    assert film["spacing_x"] == pytest.approx(0.168 * 2500 / 1024)
    assert film["spacing_y"] == pytest.approx(0.168 * 2048 / 1024)
    assert (round(film["spacing_x"], 3), round(film["spacing_y"], 3)) == (0.410, 0.336)


def test_the_mirror_has_its_own_spacing_and_boxes(tmp_path):
    """In the 224 px mirror a pixel is 1024/224 times as wide, and boxes are in the mirror's pixels."""
    full = chestxray14(nih(tmp_path / "full"))
    mirror = chestxray14(nih(tmp_path / "mirror", images="images-224/images-224", side=224))
    for name in ("spacing_y", "spacing_x"):
        np.testing.assert_allclose(mirror.table[name], full.table[name] * 1024 / 224)
    for name in ("x", "y", "width", "height"):
        np.testing.assert_allclose(mirror.boxes[name], full.boxes[name] * 224 / 1024)


def test_a_broken_first_file_does_not_hide_the_side(tmp_path):
    """The side is read from the first file of a folder that can be read."""
    nih(tmp_path, side=224)
    (tmp_path / "images" / NAMES[0]).write_bytes(b"")
    assert chestxray14(tmp_path).table["spacing_x"][2] == pytest.approx(0.171 * 2500 / 224)


def test_films_are_the_released_size_where_no_file_can_be_read(tmp_path):
    """With nothing to go by, a file has 1024 px as released."""
    nih(tmp_path, side=224)
    for name in NAMES:
        (tmp_path / "images" / name).write_bytes(b"")
    assert chestxray14(tmp_path).table["spacing_x"][2] == pytest.approx(0.171 * 2500 / 1024)


# -- boxes -------------------------------------------------------------------------------------------------


def test_boxes_are_spelled_as_the_labels(tmp_path):
    """`Infiltrate` is `Infiltration`; the header's empty columns are none; x, y, width, height as they are."""
    boxes = chestxray14(nih(tmp_path)).boxes
    assert list(boxes.columns) == ["id", "label", "x", "y", "width", "height"]
    assert list(boxes["label"]) == ["Infiltration", "Mass", "Nodule"]
    np.testing.assert_allclose(
        boxes[["x", "y", "width", "height"]].iloc[0],
        [225.084745762712, 547.019216763771, 86.7796610169491, 79.1864406779661],
    )


def test_lines_padded_with_commas_are_the_same_boxes(tmp_path):
    """Copies whose lines have the header's nine fields shift nothing."""
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join(["Image Index,Finding Label,Bbox [x,y,w,h],,,", *(f"{r},,," for r in BOX_ROWS)]))
    boxes = parse_boxes(path)
    assert list(boxes["id"]) == ["00000005_006", "00000008_000", "00000008_000"]
    assert list(boxes["height"]) == pytest.approx([79.1864406779661, 313.491525423729, 40])


def test_a_box_of_an_unknown_finding_is_refused(tmp_path):
    """A label no target has would be lost in training without a word."""
    path = tmp_path / "boxes.csv"
    path.write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\na.png,Massa,1,2,3,4\n")
    with pytest.raises(CatalogError, match="Massa"):
        parse_boxes(path)


def test_boxes_can_be_left_out_or_absent(tmp_path):
    """Without the file there are none and a note says so; `boxes=False` does not look."""
    nih(tmp_path)
    assert chestxray14(tmp_path, boxes=False).boxes is None
    (tmp_path / "BBox_List_2017.csv").unlink()
    catalog = chestxray14(tmp_path)
    assert catalog.boxes is None
    assert any("no boxes" in note for note in catalog.notes)


# -- images ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "images",
    ["images", "images_*/images", "images_*", "images-224/images-224", "images-224", "images/images_*", ""],
)
def test_images_are_found_in_every_layout(tmp_path, images):
    """Each layout that circulates, with every film's path a file."""
    catalog = chestxray14(nih(tmp_path, images=images))
    assert len(catalog) == len(NAMES)
    assert all(catalog.path(row).is_file() for row in range(len(catalog)))
    assert [catalog.path(row).name for row in range(len(catalog))] == list(NAMES)


def test_missing_images_are_skipped_and_counted(tmp_path, caplog):
    """The default leaves them out with their boxes, and says how many in one logged line and in notes."""
    with caplog.at_level(logging.WARNING, logger="resload"):
        catalog = chestxray14(nih(tmp_path, names=NAMES[:4]))
    assert list(catalog.table["image" if "image" in catalog.table else "id"]) == [n[:-4] for n in NAMES[:4]]
    assert len(catalog.boxes) == 0
    assert any(note.startswith("2 of 6 images are not in") for note in catalog.notes)
    assert "2 of 6 images" in caplog.text


def test_missing_images_are_refused_if_asked(tmp_path):
    """`missing="raise"` names the first and the way out."""
    nih(tmp_path, names=NAMES[:4])
    with pytest.raises(CatalogError, match=r"2 of 6 images.*00000005_006\.png.*missing='skip'"):
        chestxray14(tmp_path, missing="raise")
    with pytest.raises(ArgumentError, match="'skip' or 'raise'"):
        chestxray14(tmp_path, missing="ignore")


def test_no_image_at_all_is_refused(tmp_path):
    """An empty catalog is never what was meant."""
    with pytest.raises(CatalogError, match=r"6 of 6 images.*is the data set unpacked there"):
        chestxray14(nih(tmp_path, images=None))


def test_two_copies_of_the_images_have_to_be_told_apart(tmp_path):
    """With the mirror beside the originals nobody can guess which pixels are meant; `images=` says it."""
    nih(tmp_path, images="images_*/images")
    nih(tmp_path, images="images-224/images-224", side=224)
    with pytest.raises(CatalogError, match=r"is both in .*images="):
        chestxray14(tmp_path)
    small = chestxray14(tmp_path, images="images-224")
    assert small.path(0).parent == tmp_path / "images-224" / "images-224"
    assert small.table["spacing_x"][2] == pytest.approx(0.171 * 2500 / 224)
    with pytest.raises(CatalogError, match="no folder 'elsewhere'"):
        chestxray14(tmp_path, images="elsewhere")


# -- official lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["", "_NIH"])
def test_official_lists_become_the_split(tmp_path, spelling):
    """Both spellings, with any line ends: their train-and-validation part is `train`."""
    catalog = chestxray14(nih(tmp_path, lists=spelling))
    assert list(catalog.table["split"]) == ["train"] * 4 + ["test"] * 2


def test_without_lists_there_is_no_split(tmp_path):
    """No list, no column; a note says how to make one."""
    catalog = chestxray14(nih(tmp_path))
    assert "split" not in catalog.table
    assert any("catalog.split" in note for note in catalog.notes)


def test_a_film_on_no_list_has_no_split(tmp_path):
    """It is in neither part, and counted."""
    nih(tmp_path, lists="")
    (tmp_path / "test_list.txt").write_text(NAMES[4])
    catalog = chestxray14(tmp_path)
    assert catalog.table["split"].isna().tolist() == [False] * 5 + [True]
    assert any(note.startswith("1 of 6 films are in no official list") for note in catalog.notes)


def test_a_film_on_both_lists_is_refused(tmp_path):
    """A leak in the lists themselves is not passed on."""
    nih(tmp_path, lists="")
    (tmp_path / "test_list.txt").write_text("\n".join(NAMES))
    with pytest.raises(CatalogError, match=r"train and in the test list.*00000001_000"):
        chestxray14(tmp_path)


# -- the real files ----------------------------------------------------------------------------------------

COUNTS = {
    "Infiltration": 19894,
    "Effusion": 13317,
    "Atelectasis": 11559,
    "Nodule": 6331,
    "Mass": 5782,
    "Pneumothorax": 5302,
    "Consolidation": 4667,
    "Pleural_Thickening": 3385,
    "Cardiomegaly": 2776,
    "Emphysema": 2516,
    "Edema": 2303,
    "Fibrosis": 1686,
    "Pneumonia": 1431,
    "Hernia": 227,
}


@pytest.mark.real
def test_the_real_table_counts_as_published(real_data):
    """112,120 films of 30,805 patients, with every finding as often as the data set's page says."""
    table = parse_entries(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz")
    assert (len(table), table["patient"].nunique()) == (112120, 30805)
    assert table[list(TARGETS)].sum().to_dict() == COUNTS
    assert (table[list(TARGETS)].sum(axis=1) == 0).sum() == 60361
    assert table["view"].value_counts().to_dict() == {"PA": 67310, "AP": 44810}
    assert (table["age"].min(), table["age"].max()) == (0, 95)
    assert (table["original_width"] == table["original_height"]).sum() == 4440
    shapes = table.groupby(["original_width", "original_height"]).size()
    assert (len(shapes), shapes[2500, 2048], shapes[2992, 2991]) == (10471, 37153, 21961)


@pytest.mark.real
def test_the_real_boxes_count_as_published(real_data):
    """984 boxes on 880 films, all inside 1024 x 1024."""
    boxes = parse_boxes(real_data / "nih" / "BBox_List_2017.csv")
    assert (len(boxes), boxes["id"].nunique()) == (984, 880)
    assert (boxes["label"] == "Infiltration").sum() == 123
    assert (boxes["x"] + boxes["width"]).max() <= 1024
    assert (boxes["y"] + boxes["height"]).max() <= 1024


@pytest.mark.real
def test_the_real_films_are_a_catalog(real_data):
    """90 films with their boxes; the other 112,030 are counted; headers agree with the table."""
    catalog = chestxray14(real_data / "nih")
    assert len(catalog) == 90
    assert any(note.startswith("112030 of 112120 images") for note in catalog.notes)
    assert catalog.boxes is not None
    assert set(catalog.boxes["id"]) <= set(catalog.table["id"])
    scanned = catalog.scan(progress=False).table
    assert (scanned["height"] == 1024).all()
    assert (scanned["bits"] == 8).all()
    np.testing.assert_array_equal(scanned["spacing_x"], catalog.table["spacing_x"])
