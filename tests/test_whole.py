"""Whole shards are read before their records: when, which, and that nothing else changes."""

import os
import shutil
import threading
import time

import numpy as np
import pytest
from loading import NumberReader, by_id, rows_of, workers

from resload import Loader, foretold, open_cache
from resload.errors import CorruptCacheError
from resload.readers import CacheReader
from resload.readers.detail import DetailReader
from resload.size import Size
from resload.store import gather, whole
from resload.store.whole import Sweep

pytestmark = pytest.mark.skipif(not (whole.SWEEPS and gather._TELLS), reason="this system reads no file without a copy")
SIZE = Size(64, 64)


@pytest.fixture
def cold(monkeypatch):
    """Levels that are not held, and seem not to be in memory."""
    monkeypatch.setattr(gather, "HELD_RECORD_BYTES", 0)
    monkeypatch.setattr(gather, "_in_memory", lambda file, offset: False)


@pytest.fixture
def sent(monkeypatch):
    """(file, from, bytes) of everything that the system was to read."""
    found, send = [], os.sendfile

    def sendfile(out, file, at, count):
        length = send(out, file, at, count)
        found.append((os.readlink(f"/proc/self/fd/{file}"), at, length))  # noqa: PTH115 - of a descriptor
        return length

    monkeypatch.setattr(os, "sendfile", sendfile)
    return found


def swept(cache, rows, sizes, **options):
    """The shards, as they are named below c/, that a sweep of these rows reads."""
    found = CacheReader(open_cache(cache.path, **options)).sweep(np.asarray(rows), sizes)
    if found is None:
        return None
    found.wait(60)
    found.close()
    return sorted({str(path).rpartition("/c/")[2] for path in found._files})


def test_every_byte_of_the_shards_is_read(cache, cold, sent, monkeypatch):
    """In pieces, one after another, each file once."""
    monkeypatch.setattr(whole, "_PIECE", 1000)
    rows = cache.rows()
    groups = sorted({f"{row // 16}/0/0" for row in rows.tolist()})
    assert swept(cache, rows, [SIZE]) == groups
    for name in {path for path, _, _ in sent}:
        spans = [(at, length) for path, at, length in sent if path == name and length]
        assert [at for at, _ in spans] == list(range(0, os.path.getsize(name), 1000))  # noqa: PTH202
        assert sum(length for _, length in spans) == os.path.getsize(name)  # noqa: PTH202
    assert len({path for path, _, _ in sent}) == len(groups)


def test_only_what_is_wanted_and_cold_and_fits_is_read(cache, cold, monkeypatch):
    """Not for less than half of a level, nor what is in memory or held or would not stay."""
    rows = cache.rows()
    assert swept(cache, rows[: len(cache) // 3], [SIZE]) is None
    assert swept(cache, rows, [SIZE], access="memory") is None
    with monkeypatch.context() as patch:
        patch.setattr(whole, "free_bytes", lambda: 1000)
        assert swept(cache, rows, [SIZE]) is None
        patch.setattr(whole, "free_bytes", lambda: None)
        assert swept(cache, rows, [SIZE]) is None
    with monkeypatch.context() as patch:
        patch.setattr(gather, "_in_memory", lambda file, offset: True)
        assert swept(cache, rows, [SIZE]) is None
    assert swept(cache, rows, [SIZE])


def test_sizes_are_swept_by_the_levels_that_serve_them(cache, cold):
    """A size that is not stored by its level, the control arm by its detail, each level once."""
    rows = cache.rows()
    alone = swept(cache, rows, [SIZE])
    assert swept(cache, rows, [Size(40, 40)]) == swept(cache, rows, [Size(40, 40), SIZE]) == alone
    arm = DetailReader(CacheReader(open_cache(cache.path)), 64, cache.pipeline)
    found = arm.sweep(rows, [Size(100, 100)])
    assert found is not None
    found.close()
    assert DetailReader(NumberReader(4), 4, cache.pipeline).sweep(np.arange(4), [Size(8, 8)]) is None


def test_batches_are_the_same_and_the_thread_is_gone(cache, cold, sent):
    """Also when the loop is left early."""
    plain = by_id(Loader(open_cache(cache.path), size=64, batch_size=5))
    loader = Loader(open_cache(cache.path), size=64, batch_size=5)
    found = by_id(loader)
    assert sent
    assert found.keys() == plain.keys()
    assert all((found[name] == plain[name]).all() for name in plain)
    for _ in Loader(open_cache(cache.path), size=64, batch_size=5):
        break
    assert workers() == []


def test_a_sweep_ends_when_it_is_closed(tmp_path, monkeypatch):
    """After the piece that is under way; the files behind it are not opened."""
    for k in range(3):
        (tmp_path / str(k)).write_bytes(bytes(5000))
    begun, pieces = threading.Event(), []

    def slow(out, file, at, count):
        pieces.append(at)
        begun.set()
        time.sleep(0.05)
        return 100

    monkeypatch.setattr(os, "sendfile", slow)
    sweep = Sweep([tmp_path / str(k) for k in range(3)])
    begun.wait(10)
    sweep.wait(0.01)
    assert workers() == ["resload-sweep"]
    sweep.close()
    assert workers() == []
    assert len(pieces) < 50


def test_what_cannot_be_read_is_left_to_the_reader(cache, cold, tmp_path, monkeypatch):
    """A missing shard is an error of its batch; a file system without sendfile is no error at all."""
    shutil.copytree(cache.path, tmp_path / "copy.zarr")
    (tmp_path / "copy.zarr/images/64x64/c/2/0/0").unlink()
    loader, found = Loader(open_cache(tmp_path / "copy.zarr"), size=64, batch_size=4), []
    with pytest.raises(CorruptCacheError, match="this shard is missing"):
        found.extend(batch.ids for batch in loader)
    assert found

    def refused(*_):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", refused)
    assert len(by_id(Loader(open_cache(cache.path), size=64, batch_size=4))) == len(cache.rows())


def test_readers_of_others_may_sweep_too():
    """Told of the rows and sizes of the epoch; what they return is waited for and closed, also after an error."""
    log = []

    class Told:
        def wait(self):
            log.append("wait")

        def close(self):
            log.append("close")

    class SweepingReader(NumberReader):
        def sweep(self, rows, sizes):
            log.append((rows.tolist(), sizes))
            return Told()

    reader = SweepingReader(6, failing=[5])
    with pytest.raises(RuntimeError, match="on fire"):
        list(Loader(reader, size=4, batch_size=2))
    assert log == [(list(range(6)), [Size(4, 4)]), "wait", "close"]
    reader.sweep = lambda rows, sizes: None
    reader.failing = set()
    assert rows_of(Loader(reader, size=4, batch_size=2)) == [[0, 1], [2, 3], [4, 5]]
    with foretold.swept(NumberReader(3), np.arange(3), [Size(4, 4)]):
        pass
