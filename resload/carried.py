"""Sixteen bits without a sign, which torch carries but hardly computes on (no comparing, gathering, filling, stacking).

They are moved as `bits`, which views turn back into what they were, and computed on as `numbers`.
"""

import torch


def bits(images: torch.Tensor) -> torch.Tensor:
    """uint16 as int16 of the same bits, a view; any other dtype as it is. `.view(images.dtype)` undoes it."""
    return images.view(torch.int16) if images.dtype == torch.uint16 else images


def numbers(images: torch.Tensor) -> torch.Tensor:
    """uint8 or uint16 -> int32 of the same values, a new tensor."""
    found = bits(images).to(torch.int32)
    return found.bitwise_and_(0xFFFF) if images.dtype == torch.uint16 else found
