"""Long runs, short: nothing grows from turn to turn, and few descriptors are enough for any number of shards."""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

import resload
from resload.errors import CacheError
from resload.store import descriptors, gather
from resload.testing.resources import Held, held, leaks

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))  # the scripts find each other as when they are run
import long_runs

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="what a process holds is read from /proc")


# -- the rule --


def flat_run(**changed):
    """21 samples that stay, but for what is changed: name = values of the last nine."""
    samples = [Held(100.0 + (k % 3) * 0.5, 5, 60) for k in range(21)]
    for name, values in changed.items():
        for k, value in enumerate(values, start=21 - len(values)):
            samples[k] = Held(**{**samples[k].__dict__, name: value})
    return samples


def test_what_stays_is_flat():
    """Memory that goes up and down a little; a beginning that is steeper than the rest."""
    assert leaks(flat_run()) == {}
    beginning = [Held(20.0 * k, k, 10 * k) for k in range(5)]
    assert leaks(beginning + flat_run()[5:]) == {}
    assert leaks(flat_run(memory_mb=[103.0] * 7)) == {}


def test_what_grows_is_named():
    """One thread or one descriptor more in the last third; memory by more than its tolerance."""
    assert leaks(flat_run(threads=[6])) == {"threads": "5 in the middle third, 6 in the last"}
    assert leaks(flat_run(descriptors=[60, 61, 62])) == {"descriptors": "60 in the middle third, 62 in the last"}
    assert leaks(flat_run(memory_mb=[104.0 + k for k in range(7)])) == {
        "memory_mb": "100.5 in the middle third, 107 in the last"
    }
    assert leaks(flat_run(memory_mb=[102.0] * 7), memory_mb=1.0).keys() == {"memory_mb"}
    with pytest.raises(ValueError, match="at least nine samples, evenly spaced; found 8"):
        leaks(flat_run()[:8])


def test_what_is_held_is_seen():
    """A thread, a descriptor and 32 MB more, and gone again."""
    before, end = held(), threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    file = os.open(os.devnull, os.O_RDONLY)
    memory = np.ones(32 << 20, np.uint8)
    more = held()
    os.close(file)
    end.set()
    thread.join()
    del memory
    after = held()
    assert (more.threads - before.threads, more.descriptors - before.descriptors) == (1, 1)
    assert 28 < more.memory_mb - before.memory_mb < 40
    assert (after.threads, after.descriptors) == (before.threads, before.descriptors)
    assert abs(after.memory_mb - before.memory_mb) < 8


@pytest.mark.slow
def test_a_leak_is_found():
    """The rule on a process: a loop that keeps a descriptor and 200 KB in every turn, and one that does not."""
    kept = []

    def turn(leaky):
        file = os.open(os.devnull, os.O_RDONLY)
        memory = np.ones(200_000, np.uint8)
        kept.append((file, memory) if leaky else None)
        if not leaky:
            os.close(file)

    found = {}
    for leaky in (False, True):
        samples = []
        for k in range(90):
            turn(leaky)
            if k % 10 == 0:
                samples.append(held())
        found[leaky] = leaks(samples)
    for one in filter(None, kept):
        os.close(one[0])
    assert found[False] == {}
    assert found[True].keys() == {"memory_mb", "descriptors"}


# -- few descriptors --


def open_files(folder):
    """How many descriptors are of files below a folder."""
    names = []
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            names.append(str(one.readlink()))
    return sum(name.startswith(str(folder)) for name in names)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """330 films in 21 shards of each of seven arrays: three sizes, their masks, and the films' own."""
    root = tmp_path_factory.mktemp("many")
    long_runs.make_data(root, 0, 330)
    return root


@pytest.mark.parametrize("access", ["pread", "mmap"])
def test_all_caches_of_a_process_share_the_bound(many, access):
    """Two caches, all arrays of both: never more open files than the bound; what was let go of is opened again."""
    caches = [resload.open_cache(many / "many.zarr", access=access) for _ in range(2)]
    expected = [caches[0].read(caches[0].rows(), size) for size in (144, 156)]
    caches[0].close()
    with mock.patch.object(descriptors, "open_limit", return_value=10):
        for cache in caches:
            for size, pixels in zip((144, 156), expected, strict=True):
                assert np.array_equal(cache.read(cache.rows(), size), pixels)
                assert open_files(many) <= 10
            assert cache.read_masks(cache.rows()[::9], 144).any()
            assert cache.read(cache.rows()[::9], "native").any()
            assert 5 <= open_files(many) <= 10
    del caches, cache
    assert open_files(many) == 0


def test_a_cache_that_is_gone_leaves_its_part_to_others(many):
    """Files of a cache that was dropped, or closed, do not count: those of the next one stay open."""
    rows = np.arange(0, 330, 16)
    for way in ("dropped", "closed"):
        first = resload.open_cache(many / "many.zarr")
        with mock.patch.object(descriptors, "open_limit", return_value=30):
            first.read(rows, 144)
            assert open_files(many) == 21
            if way == "closed":
                first.close()
            else:
                del first
            assert open_files(many) == 0
            second = resload.open_cache(many / "many.zarr")
            second.read(rows, 144)
            assert open_files(many) == 21
            del second


LIMITED = """
import os, resource, sys
import numpy as np
import resload
from concurrent.futures import ThreadPoolExecutor

def limited(access, room):
    cache = resload.open_cache(sys.argv[1], access=access)
    rows = cache.rows()
    expected = cache.read(rows, 144)
    for size in ("native", 100, 156):
        cache.read(rows[:1], size)
        cache.read_masks(rows[:1], 144)  # what is imported when it is used, is: imports open files too
    loader = resload.Loader(cache, size=144, batch_size=66, shuffle=True, masks=True, threads=2)
    cache.close()
    there = len(os.listdir("/proc/self/fd"))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + room, most[1]))
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(lambda: np.array_equal(cache.read(rows[::-1], 144), expected[::-1])) for _ in range(24)]
        assert all(one.result() for one in work)
    for size in ("native", 100, 156):
        cache.read(rows[::3], size)
    cache.read_masks(rows[::3], 144)
    assert len(list(loader)) == 5
    resource.setrlimit(resource.RLIMIT_NOFILE, most)
    cache.close()

for access, room in (("pread", 12), ("pread", 30), ("mmap", 14)):
    limited(access, room)
    print(access, room)
"""


@pytest.mark.slow
def test_fewer_descriptors_than_a_batch_has_shards(many):
    """Four threads, each reading from 21 shards at once, where twelve files may be opened: halves, and patience."""
    command = [sys.executable, "-c", LIMITED, str(many / "many.zarr")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["pread 12", "pread 30", "mmap 14"]


def test_no_descriptor_at_all_is_said_in_a_sentence(many):
    """Where the caller's own files take all there are: the number, and what to do; afterwards it works."""
    cache = resload.open_cache(many / "many.zarr")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (held().descriptors + 8, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        with (
            mock.patch.object(descriptors, "_WAITS", (0.001, 0.001)),
            pytest.raises(CacheError, match=r"c/\d+/0/0: this process has as many files open as it may .*ulimit -n"),
        ):
            cache.read([0, 20], 144)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in taken:
            os.close(one)
    assert cache.read([0, 20], 144).any()


def test_a_level_whose_filling_was_interrupted_is_filled(many, monkeypatch):
    """Records that are kept in memory: an interrupt while a shard is read there leaves nothing half known."""
    monkeypatch.setattr(gather, "_TOGETHER_BYTES", 4 * 24 * 24)
    cache = resload.open_cache(many / "many.zarr")
    expected = cache.read(cache.rows(), 24)
    fresh = resload.open_cache(many / "many.zarr")
    sound, calls = gather.Level._sound_ones, []

    def interrupted(self, rows, slot, start):
        calls.append(len(rows))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return sound(self, rows, slot, start)

    with monkeypatch.context() as patch:
        patch.setattr(gather.Level, "_sound_ones", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fresh.read(fresh.rows(), 24)
    assert np.array_equal(fresh.read(fresh.rows(), 24), expected)
    level = fresh._stored.level(resload.size.Size(24, 24))
    assert level.held
    assert level._sound.all()


# -- the runs --


@pytest.mark.slow
def test_some_cases_short(many, tmp_path, monkeypatch, capsys):
    """Of the runner: epochs, dropped loaders and torch's, each in a process that may open 256 files; table, numbers
    and picture are written.
    """
    names = ["epochs: native size and masks", "loaders: made and dropped", "loaders: torch's, two workers"]
    words = ["--turns", "20", "--films", "330", "--results", str(tmp_path), "--only", *names]
    monkeypatch.setattr(sys, "argv", ["long_runs.py", *words])
    monkeypatch.setattr(long_runs, "make_data", lambda folder, *_: shutil.copytree(many, folder, dirs_exist_ok=True))
    long_runs.main()
    found = json.loads((tmp_path / "long_runs.json").read_text())
    assert found["leaks"] == {name: {} for name in names}
    assert all(len(samples) == 21 for samples in found["cases"].values())
    assert all(max(one["descriptors"] for one in samples) <= 64 + 8 for samples in found["cases"].values())
    with Image.open(tmp_path / "long_runs.png") as image:
        assert image.size[0] > 600
    assert (tmp_path / "long_runs.md").read_text().strip() in capsys.readouterr().out


def test_readers_in_many_threads_that_open_and_close(many):
    """A cache read by eight threads, each closing it now and then: every answer is right, nothing stays open."""
    cache = resload.open_cache(many / "many.zarr")
    rows = cache.rows()
    expected = cache.read(rows, 144)

    def work(seed):
        some = np.random.default_rng(seed).permutation(len(rows))[:60]
        found = cache.read(rows[some], 144)
        if seed % 3 == 0:
            cache.close()
        return np.array_equal(found, expected[some])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))
    cache.close()
    assert open_files(many) == 0
