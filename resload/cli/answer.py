"""What a verb answers. How numbers and tables look as text is in `resload.wording`, named here for the verbs."""

from dataclasses import dataclass
from typing import Any

from resload.wording import MOST, columns, counted, counts, first_of, megabytes, millimetres

__all__ = ["MOST", "Answer", "columns", "counted", "counts", "first_of", "megabytes", "millimetres"]


@dataclass(frozen=True)
class Answer:
    """The result of a verb, for machines and for people."""

    document: dict[str, Any]
    """Plain values for JSON: no NaN, unknown is None."""
    lines: list[str]
    """The same for people."""
    bad: bool = False
    """Whether something bad was found: exit code 1."""
