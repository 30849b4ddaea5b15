"""Mirrors: copies of whole shards that are whole, bounded and shared; the one that is needed last goes first."""

import contextlib
import errno
import os
import pickle
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st
from storage import MASKED, below, build, child, masked
from trees import stamps

import resload
from resload.errors import ArgumentError, CorruptCacheError, DiskSpaceError
from resload.samplers import BlockShuffle, Fixed, Images, Sampler
from resload.store import mirror as mirrors
from resload.store import room as rooms
from resload.store.foreseen import Plan, Plans
from resload.store.locks import held, is_held
from resload.store.room import Room, copies_in
from resload.testing import FlakyProxy, s3_at, write_synthetic

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A cache of 130 films at 16 and 48: nine row groups."""
    films = write_synthetic(tmp_path_factory.mktemp("many"), 130, size=(56, 48), seed=5, broken=0)
    return build(films, tmp_path_factory.mktemp("origin") / "many.zarr", (16, 48))


def shard_bytes(cache, size=48):
    return (cache.path / f"images/{size}x{size}/c/0/0/0").stat().st_size


@pytest.fixture
def fetched(monkeypatch):
    """The origins that this process fetched from, in order."""
    found, append = [], mirrors._append

    def noted(source, part, length):
        found.append(str(source))
        append(source, part, length)

    monkeypatch.setattr(mirrors, "_append", noted)
    return found


def whole(folder):
    return {path for path in copies_in(folder) if path.suffix != ".part"}


def taken(folder):
    return sum(size for size, _ in copies_in(folder).values())


def taken_now(folder):
    """The same while others work: nobody makes room meanwhile, and of two looks the one without a rename in it."""
    with held(folder / "lock", keep=True):
        return min(taken(folder), taken(folder))


# -- the same pixels --


@pytest.mark.parametrize("access", ["pread", "mmap", "memory"])
def test_reading_is_the_same(many, tmp_path, access, fetched):
    """Every size, by every access, from copies that were each fetched once; the cache's folder is only read."""
    before = stamps(many.path)
    near = resload.open_cache(many.path, mirror=tmp_path / "m", access=access)
    for size in (16, 48, 30):
        for _ in range(2):
            np.testing.assert_array_equal(near.read(near.rows(), size), many.read(many.rows(), size))
    assert len(fetched) == len(set(fetched)) == 18
    assert len(whole(tmp_path / "m")) == 18
    assert set(below(tmp_path / "m")) == {
        "lock",
        *(str(path.relative_to(tmp_path / "m")) for path in whole(tmp_path / "m")),
    }
    assert stamps(many.path) == before


def test_masks_and_native(few, tmp_path, fetched):
    """Arrays of compressed records have copies too, and a damaged one is fetched again."""
    far = build(masked(few), tmp_path / "a.zarr", MASKED)
    rows = far.rows()
    for damage in (False, True):
        if damage:
            for path in whole(tmp_path / "m"):
                data = bytearray(path.read_bytes())
                data[len(data) // 3] ^= 4
                path.write_bytes(bytes(data))
        near = resload.open_cache(tmp_path / "a.zarr", mirror=tmp_path / "m")
        for size in (16, 12, "native"):
            np.testing.assert_array_equal(near.read(rows, size), far.read(rows, size))
            np.testing.assert_array_equal(near.read_masks(rows, size), far.read_masks(rows, size))
        assert len(fetched) == 9 * (1 + damage)


def test_a_loader_within_three_shards(many, tmp_path):
    """A BlockShuffle over a bound of three shards: batch for batch what a loader without a mirror gives."""

    def batches(cache):
        plan = Sampler(cache, order=BlockShuffle(16, 2), sizes=Fixed(48), budget=Images(8), seed=3)
        with resload.Loader(cache, sampler=plan, threads=2) as loader:
            return [(batch.rows.tolist(), batch.images) for _ in range(2) for batch in loader]

    near = resload.open_cache(many.path, mirror=tmp_path / "m", mirror_gb=3.1 * shard_bytes(many) / 1e9)
    for (rows, images), (others, same) in zip(batches(near), batches(many), strict=True):
        assert rows == others
        assert torch.equal(images, same)
    assert taken(tmp_path / "m") <= 3.1 * shard_bytes(many)
    assert not list((tmp_path / "m" / "plans").iterdir())


def test_an_epoch_fetches_each_shard_once(many, tmp_path, fetched, monkeypatch):
    """With blocks of a shard's rows, two at a time, six shards of room (two that are read, two that come, two that
    went) are enough for one fetch of each.
    """
    monkeypatch.setattr("resload.making._TOGETHER_BYTES", 1)
    near = resload.open_cache(many.path, mirror=tmp_path / "m", mirror_gb=6.2 * shard_bytes(many) / 1e9)
    plan = Sampler(near, order=BlockShuffle(16, 2), sizes=Fixed(48), budget=Images(8), seed=3)
    with resload.Loader(near, sampler=plan, threads=2) as loader:
        for _ in loader:
            time.sleep(0.01)
    assert len(fetched) == len(set(fetched)) == 9


def test_a_pickled_cache_keeps_its_mirror(many, tmp_path, fetched):
    """Folder and bound travel with it; nothing is fetched again."""
    bound = 20 * shard_bytes(many) / 1e9
    near = resload.open_cache(many.path, mirror=tmp_path / "m", mirror_gb=bound)
    expected = near.read(near.rows(), 48)
    again = pickle.loads(pickle.dumps(near))
    np.testing.assert_array_equal(again.read(again.rows(), 48), expected)
    assert again._stored.shards.mirror.folder == tmp_path / "m"
    assert again._stored.shards.mirror.gigabytes == pytest.approx(bound)
    assert len(fetched) == 9


def test_copies_outlive_appended_rows_and_added_sizes(few, tmp_path, fetched):
    """Only shards whose records changed are fetched again."""
    path = tmp_path / "a.zarr"
    build(few.select(np.arange(33)), path)
    near = resload.open_cache(path, mirror=tmp_path / "m")
    near.read(near.rows(), 32)
    assert len(fetched) == 3
    build(few, path, (16, 32, 24))
    near = resload.open_cache(path, mirror=tmp_path / "m")
    np.testing.assert_array_equal(near.read(near.rows(), 32), resload.open_cache(path).read(near.rows(), 32))
    assert len(fetched) == 4
    assert fetched[-1].endswith("32x32/c/2/0/0")


# -- whole --


def test_a_damaged_copy_is_fetched_again(many, tmp_path, fetched, caplog):
    """A bit that flips on this machine's disk: said in the log, and what is served is right."""
    near = resload.open_cache(many.path, mirror=tmp_path / "m")
    expected = near.read([3, 20], 48)
    (copy,) = (tmp_path / "m").glob("*/48x48-0-*")
    for at, cut in ((500, None), (-3, None), (0, 1000)):
        data = bytearray(copy.read_bytes())
        data[at] ^= 1
        copy.write_bytes(bytes(data[:cut]))
        near = resload.open_cache(many.path, mirror=tmp_path / "m")
        np.testing.assert_array_equal(near.read([3, 20], 48), expected)
    assert len(fetched) == 5
    assert "this copy is fetched again" in caplog.text


def test_a_damaged_origin_is_named(few, tmp_path):
    """What is damaged, or missing, where it comes from is an error that names that file, and leaves no copy."""
    path = tmp_path / "a.zarr"
    build(few, path)
    shard = path / "images/32x32/c/1/0/0"
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(bytes(data))
    near = resload.open_cache(path, mirror=tmp_path / "m")
    with pytest.raises(CorruptCacheError, match=rf"{shard}: record 0 \(row 16\) is damaged.*resload\.repair"):
        near.read([20], 32)
    shard.unlink()
    with pytest.raises(CorruptCacheError, match=f"{shard}: this shard is missing"):
        resload.open_cache(path, mirror=tmp_path / "m").read([20], 32)
    assert whole(tmp_path / "m") == set()


def test_what_was_begun_is_gone_on_with(few, tmp_path, s3, url):
    """Of a shard that is half here, the other half is asked for; a begun copy that is torn is begun anew."""
    far = build(few, url)
    with FlakyProxy(s3.endpoint) as proxy, s3_at(proxy.endpoint):
        near = resload.open_cache(url, mirror=tmp_path / "m")
        expected = near.read([3], 32)
        (copy,) = (tmp_path / "m").glob("*/32x32-0-*")
        length, data = copy.stat().st_size, copy.read_bytes()
        part = copy.with_name(f"{copy.name}.{length}.part")
        for begun, asked in ((data[:9000], ["bytes=9000-"]), (bytes(9000), ["bytes=9000-", "bytes=0-"])):
            copy.unlink()
            part.write_bytes(begun)
            proxy.requests.clear()
            np.testing.assert_array_equal(resload.open_cache(url, mirror=tmp_path / "m").read([3], 32), expected)
            ranges = [found for _, path, found in proxy.requests if path.endswith("32x32/c/0/0/0") and found]
            assert [found.rpartition("-")[0] + "-" for found in ranges] == asked
            assert not part.exists()
    assert copy.read_bytes() == data
    assert far.path


# -- bounded --


def test_a_bound_that_is_too_small_is_refused(many, tmp_path):
    """Less than two shards, nothing, or less: said with what they take."""
    with pytest.raises(ArgumentError, match=r"holds less than two shards of .*many\.zarr, which take up to .* each"):
        resload.open_cache(many.path, mirror=tmp_path / "m", mirror_gb=1.5 * shard_bytes(many) / 1e9)
    with pytest.raises(ArgumentError, match="mirror_gb must be positive; found 0"):
        resload.open_cache(many.path, mirror=tmp_path / "m", mirror_gb=0)


@pytest.mark.parametrize("where", [".", "images/m", ".."])
def test_a_mirror_apart_from_the_cache(many, where):
    """The cache's own folder, one in it, and one that it is in, are refused."""
    with pytest.raises(ArgumentError, match="are one folder in the other: choose another one"):
        resload.open_cache(many.path, mirror=many.path / where)
    assert resload.verify(many, progress=False).ok


def test_two_processes_with_two_caches_stay_within_the_bound(many, few, tmp_path):
    """The bound is of the folder, and of what is being fetched too."""
    other = build(few, tmp_path / "b.zarr", (16, 48))
    bound = 3.2 * shard_bytes(many)
    mirror, numbers = tmp_path / "m", []
    for seed, cache in enumerate((many, other)):
        with child() as number:
            if number == 0:
                near = resload.open_cache(cache.path, mirror=mirror, mirror_gb=bound / 1e9)
                plan = Sampler(near, order=BlockShuffle(16, 2), sizes=Fixed(48), budget=Images(8), seed=seed)
                with resload.Loader(near, sampler=plan, threads=2) as loader:
                    for _ in range(3):
                        for batch in loader:
                            np.testing.assert_array_equal(
                                (batch.images.numpy()[:, 0] * 65535).round().astype("u2"), cache.read(batch.rows, 48)
                            )
        numbers.append(number)
    largest = 0
    for number in numbers:
        while os.waitpid(number, os.WNOHANG) == (0, 0):
            largest = max(largest, taken_now(mirror) if mirror.exists() else 0)
            time.sleep(0.001)
    assert 0 < largest <= bound
    assert taken(mirror) <= bound
    assert not list((mirror / "plans").iterdir())


def test_other_files_are_nobodys_business(many, tmp_path):
    """What a user keeps in the folder is neither counted nor removed."""
    mirror = tmp_path / "m"
    (mirror / "0123456789abcdef").mkdir(parents=True)
    mine = [mirror / "notes-of-mine-1", mirror / "0123456789abcdef" / "a-b-c", mirror / "photos"]
    for path in mine[:2]:
        path.write_bytes(bytes(10 * shard_bytes(many)))
    mine[2].mkdir()
    near = resload.open_cache(many.path, mirror=mirror, mirror_gb=2.1 * shard_bytes(many) / 1e9)
    near.read(near.rows(), 48)
    assert all(path.exists() for path in mine)
    assert taken(mirror) <= 2.1 * shard_bytes(many)


def test_begun_copies_that_nobody_goes_on_with_make_room(many, tmp_path):
    """What killed processes began counts with all its bytes, and goes."""
    own = tmp_path / "m" / "0123456789abcdef"
    own.mkdir(parents=True)
    left = own / f"48x48-7-{'0' * 16}.{2 * shard_bytes(many)}.part"
    left.write_bytes(b"begun")
    assert taken(tmp_path / "m") == 2 * shard_bytes(many)
    near = resload.open_cache(many.path, mirror=tmp_path / "m", mirror_gb=2.5 * shard_bytes(many) / 1e9)
    near.read(near.rows(), 48)
    assert not left.exists()


# -- which copy goes --


def copy_of(folder, number, length=100):
    path = folder / "0123456789abcdef" / f"8x8-{number}-{number:016x}"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(bytes(length))
    return path


def begun(folder, number, length=100):
    path = folder / "0123456789abcdef" / f"8x8-{number}-{number:016x}.{length}.part"
    path.parent.mkdir(exist_ok=True)
    return path


def key(number):
    return f"0123456789abcdef/8x8-{number}-{number:016x}"


@rules(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(2, 4))
def test_the_copy_that_is_used_last_goes(tmp_path_factory, plan, places):
    """Against Belady's rule by brute force: at each miss the copy goes whose next use is furthest, or never."""
    folder = tmp_path_factory.mktemp("room")
    room, told = Room(folder, places * 100), Plan(folder, [[key(one)] for one in plan])
    held_now: set[int] = set()
    for step, one in enumerate(plan):
        told.passed(step)
        if one in held_now:
            continue
        uses = {k: plan.index(k, step) if k in plan[step:] else len(plan) for k in held_now}
        part = begun(folder, one)
        assert room.take(part, 100, -1)
        part.unlink()
        copy_of(folder, one)
        now = {int(path.name.split("-")[1]) for path in whole(folder)}
        gone = held_now - now
        assert len(now) <= places
        assert len(gone) == (len(held_now) == places)
        assert all(uses[k] == max(uses.values()) for k in gone)
        held_now = now
    told.close()


def test_nothing_that_is_used_sooner_goes_for_what_is_fetched_ahead(tmp_path):
    """Room for a step is made of later ones alone; what is in no plan goes first, the longest unused before."""
    room = Room(tmp_path, 300)
    told = Plan(tmp_path, [[key(1)], [key(2)], [key(3)], [key(4)], [key(1)]])
    for number in (1, 2, 3):
        copy_of(tmp_path, number)
    part = begun(tmp_path, 4)
    assert not room.take(part, 100, 3)  # 1, 2 and 3 are used within three steps
    assert whole(tmp_path) == {copy_of(tmp_path, number) for number in (1, 2, 3)}
    told.passed(1)  # 1 is used in three steps again
    assert not room.take(part, 100, 3)
    assert room.take(part, 100, 2)
    assert {path.name[:5] for path in copies_in(tmp_path)} == {"8x8-2", "8x8-3", "8x8-4"}
    told.close()


def test_without_a_plan_the_longest_unused_goes(tmp_path):
    """Least recently opened first."""
    room = Room(tmp_path, 300)
    for number, age in ((1, 50), (2, 90), (3, 10)):
        os.utime(copy_of(tmp_path, number), (time.time() - age,) * 2)
    room.take(begun(tmp_path, 4), 100, -1)
    assert {path.name[:5] for path in copies_in(tmp_path)} == {"8x8-1", "8x8-3", "8x8-4"}
    assert room.removed == 1


def test_the_plan_of_a_dead_process_is_forgotten(tmp_path, monkeypatch):
    """Killed, its process tells nobody; one of another container is believed as long as it moves."""
    with child() as number:
        if number == 0:
            Plan(tmp_path, [[], [key(1)]])
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(number, 0)
    assert len(list((tmp_path / "plans").iterdir())) == 2
    assert Plans(tmp_path).next_uses() == {}
    assert list((tmp_path / "plans").iterdir()) == []
    monkeypatch.setattr("resload.store.foreseen.owner", lambda: "0123456789abcdef-1-2")
    Plan(tmp_path, [[], [key(1)]])
    plans = Plans(tmp_path)
    assert plans.next_uses() == {key(1): 1}
    for file in (tmp_path / "plans").iterdir():
        os.utime(file, (time.time() - 700,) * 2)
    assert plans.next_uses() == {}


def test_plans_of_all_processes_count(tmp_path):
    """The soonest use of any; each plan is read once, and its process's place each time."""
    plans = Plans(tmp_path)
    one, other = Plan(tmp_path, [[key(1)], [key(2)], [key(1)]]), Plan(tmp_path, [[], [], [], [key(2)]])
    assert plans.next_uses() == {key(1): 0, key(2): 1}
    one.passed(2)
    assert plans.next_uses() == {key(1): 0, key(2): 3}
    one.close()
    other.passed(4)
    assert plans.next_uses() == {}
    other.close()
    other.close()


# -- shared --


def test_a_machine_fetches_each_shard_once(few, tmp_path, s3, url):
    """Four processes that begin together ask for each shard once."""
    build(few, url)
    with FlakyProxy(s3.endpoint, latency=0.01) as proxy, s3_at(proxy.endpoint):
        numbers = []
        for _ in range(4):
            with child() as number:
                if number == 0:
                    near = resload.open_cache(url, mirror=tmp_path / "m")
                    near.read(near.rows(), 32)
            numbers.append(number)
        assert [os.waitpid(number, 0)[1] for number in numbers] == [0] * 4
        shards = [path for method, path, _ in proxy.requests if method == "GET" and "/32x32/c/" in path]
        assert len(shards) == len(set(shards)) == 3


def test_processes_that_are_killed_while_they_fetch(many, tmp_path):
    """Whenever they are killed: copies that have their name are whole, and whoever comes next reads what is right."""
    rng, bound = random.Random(1), 4.5 * shard_bytes(many)
    for _ in range(8):
        numbers = []
        for _ in range(2):
            with child() as number:
                if number == 0:
                    near = resload.open_cache(many.path, mirror=tmp_path / "m", mirror_gb=bound / 1e9)
                    while True:
                        near._stored.shards.close()
                        near.read(np.random.default_rng(os.getpid()).permutation(130)[:40], 48)
            numbers.append(number)
        time.sleep(rng.uniform(0.02, 0.2))
        for number in numbers:
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
        for path in whole(tmp_path / "m"):
            group = path.name.split("-")[1]
            assert path.read_bytes() == (many.path / f"images/48x48/c/{group}/0/0").read_bytes()
    near = resload.open_cache(many.path, mirror=tmp_path / "m", mirror_gb=bound / 1e9)
    np.testing.assert_array_equal(near.read(near.rows(), 48), many.read(many.rows(), 48))
    assert taken(tmp_path / "m") <= bound


def test_a_lock_is_one_processs(tmp_path):
    """Held by one thread at a time, free once its holder is gone, and not held by a child that was forked meanwhile."""
    path = tmp_path / "x.lock"
    with held(path):
        assert is_held(path)
        with child() as number:
            if number == 0:
                time.sleep(1.5)
        began = time.monotonic()
    with held(path):
        assert time.monotonic() - began < 1.0
    assert not path.exists()
    assert not is_held(path)
    os.waitpid(number, 0)
    counted, most = [0], [0]

    def work():
        for _ in range(50):
            with held(path):
                counted[0] += 1
                most[0] = max(most[0], counted[0])
                counted[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


# -- what goes wrong --


def test_a_full_disk_is_said(many, tmp_path, monkeypatch):
    """While bytes are written, and before: with the folder, and what to do. What was fetched is kept."""
    near = resload.open_cache(many.path, mirror=tmp_path / "m")

    def full(source, part, length):
        part.write_bytes(source.read_bytes()[:500])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(mirrors, "_append", full)
        with pytest.raises(DiskSpaceError, match="the disk is full; what is fetched is kept"):
            near.read([0], 48)
    assert [path.stat().st_size for path in copies_in(tmp_path / "m")] == [500]
    np.testing.assert_array_equal(near.read([0], 48), many.read([0], 48))
    for path in copies_in(tmp_path / "m"):
        path.unlink()
    monkeypatch.setattr(rooms.Room, "_disk_free", lambda self, begun: 1000)
    with pytest.raises(DiskSpaceError, match=r"the disk has no room for .* more .*put the mirror on another disk"):
        near.read([40], 48)


def test_an_interrupt_leaves_no_lock(many, tmp_path, monkeypatch):
    """KeyboardInterrupt in the middle of a fetch: the next read goes on."""
    near = resload.open_cache(many.path, mirror=tmp_path / "m")

    def interrupted(source, part, length):
        part.write_bytes(source.read_bytes()[:500])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mirrors, "_append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            near.read([0], 48)
    assert not list((tmp_path / "m").glob("*/*.lock"))
    np.testing.assert_array_equal(near.read([0], 48), many.read([0], 48))


def test_a_loop_that_is_left_leaves_no_thread(many, tmp_path, monkeypatch):
    """break in the middle of slow fetches: they are given up at once, what was fetched is kept."""
    append = mirrors._append

    def slow(source, part, length):
        if threading.current_thread().name.startswith("resload-mirror"):
            for _ in range(100):
                mirrors.check_wanted(source)
                time.sleep(0.1)
        append(source, part, length)

    monkeypatch.setattr(mirrors, "_append", slow)
    near = resload.open_cache(many.path, mirror=tmp_path / "m")
    monkeypatch.setattr("resload.making._TOGETHER_BYTES", 1)
    near.read(np.arange(32), 48)
    loader = resload.Loader(near, size=48, batch_size=8, rows=[*range(32), 120], threads=1)
    began = time.monotonic()
    for _ in loader:
        break
    loader.close()
    assert time.monotonic() - began < 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("resload-mirror")]


def test_descriptors_of_removed_copies_are_let_go(many, tmp_path):
    """What made room for others does not keep its bytes on the disk for long."""
    near = resload.open_cache(many.path, mirror=tmp_path / "m", mirror_gb=2.2 * shard_bytes(many) / 1e9)
    for first in range(0, 130, 16):
        near.read([first], 48)
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(link.readlink()))
    assert sum(str(tmp_path / "m") in name and name.endswith("(deleted)") for name in found) <= 1


def test_a_mirror_that_was_removed_is_made_again(many, tmp_path):
    """rm -r of the folder under an open cache costs a fetch."""
    import shutil

    near = resload.open_cache(many.path, mirror=tmp_path / "m")
    near.read([0], 48)
    shutil.rmtree(tmp_path / "m")
    np.testing.assert_array_equal(near.read([40], 48), many.read([40], 48))


def test_readers_that_wait_for_room_go_on_when_it_stalls(tmp_path, monkeypatch):
    """Room that others hold and do nothing with is waited for, not for ever."""
    monkeypatch.setattr(rooms, "STALLED", 0.3)
    room, own = Room(tmp_path, 200), tmp_path / "0123456789abcdef"
    own.mkdir()
    (own / f"8x8-1-{1:016x}.200.part").write_bytes(b"")
    with held(own / f"8x8-1-{1:016x}.lock"):
        began = time.monotonic()
        assert room.take(own / f"8x8-2-{2:016x}.100.part", 100, -1)
        assert time.monotonic() - began >= 0.3
