"""Small networks that take any size, for a first look and for tests: minutes on a laptop's cores.

Small      classification and regression: what was found at each of four scales, wherever it was found
SmallUNet  segmentation
"""

import itertools

import torch
from torch import nn

WIDTHS = (8, 16, 16, 16)
SMALLEST = 4
"""Pixels: shorter sides are not halved any more."""


class Small(nn.Module):
    """Images (B, C, H, W) of at least 4 x 4 -> (B, outputs).

    At each scale the largest and the mean of every feature over the image are kept, so that a finding of any size
    counts, wherever it lies.
    """

    def __init__(self, outputs: int, channels: int = 1) -> None:
        super().__init__()
        self.stages = _stages(channels)
        self.head = nn.Linear(2 * sum(WIDTHS), outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, or numbers."""
        found = []
        for stage in self.stages:
            images = stage(images)
            found += [images.amax((2, 3)), images.mean((2, 3))]
            if min(images.shape[2:]) >= SMALLEST:
                images = nn.functional.max_pool2d(images, 2)
        answer: torch.Tensor = self.head(torch.cat(found, 1))
        return answer


class SmallUNet(nn.Module):
    """Images (B, C, H, W) -> logits (B, outputs, H, W)."""

    def __init__(self, outputs: int, channels: int = 1) -> None:
        super().__init__()
        self.down = _stages(channels)
        deep = list(itertools.pairwise(WIDTHS))
        self.up = nn.ModuleList([_stage(kept + below, kept) for kept, below in reversed(deep)])
        self.head = nn.Conv2d(WIDTHS[0], outputs, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of each pixel."""
        kept: list[torch.Tensor] = []
        for stage in self.down:
            if kept and min(images.shape[2:]) >= SMALLEST:
                images = nn.functional.max_pool2d(images, 2)
            images = stage(images)
            kept.append(images)
        kept.pop()
        for stage in self.up:
            beside = kept.pop()
            enlarged = nn.functional.interpolate(images, beside.shape[2:], mode="bilinear", align_corners=False)
            images = stage(torch.cat([enlarged, beside], 1))
        answer: torch.Tensor = self.head(images)
        return answer


def _stages(channels: int) -> nn.ModuleList:
    ins = (channels, *WIDTHS[:-1])
    return nn.ModuleList([_stage(before, after) for before, after in zip(ins, WIDTHS, strict=True)])


def _stage(before: int, after: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())
