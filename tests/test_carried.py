"""Sixteen bits without a sign, by their bits and by their values."""

import pytest
import torch

from resload import carried

EVERY = {
    torch.uint8: torch.arange(256, dtype=torch.int32),
    torch.uint16: torch.arange(65536, dtype=torch.int32),
}


@pytest.mark.parametrize("dtype", EVERY, ids=str)
def test_every_value_comes_back(dtype):
    """As numbers and as bits, whatever the value; bits are a view."""
    stored = EVERY[dtype].to(torch.int16 if dtype == torch.uint16 else dtype).view(dtype)
    assert torch.equal(carried.numbers(stored), EVERY[dtype])
    moved = carried.bits(stored)
    assert moved.data_ptr() == stored.data_ptr()
    assert torch.equal(carried.numbers(moved.flip(0).view(dtype)), EVERY[dtype].flip(0))


def test_others_stay_what_they_are():
    """Nothing is done to floats."""
    image = torch.rand(3, 4)
    assert carried.bits(image) is image
