"""Reads ahead of the plan: what is told, how far ahead, and that nothing else changes."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from loading import NumberReader, rows_of

from resload import Loader, foretold, open_cache
from resload.errors import CorruptCacheError
from resload.readers import CacheReader
from resload.samplers import Fixed, Images, Mix, Sampler
from resload.size import Size
from resload.store import gather

tells = pytest.mark.skipif(not gather._TELLS, reason="this system has no posix_fadvise, or no RWF_NOWAIT")


class Told(NumberReader):
    """Writes down what it is told, and what it had been told when each batch was drawn."""

    def __init__(self, n, each):
        super().__init__(n)
        self.each, self.told = each, []

    def ahead(self, rows, size):
        self.told.append((rows.tolist(), size))
        return len(rows) * self.each


def drawn(reader, steps):
    """The rows of each step, and how many the reader had been told of by then."""
    return [(step.index.tolist(), len(reader.told)) for step in foretold.telling(steps, reader)]


@pytest.mark.parametrize(("each", "ahead"), [(foretold.AHEAD_BYTES // 32, 8), (foretold.AHEAD_BYTES, 1), (1, 24)])
def test_steps_are_told_so_many_bytes_ahead(each, ahead):
    """Of 24 steps of 4 images each one is told once, in order; `AHEAD_BYTES` lie between telling and drawing."""
    reader = Told(96, each)
    sampler = Sampler(96, sizes=Fixed(8), budget=Images(4), seed=5)
    found = drawn(reader, sampler.steps(0))
    assert [rows for rows, _ in found] == [step.index.tolist() for step in sampler.steps(0)]
    assert [rows for rows, _ in reader.told] == [rows for rows, _ in found]
    assert [told for _, told in found] == [min(24, k + 1 + ahead) if ahead < 24 else 24 for k in range(24)]


def test_a_reader_that_fetches_nothing_hears_of_it_once():
    """0 bytes: nothing is drawn ahead and nothing more told of this size; a reader without the method is not asked."""
    reader = Told(96, 0)
    steps = list(Sampler(96, sizes=Fixed(8), budget=Images(4)).steps(0))
    assert drawn(reader, steps) == [(step.index.tolist(), 1) for step in steps]
    assert rows_of(Loader(NumberReader(8), size=4, batch_size=4)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_what_is_told_is_what_is_asked():
    """Sizes of a mix, every size of scales, and no padding."""
    reader = Told(30, 1)
    sampler = Sampler(30, sizes=Mix((6, 8)), budget=Images(4), seed=1, tail="exact")
    batches = [(batch.rows.tolist(), batch.size) for batch in Loader(reader, sampler=sampler)]
    assert [(rows, tuple(size)) for rows, size in reader.told] == [(rows, tuple(size)) for rows, size in batches]
    reader = Told(30, 1)
    assert len(list(Loader(reader, size=[6, 8], batch_size=30))) == 1
    assert [size for _, size in reader.told] == [Size(6, 6), Size(8, 8)]
    reader = Told(30, 1)
    last = list(Loader(reader, size=6, batch_size=8, rank=3, world=4))[-1]
    assert not last.valid.all()
    assert -1 not in reader.told[-1][0]
    assert reader.told[-1][0] == last.rows[last.valid].tolist()


@pytest.fixture
def asked(monkeypatch):
    """(file name, offset, bytes) of every request to fetch; nothing counts as being in memory."""
    found = []

    def advise(file, offset, length, advice):
        assert advice == os.POSIX_FADV_WILLNEED
        found.append((str(Path(f"/proc/self/fd/{file}").readlink()).rpartition("/c/")[2], offset, length))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    monkeypatch.setattr(gather, "HELD_RECORD_BYTES", 0)
    monkeypatch.setattr(gather, "_in_memory", lambda file, offset: False)
    return found


@tells
def test_records_are_asked_for_where_they_lie(cache, asked, monkeypatch):
    """Those of the level that serves the size; none when a few of them turn out to be in memory."""
    reader = CacheReader(open_cache(cache.path))
    rows = np.array([33, 2, 17])
    step = 64 * 64 * 2 + 4
    assert reader.ahead(rows, Size(64, 64)) == 3 * step
    assert asked == [(f"{row // 16}/0/0", row % 16 * step, step) for row in rows.tolist()]
    asked.clear()
    assert reader.ahead(rows, Size(40, 40)) == 3 * step
    assert len(asked) == 3
    asked.clear()
    monkeypatch.setattr(gather, "_in_memory", lambda file, offset: True)
    assert reader.ahead(rows, Size(64, 64)) == 3 * step
    assert not asked


def test_a_level_in_memory_asks_for_nothing(cache):
    """Nor do films at their own size, nor systems that cannot be told."""
    assert CacheReader(open_cache(cache.path)).ahead(np.arange(3), Size(64, 64)) == 0


@tells
def test_whether_a_file_is_in_memory_is_seen(tmp_path):
    """What was just written is; of an address behind the end nothing can be said, nor of what is no file."""
    path = tmp_path / "file"
    path.write_bytes(bytes(10_000))
    file = os.open(path, os.O_RDONLY)
    assert gather._in_memory(file, 5000)
    os.close(file)
    assert not gather._in_memory(file, 5000)


@tells
def test_a_missing_shard_waits_for_its_turn(cache, tmp_path, asked):
    """Batches before the one that needs it arrive."""
    shutil.copytree(cache.path, tmp_path / "copy.zarr")
    (tmp_path / "copy.zarr/images/64x64/c/2/0/0").unlink()
    loader, found = Loader(open_cache(tmp_path / "copy.zarr"), size=64, batch_size=4), []
    with pytest.raises(CorruptCacheError, match="this shard is missing"):
        found.extend(batch.ids for batch in loader)
    assert len(found) >= 7
    assert asked
