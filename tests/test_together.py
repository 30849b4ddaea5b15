"""Films made together, with a GPU's decoder played by imagecodecs and its tensors on the CPU."""

from functools import partial
from types import SimpleNamespace

import imagecodecs
import numpy as np
import pandas as pd
import pytest
import torch
from dicom_files import J2K, make_dicom
from hypothesis import given
from hypothesis import strategies as st
from streams import GPU, LOSSLESS, LOSSY, dicom_of, faked, film

import resload
from resload import Pipeline
from resload.errors import DecodeError, UnreadableFileError
from resload.geometry import Crop
from resload.pipeline import device, make, together
from resload.pipeline.cpu import Known
from resload.pipeline.engine import CPU, Engine
from resload.pipeline.together import made_together
from resload.size import Size, Spacing
from resload.store import made, run
from resload.store.words import how_long

EVERY = LOSSLESS | LOSSY


@pytest.fixture
def fake(monkeypatch):
    """The stand-in for DALI, with an engine that has it on a GPU."""
    made = faked(monkeypatch)
    other = made.decoder(GPU)
    made.engine = Engine(GPU, other, 2, other.names, 16, other.gathering)
    return made


@pytest.fixture
def trusted(fake):
    """The same, with every kind proven."""
    for kind in EVERY.values():
        for seed in range(3):
            make(Pipeline(8, dtype="uint16"), kind(seed), engine=fake.engine)
    for pipeline in fake:
        pipeline.runs.clear()
    return fake


def given_(file, known=None):
    return partial(lambda *one: one, file, known or Known())


def all_of(pipeline, files, engine):
    """What is made of files, in order."""
    made = dict(made_together(pipeline, [given_(file) for file in files], engine))
    assert sorted(made) == list(range(len(files)))
    return [made[k] for k in range(len(files))]


def runs(fake):
    """How many streams each run decoded."""
    return sorted(count for pipeline in fake for count in pipeline.runs)


def same(found, expected):
    """Two films in everything."""
    for name in ("size", "bits", "intensity", "content", "chest_wall", "places", "decoder"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in ("scale", "offset", "spacing"):
        np.testing.assert_equal(getattr(found, name), getattr(expected, name))
    for one, other in zip(found.levels, expected.levels, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("fit", "intensity"),
    [("stretch", "auto"), ("stretch", "window(1000, 900)"), ("pad", "minmax"), (Crop("content"), "auto"),
     (Crop("content"), "window(1000, 900)")],
)  # fmt: skip
def test_films_are_those_made_one_by_one(trusted, fit, intensity):
    """Every kind of file at once: everything that is known of each, and every pixel; those of the CPU to a rounding."""
    pipeline = Pipeline((20, (48, 40), "native"), dtype="uint16", fit=fit, intensity=intensity)
    files = [kind(seed) for seed in range(4) for kind in EVERY.values()]
    found = all_of(pipeline, files, trusted.engine)
    assert max(runs(trusted)) > 8
    for one, file in zip(found, files, strict=True):
        same(one, make(pipeline, file, engine=trusted.engine))
        for level, expected in zip(one.levels, make(pipeline, file, engine=CPU).levels, strict=True):
            assert np.abs(level.astype(int) - expected).max() <= 1
        assert one.levels[-1].shape == one.size


def test_films_of_one_shape_are_resized_by_the_same_calls(trusted, monkeypatch):
    """However many they are: a call for each shape, depth and size, and one copy to the host."""
    calls = {"resized": 0, "on_host": 0}
    for name in calls:
        real = getattr(device, name)

        def counted(*given, real=real, name=name, **options):
            calls[name] += 1
            return real(*given, **options)

        monkeypatch.setattr(device, name, counted)
    files = [LOSSY["JPEG"](seed) for seed in range(9)]
    files += [imagecodecs.jpeg8_encode(film(8, (64, 80), seed)) for seed in range(4)]
    found = all_of(Pipeline((20, 30), dtype="uint8"), files, trusted.engine)
    assert {len(one.levels) for one in found} == {2}
    assert calls == {"resized": 4, "on_host": 1}
    assert runs(trusted) == [13]


def test_a_kind_is_proven_first(fake):
    """Before it is trusted, films go the usual way, each decoded by imagecodecs too; then together."""
    files = [dicom_of(J2K, 12, seed) for seed in range(12)]
    pipeline = Pipeline(32, dtype="uint16")
    found = all_of(pipeline, files, fake.engine)
    assert runs(fake) == [1, 1, 1, 9]
    for one, file in zip(found, files, strict=True):
        same(one, make(pipeline, file, engine=fake.engine))


def test_what_cannot_be_made_is_alone(trusted):
    """A damaged stream, a file that cannot be read, one without an image, and a film of one value among good ones."""
    good = [LOSSY["JPEG"](seed) for seed in range(6)]
    blank = make_dicom(np.full((40, 30), 7, np.uint16), J2K, bits=12)
    inside = dicom_of(J2K, 12, 3)
    bad = inside[: len(inside) - 300]
    reads = []

    def unreadable():
        reads.append(1)
        raise UnreadableFileError("the file could not be read")

    files = [*good[:3], bad, b"no film", blank, *good[3:]]
    films = [*map(given_, files), unreadable]
    pipeline = Pipeline(32, dtype="uint16")
    found = dict(made_together(pipeline, films, trusted.engine))
    for k, file in enumerate(files):
        if k in (3, 4):
            with pytest.raises(type(found[k])) as raised:
                make(pipeline, file, engine=trusted.engine)
            assert str(raised.value) == str(found[k])
        else:
            same(found[k], make(pipeline, file, engine=trusted.engine))
    assert isinstance(found[9], UnreadableFileError)
    assert len(reads) == 1
    assert sorted(k for k, one in found.items() if isinstance(one, DecodeError)) == [3, 4, 9]
    assert found[5].decoder.startswith("dali.")


def test_what_dali_fails_at_is_read_again_and_decoded_by_imagecodecs(trusted, caplog):
    """One whole run fails; every film comes out all the same."""
    files = [dicom_of(J2K, 12, seed) for seed in range(6)]
    read = []

    def counted(k):
        read.append(k)
        return files[k], Known()

    def fails(samples):
        raise RuntimeError("Failed to decode sample #0")

    trusted.spoil = fails
    pipeline = Pipeline(32, dtype="uint16")
    found = dict(made_together(pipeline, [partial(counted, k) for k in range(6)], trusted.engine))
    assert {found[k].decoder.split(".")[0] for k in range(6)} == {"imagecodecs"}
    assert sorted(read) == sorted([*range(6)] * 2)
    for k in range(6):
        expected = make(pipeline, files[k], engine=CPU)
        assert np.abs(found[k].levels[0].astype(int) - expected.levels[0]).max() <= 1
    assert "which imagecodecs decodes" in caplog.text


def test_a_size_in_millimetres_of_a_film_without_spacing(trusted):
    """What is refused once a film is decoded names its own film alone."""
    pipeline = Pipeline((Spacing(0.5, Size(32, 32)),), dtype="uint8")
    films = [given_(LOSSY["JPEG"](k), Known(spacing=(0.4, 0.4)) if k % 2 else Known()) for k in range(6)]
    found = dict(made_together(pipeline, films, trusted.engine))
    for k in range(6):
        if k % 2:
            same(found[k], make(pipeline, *films[k](), trusted.engine))
        else:
            assert "spacing is not known" in str(found[k])


def test_many_pixels_are_several_runs(trusted, monkeypatch):
    """So that neither compressed films nor their tensors grow with the number of films."""
    monkeypatch.setattr(together, "_PIXELS", 4 * 120 * 96)
    files = [LOSSY["JPEG"](seed) for seed in range(10)]
    pipeline = Pipeline(32, dtype="uint8")
    for one, file in zip(all_of(pipeline, files, trusted.engine), files, strict=True):
        same(one, make(pipeline, file, engine=trusted.engine))
    assert runs(trusted)[-3:] == [2, 4, 4]


def test_other_engines_make_each_by_itself():
    """In order, and nothing is read before the one before it was taken."""
    read = []

    def one(k):
        read.append(k)
        return LOSSY["JPEG"](k), Known()

    making = made_together(Pipeline(16, dtype="uint8"), [partial(one, k) for k in range(4)], CPU)
    assert next(making)[0] == 0
    assert read == [0]
    assert [k for k, _ in making] == [1, 2, 3]


# -- through the doors --


@pytest.fixture
def catalog(tmp_path):
    """Every kind of file, some of them damaged."""
    root = tmp_path / "films"
    root.mkdir()
    for seed in range(5):
        for k, (_, file) in enumerate(EVERY.items()):
            (root / f"{seed}{k:02}.bin").write_bytes(file(seed))
    for name in ("100", "203"):
        (root / f"{name}.bin").write_bytes((root / f"{name}.bin").read_bytes()[:-500])
    (root / "404.bin").unlink()
    names = [f"{seed}{k:02}" for seed in range(5) for k in range(len(EVERY))]
    return resload.Catalog(pd.DataFrame({"id": names, "path": [f"{name}.bin" for name in names]}), root=root)


@pytest.fixture
def played(trusted, monkeypatch):
    """decode="dali", device="cuda" is the stand-in."""
    for where in ("resload.pipeline.recipe", "resload.store.builder", "resload.readers.source"):
        monkeypatch.setattr(f"{where}.engine_of", lambda *_: trusted.engine)
    return trusted


def apart(one, other):
    return np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max()


def test_a_build(played, catalog, tmp_path, monkeypatch):
    """Its table, quarantine and pixels are those of the CPU's, also where a level is added later."""
    found = resload.build(catalog, tmp_path / "there", (32, "native"), dtype="uint16", threads=2, progress=False)
    assert max(runs(played)) > 4
    read, real = [], made.read_file
    monkeypatch.setattr(made, "read_file", lambda path: (read.append(path.stem), real(path))[1])
    found = resload.build(catalog, tmp_path / "there", (32, 48, "native"), dtype="uint16", threads=2, progress=False)
    assert sorted(read) == sorted(set(catalog.table["id"]) - {"100", "203", "404"})
    monkeypatch.undo()
    expected = resload.build(catalog, tmp_path / "cpu", (32, 48, "native"), dtype="uint16", progress=False)
    names = found.table.columns.drop("decoder")
    pd.testing.assert_frame_equal(found.table[names], expected.table[names])
    assert found.quarantine.drop(columns="decoder", errors="ignore").equals(
        expected.quarantine.drop(columns="decoder", errors="ignore")
    )
    assert len(found.quarantine) >= 3
    rows = expected.rows()
    for size in (32, 48):
        assert apart(found.read(rows, size), expected.read(rows, size)) <= 1
    assert found.table["decoder"].str.startswith("dali.").sum() > 30


def test_how_long_a_build_takes_is_told_by_pieces(trusted, monkeypatch):
    """Three pieces of as many films as are made together; threads of ours do not divide the time."""
    paths = [LOSSY["JPEG"](k) for k in range(40)]
    films = SimpleNamespace(paths=paths, source=lambda row: (paths[row], Known()))
    clock = iter([0.0, 16.0, 100.0, 132.0, 200.0, 316.0])
    monkeypatch.setattr("resload.store.words.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    pipeline = Pipeline(32, dtype="uint8")
    assert how_long(pipeline, films, 60, 8, trusted.engine) == "2 min"  # of 1, 2 and 7.25 s a film
    assert runs(trusted) == [16, 16, 16]
    clock = iter([0.0, 1.0, 2.0, 4.0, 5.0, 15.0])
    assert how_long(pipeline, films, 60, 8, CPU) == "15 s"


def test_a_build_that_stops_at_the_first_bad_film_names_it(played, catalog, tmp_path):
    """With on_error="raise", as on the CPU."""
    with pytest.raises(DecodeError, match=r"(100|203|404)\.bin"):
        resload.build(catalog, tmp_path / "there", 32, dtype="uint16", on_error="raise", progress=False)


def test_a_call(played, catalog, monkeypatch):
    """Images and errors in the order of the films."""
    pipeline = Pipeline((32, 48), dtype="uint16")
    rows = np.arange(len(catalog))
    found = pipeline((catalog, rows), threads=2)
    monkeypatch.undo()
    expected = pipeline((catalog, rows), threads=2)
    assert [str(one) for one in found.errors] == [str(one) for one in expected.errors]
    for size, images in expected.images.items():
        assert apart(found.images[size], images) <= 1


def test_a_loader(played, catalog, monkeypatch):
    """Batches in the plan's order, with what is known of their films; of several sizes too."""
    good = [k for k, name in enumerate(catalog.table["id"]) if name not in ("100", "203", "404")]
    options = {"pipeline": Pipeline((24, 40), dtype="uint16"), "size": [(40, 40), 24], "batch_size": 7}
    options |= {"rows": good, "shuffle": True, "seed": 3, "dtype": torch.uint16, "threads": 3}
    found = list(resload.Loader(catalog, **options))
    assert max(runs(played)) > 4
    monkeypatch.undo()
    for one, other in zip(found, resload.Loader(catalog, **options), strict=True):
        assert one.ids == other.ids
        assert one.scales.keys() == other.scales.keys() == {Size(40, 40), Size(24, 24)}
        for size, images in one.scales.items():
            assert apart(images, other.scales[size]) <= 1
        np.testing.assert_array_equal(one.spacing, other.spacing)


def test_a_loader_names_the_film_that_cannot_be_read(played, catalog):
    """The file, as on the CPU."""
    loader = resload.Loader(catalog, pipeline=Pipeline(24, dtype="uint16"), size=24, batch_size=4)
    with pytest.raises(DecodeError, match=r"100\.bin"):
        list(loader)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6), st.integers(1, 5))
def test_pieces_of_a_build(tasks, most):
    """Every item once and in order; of one task, and never some to be made beside some to be copied."""
    items = []
    for keep, more in tasks:
        task = SimpleNamespace(keep=keep)
        items += [SimpleNamespace(task=task, k=k) for k in range(keep + more)]
    found = list(run._pieces(iter(items), most))
    assert [item for piece in found for item in piece] == items
    assert all(0 < len(piece) <= most for piece in found)
    for piece in found:
        assert len({(id(item.task), item.k < item.task.keep) for item in piece}) == 1
