"""Sizes compared: everything that is said of one target, from the scores of every size on the same films."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from resload.errors import ArgumentError
from resload.statistics.correlated import DeLong
from resload.statistics.estimates import Difference, Estimate, difference, estimate, ratio
from resload.statistics.films import Films
from resload.statistics.metrics import as_metric
from resload.statistics.noninferiority import Plateau, plateau, refuse_margin
from resload.statistics.ranks import Floats
from resload.statistics.resampling import Resampling
from resload.statistics.several import holm

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Comparison:
    """One target at several sizes."""

    metric: str
    higher_is_better: bool
    films: int
    """That were compared: those whose label (or value, in every arm) is known."""
    positives: int | None
    """Films with the finding; None where there are no labels."""
    patients: int
    positive_patients: int | None
    """Patients with at least one such film."""
    repeats: int
    reference: Hashable
    arms: Mapping[Hashable, Estimate]
    """Ascending, as given."""
    differences: Mapping[Hashable, Difference]
    """Every arm but the reference, less the reference."""
    delong: Mapping[Hashable, DeLong]
    """The same under normal theory; empty where DeLong's test does not hold."""
    note: str
    """Why `delong` is empty; "" where it is not."""
    ratio_of: tuple[Hashable, Hashable] | None
    ratio: Estimate | None
    """The first of `ratio_of` over the second; None with one arm."""
    plateau: Plateau
    ensemble: Estimate | None
    """The mean score of all arms, measured like them; None with one arm, and for values that are no scores."""
    ensemble_difference: Difference | None
    """The ensemble less the reference. Any ensemble gains something: see whether it gains more than one of as many
    networks of one size."""


def compared(
    arms: Mapping[Hashable, ArrayLike],
    labels: ArrayLike | None,
    patients: Iterable[Hashable],
    *,
    metric: str = "auc",
    reference: Hashable,
    margin: float,
    repeats: int = 2000,
    seed: int = 0,
    ratio_of: tuple[Hashable, Hashable] | None = None,
) -> Comparison:
    """Every size with its interval, and against the reference, on the same resamples of patients.

    arms: size -> (S, N) or (N,), what each of S seeds gave each of N films (scores for "auc", else values), sizes
    ascending; labels: (N,) of 0, 1 and NaN for unknown, whose films are left out, or None for metrics without;
    patients: whose film each is, (N,); reference and margin: named before the results are seen; ratio_of: (low, high),
    the smallest arm and the reference where nobody says otherwise.

    p-values are Holm's within this one target: `adjusted` takes several together.
    """
    films = Films.of(arms, labels, patients, as_metric(metric))
    pair = ratio_of or (next(iter(films.arms)), reference)
    _refuse_unknown(films.arms, reference, *pair)
    refuse_margin(margin)
    measured, joint = films.measured(Resampling(films.codes, repeats=repeats, seed=seed))
    differences = {key: difference(one, measured[reference]) for key, one in measured.items() if key != reference}
    note = films.why_no_delong()
    result = Comparison(
        metric=metric,
        higher_is_better=films.metric.higher_is_better,
        films=len(films.codes),
        positives=None if films.positive is None else int(films.positive.sum()),
        patients=len(np.unique(films.codes)),
        positive_patients=None if films.positive is None else len(np.unique(films.codes[films.positive])),
        repeats=repeats,
        reference=reference,
        arms={key: estimate(one) for key, one in measured.items()},
        differences=differences,
        delong={} if note else {key: films.delong(key, reference) for key in differences},
        note=note,
        ratio_of=None if pair[0] == pair[1] else pair,
        ratio=None if pair[0] == pair[1] else ratio(measured[pair[0]], measured[pair[1]]),
        plateau=plateau(
            {key: differences[key] for key in _before(films.arms, reference)},
            margin,
            higher_is_better=films.metric.higher_is_better,
        ),
        ensemble=None if joint is None else estimate(joint),
        ensemble_difference=None if joint is None else difference(joint, measured[reference]),
    )
    return adjusted({"": result})[""]


def adjusted(comparisons: Mapping[Name, Comparison]) -> dict[Name, Comparison]:
    """The same comparisons, of several targets as a rule, with `p_holm` corrected for all their differences together.

    The family is every difference to a reference, those of ensembles too. `repeats_for(how many)` says how many
    resamples a family needs, lest nothing in it can be significant.
    """
    family = [found for one in comparisons.values() for found in _all_differences(one)]
    corrected = iter(holm([found.p for found in family]).tolist())

    def with_holm(found: Difference) -> Difference:
        return replace(found, p_holm=next(corrected))

    return {
        name: replace(
            one,
            differences={key: with_holm(found) for key, found in one.differences.items()},
            ensemble_difference=with_holm(one.ensemble_difference) if one.ensemble_difference else None,
        )
        for name, one in comparisons.items()
    }


def _all_differences(one: Comparison) -> list[Difference]:
    return [*one.differences.values(), *([one.ensemble_difference] if one.ensemble_difference else [])]


def _before(arms: Mapping[Hashable, Floats], reference: Hashable) -> list[Hashable]:
    """The sizes below the reference, ascending as given."""
    keys = list(arms)
    return keys[: keys.index(reference)]


def _refuse_unknown(arms: Mapping[Hashable, Floats], *keys: Hashable) -> None:
    for key in keys:
        if key not in arms:
            raise ArgumentError(f"reference and ratio_of must be among the arms {list(arms)}; found {key!r}")
