"""Batches and the loss that respects what is not known."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resload import Batch, Size, masked_bce
from resload.errors import ArgumentError
from resload.geometry import Geometry


def batch_of(targets, valid=None):
    """A batch with these targets (B, T) and nothing to look at."""
    targets = torch.as_tensor(targets, dtype=torch.float32)
    count = len(targets)
    return Batch(
        images=torch.zeros(count, 1, 2, 3),
        targets=targets,
        known=~torch.isnan(targets),
        rows=torch.arange(count),
        ids=[f"film {i}" for i in range(count)],
        size=Size(2, 3),
        level=None,
        expected_rmse=0.0,
        spacing=torch.full((count, 2), 0.5),
        content=torch.zeros(count, 4),
        valid=torch.ones(count, dtype=torch.bool) if valid is None else torch.as_tensor(valid),
        draws=torch.arange(count),
        columns={"view": ["PA"] * count},
        geometry=Geometry(Size(2, 3), np.tile(np.float32([0, 0, 4, 6, 0, 0, 2, 3, 4, 6]), (count, 1))),
    )


def plain_bce(logits, targets, valid):
    """The mean over what is known and valid, one term at a time, in float64."""
    terms = []
    for row, keep, line in zip(targets, valid, logits, strict=True):
        for target, logit in zip(row, line, strict=True):
            if keep and target == target:  # NaN differs from itself
                p = torch.sigmoid(torch.tensor(logit, dtype=torch.float64))
                terms.append(-(target * p.log() + (1 - target) * (1 - p).log()).item())
    return sum(terms) / len(terms) if terms else 0.0


target = st.one_of(st.sampled_from([0.0, 1.0, float("nan")]), st.floats(0, 1, width=32))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.integers(0, 4), st.data())
def test_masked_bce_is_the_mean_over_what_is_known(count, wide, data):
    """Against a plain loop: unknown targets and padding do not count, neither above nor below the fraction line."""
    targets = data.draw(st.lists(st.lists(target, min_size=wide, max_size=wide), min_size=count, max_size=count))
    logits = data.draw(
        st.lists(st.lists(st.floats(-15, 15), min_size=wide, max_size=wide), min_size=count, max_size=count)
    )
    valid = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    outputs = torch.tensor(logits, dtype=torch.float32).reshape(count, wide)
    loss = masked_bce(outputs, batch_of(torch.tensor(targets).reshape(count, wide), valid))
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    assert loss.item() == pytest.approx(plain_bce(logits, targets, valid), rel=1e-4, abs=1e-6)


def test_unknown_targets_do_not_pull():
    """The gradient is exactly 0 where the target is unknown or the row is padding, even for infinite logits, and is
    (sigmoid - target) / number known elsewhere."""
    nan = float("nan")
    batch = batch_of([[1.0, nan], [nan, 0.0], [1.0, 1.0]], valid=[True, True, False])
    outputs = torch.tensor([[0.3, float("inf")], [float("-inf"), -0.7], [5.0, -5.0]], requires_grad=True)
    loss = masked_bce(outputs, batch)
    loss.backward()
    assert loss.item() == pytest.approx(plain_bce([[0.3], [-0.7]], [[1.0], [0.0]], [True, True]))
    expected = torch.zeros(3, 2)
    expected[0, 0] = (torch.tensor(0.3).sigmoid() - 1) / 2
    expected[1, 1] = torch.tensor(-0.7).sigmoid() / 2
    torch.testing.assert_close(outputs.grad, expected)
    assert outputs.grad[0, 1] == outputs.grad[1, 0] == 0
    assert (outputs.grad[2] == 0).all()


@pytest.mark.parametrize("shape", [(3, 2), (3, 0)])
def test_nothing_known_is_zero_and_harmless(shape):
    """All targets unknown, or none at all: the loss is 0 and its gradient 0, not NaN."""
    outputs = torch.randn(shape, requires_grad=True)
    loss = masked_bce(outputs, batch_of(torch.full(shape, float("nan"))))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(outputs.grad, torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_loss_is_float32_whatever_the_outputs(dtype):
    """Half precisions are widened first; autocast makes no difference."""
    batch = batch_of([[1.0, 0.0]])
    outputs = torch.tensor([[1.5, -2.25]], dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = masked_bce(outputs, batch)
    widened = masked_bce(outputs.float(), batch)
    assert loss.dtype == masked_bce(outputs, batch).dtype == torch.float32
    assert loss == widened == masked_bce(outputs, batch)


@pytest.mark.parametrize("shape", [(3,), (3, 3), (2, 2), (3, 2, 1), (1, 2)])
def test_outputs_of_another_shape_are_refused(shape):
    """Not even when they would broadcast."""
    with pytest.raises(ArgumentError, match=r"outputs must be logits of shape \(3, 2\); found \("):
        masked_bce(torch.zeros(shape), batch_of(torch.zeros(3, 2)))


def test_a_batch_unpacks_to_images_and_targets():
    """`images, targets = batch`: the very tensors; len is the number of images."""
    batch = batch_of([[1.0], [0.0]])
    images, targets = batch
    assert images is batch.images
    assert targets is batch.targets
    assert len(batch) == 2


def test_to_moves_every_tensor_and_keeps_the_words():
    """`.to` moves all tensors, keeps the rest, and changes neither dtypes nor the batch it was called on."""
    batch = batch_of([[1.0], [0.0]])
    batch.scales = {Size(2, 3): batch.images, Size(4, 4): torch.zeros(2, 1, 4, 4)}
    batch.boxes, batch.box_labels = [torch.zeros(1, 4), torch.zeros(0, 4)], [torch.zeros(1), torch.zeros(0)]
    moved = batch.to("meta")

    def check(old, new):
        assert (new.device.type, new.dtype, new.shape) == ("meta", old.dtype, old.shape)
        assert old.device.type == "cpu"

    for field in dataclasses.fields(Batch):
        old, new = getattr(batch, field.name), getattr(moved, field.name)
        if isinstance(old, torch.Tensor):
            check(old, new)
        elif field.name in ("scales", "boxes", "box_labels"):
            for one in range(2) if isinstance(old, list) else old:
                check(old[one], new[one])
        else:
            assert new is old
    assert batch.to("cpu").images is batch.images
    with pytest.raises(AttributeError, match="sizes"):
        batch.sizes = Size(1, 1)  # a mistyped name is no new field
