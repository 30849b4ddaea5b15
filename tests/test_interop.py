"""`torch_dataset` inside torch's own DataLoader."""

import pickle
import random
import shutil

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from resload import Pipeline, Size, open_cache, torch_dataset
from resload.errors import ArgumentError, CorruptCacheError, SizeError, TruncatedFileError
from resload.interop import all_gathered
from resload.samplers import Fixed, Images, Key, Sampler
from resload.store import layout

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # machines of one core


def negative(image):
    """A transform that worker processes can import."""
    return 1 - image


def test_items_are_image_and_targets(cache):
    """dataset[i]: float32 (1, H, W) in [0, 1] and the row's targets; quarantined rows are not in it."""
    dataset = torch_dataset(cache, size=(48, 40))
    rows = cache.rows()
    assert len(dataset) == len(rows)
    pixels = cache.read(rows, (48, 40)) / 65535
    truth = cache.table[list(cache.targets)].to_numpy(np.float32)[rows]
    for i in range(len(dataset)):
        image, targets = dataset[i]
        assert (image.dtype, image.shape) == (torch.float32, (1, 48, 40))
        np.testing.assert_allclose(image[0], pixels[i], rtol=1e-6)
        np.testing.assert_array_equal(targets, truth[i])


def test_indices_are_places_in_it(cache):
    """Negative ones count from the end, numpy's and torch's work, others are IndexErrors; iteration ends."""
    dataset = torch_dataset(cache, size=32, split="val")
    assert torch.equal(dataset[-1][0], dataset[len(dataset) - 1][0])
    assert torch.equal(dataset[np.int64(2)][0], dataset[torch.tensor(2)][0])
    for index in (len(dataset), -len(dataset) - 1):
        with pytest.raises(IndexError, match=f"index {index} in a data set of {len(dataset)}"):
            dataset[index]
    assert len(list(dataset)) == len(dataset) == len(cache.rows(split="val"))


@pytest.mark.parametrize("dtype", [torch.uint16, torch.float16, torch.bfloat16])
def test_dtypes(cache, dtype):
    """dtype as for a Loader; a depth that would be lost is refused."""
    image, _ = torch_dataset(cache, size=32, dtype=dtype)[3]
    stored = cache.read(cache.rows()[3:4], 32)
    expected = stored if dtype == torch.uint16 else stored / 65535
    assert image.dtype == dtype
    np.testing.assert_allclose(image.double().numpy() if dtype != torch.uint16 else image.numpy(), expected, rtol=1e-2)
    with pytest.raises(ArgumentError, match="uint8 would lose depth"):
        torch_dataset(cache, size=32, dtype=torch.uint8)


def test_keys_bring_row_and_size(cache):
    """A Key is a row of the cache and its own size; a batch of keys has one size."""
    dataset = torch_dataset(cache, size=32, split="val")
    row = int(cache.rows(split="val")[1])
    image, targets = dataset[Key(row, Size(64, 64), 7)]
    np.testing.assert_allclose(image.numpy(), cache.read([row], 64) / 65535, rtol=1e-6)
    np.testing.assert_array_equal(targets, cache.table[list(cache.targets)].to_numpy(np.float32)[row])
    with pytest.raises(ArgumentError, match=r"one batch has one size; found keys of .*32x32.*64x64.*resload\.Loader"):
        dataset.__getitems__([0, Key(row, Size(64, 64), 7)])
    with pytest.raises(SizeError, match="70x70 is larger than what is stored"):
        dataset[Key(row, Size(70, 70), 7)]
    with pytest.raises(ArgumentError, match=r"a data set serves whole films; read parts with Cache.read\(region=\)"):
        dataset[Key(row, Size(64, 64), 7, region=(0, 0, 8, 8))]
    bad = int(np.flatnonzero(cache.table["status"] == "failed")[0])
    of_training = int(cache.rows(split="train")[0])
    for wrong in (bad, -2, len(cache), of_training):
        with pytest.raises(ArgumentError, match=rf"row {wrong} is none that this data set serves.*rows\(split="):
            dataset[Key(wrong, Size(64, 64), 7)]
    everything = torch_dataset(cache, size=32)
    image, _ = everything[Key(of_training, Size(32, 32), 7)]
    np.testing.assert_allclose(image.numpy(), cache.read([of_training], 32) / 65535, rtol=1e-6)
    with pytest.raises(ArgumentError, match=f"row {bad} is none"):
        everything[Key(bad, Size(64, 64), 7)]


@pytest.mark.parametrize("transform", [None, lambda image: 1 - image[:, 1:]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_is_zeros_and_unknown(cache, dtype, transform):
    """Keys of row -1, anywhere in a batch or alone: an image of zeros of the batch's size, targets NaN. A transform
    that changes the shape changes theirs too, so that batches can be collated."""
    dataset, size = torch_dataset(cache, size=32, dtype=dtype, transform=transform), Size(48, 40)
    rows = [-1, 3, 4, -1, -1, 7, -1]
    rows = [row if row < 0 else int(cache.rows()[row]) for row in rows]
    images, targets = zip(*dataset.__getitems__([Key(row, size, 5) for row in rows]), strict=True)
    truth = cache.table[list(cache.targets)].to_numpy(np.float32)
    for row, image, known in zip(rows, images, targets, strict=True):
        if row < 0:
            assert not image.any()
            assert known.isnan().all()
        else:
            assert image.any()
            np.testing.assert_array_equal(known, truth[row])
    assert len({image.shape for image in images}) == 1
    alone, unknown = dataset[Key(-1, size, 0)]
    assert not alone.any()
    assert unknown.isnan().all()


def drawing(image):
    """A transform that draws from every generator there is, as torchvision's and others' do."""
    noise = torch.rand(1).item() + np.random.rand() + random.random()  # noqa: NPY002
    return image + noise


@pytest.mark.parametrize("workers", [0, 2])
def test_transforms_of_keys_draw_what_the_key_says(cache, workers):
    """torch's, numpy's and random's generators are seeded by the key's draw: the same image whichever worker handles
    it, and in whatever state the process is. They are put back after; for ints they go on as they are."""
    sampler = Sampler(cache, sizes=Fixed(32), budget=Images(8), seed=3)
    dataset = torch_dataset(cache, size=32, transform=drawing)
    expected = [dataset.__getitems__(step.keys()) for step in sampler.steps(0)]
    torch.manual_seed(workers)
    loader = DataLoader(dataset, batch_sampler=sampler, num_workers=workers)
    for (images, _), pairs in zip(loader, expected, strict=True):
        assert torch.equal(images, torch.stack([image for image, _ in pairs]))
    key = next(iter(sampler.steps(0))).keys()[0]
    states = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # noqa: NPY002
    first, other = dataset[key][0], dataset[key._replace(draw=key.draw ^ 1)][0]
    assert not torch.equal(first, other)
    after = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # noqa: NPY002
    assert after == states
    place = cache.rows().tolist().index(key.index)
    assert not torch.equal(dataset[place][0], dataset[place][0])


@pytest.mark.parametrize("workers", [(0, None), (2, "fork"), (2, "spawn")])
@pytest.mark.slow
def test_a_dataloader_with_our_sampler(cache, workers):
    """Sampler as batch_sampler, in the main process or in forked or spawned workers: its steps, in their order, and
    the next epoch when it is iterated again. The data set is a view of a cache and travels by pickle."""
    count, context = workers
    view = cache.select(cache.rows()[::-1])
    sampler = Sampler(view, sizes=Fixed((48, 40)), budget=Images(8), seed=3)
    dataset = torch_dataset(view, size=32, transform=negative)
    loader = DataLoader(dataset, batch_sampler=sampler, num_workers=count, multiprocessing_context=context)
    truth = view.table[list(view.targets)].to_numpy(np.float32)
    assert len(loader) == len(sampler) == 4
    for epoch in range(1 if context == "spawn" else 2):
        steps = list(sampler.steps(epoch))
        for (images, targets), step in zip(loader, steps, strict=True):
            pixels = view.read(step.index, (48, 40))[:, None] / 65535
            np.testing.assert_allclose(images, 1 - pixels, atol=1e-6)
            np.testing.assert_array_equal(targets, truth[step.index])


def test_a_dataloader_of_its_own_order(cache8):
    """Plain batch_size and shuffle: every row once; uint8 as stored, collated."""
    dataset = torch_dataset(cache8, size=64, dtype=torch.uint8)
    images = torch.cat([images for images, _ in DataLoader(dataset, batch_size=5, shuffle=True)])
    expected = cache8.read(cache8.rows(), 64)
    assert sorted(image.numpy().tobytes() for image in images) == sorted(image.tobytes() for image in expected)


def first_of_a_worker(dataset):
    batches = iter(DataLoader(dataset, num_workers=1, multiprocessing_context="fork"))
    try:
        return next(batches)
    finally:
        batches._shutdown_workers()  # now: left to the garbage collector, torch waits 5 s for them


def test_a_failure_in_a_worker_names_the_file(cache8, films, tmp_path):
    """A damaged shard and an unreadable film raise what they raise here, with the path, also from a worker."""
    copy = tmp_path / "copy.zarr"
    shutil.copytree(cache8.path, copy)
    shard = copy / layout.shard_path(Size(64, 64), 0)
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    shard.write_bytes(data)
    damaged = torch_dataset(open_cache(copy), size=64)
    broken = films.select(films.table["id"].isin(cache8.quarantine["id"]).to_numpy())
    unreadable = torch_dataset(broken, size=32, pipeline=Pipeline(32, dtype="uint8"))
    for dataset, error, message in (
        (damaged, CorruptCacheError, f"{shard}: record 0"),
        (unreadable, TruncatedFileError, f"{broken.path(0)}: the PNG data ends early"),
    ):
        with pytest.raises(error, match=message):
            dataset[0]
        with pytest.raises(error, match=message):
            first_of_a_worker(dataset)


def test_a_catalog_works_too(films8, cache8):
    """From files, with pipeline=: the pixels of the cache, matched by id."""
    readable = films8.select(~films8.table["id"].isin(cache8.quarantine["id"]).to_numpy())
    dataset = torch_dataset(readable, size=(48, 40), pipeline=cache8.pipeline, dtype=torch.uint8)
    place = {name: row for row, name in enumerate(cache8.table["id"])}
    for i, name in enumerate(readable.table["id"]):
        assert np.array_equal(dataset[i][0].numpy(), cache8.read([place[name]], (48, 40)))


def test_it_pickles_small_and_whole(cache):
    """Pickled it is a path, a table and rows, not pixels; unpickled it serves the same."""
    dataset = torch_dataset(cache, size=64, split="train")
    dataset[0]
    data = pickle.dumps(dataset)
    assert len(data) < 40_000 < cache.read(cache.rows(), 64).nbytes
    again = pickle.loads(data)
    for (image, targets), (image2, targets2) in zip(dataset, again, strict=True):
        assert torch.equal(image, image2)
        torch.testing.assert_close(targets, targets2, equal_nan=True)


def test_data_without_targets(cache):
    """Targets of shape (0,)."""
    view = cache.select(cache.rows())
    view.targets = ()
    assert torch_dataset(view, size=32)[0][1].shape == (0,)


def test_impossible_arguments_are_refused(films, cache):
    """As a Loader refuses them."""
    with pytest.raises(SizeError, match="70x70 is larger than what is stored"):
        torch_dataset(cache, size=70)
    with pytest.raises(ArgumentError, match="a Catalog needs pipeline="):
        torch_dataset(films, size=32)
    with pytest.raises(ArgumentError, match="pipeline= and decode= go with a Catalog"):
        torch_dataset(cache, size=32, pipeline=Pipeline(32))
    with pytest.raises(ArgumentError, match="must be a Cache, a Catalog or a Reader; found str"):
        torch_dataset("films.zarr", size=32)
    with pytest.raises(ArgumentError, match="split='fold': there are"):
        torch_dataset(cache, size=32, split="fold")


def test_all_gathered_of_one_process():
    """Without a process group: the rows and values given, as new arrays; padding is left out."""
    given = np.array([4, -1, 5])
    rows, values = all_gathered(given, torch.tensor([0.5, 9.0, 0.25], requires_grad=True))
    assert (rows.tolist(), values.tolist()) == ([4, 5], [0.5, 0.25])
    assert (rows.dtype, values.dtype) == (np.int64, np.float32)
    rows[:] = 0
    assert given.tolist() == [4, -1, 5]
    assert [found.shape for found in all_gathered([], [])] == [(0,), (0,)]
    for wrong in ([0.5], [[0.5, 1.0]]):
        with pytest.raises(ArgumentError, match=r"rows and values must be \(n,\) each; found shapes \(2,\) and "):
            all_gathered([4, 5], wrong)
