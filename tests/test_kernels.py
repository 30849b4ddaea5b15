"""The kernels for CUDA, run by Triton's interpreter on the CPU: `make test-triton`. Reported as skipped elsewhere.

What a compiler makes of them is tested where there is a card (`test_composite.py`, `test_engine_cuda.py`).
"""

import contextlib
import os
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from resload import composite, reference
from resload.composite import products

pytestmark = [
    pytest.mark.skipif(
        find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") != "1",
        reason="Triton's interpreter is not there, or not asked for (TRITON_INTERPRET=1)",
    ),
    pytest.mark.filterwarnings(
        "ignore:Conversion of an array with ndim > 0:DeprecationWarning"
    ),  # the interpreter's own
]
CPU = torch.device("cpu")


@pytest.fixture
def kernels(monkeypatch):
    """The kernels, whose launches name no CUDA device here."""
    from resload.composite import kernels as found

    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    return found


@pytest.mark.parametrize("kernel", sorted(reference.KERNELS))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(600, 9, 4, 9), (9, 600, 5, 3), (12, 20, 18, 25), (1, 3, 2, 1)])
def test_direct_resizes_keep_the_contract(kernels, dtype, kernel, shape):
    """Floats within 2e-3 of 255, whole numbers within 0.52 units of the float64 definition, hundreds of taps too."""
    (height, width, *size), top = shape, np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, top + 1, (height, width), dtype)
    axes = products._axes(
        composite.weights(height, height, size[0], kernel=kernel),
        composite.weights(width, width, size[1], kernel=kernel),
        CPU,
    )
    exact = reference.resample(image, size, kernel=kernel)
    floats, whole = (kernels.resample(torch.from_numpy(image), *axes, rounded=rounded) for rounded in (False, True))
    assert np.abs(floats.numpy() - exact).max() <= 2e-3 * top / 255
    assert whole.numpy().dtype == dtype
    assert np.abs(whole.numpy() - exact.clip(0, top)).max() <= 0.52


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_second_resizes_are_those_of_the_other_routes(kernels, dtype):
    """A stack of levels through composite weights: what the tap-by-tap route makes."""
    vertical, horizontal = composite.weights(200, 40, 25), composite.weights(160, 32, 24)
    images = np.random.default_rng(1).integers(0, 256, (2, 3, 40, 32)).astype(dtype)
    found = kernels.resample(torch.from_numpy(images), *products._axes(vertical, horizontal, CPU))
    expected = composite.resample_tensor(torch.from_numpy(images), vertical, horizontal)
    assert found.shape == (2, 3, 25, 24)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_a_part_of_a_stack(kernels):
    """Rectangles of larger images, without a copy of them."""
    images = np.random.default_rng(0).integers(0, 65536, (3, 50, 60), np.uint16)
    axes = products._axes(composite.weights(20, 20, 8), composite.weights(30, 30, 11), CPU)
    found = kernels.resample(torch.from_numpy(images)[:, 5:25, 7:37], *axes, rounded=True).numpy()
    for image, one in zip(images, found, strict=True):
        assert np.abs(one - reference.resample(image[5:25, 7:37], (8, 11))).max() <= 0.52


def test_the_proof_before_first_use_can_fail(kernels, monkeypatch):
    """Kernels that compute right pass it; a sum that is off by one, a cast that is, and a lost stretch do not."""
    assert products._compute_right(kernels, CPU)
    right = kernels.resample
    monkeypatch.setattr(kernels, "resample", lambda *a, rounded: right(*a, rounded=rounded) + (not rounded))
    assert not products._compute_right(kernels, CPU)
    monkeypatch.setattr(kernels, "resample", lambda *a, rounded: right(*a, rounded=False) if rounded else right(*a))
    assert not products._compute_right(kernels, CPU)

    def lost(images, vertical, horizontal, *, rounded):
        (first, taps), few = vertical, 16
        return right(images, (first, taps[:, :few].contiguous()), horizontal, rounded=rounded)

    monkeypatch.setattr(kernels, "resample", lost)
    assert not products._compute_right(kernels, CPU)
