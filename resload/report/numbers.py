"""The middle and the spread of many values, and how they become JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from resload.size import Size


@dataclass(frozen=True)
class Spread:
    """Five percentiles of many values."""

    p5: float
    p25: float
    median: float
    p75: float
    p95: float


def spread(values: ArrayLike) -> Spread | None:
    """The percentiles of those values that are numbers; None where there is none."""
    found = np.asarray(values, np.float64)
    found = found[np.isfinite(found)]
    return Spread(*np.percentile(found, (5, 25, 50, 75, 95)).tolist()) if found.size else None


def psnr(rmse: float) -> float:
    """Peak signal-to-noise ratio in dB of an error that is given as a share of the full range; infinite for none."""
    return -20 * math.log10(rmse) if rmse > 0 else math.inf


def psnr_spread(rmse: Spread) -> Spread:
    """The same for percentiles: the largest error is the smallest ratio."""
    return Spread(*(psnr(value) for value in (rmse.p95, rmse.p75, rmse.median, rmse.p25, rmse.p5)))


def plain(value: Any) -> Any:
    """Values of a report as JSON has them: what is infinite or no number is None, sizes are text."""
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Size):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
