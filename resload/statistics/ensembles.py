"""Several arms as one: the mean of what they say of each film."""

from collections.abc import Hashable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from resload.errors import ArgumentError
from resload.statistics.ranks import Floats, midranks


def ensemble(arms: Mapping[Hashable, ArrayLike], *, ranks: bool = False) -> Floats:
    """The mean over arms of the scores of the same seed and film: (S, N) for each arm -> float64 (S, N).

    Scores are averaged as they are, which suits probabilities; with ranks=True their ranks among the films, from 0 to
    1, for scores of different scales. A film's score then depends on the other films.
    """
    every = [np.asarray(scores, np.float64) for scores in arms.values()]
    shapes = {scores.shape for scores in every}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ArgumentError(f"an ensemble needs arms of the same seeds and films, (S, N); found {sorted(shapes)}")
    return np.asarray(sum(map(_ranked, every) if ranks else every) / len(every))


def _ranked(scores: Floats) -> Floats:
    return np.stack([(midranks(row) - 0.5) / len(row) for row in scores])
