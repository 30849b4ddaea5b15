"""Several recipes from one decode: `build_each` and what it shares films by."""

import threading

import numpy as np
import pytest

import resload
from resload.errors import CacheMismatchError, DecodeError
from resload.pipeline import Pipeline
from resload.pipeline.cpu import Known
from resload.pipeline.once import Once
from resload.store.builder import build_each


def recipes(folder, catalog, kernels=("triangle", "area", "cubic")):
    return {folder / f"{kernel}.zarr": Pipeline((32, 64), kernel=kernel).resolve(catalog) for kernel in kernels}


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_each_cache_is_what_build_makes_byte_for_byte(films, tmp_path):
    asked = recipes(tmp_path / "each", films)
    made = build_each(films, asked, threads=4, progress=False)
    assert [one.pipeline.kernel for one in made] == ["triangle", "area", "cubic"]
    for path, recipe in asked.items():
        alone = tmp_path / "alone" / path.name
        resload.build(films, alone, pipeline=recipe, progress=False)
        assert files(alone) == files(path)


def test_each_film_is_decoded_once(films, tmp_path, monkeypatch):
    made = []
    begin = Once.__init__
    monkeypatch.setattr(Once, "__init__", lambda self, *args: (begin(self, *args), made.append(self))[0])
    build_each(films, recipes(tmp_path, films), threads=6, progress=False)
    assert made[0].decoded == len(films)


def test_one_that_is_there_is_left_alone_and_the_others_are_built(films, tmp_path):
    asked = recipes(tmp_path, films)
    first = next(iter(asked))
    resload.build(films, first, pipeline=asked[first], progress=False)
    before = {name: (first / name).stat().st_mtime_ns for name in files(first)}
    build_each(films, asked, progress=False)
    assert {name: (first / name).stat().st_mtime_ns for name in files(first)} == before
    assert all(resload.open_cache(path).sizes for path in asked)


def test_one_that_cannot_be_is_raised_once_the_others_are_built(films, tmp_path):
    asked = recipes(tmp_path, films)
    first, *others = asked
    first.mkdir(parents=True)
    (first / "letter.txt").write_text("dear")
    with pytest.raises(CacheMismatchError, match="holds other files"):
        build_each(films, asked, progress=False)
    assert all(len(resload.open_cache(path)) == len(films) for path in others)


def png(value):
    import imagecodecs

    return imagecodecs.png_encode(np.full((8, 8), value, np.uint8))


def test_whoever_is_ahead_waits_for_the_others():
    once, came = Once(2, most=2), []

    def ahead():
        for value in range(5):
            once(png(value), Known(), "luma")
            came.append(value)

    thread = threading.Thread(target=ahead)
    thread.start()
    while len(came) < 2:
        thread.join(0.01)
    thread.join(0.2)
    assert len(came) == 2
    for value in range(5):
        assert once(png(value), Known(), "luma").pixels[0, 0] == value
    thread.join()
    assert once.decoded == 5


def test_nobody_waits_for_ever_for_one_that_never_comes(monkeypatch):
    monkeypatch.setattr("resload.pipeline.once.PATIENCE", 0.01)
    once = Once(2, most=1)
    for value in range(3):
        assert once(png(value), Known(), "luma").pixels[0, 0] == value


def test_one_that_has_ended_is_not_waited_for():
    once = Once(2, most=1)
    once(png(0), Known(), "luma")
    once.ended()
    for value in range(1, 4):
        once(png(value), Known(), "luma")
    assert once.decoded == 4


def test_a_broken_film_is_broken_for_each():
    once = Once(2, most=4)
    for _ in range(2):
        with pytest.raises(DecodeError):
            once(png(0)[:40], Known(), "luma")


def test_another_frame_or_colour_is_another_film():
    once = Once(2, most=8)
    once(png(0), Known(frame=0), "luma")
    once(png(0), Known(frame=0), "reject")
    assert once.decoded == 2
