"""Proof on demand: films decoded again find what no checksum can, and a good cache is within its contract."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from trees import reworded

import resload
from resload import reference
from resload.cli import main
from resload.errors import ArgumentError
from resload.geometry import Crop, Pad
from resload.size import Size
from resload.store import layout, tables
from resload.store.identity import fingerprint
from resload.store.made import integer_sums
from resload.store.proof import exact, limit
from resload.store.publish import publish


def proved(cache, catalog, sources=1000, **how):
    return resload.verify(cache, sources=sources, catalog=catalog, progress=False, **how)


# -- the reference, quick enough --


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_quick_reference_is_the_reference(data):
    """Any shape, ratio and kernel: `reference.resample` to float64 rounding."""
    height, width, tall, wide = (data.draw(st.integers(1, 90)) for _ in range(4))
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16]))
    kernel = data.draw(st.sampled_from(list(reference.KERNELS)))
    image = np.random.default_rng(height).integers(0, np.iinfo(dtype).max, (height, width), dtype, endpoint=True)
    found = exact(image, Size(tall, wide), kernel=kernel)
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, reference.resample(image, (tall, wide), kernel=kernel), rtol=0, atol=1e-8)


@pytest.mark.parametrize("kernel", reference.KERNELS)
def test_the_quick_reference_of_a_whole_film(kernel):
    """Many blocks of rows, each product cut into columns, along both axes."""
    image = np.random.default_rng(0).integers(0, 65535, (1500, 1100), np.uint16, endpoint=True)
    for size in (Size(301, 64), Size(40, 1200)):
        found = exact(image, size, kernel=kernel)
        np.testing.assert_allclose(found, reference.resample(image, size, kernel=kernel), rtol=0, atol=1e-8)


# -- good caches --


@pytest.mark.parametrize("which", ["cache", "cache8"])
def test_a_good_cache_is_within_its_contract(which, request):
    """Every readable film at every level: under the limit, never exactly equal; the quarantined film is not asked."""
    cache, films = request.getfixturevalue(which), request.getfixturevalue("films")
    report = proved(cache, films)
    readable = len(cache.rows())
    assert report.problems == ()
    assert report.sources == report.readable == readable < len(cache)
    assert report.digest == cache.digest
    assert [level.size for level in report.levels] == list(cache.sizes)
    for level in report.levels:
        assert level.films == readable
        assert level.limit == (0.52 if which == "cache" else 1.01)
        assert level.unit == (255 / 65535 if which == "cache" else 1)
        assert 0.25 < level.rmse < level.worst <= level.limit
        assert 0 < abs(level.mean) < 0.1


@pytest.mark.parametrize(
    ("fit", "aspect"),
    [
        ("pad", "pixel"),
        (Pad(value=0.5, align="top-left"), "physical"),
        (Pad(align="chest-wall"), "pixel"),
        ("crop", "physical"),
        (Crop("content"), "pixel"),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_films_that_keep_their_shape(films8, tmp_path, fit, aspect, dtype):
    """Only the film's rectangle is compared, and the canvas is what it should be."""
    recipe = resload.Pipeline((40, (64, 56)), fit=fit, aspect=aspect, dtype=dtype)
    cache = resload.build(films8, tmp_path / "x.zarr", pipeline=recipe, progress=False)
    report = proved(cache, films8)
    assert report.problems == ()
    assert all(0.2 < level.worst <= level.limit for level in report.levels)


@pytest.mark.parametrize("kernel", ["area", "lanczos3", "cubic"])
@pytest.mark.parametrize("which", ["films", "films8"])
def test_every_kernel(which, kernel, tmp_path, request):
    """Within 0.52 units, also where a kernel leaves the range that is stored."""
    films = request.getfixturevalue(which)
    cache = resload.build(films, tmp_path / "x.zarr", (24, 300), kernel=kernel, progress=False)
    report = proved(cache, films)
    assert report.problems == ()
    assert all(0.2 < level.worst <= level.limit == 0.52 for level in report.levels)


def test_the_limits_are_those_of_the_contract():
    """Two roundings in the fast path of 8 bits, one elsewhere."""
    assert limit("uint8", "triangle") == 1.01
    assert {limit("uint16", "triangle"), limit("uint8", "area"), limit("uint16", "cubic")} == {0.52}


@pytest.mark.real
def test_real_films(real_data, tmp_path):
    """Ten films of ChestX-ray14."""
    catalog = resload.datasets.chestxray14(real_data / "nih").select(np.arange(10))
    cache = resload.build(catalog, tmp_path / "x.zarr", (64, 256, 512), progress=False)
    report = proved(cache, catalog, 10)
    assert report.ok
    assert report.sources == 10
    assert all(0.5 < level.worst <= 1.01 and level.rmse < 0.35 for level in report.levels)
    assert all(abs(level.mean) < 0.05 for level in report.levels)


# -- bad caches whose checksums are right --


@pytest.fixture
def copy(cache8, tmp_path):
    shutil.copytree(cache8.path, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


def forged(path, row, size, pixels):
    """Put other pixels where a record was, and correct every sum, so that only a film can tell."""
    manifest = layout.read_manifest(path)
    table, kept = tables.read_samples(path, manifest, levels=True)
    group, k = divmod(row, manifest.per_shard)
    pixels = np.ascontiguousarray(pixels, manifest.dtype)
    total = crc32c(pixels.tobytes())
    with (path / layout.shard_path(size, group)).open("r+b") as file:
        file.seek(k * layout.record_bytes(size, manifest.dtype))
        file.write(pixels.tobytes() + total.to_bytes(4, "little"))
    for kind, value in zip(("crc32c", "sum", "sumsq"), (total, *integer_sums(pixels)), strict=True):
        name = tables.level_column(kind, size)
        column = table[name].to_numpy(copy=True)
        column[row] = value
        table[name] = column
    retabled(path, table, kept)


def retabled(path, table, kept):
    manifest = layout.read_manifest(path)
    files = {layout.SAMPLES: tables.as_parquet(table, kept)}
    files |= {name: (path / name).read_bytes() for name in manifest.tables if name != layout.SAMPLES}
    publish(path, manifest, fingerprint(manifest, table["id"].tolist(), table), files)


def sharp(cache, films, row, size):
    """A film resized without antialiasing, as a plain bilinear resize does it."""
    path = films.root / cache.table["path"].iloc[row]
    film = resload.Pipeline((Size(*cache.table.loc[row, ["height", "width"]]),), dtype="uint8")([path])
    (pixels,) = film.images.values()
    resized = Image.fromarray(pixels[0, 0].numpy()).resize((size.width, size.height), Image.Resampling.NEAREST)
    return np.asarray(resized)


@pytest.mark.parametrize("what", ["other film", "sharp", "one grey level more", "one pixel"])
def test_other_pixels_with_right_checksums_are_found(copy, films, what):
    """Another film's record, an aliased one, a brighter one, a single pixel: plain verify sees none of them."""
    cache, size = resload.open_cache(copy), Size(48, 40)
    row, other = cache.rows()[[2, 5]].tolist()
    own = cache.read([row], size)[0]
    pixel = own.copy()
    pixel[20, 20] ^= 2
    forged(copy, row, size, {
        "other film": cache.read([other], size)[0], "sharp": sharp(cache, films, row, size),
        "one grey level more": np.minimum(own, 253) + 2, "one pixel": pixel,
    }[what])  # fmt: skip
    assert resload.verify(copy, progress=False).ok
    report = proved(copy, films)
    (problem,) = report.problems
    assert problem.file == layout.shard_path(size, 0)
    assert (problem.row, problem.id, problem.repairable) == (row, cache.table["id"][row], False)
    worst = {level.size: level.worst for level in report.levels}
    assert problem.what.startswith(f"48x40: {worst[size]:.2f} units from the exact resize of its film (limit 1.01)")
    assert worst[size] > 1.01 >= max(value for other_size, value in worst.items() if other_size != size)
    assert report.digest != cache.digest


def test_a_canvas_that_is_not_one_is_found(films8, tmp_path):
    """One pixel beside the film, with right checksums."""
    cache = resload.build(films8, tmp_path / "x.zarr", (48,), fit="pad", progress=False)
    row = int(cache.rows()[0])
    pixels = cache.read([row], 48)[0]
    assert pixels[0, 0] == 0
    pixels[0, 0] = 1
    forged(cache.path, row, Size(48, 48), pixels)
    assert resload.verify(cache, progress=False).ok
    (problem,) = proved(cache, films8).problems
    assert (problem.row, problem.what) == (row, "48x48: the canvas beside its film is not 0 everywhere")


def test_a_damaged_record_is_told_once(copy, films):
    """A record that its checksum refuses is no record to compare; the film's other levels are."""
    cache = resload.open_cache(copy)
    size, row = cache.sizes[0], int(cache.rows()[3])
    with (copy / layout.shard_path(size, 0)).open("r+b") as file:
        file.seek(row * layout.record_bytes(size, "uint8"))
        file.write(b"\xff\x00\xff")
    report = proved(copy, films)
    (problem,) = report.problems
    assert problem.repairable
    assert "crc32c" in problem.what
    assert [level.films for level in report.levels] == [report.readable - 1, report.readable, report.readable]
    (copy / layout.shard_path(size, 0)).unlink()
    gone = proved(copy, films)
    assert [problem.row for problem in gone.problems] == [None]
    assert [level.size for level in gone.levels][-2:] == list(cache.sizes[1:])


def test_a_fingerprint_of_other_sources_is_found(copy):
    """The digest that one cites holds it: it must follow from the table."""
    reworded(copy, fingerprint="0" * 64)
    (problem,) = resload.verify(copy, progress=False).problems
    assert "fingerprint" in problem.what


# -- sources that are not what they were --


@pytest.fixture
def elsewhere(films, tmp_path):
    """The films in a folder of this test's own."""
    shutil.copytree(films.root, tmp_path / "films")
    return resload.Catalog(films.table, targets=films.targets, root=tmp_path / "films")


def test_changed_and_missing_sources_are_named(cache8, elsewhere):
    """A source with other bytes, one that is gone, and one the catalog does not hold; the others are compared."""
    changed, gone, left_out = cache8.rows()[[1, 4, 6]].tolist()
    paths, ids = cache8.table["path"], cache8.table["id"]
    with (elsewhere.root / paths[changed]).open("ab") as file:
        file.write(b"\0")
    (elsewhere.root / paths[gone]).unlink()
    catalog = elsewhere.select((elsewhere.table["id"] != ids[left_out]).to_numpy())
    report = proved(cache8, catalog)
    found = {problem.row: problem for problem in report.problems}
    assert sorted(found) == sorted([changed, gone, left_out])
    assert "no longer the file" in found[changed].what
    assert "UnreadableFileError" in found[gone].what
    assert "does not hold this radiograph" in found[left_out].what
    assert [found[row].file for row in (changed, gone)] == [str(elsewhere.root / paths[row]) for row in (changed, gone)]
    assert not any(problem.repairable for problem in report.problems)
    assert report.sources == report.readable - 3


def test_what_the_table_says_of_a_film_is_held_to_it(copy, films):
    """A height that is not the film's is a problem: places would be wrong."""
    manifest = layout.read_manifest(copy)
    table, kept = tables.read_samples(copy, manifest, levels=True)
    row = int(np.flatnonzero(table["status"] == "ok")[0])
    height = table["height"].to_numpy(copy=True)
    height[row] += 1
    table["height"] = height
    retabled(copy, table, kept)
    assert resload.verify(copy, progress=False).ok
    (problem,) = proved(copy, films).problems
    assert problem.row == row
    assert "the table says 201x160" in problem.what or "the table says 161x184" in problem.what


def test_no_film_at_all_is_no_proof(cache8, elsewhere):
    """All sources gone: every film asked for is a problem, and there are no levels."""
    shutil.rmtree(elsewhere.root)
    report = proved(cache8, elsewhere, 5)
    assert (report.sources, report.levels, len(report.problems)) == (0, (), 5)


# -- which films --


def test_the_seed_chooses_the_films(cache8, elsewhere):
    """The same films for the same seed, others for another, and more of them hold the fewer."""
    shutil.rmtree(elsewhere.root)  # every film asked for is then named

    def asked(n, seed):
        return {problem.row for problem in proved(cache8, elsewhere, n, seed=seed).problems}

    assert asked(6, 0) == asked(6, 0)
    assert asked(6, 0) < asked(9, 0)
    assert asked(6, 0) != asked(6, 1)
    assert asked(99, 0) == set(cache8.rows().tolist())


def test_without_sources_no_film_is_read(cache8):
    """The report says so, and has the digest all the same."""
    report = resload.verify(cache8, progress=False)
    assert (report.sources, report.levels, report.readable) == (0, (), len(cache8.rows()))
    assert report.digest == cache8.digest


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_matter(cache, films, threads):
    """The same films and the same numbers."""
    found, other = (proved(cache, films, 7, threads=n) for n in (threads, 2))
    assert replace(found, levels=()) == replace(other, levels=())
    for one, two in zip(found.levels, other.levels, strict=True):
        assert one.worst == pytest.approx(two.worst, abs=1e-8)


@pytest.mark.parametrize("sources", [-1, 2.0, True, "5"])
def test_a_wrong_number_of_films_is_refused(cache8, films, sources):
    """An int, 0 or more."""
    with pytest.raises(ArgumentError, match="sources must be an int >= 0"):
        proved(cache8, films, sources)


def test_sources_without_a_catalog_are_refused(cache8):
    """A cache does not know where its films lie: the message says what to give."""
    with pytest.raises(ArgumentError, match=r"sources=5 needs the films: give catalog="):
        resload.verify(cache8, sources=5, progress=False)


# -- the command --


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with films/ (10 of 8 bits, 96 x 96) and films.zarr."""
    from resload.testing import write_synthetic

    monkeypatch.chdir(tmp_path)
    catalog = write_synthetic("films", 10, size=96, dicom_share=0, broken=0)
    catalog = catalog.select((catalog.scan(progress=False).table["bits"] == 8).to_numpy())
    resload.build(resload.Catalog.from_folder("films", progress=False), "deep.zarr", (32,), progress=False)
    catalog.save("eight")
    resload.build(catalog, "films.zarr", (32, (48, 40)), progress=False)
    return tmp_path


@pytest.mark.parametrize(
    "words", ["films.zarr eight --sources 5", "films.zarr --sources 5 eight", "--sources 5 films.zarr eight"]
)
def test_what_it_prints(here, capsys, words):
    """The worst error, a line for each level, and the digest; options may stand anywhere."""
    assert main(["verify", *words.split()]) == 0
    lines = capsys.readouterr().out.splitlines()
    digest = resload.open_cache("films.zarr").digest
    assert lines[0].endswith("records, each as it was written")
    assert lines[1].startswith("5 of 8 films decoded again: worst error 0.")
    assert " grey levels at " in lines[1]
    assert lines[1].endswith("(limit 1.01)")
    assert lines[2].split() == ["size", "films", "worst", "mean", "rmse", "limit"]
    assert [line.split()[:2] for line in lines[3:5]] == [["32x32", "5"], ["48x40", "5"]]
    assert lines[5:] == [f"digest sha256:{digest}"]


def test_sixteen_bits_are_also_told_in_grey_levels(here, capsys):
    """The last column: the worst error of 255."""
    assert main(["verify", "deep.zarr", "films", "--sources", "99"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "of 65535 at 32x32 (limit 0.52)" in lines[1]
    assert lines[2].endswith("limit  worst of 255")
    cells = lines[3].split()
    assert float(cells[-1]) == pytest.approx(float(cells[2]) / 257, abs=1e-4)


def test_the_document(here, capsys):
    """All of it as JSON; the seed that chose the films is in it."""
    assert main(["verify", "films.zarr", "eight", "--sources", "5", "--seed", "7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["cache", "records", "problems", "sources", "readable", "seed", "levels", "digest"]
    assert (found["sources"], found["readable"], found["seed"]) == (5, 8, 7)
    assert found["digest"] == f"sha256:{resload.open_cache('films.zarr').digest}"
    small, large = found["levels"]
    assert (small["size"], large["size"]) == ("32x32", "48x40")
    assert list(small) == ["size", "films", "worst", "mean", "rmse", "limit", "unit"]
    assert 0 < small["rmse"] < small["worst"] <= small["limit"] == 1.01


def test_a_film_that_differs_is_exit_code_1(here, capsys):
    """The film and its error are named, and repair is not recommended for what it cannot see."""
    cache = resload.open_cache("films.zarr")
    forged(cache.path, 0, Size(32, 32), cache.read([1], 32)[0])
    Path("films", cache.table["path"][2]).unlink()
    assert main(["verify", "films.zarr", "eight", "--sources", "99"]) == 1
    shown = capsys.readouterr().out
    assert "units from the exact resize of its film (limit 1.01): made from other pixels" in shown
    assert f"({cache.table['id'][0]})" in shown
    assert "films.zarr: 2 problems; 2 between films and cache" in shown
    assert "resload repair" not in shown
    assert "7 of 8 films decoded again: worst error" in shown
    shutil.rmtree("films")
    assert main(["verify", "films.zarr", "eight", "--sources", "3"]) == 1
    assert "0 of 8 films decoded again: nothing could be compared" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("films.zarr --sources 5", "--sources needs the films: resload verify films.zarr SOURCE --sources 5"),
        ("films.zarr films", "SOURCE is only read with --sources N"),
        ("films.zarr films --sources -1", "sources must be an int >= 0"),
        ("films.zarr films --sources many", "invalid int value"),
        ("films.zarr nowhere --sources 5", "there is no such file or folder"),
        ("films.zarr films --sources 5 --split Set", "name columns of a CSV"),
        ("", "the following arguments are required: CACHE"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(here, capsys, words, sentence):
    """Nothing is read; the sentence says what to write."""
    assert main(["verify", *words.split()]) == 2
    assert sentence in capsys.readouterr().err
