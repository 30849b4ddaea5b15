"""Statistics hold what they promise: films are simulated whose truth is known, hundreds of times.

Patients have several films that are alike, some films of the sick ones show the finding, and three sizes score them:
two that are equally good, and one whose area is smaller by exactly the margin. Bounds are four standard errors wide.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from resload.statistics import Comparison, compared, plateau

TRIALS = 500
MARGIN = 0.05
SHIFT = 1.2
"""How much higher films with the finding score, in standard deviations of a score."""
AREA = NormalDist().cdf(SHIFT / math.sqrt(2))
LESS = math.sqrt(2) * NormalDist().inv_cdf(AREA - MARGIN)
"""The shift whose area is smaller by the margin."""


@dataclass
class Simulated:
    """Films of one trial."""

    patients: np.ndarray
    labels: np.ndarray
    arms: dict[int, np.ndarray]


def simulated(trial: int, patients: int = 90) -> Simulated:
    """Patients of 1 to 6 films; scores of two seeds, each of variance 1, of which patients share most."""
    rng = np.random.default_rng((7, trial))
    codes = np.repeat(np.arange(patients), rng.integers(1, 7, patients))
    labels = (rng.random(patients) < 0.5)[codes] & (rng.random(len(codes)) < 0.8)

    def score(shift):
        own = np.sqrt(0.3) * rng.normal(size=patients)[codes] + np.sqrt(0.3) * noise
        return np.sqrt(0.4) * common[codes] + own + shift * labels

    noise = rng.normal(size=len(codes))
    common = rng.normal(size=patients)
    shifts = {64: LESS, 128: SHIFT, 256: SHIFT}
    return Simulated(codes, labels.astype(float), {size: np.stack([score(x), score(x)]) for size, x in shifts.items()})


def asked(films: Simulated, patients: np.ndarray) -> Comparison:
    """The comparison, with a margin that none of the trials is about."""
    return compared(films.arms, films.labels, patients, reference=256, margin=MARGIN, repeats=400)


@pytest.fixture(scope="module")
def trials() -> list[Comparison]:
    """By patients, as it is meant."""
    return [asked(films, films.patients) for films in map(simulated, range(TRIALS))]


def bounds(share: float, trials: int = TRIALS) -> tuple[float, float]:
    """Where a share of so many trials lies, but for one case in ten thousand."""
    error = math.sqrt(share * (1 - share) / trials)
    return share - 4 * error, share + 4 * error


def held(found: list[Comparison], size: int, truth: float) -> float:
    """How often the interval of an area holds the true one."""
    return float(np.mean([one.arms[size].low <= truth <= one.arms[size].high for one in found]))


@pytest.mark.slow
def test_intervals_of_areas_hold_the_truth(trials):
    """95 % of them."""
    low, high = bounds(0.95)
    assert low < held(trials, 256, AREA) < high
    assert low < held(trials, 64, AREA - MARGIN) < high


@pytest.mark.slow
def test_intervals_of_differences_hold_the_truth(trials):
    """95 % of them, of no difference and of one by the margin."""
    low, high = bounds(0.95)
    for size, truth in ((128, 0.0), (64, -MARGIN)):
        found = [one.differences[size] for one in trials]
        assert low < np.mean([one.low <= truth <= one.high for one in found]) < high


@pytest.mark.slow
def test_films_taken_for_patients_hold_too_little():
    """What the resampling of patients is for, and that these tests can fail: with every film as if it were a patient
    of its own, intervals are too narrow."""
    some = list(map(simulated, range(200)))
    alone = [asked(films, np.arange(len(films.labels))) for films in some]
    assert held(alone, 256, AREA) < bounds(0.95, len(some))[0]
    assert all(one.note == "" for one in alone)
    normal = [one.delong[128] for one in alone]
    assert np.mean([one.low <= 0 <= one.high for one in normal]) < bounds(0.95, len(some))[0]


@pytest.mark.slow
def test_p_values_of_no_difference_are_even(trials):
    """As likely to be small as large, and below 0.05 in 5 % of the trials."""
    found = [one.differences[128].p for one in trials]
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    assert np.mean(np.array(found) < 0.05) < bounds(0.05)[1]


@pytest.mark.slow
def test_a_size_worse_by_the_margin_is_seldom_let_through(trials):
    """In 2.5 % of the trials, whatever sizes are tested before it; without the order it would be more."""
    wrong = [plateau({64: one.differences[64]}, MARGIN).size == 64 for one in trials]
    assert bounds(0.025)[0] < np.mean(wrong) < bounds(0.025)[1]
    assert np.mean([one.plateau.size == 64 for one in trials]) <= np.mean(wrong)


@pytest.mark.slow
def test_a_size_as_good_is_found(trials):
    """The plateau says yes to a size that is equally good often enough: its seldom saying yes above is no silence."""
    assert np.mean([one.plateau.size in {64, 128} for one in trials]) > 0.3


@pytest.mark.slow
def test_the_spread_over_resamples_is_that_over_patients(trials):
    """The standard deviation that is given is that of the areas of the trials, each with other patients."""
    areas = np.array([one.arms[256].value for one in trials])
    given = np.array([one.arms[256].sd_patients for one in trials])
    assert given.mean() == pytest.approx(areas.std(ddof=1), rel=4 / math.sqrt(2 * TRIALS))
