"""What orders ask of the data: one value for each row that a sampler visits, from its table or from an array."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError


class Columns:
    """The data behind a sampler, seen by the rows that it visits.

    data: what the sampler was made of: a number of rows, or something with a table (Cache, Catalog, reader) or a table
    itself. rows: (m,) the row numbers it visits.
    """

    def __init__(self, data: Any, n: int, rows: NDArray[np.int64]) -> None:
        table = getattr(data, "table", data)
        self._table = table if hasattr(table, "columns") else None
        self.n, self.rows = n, rows
        self.targets: tuple[str, ...] = tuple(getattr(data, "targets", ()))

    def __contains__(self, name: object) -> bool:
        return self._table is not None and name in self._table

    def values(self, column: "str | Iterable[Any]", asked_by: str) -> NDArray[Any]:
        """(m,) a column's values of the visited rows; an array has one value for each row of the data.

        Raises ArgumentError, naming who asked, for a column that is not there or an array of another length.
        """
        if isinstance(column, str):
            if self._table is None:
                raise ArgumentError(
                    f"{asked_by} needs the column {column!r}: make the Sampler of a Cache, a Catalog or a table, or "
                    "pass an array with one value for each row"
                )
            if column not in self._table:
                raise ArgumentError(f"{asked_by}: no column {column!r}; there are {list(self._table.columns)}")
            found = np.asarray(self._table[column])
        else:
            found = np.asarray(column if isinstance(column, np.ndarray | Sequence) else list(column))
        if found.shape != (self.n,):
            raise ArgumentError(f"{asked_by} needs one value for each of {self.n} rows; found shape {found.shape}")
        return found[self.rows]

    def numbers(self, column: "str | Iterable[Any]", asked_by: str) -> NDArray[np.float64]:
        """(m,) a column's values as numbers, NaN where missing. Raises ArgumentError, as `values`, and for others."""
        found = self.values(column, asked_by)
        if found.dtype.kind in "biuf":
            return found.astype(np.float64)
        return np.array([_number(value, asked_by) for value in found.tolist()], np.float64)

    def yes_no(self, column: "str | Iterable[Any]", asked_by: str) -> NDArray[np.float64]:
        """(m,) 1 (yes), 0 (no) and NaN (not known). Raises ArgumentError, as `numbers`, and for other numbers."""
        found = self.numbers(column, asked_by)
        others = np.unique(found[~np.isnan(found) & (found != 0) & (found != 1)])
        if others.size:
            name = repr(column) if isinstance(column, str) else "its target"
            raise ArgumentError(
                f"{asked_by} goes by 1 (yes) and 0 (no); {name} has also "
                f"{', '.join(f'{other:g}' for other in others[:5])}: name a target of yes and no"
            )
        return found

    def codes(self, column: "str | Iterable[Any]", asked_by: str) -> NDArray[np.int64]:
        """(m,) equal values as equal numbers from 0, by first appearance; each missing value is one of its own."""
        values = self.values(column, asked_by).tolist()
        numbers: dict[Any, int] = {}
        return np.array([numbers.setdefault(_own(value), len(numbers)) for value in values], np.int64)

    def digest(self) -> str | None:
        """Of the ids of all rows, in their order; None where there is no table with ids."""
        return ids_digest(self._table["id"]) if "id" in self and self._table is not None else None


def _own(value: Any) -> Any:
    """A value as a key; a new object for one that is missing, which equals nothing else."""
    return object() if is_missing(value) else value


def is_missing(value: Any) -> bool:
    """None, NaN and NaT, which differ from themselves, and pandas' NA, which cannot say whether it does."""
    try:
        return value is None or bool(value != value)  # noqa: PLR0124
    except TypeError:
        return True


def _number(value: Any, asked_by: str) -> float:
    if is_missing(value):
        return float("nan")
    try:
        if not isinstance(value, str):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise ArgumentError(f"{asked_by} needs numbers, or missing values; found {value!r}")


def ids_digest(ids: Iterable[Any]) -> str:
    """16 hex digits of ids in their order: another when a row number comes to mean another radiograph."""
    values = ids.tolist() if hasattr(ids, "tolist") else ids  # pandas hands out strings one by one much more slowly
    return hashlib.sha256("\n".join(map(str, values)).encode()).hexdigest()[:16]
