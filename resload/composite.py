"""Placeholder until the branch is merged."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Error:
    rmse: float
    worst: float


def expected(n, level, target):
    return Error(0.3, 5.0)


def weights(*a, **k):
    return (a, k)


def resample(image, v, h, out):
    from resload.resampling import resample

    out[...] = resample(np.ascontiguousarray(image), out.shape)
