"""What error to expect of a size that is not stored: the table that the study on real films made."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Error(NamedTuple):
    """Distance from the direct resize, before rounding, in units of 1/255 of full range."""

    rmse: float
    worst: float


def expected(n: int, level: int, target: int) -> Error:
    """The largest error that films showed where an 8-bit level of `n` pixels served `target` ones.

    From the table in fidelity.json, which `benchmarks/fidelity.py --ship` measures: per cell (n / level, level,
    target / level) the rmse of the worst film and the worst pixel of all, of real and of synthetic films. Between
    cells the worst neighbour holds, beyond them the last: a figure to go by, not a bound. Another film may do worse,
    and so may a question between two cells; tests/test_composite.py says by how much. Zero where no second resize is
    needed: n == level, or target == level. A level of 16 bits errs less.
    """
    if level in (n, target):
        return Error(0.0, 0.0)
    table = _fidelity()
    sides = [_beside(table[name], value) for name, value in _place(n, level, target).items()]
    cells = [(a, b, c) for a in sides[0] for b in sides[1] for c in sides[2]]
    return Error(*(max(table[name][a][b][c] for a, b, c in cells) for name in ("rmse", "worst")))


def _place(n: int, level: int, target: int) -> dict[str, float]:
    return {"film_over_level": n / level, "level": level, "target_over_level": target / level}


def _beside(grid: list[float], value: float) -> tuple[int, int]:
    """Indices of the grid's values just below and above, or twice the same where it is one of them or beyond all."""
    right = int(np.searchsorted(grid, value))
    if right == len(grid) or grid[right] == value:
        right = min(right, len(grid) - 1)
        return right, right
    return max(right - 1, 0), right


@cache
def _fidelity() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / "fidelity.json").read_text(encoding="utf-8"))
    return found
