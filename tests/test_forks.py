"""Processes that are forked: what was opened before works there, and what cannot work is refused in a sentence.

Children are forked with `os.fork` and by multiprocessing, in a process whose other threads read the same cache.
"""

import json
import multiprocessing
import os
import signal
import threading
import time
import traceback

import numpy as np
import pytest
import torch
from loading import workers
from torch.utils.data import DataLoader

import resload
from resload import Loader, forks
from resload.errors import BuildInProgressError, ForkedError
from resload.interop import torch_dataset
from resload.store import bulk, gather
from resload.store.alone import alone
from resload.threads import ThreadPool, ordered_map

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),  # what Python 3.12 says of every such fork
]


def in_a_child(work):
    """What `work()` returns in a forked process, as JSON; its traceback and a hang are failures."""
    got, give = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = {"answer": work()}
        except BaseException:
            answer = {"failed": traceback.format_exc()}
        os.write(give, json.dumps(answer).encode())
        os._exit(0)
    os.close(give)
    ends = time.monotonic() + 60
    with os.fdopen(got, "rb") as pipe:
        while (os.waitpid(child, os.WNOHANG)) == (0, 0):
            if time.monotonic() > ends:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                pytest.fail("the forked process hangs")
            time.sleep(0.005)
        answer = json.loads(pipe.read())
    assert "failed" not in answer, answer["failed"]
    return answer["answer"]


@pytest.fixture
def opened(cache8):
    """A cache of its own, so that nothing of it is open or in memory yet."""
    return resload.open_cache(cache8.path)


def sums(images):
    """Of each image: a list of ints."""
    return images.reshape(len(images), -1).sum(axis=1, dtype=np.int64).tolist()


@pytest.mark.parametrize("before", ["nothing", "pread", "held"])
def test_a_cache_is_read_in_a_child(opened, cache8, monkeypatch, before):
    """Opened before, whether or not it was read there: with its descriptors, and room for reads of its own."""
    if before != "held":
        monkeypatch.setattr(gather, "HELD_RECORD_BYTES", 0)
    rows = opened.rows()
    if before != "nothing":
        opened.read(rows, 64)
    for _ in range(3):
        assert in_a_child(lambda: sums(opened.read(rows, 64))) == sums(cache8.read(rows, 64))
    assert sums(opened.read(rows, 64)) == sums(cache8.read(rows, 64))


def test_a_child_of_a_child(opened):
    """And on."""
    rows = opened.rows()
    expected = sums(opened.read(rows, 64))
    assert in_a_child(lambda: in_a_child(lambda: sums(opened.read(rows, 64)))) == expected


def test_locks_that_other_threads_held_are_open(opened):
    """Every lock that reading takes, held by another thread at the moment of the fork; in the parent it stays held."""
    rows = opened.rows()
    opened.read(rows, 64)
    held, go_on = threading.Event(), threading.Event()
    locks = [one for one in list(forks._locks) if not one.locked()]
    assert any(one is opened._stored._lock for one in locks)
    assert any(one is opened._stored.shards._lock for one in locks)

    def hold():
        for one in locks:
            one.acquire()
        held.set()
        go_on.wait(60)
        for one in locks:
            one.release()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(20)
        expected = in_a_child(lambda: [opened.close(), sums(opened.read(rows, 64)), len(list(loader_of(opened)))][1:])
        assert all(one.locked() for one in locks)
    finally:
        go_on.set()
        thread.join()
    assert expected == [sums(opened.read(rows, 64)), 3]


def test_a_lock_that_does_not_know_of_forks_stays_locked():
    """What the test above would find of a plain lock: it can fail."""
    plain, ours = threading.Lock(), forks.lock()
    with plain, ours:
        assert in_a_child(lambda: [plain.acquire(timeout=0.05), ours.acquire(timeout=5)]) == [False, True]


def loader_of(cache, **options):
    return Loader(cache, size=64, batch_size=8, dtype=torch.uint8, threads=2, **options)


def all_of(loader):
    """Rows and sums of all batches of an epoch."""
    return [[batch.rows.tolist(), sums(batch.images.numpy())] for batch in loader]


def test_a_loader_that_was_made_before_is_iterated_in_a_child(opened):
    """Its threads exist only while it is iterated, so that a new iteration has its own; float32 as well."""
    for loader in (loader_of(opened), Loader(opened, size=56, batch_size=8, threads=2)):
        expected = [batch.images.sum().item() for batch in loader]
        again = in_a_child(lambda loader=loader: [batch.images.sum().item() for batch in loader])
        assert again == pytest.approx(expected, rel=1e-6)
    fresh = loader_of(opened, shuffle=True)
    assert in_a_child(lambda: all_of(fresh)) == all_of(fresh)


def test_an_iteration_does_not_go_on_in_a_child(opened):
    """It is refused in a sentence, instead of waiting for threads that are not there; a new one may begin, and its
    parent's goes on.
    """
    loader = loader_of(opened, prefetch=1)
    batches = iter(loader)
    first = next(batches)

    def child():
        with pytest.raises(ForkedError, match=r"this iteration began in process \d+, .* begin another one here"):
            next(batches)
        loader.close()
        again = iter(loader)
        assert next(again).images.equal(first.images)
        again.close()
        assert workers() == []
        return os.getpid()

    assert in_a_child(child) != os.getpid()
    rest = [row for batch in batches for row in batch.rows.tolist()]
    assert first.rows.tolist() + rest == opened.rows().tolist()
    assert workers() == []


@pytest.mark.slow
def test_forks_while_threads_load(opened, monkeypatch):
    """At any moment of other threads' reading, opening and closing: the child reads and loads the same."""
    monkeypatch.setattr(gather, "HELD_RECORD_BYTES", 0)
    rows, end = opened.rows(), threading.Event()
    expected = sums(opened.read(rows, 64))

    def read():
        while not end.is_set():
            opened.read(rows[::-1], 64)
            opened.close()

    def load():
        while not end.is_set():
            for _ in loader_of(opened, shuffle=True):
                pass

    threads = [threading.Thread(target=work) for work in (read, read, load)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(25):
            found, batches = in_a_child(lambda: [sums(opened.read(rows, 64)), all_of(loader_of(opened))])
            assert found == expected
            assert [row for of_batch, _ in batches for row in of_batch] == rows.tolist()
    finally:
        end.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("iterating", [False, True])
def test_forked_workers_of_a_data_loader(opened, iterating):
    """torch's DataLoader with num_workers=2 and fork, also while a Loader of the same cache is under way."""
    expected = opened.read(opened.rows(), 64)
    batches = iter(loader_of(opened, prefetch=1))
    if iterating:
        next(batches)
    dataset = torch_dataset(opened, size=64, dtype=torch.uint8)
    for _ in range(2):
        loaded = DataLoader(dataset, batch_size=5, num_workers=2, multiprocessing_context="fork")
        assert np.array_equal(torch.cat([images for images, _ in loaded])[:, 0].numpy(), expected)
    assert len(list(batches)) == 3 - iterating


_shared = []


def read_in_a_pool(row):
    return sums(_shared[0].read([row], 64))


def test_a_pool_of_forked_processes(opened):
    """multiprocessing's own: a cache that the workers find in a global of the module."""
    _shared[:] = [opened]
    rows = opened.rows().tolist()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(read_in_a_pool, rows)
    assert [one for (one,) in found] == sums(opened.read(rows, 64))


def test_room_for_reads_is_not_shared(opened, monkeypatch):
    """A child gives back only what it made itself: the parent's reads go on."""
    monkeypatch.setattr(gather, "HELD_RECORD_BYTES", 0)
    opened.read(opened.rows(), 64)
    there = len(bulk._free)
    assert in_a_child(lambda: [len(bulk._free), len(opened.read(opened.rows(), 64)), len(bulk._free)])[0] == 0
    assert len(bulk._free) == there
    assert len(opened.read(opened.rows(), 64)) == len(opened.rows())


def test_a_pool_of_threads_has_nothing_to_end_in_a_child():
    """`ThreadPool.end` and a half-taken `ordered_map` return at once there, and end the threads of the parent here."""
    go_on = threading.Event()
    pool = ThreadPool(1)
    pool.submit(go_on.wait, 60)
    made = ordered_map(lambda _: go_on.wait(60), range(3), threads=1, window=2)

    def child():
        begun = time.monotonic()
        pool.end()
        made.close()
        return time.monotonic() - begun

    assert in_a_child(child) < 5
    go_on.set()
    pool.end()
    assert workers() == []


def test_a_fork_during_a_build_does_not_hold_its_lock(tmp_path):
    """A child that lives on after the build ended keeps no other build out; while the build runs, one is kept out."""
    end, told = os.pipe()
    with alone(tmp_path):
        child = os.fork()
        if child == 0:
            os.read(end, 1)
            os._exit(0)
        with (
            pytest.raises(BuildInProgressError, match="another process, or thread of this one, is building"),
            alone(tmp_path),
        ):
            pass
    try:
        with alone(tmp_path):
            pass
    finally:
        os.write(told, b"x")
        os.waitpid(child, 0)
        os.close(end)
        os.close(told)


def test_a_build_in_a_child_of_a_process_that_has_loaded(films8, opened, tmp_path):
    """Decoding, resizing and checksums after a fork: the same cache."""
    all_of(loader_of(opened))
    built = in_a_child(lambda: resload.build(films8, tmp_path / "c.zarr", (32, 64), progress=False).digest)
    assert built == resload.build(films8, tmp_path / "d.zarr", (32, 64), progress=False).digest


@pytest.fixture
def helpers():
    """torch with at least two threads, also on one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("helpers")
def test_sizes_in_between_do_not_wait_for_threads_of_the_parent(large):
    """torch's helpers of large operations do not exist in a child (a plain large operation of torch waits for them for
    ever): other sizes, half precision and `resample` are made there all the same, by the thread that forked too.
    """
    film = np.arange(1024 * 1024, dtype=np.uint16).reshape(1024, 1024)

    def found():
        half = Loader(large, size=288, batch_size=4, channels=3, dtype=torch.float16, threads=2)
        return [
            sums(large.read(large.rows(), 320)),
            [float(batch.images.numpy().sum(dtype=np.float64)) for batch in half],
            int(resload.resample(film, 320).sum()),
            int(resload.resample((film >> 8).astype(np.uint8), 320).sum()),
        ]

    expected = found()
    (torch.ones(4_000_000) * 2).sum()  # the parent's helpers are there
    assert in_a_child(found) == expected


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """4 films of 1,024 pixels at 512."""
    from resload.testing import write_synthetic

    root = tmp_path_factory.mktemp("large")
    films = write_synthetic(root / "films", 4, size=(1024, 1024), seed=1, broken=0)
    return resload.build(films, root / "large.zarr", (512,), progress=False)
