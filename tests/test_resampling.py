"""The resampling contract, for each engine: every fast path against the float64 meaning."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resload import reference
from resload.errors import ArgumentError, SizeError
from resload.resampling import ENGINES, pyramid, resample, strips
from resload.resampling.by_torch import _bags
from resload.size import Size, as_ladder

sides = st.one_of(st.integers(1, 40), st.integers(1, 400), st.sampled_from([2, 3, 127, 211, 257, 509]))
kinds = st.sampled_from(["noise", "edges", "zone", "constant", "ramp"])
with_each_engine = pytest.mark.parametrize("engine", ENGINES)


def content(kind: str, height: int, width: int, top: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(float)
    if kind == "noise":
        image = rng.integers(0, top + 1, (height, width)).astype(float)
    elif kind == "edges":
        image = top * (rng.random((height, width)) > 0.5)
    elif kind == "zone":
        image = top * (0.5 + 0.5 * np.cos((x**2 + y**2) * np.pi / (2 * max(height, width))))
    elif kind == "constant":
        image = np.full((height, width), float(rng.integers(0, top + 1)))
    else:
        image = top * (x + y) / max(height + width - 2, 1)
    return np.rint(image)


@with_each_engine
@settings(max_examples=300, deadline=None)
@given(kinds, sides, sides, sides, sides, st.integers(0, 2**32 - 1))
def test_uint8_within_a_grey_level(engine, kind, height, width, to_height, to_width, seed):
    """uint8 triangle: within 1.01 of the exact resize, whatever the content, shape and direction."""
    image = content(kind, height, width, 255, seed).astype(np.uint8)
    error = resample(image, (to_height, to_width), engine=engine) - reference.resample(image, (to_height, to_width))
    assert np.abs(error).max() <= 1.01


@with_each_engine
@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(list(reference.KERNELS)), kinds, sides, sides, sides, sides,
    st.sampled_from([(np.uint8, 255), (np.uint16, 65535)]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_other_kernels_and_16_bit_within_half_a_unit(engine, kernel, kind, h, w, th, tw, depth, seed):
    """Every kernel and all 16-bit data: within 0.52 units of the exact resize, clipped to the dtype."""
    dtype, top = depth
    if dtype is np.uint8 and kernel == "triangle":
        dtype, top = np.uint16, 65535
    image = content(kind, h, w, top, seed).astype(dtype)
    exact = np.clip(reference.resample(image, (th, tw), kernel=kernel), 0, top)
    assert np.abs(resample(image, (th, tw), kernel=kernel, engine=engine) - exact).max() <= 0.52


@with_each_engine
@pytest.mark.parametrize(
    ("source", "target"),
    [
        (1024, 320), (1024, 64), (1021, 509), (1024, 512), (512, 448), (512, 384), (300, 600), (480, 300),
        (480, 299), (300, 450), (1024, 600), (1000, 800),
    ],
)  # fmt: skip
def test_uint8_bias_and_rmse_on_random_content(engine, source, target):
    """|mean error| <= 0.05 and rmse <= 0.35 on random content: no darkening, near the rounding floor of 0.289."""
    image = content("noise", source, source, 255, 0).astype(np.uint8)
    error = resample(image, target, engine=engine) - reference.resample(image, target)
    assert abs(error.mean()) <= 0.05
    assert np.sqrt((error**2).mean()) <= 0.35


@pytest.mark.parametrize("shape", [(500, 977), (977, 500), (1023, 1021), (64, 64), (261, 261), (60, 3000)])
@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 31), (7, 150), (37, 30)])
def test_strips_are_bit_identical_to_torch(shape, size):
    """Cutting a film into four pictures changes no bit of torch's own uint8 antialiased passes."""
    image = content("noise", *shape, 255, 3).astype(np.uint8)
    if not strips.suit(image, Size(*size), "triangle"):
        ratios = shape[0] / size[0], shape[1] / size[1]
        assert max(ratios) > 128 or min(ratios) < 1.6
        return
    down = _torch(image, (size[0], shape[1]), "bilinear")
    across = 255 - _torch(255 - down, size, "bilinear")
    assert np.array_equal(pyramid(image, [Size(*size)])[0], across)


@with_each_engine
@pytest.mark.parametrize(("source", "target"), [(1024, 512), (512, 256), (1024, 256)])
def test_trap_rounding_up_twice_brightens(engine, source, target):
    """torch's two roundings up brighten a halved film by 0.12 grey levels; through the negative they cancel."""
    image = content("noise", source, source, 255, 4).astype(np.uint8)
    exact = reference.resample(image, target)
    plain = (_torch(image, (target, target), "bilinear") - exact).mean()
    ours = (resample(image, target, engine=engine) - exact).mean()
    assert plain > (0.1 if source == 2 * target else 0.02)
    assert abs(ours) < plain / 4


@with_each_engine
@pytest.mark.parametrize("source", [1000, 5000, 20000])
@pytest.mark.parametrize("target", [1, 2, 7, 31])
@pytest.mark.parametrize("kind", ["noise", "constant", "ramp"])
def test_extreme_ratios(engine, source, target, kind):
    """The contract holds for panoramas and thumbnails too, where fixed-point weights run out of bits."""
    for shape, size in (((source, 5), (target, 5)), ((5, source), (5, target))):
        image = content(kind, *shape, 255, source).astype(np.uint8)
        assert np.abs(resample(image, size, engine=engine) - reference.resample(image, size)).max() <= 1.01


@with_each_engine
@pytest.mark.parametrize("kernel", list(reference.KERNELS))
@pytest.mark.parametrize(("source", "target"), [(2048, 32), (4096, 8), (30000, 3), (3000, 600)])
def test_16_bit_at_extreme_ratios(engine, kernel, source, target):
    """Thousands of weights summed: still within 0.52 units of the exact resize, along either axis."""
    image = content("noise", source, 24, 65535, target).astype(np.uint16)
    for film, size in ((image, (target, 24)), (image.T, (24, target))):
        exact = np.clip(reference.resample(film, size, kernel=kernel), 0, 65535)
        assert np.abs(resample(film, size, kernel=kernel, engine=engine) - exact).max() <= 0.52


def _torch(image, size, mode, antialias=True):
    tensor = torch.from_numpy(image)[None, None]
    return torch.nn.functional.interpolate(tensor, size=size, mode=mode, antialias=antialias)[0, 0].numpy()


@with_each_engine
def test_trap_uint8_cubic_clips_between_passes(engine):
    """torch's uint8 bicubic clips between its passes (tens of units wrong); ours must not."""
    image = content("edges", 900, 900, 255, 1).astype(np.uint8)
    exact = np.clip(reference.resample(image, 850, kernel="cubic"), 0, 255)
    assert np.abs(_torch(image, (850, 850), "bicubic") - exact).max() > 31
    assert np.abs(resample(image, 850, kernel="cubic", engine=engine) - exact).max() <= 0.52


@with_each_engine
def test_trap_pillow_clips_between_passes(engine):
    """Pillow's 8-bit Lanczos clips between its passes (up to 61 units wrong); ours must not."""
    from PIL import Image

    image = content("edges", 300, 300, 255, 2).astype(np.uint8)
    exact = np.clip(reference.resample(image, 210, kernel="lanczos3"), 0, 255)
    pillow = np.asarray(Image.fromarray(image).resize((210, 210), Image.Resampling.LANCZOS), dtype=float)
    assert np.abs(pillow - exact).max() > 31
    assert np.abs(resample(image, 210, kernel="lanczos3", engine=engine) - exact).max() <= 0.52


def test_trap_no_antialias_aliases():
    """Without antialiasing a zone plate folds back (about 51 grey levels rmse); the contract forbids it."""
    image = content("zone", 1024, 1024, 255, 0).astype(np.uint8)
    exact = reference.resample(image, 320)
    rmse = lambda error: float(np.sqrt((error**2).mean()))  # noqa: E731 - a formula, used twice
    assert rmse(_torch(image, (320, 320), "bilinear", antialias=False) - exact) > 40
    assert rmse(resample(image, 320) - exact) <= 0.4


def test_trap_float32_weights_on_16_bit():
    """torch's float32 antialias misses the contract on 16 bit, which is why it is not used for it."""
    image = content("noise", 2048, 64, 65535, 0).astype(np.uint16)
    exact = reference.resample(image, (1499, 64))
    assert np.abs(_torch(image.astype(np.float32), (1499, 64), "bilinear") - exact).max() > 1.0
    assert np.abs(resample(image, (1499, 64)) - exact).max() <= 0.52


def test_reference_agrees_with_pillow_float():
    """An independent implementation of the same meaning: Pillow's 32-bit float resize."""
    from PIL import Image

    image = content("noise", 173, 101, 255, 5).astype(np.float32)
    for kernel, theirs in (("triangle", "BILINEAR"), ("lanczos3", "LANCZOS"), ("cubic", "BICUBIC")):
        for size in ((64, 50), (200, 300)):
            picture = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling[theirs])
            assert np.abs(np.asarray(picture) - reference.resample(image, size, kernel=kernel)).max() < 2e-3


def test_reference_area_is_the_mean_of_blocks():
    """`area` at a whole ratio is the plain mean of the pixels under each output pixel."""
    image = content("noise", 60, 90, 255, 6)
    means = image.reshape(20, 3, 30, 3).mean(axis=(1, 3))
    assert np.allclose(reference.resample(image, (20, 30), kernel="area"), means)


@given(sides, sides, st.sampled_from(list(reference.KERNELS)))
@settings(max_examples=100, deadline=None)
def test_banded_weights_are_the_dense_ones(source, target, kernel):
    """The sparse weights hold every non-zero weight of the plain definition, and nothing else."""
    dense = np.eye(source)
    for index, begins, weight in _bags(source, target, kernel):
        terms = dense[index.numpy()] * (1.0 if weight is None else weight.numpy()[:, None])
        dense = np.add.reduceat(terms, begins.numpy(), axis=0)
    assert np.abs(dense - reference.matrix(source, target, kernel)).max() < 1e-6
    assert np.allclose(reference.matrix(source, target, kernel).sum(axis=1), 1)


@with_each_engine
def test_many_sizes_at_once_equal_one_by_one(engine):
    """A pyramid is each size made directly from the film, never a resize of a resize."""
    for dtype in (np.uint8, np.uint16):
        image = content("noise", 301, 203, 255, 7).astype(dtype)
        sizes = as_ladder([32, 64, 128, (90, 41), 256])
        for size, level in zip(sizes, pyramid(image, sizes, engine=engine), strict=True):
            assert np.array_equal(level, resample(image, size, engine=engine))
            assert level.dtype == dtype
            assert level.flags.c_contiguous


@with_each_engine
def test_own_size_is_the_film_itself(engine):
    """Asking for the size a film has costs nothing and changes nothing."""
    image = content("noise", 40, 50, 255, 8).astype(np.uint8)
    assert np.array_equal(resample(image, (40, 50), engine=engine), image)
    assert resample(image, (40, 50), engine=engine) is not image


@with_each_engine
def test_stacks_and_tensors(engine):
    """(B, 1, H, W) tensors come back as tensors of the same dtype, image by image the same as alone."""
    batch = torch.from_numpy(content("noise", 6 * 30, 44, 255, 9).astype(np.uint8).reshape(3, 2, 30, 44))
    out = resample(batch, 16, engine=engine)
    assert isinstance(out, torch.Tensor)
    assert out.shape == (3, 2, 16, 16)
    assert np.array_equal(out[2, 1].numpy(), resample(batch[2, 1].numpy(), 16, engine=engine))


@with_each_engine
def test_float32_is_not_rounded(engine):
    """float32 images stay float: only integers are rounded and clipped."""
    image = content("noise", 60, 60, 1, 10).astype(np.float32) - 0.5
    assert (
        np.abs(
            resample(image, 23, kernel="lanczos3", engine=engine) - reference.resample(image, 23, kernel="lanczos3")
        ).max()
        < 1e-6
    )


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: resample(np.zeros((4, 4)), 2), ArgumentError, "found float64"),
        (lambda: resample(np.zeros(4, np.uint8), 2), ArgumentError, r"found uint8 \(4,\)"),
        (lambda: resample(np.zeros((0, 4), np.uint8), 2), ArgumentError, r"\(0, 4\)"),
        (
            lambda: resample(np.zeros((4, 4), np.uint8), 2, kernel="box"),
            ArgumentError,
            "triangle, area, lanczos3, cubic",
        ),
        (lambda: resample(np.zeros((4, 4), np.uint8), 2, engine="pil"), ArgumentError, "torch, pillow; found 'pil'"),
        (lambda: resample(np.zeros((4, 4), np.uint8), 0), SizeError, "from 1 to 65536; found 0"),
        (lambda: reference.resample(np.zeros((2, 4, 4)), 2), ArgumentError, "one image"),
    ],
)
def test_refusals_say_what_was_found(call, error, match):
    """Wrong dtypes, shapes, kernels and sizes are refused in words."""
    with pytest.raises(error, match=match):
        call()
