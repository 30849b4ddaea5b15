"""Building: whole or not at all, the same bytes whatever the way, nothing done twice."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trees import reworded, stamps, tree

import resload
from resload import reference
from resload.errors import (
    ArgumentError,
    BuildInProgressError,
    CacheMismatchError,
    CatalogError,
    DecodeError,
    DiskSpaceError,
    IncompleteCacheError,
    NewerFormatError,
    NotACacheError,
)

SIZES = (32, 64, (48, 40))


def build(catalog, path, sizes=SIZES, **options):
    return resload.build(catalog, path, sizes, progress=False, **options)


@pytest.fixture(scope="module")
def whole(films, tmp_path_factory):
    """An uninterrupted build, and its bytes."""
    path = tmp_path_factory.mktemp("whole") / "c.zarr"
    build(films, path)
    return path


def half(catalog):
    return catalog.select(np.arange(len(catalog) // 2))


# -- the same bytes whatever the way --


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_change_no_byte(films, whole, tmp_path, threads):
    """One thread or four: byte for byte the same cache."""
    build(films, tmp_path / "c.zarr", threads=threads)
    assert tree(tmp_path / "c.zarr") == tree(whole)


def test_a_second_build_does_nothing_and_says_so(films, whole, tmp_path, capsys):
    """Running a finished build again writes no file and says that there is nothing to do."""
    shutil.copytree(whole, tmp_path / "c.zarr")
    before = stamps(tmp_path / "c.zarr")
    resload.build(films, tmp_path / "c.zarr", SIZES)
    assert stamps(tmp_path / "c.zarr") == before
    assert "nothing to do" in capsys.readouterr().err


def test_an_exception_loses_only_what_was_in_flight(films, whole, tmp_path, monkeypatch):
    """A build that fails half way keeps its finished row groups, and continues to the same bytes."""
    from resload.store import run

    made, real = [], run.make_record

    def failing(sources, item):
        made.append(item.row)
        if len(made) == 25:
            raise OSError("the power of the disk array failed")
        return real(sources, item)

    monkeypatch.setattr(run, "make_record", failing)
    with pytest.raises(OSError, match="disk array"):
        build(films, tmp_path / "c.zarr", threads=1)
    assert (tmp_path / "c.zarr/.build/rows-0.json").exists()
    with pytest.raises(IncompleteCacheError, match="run the same build again"):
        resload.open_cache(tmp_path / "c.zarr")
    made.clear()
    monkeypatch.setattr(run, "make_record", lambda sources, item: (made.append(item.row), real(sources, item))[1])
    build(films, tmp_path / "c.zarr")
    assert min(made) == 16, "the first row group was there already"
    assert tree(tmp_path / "c.zarr") == tree(whole)


def kill(tmp_path, catalog, *, kills, seconds, sizes=SIZES, threads=2, start=None, seed=0):
    catalog.save(tmp_path / "catalog")
    plan = {
        "catalog": str(tmp_path / "catalog"), "cache": str(tmp_path / "killed.zarr"), "sizes": sizes, "seed": seed,
        "kills": kills, "seconds": seconds, "threads": threads, "start": None if start is None else str(start),
    }  # fmt: skip
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    script = Path(__file__).with_name("killing.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "plan.json")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kills"] == kills
    return tree(tmp_path / "killed.zarr")


@pytest.mark.slow
def test_killed_builds_end_in_the_same_bytes(films, whole, tmp_path):
    """SIGKILL at ten random moments, then run again: equal, byte for byte, to an uninterrupted build."""
    assert kill(tmp_path, films, kills=10, seconds=0.35) == tree(whole)


@pytest.mark.parametrize("what", ["append", "widen", "both"])
@pytest.mark.slow
def test_killed_updates_end_in_the_same_bytes(films, tmp_path, what):
    """The same for adding rows, adding sizes, and both; and the old cache can be opened all the while."""
    begun = films if what == "widen" else half(films)
    sizes = SIZES if what == "append" else (*SIZES, 56)
    build(begun, tmp_path / "start.zarr")
    shutil.copytree(tmp_path / "start.zarr", tmp_path / "plain.zarr")
    build(films, tmp_path / "plain.zarr", sizes)
    killed = kill(tmp_path, films, kills=5, seconds=0.3, sizes=sizes, start=tmp_path / "start.zarr", seed=1)
    assert killed == tree(tmp_path / "plain.zarr")


@pytest.mark.real
@pytest.mark.slow
def test_killed_builds_of_real_films(real_data, tmp_path):
    """90 real films, six kills: the same bytes, with 1 and with 4 threads too."""
    catalog = resload.datasets.chestxray14(real_data / "nih")
    sizes = (64, 224, 320)
    build(catalog, tmp_path / "one.zarr", sizes, threads=1)
    build(catalog, tmp_path / "four.zarr", sizes, threads=4)
    assert tree(tmp_path / "one.zarr") == tree(tmp_path / "four.zarr")
    assert kill(tmp_path, catalog, kills=6, seconds=1.2, sizes=sizes) == tree(tmp_path / "one.zarr")


# -- adding and correcting --


def test_new_sizes_touch_no_existing_shard(films, whole, tmp_path):
    """Adding a size writes its shards and the tables, and leaves every other shard's inode alone."""
    path = tmp_path / "c.zarr"
    shutil.copytree(whole, path)
    before = {name: stamp for name, stamp in stamps(path).items() if "/c/" in name}
    cache = build(films, path, (*SIZES, 56))
    after = {name: stamp for name, stamp in stamps(path).items() if "/c/" in name}
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[1] for name in after.keys() - before.keys()} == {"56x56"}
    assert cache.sizes == resload.open_cache(path).sizes
    fresh = build(films, tmp_path / "fresh.zarr", (*SIZES, 56))
    rows = fresh.rows()
    for size in fresh.sizes:
        assert np.array_equal(cache.read(rows, size), fresh.read(rows, size))


def test_asking_for_fewer_sizes_keeps_the_others(films, whole, tmp_path):
    """A later build with some of the sizes removes none."""
    shutil.copytree(whole, tmp_path / "c.zarr")
    assert build(films, tmp_path / "c.zarr", 64).sizes == resload.open_cache(whole).sizes


def test_new_rows_are_appended(films, tmp_path):
    """New films join behind the old rows, which keep their numbers and pixels; only the last shard is replaced."""
    path = tmp_path / "c.zarr"
    old = build(half(films), path)
    before = stamps(path)
    ids, pixels = old.table["id"].tolist(), old.read(old.rows(), 32)
    cache = build(films, path)
    assert cache.table["id"].tolist()[: len(ids)] == ids
    assert sorted(cache.table["id"]) == sorted(films.table["id"])
    assert np.array_equal(cache.read(old.rows(), 32), pixels)
    assert stamps(path)["images/32x32/c/0/0/0"] == before["images/32x32/c/0/0/0"]
    assert resload.verify(cache, progress=False).ok
    appended = cache.table["id"].tolist()[len(ids) :]
    assert appended != [name for name in films.table["id"] if name in set(appended)], "they are shuffled"


def test_corrected_targets_touch_no_pixel(films, whole, tmp_path, capsys):
    """Another target, split or column: the tables are written again, no shard is."""
    path = tmp_path / "c.zarr"
    shutil.copytree(whole, path)
    table = films.table.copy()
    name = films.targets[0]
    table[name] = 1 - table[name]
    table["ward"] = "A"
    catalog = resload.Catalog(table, targets=films.targets, boxes=films.boxes, root=films.root)
    before = {file: stamp for file, stamp in stamps(path).items() if "/c/" in file or "/zarr.json" in file}
    cache = resload.build(catalog, path, SIZES, columns=("ward",))
    assert "no pixel touched" in capsys.readouterr().err
    after = stamps(path)
    assert {file: after[file] for file in before} == before
    told = cache.table.set_index("id")[name]
    assert told.equals(table.set_index("id")[name].loc[told.index].astype("float32"))
    assert set(cache.table["ward"]) == {"A"}


# -- what is stored --


def test_levels_are_the_exact_resize(films, whole):
    """Every level of every film is within the contract of the float64 resize of what the pipeline decodes."""
    from resload.pipeline import make

    cache = resload.open_cache(whole)
    native = cache.pipeline
    bound = 1.01 if cache.dtype == np.uint8 else 0.52
    for row in cache.rows()[:12]:
        path = films.root / cache.table["path"].iloc[row]
        height, width = cache.table[["height", "width"]].iloc[row]
        film = make(native.with_sizes([(int(height), int(width))]), path).levels[0]
        for size in cache.sizes:
            error = cache.read([row], size)[0] - reference.resample(film, size)
            assert np.abs(error).max() <= bound


@pytest.mark.real
@pytest.mark.slow
def test_real_films_within_the_contract(real_data, tmp_path):
    """The 90 real films: a level of each, and each of the two in RGBA, within 1.01 of the float64 resize of Pillow's
    luma image."""
    from PIL import Image

    catalog = resload.datasets.chestxray14(real_data / "nih")
    assert len(catalog) == 90
    cache = build(catalog, tmp_path / "c.zarr", (32, 224, 600))
    modes = set()
    for row in cache.rows():
        with Image.open(catalog.root / cache.table["path"].iloc[row]) as picture:
            mode = picture.mode
            luma = np.asarray(picture.convert("L"), dtype=float)
        for size in cache.sizes if mode == "RGBA" else (cache.sizes[row % 3],):
            assert np.abs(cache.read([row], size)[0] - reference.resample(luma, size)).max() <= 1.01
        modes.add(mode)
    assert modes == {"L", "RGBA"}
    assert cache.dtype == np.uint8


def test_sums_are_exact(cache, cache8):
    """The table's integer sums are the records' own, for 8 and 16 bit."""
    from resload.store.tables import read_samples

    for built in (cache, cache8):
        table = read_samples(built.path, built._stored.manifest, levels=True)[0]
        for size in built.sizes:
            pixels = built.read(built.rows(), size).astype(np.uint64)
            assert table[f"sum_{size}"].to_numpy()[built.rows()].tolist() == pixels.sum(axis=(1, 2)).tolist()
            assert table[f"sumsq_{size}"].to_numpy()[built.rows()].tolist() == (pixels**2).sum(axis=(1, 2)).tolist()


def test_nothing_private_is_copied(films, tmp_path):
    """Patients become numbers, other columns stay behind, paths are relative, no host or absolute path is written."""
    table = films.table.copy()
    table["name_of_patient"] = "Somebody"
    catalog = resload.Catalog(table, targets=films.targets, root=films.root)
    cache = build(catalog, tmp_path / "c.zarr", 32)
    assert "name_of_patient" not in cache.table
    assert pd.api.types.is_integer_dtype(cache.table["patient"])
    groups = cache.table.set_index("id")["patient"]
    known = table.set_index("id")["patient"]
    assert groups.groupby(known).nunique().max() == 1
    assert known.groupby(groups).nunique().max() == 1
    kept = build(catalog, tmp_path / "k.zarr", 32, identifiers="keep", columns=("name_of_patient",))
    assert set(kept.table["patient"]) == set(table["patient"])
    assert set(kept.table["name_of_patient"]) == {"Somebody"}
    everything = b"".join(path.read_bytes() for path in (tmp_path / "c.zarr").rglob("*") if path.is_file())
    assert str(films.root).encode() not in everything
    assert b"Somebody" not in everything


@pytest.mark.parametrize("rooted", [True, False])
def test_absolute_paths_of_a_catalog_stay_behind(films, tmp_path, rooted):
    """Below the root they become relative to it; elsewhere the file's name is left."""
    table = films.table.assign(path=[str(films.path(row)) for row in range(len(films))])
    root = films.root if rooted else "."
    cache = build(resload.Catalog(table, targets=films.targets, root=root), tmp_path / "c.zarr", 32)
    known = films.table.set_index("id")["path"]
    expected = [known[name] if rooted else Path(known[name]).name for name in cache.table["id"]]
    assert cache.table["path"].tolist() == expected
    assert len(cache.quarantine) == 1


# -- films that cannot be read --


BOMB = bytes.fromhex("89504e470d0a1a0a0000000d49484452 0000ea60 0000ea60 08 00 00 00 00".replace(" ", ""))


def odd_files(folder, good):
    import zlib

    folder.mkdir()
    data = good.read_bytes()
    head = BOMB + zlib.crc32(BOMB[12:]).to_bytes(4, "big")
    contents = {
        "good.png": data, "truncated.png": data[: len(data) // 2], "empty.png": b"", "text.png": b"no picture " * 20,
        "bomb.png": head + data[33:],
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    import imagecodecs

    (folder / "jpeg_named.png").write_bytes(imagecodecs.jpeg8_encode(np.full((70, 60), 99, np.uint8)))
    names = [*contents, "jpeg_named.png", "missing.png"]
    table = pd.DataFrame({"id": [name.split(".")[0] for name in names], "path": names})
    return resload.Catalog(table, root=folder)


def test_odd_files_are_quarantined_with_a_reason_each(films8, tmp_path):
    """Truncated, empty, text, missing, 60,000 px-claiming files do not stop a build; a mislabelled one reads."""
    good = next(films8.path(row) for row in range(len(films8)) if films8.table["path"].iloc[row].endswith(".png"))
    catalog = odd_files(tmp_path / "odd", good)
    cache = build(catalog, tmp_path / "c.zarr", 32)
    reasons = cache.quarantine.set_index("id")["reason"]
    assert set(reasons.index) == {"truncated", "empty", "text", "bomb", "missing"}
    kinds = {name: reason.split(":")[0] for name, reason in reasons.items()}
    assert kinds["truncated"] == kinds["empty"] == "TruncatedFileError"
    assert kinds["text"] == "UnknownFormatError"
    assert kinds["bomb"] == "TooLargeError"
    assert kinds["missing"] == "UnreadableFileError"
    assert reasons.nunique() >= 4
    assert not reasons.str.contains(str(tmp_path)).any()
    assert len(cache.rows()) == 2
    with pytest.raises(ArgumentError, match="has no pixels: failed"):
        cache.read(np.flatnonzero(cache.table["status"] == "failed"), 32)


def test_on_error_raise_names_the_file(films8, tmp_path):
    """on_error="raise" stops at the first such film, names it, and keeps what was built."""
    good = next(films8.path(row) for row in range(len(films8)) if films8.table["path"].iloc[row].endswith(".png"))
    catalog = odd_files(tmp_path / "odd", good)
    with pytest.raises(DecodeError, match=r"odd/\w+\.png"):
        build(catalog, tmp_path / "c.zarr", 32, on_error="raise")


def test_no_readable_film_is_refused(tmp_path):
    """A catalog of which nothing can be read gives a sentence, not an empty cache."""
    (tmp_path / "a.png").write_bytes(b"")
    catalog = resload.Catalog(pd.DataFrame({"id": ["a"], "path": ["a.png"], "bits": [8]}), root=tmp_path)
    with pytest.raises(CatalogError, match="none of the 1 films could be read"):
        build(catalog, tmp_path / "c.zarr", 32)
    with pytest.raises(IncompleteCacheError):
        resload.open_cache(tmp_path / "c.zarr")


# -- refusals --


def test_another_recipe_is_refused(films, whole, tmp_path):
    """A cache never mixes recipes: another kernel, intensity or depth is refused, and nothing is lost."""
    path = tmp_path / "c.zarr"
    shutil.copytree(whole, path)
    before = tree(path)
    for options, words in (
        ({"kernel": "area"}, "kernel='triangle', asked for 'area'"),
        ({"intensity": "none"}, "intensity='auto', asked for 'none'"),
        ({"dtype": "uint8" if resload.open_cache(path).dtype == np.uint16 else "uint16"}, "asked for"),
    ):
        with pytest.raises(CacheMismatchError, match=words):
            build(films, path, **options)
    assert tree(path) == before


def test_a_smaller_catalog_is_refused(films, whole, tmp_path):
    """A catalog that lacks radiographs of the cache is refused with their number and the first."""
    shutil.copytree(whole, tmp_path / "c.zarr")
    with pytest.raises(CacheMismatchError, match=r"lacks \d+ of the \d+ radiographs"):
        build(half(films), tmp_path / "c.zarr")


def test_deeper_films_cannot_join_a_uint8_cache(films, films8, tmp_path):
    """12-bit films appended to a uint8 cache would lose depth: refused."""
    cache = build(films8, tmp_path / "c.zarr", 32)
    assert cache.dtype == np.uint8
    with pytest.raises(CacheMismatchError, match="more than 8 bits"):
        build(films, tmp_path / "c.zarr", 32)


def test_changed_sources_are_noticed(films8, tmp_path):
    """A source whose content changed is refused; one that was only touched is not."""
    folder = tmp_path / "films"
    shutil.copytree(films8.root, folder)
    catalog = resload.Catalog(films8.table, targets=films8.targets, root=folder)
    cache = build(catalog, tmp_path / "c.zarr", 32)
    row = int(cache.rows()[0])
    path = folder / cache.table["path"].iloc[row]
    path.touch()
    build(catalog, tmp_path / "c.zarr", 32)
    content = path.read_bytes()
    path.write_bytes((folder / cache.table["path"].iloc[int(cache.rows()[1])]).read_bytes())
    with pytest.raises(CacheMismatchError, match=rf"1 sources differ .*{path.name}"):
        build(catalog, tmp_path / "c.zarr", 32)
    build(catalog, tmp_path / "c.zarr", 32, check="none")
    with pytest.raises(CacheMismatchError, match="changed since it was cached"):
        build(catalog, tmp_path / "c.zarr", (32, 40), check="none")
    path.write_bytes(content)
    assert len(build(catalog, tmp_path / "c.zarr", (32, 40)).sizes) == 2


def test_a_full_disk_is_refused_before_the_first_film(films, tmp_path, monkeypatch):
    """The estimate is compared with the free space before anything is decoded."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DiskSpaceError, match=r"kB are needed and 1 kB are free"):
        build(films, tmp_path / "c.zarr")
    assert not list((tmp_path / "c.zarr").rglob("*.part"))


def test_two_builds_at_once_are_refused(films, tmp_path):
    """A cache that is being built is not built a second time."""
    from resload.store.alone import alone

    (tmp_path / "c.zarr").mkdir()
    with alone(tmp_path / "c.zarr"), pytest.raises(BuildInProgressError, match="another process"):
        build(films, tmp_path / "c.zarr")
    build(films, tmp_path / "c.zarr", 32)


def test_other_folders_are_left_alone(films, tmp_path):
    """A folder with other files, or a file, is never built into."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CacheMismatchError, match="holds other files"):
        build(films, tmp_path)
    with pytest.raises(CacheMismatchError, match="a file is here"):
        build(films, tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_opening_refuses_in_words(whole, tmp_path):
    """No cache, another Zarr group, a newer format: each its own error and sentence."""
    with pytest.raises(NotACacheError, match="no resload cache is here"):
        resload.open_cache(tmp_path / "nothing")
    shutil.copytree(whole, tmp_path / "c.zarr")
    manifest = tmp_path / "c.zarr/zarr.json"
    document = json.loads(manifest.read_text())
    reworded(tmp_path / "c.zarr", format=99)
    with pytest.raises(NewerFormatError, match="written in format 99; this resload reads up to 1"):
        resload.open_cache(tmp_path / "c.zarr")
    document["attributes"] = {}
    manifest.write_text(json.dumps(document))
    with pytest.raises(NotACacheError, match="not one that resload wrote"):
        resload.open_cache(tmp_path / "c.zarr")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sizes": None}, "sizes=.*found neither"),
        ({"sizes": 0}, "from 1 to 65536"),
        ({"kernel": "nearest"}, "kernel must be one of"),
        ({"on_error": "ignore"}, "quarantine or raise"),
        ({"check": "never"}, "check must be one of"),
        ({"columns": ("no such",)}, "not in the catalog"),
        ({"identifiers": "hash"}, "number, keep"),
        ({"shard_mb": 0}, "positive"),
        ({"threads": 0}, "threads must be an int >= 1"),
        ({"pipeline": resload.Pipeline(32)}, "do not pass"),
    ],
)
def test_arguments_are_checked_before_anything_is_made(films, tmp_path, options, match):
    """Impossible arguments are refused in words, and no folder appears."""
    arguments = {"sizes": (32,), **options}
    with pytest.raises(ArgumentError, match=match):
        resload.build(films, tmp_path / "c.zarr", progress=False, **arguments)
    assert not (tmp_path / "c.zarr").exists()


def test_it_says_what_it_will_cost(films, tmp_path, capsys):
    """First bytes, files and minutes; in the end how many films, and how many were quarantined."""
    resload.build(films, tmp_path / "c.zarr", SIZES)
    words = capsys.readouterr().err
    assert f"{len(films)} films -> " in words
    assert "files, about" in words
    assert "complete:" in words
    assert "1 quarantined" in words


def test_partial_open_shows_what_is_there(films, tmp_path, monkeypatch):
    """An unfinished cache opens with partial=True: finished rows can be read, the others are pending."""
    from resload.store import run

    real = run.make_record
    monkeypatch.setattr(run, "make_record", lambda s, item: real(s, item) if item.row < 20 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build(films, tmp_path / "c.zarr", threads=1)
    cache = resload.open_cache(tmp_path / "c.zarr", partial=True)
    assert set(cache.table["status"][16:]) == {"pending"}
    assert cache.read(cache.rows(), 32).any()
    assert cache.rows().max() < 16
