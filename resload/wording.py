"""Numbers and tables as text, for people who read a terminal or a page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MOST = 20
"""How many lines a list of bad things takes; the JSON document has all of them."""


def columns(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> list[str]:
    """Lines of a table: the first column to the left, numbers to the right, two spaces between.

    >>> columns([["size", "MB"], ["64x64", "0.4"]], indent="")
    ['size    MB', '64x64  0.4']
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines


def first_of(lines: Sequence[str], rest: str) -> list[str]:
    """The first lines of many, and one that says how many more there are and where: `... 7 more: {rest}`."""
    left = len(lines) - MOST
    return [*lines[:MOST], f"  ... {left} more: {rest}"] if left > 0 else list(lines)


def counts(column: "pd.Series[Any]") -> dict[str, int]:
    """Value -> how often it is there, the most frequent first."""
    return {str(value): int(count) for value, count in column.value_counts().items()}


def counted(counts: dict[str, int]) -> str:
    """`png (67), dicom (29)`."""
    return ", ".join(f"{name} ({count})" for name, count in counts.items()) or "none"


def megabytes(count: int) -> str:
    """Bytes for people: `0.42 MB`, `29.4 GB`."""
    size, unit = (count / 1e9, "GB") if count >= 1e9 else (count / 1e6, "MB")
    return f"{size:,.2f} {unit}" if size < 10 else f"{size:,.1f} {unit}"


def millimetres(y: float | None, x: float | None) -> str:
    """`0.139 x 0.143`, or what to say when it is not known."""
    return "not known" if y is None or x is None else f"{y:#.3g} x {x:#.3g}"
