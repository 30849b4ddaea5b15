"""The way to a device, run on the CPU by a bus that copies as late as a GPU may, and the caller's torch settings."""

import random
import time
from collections import deque

import numpy as np
import pytest
import torch
from loading import NumberReader, rows_of

import resload
from resload import Loader, transfer
from resload.devices import PlainBus, bus_to, onto, usable_device
from resload.errors import ArgumentError
from resload.samplers import Images, Mix, Sampler

POISON = 60000


class LateBus:
    """Copies are done in the order in which they were asked for, and none before somebody waits or luck has it.

    What has not been copied reads as POISON, and a copy takes whatever its host memory holds by then.
    """

    def __init__(self, luck=0.3, seed=0):
        self.luck, self.rng = luck, random.Random(seed)
        self.queue, self.log, self.blocks = deque(), [], 0

    def memory(self, size):
        self.blocks += 1
        return np.empty(size, np.uint8)

    def send(self, images):
        crossing = Late(self, images)
        self.queue.append(crossing)
        self.log.append("send")
        return crossing

    def handed(self):
        self.log.append("handed")

    def reach(self, crossing):
        while not crossing.copied:
            self.queue.popleft().copy()

    def finish(self):
        while self.queue:
            self.queue.popleft().copy()


class Late:
    """One copy of a LateBus."""

    def __init__(self, bus, images):
        self.bus, self.host, self.copied = bus, images, False
        self.there = torch.full(images.shape, POISON, dtype=torch.int32)

    def copy(self):
        self.there.copy_(torch.from_numpy(self.host.astype(np.int32)))
        self.copied = True

    def done(self):
        if not self.copied and self.bus.rng.random() < self.bus.luck:
            self.bus.reach(self)
        return self.copied

    def wait(self):
        self.bus.reach(self)

    def arrived(self):
        return self.there


@pytest.fixture
def late(monkeypatch):
    """Loaders of device="meta" whose images take a LateBus, and that bus."""
    bus = LateBus()
    monkeypatch.setattr("resload.making.bus_to", lambda device: bus)
    return bus


def loader_of(reader, **options):
    return Loader(
        reader, **{"size": 8, "batch_size": 4, "dtype": torch.uint16, "shuffle": True, "threads": 2, **options}
    )


def kept(loader):
    """The images of every batch, all kept."""
    return [batch.images for batch in loader]


def firsts(images):
    return [[int(image.flatten()[0]) for image in batch] for batch in images]


# -- the order of things --


@pytest.mark.parametrize("luck", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("grain", [1, 4, 64])
def test_a_block_is_filled_again_only_once_its_copy_is_done(late, luck, grain):
    """However late copies are done, each batch has its own films, over three epochs of kept batches."""
    late.luck = luck
    reader = NumberReader(90, grain=grain)
    loader, same = loader_of(reader, device="meta"), loader_of(NumberReader(90))
    found, expected = [], []
    for _ in range(3):
        found += kept(loader)
        expected += rows_of(same)
    late.finish()
    assert firsts(found) == expected
    assert all(bool((image == image.flatten()[0]).all()) for batch in found for image in batch)


@pytest.mark.parametrize("luck", [0.0, 1.0])
def test_page_locked_memory_is_used_again(late, luck):
    """Its blocks are as few as batches are under way, also where copies are done only once somebody waits for them."""
    late.luck = luck
    for _ in range(3):
        for batch in loader_of(NumberReader(400, grain=2), device="meta"):
            del batch
    under_way = 2 + 1 + transfer.KEPT_BLOCKS  # made ahead, being taken, crossing
    assert late.blocks <= 3 * under_way


def test_mixed_sizes_share_blocks(late):
    """A plan of three sizes over one bus: each image is whole and its own."""
    sampler = Sampler(120, sizes=Mix((8, 12, 16)), budget=Images(6), seed=4)
    options = {"sampler": sampler, "dtype": torch.uint16, "threads": 2}
    found = kept(Loader(NumberReader(120, grain=2), device="meta", **options))
    late.finish()
    assert firsts(found) == rows_of(Loader(NumberReader(120), **options))
    assert {tuple(images.shape[2:]) for images in found} == {(8, 8), (12, 12), (16, 16)}


def test_the_next_batch_crosses_while_this_one_is_worked_on(late):
    """Once a batch is handed out, the next is sent too when it is made by then."""
    batches = iter(loader_of(NumberReader(40, grain=4), device="meta", batch_size=4))
    for _ in range(2):
        next(batches)
        time.sleep(0.2)
    next(batches)
    assert late.log.count("send") >= 4
    assert late.log.count("handed") == 2


def test_the_bus_hears_of_every_batch_that_was_worked_on(late):
    """Also of those that are made together."""
    reader = NumberReader(60, grain=64)
    assert len(kept(loader_of(reader, device="meta"))) == late.log.count("handed") == 15
    assert late.log.count("send") < 15


def test_leaving_early_and_failing_films_leave_nothing_wrong(late):
    """break, then the error of one film, then a whole epoch, all from the same blocks."""
    reader = NumberReader(40)
    loader = loader_of(reader, device="meta", shuffle=False, batch_size=4)
    found = [images for images, _ in zip((batch.images for batch in loader), range(3), strict=False)]
    loader.close()
    reader.failing = {7}
    loader.set_epoch(0)
    batches = iter(loader)
    found.append(next(batches).images)
    with pytest.raises(RuntimeError, match="on fire"):
        next(batches)
    reader.failing = set()
    loader.set_epoch(0)
    found += kept(loader)
    late.finish()
    whole = rows_of(loader_of(NumberReader(40), shuffle=False))
    assert firsts(found) == [*whole[:3], whole[0], *whole]


def test_normalised_floats_are_made_of_what_arrived(monkeypatch):
    """The arithmetic of the device, of copies that are done: what the CPU's own loader gives."""
    monkeypatch.setattr("resload.making.bus_to", lambda device: PlainBus(torch.device("cpu")))
    options = {"dtype": torch.float32, "normalize": (0.4, 0.2), "channels": 3}
    for found, same in zip(
        kept(loader_of(NumberReader(30), device="meta", **options)),
        kept(loader_of(NumberReader(30), **options)),
        strict=True,
    ):
        torch.testing.assert_close(found, same)


# -- devices by name --


def test_a_plain_bus_copies_at_once():
    """What is sent does not change with the block."""
    bus = bus_to(torch.device("meta"))
    assert isinstance(bus, PlainBus)
    host = PlainBus(torch.device("cpu")).memory(8)
    host[:] = 1
    crossing = PlainBus(torch.device("cpu")).send(host)
    host[:] = 2
    assert crossing.done()
    assert crossing.arrived().tolist() == [1] * 8
    assert bus.send(host).arrived().device.type == "meta"


def test_small_tensors_stay_where_they_are():
    """No copy on the CPU; another device gets its own."""
    tensor = torch.arange(3)
    assert onto(tensor, "cpu") is tensor
    assert onto(tensor, torch.device("meta")).device.type == "meta"


def test_devices_that_are_not_there_are_refused(monkeypatch):
    """By name, by kind, and by number."""
    with pytest.raises(ArgumentError, match="not a device that torch knows"):
        usable_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ArgumentError, match="torch finds no CUDA device here"):
        usable_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert usable_device("cuda") == torch.device("cuda", 1)
    assert usable_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(ArgumentError, match="torch finds cuda:0 to cuda:1 here"):
        usable_device("cuda:2")


# -- the caller's settings --


@pytest.mark.parametrize("size", [64, 50])
@pytest.mark.parametrize("options", [{}, {"dtype": torch.uint16}, {"normalize": (0.5, 0.25), "channels": 3}])
def test_a_default_device_of_the_caller_changes_nothing(cache, size, options):
    """torch.set_default_device, as scripts for GPUs have it: a CPU loader's batches stay on the CPU."""
    plain = list(Loader(cache, size=size, batch_size=5, threads=2, **options))
    with torch.device("meta"):
        found = list(Loader(cache, size=size, batch_size=5, threads=2, **options))
    for one, other in zip(found, plain, strict=True):
        assert torch.equal(one.images, other.images)
        for name in ("targets", "known", "rows", "spacing", "content", "valid", "draws"):
            assert getattr(one, name).device.type == "cpu", name
        assert one.images.device.type == "cpu"


def test_a_default_dtype_and_autocast_of_the_caller_change_nothing(cache):
    """float64 by default, and bfloat16 by autocast: the batches are those of outside."""
    options = {"size": 50, "batch_size": 5, "normalize": (0.5, 0.25), "threads": 2}
    plain = kept(Loader(cache, **options))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = kept(Loader(resload.open_cache(cache.path), **options))
    finally:
        torch.set_default_dtype(before)
    assert all(torch.equal(one, other) and one.dtype == other.dtype for one, other in zip(found, plain, strict=True))
