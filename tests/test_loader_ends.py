"""Threads, memory and failures: whatever happens, nothing is left running, overwritten or hidden."""

import gc
import itertools
import shutil
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from loading import NumberReader, all_rows, damaged, workers

import resload
from resload import Loader, Pipeline, Size
from resload.errors import CorruptCacheError, TruncatedFileError
from resload.store import layout


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Before and after each of these tests, no thread of resload lives."""
    assert workers() == []
    yield
    gc.collect()
    assert workers() == []


def slow(n=200, **options):
    """A loader whose batches take a while, so that some are always under way."""
    return Loader(NumberReader(n, delay=0.001), **{"size": 4, "batch_size": 4, "threads": 3, "prefetch": 3} | options)


# -- threads ---------------------------------------------------------------------------------------------


def test_threads_live_from_the_first_batch_to_the_last():
    """None for an iterator that was never used; some within the loop; none right after it."""
    loader = slow(n=20)
    iterator = iter(loader)
    assert workers() == []
    for _ in iterator:
        assert 1 <= len(workers()) <= 3
    assert workers() == []


def test_break_leaves_no_thread():
    """Right after the loop, not at some later time."""
    loader = slow()
    for _ in loader:
        break
    assert workers() == []


def test_break_does_not_wait_for_what_was_not_begun():
    """Images made ahead that no thread has taken up yet are dropped."""
    loader = Loader(NumberReader(400, delay=0.005), size=4, batch_size=4, threads=2, prefetch=80)
    for _ in loader:
        break
    assert len(loader.reader.filled) < 200


def test_an_exception_in_the_loop_leaves_no_thread():
    """It arrives as it was raised."""
    failure = KeyError("the caller's own")

    def loop():
        for _ in slow():
            raise failure

    with pytest.raises(KeyError) as caught:
        loop()
    assert caught.value is failure
    assert workers() == []


def test_a_dropped_iterator_leaves_no_thread():
    """Also one that was held outside of a loop, and one whose loader is gone."""
    iterator = iter(slow())
    next(iterator)
    assert workers()
    del iterator
    gc.collect()
    assert workers() == []


def test_close_ends_every_iteration():
    """Two iterations under way: both end, threads too; their loops find no more batches; the loader can go on."""
    loader = slow()
    runs = [iter(loader), iter(loader)]
    for run in runs:
        next(run)
    assert workers()
    loader.close()
    assert workers() == []
    assert [list(run) for run in runs] == [[], []]
    loader.set_epoch(0)
    assert len(all_rows(loader)) == 200
    loader.close()


def test_a_context_manager_closes():
    """`with Loader(...) as loader`: left by an exception, nothing runs on."""

    def half():
        with slow() as loader:
            iterator = iter(loader)
            next(iterator)
            assert workers()
            raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        half()
    assert workers() == []


@pytest.mark.parametrize(("ending", "code"), [("", 0), ("1 / 0", 1)])
@pytest.mark.slow
def test_the_interpreter_ends_with_a_half_used_iterator(ending, code):
    """A script that stops in the middle of an epoch ends at once, with its own exit code and no noise of ours."""
    script = f"""
import resload
from loading import NumberReader
loader = resload.Loader(NumberReader(4000, delay=0.02), size=4, batch_size=4, threads=2)
iterator = iter(loader)
next(iterator), next(iterator)
import time
print(time.time(), flush=True)
{ending}
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=120, check=False,
        cwd=Path(__file__).parent,
    )  # fmt: skip
    took = time.time() - float(done.stdout)
    assert done.returncode == code
    assert done.stderr.count("Traceback") == (1 if code == 1 else 0)
    assert "resload" not in done.stderr
    assert took < 10  # the epoch would take 40 s


def test_what_runs_ahead_is_bounded():
    """After k batches, k + prefetch have been begun and no more; at most `threads` images are made at once."""
    for prefetch, threads in ((1, 1), (4, 3)):
        loader = slow(prefetch=prefetch, threads=threads)
        reader = loader.reader
        for k, _ in enumerate(itertools.islice(loader, 3), start=1):
            deadline = time.monotonic() + 20
            while len(reader.filled) < 4 * (k + prefetch) and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(0.02)
            assert len(reader.filled) == 4 * (k + prefetch)
        assert reader.most_at_once <= threads
        assert threads == 1 or reader.most_at_once > 1


def test_one_batch_is_made_by_several_threads():
    """Where tasks are smaller than a batch, its images are made side by side."""
    (batch,) = Loader(NumberReader(12), size=4, batch_size=12, threads=3)
    reader = NumberReader(12, delay=0.05, grain=4)
    assert len(list(Loader(reader, size=4, batch_size=12, threads=3))) == 1
    assert reader.most_at_once == 3
    assert batch.rows.tolist() == list(range(12))


class Waiting(NumberReader):
    """A thread that begins to fill goes on when the caller's thread has filled something, and says so."""

    def __init__(self, n, **options):
        super().__init__(n, **options)
        self.begun, self.helped, self.here = threading.Event(), threading.Event(), threading.get_ident()

    def fill(self, slot, rows, size, start):
        if threading.get_ident() == self.here:
            assert self.begun.wait(20)
            self.helped.set()
        else:
            self.begun.set()
            assert self.helped.wait(20)
        super().fill(slot, rows, size, start)


def test_the_callers_thread_helps_where_tasks_are_short():
    """While it waits it makes what no thread has begun; with it no more than `threads` images are made at once."""
    for threads, prefetch in ((2, 1), (2, 3), (3, 4)):
        reader = Waiting(64, grain=4)
        assert all_rows(Loader(reader, size=4, batch_size=8, threads=threads, prefetch=prefetch)) == list(range(64))
        assert reader.helped.is_set()
        assert reader.most_at_once <= threads
        assert sorted(reader.filled) == list(range(64))


def test_the_callers_thread_does_not_help_where_it_is_not_one_of_several():
    """threads=1 is one thread at a time, and it is not the caller's; nor where every image is a task of its own."""
    for options in ({"threads": 1}, {"threads": 2, "grain": 1}):
        reader = NumberReader(32, delay=0.001, grain=options.pop("grain", 4))
        here, fill, threads_seen = threading.get_ident(), reader.fill, set()

        def noted(slot, rows, size, start, fill=fill, seen=threads_seen):
            seen.add(threading.get_ident())
            fill(slot, rows, size, start)

        reader.fill = noted
        assert all_rows(Loader(reader, size=4, batch_size=8, **options)) == list(range(32))
        assert threads_seen
        assert here not in threads_seen


def test_a_loader_in_a_thread_and_two_in_two(cache):
    """Loading in threads of the caller's own, at the same time, from one cache: the same batches."""
    found = {}

    def load(seed):
        loader = Loader(cache, size=64, batch_size=4, shuffle=True, seed=seed, dtype=torch.uint16)
        found[seed] = [(batch.ids, batch.images.numpy().copy()) for batch in loader]

    threads = [threading.Thread(target=load, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row = {name: i for i, name in enumerate(cache.table["id"])}
    for seed in (1, 2):
        assert sorted(name for ids, _ in found[seed] for name in ids) == sorted(cache.table["id"].iloc[cache.rows()])
        for ids, images in found[seed]:
            assert np.array_equal(images[:, 0], cache.read([row[name] for name in ids], 64))
    assert [ids for ids, _ in found[1]] != [ids for ids, _ in found[2]]


# -- memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"dtype": torch.uint16}, {}, {"channels": 3}, {"dtype": torch.bfloat16}])
def test_batches_that_are_kept_do_not_change(cache, options):
    """Two epochs of batches, all kept, hold at the end what they held when they came."""
    loader = Loader(cache, size=32, batch_size=3, shuffle=True, **options)
    kept = [(batch, batch.images.clone()) for _ in range(2) for batch in loader]
    assert len(kept) == 26
    assert all(torch.equal(batch.images, copy) for batch, copy in kept)
    assert len({batch.images.data_ptr() for batch, _ in kept}) == len(kept)


@pytest.mark.parametrize(
    "part",
    [
        lambda images: images[1:2],
        lambda images: images[0, 0, 3:],
        lambda images: images.reshape(-1),
        lambda images: images.numpy(),
        lambda images: images[1].numpy()[0],
        lambda images: np.asarray(memoryview(images.numpy())),
        lambda images: images.detach().view(images.shape),
    ],
)
def test_a_part_of_a_batch_keeps_its_memory(cache, part):
    """A slice, view or numpy array of a batch that is gone does not change while others come."""
    loader = Loader(cache, size=32, batch_size=3)
    for batch in loader:
        held = torch.as_tensor(part(batch.images))  # of all of these a view: the test would know a copy
        copy = held.clone()
        break
    del batch
    for _ in range(2):
        for later in loader:
            assert later.images is not None
    assert torch.equal(held, copy)


@pytest.mark.parametrize(("batch_size", "together"), [(1, 39), (8, 4), (39, 1)])
def test_batches_that_are_dropped_give_their_memory_back(cache, batch_size, together):
    """Epochs use a few blocks over and over, whether a block is one batch or several that were made together."""
    loader = Loader(cache, size=64, batch_size=batch_size, prefetch=2, drop_last=True)
    assert len(loader) == together
    places = {batch.images.data_ptr() for _ in range(12) for batch in loader}
    blocks = 2 + 3  # made ahead, in the caller's hands, and the one before
    assert together <= len(places) <= blocks * together


def test_many_threads_each_have_a_task():
    """Where a batch is one task, more batches are made ahead than were asked for; not where batches have many tasks."""
    for grain, batch_size in ((4, 4), (2, 4), (1, 16)):
        reader = NumberReader(240, delay=0.004, grain=grain)
        found = all_rows(Loader(reader, size=4, batch_size=batch_size, threads=8, prefetch=1))
        assert found == list(range(240))
        assert 6 <= reader.most_at_once <= 8
    reader = NumberReader(400, delay=0.001, grain=1)
    batches = iter(Loader(reader, size=4, batch_size=20, threads=4, prefetch=1))
    next(batches)
    time.sleep(0.3)
    assert len(reader.filled) == 40  # the one that was taken, and one ahead: more than a task for each thread


def test_a_block_serves_every_smaller_size():
    """After a large size, smaller ones live in the same memory."""
    reader = NumberReader(400)
    large = Loader(reader, size=64, batch_size=4)
    for _ in large:
        pass
    assert 1 <= large._maker._filler.pool.free <= 8
    block = large._maker._filler.pool.block(4)
    assert len(block.raw) == 4 * 64 * 64 * 4


# -- failures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grain", [0, 1, 2])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_failure_reaches_the_caller_whole(threads, grain):
    """The very exception, its traceback down to where it was raised, in its place: after the batches before it."""
    reader = NumberReader(40, failing=[18], grain=grain)
    loader = Loader(reader, size=4, batch_size=4, threads=threads, prefetch=5)
    found = []
    with pytest.raises(RuntimeError, match="this film is on fire") as caught:
        found.extend(batch.rows.tolist() for batch in loader)
    assert caught.value is reader.error
    assert "fill" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert workers() == []
    assert loader.state_dict()["step"] == 4


def test_a_failure_of_what_the_caller_helped_with_waits_for_its_turn():
    """The batch before it, which a thread still works on, comes first."""
    reader = Waiting(32, grain=8, failing=[9])
    batches = iter(Loader(reader, size=4, batch_size=8, threads=2, prefetch=2))
    assert next(batches).rows.tolist() == list(range(8))
    assert 9 in reader.filled
    with pytest.raises(RuntimeError, match="this film is on fire"):
        next(batches)


def test_a_failure_that_was_not_reached_is_not_raised():
    """Leaving the loop before a batch that failed ahead of its time raises nothing."""
    loader = Loader(NumberReader(40, failing=[5]), size=4, batch_size=4, prefetch=5)
    for batch in loader:
        time.sleep(0.05)
        assert batch.rows.tolist() == [0, 1, 2, 3]
        break


@pytest.mark.parametrize("size", [(64, 64), (512, 400)])
def test_a_damaged_record_is_named(films8, tmp_path, size):
    """One flipped bit: CorruptCacheError with the file, record and both sums; small records and large."""
    cache = resload.build(films8, tmp_path / "c.zarr", [(64, 64), (512, 400)], progress=False)
    shard = damaged(cache, size)
    loader = Loader(resload.open_cache(cache.path), size=size, batch_size=2, shuffle=True)
    with pytest.raises(
        CorruptCacheError, match=rf"{shard}: record 3 \(row 3\) is damaged: .* the table says"
    ) as caught:
        list(loader)
    assert len({word for word in str(caught.value).split() if len(word.strip(",;")) == 8}) >= 2
    assert workers() == []


def test_a_missing_shard_is_named(cache8, tmp_path):
    """A file that is gone: CorruptCacheError with its path."""
    copy = tmp_path / "copy.zarr"
    shutil.copytree(cache8.path, copy)
    shard = copy / layout.shard_path(Size(64, 64), 1)
    shard.unlink()
    loader = Loader(resload.open_cache(copy), size=64, batch_size=2)
    with pytest.raises(CorruptCacheError, match=f"{shard}: this shard is missing"):
        list(loader)


def test_an_unreadable_film_is_named(films, cache):
    """Loading from files, a film that cannot be decoded raises its error with its path; the others came before."""
    broken = films.root / cache.quarantine["path"][0]
    loader = Loader(films, pipeline=Pipeline(32), size=32, batch_size=1, threads=2)
    found = []
    with pytest.raises(TruncatedFileError, match=f"{broken}: the PNG data ends early"):
        found.extend(batch.ids[0] for batch in loader)
    assert found == films.table["id"].tolist()[: films.table["id"].tolist().index(cache.quarantine["id"][0])]
