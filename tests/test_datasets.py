"""What every data set's adapter promises, held on its miniature: one suite, each new one is tried by name.

What is particular to one of them is in `test_datasets_<name>.py` (and `test_chestxray14.py`).
"""

import importlib
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import resload
from resload import datasets, decode
from resload.cli import main
from resload.errors import ArgumentError, CatalogError
from resload.testing import write_miniature
from resload.testing.miniatures import WRITERS

NAMES = sorted(WRITERS)


@pytest.fixture(scope="module", params=NAMES)
def made(request, tmp_path_factory):
    """(name, folder, catalog) of one data set's miniature; the folder is shared and must not be changed."""
    root = write_miniature(request.param, tmp_path_factory.mktemp(request.param) / "data")
    return request.param, root, getattr(datasets, request.param)(root)


def test_every_data_set_has_a_miniature():
    """An adapter without one would be held by nothing here."""
    assert sorted(datasets.__all__) == NAMES


def test_the_public_names_are_in_order():
    """The list is read by people."""
    assert list(datasets.__all__) == sorted(datasets.__all__)
    assert list(WRITERS) == NAMES


def test_ids_are_unique_and_every_film_decodes(made):
    """Each row is one film of its own, and the path is a file that becomes pixels."""
    _, root, catalog = made
    assert len(catalog) >= 4
    assert catalog.table["id"].is_unique
    assert catalog.root == root
    for row in range(len(catalog)):
        film = decode.decode(catalog.path(row))
        assert film.pixels.ndim == 2


def test_targets_are_numbers_with_something_known(made):
    """float32, NaN for unknown; no target is unknown everywhere in the miniature."""
    _, _, catalog = made
    assert catalog.targets
    for name in catalog.targets:
        assert catalog.table[name].dtype == np.float32
        assert catalog.table[name].notna().any(), name


def test_patients_are_there_or_a_note_says_that_nobody_knows_them(made):
    """Splits need patients: a data set without them says so, and how films can be split nevertheless."""
    _, _, catalog = made
    if "patient" in catalog.table:
        assert catalog.table["patient"].notna().all()
        single = any("patient of its own" in note for note in catalog.notes)
        # Elsewhere the miniature has a patient with two films, that a split must not part.
        assert single or catalog.table["patient"].nunique() < len(catalog)
    else:
        assert any("patient" in note for note in catalog.notes)


def test_groups_and_splits_are_whole(made):
    """An exam belongs to one patient; splits are called train, val and test, and no patient is in two of them."""
    _, _, catalog = made
    table = catalog.table
    if {"group", "patient"} <= set(table):
        assert len(table.groupby(["group", "patient"])) == table["group"].nunique()
    if "split" in table:
        assert set(table["split"].dropna()) <= {"train", "val", "test"}
        if "patient" in table:
            dealt = table.dropna(subset="split")
            leaks = any("which leak" in note for note in catalog.notes)  # an official split may; then it is said
            assert leaks or len(dealt.groupby(["patient", "split"])) == dealt["patient"].nunique()


def test_notes_are_sentences(made):
    """They are printed for people as they are."""
    _, _, catalog = made
    for note in catalog.notes:
        assert isinstance(note, str)
        assert re.match(r"[\w`]", note), note
        assert len(note) > 20
        assert "\n" not in note


def test_boxes_and_masks_are_inside_their_films(made):
    """Boxes are in pixels of the file; masks have a format that is read, or files that are there."""
    _, root, catalog = made
    if catalog.boxes is not None and len(catalog.boxes):
        sizes = {id_: decode.read_header(catalog.path(row)) for row, id_ in enumerate(catalog.table["id"])}
        for box in catalog.boxes.itertuples():
            assert box.x >= 0
            assert box.y >= 0
            assert box.x + box.width <= sizes[box.id].width + 1e-6
            assert box.y + box.height <= sizes[box.id].height + 1e-6
    if catalog.masks is not None and "path" in catalog.masks:
        assert all((root / path).is_file() for path in catalog.masks["path"].dropna())


def test_scan_says_what_is_there(made, capsys):
    """`resload scan --dataset NAME ROOT --json` ends with 0 and gives the catalog's notes."""
    name, root, catalog = made
    assert main(["scan", str(root), "--dataset", name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["films"] == len(catalog)
    assert found["targets"] == list(catalog.targets)
    assert found["unreadable"] == []
    assert set(catalog.notes) <= set(found["notes"])


def test_a_cache_is_built_from_it(made, tmp_path):
    """Adapter to cache without a word between: every film is stored, with the catalog's targets."""
    _, _, catalog = made
    cache = resload.build(catalog, tmp_path / "tiny.zarr", (16,), progress=False)
    assert len(cache) == len(catalog)
    assert len(cache.quarantine) == 0
    assert cache.targets == catalog.targets


def test_the_same_folder_gives_the_same_catalog(made):
    """Nothing depends on the order in which a disk lists files."""
    name, root, catalog = made
    again = getattr(datasets, name)(root)
    pd.testing.assert_frame_equal(again.table, catalog.table)
    assert again.notes == catalog.notes


def test_a_saved_catalog_is_the_same(made, tmp_path):
    """Every column is of a type that can be kept."""
    _, _, catalog = made
    catalog.save(tmp_path / "saved")
    pd.testing.assert_frame_equal(resload.Catalog.load(tmp_path / "saved").table, catalog.table)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_without_the_data_set_is_refused(name, tmp_path):
    """The message says what is wanted and what is there."""
    (tmp_path / "readme.md").write_text("nothing here")
    with pytest.raises(CatalogError, match=r"found: readme\.md|readme\.md"):
        getattr(datasets, name)(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_policies_are_checked(name, tmp_path):
    """A misspelled policy is an error of its argument before anything is read."""
    for parameter in inspect.signature(getattr(datasets, name)).parameters.values():
        if "Literal" in str(parameter.annotation):
            with pytest.raises(ArgumentError, match=parameter.name):
                getattr(datasets, name)(tmp_path, **{parameter.name: "nonsense"})


@pytest.mark.parametrize("name", NAMES)
def test_the_words_are_all_there(name):
    """The module says what it is, whom to cite, under which licence and how to obtain; the function its errors."""
    function = getattr(datasets, name)
    module = inspect.getdoc(importlib.import_module(function.__module__)) or ""
    for word in ("Citation:", "Licence:", "Obtain:", "Layouts:", "Traps"):
        assert word in module, word
    text = inspect.getdoc(function) or ""
    for word in ("Args:", "Returns:", "Raises:"):
        assert word in text, word
    for parameter in inspect.signature(function).parameters:
        assert f"{parameter}:" in text or f"{parameter}, " in text, parameter


# -- the table of docs/how-to/data-sets.md --


def table_rows():
    """The cells of each row of the page's table, by name."""
    text = (Path(__file__).parent.parent / "docs" / "how-to" / "data-sets.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    return {cells[0].strip("`"): cells for cells in rows}


def test_the_table_of_data_sets_names_them_all():
    """A row for each, in order, and none for what is not there."""
    assert list(table_rows()) == NAMES


def test_the_table_of_data_sets_is_true(made):
    """Targets, splits, policies and counts are those of the code."""
    name, _, catalog = made
    _, _, films, patients, targets, splits, policies = table_rows()[name]
    function = getattr(datasets, name)
    assert int(targets) == len(catalog.targets)
    assert re.findall(r"`(\w+)`", policies) == list(inspect.signature(function).parameters)[1:]
    found = catalog.table["split"].dropna().unique() if "split" in catalog.table else []
    assert splits == (", ".join(s for s in ("train", "val", "test") if s in found) or OFFICIAL.get(name, "none"))
    assert (patients in ("not known", "by mapping")) == ("patient" not in catalog.table)
    module = inspect.getdoc(importlib.import_module(function.__module__))
    for number in (films, *[patients] * patients[0].isdigit()):
        assert number in module


OFFICIAL = {"chestxray14": "train, test"}
"""Where the miniature has no lists of the official split unless they are asked for."""
