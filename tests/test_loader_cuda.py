"""Loaders that end on a CUDA device. Reported as skipped where there is none."""

import pytest
import torch
from loading import NumberReader, rows_of, workers

from resload import Loader, masked_bce

pytestmark = pytest.mark.gpu

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.uint16)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_device_gets_what_the_cpu_gets(cache, dtype):
    """Every tensor of a batch is on the device, with the values a CPU loader has."""
    options = {"size": 64, "batch_size": 7, "dtype": dtype, "channels": 3, "shuffle": True}
    options |= {"normalize": (0.4, 0.2)} if dtype.is_floating_point else {}
    for batch, same in zip(Loader(cache, device="cuda", **options), Loader(cache, **options), strict=True):
        for name in ("images", "targets", "known", "rows", "spacing", "content", "valid", "draws"):
            assert getattr(batch, name).device.type == "cuda", name
        assert batch.images.dtype == dtype
        if dtype.is_floating_point:
            torch.testing.assert_close(batch.images.cpu(), same.images)
        else:
            assert (batch.images.cpu().numpy() == same.images.numpy()).all()
        torch.testing.assert_close(batch.targets.cpu(), same.targets, equal_nan=True)
        assert batch.ids == same.ids


def test_kept_batches_do_not_change_on_the_device(cache):
    """Every batch of two epochs, all kept, holds at the end what it held when it came."""
    loader = Loader(cache, size=64, batch_size=3, device="cuda", shuffle=True)
    kept = [(batch.images, batch.images.clone()) for _ in range(2) for batch in loader]
    torch.cuda.synchronize()
    assert all(torch.equal(images, copy) for images, copy in kept)


def test_memory_dropped_while_the_device_still_reads_it():
    """Work queued on the caller's stream sees its own batch, however early the batch is dropped."""
    loader = Loader(NumberReader(256, grain=8), size=256, batch_size=8, device="cuda")
    ballast = torch.randn(4096, 4096, device="cuda")
    sums = []
    for images, _ in loader:
        for _ in range(5):
            ballast = (ballast @ ballast).tanh()  # keeps the stream busy behind the host
        sums.append(images[:, 0, 0, 0].mul(65535).round().clone())
        del images
    assert torch.cat(sums).cpu().tolist() == list(range(256))


def test_stored_bytes_dropped_while_the_device_still_reads_them():
    """The copy itself is what the loop gets, was allocated on the loader's stream, and is read on another."""
    loader = Loader(NumberReader(512, grain=8), size=256, batch_size=8, device="cuda", dtype=torch.uint16)
    ballast = torch.randn(4096, 4096, device="cuda")
    sums = []
    for images, _ in loader:
        for _ in range(3):
            ballast = (ballast @ ballast).tanh()
        sums.append(images.view(torch.int16)[:, 0, 17, 3].clone())
        del images
    assert torch.cat(sums).cpu().tolist() == list(range(512))


def test_several_loaders_at_once_on_streams_of_the_caller(cache):
    """Three loaders in turn, each batch worked on in a stream of its own: every batch is its own."""
    readers = [NumberReader(96, grain=g) for g in (1, 8, 64)]
    loaders = [Loader(reader, size=64, batch_size=8, device="cuda", dtype=torch.uint16) for reader in readers]
    streams = [torch.cuda.Stream() for _ in loaders]
    found = [[] for _ in loaders]
    iterators = [iter(loader) for loader in loaders]
    for _ in range(12):
        for batches, stream, held in zip(iterators, streams, found, strict=True):
            with torch.cuda.stream(stream):
                held.append(next(batches).images.view(torch.int16)[:, 0, 5, 5].clone())
    torch.cuda.synchronize()
    assert [torch.cat(held).tolist() for held in found] == [list(range(96))] * 3


WATCHED = "ignore:Synchronization debug mode is a prototype"


@pytest.mark.filterwarnings(WATCHED)
@pytest.mark.parametrize("options", [{"normalize": (0.4, 0.2), "channels": 3}, {"dtype": torch.uint16}, {"size": 50}])
def test_nothing_waits_for_the_device(cache, options):
    """torch refuses what would wait for the caller's stream, and refuses nothing; targets and facts included."""
    loader = Loader(cache, **{"size": 64, "batch_size": 7, "device": "cuda", **options})
    for _ in loader:  # constants are brought to the device once
        pass
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in loader:
            assert batch.targets.device == batch.known.device == batch.rows.device == batch.spacing.device
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings(WATCHED)
def test_padding_waits_for_nothing_either(cache):
    """Places without a film are blanked on the device."""
    loader = Loader(
        cache, size=64, batch_size=2, device="cuda", normalize=(0.4, 0.2), rows=cache.rows()[:7], rank=1, world=3
    )
    same = Loader(cache, size=64, batch_size=2, normalize=(0.4, 0.2), rows=cache.rows()[:7], rank=1, world=3)
    list(loader)
    torch.cuda.set_sync_debug_mode("error")
    try:
        loader.set_epoch(0)
        found = list(loader)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for one, other in zip(found, same, strict=True):
        torch.testing.assert_close(one.images.cpu(), other.images)
        assert torch.equal(one.valid.cpu(), other.valid)


def test_a_host_far_ahead_of_the_device_takes_no_more_memory():
    """300 batches of 4 MB whose work is queued behind slow products: a few are on the device at a time."""
    loader = Loader(NumberReader(300 * 8, grain=8), size=512, batch_size=8, device="cuda", dtype=torch.uint16)
    ballast = torch.randn(4096, 4096, device="cuda")
    total = torch.zeros((), device="cuda")
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for images, _ in loader:
        ballast = (ballast @ ballast).tanh()
        total += images.view(torch.int16)[:, 0, 0, 0].sum()
        del images
    torch.cuda.synchronize()
    products = 4 * ballast.numel() * 4
    assert torch.cuda.max_memory_allocated() - before < products + 24 * 8 * 512 * 512 * 2


def test_the_callers_settings_change_nothing_on_the_device(cache8):
    """TF32, autocast and a default device: stored and other sizes are what they are without."""
    options = {"size": [64, 50], "batch_size": 5, "device": "cuda", "normalize": (0.4, 0.2), "threads": 3}
    plain = [batch.scales for batch in Loader(cache8, **options)]
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        with torch.device("cuda"), torch.autocast("cuda", dtype=torch.bfloat16):
            found = [batch.scales for batch in Loader(cache8, **options)]
            on_cpu = next(iter(Loader(cache8, **options | {"device": "cpu"}))).images
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    assert on_cpu.device.type == "cpu"
    for one, other in zip(found, plain, strict=True):
        assert all(torch.equal(one[size], other[size]) for size in other)


def test_autocast_of_the_caller_changes_nothing_on_the_device(cache):
    """Inside torch.autocast the batches are those of outside."""
    options = {"size": 32, "batch_size": 8, "device": "cuda", "normalize": (0.4, 0.2)}
    plain = [batch.images for batch in Loader(cache, **options)]
    with torch.autocast("cuda", dtype=torch.float16):
        mixed = [batch.images for batch in Loader(cache, **options)]
    assert all(torch.equal(a, b) and b.dtype == torch.float32 for a, b in zip(plain, mixed, strict=True))


def test_leaving_early_leaves_no_thread_and_the_order_is_the_same():
    """break, then the next epoch: the device changes neither threads nor order."""
    loader = Loader(NumberReader(40), size=8, batch_size=4, device="cuda", shuffle=True)
    for _ in loader:
        break
    assert workers() == []
    same = Loader(NumberReader(40), size=8, batch_size=4, shuffle=True)
    same.set_epoch(1)
    assert rows_of(loader) == rows_of(same)


def test_masked_bce_on_the_device(cache):
    """Loss and gradient equal the CPU's."""
    losses = []
    for device in ("cuda", "cpu"):
        batch = next(iter(Loader(cache, size=32, batch_size=20, device=device)))
        logits = torch.linspace(-3, 3, batch.targets.numel(), device=device).reshape(batch.targets.shape)
        logits.requires_grad_()
        loss = masked_bce(logits, batch)
        loss.backward()
        losses.append((loss.detach().cpu(), logits.grad.cpu()))
    torch.testing.assert_close(losses[0], losses[1])


@pytest.mark.parametrize("size", [50, (40, 33)])
def test_sizes_that_are_not_stored_are_made_on_the_device(cache8, size):
    """From the level that travelled: what the CPU makes, but for a grey level where a rounding is undecided."""
    options = {"size": size, "batch_size": 5, "normalize": (0.4, 0.2)}
    for batch, same in zip(Loader(cache8, device="cuda", **options), Loader(cache8, **options), strict=True):
        off = (batch.images.cpu() - same.images).abs()
        assert off.max() <= 5 / 255 * 1.001
        assert (off > 1e-4).float().mean() < 0.01
