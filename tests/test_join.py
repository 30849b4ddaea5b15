"""A spreadsheet beside the films: which rows belong to which films, what does not match, and what is refused."""

import logging
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resload import Catalog
from resload.errors import ArgumentError, CatalogError, MissingPackageError
from resload.testing.miniatures.porto import workbook


@pytest.fixture(autouse=True)
def quiet(caplog):
    """Notes are logged as well; here they are expected."""
    caplog.set_level(logging.CRITICAL, logger="resload")


def films(keys=("001", "001", "002", "003", None), **more):
    """A catalog of films f0, f1, ... with these accession numbers."""
    table = pd.DataFrame({"id": [f"f{n}" for n in range(len(keys))], "path": "a.png", "acc": list(keys)})
    return Catalog(table.assign(**more), targets=list(more), notes=("before",))


def rows(keys, **columns):
    return pd.DataFrame({"acc": list(keys), **columns})


# -- what is joined --


def test_films_of_one_key_share_its_row():
    """Values go to every film of the key; others have none; targets are float32 behind those that were there."""
    joined = films(age=[1.0, 2, 3, 4, 5]).join(
        rows(["001", "002"], mass=[1, 0], reader=["A", "B"]), "acc", targets=["mass"]
    )
    assert joined.targets == ("age", "mass")
    assert joined.table["mass"].dtype == np.float32
    np.testing.assert_array_equal(joined.table["mass"], [1, 1, 0, np.nan, np.nan])
    assert joined.table["reader"].tolist()[:3] == ["A", "A", "B"]
    assert joined.table["reader"].isna().tolist() == [False, False, False, True, True]
    assert joined.table["acc"].equals(films().table["acc"])


def test_inner_keeps_the_films_with_a_row():
    """With their boxes; the others are counted in the notes."""
    boxes = pd.DataFrame({"id": ["f0", "f3"], "label": "x", "x": 1, "y": 1, "width": 2, "height": 2})
    catalog = Catalog(films().table, boxes=boxes)
    joined = catalog.join(rows(["001"], mass=[1]), "acc", how="inner")
    assert joined.table["id"].tolist() == ["f0", "f1"]
    assert joined.boxes["id"].tolist() == ["f0"]
    assert "2 films have no row in the table and were left out: f2, f3" in joined.notes


def test_everything_that_did_not_match_is_said_and_listed():
    """Both sides, rows twice, keys of several films, keys that are missing."""
    catalog = films()
    table = rows(["001", "001", "002", "900", "901", None, " "], mass=[1, 1, 0, 0, 1, 1, 1])
    report = catalog.join_report(table, "acc")
    assert report.matched == ("f0", "f1", "f2")
    assert report.films_unmatched == ("f3",)
    assert report.films_without_key == ("f4",)
    assert report.rows_unmatched == ("900", "901")
    assert report.rows_without_key == 2
    assert report.merged == {"001": 2}
    assert report.repeated == {"001": 2}
    assert catalog.join(table, "acc").notes == (
        "before",
        "3 films were joined with the table",
        "1 films have no row in the table and have no values: f3",
        "1 films have no key to join the table by and have no values: f4",
        "2 keys of the table have no film: 900, 901",
        "2 rows of the table have no key and were left out",
        "1 keys of the table have several equal rows: 001 (2)",
        "1 keys are those of several films, 2 in all, which share a row: 001 (2)",
    )


def test_keys_of_other_names_and_of_several_columns():
    """{ours: theirs}; a film matches when every part does."""
    catalog = Catalog(films(["1", "1", "2"]).table.assign(patient=["a", "b", "a"]))
    table = pd.DataFrame({"Acc": ["1", "1", "2"], "Pat": ["a", "b", "b"], "mass": [1, 2, 3]})
    joined = catalog.join(table, {"acc": "Acc", "patient": "Pat"})
    np.testing.assert_array_equal(joined.table["mass"], [1, 2, np.nan])
    assert not {"Acc", "Pat"} & set(joined.table)
    assert "1 keys of the table have no film: 2 / b" in joined.notes


def test_keys_are_trimmed_texts():
    """Blanks around them do not count, numbers are the text that they are written as."""
    catalog = Catalog(films([" 1", "2 ", "3"]).table)
    assert catalog.join_report(rows([1, 2, 3]), "acc").films_unmatched == ()
    assert catalog.join_report(rows([1.0, 2.0, np.nan]), "acc").films_unmatched == ("f2",)
    numbers = Catalog(films().table.assign(acc=[1, 2, 3, 4, 5]))
    assert numbers.join_report(rows(["1", "5"]), "acc").matched == ("f0", "f4")


def test_truth_values_stay_truth_values():
    """As targets they are 0 and 1; beside films without a row they are nullable."""
    table = rows(["001", "002"], mass=[True, False], seen=[True, True])
    joined = films().join(table, "acc", targets=["mass"])
    np.testing.assert_array_equal(joined.table["mass"], [1, 1, 0, np.nan, np.nan])
    assert joined.table["seen"].dtype == "boolean"


KEYS = st.sampled_from(["A", "B", "C", "D", "E", "F"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | KEYS, min_size=1, max_size=12),
    st.dictionaries(KEYS, st.integers(0, 9), min_size=1),
    st.lists(KEYS, max_size=4),
)
def test_a_join_is_a_dictionary(keys, values, again):
    """Whatever the keys, and however often a row is there: each film has the value of its key."""
    pairs = [*values.items(), *((key, values[key]) for key in again if key in values)]
    table = rows([key for key, _ in pairs], value=[value for _, value in pairs])
    expected = [values.get(key, np.nan) for key in keys]
    if np.isnan(expected).all():
        with pytest.raises(CatalogError, match="no key of the table is one of a film"):
            films(keys).join(table, "acc")
    else:
        np.testing.assert_array_equal(films(keys).join(table, "acc").table["value"], expected)


# -- files --


def test_a_csv_keeps_its_zeros(tmp_path):
    """Read by pandas' own guess, 001 would be 1. Files are named in notes."""
    rows(["001", "002"], mass=[1, 0]).to_csv(tmp_path / "reports.csv", index=False)
    joined = films().join(tmp_path / "reports.csv", "acc", targets="mass")
    np.testing.assert_array_equal(joined.table["mass"], [1, 1, 0, np.nan, np.nan])
    assert joined.notes[1].endswith("reports.csv")


def test_a_workbook_whose_keys_are_texts(tmp_path):
    """An xlsx, and a CSV with the mark that Excel puts in front of UTF-8."""
    rows(["001", "002"], mass=[1, 0]).to_excel(tmp_path / "reports.xlsx", index=False)
    rows(["001", "002"], mass=[1, 0]).to_csv(tmp_path / "reports.csv", index=False, encoding="utf-8-sig")
    for name in ("reports.xlsx", "reports.csv"):
        joined = films().join(str(tmp_path / name), "acc", targets=["mass"])
        np.testing.assert_array_equal(joined.table["mass"], [1, 1, 0, np.nan, np.nan])


def test_a_workbook_of_the_old_kind(tmp_path):
    """An xls: texts, whole numbers that are floats in it, and empty cells, without a warning."""
    cells = [["acc", "mass", "score"], ["A1", "1", "2.5"], ["12", "", "x"], ["A2", "0", ""]]
    (tmp_path / "reports.xls").write_bytes(workbook(cells))
    catalog = films(["A1", "A1", "A2", "12", None])
    joined = catalog.join(tmp_path / "reports.xls", "acc", targets=["mass"])
    np.testing.assert_array_equal(joined.table["mass"], [1, 1, 0, np.nan, np.nan])
    assert joined.table["score"].tolist()[:2] == ["2.5", "2.5"]


def test_a_workbook_that_lost_the_zeros(tmp_path):
    """001 typed into Excel is the number 1: refused with the remedy, and matched with no film."""
    rows([1, 2], mass=[1, 0]).to_excel(tmp_path / "reports.xlsx", index=False)
    with pytest.raises(
        CatalogError, match=r"2 keys of .*reports\.xlsx are keys of films but for their zeros: 1 for 001"
    ):
        films().join(tmp_path / "reports.xlsx", "acc")


def test_a_workbook_needs_its_reader(tmp_path, monkeypatch):
    """The extra is named; a CSV needs none."""
    rows(["001"], mass=[1]).to_csv(tmp_path / "reports.csv", index=False)
    (tmp_path / "reports.xlsx").write_bytes(b"PK")
    (tmp_path / "reports.xls").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    monkeypatch.setitem(sys.modules, "xlrd", None)
    for name, package in (("reports.xlsx", "openpyxl"), ("reports.xls", "xlrd")):
        with pytest.raises(MissingPackageError, match=rf"{package} is needed to read {name}.*resload\[excel\]"):
            films().join(tmp_path / name, "acc")
    assert films().join(tmp_path / "reports.csv", "acc").table["mass"].notna().sum() == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"acc;mass\n001;1\n", r"no column acc; found: \['acc;mass'\]; .* sep=';'"),
        ("a.csv", "acc,Name\n001,Müller\n".encode("cp1252"), r"is not UTF-8.*encoding='cp1252'"),
        ("a.csv", b"", "cannot be read as a spreadsheet: No columns"),
        ("a.xlsx", b"no workbook", "cannot be read as a spreadsheet"),
        ("a.xls", b"no workbook", "cannot be read as a spreadsheet"),
        ("b.csv", None, "cannot be read as a spreadsheet: .*No such file"),
    ],
)
def test_files_that_are_no_spreadsheet(tmp_path, name, content, message):
    """Each with what to do."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CatalogError, match=message):
        films().join(tmp_path / name, "acc")


# -- what is refused --


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (rows(["1", "002"]), r"but for their zeros: 1 for 001\. .*Format the column as text.*zfill"),
        (rows(["001.0", "002"]), "but for their zeros: 001.0 for 001"),
        (rows(["2.02311E+15", "001"]), r"1 keys of the table were rounded as numbers: 2\.02311E\+15\. Format"),
        (rows(["X1", "X2"]), "no key of the table is one of a film. Its keys are such as X1, X2; those of films"),
        (
            rows(["001", "001"], mass=[1, 0]),
            "1 keys of the table have rows that contradict.* 001; those of 001 differ in mass",
        ),
        (rows(["001"], id=["x"]), r"the table and the catalog both have id: .*table\.drop\(columns=\['id'\]\)"),
        (rows(["001"]).rename(columns={"acc": "Acc"}), r"the table has no column acc; found: \['Acc'\]"),
        (rows(["001"]).rename(columns={"acc": 1}), "columns have different names, all of them texts"),
    ],
)
def test_tables_that_are_refused(table, message):
    """Damaged, unrelated and contradicting keys, columns that both have; each with what to do."""
    with pytest.raises(CatalogError, match=message):
        films(["001", "001", "002", "003"]).join(table, "acc")


def test_lost_zeros_do_not_hide_behind_others():
    """A spreadsheet in which most keys are whole is refused as well: the others would silently have no label."""
    with pytest.raises(CatalogError, match="1 keys of the table are keys of films but for their zeros: 3 for 003"):
        films().join(rows(["001", "002", "3"]), "acc")
    with pytest.raises(
        CatalogError, match=r"1 keys of the table .*: 003 for 3\. .*It is the catalog that lost them: read"
    ):
        films(["001", "3"]).join(rows(["001", "003"]), "acc")
    films(["001", "3"]).join(rows(["001", "3"]), "acc")  # both wrote it so: that is its name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["yes", "No"],
            r"'mass' in the table must hold numbers.*such words as No, yes\. .*map\(\{'No': 0, 'yes': 1\}\)",
        ),
        (["pos", "neg"], r"map\(\{'neg': 0, 'pos': 1\}\)"),
        (["likely", 1], r"map\(\{'likely': \.\.\.\}\)"),
    ],
)
def test_words_are_no_targets(values, message):
    """The conversion to write is said, and not done: what "likely" is, is for the reader to decide."""
    with pytest.raises(CatalogError, match=message):
        films().join(rows(["001", "002"], mass=values), "acc", targets=["mass"])


def test_numbers_as_texts_are_no_targets():
    """A cell "1" is a text: the catalog's own rule says how to convert it."""
    with pytest.raises(CatalogError, match=r"'mass' must hold numbers.*pandas\.to_numeric"):
        films().join(rows(["001", "002"], mass=["1", "0"]), "acc", targets=["mass"])


def test_targets_that_are_not_there():
    """The columns that are there are listed."""
    with pytest.raises(CatalogError, match=r"the table has no column 'tumour' to learn; found: \['acc', 'mass'\]"):
        films().join(rows(["001"], mass=[1]), "acc", targets=["tumour"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "Acc"}, "the catalog has no column Acc"),
        ({"on": {}}, "on is a column, or"),
        ({"on": ["acc"]}, "on is a column, or"),
        ({"on": "acc", "how": "outer"}, "how is 'left'.*'inner'.*found 'outer'"),
        ({"on": "acc", "table": [1, 2]}, "table is a DataFrame or the path"),
    ],
)
def test_wrong_arguments(options, message):
    """Each is named."""
    with pytest.raises(ArgumentError, match=message):
        films().join(**{"table": rows(["001"])} | options)


def test_the_catalog_is_not_changed():
    """Joining makes another one."""
    catalog = films()
    before = catalog.table.copy()
    catalog.join(rows(["001"], mass=[1]), "acc")
    pd.testing.assert_frame_equal(catalog.table, before)
    assert catalog.notes == ("before",)
