"""A pickled Cache: its path, what was changed of it, and a refusal where the files are others by now."""

import os
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import resload
from resload.errors import CacheMismatchError, NotACacheError
from resload.interop import torch_dataset


@pytest.fixture
def copied(cache8, tmp_path):
    """A copy of cache8 that a test may change."""
    shutil.copytree(cache8.path, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


def read_there(cache, rows, size):
    """In another process: what it is told of a cache, and reads of it."""
    return os.getpid(), len(cache), cache.digest, list(cache.table), cache.read(rows, size)


def test_a_whole_cache_is_some_hundred_bytes(cache, cache8):
    """Its path, how it is read, and which files it was opened from: for any number of films."""
    for one in (cache, cache8, resload.open_cache(cache.path, access="mmap")):
        data = pickle.dumps(one)
        assert len(data) < 400
        again = pickle.loads(data)
        assert again.table.equals(one.table)
        assert again.targets == one.targets
        assert again.boxes.equals(one.boxes)
        assert again._stored.shards.access == one._stored.shards.access
        assert np.array_equal(again.read([0, 3], 64), one.read([0, 3], 64))
        assert len(pickle.dumps(again)) == len(data)  # what came from a pickle goes into one as it came


def test_a_view_takes_its_rows_and_table_along(cache8):
    """No more than those: a view of few films is small."""
    some = cache8.select(cache8.rows()[[5, 2, 9]])
    every = cache8.select(cache8.rows()[:3])
    again = pickle.loads(pickle.dumps(some))
    assert again.table.equals(some.table)
    assert np.array_equal(again.read([2, 0], 64), some.read([2, 0], 64))
    assert len(pickle.dumps(every)) < 12_000
    corrected = cache8.with_table(cache8.table[["id"]].assign(age=7.0))
    assert pickle.loads(pickle.dumps(corrected)).table["age"].eq(7.0).all()


def change_a_value(cache):
    cache.table.loc[3, "nodule"] = 0.25


def change_through_iloc(cache):
    cache.table.iloc[0, cache.table.columns.get_loc("split")] = "none"


def add_a_column(cache):
    cache.table["fold"] = np.arange(len(cache)) % 5


def drop_a_column(cache):
    del cache.table["view"]


def change_a_type(cache):
    cache.table["height"] = cache.table["height"].astype("int64" if cache.table["height"].dtype != "int64" else "int32")


def another_table(cache):
    cache.table = cache.table.assign(nodule=1.0)


def fewer_targets(cache):
    cache.targets = cache.targets[:1]


def change_a_box(cache):
    cache.boxes.loc[0, "x"] += 1


def no_boxes(cache):
    cache.boxes = None


@pytest.mark.parametrize(
    "change",
    [
        change_a_value,
        change_through_iloc,
        add_a_column,
        drop_a_column,
        change_a_type,
        another_table,
        fewer_targets,
        change_a_box,
        no_boxes,
    ],
)
def test_what_was_changed_travels(cache8, change):
    """Tables are the user's to change, in place too: what is unpickled has them as they are, not as the files do."""
    opened = resload.open_cache(cache8.path)
    assert len(pickle.dumps(opened)) < 400
    change(opened)
    again = pickle.loads(pickle.dumps(opened))
    assert again.table.equals(opened.table)
    assert again.targets == opened.targets
    assert (again.boxes is None and opened.boxes is None) or again.boxes.equals(opened.boxes)
    assert np.array_equal(again.read([0, 3], 64), opened.read([0, 3], 64))
    fresh = resload.open_cache(cache8.path)
    differs = not again.table.equals(fresh.table) or again.targets != fresh.targets
    assert differs or again.boxes is None or not again.boxes.equals(fresh.boxes)


def test_a_change_that_was_taken_back_is_none(cache8):
    """By value: what was read, whoever wrote it."""
    opened = resload.open_cache(cache8.path)
    opened.table["fold"] = 1
    assert len(pickle.dumps(opened)) > 1000
    del opened.table["fold"]
    assert len(pickle.dumps(opened)) < 400


def test_from_another_folder(cache8, monkeypatch, tmp_path):
    """A path that was given from one working directory is found from another."""
    monkeypatch.chdir(cache8.path.parent)
    data = [pickle.dumps(one) for one in (resload.open_cache(cache8.path.name), resload.open_cache(cache8.path.name))]
    monkeypatch.chdir(tmp_path)
    assert [len(pickle.loads(one)) for one in data] == [len(cache8)] * 2


@pytest.mark.parametrize("change", ["targets", "sizes", "films"])
def test_a_cache_that_has_changed_is_refused(films8, copied, change):
    """Corrected targets, a new size, more films: with a sentence, and not other numbers than were pickled."""
    smaller = films8.select(np.arange(len(films8)) < 20)
    path = copied.parent / "smaller.zarr"
    resload.build(smaller, path, (32, 64), progress=False)
    opened = resload.open_cache(path)
    whole, view = pickle.dumps(opened), pickle.dumps(opened.select(opened.rows()[:4]))
    if change == "targets":
        table = smaller.table.assign(nodule=0.0)
        corrected = resload.Catalog(table, targets=smaller.targets, boxes=smaller.boxes, root=smaller.root)
        resload.build(corrected, path, (32, 64), progress=False)
    elif change == "sizes":
        resload.build(smaller, path, (32, 48, 64), progress=False)
    else:
        resload.build(films8, path, (32, 64), progress=False)
    with pytest.raises(CacheMismatchError, match=r"smaller.zarr: its films, sizes or tables have changed since"):
        pickle.loads(whole)
    if change == "targets":  # the view has brought its own, and its pixels are the same
        assert pickle.loads(view).table.equals(opened.select(opened.rows()[:4]).table)
    else:
        with pytest.raises(CacheMismatchError, match=r"smaller.zarr: its films or sizes have changed since .* view"):
            pickle.loads(view)
    assert len(pickle.loads(pickle.dumps(resload.open_cache(path)))) == len(resload.open_cache(path))


def test_a_cache_that_is_gone_or_another_is_refused(films8, copied):
    """Nothing at its path, or a cache of other films there."""
    data = pickle.dumps(resload.open_cache(copied))
    shutil.rmtree(copied)
    with pytest.raises(NotACacheError, match=r"copy\.zarr"):
        pickle.loads(data)
    resload.build(films8.select(np.arange(len(films8)) < 9), copied, (32, 64), progress=False)
    with pytest.raises(CacheMismatchError, match="have changed since"):
        pickle.loads(data)


def test_an_unfinished_cache_takes_its_table_along(films8, tmp_path, monkeypatch):
    """Rows that are finished meanwhile are not there for one process and absent for another."""
    from resload.store import run

    finish, done = run._finish, []

    def only_one(*args):
        if done:
            raise KeyboardInterrupt
        done.append(finish(*args))

    with monkeypatch.context() as patch:
        patch.setattr(run, "_finish", only_one)
        with pytest.raises(KeyboardInterrupt):
            resload.build(films8, tmp_path / "c.zarr", (32, 64), threads=1, progress=False)
    part = resload.open_cache(tmp_path / "c.zarr", partial=True)
    there = part.table["status"].eq("ok")
    assert 0 < there.sum() < len(part)
    data = pickle.dumps(part)
    resload.build(films8, tmp_path / "c.zarr", (32, 64), progress=False)
    again = pickle.loads(data)
    assert again.table["status"].tolist() == part.table["status"].tolist()
    assert np.array_equal(again.read(again.rows(), 32), part.read(part.rows(), 32))


@pytest.mark.slow
def test_into_spawned_processes(cache8):
    """concurrent.futures with spawned workers: whole and view, by the same path."""
    view = cache8.select(cache8.rows()[::2])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = [pool.submit(read_there, one, [2, 0, 4], 64) for one in (cache8, view)]
        for one, future in zip((cache8, view), found, strict=True):
            process, count, digest, columns, pixels = future.result(timeout=120)
            assert process != os.getpid()
            assert (count, digest, columns) == (len(one), one.digest, list(one.table))
            assert np.array_equal(pixels, one.read([2, 0, 4], 64))


def test_into_spawned_workers_of_a_data_loader(cache8):
    """torch's DataLoader: the data set takes the cache's path, its targets and its rows along."""
    dataset = torch_dataset(cache8, size=64, dtype=torch.uint8)
    assert len(pickle.dumps(dataset)) < 6000
    batches = list(DataLoader(dataset, batch_size=8, num_workers=1, multiprocessing_context="spawn"))
    images = torch.cat([images for images, _ in batches])
    assert np.array_equal(images[:, 0].numpy(), cache8.read(cache8.rows(), 64))
