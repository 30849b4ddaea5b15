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
