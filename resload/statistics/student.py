"""Student's t, for intervals from few patients: its distribution by the finite series for whole degrees of freedom."""

import math
from functools import lru_cache

import numpy as np


def student_cdf(t: float, freedom: int) -> float:
    """The chance of a value up to t, with at least 1 degree of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    if freedom % 2:
        inner = cosine * _series(0, (freedom - 1) // 2, cosine**2) if freedom > 1 else 0.0
        return 0.5 + (angle + math.sin(angle) * inner) / math.pi
    return 0.5 + math.sin(angle) * _series(-1, freedom // 2, cosine**2) / 2


def _series(odd: int, terms: int, factor: float) -> float:
    """1 + (2+odd)/(3+odd) f + (2+odd)(4+odd)/((3+odd)(5+odd)) f^2 + ..., so many terms."""
    steps = 2 * np.arange(1, terms) + odd
    return 1 + float(np.cumprod(steps / (steps + 1) * factor).sum())


@lru_cache(maxsize=256)
def student_quantile(share: float, freedom: int) -> float:
    """The value that a share below one half stays under: negative, by halving."""
    low, high = -1.0, 0.0
    while student_cdf(low, freedom) > share:
        low *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if student_cdf(middle, freedom) > share else (middle, high)
    return (low + high) / 2
