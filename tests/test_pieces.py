"""Files written in large pieces: the same bytes whatever the order, the number of threads and the place."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resload.store import pieces


@pytest.fixture
def small(monkeypatch):
    """Pieces of 16 bytes, so that a few records cross many of them."""
    monkeypatch.setattr(pieces, "PIECE", 16)


def written(path, records, step, order, length):
    """The file's bytes after these records were put in this order."""
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o666)
    whole = pieces.Pieces(descriptor)
    for k in order:
        whole.put(records[k].tobytes(), k * step)
    whole.flush(length)
    os.close(descriptor)
    return path.read_bytes()


@given(data=st.data(), step=st.integers(1, 50), count=st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_any_order_gives_the_same_file(tmp_path_factory, data, step, count):
    """Records shorter and longer than a piece, in any order, some of them twice."""
    records = np.random.default_rng(count).integers(1, 256, (count, step), np.uint8)
    order = data.draw(st.permutations(range(count)))
    again = data.draw(st.lists(st.integers(0, count - 1), max_size=5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", 16)
        found = written(tmp_path_factory.mktemp("pieces") / "file", records, step, [*order, *again], count * step)
    assert found == records.tobytes()


def test_what_was_never_put_is_zero(tmp_path, small):
    """Between records and behind them, up to the length that was asked for and no further."""
    records = np.arange(1, 61, dtype=np.uint8).reshape(6, 10)
    found = written(tmp_path / "file", records, 10, [0, 5, 3], 70)
    expected = np.zeros(70, np.uint8)
    for k in (0, 3, 5):
        expected[k * 10 : k * 10 + 10] = records[k]
    assert found == expected.tobytes()


def test_calls_are_few_and_aligned(tmp_path, monkeypatch):
    """400 records of 10 KB in nearly their order: four whole pieces, each by one call, where there were 400."""
    calls = []
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: calls.append((at, len(data))) or real(file, data, at))
    records = np.random.default_rng(0).integers(0, 256, (400, 10_240), np.uint8)
    order = [k ^ 3 for k in range(400)]
    assert written(tmp_path / "file", records, 10_240, order, records.size) == records.tobytes()
    assert calls == [(k * pieces.PIECE, pieces.PIECE) for k in range(4)]


def test_memory_is_bounded(tmp_path, small):
    """However far apart the records come, only a few pieces are kept."""
    descriptor = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY, 0o666)
    whole = pieces.Pieces(descriptor)
    for k in np.random.default_rng(0).permutation(500).tolist():
        whole.put(bytes(8), k * 8)
        assert len(whole._pending) <= pieces.KEPT
    os.close(descriptor)


def test_threads(tmp_path, small):
    """Eight threads that put interleaved records: every byte arrives."""
    records = np.random.default_rng(1).integers(0, 256, (800, 13), np.uint8)
    path = tmp_path / "file"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o666)
    whole = pieces.Pieces(descriptor)

    def work(first):
        for k in range(first, 800, 8):
            whole.put(records[k].data, k * 13)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole.flush(records.size)
    os.close(descriptor)
    assert path.read_bytes() == records.tobytes()
