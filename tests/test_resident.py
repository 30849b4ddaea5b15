"""Loaders whose levels stay on a device: the same batches, each record read once, shared, and given back.

The device is played on the CPU: by `late.Streams`, whose work is done in any order that streams and events allow, or by
one that does everything at once.
"""

import gc
import logging
import pickle
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from late import LateKeeper, Streams
from loading import damaged
from test_native import NATIVE, written

import resload
from resload import Loader, Size, open_cache
from resload.devices import PlainBus
from resload.errors import ArgumentError, CorruptCacheError
from resload.masks.runs import encode_runs
from resload.readers import CacheReader, ResidentReader
from resload.residence import Holds, Residence, Residences
from resload.residence.keepers import PlainKeeper, keeper_on
from resload.samplers import Fixed, Images, Mix, Sampler, Stages, Weighted

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture(params=["together", "apart"])
def apart(request, monkeypatch):
    """Small batches are made several at a time, as they are; and each alone, as large ones are."""
    if request.param == "apart":
        monkeypatch.setattr("resload.making._TOGETHER_BYTES", 1)


@pytest.fixture
def near(apart, monkeypatch):
    """Loaders of device="meta" whose batches end on the CPU, everything done at once."""
    monkeypatch.setattr("resload.making.bus_to", lambda device: PlainBus(CPU))
    monkeypatch.setattr("resload.residence.sharing.keeper_on", lambda device: PlainKeeper(CPU))
    for module in ("making", "particulars"):
        monkeypatch.setattr(f"resload.{module}.onto", lambda tensor, device: tensor)


@pytest.fixture
def streams(apart, monkeypatch):
    """Loaders of device="meta" on late streams, and these."""
    found = Streams()
    monkeypatch.setattr("resload.making.bus_to", found.bus_to)
    monkeypatch.setattr("resload.residence.sharing.keeper_on", found.keeper_on)
    return found


@pytest.fixture
def reads(monkeypatch):
    """(row, size) of every image that any reader of a cache makes."""
    found, lock, fill = [], threading.Lock(), CacheReader.fill

    def noted(self, slot, rows, size, start):
        with lock:
            found.extend((int(row), size) for row in self.cache.stored_rows(rows))
        fill(self, slot, rows, size, start)

    monkeypatch.setattr(CacheReader, "fill", noted)
    return found


@pytest.fixture
def opened(cache):
    """`cache`, opened for this test alone."""
    return open_cache(cache.path)


@pytest.fixture
def opened8(cache8):
    return open_cache(cache8.path)


def loader_of(data, **options):
    return Loader(data, **{"size": 64, "batch_size": 7, "threads": 2, "device": "meta", "shuffle": True, **options})


def resident(data, **options):
    return loader_of(data, resident=True, **options)


def same(found, expected):
    """Whether two batches say the same in every field."""
    assert found.ids == expected.ids
    assert (found.size, found.level, found.expected_rmse) == (expected.size, expected.level, expected.expected_rmse)
    assert list(found.scales) == list(expected.scales)
    for name in ("images", "targets", "known", "rows", "spacing", "content", "valid", "draws"):
        equal(getattr(found, name), getattr(expected, name), name)
    for size, images in found.scales.items():
        equal(images, expected.scales[size], size)
    if expected.masks is not None:
        equal(found.masks, expected.masks, "masks")
        equal(found.masks_known, expected.masks_known, "masks_known")
    for one, other in zip(found.boxes or (), expected.boxes or (), strict=True):
        equal(one, other, "boxes")


def equal(one, other, what):
    assert one.dtype == other.dtype, what
    assert np.array_equal(bits(one), bits(other)), what


def bits(tensor):
    """Its bytes, C-contiguous."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()


def all_same(found, expected, epochs=2):
    for _ in range(epochs):
        for one, other in zip(found, expected, strict=True):
            same(one, other)


# -- the same batches --

OPTIONS = [
    {},
    {"normalize": (0.4, 0.2), "channels": 3},
    {"dtype": torch.bfloat16, "normalize": "dataset"},
    {"dtype": torch.uint16},
    {"dtype": torch.uint16, "channels": 3},
    {"size": 50},
    {"size": (40, 33), "normalize": (0.4, 0.2)},
    {"size": 50, "dtype": torch.uint16, "channels": 2},
    {"size": [64, 32, 50]},
    {"size": 80, "allow_upsample": True},
    {"split": "train", "columns": ("view",), "boxes": True},
    {"rows": [3, 9, 4, 22, 5], "batch_size": 2, "drop_last": True},
    {"batch_size": 1, "threads": 1},
    {"batch_size": 3, "threads": 3, "prefetch": 1, "shuffle": False},
]


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_batches_are_the_same(opened, options):
    """To the last bit and in every field, while the device is filled and after."""
    all_same(resident(opened, **options), loader_of(opened, **options))


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize(
    "options",
    [{"dtype": torch.uint8}, {"dtype": torch.uint8, "channels": 3, "size": 50}, {"dtype": torch.uint16}],
    ids=str,
)
def test_batches_of_eight_bits_are_the_same(opened8, options):
    """As stored, repeated along channels, and widened to sixteen bits."""
    all_same(resident(opened8, **options), loader_of(opened8, **options))


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize(
    "options",
    [{"normalize": (0.4, 0.2)}, {"dtype": torch.uint16, "channels": 3}, {"size": [50, 64]}, {"dtype": torch.uint16}],
    ids=str,
)
def test_padding_is_zeros(opened, reads, rank, options):
    """The last step of an evaluation over three processes: places without a film are zeros, in every dtype, and nobody
    reads a film for them.
    """
    options = {"batch_size": 2, "rows": opened.rows()[:7], "rank": rank, "world": 3, **options}
    found, expected = resident(opened, **options), loader_of(opened, **options)
    mine = {row for batch in found for row in batch.rows.tolist()} - {-1}
    assert {row for row, _ in reads} == mine
    all_same(found, iter_from(expected, 1))
    empty = [image for batch in found for image, valid in zip(batch.images, batch.valid, strict=True) if not valid]
    assert (len(empty) > 0) == (rank > 0)
    assert not any(bits(image).any() for image in empty)


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize("masks", [True, "any"])
def test_masks_come_with_images_that_stay(tmp_path, masks):
    """For every film of every epoch, and for padding."""
    catalog, truth = written(tmp_path / "films", [(80, 70)] * 7)
    inside = np.zeros((80, 70), bool)
    rows = []
    for number, name in enumerate(truth):
        inside[:] = False
        inside[number : 9 * number + 9, 10:30] = True
        rows.append({"id": name, "label": "lung", "rle": encode_runs(inside)})
    catalog = resload.Catalog(catalog.table, masks=pd.DataFrame(rows), root=catalog.root)
    cache = resload.build(catalog, tmp_path / "c.zarr", (32, 64), progress=False)
    for options in ({"size": 64}, {"size": 64, "batch_size": 2, "rank": 1, "world": 3}):
        all_same(resident(cache, masks=masks, **options), loader_of(cache, masks=masks, **options))


@pytest.mark.usefixtures("near")
def test_films_at_their_own_size_travel_as_ever(tmp_path, caplog, reads):
    """Beside a size that stays, and alone; it is said once. Sizes that are made of them stay."""
    catalog, _ = written(tmp_path / "films")
    cache = resload.build(catalog, tmp_path / "c.zarr", (32, "native"), progress=False)
    with caplog.at_level(logging.INFO, logger="resload"):
        for options in ({"size": [32, "native"]}, {"size": "native"}, {"size": ["native", 30]}):
            reads.clear()
            caplog.clear()
            loader = resident(cache, batch_size=2, **options)
            all_same(loader, loader_of(cache, batch_size=2, **options))
            assert [r.message for r in caplog.records if "own size are not kept" in r.message] == [caplog.messages[0]]
            assert sum(size == NATIVE for _, size in reads) == 4 * len(cache)
            assert sum(size != NATIVE for _, size in reads) in (
                0,
                3 * len(cache),
            )  # two epochs of the other's, one here
            loader.close()


@pytest.mark.usefixtures("near")
def test_a_caller_in_inference_mode_leaves_memory_that_others_can_use(opened):
    """An epoch half in torch.inference_mode, the rest outside of it: what stays can still be written to."""
    loader, plain = resident(opened), loader_of(opened)
    with torch.inference_mode():
        for _, batch in zip(range(2), loader, strict=False):
            assert batch.images.is_inference()
    all_same(loader, iter_from(plain, 1), epochs=1)


def iter_from(loader, epoch):
    loader.set_epoch(epoch)
    return loader


def test_a_device_without_streams_is_filled_too(opened, reads):
    """The meta device itself, by the keeper that resload chooses."""
    assert isinstance(keeper_on(META), PlainKeeper)
    loader = resident(opened, dtype=torch.uint16)
    for _ in range(2):
        shapes = [(batch.images.device.type, batch.images.dtype, tuple(batch.images.shape[1:])) for batch in loader]
        assert set(shapes) == {("meta", torch.uint16, (1, 64, 64))}
    assert len(reads) == len(opened.rows())
    loader.close()
    keeper = PlainKeeper(CPU)
    assert keeper.free() is None
    keeper.give_back()


# -- each record once --


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize(
    "options", [{}, {"size": [64, 32]}, {"size": [50, 64]}, {"batch_size": 4, "threads": 1}], ids=str
)
def test_each_record_is_read_once(opened, reads, options):
    """In three epochs; several sizes from one level too."""
    loader = resident(opened, **options)
    for _ in range(3):
        for _ in loader:
            pass
    levels = {loader.reader.before_resize(size) for size in loader._sizes}
    assert sorted(reads) == sorted((row, size) for row in opened.rows().tolist() for size in levels)


@pytest.mark.usefixtures("near")
def test_repeats_are_read_once_in_a_batch(opened, reads):
    """A weighted sampler asks for films again and again: later batches have them, one batch asks once."""
    weights = np.where(np.arange(len(opened)) % 3 == 0, 8.0, 1.0)
    sampler = Sampler(opened, rows=opened.rows(), order=Weighted(weights), sizes=Fixed(64), budget=Images(30), seed=2)
    options = {"sampler": sampler, "size": None, "batch_size": None, "shuffle": False}
    loader, plain = resident(opened, **options), loader_of(opened, device="cpu", **options)
    run = iter(loader)
    first = next(run)
    assert len(set(first.ids)) < len(first.ids)
    run.close()
    assert sorted(reads) == sorted(set(reads))
    all_same(loader, iter_from(plain, 1), epochs=3)


@pytest.mark.usefixtures("near")
def test_sizes_stay_from_the_epoch_in_which_they_are_reached(opened, reads):
    """Stages: a level takes room when the plan comes to it, no sooner."""
    sampler = Sampler(opened, rows=opened.rows(), sizes=Stages((32, 1), (64, 2)), budget=Images(8))
    options = {"sampler": sampler, "size": None, "batch_size": None, "shuffle": False}
    loader, plain = resident(opened, **options), loader_of(opened, **options)
    held = loader.reader.cache.residences._here
    for sizes in ([32], [32, 64], [32, 64]):
        all_same(loader, plain, epochs=1)
        assert sorted(pixels.size for pixels in held) == [Size(size, size) for size in sizes]
    used = sum(len(step) for epoch in range(3) for step in sampler.steps(epoch))
    assert len(reads) <= used + 2 * len(opened.rows())


@pytest.mark.usefixtures("near")
def test_a_mix_of_sizes(opened):
    """Sizes that change from batch to batch, two of which are made of one level."""
    sampler = Sampler(opened, rows=opened.rows(), sizes=Mix((32, 50, 64)), budget=Images(6), seed=4)
    options = {"sampler": sampler, "size": None, "batch_size": None, "shuffle": False}
    all_same(resident(opened, **options), loader_of(opened, **options), epochs=4)


@pytest.mark.usefixtures("near")
def test_storage_hears_only_of_what_is_missing(opened, monkeypatch):
    """Before the first epoch of everything, then of nothing; of a loader with more rows, of those that are new."""
    told, swept = [], []
    monkeypatch.setattr(CacheReader, "ahead", lambda self, rows, size: told.extend(rows.tolist()) or len(rows) * 4096)
    monkeypatch.setattr(CacheReader, "sweep", lambda self, rows, sizes: swept.append((rows.tolist(), sizes)))
    rows = opened.rows()
    first = resident(opened, rows=rows[:20])
    for _ in first:
        pass
    assert sorted(told) == rows[:20].tolist()
    assert [(sorted(rows), sizes) for rows, sizes in swept] == [(rows[:20].tolist(), [Size(64, 64)])]
    told.clear(), swept.clear()
    for _ in first:
        pass
    assert told == swept == []
    for _ in resident(opened, rows=rows[10:]):
        pass
    assert sorted(told) == swept[0][0] == rows[20:].tolist()


# -- as late as a device may be --


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("luck", [0.0, 0.4])
def test_a_late_device_gathers_what_it_was_sent(streams, opened, reads, seed, luck):
    """Three epochs of kept batches; whatever the device does first, each has its own films."""
    streams.rng.seed(seed)
    streams.luck = luck
    options = {"dtype": torch.uint16, "batch_size": 4, "threads": 2}
    loader = resident(opened, **options)
    found = [batch.images for _ in range(3) for batch in loader]
    assert len(reads) == len(opened.rows())
    streams.finish()
    plain = loader_of(opened, device="cpu", **options)
    for one, other in zip(found, (batch.images for _ in range(3) for batch in plain), strict=True):
        equal(one, other, "images")


def interleaved(streams, opened, seed):
    """Whether two loaders, in turn on two streams of the caller, got the films that they should."""
    streams.rng.seed(seed)
    options = {"dtype": torch.uint16, "batch_size": 4, "threads": 1, "prefetch": 1}
    loaders = [resident(opened, **options, seed=seed) for seed in range(2)]
    plain = [loader_of(opened, device="cpu", **options, seed=seed) for seed in range(2)]
    found, expected = [], [batch.images for _ in range(2) for both in zip(*plain, strict=True) for batch in both]
    for _ in range(2):
        runs = [iter(loader) for loader in loaders]
        for _ in range(len(loaders[0])):
            for stream, run in enumerate(runs):
                with streams.on(f"caller's {stream}"):
                    found.append(next(run).images)
        for run in runs:
            run.close()
    streams.finish()
    return all(np.array_equal(bits(one), bits(other)) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("seed", range(12))
def test_streams_wait_for_what_others_put(streams, opened, seed):
    """Two loaders share a level, each on a stream of its own: what one brought, the other takes once it is there."""
    assert interleaved(streams, opened, seed)


def test_the_late_device_would_show_a_stream_that_does_not_wait(streams, opened, monkeypatch):
    """Without the wait between streams films are missing: the test above can fail."""
    monkeypatch.setattr(LateKeeper, "after", lambda self, mark: None)
    assert not all(interleaved(streams, opened, seed) for seed in range(4))


def test_an_order_that_is_dropped_leaves_nothing_marked(streams, opened):
    """break while batches are made and sent ahead: what was never put is read again."""
    options = {"dtype": torch.uint16, "batch_size": 4, "threads": 2, "prefetch": 3}
    loader, plain = resident(opened, **options), loader_of(opened, device="cpu", **options)
    found, expected = [], []
    for _ in range(4):
        found += [batch.images for batch, _ in zip(loader, range(3), strict=False)]
        expected += [batch.images for batch, _ in zip(plain, range(3), strict=False)]
    for _ in range(2):
        found += [batch.images for batch in loader]
        expected += [batch.images for batch in plain]
    streams.finish()
    for one, other in zip(found, expected, strict=True):
        equal(one, other, "images")


# -- failures, positions --


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize("size", [(64, 64), (512, 400)])
def test_a_damaged_record_is_named_and_the_rest_is_served(films8, tmp_path, size):
    """In every epoch, also where batches are made together; the films before it come, and those of the next epoch."""
    built = resload.build(films8, tmp_path / "c.zarr", [(64, 64), (512, 400)], progress=False)
    shard = damaged(built, size)
    cache = open_cache(built.path)
    loader = resident(cache, size=size, batch_size=2, shuffle=False)
    for _ in range(3):
        loader.set_epoch(0)
        found = []
        with pytest.raises(CorruptCacheError, match=rf"{shard}: record 3 \(row 3\) is damaged"):
            found += [batch.rows.tolist() for batch in loader]
        run = iter(loader)
        assert next(run).rows.tolist() == cache.rows()[:2].tolist()
        run.close()
    sound = cache.rows()[cache.rows() != 3]
    all_same(
        resident(cache, size=size, batch_size=2, rows=sound), loader_of(cache, size=size, batch_size=2, rows=sound)
    )


@pytest.mark.usefixtures("near")
def test_positions_are_those_of_other_loaders(opened):
    """state_dict in the middle of an epoch, loaded by a loader of the other kind, both ways."""
    kinds = [resident, loader_of]
    for first, second in (kinds, kinds[::-1]):
        one, other = first(opened), second(opened)
        for _ in zip(one, range(2), strict=False):
            pass
        assert len(one) == len(other)
        state = one.state_dict()
        one.load_state_dict(state)
        other.load_state_dict(state)
        assert other.state_dict() == one.state_dict() == state
        for found, expected in zip(other, one, strict=True):
            same(found, expected)


# -- sharing, and giving back --


def held(cache):
    return [(str(pixels.size), residence.holders) for pixels, residence in cache.residences._here.items()]


@pytest.mark.usefixtures("near")
def test_train_and_val_share_one_copy(opened, reads):
    """A second loader, of a view in another order with other targets, reads what is new and nothing else."""
    train = resident(opened, split="train")
    for _ in train:
        pass
    mine = len(reads)
    assert mine == len(opened.rows(split="train"))
    view = opened.with_table(opened.table[["id"]].assign(answer=1.0), targets=["answer"]).select(opened.rows()[::-1])
    both = resident(view)
    for batch, expected in zip(both, loader_of(view, device="cpu"), strict=True):
        same(batch, expected)
    assert held(opened) == [("64x64", 2)]
    assert len(reads) == mine + len(opened.rows()) + (len(opened.rows()) - mine)  # the CPU's epoch, and what was new
    train.close()
    assert held(opened) == [("64x64", 1)]
    both.close()
    assert held(opened) == []


@pytest.mark.usefixtures("near")
def test_floats_and_integers_share_a_stored_level_and_no_other(opened, reads):
    """A stored size is one copy for all dtypes; another size is made on the device of floats alone."""
    loaders = [resident(opened, **options) for options in ({}, {"dtype": torch.uint16, "channels": 3}, {"size": 60})]
    assert [len(list(loader)) for loader in loaders] == [len(loaders[0])] * 3
    assert held(opened) == [("64x64", 3)]
    assert len(reads) == len(opened.rows())
    loaders.append(resident(opened, size=60, dtype=torch.uint16))
    assert len(list(loaders[-1])) == len(loaders[0])
    assert held(opened) == [("64x64", 3), ("60x60", 1)]
    assert len(reads) == 2 * len(opened.rows())


def test_memory_is_given_back_once(streams, opened):
    """By close, by leaving a `with`, and by dropping the loader, when nobody else holds it; batches hold nothing."""
    with resident(opened, dtype=torch.uint16) as one:
        kept = next(iter(one))
        other = resident(opened, dtype=torch.uint16)
        next(iter(other))
        assert held(opened) == [("64x64", 2)]
    assert streams.given_back == 0
    other.close()
    other.close()
    assert held(opened) == []
    assert streams.given_back == 1
    next(iter(other))
    assert held(opened) == [("64x64", 1)]
    del other
    gc.collect()
    assert held(opened) == []
    assert streams.given_back == 2
    assert kept.images.shape == (7, 1, 64, 64)


def test_a_loader_that_was_closed_fills_again(streams, opened, reads):
    """From nothing, and with the same batches."""
    loader, plain = resident(opened, dtype=torch.uint16), loader_of(opened, dtype=torch.uint16, device="cpu")
    found = [batch.images for batch in loader]
    loader.close()
    assert len(reads) == len(opened.rows())
    found += [batch.images for batch in loader]
    assert len(reads) == 2 * len(opened.rows())
    streams.finish()
    for one, other in zip(found, (batch.images for _ in range(2) for batch in plain), strict=True):
        equal(one, other, "images")


def test_letting_go_while_another_takes_waits_for_it(monkeypatch):
    """Garbage collection may end a loader in the middle of another one's first step, on the same thread."""
    residences = Residences(5, np.dtype(np.uint8))
    first, second = (Holds(residences, META) for _ in range(2))
    first.take(Size(4, 4), None)

    class Interrupted(PlainKeeper):
        def room(self, shape, dtype):
            first.release()
            return super().room(shape, dtype)

    monkeypatch.setattr("resload.residence.sharing.keeper_on", Interrupted)
    assert second.take(Size(8, 8), None) is not None
    assert [pixels.size for pixels in residences._here] == [Size(8, 8)]
    second.release()
    assert residences._here == {}


@pytest.mark.usefixtures("near")
def test_loaders_on_several_threads_share(opened):
    """Four threads, each with a loader of its own that is closed and used again, over one opened cache."""
    expected = [batch.images for batch in loader_of(opened, device="cpu", shuffle=False)]
    wrong = []

    def work(number):
        try:
            for _ in range(6):
                loader = resident(opened, shuffle=False, threads=1 + number % 2)
                found = [batch.images for batch in loader]
                wrong.extend(1 for one, other in zip(found, expected, strict=True) if not torch.equal(one, other))
                if number % 2:
                    loader.close()
        except BaseException as exc:
            wrong.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert wrong == []
    assert held(opened) == []


# -- where it does not fit --


class Small(PlainKeeper):
    """A device of 1 MB, of which so much is free."""

    free_bytes = 0

    def __init__(self, device):
        super().__init__(CPU)

    def free(self):
        return self.free_bytes, 1_000_000


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize(("spare", "fits"), [(-1, False), (0, True)])
def test_it_fits_or_it_is_said_once(opened, monkeypatch, caplog, reads, spare, fits):
    """A fifth of the device is left to the model; a byte more is refused, with the numbers, and batches travel."""
    needed = len(opened) * 64 * 64 * 2
    monkeypatch.setattr(Small, "free_bytes", needed + 200_000 + spare)
    monkeypatch.setattr("resload.residence.sharing.keeper_on", Small)
    loader = resident(opened)
    all_same(loader, loader_of(opened))
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert said == [] if fits else len(said) == 1
    assert len(reads) == (3 if fits else 4) * len(opened.rows())
    if not fits:
        assert "40 images of 64x64 take 0.33 MB on meta, where 0.53 MB of 1.00 MB are free and 20 % of all" in said[0]
        assert "Ask for a smaller size, or leave resident= out" in said[0]
        loader.close()
        monkeypatch.setattr(Small, "free_bytes", needed + 200_000)
        all_same(loader, iter_from(loader_of(opened), 2))
        assert held(opened) == [("64x64", 1)]


@pytest.mark.usefixtures("near")
def test_a_level_that_does_not_fit_leaves_the_others(opened, monkeypatch, caplog):
    """32 stays, 64 travels, in one batch, with padding."""
    monkeypatch.setattr(Small, "free_bytes", len(opened) * 32 * 32 * 2 + 200_000)
    monkeypatch.setattr("resload.residence.sharing.keeper_on", Small)
    for options in ({}, {"dtype": torch.uint16}, {"rows": opened.rows()[:7], "batch_size": 2, "rank": 1, "world": 3}):
        loader = resident(opened, size=[64, 32], **options)
        all_same(loader, loader_of(opened, size=[64, 32], **options))
        assert held(opened) == [("32x32", 1)]
        loader.close()
    assert len(caplog.records) == 3


@pytest.mark.usefixtures("near")
def test_memory_that_is_out_is_no_error(opened, monkeypatch, caplog):
    """Where torch finds no room for what should fit: the same warning, and batches travel."""

    class Full(PlainKeeper):
        def room(self, shape, dtype):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("resload.residence.sharing.keeper_on", lambda device: Full(CPU))
    all_same(resident(opened), loader_of(opened))
    assert len(caplog.records) == 1
    assert "on meta, where torch finds no such piece of memory free and 20 %" in caplog.records[0].message


# -- what cannot stay --


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu"}, r'device= is the CPU: open_cache\(path, access="memory"\)'),
        ({"transform": lambda sample: None}, "use batch_transform="),
        ({"detail": 32}, "found detail="),
        ({"pipeline": resload.Pipeline(32)}, "without pipeline= and decode= here"),
        ({"decode": "dali"}, "without pipeline= and decode= here"),
    ],
)
def test_what_cannot_stay_is_refused(opened, options, message):
    """With the way that leads there."""
    with pytest.raises(ArgumentError, match=message):
        resident(opened, **options)


def test_data_that_is_no_cache_is_refused(films8, cache8):
    """Files are decoded anew, and a reader of somebody's own has no levels."""
    with pytest.raises(ArgumentError, match=r"found Catalog: resload\.build makes a cache"):
        resident(films8, pipeline=resload.Pipeline(64))
    with pytest.raises(ArgumentError, match="found CacheReader"):
        resident(CacheReader(cache8))
    with pytest.raises(ArgumentError, match="larger than what is stored"):
        resident(cache8, size=4096)


@pytest.mark.usefixtures("near")
def test_batch_transform_sees_batches_that_are_its_own(opened):
    """What it writes into images does not change what stays."""

    def blacken(batch):
        kept = batch.images.clone()
        batch.images.view(torch.int16).zero_()
        return kept

    options = {"dtype": torch.uint16, "shuffle": False}
    loader = resident(opened, batch_transform=blacken, **options)
    expected = [batch.images for batch in loader_of(opened, **options)]
    for _ in range(2):
        for found, images in zip(loader, expected, strict=True):
            equal(found, images, "images")


# -- a residence --


def test_what_stays_is_there_for_a_third_stream():
    """Two streams put a row each, a third takes both: it waits for both, though it is told of the last alone."""
    for seed in range(20):
        streams = Streams(seed, luck=0.0)
        place = Residence(LateKeeper(streams), 2, Size(1, 8), np.dtype(np.uint8))
        for row in (0, 1):
            with streams.on(f"stream {row}"):
                place.put(np.array([row]), torch.full((1, 1, 1, 8), row, dtype=torch.uint8))
        with streams.on("stream 2"):
            taken = place.take(np.array([0, 1]))
        streams.finish()
        assert taken[:, 0, 0].tolist() == [[0] * 8, [1] * 8]


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    moves=st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 10), max_size=8)), max_size=12),
    seed=st.integers(0, 99),
)
def test_a_residence_is_an_array_with_holes(size, dtype, moves, seed):
    """Against numpy, for records of any number of bytes, on late streams, rows put several times among them."""
    streams, rng = Streams(seed), np.random.default_rng(seed)
    truth = rng.integers(0, np.iinfo(dtype).max + 1, (11, *size)).astype(dtype)
    place, there = Residence(LateKeeper(streams), 11, Size(*size), np.dtype(dtype)), set()
    taken = []
    for putting, some in moves:
        rows = np.array(some, np.int64)
        assert place.missing(rows).tolist() == [row not in there for row in some]
        with streams.on(f"stream {rng.integers(3)}"):
            if putting and some:
                place.put(rows, torch.from_numpy(truth[rows][:, None].copy()))
                there.update(some)
            elif not putting:
                known = np.array(sorted(there & set(some)), np.int64)
                taken.append((known, place.take(known)))
    streams.finish()
    for rows, images in taken:
        assert images.shape == (len(rows), 1, *size)
        assert np.array_equal(images.numpy()[:, 0], truth[rows])


@pytest.mark.usefixtures("near")
def test_a_pickled_cache_leaves_the_device_behind(opened):
    """A cache whose levels stay somewhere pickles, and what is unpickled starts with nothing there."""
    loader = resident(opened)
    next(iter(loader))
    again = pickle.loads(pickle.dumps(opened))
    assert held(again) == []
    assert len(held(opened)) == 1
    assert isinstance(loader.reader, ResidentReader)
