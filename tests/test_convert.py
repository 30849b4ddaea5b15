"""From stored pixels to what the model gets: the plain formula, over every value there is."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from resload.convert import Converter
from resload.errors import ArgumentError
from resload.size import Size

UINT8, UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)
FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def converted(images, dtype, channels=1, normalization=None):
    """What a loader does with (n, H, W): made in a block of `stored`, finished on the whole batch."""
    converter = Converter(images.dtype, dtype, channels, normalization)
    out = np.empty(converter.shape(len(images), Size(*images.shape[1:])), converter.stored)
    converter.run(images, out)
    return converter.finished(torch.from_numpy(out))


def every_code(dtype):
    """All values of a dtype, as one image."""
    count = np.iinfo(dtype).max + 1
    return np.arange(count, dtype=dtype).reshape(1, -1, 256)


@pytest.mark.parametrize("source", [UINT8, UINT16])
@pytest.mark.parametrize("dtype", FLOATS)
def test_every_code_lands_in_its_place(source, dtype):
    """Value / maximum: 0 is 0, the maximum is 1, none is beyond, order is kept, within an ulp of the exact quotient."""
    codes = every_code(source)
    found = converted(codes, dtype).double().numpy()[:, 0]
    exact = codes / np.iinfo(source).max
    assert (found[0, 0, 0], found[0, -1, -1]) == (0.0, 1.0)
    assert found.min() == 0.0
    assert found.max() == 1.0
    assert (np.diff(found.ravel()) >= 0).all()
    assert (np.abs(found - exact) <= torch.finfo(dtype).eps * exact).all()
    assert dtype != torch.float32 or (np.diff(found.ravel()) > 0).all()


def test_uint8_fills_the_range_of_uint16():
    """v * 257: 0 to 0, 255 to 65535, and the same place in the range for all between, exactly."""
    found = converted(every_code(UINT8), torch.uint16).numpy()
    assert found.dtype == UINT16
    assert np.array_equal(found.ravel(), np.arange(256) * 257)


@pytest.mark.parametrize(("source", "dtype"), [(UINT8, torch.uint8), (UINT16, torch.uint16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_integers_of_the_same_depth_are_copied(source, dtype, channels):
    """As stored, in every channel; with one channel no conversion is needed at all."""
    codes = every_code(source)
    found = converted(codes, dtype, channels).numpy()
    assert found.dtype == source
    assert found.shape == (1, channels, *codes.shape[1:])
    assert all(np.array_equal(found[:, channel], codes) for channel in range(channels))
    assert Converter(source, dtype, channels, None).in_place == (channels == 1)


@settings(max_examples=150, deadline=None)
@given(
    images=st.sampled_from([UINT8, UINT16]).flatmap(
        lambda dtype: arrays.arrays(dtype, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))
    ),
    dtype=st.sampled_from(FLOATS), channels=st.integers(1, 4), per_channel=st.booleans(), data=st.data(),
)  # fmt: skip
def test_normalisation_is_the_plain_formula(images, dtype, channels, per_channel, data):
    """(value / maximum - mean) / std, for numbers or one per channel, against float64."""
    count = channels if per_channel else 1
    mean = data.draw(st.lists(st.floats(-2, 2), min_size=count, max_size=count))
    std = data.draw(st.lists(st.floats(0.01, 4), min_size=count, max_size=count))
    given_values = (mean, std) if per_channel else (mean[0], std[0])
    found = converted(images, dtype, channels, given_values)
    mean, std = (np.broadcast_to(part, channels)[:, None, None] for part in (mean, std))
    scaled = images[:, None] / np.iinfo(images.dtype).max
    # One rounding (half an eps) of each factor, the product, the bias, and the sum, which is at most both together.
    bound = torch.finfo(dtype).eps * (1.5 * scaled / std + np.abs(mean) / std) + torch.finfo(dtype).tiny
    assert found.dtype == dtype
    assert found.shape == (len(images), channels, *images.shape[1:])
    assert (np.abs(found.double().numpy() - (scaled - mean) / std) <= bound).all()


@pytest.mark.parametrize(
    ("source", "dtype", "channels", "normalization", "message"),
    [
        (UINT16, torch.uint8, 1, None, "uint8 would lose depth: this data is uint16; ask for uint16 or a float"),
        (UINT8, torch.float64, 1, None, "dtype must be float32, .* found torch.float64"),
        (UINT8, np.float32, 1, None, "dtype must be float32"),
        (UINT8, torch.float32, True, None, "channels must be an int >= 1; found True"),
        (UINT8, torch.float32, 1.0, None, "channels must be an int >= 1; found 1.0"),
        (UINT8, torch.uint8, 1, (0.5, 0.5), "normalize needs a float dtype; found torch.uint8"),
        (UINT8, torch.float32, 1, (0.5,), r"normalize must be \(mean, std\)"),
        (UINT8, torch.float32, 1, (0.5, -1.0), r"std must be positive; found \[-1.0\]"),
        (UINT8, torch.float32, 3, (0.5, (1.0, 1.0, 0.0)), "std must be positive"),
        (UINT8, torch.float32, 3, ((0.1, 0.2), 1.0), r"one per channel \(3\)"),
        (UINT8, torch.float32, 1, (float("inf"), 1.0), "one finite number"),
        (UINT8, torch.float32, 1, (None, 1.0), "one finite number"),
    ],
)
def test_what_cannot_be_converted_is_refused(source, dtype, channels, normalization, message):
    """Refused when the converter is made, with what was expected and found."""
    with pytest.raises(ArgumentError, match=message):
        Converter(source, dtype, channels, normalization)


def test_staging_is_a_threads_own_and_is_kept():
    """Each thread reads into its own place, made anew only for another size."""
    converter = Converter(UINT8, torch.float32, 1, None)
    mine = converter.staging(Size(8, 8))
    assert converter.staging(Size(8, 8)) is mine
    theirs = []
    thread = threading.Thread(target=lambda: theirs.append(converter.staging(Size(8, 8))))
    thread.start()
    thread.join()
    assert theirs[0] is not mine
    assert mine.out.shape[1:] == (8, 8)
    assert len(mine.out) >= 1
    other = converter.staging(Size(8, 9))
    assert other.out.shape[1:] == (8, 9)
    assert other.out.dtype == UINT8
    assert len(converter.staging(Size(4000, 3000)).out) == 1


def test_a_batch_block_holds_what_is_stored():
    """Bytes of a batch: float32 for every float dtype, the dtype itself for integers."""
    for dtype, itemsize in ((torch.float32, 4), (torch.bfloat16, 4), (torch.uint8, 1), (torch.uint16, 2)):
        converter = Converter(UINT8, dtype, 3, None)
        assert converter.bytes(converter.shape(5, Size(7, 2))) == 5 * 3 * 7 * 2 * itemsize


@pytest.mark.parametrize("source", [np.uint8, np.uint16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("channels", "normalization"), [(1, None), (3, ((0.4, 0.5, 0.6), (0.2, 0.3, 0.1)))])
def test_late_conversion_is_the_same(source, dtype, channels, normalization):
    """What a device does with stored bytes (the CPU plays it) is what a task does, to float32's last bits."""
    images = np.random.default_rng(0).integers(0, np.iinfo(source).max + 1, (3, 5, 7), dtype=source)
    early = Converter(np.dtype(source), dtype, channels, normalization)
    late = Converter(np.dtype(source), dtype, channels, normalization, late=True)
    out = np.empty(early.shape(3, Size(5, 7)), early.stored)
    early.run(images, out)
    assert late.in_place
    assert late.shape(3, Size(5, 7)) == (3, 1, 5, 7)
    made = late.finished(torch.from_numpy(images.reshape(3, 1, 5, 7)))
    expected = early.finished(torch.from_numpy(out))
    assert made.dtype == expected.dtype == dtype
    assert made.shape == (3, channels, 5, 7)
    assert torch.allclose(made.float(), expected.float(), rtol=1e-2 if dtype != torch.float32 else 1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("source", "dtype"), [(np.uint8, torch.uint8), (np.uint8, torch.uint16), (np.uint16, torch.uint16)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_integers_of_what_stays_are_the_same(source, dtype, channels):
    """Made of stored pixels at the end, they are what a task makes of them; C-contiguous, and nobody else's memory
    where they are repeated or widened.
    """
    images = np.random.default_rng(0).integers(0, np.iinfo(source).max + 1, (3, 5, 7), dtype=source)
    early = Converter(np.dtype(source), dtype, channels, None, late=True)
    late = Converter(np.dtype(source), dtype, channels, None, late=True, as_stored=True)
    assert not early.late
    assert late.late
    assert not late.resizes_late
    assert late.in_place
    assert late.shape(3, Size(5, 7)) == (3, 1, 5, 7)
    out = np.empty(early.shape(3, Size(5, 7)), early.stored)
    early.run(images, out)
    stored = torch.from_numpy(images.reshape(3, 1, 5, 7))
    made = late.finished(stored)
    assert made.dtype == dtype
    assert made.is_contiguous()
    assert np.array_equal(made.numpy(), out)
    assert (made.data_ptr() == stored.data_ptr()) == (channels == 1 and source == early.stored)
