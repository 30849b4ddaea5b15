"""The catalog: what is a table of films, what is refused, and the ways from one catalog to another."""

import json
import logging
import os
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resload.catalog import Catalog
from resload.errors import ArgumentError, CatalogError
from resload.testing.miniatures.images import write_png


def frame(n=6, **columns):
    table = {
        "id": [f"film{i}" for i in range(n)],
        "path": [f"{i}.png" for i in range(n)],
        "patient": [i // 2 for i in range(n)],
        "nodule": [float(i % 2) if i else None for i in range(n)],
    }
    return pd.DataFrame(table | columns)


def box(id_="film1", **values):
    return pd.DataFrame([{"id": id_, "label": "nodule", "x": 1, "y": 2, "width": 3, "height": 4} | values])


# -- the table ---------------------------------------------------------------------------------------------


def test_a_catalog_keeps_a_copy_with_rows_from_zero():
    """The table that was given may change afterwards, and its index does not matter."""
    table = frame().iloc[::-1]
    catalog = Catalog(table, targets=["nodule"], root="films")
    table.loc[:, "patient"] = 99
    seen = catalog.table
    seen["view"] = "PA"
    assert list(catalog.table.index) == list(range(6))
    assert list(catalog.table["patient"]) == [2, 2, 1, 1, 0, 0]
    assert "view" not in catalog.table
    assert catalog.path(0) == Path("films/5.png")
    assert len(catalog) == 6


def test_targets_are_float32_and_unknown_is_nan():
    """Ints, truth values, nullable types and nothing at all become float32 with NaN."""
    table = frame(
        4,
        whole=[1, 0, 3, -1],
        truth=[True, False, True, True],
        nullable=pd.array([1, None, 0, 1], dtype="Int64"),
        maybe=pd.array([True, None, False, True], dtype="boolean"),
        objects=pd.Series([True, None, False, True], dtype=object),
        mixed=pd.Series([1, 2.5, None, 0], dtype=object),
        nothing=[None] * 4,
    )
    names = [name for name in table.columns if name not in ("id", "path", "patient")]
    catalog = Catalog(table, targets=names)
    assert catalog.targets == tuple(names)
    assert (catalog.table[names].dtypes == np.float32).all()
    expected = {
        "whole": [1, 0, 3, -1],
        "truth": [1, 0, 1, 1],
        "nullable": [1, np.nan, 0, 1],
        "maybe": [1, np.nan, 0, 1],
        "objects": [1, np.nan, 0, 1],
        "mixed": [1, 2.5, np.nan, 0],
        "nothing": [np.nan] * 4,
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(catalog.table[name], np.float32(values))


def test_one_target_may_be_a_plain_name():
    """`targets="nodule"` is one target, not six letters."""
    assert Catalog(frame(), targets="nodule").targets == ("nodule",)


def test_ids_and_paths_are_texts():
    """Numbers as ids, also read as floats, and Path objects as paths."""
    table = frame(2, id=[7.0, 8.0])
    table["path"] = [Path("a/b.png"), Path("/c.png")]
    catalog = Catalog(table, root="root")
    assert list(catalog.table["id"]) == ["7", "8"]
    assert [str(catalog.path(row)) for row in range(2)] == ["root/a/b.png", "/c.png"]


def test_patients_stay_as_they_are():
    """Ints, floats, texts and tuples are all fine, and are not rewritten."""
    for patients in ([1, 2, 3], [1.0, 2.5, 3.0], ["a", "b", "c"], [("a", 1), "b", 3]):
        table = frame(3).assign(patient=pd.Series(patients, dtype=object if "b" in patients else None))
        assert list(Catalog(table).table["patient"]) == patients


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ["a", "b", "a", "c", "b", "a"]}, r"repeated: a, b\. .*Keep one row for each film"),
        ({"id": ["a", None, "c", "d", "e", "f"]}, r"needs 'id'; 1 of 6 have none, the first in row 1"),
        ({"path": ["a", "", "c", "d", None, "f"]}, r"needs 'path'; 2 of 6 have none"),
        ({"nodule": ["1", "0", "1", "0", "1", "0"]}, r"'nodule' must hold numbers.*\['1', '0', '1'\].*to_numeric"),
        ({"nodule": pd.Categorical(["a"] * 6)}, "'nodule' must hold numbers"),
        ({"spacing_y": [0.1, 0.1, 0.0, 0.1, None, 0.1]}, r"'spacing_y' must be > 0.*1 rows.*0\.0"),
        ({"bits": [8, 8, -1, 8, 8, float("inf")]}, "'bits' must be > 0.*2 rows"),
        ({"frame_index": [0, 1, -1, 0, 0, 0]}, "'frame_index' must be a whole number >= 0"),
        ({"frame_index": [0, 1, None, 0, 0, 0]}, "'frame_index' must be a whole number >= 0"),
        ({"split": [0, 1, 2, 3, 4, 0]}, r"'split' holds names.*astype\(str\)"),
    ],
)
def test_a_wrong_table_is_refused_with_what_to_do(change, message):
    """Each refusal names the column, how many rows and which values, and the remedy."""
    with pytest.raises(CatalogError, match=message):
        Catalog(frame(**change), targets=["nodule"])


def test_many_repeats_are_counted_not_listed():
    """The first few ids and how many in all."""
    table = pd.concat([frame(200), frame(200)])
    with pytest.raises(CatalogError, match=r"film0, film1, film2, film3, film4 \.\.\. \(200 in all\)"):
        Catalog(table)


def test_missing_columns_are_listed_with_those_there_are():
    """Both what is needed and what was found."""
    with pytest.raises(CatalogError, match=r"missing: path; found: \['id', 'file'\].*from_csv"):
        Catalog(pd.DataFrame({"id": ["a"], "file": ["a.png"]}))
    with pytest.raises(CatalogError, match=r"no column for target 'mass'; found: \['id', 'path'"):
        Catalog(frame(), targets=["mass"])


def test_an_empty_catalog_is_refused():
    """No rows is a sentence, not a catalog."""
    with pytest.raises(CatalogError, match="at least one radiograph"):
        Catalog(frame(0))


@pytest.mark.parametrize("targets", [["nodule", "nodule"], ["id"], ["spacing_y"], ["split"]])
def test_names_that_cannot_be_targets(targets):
    """Repeated ones, and columns with a meaning of their own."""
    with pytest.raises(CatalogError, match=r"named once|meaning of its own"):
        Catalog(frame(), targets=targets)


def test_a_table_that_is_none_is_refused():
    """Something else than a DataFrame, or columns that are no names."""
    with pytest.raises(CatalogError, match="found dict"):
        Catalog({"id": ["a"]})
    with pytest.raises(CatalogError, match="different names"):
        Catalog(pd.DataFrame([["a", "b"]], columns=["id", "id"]))
    with pytest.raises(CatalogError, match="different names"):
        Catalog(pd.DataFrame([["a", "b"]]))


def test_boxes_and_masks_belong_to_films():
    """Boxes are float64 pixels; those without an area or of unknown films are refused, masks alike."""
    catalog = Catalog(frame(), boxes=box(), masks=pd.DataFrame({"id": ["film2"], "label": ["x"], "rle": ["1 2"]}))
    assert catalog.boxes["x"].dtype == np.float64
    for wrong in ({"width": 0}, {"x": None}, {"height": -1.0}, {"y": float("inf")}):
        with pytest.raises(CatalogError, match="of films film1"):
            Catalog(frame(), boxes=box(**wrong))
    with pytest.raises(CatalogError, match=r"not in the catalog: nobody.*isin"):
        Catalog(frame(), boxes=box("nobody"))
    with pytest.raises(CatalogError, match="missing: label"):
        Catalog(frame(), boxes=box().drop(columns="label"))
    with pytest.raises(CatalogError, match="path or rle"):
        Catalog(frame(), masks=pd.DataFrame({"id": ["film2"], "label": ["x"]}))


def test_repr_says_what_is_in_it():
    """Counts of films, patients, targets and splits."""
    text = repr(Catalog(frame(split=["train"] * 4 + ["test"] * 2), targets=["nodule"]))
    assert text == "<Catalog: 6 radiographs; 3 patients; 1 targets; train 4, test 2; root .>"


# -- select, split, concat ---------------------------------------------------------------------------------


def test_select_by_rows_mask_query_and_split():
    """Four ways to say the same, and rows in the order they were given."""
    catalog = Catalog(frame(split=["train"] * 4 + ["test", None]), targets=["nodule"], boxes=box(), root="r")
    assert list(catalog.select([3, 1]).table["id"]) == ["film3", "film1"]
    assert list(catalog.select(np.arange(6) > 3).table["id"]) == ["film4", "film5"]
    assert list(catalog.select(catalog.table["patient"] == 1).table["id"]) == ["film2", "film3"]
    assert list(catalog.select("patient == 1").table["id"]) == ["film2", "film3"]
    assert list(catalog.select(split="train").table["id"]) == ["film0", "film1", "film2", "film3"]
    assert len(catalog.select(split=["train", "test"])) == 5
    part = catalog.select("patient > 0", split="train")
    assert list(part.table["id"]) == ["film2", "film3"]
    assert (part.targets, part.root, len(part.boxes)) == (("nodule",), catalog.root, 0)
    assert len(catalog.select([1]).boxes) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([6], "from 0 to 5"),
        ([-1], "from 0 to 5"),
        ([0.5], "from 0 to 5"),
        ([True, False], "one value per row, 6"),
        ("view == 'PA'", r"does not fit.*columns: \['id'"),
        ("((", "does not fit"),
    ],
)
def test_wrong_selections_are_refused(rows, message):
    """Rows that are not there, masks of another length, queries of other columns."""
    with pytest.raises(ArgumentError, match=message):
        Catalog(frame()).select(rows)


def test_selecting_nothing_is_refused():
    """An empty catalog would fail much later and less clearly."""
    for rows in ([], "patient > 99", np.zeros(6, dtype=bool)):
        with pytest.raises(CatalogError, match="no radiograph is left of 6"):
            Catalog(frame()).select(rows)
    with pytest.raises(ArgumentError, match="there is no split tset; found: train, test"):
        Catalog(frame(split=["train"] * 4 + ["test"] * 2)).select(split="tset")
    with pytest.raises(ArgumentError, match="has no split"):
        Catalog(frame()).select(split="train")


def test_split_keeps_patients_whole_and_replaces_the_old():
    """A new column in a new catalog; the old catalog is unchanged."""
    catalog = Catalog(frame(40, split=["old"] * 40))
    parts = catalog.split({"train": 0.75, "test": 0.25}, seed=3)
    assert (parts.table.groupby("patient")["split"].agg(set).map(len) == 1).all()
    assert parts.table["split"].value_counts().to_dict() == {"train": 30, "test": 10}
    assert set(catalog.table["split"]) == {"old"}
    again = catalog.split({"train": 0.75, "test": 0.25}, seed=3)
    assert list(again.table["split"]) == list(parts.table["split"])


def test_split_needs_to_know_what_belongs_together():
    """No such column, or films without a patient: the remedy is named; film by film is `by="id"`."""
    catalog = Catalog(frame().drop(columns="patient"))
    with pytest.raises(ArgumentError, match=r"no column 'patient'.*by='id'"):
        catalog.split({"train": 0.5, "test": 0.5})
    with pytest.raises(ArgumentError, match="2 of 6 films have no 'patient'"):
        Catalog(frame(patient=[1, None, 2, 3, None, 4])).split({"train": 0.5, "test": 0.5})
    assert catalog.split({"train": 0.5, "test": 0.5}, by="id").table["split"].value_counts().to_dict() == {
        "train": 3,
        "test": 3,
    }


def test_concat_joins_rows_targets_boxes_and_notes():
    """Targets of either; where one is not known it is NaN; columns of one only have gaps."""
    first = Catalog(frame(2, view=["PA", "AP"]), targets=["nodule"], boxes=box(), notes=["one"])
    other = frame(2, id=["x", "y"], mass=[1, 0], sure=[True, False]).drop(columns="nodule")
    both = Catalog.concat([first, Catalog(other, targets=["mass"], notes=["two"])])
    assert both.targets == ("nodule", "mass")
    np.testing.assert_array_equal(both.table["mass"], np.float32([np.nan, np.nan, 1, 0]))
    np.testing.assert_array_equal(both.table["nodule"], np.float32([np.nan, 1, np.nan, np.nan]))
    assert both.table["sure"].dtype == "boolean"
    assert both.table["view"].isna().tolist() == [False, False, True, True]
    assert len(both.boxes) == 1
    assert both.notes == ("one", "two")
    assert str(both.root) == "."


def test_concat_of_different_roots_still_finds_the_files(tmp_path):
    """Relative paths start from the common folder, absolute ones and masks' paths too."""
    masks = pd.DataFrame({"id": ["film1"], "label": ["lung"], "path": ["m.png"]})
    first = Catalog(frame(2, path=["0.png", "/elsewhere/1.png"]), root=tmp_path / "a" / "films", masks=masks)
    second = Catalog(frame(2, id=["x", "y"]), root=tmp_path / "b")
    both = Catalog.concat([first, second])
    assert both.root == tmp_path
    assert [str(both.path(row)) for row in range(4)] == [
        str(tmp_path / "a/films/0.png"),
        "/elsewhere/1.png",
        str(tmp_path / "b/0.png"),
        str(tmp_path / "b/1.png"),
    ]
    assert list(both.masks["path"]) == ["a/films/m.png"]
    inside = Catalog.concat([Catalog(frame(1), root=tmp_path), Catalog(frame(1, id=["z"]), root=tmp_path / "b")])
    assert [str(inside.path(row)) for row in range(2)] == [str(tmp_path / "0.png"), str(tmp_path / "b/0.png")]


def test_concat_refuses_shared_ids_and_names_set_them_apart():
    """The remedy in the message works: names go before ids, patients and boxes."""
    catalog = Catalog(frame(3, patient=[1, None, 2]), targets=["nodule"], boxes=box())
    with pytest.raises(CatalogError, match=r"share ids: film0, film1, film2\. .*concat\(\{'first': a"):
        Catalog.concat([catalog, catalog])
    both = Catalog.concat({"nih": catalog, "copy": catalog})
    assert list(both.table["id"]) == ["nih/film0", "nih/film1", "nih/film2", "copy/film0", "copy/film1", "copy/film2"]
    assert both.table["patient"].isna().tolist() == [False, True, False] * 2
    assert both.table["patient"].nunique() == 4
    assert list(both.boxes["id"]) == ["nih/film1", "copy/film1"]
    with pytest.raises(ArgumentError, match="at least one"):
        Catalog.concat([])


# -- save, load --------------------------------------------------------------------------------------------

columns = st.sampled_from(
    [
        [1, 2, 3],
        [1.5, None, 2.0],
        ["a", None, "c"],
        [True, False, True],
        pd.array([1, None, 3], dtype="Int64"),
        pd.array([True, None, False], dtype="boolean"),
        pd.Categorical(["u", "v", None]),
        np.float32([1, np.nan, 3]),
        np.uint8([1, 2, 255]),
        pd.to_datetime(["2020-01-01", None, "2021-02-03"]),
        [None, None, None],
    ]
)


@settings(max_examples=25, deadline=None)  # each example writes and reads three files
@given(st.lists(columns, max_size=6))
def test_save_and_load_change_nothing(tmp_path_factory, extras):
    """Values, missing values and the type of every column, the order of columns, targets, boxes, notes."""
    table = frame(3, **{f"extra{i}": values for i, values in enumerate(extras)})
    masks = pd.DataFrame({"id": ["film2"], "label": ["x"], "rle": ["1 2"]})
    catalog = Catalog(table, targets=["nodule"], boxes=box(), masks=masks, root="some/röot", notes=["a", "b"])
    folder = tmp_path_factory.mktemp("saved") / "catalog"
    catalog.save(folder)
    back = Catalog.load(folder)
    for name in ("table", "boxes", "masks"):
        pd.testing.assert_frame_equal(getattr(back, name), getattr(catalog, name), check_exact=True)
    for name in ("targets", "root", "notes"):
        assert getattr(back, name) == getattr(catalog, name)


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path):
    """The second catalog is there whole, with no table of the first and no temporary beside it."""
    Catalog(frame(), boxes=box()).save(tmp_path / "c")
    Catalog(frame(2)).save(tmp_path / "c")
    assert Catalog.load(tmp_path / "c").boxes is None
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["catalog.json", "table.parquet"]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_load_finds_the_films_elsewhere(tmp_path):
    """`root=` is for films that moved."""
    Catalog(frame(), root="old").save(tmp_path / "c")
    assert str(Catalog.load(tmp_path / "c", root="new").path(0)) == "new/0.png"


def test_what_cannot_be_kept_exactly_is_refused(tmp_path):
    """A column of mixed types is named before anything is replaced."""
    good = Catalog(frame())
    good.save(tmp_path / "c")
    for values in ([1, "a", 2.5, None, 1, 1], [("a", 1)] * 6, [[1, 2]] * 6):
        mixed = Catalog(frame(extra=pd.Series(values, dtype=object)))
        with pytest.raises(CatalogError, match=r"column 'extra' \(object\) cannot be kept.*astype\(str\)"):
            mixed.save(tmp_path / "c")
    assert list(Catalog.load(tmp_path / "c").table) == list(good.table)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_other_folders_and_versions_are_refused(tmp_path):
    """A folder with something else is not replaced, one with no catalog or a later one not loaded."""
    write_png(tmp_path / "films" / "a.png")
    with pytest.raises(CatalogError, match="is not a saved catalog"):
        Catalog(frame()).save(tmp_path / "films")
    with pytest.raises(CatalogError, match="no saved catalog"):
        Catalog.load(tmp_path / "films")
    Catalog(frame()).save(tmp_path / "c")
    about = json.loads((tmp_path / "c" / "catalog.json").read_text())
    (tmp_path / "c" / "catalog.json").write_text(json.dumps(about | {"resload_catalog": 2}))
    with pytest.raises(CatalogError, match=r"later resload \(format 2; this one reads 1\)"):
        Catalog.load(tmp_path / "c")
    (tmp_path / "c" / "catalog.json").write_text(json.dumps(about))
    (tmp_path / "c" / "table.parquet").write_bytes(b"PAR1")
    with pytest.raises(CatalogError, match="missing or damaged"):
        Catalog.load(tmp_path / "c")


# -- from_csv ----------------------------------------------------------------------------------------------


def test_a_csv_with_other_names(tmp_path):
    """Named columns get our names, the others stay; ids keep their zeros; numbers stay numbers."""
    (tmp_path / "labels.csv").write_text(
        "Image,Case,PatientID,mass,Age,fold\n001,a.png,7,1,50,train\n002,b.png,8,,60,test\n"
    )
    catalog = Catalog.from_csv(
        tmp_path / "labels.csv",
        root=tmp_path,
        id="Image",
        path="Case",
        patient="PatientID",
        split="fold",
        targets=["mass"],
    )
    assert sorted(catalog.table.columns) == ["Age", "id", "mass", "path", "patient", "split"]
    assert list(catalog.table["id"]) == ["001", "002"]
    assert list(catalog.table["patient"]) == [7, 8]
    np.testing.assert_array_equal(catalog.table["mass"], np.float32([1, np.nan]))
    assert catalog.path(0) == tmp_path / "a.png"


def test_a_csv_needs_only_paths(tmp_path):
    """Ids are made of paths, or with the extension where that would repeat; `id` is used if it is there."""
    csv = tmp_path / "x.csv"
    csv.write_text("path\ntrain/1.2.840.1\ntrain/b.png\n")
    assert list(Catalog.from_csv(csv).table["id"]) == ["train/1.2.840.1", "train/b"]
    csv.write_text("path\nb.dcm\nb.png\n")
    assert list(Catalog.from_csv(csv).table["id"]) == ["b.dcm", "b.png"]
    csv.write_text("id,path\n01,b.dcm\n02,b.png\n")
    assert list(Catalog.from_csv(csv).table["id"]) == ["01", "02"]
    csv.write_text("path,x\n,1\nb.png,2\n")
    with pytest.raises(CatalogError, match="needs 'path'; 1 of 2"):
        Catalog.from_csv(csv)


def test_columns_that_change_places(tmp_path):
    """A name may mean one thing in the CSV and another here; what loses its name is noted."""
    csv = tmp_path / "x.csv"
    csv.write_text("path,file,patient,study\nold,a.png,g1,p1\nold,b.png,g2,p2\n")
    catalog = Catalog.from_csv(csv, path="file", patient="study", group="patient")
    assert list(catalog.table["path"]) == ["a.png", "b.png"]
    assert list(catalog.table["patient"]) == ["p1", "p2"]
    assert list(catalog.table["group"]) == ["g1", "g2"]
    assert catalog.notes == ("columns of x.csv left out, as others were named for them: ['path']",)


def test_a_csv_without_a_named_column_lists_what_it_has(tmp_path):
    """Names as they are, so that a leading blank shows."""
    csv = tmp_path / "x.csv"
    csv.write_text("ImageId, EncodedPixels\na,1\n")
    with pytest.raises(CatalogError, match=r"no column 'EncodedPixels'; found: \['ImageId', ' EncodedPixels'\]"):
        Catalog.from_csv(csv, path="ImageId", targets=["EncodedPixels"])
    with pytest.raises(CatalogError, match="no column 'path'"):
        Catalog.from_csv(csv)
    with pytest.raises(ArgumentError, match=r"found age="):
        Catalog.from_csv(csv, path="ImageId", age="Age")
    with pytest.raises(CatalogError, match="cannot be read as a CSV"):
        Catalog.from_csv(tmp_path / "none.csv")
    csv.write_text("")
    with pytest.raises(CatalogError, match="cannot be read as a CSV"):
        Catalog.from_csv(csv)


# -- from_folder -------------------------------------------------------------------------------------------


def test_class_folders_are_targets_and_split_folders_splits(tmp_path):
    """In any order and case; files are sorted, ids are paths without extension."""
    for path in (
        "train/nodule/b.png",
        "train/nodule/deep/a.png",
        "Validation/normal/c.png",
        "valid/normal/d.png",
        "val/normal/e.png",
        "nodule/test/f.png",
    ):
        write_png(tmp_path / path)
    catalog = Catalog.from_folder(tmp_path, progress=False)
    table = catalog.table.set_index("id")
    assert list(catalog.table["path"]) == sorted(catalog.table["path"])
    assert catalog.targets == ("nodule", "normal")
    assert table["split"].to_dict() == {
        "Validation/normal/c": "val",
        "nodule/test/f": "test",
        "train/nodule/b": "train",
        "train/nodule/deep/a": "train",
        "val/normal/e": "val",
        "valid/normal/d": "val",
    }
    assert set(table.index[table["nodule"] == 1]) == {"nodule/test/f", "train/nodule/b", "train/nodule/deep/a"}
    assert (table["nodule"] + table["normal"] == 1).all()
    assert all(catalog.path(row).is_file() for row in range(6))


def test_a_film_in_no_class_folder_is_unknown(tmp_path):
    """It is neither; and a single folder of all films is no class."""
    for path in ("a/1.png", "b/2.png", "3.png"):
        write_png(tmp_path / path)
    catalog = Catalog.from_folder(tmp_path, progress=False)
    np.testing.assert_array_equal(catalog.table[["a", "b"]], np.float32([[np.nan, np.nan], [1, 0], [0, 1]]))
    assert "split" not in catalog.table
    assert Catalog.from_folder(tmp_path, classes=False, progress=False).targets == ()
    (tmp_path / "b" / "2.png").unlink()
    assert Catalog.from_folder(tmp_path, progress=False).targets == ()


def test_a_class_folder_named_like_a_column(tmp_path):
    """`group/` does not become the exam."""
    for path in ("group/1.png", "path/2.png"):
        write_png(tmp_path / path)
    assert Catalog.from_folder(tmp_path, progress=False).targets == ("class_group", "class_path")


def test_files_are_told_by_content(tmp_path, caplog):
    """Names mean nothing: a JPEG named .png and a DICOM without a name's end are films, a text named .png is none.

    What is left out is counted in one logged line and in notes; hidden files are not even looked at.
    """
    write_png(tmp_path / "1.2.840.10008")
    (tmp_path / "jpeg.png").write_bytes(imagecodecs.jpeg_encode(np.zeros((8, 8), np.uint8)))
    (tmp_path / "dicom").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 100)
    (tmp_path / "text.png").write_text("not a film")
    (tmp_path / "empty.dcm").touch()
    write_png(tmp_path / ".hidden.png")
    write_png(tmp_path / ".cache" / "thumbnail.png")
    with caplog.at_level(logging.WARNING, logger="resload"):
        catalog = Catalog.from_folder(tmp_path, progress=False)
    assert list(catalog.table["id"]) == ["1.2.840.10008", "dicom", "jpeg"]
    assert catalog.notes == ("2 files are no images that resload reads and were left out: empty.dcm, text.png",)
    assert [record.message for record in caplog.records] == list(catalog.notes)


def test_ids_that_would_repeat_keep_their_extension(tmp_path):
    """a.png and a.tif are two films; then all ids have one."""
    for path in ("a.png", "a.tif", "b.png"):
        write_png(tmp_path / path)
    assert list(Catalog.from_folder(tmp_path, progress=False).table["id"]) == ["a.png", "a.tif", "b.png"]


def test_links_in_a_circle_end(tmp_path):
    """A linked folder is followed, once."""
    write_png(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "films").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "root")
    assert list(Catalog.from_folder(tmp_path / "root", progress=False).table["path"]) == ["films/a.png"]


@pytest.mark.usefixtures("shut")
def test_a_folder_that_cannot_be_listed_is_said(tmp_path):
    """What is in it is missing, and nothing else is."""
    write_png(tmp_path / "open" / "a.png")
    write_png(tmp_path / "shut" / "b.png")
    catalog = Catalog.from_folder(tmp_path, progress=False)
    assert catalog.table["path"].tolist() == ["open/a.png"]
    assert "1 FOLDERS could not be listed" in catalog.notes[0]
    assert "shut: Permission denied" in catalog.notes[0]


def test_a_folder_without_films_is_refused(tmp_path):
    """Nothing there, nothing readable there, and no such folder are three sentences."""
    with pytest.raises(CatalogError, match="no PNG, JPEG, TIFF or DICOM file among its 0 files"):
        Catalog.from_folder(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(CatalogError, match=r"among its 1 files.*a\.txt"):
        Catalog.from_folder(tmp_path)
    with pytest.raises(CatalogError, match="is not a folder"):
        Catalog.from_folder(tmp_path / "none")


# -- scan --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_scan_reads_headers_and_keeps_what_is_known(tmp_path, threads, caplog):
    """Sizes from files; depth and spacing only where unknown; a reason for each file that cannot be read."""
    write_png(tmp_path / "a.png", 8, 16)
    write_png(tmp_path / "b.png", 4, 4, bits=16)
    (tmp_path / "c.png").write_text("text")
    table = pd.DataFrame({"id": list("abcd"), "path": [f"{name}.png" for name in "abcd"]})
    table["bits"] = [None, 12, None, None]
    table["spacing_y"] = [0.2, None, None, 0.3]
    table["height"] = [999, None, None, None]
    before = Catalog(table, root=tmp_path)
    catalog = before.scan(threads=threads, progress=False)
    found = catalog.table
    np.testing.assert_array_equal(found["height"], [8, 4, np.nan, np.nan])
    np.testing.assert_array_equal(found["width"], [16, 4, np.nan, np.nan])
    np.testing.assert_array_equal(found["bits"], [8, 12, np.nan, np.nan])
    np.testing.assert_array_equal(found["frames"], [1, 1, np.nan, np.nan])
    np.testing.assert_array_equal(found["spacing_y"], [0.2, np.nan, np.nan, 0.3])
    assert found["format"].tolist()[:2] == ["png", "png"]
    assert found["photometric"].tolist()[:2] == ["MONOCHROME2", "MONOCHROME2"]
    assert found["error"].isna().tolist() == [True, True, False, False]
    assert all(str(tmp_path) not in reason for reason in found["error"].dropna())
    assert catalog.notes == ("2 of 4 files cannot be read; see the column error",)
    assert "2 of 4 files" in caplog.text
    assert "error" not in before.table


def test_scanning_twice_is_scanning_once(tmp_path):
    """The second time changes neither values nor types, and saves like any catalog."""
    for name in ("a", "b"):
        write_png(tmp_path / f"{name}.png")
    once = Catalog.from_folder(tmp_path, progress=False).scan(progress=False)
    pd.testing.assert_frame_equal(once.scan(progress=False).table, once.table)
    once.save(tmp_path / "saved")
    pd.testing.assert_frame_equal(Catalog.load(tmp_path / "saved").table, once.table)


def test_a_file_of_several_rows_is_read_once(tmp_path, monkeypatch):
    """Frames of one file share its header."""
    from resload import decode

    write_png(tmp_path / "a.png")
    table = pd.DataFrame({"id": ["f0", "f1"], "path": ["a.png"] * 2, "frame_index": [0, 1]})
    read, count = decode.read_header, []
    monkeypatch.setattr(decode, "read_header", lambda path: count.append(path) or read(path))
    assert list(Catalog(table, root=tmp_path).scan(progress=False).table["width"]) == [8, 8]
    assert len(count) == 1


def test_a_catalog_without_a_readable_film_is_refused(tmp_path):
    """The first file, its reason, and what to check."""
    with pytest.raises(CatalogError, match=r"none of the 6 files can be read.*0\.png.*Check root="):
        Catalog(frame(), root=tmp_path).scan(progress=False)


def test_progress_writes_nothing_where_nobody_looks(tmp_path, capfd):
    """The bar is for terminals; in a log file or a pipe there is none."""
    write_png(tmp_path / "a.png")
    Catalog.from_folder(tmp_path).scan()
    assert capfd.readouterr() == ("", "")
