"""What may be said of one size against another: areas, intervals, tests, and where a smaller size begins to cost.

    ranks           the area under a ROC curve by ranks, also for many weights of the films at once
    resampling      which patients are in each resample
    metrics         what is compared, for each seed and in each resample
    student         Student's t
    estimates       a number with its interval over patients and its spread over seeds; differences and ratios
    correlated      DeLong's test, where each patient has one film
    several         Holm's correction for many comparisons
    noninferiority  the plateau: the smallest size that is not worse than the reference by a margin
    ensembles       several sizes as one
    films           the films that are compared, in every size the same ones
    comparison      all of it for one target: `compared`

Plain arrays in, frozen dataclasses out; no torch, no pandas.
"""

from resload.statistics.comparison import Comparison, adjusted, compared
from resload.statistics.correlated import DeLong, delong, delong_test
from resload.statistics.ensembles import ensemble
from resload.statistics.estimates import Difference, Estimate
from resload.statistics.metrics import METRICS, Metric
from resload.statistics.noninferiority import Plateau, Tested, plateau
from resload.statistics.ranks import auc, placements
from resload.statistics.resampling import Resampling
from resload.statistics.several import holm, repeats_for

__all__ = [
    "METRICS",
    "Comparison",
    "DeLong",
    "Difference",
    "Estimate",
    "Metric",
    "Plateau",
    "Resampling",
    "Tested",
    "adjusted",
    "auc",
    "compared",
    "delong",
    "delong_test",
    "ensemble",
    "holm",
    "placements",
    "plateau",
    "repeats_for",
]
