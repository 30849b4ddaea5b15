"""What tests of the study share: quick networks, and records without what differs from run to run."""

import torch
from torch import nn

CLOCKS = ("seconds", "images_per_second", "peak_bytes")
"""Of a record: what no two runs have in common."""


class Tiny(nn.Module):
    """(B, C, H, W) -> (B, outputs): a convolution and a drop-out, whose randomness a resumed run must repeat."""

    def __init__(self, outputs, channels=1):
        super().__init__()
        self.stem = nn.Conv2d(channels, 4, 5, stride=2, padding=2)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(8, outputs)

    def forward(self, images):
        found = torch.relu(self.stem(images))
        return self.head(self.drop(torch.cat([found.amax((2, 3)), found.mean((2, 3))], 1)))


class Pixelwise(nn.Module):
    """(B, C, H, W) -> (B, outputs, H, W)."""

    def __init__(self, outputs, channels=1):
        super().__init__()
        self.head = nn.Conv2d(channels, outputs, 3, padding=1)

    def forward(self, images):
        return self.head(images)


def plain(record):
    """A record without its clocks."""
    return {name: value for name, value in record.items() if name not in CLOCKS}


def records(study):
    """The records of a study by their run, without clocks."""
    return {record["run"]: plain(record) for record in study.runs}
