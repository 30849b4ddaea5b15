"""Caches under faults: whatever call fails, whenever the power goes, nothing damaged is served and nothing is lost.

`tests/test_torture.py` and `benchmarks/torture.py` do the same to everything that writes a cache, and kill it.
"""

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

import resload
from resload.errors import (
    BuildInProgressError,
    CacheError,
    CorruptCacheError,
    DiskSpaceError,
    IncompleteCacheError,
    NotACacheError,
    UnreadableFileError,
)
from resload.store import descriptors, run
from resload.store.layout import shard_path
from resload.store.made import read_file
from resload.testing import (
    EVERYTHING,
    NAMES,
    NOTHING,
    FailsAt,
    Layer,
    Place,
    PowerCut,
    PowerLoss,
    counted,
    different,
    fails_to_read,
    faulty,
    served,
    write_synthetic,
)

ROOM = ("create", "write", "truncate", "sync", "replace", "mkdir", "sync_folder")


def build(catalog, path, sizes=16, **options):
    return resload.build(catalog, path, sizes, progress=False, **options)


def repair(path, catalog):
    return resload.repair(path, catalog, progress=False)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """20 films of 48 x 48, 16 bits among them: two row groups."""
    root = tmp_path_factory.mktemp("twenty")
    return write_synthetic(root, 20, size=(48, 48), seed=3, broken=0, dicom_share=0).scan(progress=False)


@pytest.fixture(scope="module")
def few(catalog):
    """6 of them."""
    return catalog.select(np.arange(6))


@pytest.fixture(scope="module")
def whole(few, tmp_path_factory):
    """The cache of `few`, built undisturbed: its folder, the calls that made it, what it serves."""
    path = tmp_path_factory.mktemp("whole") / "c.zarr"
    made = counted(lambda: build(few, path, threads=1))
    return path, made, served(resload.open_cache(path))


def copied(catalog, folder):
    """The same films in another folder, to be damaged."""
    shutil.copytree(catalog.root, folder)
    return resload.Catalog(catalog.table, targets=catalog.targets, boxes=catalog.boxes, root=folder)


def same(path, other):
    return different(Place(path).tree(), Place(other).tree())


def failure(work, layer):
    """What the work raises under a layer; None when it can do without the call that fails."""
    with faulty(layer):
        try:
            work()
        except CacheError as exc:
            return exc
    return None


# -- every call of a build in turn --


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.slow
def test_a_build_fails_at_any_call_in_words_and_is_finished_by_the_next(few, whole, tmp_path, number):
    """From the k-th call on (every second k) the disk is full, or (every fifth) broken or read-only: an error that
    names the file and says that what is built is kept, a cache that is refused or whole, and byte for byte the same one
    after the next build."""
    path = tmp_path / "c.zarr"
    expected = DiskSpaceError if number == errno.ENOSPC else CacheError
    failures = 0
    for k in range(1, sum(kind in ROOM for kind in whole[1]) + 1, 2 if number == errno.ENOSPC else 5):
        said = failure(lambda: build(few, path, threads=1), FailsAt(k, number, kinds=ROOM, onward=True))
        if said is not None:
            failures += 1
            assert isinstance(said, expected)
            assert str(path) in str(said)
            assert "what is built is kept" in str(said)
            assert isinstance(said.__cause__, OSError)
        with_care(path, whole[2])
        build(few, path)
        assert same(path, whole[0]) == []
        shutil.rmtree(path)
    assert failures >= 10


def with_care(path, truth):
    """What is there is refused in words, or serves what it should."""
    try:
        assert served(resload.open_cache(path)) == truth
    except (NotACacheError, IncompleteCacheError):
        return


@pytest.mark.slow
def test_the_power_goes_at_any_call_and_the_build_is_finished_by_the_next(few, whole, tmp_path):
    """Nothing unsynced survives, or (every third k) all of it, only names, or some: refused, or what it should be; then
    the same bytes."""
    (tmp_path / "disk").mkdir()
    path = tmp_path / "disk" / "c.zarr"
    cuts = 0
    for k in range(1, len(whole[1])):
        layer = PowerLoss(tmp_path / "disk", k)
        try:
            with faulty(layer):
                build(few, path, threads=1)
        except PowerCut:
            cuts += 1
        for keep in (NOTHING, (NAMES, EVERYTHING, k)[k // 3 % 3])[: 2 if k % 3 == 0 else 1]:
            layer.restore(keep)
            with_care(path, whole[2])
            build(few, path)
            assert same(path, whole[0]) == []
        shutil.rmtree(path)
        if not layer.gone:
            break
    assert cuts == sum(kind != "close" for kind in whole[1])


def test_what_a_build_has_finished_a_power_cut_cannot_undo(few, whole, tmp_path):
    """Once `build` returned, the cache is there with nothing of what was not synced; also where a program that was
    ended before any sync of a folder had begun it: what it renamed there is not certain yet."""
    (tmp_path / "disk").mkdir()
    path = tmp_path / "disk" / "c.zarr"
    steps = [kind for kind in whole[1] if kind != "close"]
    for k in [None, *(k for k, kind in enumerate(steps, 1) if kind == "sync_folder")]:
        layer = PowerLoss(tmp_path / "disk", k)
        with faulty(layer):
            if k is not None:
                with pytest.raises(PowerCut):
                    build(few, path, threads=1)
                layer.again()
            build(few, path, threads=1)
        layer.restore(NOTHING)
        assert served(resload.open_cache(path)) == whole[2]
        assert [what for what in same(path, whole[0]) if not what.endswith("should not be")] == []
        shutil.rmtree(path)


def test_new_folders_on_the_way_to_a_cache_are_kept_too(few, whole, tmp_path):
    """As many as the path has: begun by a program that was ended at any call, finished by another, then the power."""
    (tmp_path / "disk").mkdir()
    path = tmp_path / "disk" / "new" / "sub" / "c.zarr"
    for k in range(1, 12):
        layer = PowerLoss(tmp_path / "disk", k)
        with faulty(layer):
            with pytest.raises(PowerCut):
                build(few, path, threads=1)
            layer.again()
            build(few, path, threads=1)
        layer.restore(NOTHING)
        assert served(resload.open_cache(path)) == whole[2]
        shutil.rmtree(tmp_path / "disk" / "new")


def test_a_store_that_does_not_sync_is_found_out(few, whole, tmp_path):
    """The look above can fail: with files or folders not synced, a finished build is damaged or gone."""
    for careless in ("sync", "sync_folder"):
        folder = tmp_path / careless
        folder.mkdir()
        layer = PowerLoss(folder)
        setattr(layer, careless, lambda _: None)
        with faulty(layer):
            build(few, folder / "c.zarr", threads=1)
        layer.restore(NOTHING)
        with pytest.raises(CacheError):
            resload.open_cache(folder / "c.zarr")


# -- what interrupting found --


def without_tables():
    """A layer under which everything but tables can be written: an update ends when its row groups are there."""

    class NoTables(Layer):
        def around(self, number, kind, path, call):
            if kind == "create" and path.name.startswith("samples.parquet"):
                raise OSError(errno.EIO, "Input/output error", str(path))
            return call()

    return NoTables()


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_repair_between_an_interrupted_append_and_its_end(catalog, tmp_path):
    """The shard that repair writes has the old number of records, so the append makes that row group again."""
    path = tmp_path / "c.zarr"
    build(catalog.select(np.arange(10)), path)
    shutil.copytree(path, tmp_path / "plain.zarr")
    build(catalog, tmp_path / "plain.zarr")
    with faulty(without_tables()), pytest.raises(CacheError, match=r"samples\.parquet: Input/output error"):
        build(catalog, path)
    assert (path / ".build/rows-0.json").exists()
    flip(path / shard_path(resload.Size(16, 16), 0), 5)
    assert repair(path, catalog).ok
    assert resload.verify(path, progress=False).ok
    build(catalog, path)
    assert same(path, tmp_path / "plain.zarr") == []


@pytest.mark.slow
def test_boxes_are_written_before_they_are_named(catalog, tmp_path):
    """A cache without boxes that is given some opens at any call of it, and so does the way back; in the end there
    is nothing left over of what is not there any more."""
    bare = resload.Catalog(catalog.table, targets=catalog.targets, root=catalog.root)
    for name, before, after in (("given", bare, catalog), ("taken", catalog, bare)):
        goal = tmp_path / f"{name}-goal.zarr"
        build(before, goal)
        made = len(counted(lambda after=after, goal=goal: build(after, goal)))
        for k in range(1, made + 1, 3):
            path = tmp_path / f"{name}-{k}.zarr"
            build(before, path)
            failure(lambda after=after, path=path: build(after, path), FailsAt(k, errno.EIO))
            resload.open_cache(path)
            build(after, path)
            assert same(path, goal) == []
            shutil.rmtree(path)


def test_row_groups_of_another_update_are_never_adopted(catalog, tmp_path):
    """What an interrupted append of other films left is removed before anything else; else the build stops."""
    path = tmp_path / "start.zarr"
    build(catalog.select(np.arange(8)), path)
    shutil.copytree(path, tmp_path / "plain.zarr")
    build(catalog.select(np.arange(14)), tmp_path / "plain.zarr")
    with faulty(without_tables()), pytest.raises(CacheError):
        build(catalog.select(np.r_[0:8, 14:20]), path)
    stale = len(list((path / ".build").iterdir()))
    assert stale > 1
    for k in range(1, stale + 1):
        shutil.copytree(path, tmp_path / "c.zarr")
        with faulty(FailsAt(k, errno.EACCES, kinds=("unlink",))), pytest.raises(CacheError, match="right to write"):
            build(catalog.select(np.arange(14)), tmp_path / "c.zarr")
        build(catalog.select(np.arange(14)), tmp_path / "c.zarr")
        assert same(tmp_path / "c.zarr", tmp_path / "plain.zarr") == []
        shutil.rmtree(tmp_path / "c.zarr")


def test_a_plan_that_cannot_be_read_now_is_not_thrown_away(catalog, tmp_path, monkeypatch):
    """An error of the disk is not the absence of a file: the row groups that are there stay there."""
    path, real = tmp_path / "c.zarr", Path.read_bytes
    with faulty(without_tables()), pytest.raises(CacheError):
        build(catalog, path)

    def failing(self):
        if self.name == "plan.json":
            raise OSError(errno.EIO, "Input/output error", str(self))
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(CacheError, match=r"plan\.json: Input/output error; what is built is kept"):
        build(catalog, path)
    monkeypatch.undo()
    assert (path / ".build/rows-1.json").exists()
    build(catalog, path)


@pytest.mark.slow
def test_a_repair_that_ended_before_the_manifest_is_finished_by_the_next(catalog, tmp_path):
    """A film that is read again changes the table, then the manifest's fingerprint: neither is forgotten."""
    broken = copied(catalog, tmp_path / "films")
    path = broken.path(3)
    data = path.read_bytes()
    path.write_bytes(data[:100])
    build(broken, tmp_path / "start.zarr")
    path.write_bytes(data)
    shutil.copytree(tmp_path / "start.zarr", tmp_path / "goal.zarr")
    made = counted(lambda: repair(tmp_path / "goal.zarr", broken))
    for k in range(len(made), len(made) // 2, -2):
        shutil.copytree(tmp_path / "start.zarr", tmp_path / "c.zarr")
        said = failure(lambda: repair(tmp_path / "c.zarr", broken), FailsAt(k, errno.EIO))
        assert said is None or "what is built is kept" in str(said)
        repair(tmp_path / "c.zarr", broken)
        assert same(tmp_path / "c.zarr", tmp_path / "goal.zarr") == []
        assert resload.verify(tmp_path / "c.zarr", progress=False).ok
        shutil.rmtree(tmp_path / "c.zarr")


def test_no_descriptor_stays_open_when_a_build_fails(few, whole, tmp_path):
    """Not of shards, not of the lock: also where closing fails too."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for k in range(1, 10):
        with faulty(FailsAt(k, errno.EIO, kinds=("write", "sync", "close"))), pytest.raises(CacheError):
            build(few, tmp_path / f"{k}.zarr", (16, 24))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


# -- two at once --


class Waits(Layer):
    """A layer that stops at the first file that is created, and goes on when it is told to."""

    def __init__(self):
        super().__init__()
        self.there, self.go = threading.Event(), threading.Event()

    def around(self, number, kind, path, call):
        if kind == "create" and not self.there.is_set():
            self.there.set()
            assert self.go.wait(60)
        return call()


def beside(work, other):
    """Do `other` while `work` is under way in another thread."""
    layer, failed = Waits(), []

    def working():
        try:
            work()
        except BaseException as exc:
            failed.append(exc)

    thread = threading.Thread(target=working)
    with faulty(layer):
        thread.start()
        assert layer.there.wait(60)
        try:
            other()
        finally:
            layer.go.set()
            thread.join()
    assert failed == []


def test_a_second_build_in_another_thread_is_refused(few, whole, tmp_path):
    """In words, at once; the first is not harmed, and neither is it by a repair, nor a repair by it."""
    path = tmp_path / "c.zarr"

    def refused():
        with pytest.raises(BuildInProgressError, match="or thread of this one, is building or repairing"):
            build(few, path)

    beside(lambda: build(few, path), refused)
    assert same(path, whole[0]) == []
    flip(path / shard_path(resload.Size(16, 16), 0), 5)
    beside(lambda: repair(path, few), refused)
    assert same(path, whole[0]) == []


@pytest.mark.slow
def test_a_second_build_in_another_process_is_refused(few, whole, tmp_path):
    """Whichever of the two holds the cache."""
    few.save(tmp_path / "catalog")
    code = (
        "import sys, resload\n"
        "from resload.testing import Layer, faulty\n"
        "class Waits(Layer):\n"
        "    def around(self, number, kind, path, call):\n"
        "        if kind == 'create' and self.made.count('create') == 1:\n"
        "            print('there', flush=True)\n"
        "            sys.stdin.readline()\n"
        "        return call()\n"
        "with faulty(Waits()):\n"
        "    resload.build(resload.Catalog.load(sys.argv[1]), sys.argv[2], 16, progress=False)\n"
    )
    path = tmp_path / "c.zarr"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "catalog"), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "there\n"
    with pytest.raises(BuildInProgressError, match="another process"):
        build(few, path)
    other.communicate("go\n")
    assert other.returncode == 0
    assert same(path, whole[0]) == []


# -- reading --


@pytest.fixture
def large(catalog, tmp_path):
    """A cache whose records are read from their files each time: 144 x 144, and the films themselves; and 16."""
    return build(catalog, tmp_path / "large.zarr", (16, 144, "native"))


@pytest.mark.parametrize("size", [144, "native"])
@pytest.mark.parametrize("access", ["pread", "memory"])
def test_a_disk_that_fails_is_an_error_that_names_the_file(catalog, large, size, access):
    """CorruptCacheError, not OSError; other files are served, and so is this one when the disk is back."""
    cache = resload.open_cache(large.path, access=access)
    rows = cache.rows()
    name = shard_path(next(one for one in cache.sizes if str(one) == ("native" if size == "native" else "144x144")), 0)
    expected = large.read(rows, size)
    if access == "memory" and size == 144:
        cache._stored.shards.of(resload.Size(144, 144), [0])  # open, and not read
    else:
        cache.read(rows[-1:], size)
        cache.read(rows[:1], size)
    with fails_to_read(cache.path / name):
        with pytest.raises(CorruptCacheError, match=rf"{name}: it could not be read \(Input/output error\); .*verify"):
            cache.read(rows[1:9], size)
        assert np.array_equal(cache.read(rows[:9], 16), large.read(rows[:9], 16))
        if access == "pread":
            assert np.array_equal(cache.read(rows[-1:], size), expected[-1:])
    assert np.array_equal(cache.read(rows, size), expected)


@pytest.mark.parametrize("size", [16, 144, "native"])
def test_files_that_change_under_a_reader(catalog, large, size):
    """Replaced or removed, an open reader goes on with the old file; cut, it says so; opened again, it says what is.

    (A file that is cut while it is mapped, access="mmap", ends the process: documented, and not tried here.)
    """
    cache = resload.open_cache(large.path)
    rows = cache.rows()
    of = next(one for one in cache.sizes if str(one) == (f"{size}x{size}" if size != "native" else size))
    path = cache.path / shard_path(of, 0)
    expected, data = cache.read(rows, size), path.read_bytes()
    path.with_name("other").write_bytes(bytes(len(data)))
    path.with_name("other").replace(path)
    assert np.array_equal(cache.read(rows, size), expected)
    path.unlink()
    assert np.array_equal(cache.read(rows, size), expected)
    cache.close()
    with pytest.raises(CorruptCacheError, match="is missing"):
        cache.read(rows, size)
    path.write_bytes(bytes(len(data)))
    with pytest.raises(CorruptCacheError, match="index"):
        cache.read(rows, size)
    path.write_bytes(data)
    cache.close()
    assert np.array_equal(cache.read(rows, size), expected)
    with path.open("r+b") as file:
        file.truncate(700)
    if size == 16:
        assert np.array_equal(cache.read(rows, size), expected), "in memory"
        return
    with pytest.raises(CorruptCacheError, match="it ended while it was read"):
        cache.read(rows, size)


def test_folders_in_the_place_of_files_are_named(few, whole, tmp_path):
    """A folder in a file's place: it is said to be none, by its name."""
    for name in ("zarr.json", "samples.parquet"):
        path = tmp_path / "c.zarr"
        shutil.copytree(whole[0], path)
        (path / name).unlink()
        (path / name).mkdir()
        with pytest.raises(CacheError, match=r"not a regular file but a folder") as caught:
            resload.open_cache(path).read([0], 16)
        assert str(path / name) in str(caught.value)
        assert not isinstance(caught.value, NotACacheError)
        shutil.rmtree(path)


@pytest.mark.parametrize(("size", "name"), [(16, "16x16"), ("native", "native")])
def test_too_many_open_files_are_not_called_damage(large, monkeypatch, size, name):
    """What the system refuses to open: the limit is named, and how to raise it."""
    real = os.open

    def full(path, *flags):
        if f"images/{name}/c" in str(path):
            raise OSError(errno.EMFILE, "Too many open files", str(path))
        return real(path, *flags)

    monkeypatch.setattr(os, "open", full)
    monkeypatch.setattr(descriptors, "_WAITS", (0.001, 0.001))
    cache = resload.open_cache(large.path)
    with pytest.raises(
        CacheError, match=rf"images/{name}/c/0/0/0: this process has as many files open .*ulimit -n"
    ) as caught:
        cache.read(cache.rows(), size)
    assert not isinstance(caught.value, CorruptCacheError)
    monkeypatch.undo()
    assert len(cache.read(cache.rows(), size)) == len(cache.rows())


def test_records_on_bad_sectors_are_found_and_made_again(catalog, large, monkeypatch):
    """verify lists each record that the disk cannot give back, and repair makes those again, copying the others."""
    preadv, step = os.preadv, 144 * 144 * 2 + 4
    path = large.path / shard_path(resload.Size(144, 144), 0)
    before = path.stat().st_ino

    def failing(descriptor, buffers, offset, *flags):
        if os.fstat(descriptor).st_ino == before and 2 * step <= offset < 4 * step:
            raise OSError(errno.EIO, "Input/output error")
        return preadv(descriptor, buffers, offset, *flags)

    monkeypatch.setattr(os, "preadv", failing)
    report = resload.verify(large.path, progress=False)
    assert [problem.row for problem in report.problems] == [2, 3]
    assert all("could not be read (Input/output error)" in problem.what for problem in report.problems)
    ids = resload.open_cache(large.path).table["id"]
    two = catalog.select(catalog.table["id"].isin(ids[2:4]))
    repaired = repair(large.path, two)  # which has no other film
    assert repaired.ok
    assert repaired.repaired == 2
    assert resload.verify(large.path, progress=False).ok


# -- sources --


def test_a_source_that_vanishes_is_quarantined_and_comes_back(catalog, tmp_path):
    """Between the plan and its reading; when it is back, repair makes the cache that would have been."""
    films = copied(catalog, tmp_path / "films")
    build(films, tmp_path / "goal.zarr", check="none")
    films.path(5).rename(tmp_path / "away")
    cache = build(films, tmp_path / "c.zarr")
    assert cache.quarantine["reason"].tolist() == ["UnreadableFileError: the file could not be read"]
    (tmp_path / "away").rename(films.path(5))
    assert repair(cache.path, films).ok
    assert same(cache.path, tmp_path / "goal.zarr") == []


def test_a_source_that_vanishes_from_an_update_stops_it(catalog, tmp_path):
    """A stored film whose file is gone when a size is added: named, and the old cache is as it was."""
    films = copied(catalog, tmp_path / "films")
    for name in ("c", "goal"):
        build(films, tmp_path / f"{name}.zarr")
    before = served(resload.open_cache(tmp_path / "c.zarr"))
    build(films, tmp_path / "goal.zarr", (16, 24))
    gone = films.path(5).rename(tmp_path / "away")
    with pytest.raises(UnreadableFileError, match=films.path(5).name):
        build(films, tmp_path / "c.zarr", (16, 24))
    assert served(resload.open_cache(tmp_path / "c.zarr")) == before
    gone.rename(films.path(5))
    build(films, tmp_path / "c.zarr", (16, 24))
    assert same(tmp_path / "c.zarr", tmp_path / "goal.zarr") == []


def test_a_source_on_a_failing_disk_is_quarantined(catalog, tmp_path):
    """It opens, and cannot be read: an I/O error is a reason like any other."""
    films = copied(catalog, tmp_path / "films")
    films.path(5).unlink()
    films.path(5).symlink_to("/proc/self/mem")
    cache = build(films, tmp_path / "c.zarr")
    assert cache.quarantine["reason"].tolist() == ["UnreadableFileError: the file could not be read"]
    assert len(cache.rows()) == len(catalog) - 1
    with pytest.raises(UnreadableFileError, match="Input/output error"):
        read_file(films.path(5))


def test_a_source_that_fails_while_it_is_loaded(few, tmp_path):
    """A Loader over the files names the one on a failing disk, or that is gone; when it is back, so is the film."""
    films = copied(few, tmp_path / "films")
    loader = resload.Loader(films, pipeline=resload.Pipeline(16), size=16, batch_size=2)
    images = [batch.images for batch in loader]
    away = films.path(3).rename(tmp_path / "away")
    with pytest.raises(UnreadableFileError, match=rf"{films.path(3).name}.*No such file"):
        list(loader)
    films.path(3).symlink_to("/proc/self/mem")
    with pytest.raises(UnreadableFileError, match=rf"{films.path(3).name}.*Input/output error"):
        list(loader)
    films.path(3).unlink()
    away.rename(films.path(3))
    again = [batch.images for batch in loader]
    assert all(one.equal(other) for one, other in zip(images, again, strict=True))
    loader.close()


def test_a_source_that_changes_while_it_is_read_is_not_stored(catalog, tmp_path, monkeypatch):
    """Neither half of it: it may be a film that never was. Afterwards repair makes what would have been."""
    films = copied(catalog, tmp_path / "films")
    build(films, tmp_path / "goal.zarr", check="none")
    path, data, real = films.path(5), films.path(5).read_bytes(), os.fstat
    own = path.stat()

    def changing(descriptor):
        status = real(descriptor)
        if status.st_ino == own.st_ino:
            os.utime(path, ns=(own.st_atime_ns, status.st_mtime_ns + 1000))
        return status

    monkeypatch.setattr(os, "fstat", changing)
    cache = build(films, tmp_path / "c.zarr")
    monkeypatch.undo()
    assert cache.quarantine["reason"].tolist() == ["UnreadableFileError: the file changed while it was read"]
    path.write_bytes(data)
    os.utime(path, ns=(own.st_atime_ns, own.st_mtime_ns))
    assert repair(cache.path, films).ok
    assert same(cache.path, tmp_path / "goal.zarr") == []


def test_a_source_replaced_by_another_of_its_size_and_time(catalog, tmp_path):
    """What nobody can see by a look at the file is found by its content, and no new size is made of it."""
    films = copied(catalog, tmp_path / "films")
    path = tmp_path / "c.zarr"
    build(films, path)
    film, status = films.path(5), films.path(5).stat()
    data = bytearray(film.read_bytes())
    data[-20] ^= 1
    film.write_bytes(data)
    os.utime(film, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len(build(films, path)) == len(catalog)
    with pytest.raises(CacheError, match="1 sources differ"):
        build(films, path, check="hash")
    with pytest.raises((CacheError, resload.errors.DecodeError), match=film.name):
        build(films, path, (16, 24))
    assert resload.open_cache(path).sizes == (resload.Size(16, 16),)


def test_old_records_that_are_damaged_are_not_appended_to(catalog, tmp_path):
    """Records are verified on their way into a row group that is made again; repaired, the append goes on."""
    path = tmp_path / "c.zarr"
    build(catalog.select(np.arange(10)), path)
    shutil.copytree(path, tmp_path / "goal.zarr")
    build(catalog, tmp_path / "goal.zarr")
    flip(path / shard_path(resload.Size(16, 16), 0), 5)
    with pytest.raises(CorruptCacheError, match=r"record 0 .* is damaged"):
        build(catalog, path)
    assert repair(path, catalog).ok
    build(catalog, path)
    assert same(path, tmp_path / "goal.zarr") == []


# -- workers --


@pytest.mark.parametrize("error", [SystemExit(3), MemoryError("no more"), KeyboardInterrupt(), GeneratorExit()])
def test_a_worker_thread_that_dies_takes_nothing_with_it(catalog, tmp_path, monkeypatch, error):
    """Whatever it raises reaches the caller as it is; finished row groups stay; no thread does."""
    real = run.make_record
    build(catalog, tmp_path / "goal.zarr")
    threads = threading.active_count()

    def dying(sources, item, *made):
        if item.row == 18:
            raise error
        return real(sources, item, *made)

    monkeypatch.setattr(run, "make_record", dying)
    with pytest.raises(type(error)) as caught:
        build(catalog, tmp_path / "c.zarr", threads=2)
    assert caught.value is error
    assert threading.active_count() == threads
    assert (tmp_path / "c.zarr/.build/rows-0.json").exists()
    monkeypatch.undo()
    build(catalog, tmp_path / "c.zarr")
    assert same(tmp_path / "c.zarr", tmp_path / "goal.zarr") == []


class Killed:
    """A data set whose second item ends the worker process."""

    def __init__(self, data):
        self._data = data

    def __len__(self):
        return len(self._data)

    def __getitem__(self, index):
        if index == 1:
            os.kill(os.getpid(), 9)
        return self._data[index]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_worker_process_that_is_killed_is_an_error_and_no_hang(few, tmp_path):
    """Of torch's own kind, which names it; the cache is read by others afterwards, and by new workers."""
    cache = build(few, tmp_path / "c.zarr")
    data = resload.torch_dataset(cache, size=16)
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid.* (killed by signal|exited unexpectedly)"):
        list(DataLoader(Killed(data), num_workers=1))
    assert len(list(DataLoader(data, num_workers=1))) == len(few)
    assert np.array_equal(cache.read(cache.rows(), 16), resload.open_cache(cache.path).read(cache.rows(), 16))
