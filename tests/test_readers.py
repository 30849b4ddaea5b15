"""Readers: one contract, two ways to keep it."""

import shutil
import threading

import numpy as np
import pandas as pd
import pytest

from resload import Catalog, Pipeline, Size, open_cache
from resload.errors import ArgumentError, CorruptCacheError, DecodeError, SizeError, UnreadableFileError
from resload.geometry import Stretch, facts_at, film_facts, places
from resload.geometry.placing import CONTENT, PLACES, SHAPE
from resload.readers import CacheReader, SourceReader
from resload.store.layout import shard_path
from resload.store.slot import Slot

SIZE = Size(48, 40)


class ReaderContract:
    """What the loader relies on. A reader of one's own inherits this with a fixture `reader` of at least 8 rows
    that serves SIZE, and `pixels`: {id: (48, 40) array} of what it should serve."""

    def test_it_describes_its_rows(self, reader):
        """A table with ids, one row per radiograph; the targets are columns of it; dtype is uint8 or uint16."""
        assert len(reader) == len(reader.table)
        assert reader.table["id"].is_unique
        assert isinstance(reader.targets, tuple)
        assert set(reader.targets) <= set(reader.table.columns)
        assert reader.dtype in (np.uint8, np.uint16)

    def test_rows_are_readable_row_numbers(self, reader, pixels):
        """Ascending int64, of what can be read; `split` and `where` choose among them."""
        rows = reader.rows()
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()
        assert set(reader.table["id"].iloc[rows]) == set(pixels)
        train = reader.rows(split="train")
        assert set(train) == {row for row in rows if reader.table["split"].iloc[row] == "train"}
        assert 0 < len(train) < len(rows)
        assert set(reader.rows(where="view == 'AP'")) == {r for r in rows if reader.table["view"].iloc[r] == "AP"}
        half = np.arange(len(reader)) % 2 == 0
        assert set(reader.rows(where=half, split="train")) == {row for row in train if row % 2 == 0}
        with pytest.raises(ArgumentError, match="split='fold': "):
            reader.rows(split="fold")

    def test_fill_gives_the_rows_asked_for(self, reader, pixels):
        """In the order asked, repeats included, at the place asked, and nowhere else."""
        rows = reader.rows()[[5, 0, 0, 3]]
        slot = Slot(np.full((7, *SIZE), 77, reader.dtype))
        reader.fill(slot, rows, SIZE, 2)
        for image, name in zip(slot.out[2:6], reader.table["id"].iloc[rows], strict=True):
            assert np.array_equal(image, pixels[name])
        assert (slot.out[[0, 1, 6]] == 77).all()

    def test_threads_fill_one_slot_together(self, reader, pixels):
        """Different images of one slot from several threads at once; again and again, the same bytes."""
        rows = reader.rows()
        for _ in range(2):
            slot = Slot(np.zeros((len(rows), *SIZE), reader.dtype))
            parts = np.array_split(np.arange(len(rows)), 4)
            threads = [threading.Thread(target=reader.fill, args=(slot, rows[p], SIZE, int(p[0]))) for p in parts]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for image, name in zip(slot.out, reader.table["id"].iloc[rows], strict=True):
                assert np.array_equal(image, pixels[name])

    def test_facts_follow_the_rows(self, reader):
        """Of each filled row, in the order asked: mm per pixel and content at this size, float32; a new array."""
        rows = reader.rows()[[6, 1, 6]]
        reader.fill(Slot(np.zeros((3, *SIZE), reader.dtype)), rows, SIZE, 0)
        facts = reader.facts(rows, SIZE)
        names = reader.table["id"].iloc[rows]
        shape = np.array([(200, 160) if name.startswith("a/") else (160, 184) for name in names])
        view_mm = reader.table[["spacing_y", "spacing_x"]].to_numpy()[rows] * shape
        assert (facts.dtype, facts.shape) == (np.float32, (3, 16))
        np.testing.assert_allclose(facts[:, :2] * SIZE, view_mm, rtol=1e-6)
        np.testing.assert_array_equal(facts[:, CONTENT], [(0, 0, *SIZE)] * 3)
        np.testing.assert_array_equal(facts[:, PLACES], [(0, 0, *film, 0, 0, *SIZE) for film in shape])
        np.testing.assert_array_equal(facts[:, SHAPE], shape)
        facts[:] = -1
        assert (reader.facts(rows, SIZE)[:, :2] > 0).all()

    def test_sizes_are_checked(self, reader):
        """What is served is a Size, however it was written; what is no size is a SizeError."""
        assert reader.checked_size((48, 40)) == reader.checked_size("48x40") == SIZE
        with pytest.raises(SizeError):
            reader.checked_size(0)

    def test_tasks_have_a_grain(self, reader):
        """At least one image a task, or 0: filling is quicker than handing it over."""
        assert reader.grain(SIZE) >= 0

    def test_the_digest_is_of_the_data(self, reader):
        """A short text, the same when asked again."""
        assert isinstance(reader.digest(), str)
        assert reader.digest() == reader.digest()


@pytest.fixture(scope="module")
def readable(films, cache):
    return films.select(~films.table["id"].isin(cache.quarantine["id"]).to_numpy())


@pytest.fixture(scope="module")
def pixels(readable, cache):
    """What the pipeline makes of each film, by id."""
    made = cache.pipeline.with_sizes([SIZE])((readable, range(len(readable)))).images[SIZE][:, 0].numpy()
    return dict(zip(readable.table["id"], made, strict=True))


class TestCacheReader(ReaderContract):
    """Stored records."""

    @pytest.fixture
    def reader(self, cache):
        return CacheReader(cache)

    def test_no_enlarging_unless_asked(self, reader, cache):
        """A size larger than every level is refused with those that are stored; with allow_upsample it is served."""
        with pytest.raises(SizeError, match=r"65x65 is larger than what is stored in .* \(32x32, 48x40, 64x64\)"):
            reader.checked_size(65)
        assert CacheReader(cache, allow_upsample=True).checked_size(65) == Size(65, 65)

    def test_a_task_is_some_megabytes_of_the_level(self, reader, monkeypatch):
        """Of what is read, which may be larger than what is made of it."""
        for size in (Size(32, 32), Size(64, 64), Size(40, 20)):
            level = reader.cache.serving(size).level
            assert 1 << 20 <= reader.grain(size) * level.pixels * 2 <= 8 << 20
        monkeypatch.setattr("resload.readers.cache._TASK_BYTES", 100)
        assert reader.grain(Size(64, 64)) == 1

    def test_statistics_are_the_pixels(self, reader, cache):
        """Mean and standard deviation of the rows' pixels, on [0, 1]."""
        rows = reader.rows()[3:12]
        values = cache.read(rows, SIZE) / 65535
        assert reader.stats(SIZE, rows) == pytest.approx((values.mean(), values.std()), rel=1e-9)

    def test_another_order_is_other_data(self, cache):
        """The digest changes when a row number comes to mean another radiograph, not when targets change."""
        view = cache.select(cache.rows())
        turned = cache.select(cache.rows()[::-1])
        assert CacheReader(view).digest() != CacheReader(turned).digest()
        score = pd.DataFrame({"id": view.table["id"], "score": 1.0})
        assert CacheReader(view.with_table(score, targets=["score"])).digest() == CacheReader(view).digest()

    def test_damage_is_raised(self, cache8, tmp_path):
        """A record whose bytes differ from their sum is never served."""
        copy = tmp_path / "copy.zarr"
        shutil.copytree(cache8.path, copy)
        path = copy / shard_path(SIZE, 0)
        data = bytearray(path.read_bytes())
        data[7] ^= 1
        path.write_bytes(data)
        reader = CacheReader(open_cache(copy))
        with pytest.raises(CorruptCacheError, match="record 0"):
            reader.fill(Slot(np.zeros((1, *SIZE), np.uint8)), np.array([0]), SIZE, 0)


class TestSourceReader(ReaderContract):
    """The pipeline, run when asked."""

    @pytest.fixture
    def reader(self, readable, cache):
        return SourceReader(readable, cache.pipeline)

    def test_any_size(self, reader):
        """Sizes that no cache stores, whatever ladder the pipeline has."""
        slot = Slot(np.zeros((1, 31, 77), reader.dtype))
        reader.fill(slot, reader.rows()[:1], reader.checked_size((31, 77)), 0)
        made = reader.pipeline.with_sizes([(31, 77)])((reader.catalog, [0]))
        assert np.array_equal(slot.out, made.images[Size(31, 77)][0].numpy())

    def test_one_film_a_task(self, reader):
        """Decoding takes milliseconds."""
        assert reader.grain(Size(32, 32)) == 1

    def test_statistics_would_cost_a_pass(self, reader):
        """Refused, with what to do."""
        with pytest.raises(ArgumentError, match=r"only a cache has; build one, or pass normalize=\(mean, std\)"):
            reader.stats(SIZE, reader.rows())

    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    def test_auto_is_resolved_once(self, readable, films8, dtype):
        """dtype "auto" looks at all films when the reader is made, so that every batch has one dtype."""
        catalog = readable if dtype == "uint16" else films8
        reader = SourceReader(catalog, Pipeline(32), threads=2)
        assert reader.pipeline.dtype == dtype
        assert reader.dtype == np.dtype(dtype)

    def test_unreadable_films_are_named(self, films, cache):
        """A truncated file, and one that is not there: DecodeErrors with the path, their first cause kept."""
        broken = films.table["id"].isin(cache.quarantine["id"]).to_numpy()
        table = films.table[broken | (np.arange(len(films)) == 2)].reset_index(drop=True)
        table.loc[table["id"] != cache.quarantine["id"][0], "path"] = "not there.png"
        reader = SourceReader(Catalog(table, root=films.root), Pipeline(32, dtype="uint8"))
        slot = Slot(np.zeros((2, *SIZE), np.uint8))
        for row in range(2):
            with pytest.raises(DecodeError) as caught:
                reader.fill(slot, np.array([row]), SIZE, 0)
            assert str(caught.value).startswith(f"{reader.catalog.path(row)}: ")
            assert caught.value.path == reader.catalog.path(row)
            assert isinstance(caught.value, UnreadableFileError) == ("not there" in str(caught.value))

    def test_what_a_scan_could_not_read_is_no_row(self, films):
        """A scanned catalog's errors are left out of rows()."""
        table = films.table.head(5).assign(path=lambda t: t["path"].where(t.index != 1, "nowhere.png"))
        scanned = Catalog(table, root=films.root).scan(progress=False)
        reader = SourceReader(scanned, Pipeline(32))
        assert reader.rows().tolist() == [0, 2, 3, 4]

    def test_no_splits(self, films):
        """split= of a catalog without any is refused, with how to get them."""
        reader = SourceReader(Catalog(films.table[["id", "path"]], root=films.root), Pipeline(32, dtype="uint16"))
        with pytest.raises(ArgumentError, match=r"split='train': there are no splits; make them with Catalog.split"):
            reader.rows(split="train")


def test_facts_of_a_bare_table_are_unknown():
    """Columns that are not there, and missing values in those that are, are NaN, and so is what follows from them."""
    table = pd.DataFrame(
        {
            "height": pd.array([100, None], "Int64"),
            "width": [50, 50],
            "spacing_x": [0.5, 0.25],
            "content_height": [80, 80],
        }
    )
    films = film_facts(table)
    facts = facts_at(films, places(Stretch(), "pixel", films, Size(10, 25)))[:, :6]
    nan = np.nan
    np.testing.assert_array_equal(facts, [(nan, 1.0, nan, nan, nan, nan), [nan] * 6])


def test_facts_are_scaled_per_axis():
    """A film of 200 x 80 at (50, 40): y by 1/4, x by 1/2, spacing the other way round."""
    film = np.array([(200.0, 80.0, 0.2, 0.3, 10.0, 20.0, 100.0, 40.0, np.nan)])
    found = facts_at(film, places(Stretch(), "pixel", film, Size(50, 40)))[:, :6]
    np.testing.assert_allclose(found, [(0.8, 0.6, 2.5, 10.0, 25.0, 20.0)], rtol=1e-6)
