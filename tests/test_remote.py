"""Object storage: the same cache as on a disk, byte for byte, built and read by every way."""

import os
import pickle
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from storage import MASKED, SIZES, build, child, masked, objects
from trees import tree

import resload
from resload.cli import main
from resload.devices import PlainBus
from resload.errors import (
    ArgumentError,
    CacheMismatchError,
    CorruptCacheError,
    MissingPackageError,
    NotACacheError,
)
from resload.residence.keepers import PlainKeeper
from resload.store import commit, remote, run
from resload.store.remote import Url, location

pytestmark = pytest.mark.usefixtures("quick")


# -- the same cache --


@pytest.mark.slow
def test_the_same_bytes_by_every_step(few, url, tmp_path, temporaries):
    """Build, append, add-level and retarget: after each, the objects are the local folder's files, byte for byte."""
    some = few.select(np.arange(20))
    other = resload.Catalog(
        few.table.assign(**{few.targets[0]: 1.0}),
        targets=few.targets,
        boxes=few.boxes,
        root=few.root,
    )
    for films, sizes in ((some, SIZES), (few, SIZES), (few, (*SIZES, 24)), (other, (*SIZES, 24))):
        here, far = build(films, tmp_path / "a.zarr", sizes), build(films, url, sizes)
        assert objects(url) == tree(tmp_path / "a.zarr")
        assert here.digest == far.digest
        assert isinstance(far.path, Url)
        assert str(far.path) == url


@pytest.mark.slow
def test_masks_native_and_pseudonyms(few, url, tmp_path, temporaries):
    """Arrays of compressed records, masks among them, and pseudonyms: byte for byte; all of it is read back."""
    films = masked(few)
    key = "a key of more than sixteen bytes"
    for some in (films.select(np.arange(20)), films):
        for path in (tmp_path / "a.zarr", url):
            build(some, path, MASKED, pseudonymise=key)
    assert objects(url) == tree(tmp_path / "a.zarr")
    here, far = resload.open_cache(tmp_path / "a.zarr"), resload.open_cache(url)
    rows = here.rows()
    for size in (16, 12, "native"):
        np.testing.assert_array_equal(far.read(rows, size), here.read(rows, size))
        np.testing.assert_array_equal(far.read_masks(rows, size), here.read_masks(rows, size))
    part = (3, 5, 20, 24)
    np.testing.assert_array_equal(far.read(rows, 10, region=part), here.read(rows, 10, region=part))
    assert key not in Url(f"{url}/zarr.json").read_text()


def test_damage_is_found_and_mended(few, local, url, temporaries):
    """verify lists a flipped byte, a missing shard, a missing document; repair makes the very same objects."""
    build(few, url)
    whole = objects(url)
    shard = Url(f"{url}/images/32x32/c/1/0/0")
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(bytes(data))
    Url(f"{url}/images/16x16/c/0/0/0").unlink()
    Url(f"{url}/images/zarr.json").unlink()
    report = resload.verify(url, progress=False)
    assert {problem.file for problem in report.problems} == {
        "images/32x32/c/1/0/0", "images/16x16/c/0/0/0", "images/zarr.json"
    }  # fmt: skip
    far = resload.open_cache(url)
    with pytest.raises(CorruptCacheError, match=r"images/32x32/c/1/0/0: record 0 \(row 16\) is damaged"):
        far.read([16], 32)
    with pytest.raises(CorruptCacheError, match="this shard is missing"):
        far.read(np.flatnonzero(far._readable)[:1], 16)
    assert resload.repair(url, few, progress=False).ok
    assert objects(url) == whole


def test_a_quarantined_film_is_revived(few, url, tmp_path, temporaries):
    """A film that could not be read is quarantined, and made by repair once its file is whole."""
    films = tmp_path / "films"
    shutil.copytree(few.root, films)
    moved = resload.Catalog(few.table, targets=few.targets, boxes=few.boxes, root=films)
    far = build(moved, url)
    bad = far.quarantine["path"].iloc[0]
    good = few.table["path"][few.table["path"].str.endswith(Path(bad).suffix) & (few.table["path"] != bad)]
    shutil.copy(films / good.iloc[0], films / bad)
    build(moved, tmp_path / "a.zarr", check="none")
    assert resload.repair(url, moved, progress=False).ok
    assert len(resload.open_cache(url).quarantine) == 0
    resload.repair(tmp_path / "a.zarr", moved, progress=False)
    assert objects(url) == tree(tmp_path / "a.zarr")


def test_an_unfinished_build_can_be_looked_at(few, local, url):
    """partial=True shows the row groups that are there; without it an unfinished cache is refused."""
    before = few.root
    gone = resload.Catalog(
        few.table.assign(path=[p if k < 30 else "gone.png" for k, p in enumerate(few.table["path"])]),
        targets=few.targets, root=before,
    )  # fmt: skip
    with pytest.raises(resload.errors.DecodeError):
        build(gone, url, on_error="raise", threads=1, check="none")
    with pytest.raises(resload.errors.IncompleteCacheError, match="run the same build again"):
        resload.open_cache(url)
    resload.open_cache(url, partial=True)


def test_what_is_not_a_cache_is_left_alone(few, url):
    """A folder with other objects, and an object, are refused; nothing of them is touched."""
    Url(f"{url}/notes.txt").write_bytes(b"mine")
    with pytest.raises(CacheMismatchError, match="this folder holds other files"):
        build(few, url)
    with pytest.raises(CacheMismatchError, match="a file is here"):
        build(few, f"{url}/notes.txt")
    with pytest.raises(NotACacheError, match="no resload cache is here"):
        resload.open_cache(url)
    assert objects(url).keys() == {"notes.txt"}


def test_a_folder_that_a_console_made_is_empty(few, local, url):
    """The empty object that consoles make of a folder's name does not make it somebody else's folder."""
    fsspec.filesystem("s3").pipe_file(f"{url}/".removeprefix("s3://"), b"")
    build(few, url)
    assert objects(url) == tree(local.path)


@pytest.mark.parametrize("words", [["info"], ["verify"], ["show", "--out", "x.png"]], ids=lambda words: words[0])
def test_the_command_line_takes_urls(there, words, tmp_path, monkeypatch):
    """Where a verb takes a cache, it takes one in object storage."""
    monkeypatch.chdir(tmp_path)
    assert not main([words[0], str(there.path), *words[1:], "--json"])


def test_bench_says_that_it_measures_files(there, capsys):
    """The one verb that does not, in a sentence."""
    assert main(["bench", str(there.path), "--size", "32"]) == 2
    assert "bench measures files of this machine; copy the cache here" in capsys.readouterr().err


# -- interrupted builds --


@pytest.mark.slow
def test_builds_that_are_killed_are_finished_byte_for_byte(few, local, url, temporaries):
    """Killed six times at random moments, a build then ends with the same objects, and leaves no temporary file."""
    rng, kills = random.Random(5), 0
    began = time.monotonic()
    while kills < 6 and time.monotonic() - began < 40:
        with child() as number:
            if number == 0:
                build(few, url, threads=2)
        time.sleep(rng.uniform(0.0, 0.8))
        os.kill(number, signal.SIGKILL)
        _, status = os.waitpid(number, 0)
        if os.WIFSIGNALED(status):
            kills += 1
        else:
            assert os.WEXITSTATUS(status) == 0
            fsspec.filesystem("s3").rm(url, recursive=True)
    assert kills >= 3
    build(few, url)
    assert objects(url) == tree(local.path)


def test_what_a_worker_left_that_died_meanwhile_is_removed(few, url, temporaries, monkeypatch):
    """By the build that went on without it; not what a live process has, or one of another container."""
    with child() as number:
        if number == 0:
            os._exit(0)
    os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)  # its parent has not heard of it yet
    mark = commit._scratch_mark(Url(url))
    left = [
        temporaries / f"{mark}{number}-x",
        temporaries / f"{mark}{os.getpid()}-x",
        temporaries / f"{mark[:-1]}0-{number}-x",
    ]
    finish = run._finish

    def while_a_worker_dies(*all_of_it):
        for folder in left:
            folder.mkdir(exist_ok=True)
        finish(*all_of_it)

    monkeypatch.setattr(run, "_finish", while_a_worker_dies)
    build(few, url)
    assert [folder.exists() for folder in left] == [False, True, True]
    for folder in left[1:]:
        folder.rmdir()
    os.waitpid(number, 0)


def test_an_interrupt_leaves_what_was_built(few, local, url, temporaries, monkeypatch):
    """KeyboardInterrupt in the middle of a build gives the lease back, and the same build goes on."""
    made = []

    def interrupted(*all_of_it):
        made.append(all_of_it[1].task.group)
        if len(made) == 2:
            raise KeyboardInterrupt
        return finish(*all_of_it)

    finish = run._finish
    with monkeypatch.context() as patch:
        patch.setattr(run, "_finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(few, url)
    left = objects(url)
    assert ".build/rows-0.json" in left
    assert ".build/lease.json" not in left
    made = [name for name in left if name.endswith("c/0/0/0")]
    stamps = {name: Url(f"{url}/{name}").version() for name in made}
    build(few, url)
    assert objects(url) == tree(local.path)
    assert stamps == {name: Url(f"{url}/{name}").version() for name in made}


# -- every way to read --


@pytest.mark.parametrize("options", [{}, {"access": "memory"}], ids=["ranges", "memory"])
def test_reading_is_the_same(local, there, options):
    """Stored and other sizes, any order, repeated rows, regions, levels held in memory."""
    far = resload.open_cache(there.path, **options)
    rng = np.random.default_rng(0)
    for size in (16, 32, 20, (10, 18)):
        rows = rng.choice(local.rows(), 50)
        np.testing.assert_array_equal(far.read(rows, size), local.read(rows, size))
    part = (8, 4, 30, 30)
    np.testing.assert_array_equal(far.read(rows, 12, region=part), local.read(rows, 12, region=part))
    assert far.stats(32) == local.stats(32)
    with pytest.raises(ArgumentError, match="object storage cannot be mapped"):
        resload.open_cache(there.path, access="mmap")


def batches(data, **options):
    loader = resload.Loader(data, size=32, batch_size=8, shuffle=True, seed=4, **options)
    with loader:
        return [(batch.rows.tolist(), batch.images) for _ in range(2) for batch in loader]


def all_equal(found, expected):
    for (rows, images), (others, same) in zip(found, expected, strict=True):
        assert rows == others
        assert torch.equal(images, same)


@pytest.mark.parametrize("threads", [1, 3])
def test_loaders_are_the_same(local, there, threads):
    """Batch for batch what a loader gives of the local cache."""
    all_equal(batches(there, threads=threads), batches(local))


def test_resident_levels_are_the_same(local, there, monkeypatch):
    """Levels that stay on a device (played by the CPU) are filled from object storage, once."""
    cpu = torch.device("cpu")
    monkeypatch.setattr("resload.making.bus_to", lambda device: PlainBus(cpu))
    monkeypatch.setattr("resload.residence.sharing.keeper_on", lambda device: PlainKeeper(cpu))
    for module in ("making", "particulars"):
        monkeypatch.setattr(f"resload.{module}.onto", lambda tensor, device: tensor)
    far = resload.open_cache(there.path)
    all_equal(batches(far, resident=True, device="meta"), batches(local))


@pytest.mark.slow
def test_a_torch_loader_with_spawned_workers(local, there):
    """Worker processes open the cache from its pickle, by the credentials of their environment."""
    data = resload.torch_dataset(there, size=32)
    loader = torch.utils.data.DataLoader(data, batch_size=8, num_workers=1, multiprocessing_context="spawn")
    found = torch.cat([images for images, _ in loader])
    expected = torch.stack([image for image, _ in resload.torch_dataset(local, size=32)])
    assert torch.equal(found, expected)


def test_a_forked_child_reads(local, there):
    """A child of a process that has already spoken with storage speaks with it by connections of its own."""
    expected = there.read([0, 1, 20], 32)
    with child() as number:
        if number == 0:
            np.testing.assert_array_equal(there.read([0, 1, 20], 32), expected)
            np.testing.assert_array_equal(resload.open_cache(there.path).read([5], 16), local.read([5], 16))
    _, status = os.waitpid(number, 0)
    assert status == 0
    np.testing.assert_array_equal(there.read([0, 1, 20], 32), expected)


def test_objects_that_go_while_they_are_read(few, url):
    """A shard that is removed, or cut, under an open cache is an error that names it."""
    far = build(few, url)
    far.read([0, 20], 32)
    shard = Url(f"{url}/images/32x32/c/0/0/0")
    data = shard.read_bytes()
    shard.write_bytes(data[:700])
    reopened = resload.open_cache(url)
    with pytest.raises(CorruptCacheError, match=r"32x32/c/0/0/0: \d+ bytes expected, 700 found"):
        reopened.read([0], 32)
    shard.unlink()
    with pytest.raises(CorruptCacheError, match="32x32/c/0/0/0"):
        resload.open_cache(url).read([0], 32)


# -- other protocols --


def test_memory_as_a_second_protocol(few, local, temporaries):
    """fsspec's own file system in memory, which no code here knows: the same bytes."""
    far = build(few, "memory://bucket/a.zarr")
    assert objects(far.path) == tree(local.path)
    np.testing.assert_array_equal(far.read(far.rows(), 20), local.read(local.rows(), 20))
    build(few, "memory://bucket/a.zarr", (*SIZES, 24))
    assert resload.verify(far.path, progress=False).ok
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


@pytest.mark.parametrize("protocol", ["gs", "az", "abfs"])
def test_google_and_azure_go_the_same_way(few, local, protocol, monkeypatch):
    """Their packages' file systems (one in memory here in their place) are asked as any other is."""
    from fsspec.implementations.memory import MemoryFileSystem

    class Elsewhere(MemoryFileSystem):
        store = {}  # noqa: RUF012
        pseudo_dirs = [""]  # noqa: RUF012

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(str(path).replace(f"{protocol}://", "memory://"))

    Elsewhere.protocol = (protocol,)
    monkeypatch.setattr(remote, "require", lambda *_: None)
    monkeypatch.setitem(fsspec.registry.target, protocol, Elsewhere) if hasattr(fsspec.registry, "target") else None
    fsspec.register_implementation(protocol, Elsewhere, clobber=True)
    try:
        far = build(few, f"{protocol}://bucket/a.zarr")
        assert objects(far.path) == tree(local.path)
        np.testing.assert_array_equal(far.read(far.rows(), 32), local.read(local.rows(), 32))
    finally:
        from fsspec.registry import _registry

        _registry.pop(protocol, None)


@pytest.mark.parametrize(
    ("protocol", "package", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gs"), ("az", "adlfs", "az")]
)
def test_a_missing_package_is_named_with_its_extra(protocol, package, extra, monkeypatch):
    """Without the package behind a protocol: which, why, and how to install it."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"{package} is needed for {protocol}:// paths .*resload\[{extra}\]"):
        location(f"{protocol}://bucket/a.zarr")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense://bucket/a", "fsspec knows no protocol 'nonsense'"),
        ("s3://", "expected protocol://bucket/folder"),
        ("s3://bucket/a?x=1", "s3://bucket/a: expected protocol://bucket/folder, without a query"),
        ("simplecache::s3://bucket/a", "expected protocol://bucket/folder, without a query or a chain"),
    ],
)
def test_urls_that_are_none(text, words):
    """A protocol that nobody knows, no bucket, a query, a chain: refused with what was expected."""
    with pytest.raises(ArgumentError, match=words):
        location(text)


def test_file_urls_are_paths(tmp_path):
    """file:// is a folder of this machine; a path stays a path."""
    assert location(f"file://{tmp_path}/a") == tmp_path / "a"
    assert location(tmp_path) == tmp_path
    assert pickle.loads(pickle.dumps(location("memory://a/b/"))) == Url("memory://a/b")
