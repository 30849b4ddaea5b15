"""Pseudonyms: a cache that names nobody, that its owner can still extend, repair and prove, and nobody else."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from trees import tree

import resload
from resload.cli import main
from resload.cli.confidential import is_confidential
from resload.errors import ArgumentError, CacheMismatchError
from resload.store import layout
from resload.store.pseudonyms import Pseudonyms, names_of

KEY = "a key that nobody will guess"
SIZES = (24, 40)


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> resload.Catalog:
    """24 films with telling ids, patients, exams, folders, boxes and masks; one cannot be read."""
    from resload.testing import write_synthetic

    root = tmp_path_factory.mktemp("Ward-Nightingale")
    made = write_synthetic(root, 24, size=96, seed=4)
    table = made.table
    folder = root / "Surname"
    folder.mkdir()
    for path in table["path"]:
        shutil.move(root / path, folder / path)
    names = [f"ACC{7700 + row}" for row in range(len(table))]
    people = [f"Surname-{row // 2:03d}" for row in range(len(table))]
    exams = pd.Series([f"Exam/{row // 2}" for row in range(len(table))]).mask(np.arange(len(table)) == 5)
    ids = dict(zip(table["id"], names, strict=True))
    boxes = made.boxes.assign(id=made.boxes["id"].map(ids), reader="Dr. Surname")
    masks = pd.DataFrame({"id": names[:6], "label": "nodule", "rle": "10 5 20 5"})
    table = table.assign(
        id=names, patient=people, group=exams, path=[f"Surname/{path}" for path in table["path"]], ward="Nightingale"
    )
    return resload.Catalog(table, targets=made.targets, boxes=boxes, masks=masks, root=root)


def build(catalog, path, sizes=SIZES, key=KEY, **options):
    return resload.build(catalog, path, sizes, pseudonymise=key, progress=False, **options)


@pytest.fixture(scope="module")
def whole(named, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "c.zarr"
    build(named, path)
    return path


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    shutil.copytree(whole, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


def words_in(folder: Path) -> str:
    """All that the files of a folder say: their bytes, and what is packed inside tables."""
    said = [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
    for path in folder.rglob("*.parquet"):
        said.append(pq.read_table(path).to_pandas().to_csv())
        said.append(str(pq.read_schema(path)))
    return "\n".join(said)


def telling(catalog) -> list[str]:
    """Words by which people would be recognised."""
    table = catalog.table
    paths = [part for path in table["path"] for part in (path, Path(path).name)]
    return [*table["id"], *table["patient"], *table["group"].dropna(), *paths, "Surname", "Ward", "Exam", KEY]


# -- what is stored --------------------------------------------------------------------------------------


def test_no_file_of_the_cache_tells_a_name(named, whole):
    """No id, patient, exam, path, folder, reader or key, in any file, also unpacked; without a key, they are there."""
    said = words_in(whole)
    assert [word for word in telling(named) if word in said] == []


def test_the_search_would_find_them(named, tmp_path):
    """So that finding nothing means something."""
    path = tmp_path / "c.zarr"
    resload.build(named, path, SIZES, identifiers="keep", progress=False)
    said = words_in(path)
    assert all(name in said for name in [*named.table["id"], *named.table["patient"], *named.table["path"]])


def test_not_even_while_it_is_being_built(named, tmp_path, monkeypatch):
    """The plan and the records of an unfinished build are under pseudonyms too."""
    from resload.store import run

    real, made = run.make_record, []

    def failing(sources, item):
        made.append(item.row)
        if len(made) == 20:
            raise OSError("stop")
        return real(sources, item)

    monkeypatch.setattr(run, "make_record", failing)
    with pytest.raises(OSError, match="stop"):
        build(named, tmp_path / "c.zarr", threads=1)
    said = words_in(tmp_path / "c.zarr")
    assert "rows-0" in str(list((tmp_path / "c.zarr" / ".build").iterdir()))
    assert [word for word in telling(named) if word in said] == []
    with pytest.raises(CacheMismatchError, match="under another key"):
        build(named, tmp_path / "c.zarr", key="quite another key")
    monkeypatch.undo()
    assert len(build(named, tmp_path / "c.zarr")) == len(named)


def test_what_names_become(named, whole):
    """128 bits in hex, a name for each value and column; missing stays missing; boxes and masks follow their films."""
    cache = resload.open_cache(whole)
    table = cache.table
    assert "path" not in table
    for column in ("id", "patient", "group"):
        assert table[column].dropna().str.fullmatch("[0-9a-f]{32}").all()
        assert table[column].nunique() == named.table[column].nunique()
    assert table["group"].isna().sum() == 1
    sizes = table.groupby("patient").size()
    assert sorted(sizes) == sorted(named.table.groupby("patient").size())
    assert list(cache.boxes) == ["id", "label", "x", "y", "width", "height"]
    assert set(cache.boxes["id"]) <= set(table["id"])
    assert len(cache.boxes) == len(named.boxes)
    masked = set(Pseudonyms(KEY).named("id", named.masks["id"])) - set(cache.quarantine["id"])
    known = cache.masks_known(np.arange(len(cache)))[:, 0]
    assert set(table["id"][known]) == masked
    assert masked


def test_equal_values_of_different_columns_have_different_names():
    """Nobody learns that an id is also a patient's number."""
    names = Pseudonyms(KEY)
    values = pd.Series(["7"])
    assert len({names.named(column, values)[0] for column in ("id", "patient", "group")}) == 3
    assert names.named("id", pd.Series([7]))[0] == names.named("id", values)[0]
    assert names.named("view", values)[0] == "7"


def test_hashes_of_files_are_keyed_too(named, whole):
    """A public list of a data set's SHA-256 sums does not name its films."""
    from resload.store.made import content_hash

    sums = {content_hash(named.path(row).read_bytes()) for row in range(len(named))}
    assert not sums & set(resload.open_cache(whole).table["source_hash"])


def test_one_key_makes_one_cache(named, whole, tmp_path):
    """Byte for byte, as text or bytes; another key makes other names of the same pixels."""
    build(named, tmp_path / "same.zarr", key=KEY.encode())
    assert tree(tmp_path / "same.zarr") == tree(whole)
    other = build(named, tmp_path / "other.zarr", key=KEY + "!")
    assert not set(other.table["id"]) & set(resload.open_cache(whole).table["id"])
    assert {path for path, content in tree(whole).items() if content != tree(tmp_path / "other.zarr")[path]} == {
        "zarr.json",
        "samples.parquet",
        "boxes.parquet",
    }


def test_the_key_is_shown_to_nobody(named, tmp_path, capsys, caplog):
    """Not in a repr, in what a build says, in its log, or in an error."""
    assert repr(Pseudonyms(KEY)) == "<Pseudonyms>"
    resload.build(named, tmp_path / "c.zarr", SIZES, pseudonymise=KEY)
    with pytest.raises(CacheMismatchError) as refused:
        build(named, tmp_path / "c.zarr", key="quite another key")
    captured = capsys.readouterr()
    for said in (captured.out, captured.err, caplog.text, str(refused.value)):
        assert KEY not in said
        assert "quite another" not in said


@pytest.mark.parametrize("key", ["", "short", b"fifteen bytes..", 17, True])
def test_what_is_no_key_is_refused(named, tmp_path, key):
    """One that can be guessed protects nobody; nothing is written."""
    with pytest.raises(ArgumentError, match=r"at least 16 bytes.*secrets\.token_hex"):
        build(named, tmp_path / "c.zarr", key=key)
    assert not (tmp_path / "c.zarr").exists()


def test_identifiers_cannot_be_kept_and_hashed(named, tmp_path):
    """The two contradict each other."""
    with pytest.raises(ArgumentError, match="identifiers='keep' contradicts pseudonymise"):
        build(named, tmp_path / "c.zarr", identifiers="keep")


def test_pixels_targets_and_masks_are_those_of_a_plain_cache(named, whole, tmp_path):
    """Only names differ."""
    plain = resload.build(named, tmp_path / "c.zarr", SIZES, progress=False)
    cache = resload.open_cache(whole)
    rows = cache.rows()
    assert np.array_equal(rows, plain.rows())
    assert np.array_equal(cache.read(rows, 40), plain.read(rows, 40))
    assert np.array_equal(cache.read_masks(rows, 40), plain.read_masks(rows, 40))
    names = [name for name in plain.table if name not in ("id", "path", "patient", "group", "source_hash")]
    pd.testing.assert_frame_equal(cache.table[names], plain.table[names])


# -- what the owner can still do -------------------------------------------------------------------------


def test_rows_and_sizes_are_added_with_the_key(named, whole, tmp_path):
    """Half of the films, then all of them, then another size: the films of a cache that was built at once."""
    half = named.select(np.arange(12))
    build(half, tmp_path / "c.zarr", (24,))
    grown = build(named, tmp_path / "c.zarr", (24, 40))
    at_once = resload.open_cache(whole)
    assert set(grown.table["id"]) == set(at_once.table["id"])
    place = pd.Index(at_once.table["id"]).get_indexer(grown.table["id"].iloc[grown.rows()])
    assert np.array_equal(grown.read(grown.rows(), 40), at_once.read(place, 40))
    assert resload.verify(grown, sources=100, catalog=named, pseudonymise=KEY, progress=False).ok


def test_a_second_build_does_nothing(named, copy, capsys):
    """The key leads to the same names, so there is nothing to do; new targets are written into the tables."""
    before = tree(copy)
    resload.build(named, copy, SIZES, pseudonymise=KEY)
    assert "nothing to do" in capsys.readouterr().err
    assert tree(copy) == before
    build(named, copy, SIZES, check="hash")
    assert tree(copy) == before
    other = resload.Catalog(
        named.table.assign(nodule=1.0), targets=named.targets, boxes=named.boxes, masks=named.masks, root=named.root
    )
    assert (build(other, copy).table["nodule"] == 1).all()
    said = words_in(copy)
    assert [word for word in telling(named) if word in said] == []


def test_a_changed_file_is_noticed(named, tmp_path):
    """By its keyed hash."""
    root = tmp_path / "films"
    shutil.copytree(named.root, root)
    catalog = resload.Catalog(named.table, targets=named.targets, root=root)
    build(catalog, tmp_path / "c.zarr")
    path = catalog.path(3)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CacheMismatchError, match="differ from what"):
        build(catalog, tmp_path / "c.zarr")


def test_damage_is_repaired_with_the_key(named, copy):
    """Found without it, made again with it, to the same bytes."""
    before = tree(copy)
    shard = copy / layout.shard_path(resload.open_cache(copy).sizes[0], 0)
    data = bytearray(shard.read_bytes())
    data[100] ^= 255
    shard.write_bytes(data)
    assert len(resload.verify(copy, progress=False).problems) == 1
    report = resload.repair(copy, named, pseudonymise=KEY, progress=False)
    assert (report.ok, report.repaired) == (True, 1)
    assert tree(copy) == before


def test_films_are_proved_and_reported_with_the_key(named, whole):
    """`verify(sources=)` and the report of what sizes lose find the films by their pseudonyms."""
    report = resload.verify(whole, sources=5, catalog=named, pseudonymise=KEY, progress=False)
    assert (report.ok, report.sources) == (True, 5)
    lost = resload.resolution_report(whole, named, films=3, pseudonymise=KEY, progress=False)
    assert lost.measured == 3


@pytest.mark.parametrize("on", ["id", "patient"])
def test_tables_are_joined_with_the_key(named, whole, on):
    """Targets by the names that the owner knows; without the key by those of the cache."""
    cache = resload.open_cache(whole)
    scores = named.table[[on]].drop_duplicates().assign(score=lambda table: np.arange(len(table), dtype=float))
    joined = cache.with_table(scores, on=on, targets=["score"], pseudonymise=KEY)
    assert joined.table["score"].notna().all()
    names = dict(zip(Pseudonyms(KEY).named(on, scores[on]), scores["score"], strict=True))
    assert joined.table["score"].tolist() == cache.table[on].map(names).tolist()
    again = cache.with_table(cache.table[["id"]].assign(score=1.0), targets=["score"])
    assert (again.table["score"] == 1).all()
    with pytest.raises(ArgumentError, match="its identifiers are pseudonyms: give the key"):
        cache.with_table(scores, on=on)


WORK = {
    "build": lambda path, named, key: build(named, path, key=key),
    "append": lambda path, named, key: build(named, path, (24, 40, 48), key=key),
    "repair": lambda path, named, key: resload.repair(path, named, pseudonymise=key, progress=False),
    "verify": lambda path, named, key: resload.verify(path, sources=2, catalog=named, pseudonymise=key, progress=False),
    "report": lambda path, named, key: resload.resolution_report(path, named, pseudonymise=key, progress=False),
}


@pytest.mark.parametrize("work", WORK)
def test_a_wrong_or_missing_key_is_refused(named, whole, work):
    """With a sentence that says which it is, before anything is changed."""
    before = tree(whole)
    with pytest.raises(CacheMismatchError, match="under another key; give the key it was built with"):
        WORK[work](whole, named, "quite another key")
    with pytest.raises(CacheMismatchError, match="are pseudonyms; give pseudonymise="):
        WORK[work](whole, named, None)
    assert tree(whole) == before


@pytest.mark.parametrize("work", WORK)
def test_a_key_for_a_plain_cache_is_refused(named, tmp_path, work):
    """Names would not match."""
    resload.build(named, tmp_path / "c.zarr", (24, 40), progress=False)
    with pytest.raises(CacheMismatchError, match="built without pseudonymise"):
        WORK[work](tmp_path / "c.zarr", named, KEY)


def test_with_table_refuses_a_wrong_key(named, whole):
    """And a key where there is none."""
    with pytest.raises(CacheMismatchError, match="under another key"):
        resload.open_cache(whole).with_table(named.table[["id"]], pseudonymise="quite another key")


def test_without_a_key_nothing_changes():
    """Identifiers, files' hashes and catalogs stay what they are."""
    names = names_of(None)
    catalog, values = object(), pd.Series(["x"])
    assert names.catalog(catalog) is catalog
    assert names.named("id", values) is values
    assert (names.seal("abc"), names.check) == ("abc", "")


# -- the command line ------------------------------------------------------------------------------------


def test_the_command_line_reads_the_key_from_a_file(named, whole, tmp_path, capsys):
    """Build, verify, repair and report; the last line end of the file does not count."""
    named.save(tmp_path / "catalog")
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    words = [str(tmp_path / "catalog"), str(tmp_path / "c.zarr"), "--sizes", "24", "40"]
    assert main(["build", *words, "--pseudonymise-key", str(key)]) == 0
    assert tree(tmp_path / "c.zarr") == tree(whole)
    source = [str(tmp_path / "c.zarr"), str(tmp_path / "catalog"), "--pseudonymise-key", str(key)]
    assert main(["verify", *source, "--sources", "2"]) == 0
    assert main(["repair", *source]) == 0
    assert main(["report", *source, "--films", "2"]) == 0
    assert main(["repair", *source[:2]]) == 1
    assert main(["verify", str(tmp_path / "c.zarr")]) == 0
    assert main(["repair", *source[:3], str(tmp_path / "nowhere")]) == 2
    said = capsys.readouterr()
    assert "nowhere: No such file" in said.err
    assert KEY not in said.out + said.err


def test_info_says_what_is_hashed_and_what_is_not(named, whole, tmp_path, capsys):
    """Names are no longer listed; columns that were asked for are, those of DICOM attributes by name."""
    assert main(["info", str(whole)]) == 0
    assert "no column: ids, patients and groups are hashed under a key" in capsys.readouterr().out
    table = named.table.assign(AccessionNumber="A1", StudyDate_DICOM="20200101", view="PA", SeriesInstanceUID="1.2")
    catalog = resload.Catalog(table, targets=named.targets, root=named.root)
    columns = ("AccessionNumber", "StudyDate_DICOM", "view", "SeriesInstanceUID")
    build(catalog, tmp_path / "c.zarr", columns=columns)
    assert main(["info", str(tmp_path / "c.zarr")]) == 0
    said = capsys.readouterr().out
    assert "AccessionNumber, StudyDate_DICOM, view, SeriesInstanceUID: ids, patients" in said
    assert "profile has AccessionNumber, StudyDate_DICOM, SeriesInstanceUID removed or replaced" in said


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("PatientName", True),
        ("patient_birth_date", True),
        ("StudyDate_DICOM", True),
        ("InstitutionName", True),
        ("SOPInstanceUID", True),
        ("series_instance_uid", True),
        ("ViewPosition", False),
        ("view", False),
        ("nodule", False),
        ("fluid", False),
    ],
)
def test_columns_that_dicom_holds_confidential(name, found):
    """By the keywords of PS3.15, Table E.1-1, in any spelling; a word that ends in "uid" is none for that."""
    assert is_confidential(name) is found
