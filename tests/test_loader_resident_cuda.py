"""Levels that stay in a card's memory. Reported as skipped where there is none; `test_resident.py` plays one."""

import gc
import logging

import pytest
import torch

import resload
from resload import Loader, open_cache
from resload.readers import CacheReader
from resload.residence.keepers import CudaKeeper, keeper_on

pytestmark = pytest.mark.gpu

LARGE = 1024
"""Pixels: 23 films of them are a piece of memory that torch's allocator keeps for nothing else (over 10 MB)."""


@pytest.fixture
def opened(cache):
    """`cache`, opened for this test alone."""
    return open_cache(cache.path)


@pytest.fixture(scope="module")
def large(films8, tmp_path_factory):
    """The path of `films8` at LARGE, uint8."""
    return resload.build(films8, tmp_path_factory.mktemp("large") / "c.zarr", LARGE, progress=False).path


@pytest.fixture(params=["together", "apart"])
def apart(request, monkeypatch):
    """Small batches are made several at a time, as they are; and each alone, as large ones are."""
    if request.param == "apart":
        monkeypatch.setattr("resload.making._TOGETHER_BYTES", 1)


@pytest.fixture
def reads(monkeypatch):
    """How many images any reader of a cache made, in pieces."""
    found, fill = [], CacheReader.fill

    def noted(self, slot, rows, size, start):
        found.append(len(rows))
        fill(self, slot, rows, size, start)

    monkeypatch.setattr(CacheReader, "fill", noted)
    return found


def loader_of(data, **options):
    return Loader(data, **{"size": 64, "batch_size": 7, "device": "cuda", "shuffle": True, "threads": 2, **options})


def bits(tensor):
    """Its bytes, on the CPU."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).cpu()


def same(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(bits(one), bits(other))


OPTIONS = [
    {"normalize": (0.4, 0.2), "channels": 3},
    {"dtype": torch.bfloat16},
    {"dtype": torch.uint16},
    {"dtype": torch.uint16, "channels": 3},
    {"size": 50},
    {"size": [64, 50, 32], "normalize": (0.4, 0.2)},
    {"size": 50, "dtype": torch.uint16},
    {"size": (40, 33)},
]


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_batches_are_those_that_travel(opened, options):
    """To the last bit, in three epochs, all kept."""
    found, plain = loader_of(opened, resident=True, **options), loader_of(opened, **options)
    kept = [(one, other) for _ in range(3) for one, other in zip(found, plain, strict=True)]
    torch.cuda.synchronize()
    for one, other in kept:
        assert one.ids == other.ids
        assert one.images.device.type == "cuda"
        assert same(one.images, other.images)
        assert all(same(images, other.scales[size]) for size, images in one.scales.items())
        torch.testing.assert_close(one.targets, other.targets, equal_nan=True)


@pytest.mark.parametrize("options", [{"dtype": torch.uint8, "channels": 3}, {"dtype": torch.uint16}, {}], ids=str)
def test_eight_bits_are_those_that_travel(cache8, options):
    """As stored, repeated, widened and as floats."""
    opened = open_cache(cache8.path)
    found, plain = loader_of(opened, resident=True, **options), loader_of(opened, **options)
    for _ in range(2):
        assert all(same(one.images, other.images) for one, other in zip(found, plain, strict=True))


@pytest.mark.parametrize("options", [{"normalize": (0.4, 0.2)}, {"dtype": torch.uint16, "channels": 3}], ids=str)
def test_padding_is_zeros(opened, options):
    """The last step of an evaluation over three processes."""
    options = {"batch_size": 2, "rows": opened.rows()[:7], "rank": 1, "world": 3, **options}
    found, plain = loader_of(opened, resident=True, **options), loader_of(opened, **options)
    empty = []
    for one, other in zip(found, plain, strict=True):
        assert same(one.images, other.images)
        empty += [image for image, valid in zip(one.images, one.valid.tolist(), strict=True) if not valid]
    assert len(empty) > 0
    assert not any(bits(image).any() for image in empty)


def test_each_record_is_read_and_sent_once(opened, reads):
    """Train, then all of them in another order and view: nothing that is there is read again."""
    train = loader_of(opened, resident=True, split="train")
    for _ in range(2):
        for _ in train:
            pass
    assert sum(reads) == len(opened.rows(split="train"))
    view = opened.select(opened.rows()[::-1])
    for batch in (both := loader_of(view, resident=True, dtype=torch.uint16)):
        expected = view.read(batch.rows.tolist(), 64)
        assert (batch.images.cpu().numpy()[:, 0] == expected).all()
    assert sum(reads) == len(opened.rows())
    assert [residence.holders for residence in opened.residences._here.values()] == [2]
    del both


# -- streams --


@pytest.mark.parametrize("behind", [0, 1])
def test_a_stream_waits_for_what_another_one_puts(opened, reads, behind):
    """Two loaders in turn, each on a stream of its own, one of them busy: both get their films."""
    options = {"shuffle": False, "batch_size": 4, "dtype": torch.uint16, "resident": True, "threads": 1}
    streams = [torch.cuda.Stream() for _ in range(2)]
    ballast = torch.randn(4096, 4096, device="cuda")
    torch.cuda.synchronize()
    found = [[], []]
    runs = [iter(loader_of(opened, **options)) for _ in range(2)]
    for _ in range(len(opened.rows()) // 4):
        for number, (stream, run) in enumerate(zip(streams, runs, strict=True)):
            with torch.cuda.stream(stream):
                if number == behind:
                    for _ in range(20):
                        ballast = (ballast @ ballast).tanh()
                found[number].append(next(run).images)
    torch.cuda.synchronize()
    expected = opened.read(opened.rows(), 64)
    for images in found:
        together = torch.cat([one.view(torch.int16) for one in images]).view(torch.uint16).cpu().numpy()[:, 0]
        assert (together == expected[: len(together)]).all()


def test_a_loader_that_is_dropped_while_the_device_works(opened):
    """What is queued still reads its own films, though their memory is let go of and used by others at once."""
    expected = opened.read(opened.rows(), 64).view("int16").astype("int64").sum(axis=(1, 2)).tolist()
    ballast, stream, found = torch.randn(4096, 4096, device="cuda"), torch.cuda.Stream(), []
    torch.cuda.synchronize()
    for _ in range(3):
        loader = loader_of(opened, resident=True, shuffle=False, dtype=torch.uint16, threads=1)
        with torch.cuda.stream(stream):
            for _ in range(5):
                ballast = (ballast @ ballast).tanh()
            found.append([batch.images.view(torch.int16).to(torch.int64).sum((1, 2, 3)) for batch in loader])
        del loader
        torch.full((len(opened), 64 * 64), 7, dtype=torch.int16, device="cuda")
    torch.cuda.synchronize()
    for sums in found:
        assert torch.cat(sums).tolist() == expected


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize(
    "options",
    [
        {"normalize": (0.4, 0.2), "channels": 3},
        {"dtype": torch.uint16, "channels": 3},
        {"size": [64, 50]},
        {"batch_size": 2, "rows": [0, 1, 2, 3, 4, 5, 6], "rank": 1, "world": 3, "dtype": torch.uint16},
    ],
    ids=str,
)
def test_nothing_waits_for_the_device(opened, reads, options):
    """In the first epoch, which fills it, and in the second, which reads nothing: torch refuses what would wait."""
    loader = loader_of(opened, resident=True, shuffle=False, **options)
    for _ in loader:  # constants are brought to the device once
        pass
    loader.close()
    reads.clear()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in loader:
            pass
        filled = sum(reads)
        for batch in loader:
            assert batch.targets.device == batch.rows.device == batch.images.device
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sum(reads) == filled > 0


def test_a_caller_in_inference_mode_leaves_memory_that_others_can_use(opened, monkeypatch):
    """A validation loop in torch.inference_mode comes first; training puts its films to the rest."""
    monkeypatch.setattr("resload.making._TOGETHER_BYTES", 1)
    val, train = loader_of(opened, resident=True, split="val"), loader_of(opened, resident=True, split="train")
    with torch.inference_mode():
        for _ in val:
            pass
    for one, other in zip(train, loader_of(opened, split="train"), strict=True):
        assert same(one.images, other.images)


# -- memory --


def needed_of(cache):
    return len(cache) * LARGE * LARGE


def given_back(large, end):
    """Bytes that torch, and the driver, have back after `end(loader)`."""
    cache = open_cache(large)
    gc.collect()
    torch.cuda.empty_cache()  # else what stays might be a part of a larger piece
    loader = loader_of(cache, size=LARGE, dtype=torch.uint8, batch_size=2, resident=True)
    for _ in loader:
        pass
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # of batches and copies
    reserved, (free, _) = torch.cuda.memory_reserved(), torch.cuda.mem_get_info()
    end(loader)
    del loader
    gc.collect()
    assert cache.residences._here == {}
    return reserved - torch.cuda.memory_reserved(), torch.cuda.mem_get_info()[0] - free


@pytest.mark.parametrize("end", [Loader.close, lambda loader: None], ids=["close", "dropped"])
def test_memory_goes_back_to_the_driver(large, end):
    """All of it, by close or when the loader is gone, for other processes to have."""
    ours, drivers = given_back(large, end)
    assert ours >= needed_of(open_cache(large))
    assert drivers >= needed_of(open_cache(large)) // 2  # others may have come meanwhile


def test_one_copy_for_two_loaders(large):
    """A second loader takes no memory for what is there; the last one to be closed gives it back."""
    cache = open_cache(large)
    options = {"size": LARGE, "dtype": torch.uint8, "batch_size": 2, "resident": True}
    first, second = loader_of(cache, **options), loader_of(cache, **options)
    for _ in first:
        pass
    before = torch.cuda.memory_allocated()
    for _ in second:
        pass
    assert torch.cuda.memory_allocated() < before + needed_of(cache) // 2
    first.close()
    assert torch.cuda.memory_allocated() >= needed_of(cache)
    held = torch.cuda.memory_allocated()
    second.close()
    assert torch.cuda.memory_allocated() <= held - needed_of(cache)


@pytest.mark.parametrize("real", [False, True])
def test_a_level_that_does_not_fit_travels(opened, monkeypatch, caplog, real):
    """Because the device is full by its own account, or because torch then finds no room: one warning, no error."""
    if real:
        room = CudaKeeper.room
        monkeypatch.setattr(CudaKeeper, "room", lambda self, shape, dtype: room(self, (1 << 30, 1 << 20), dtype))
    else:
        monkeypatch.setattr(CudaKeeper, "free", lambda self: (16 << 30, 80 << 30))
    with caplog.at_level(logging.WARNING, logger="resload"):
        found, plain = loader_of(opened, resident=True), loader_of(opened)
        for _ in range(2):
            assert all(same(one.images, other.images) for one, other in zip(found, plain, strict=True))
    (record,) = caplog.records
    assert "40 images of 64x64 take 0.33 MB on cuda:" in record.message
    assert ("torch finds no such piece" if real else "17.2 GB of 85.9 GB are free") in record.message


def test_what_is_free_counts_what_torch_has_and_does_not_use():
    """Memory that torch caches is as good as the driver's."""
    keeper = keeper_on(torch.device("cuda", torch.cuda.current_device()))
    torch.cuda.empty_cache()
    before, total = keeper.free()
    cached = torch.empty(512 << 20, dtype=torch.uint8, device="cuda")
    assert abs(before - keeper.free()[0] - (512 << 20)) < 64 << 20
    del cached
    assert abs(before - keeper.free()[0]) < 64 << 20
    assert 0 < before <= total
