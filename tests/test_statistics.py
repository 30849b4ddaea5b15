"""Statistics: areas against scikit-learn, DeLong's test against pROC's published results, and what is said of sizes."""

import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from resload import statistics
from resload.errors import ArgumentError
from resload.statistics import (
    Estimate,
    Resampling,
    adjusted,
    auc,
    compared,
    delong,
    delong_test,
    ensemble,
    holm,
    placements,
    plateau,
    repeats_for,
)
from resload.statistics.metrics import Areas, Means, measure
from resload.statistics.ranks import Ranked, midranks
from resload.statistics.student import student_cdf, student_quantile

seeds = st.integers(0, 2**32)


def films(rng, patients, *, most=4, share=0.4):
    """Patients of 1 to `most` films, in mixed order, and labels of which some are positive."""
    codes = rng.permutation(np.repeat(np.arange(patients), rng.integers(1, most + 1, patients)))
    labels = rng.random(len(codes)) < share
    labels[:2] = (True, False)
    return codes, labels.astype(float)


def sizes(rng, labels, *, seeds=2, gains=(0.5, 1.0, 1.5)):
    """Scores (seeds, N) of sizes 64, 128, 256 that see better and better."""
    shown = np.nan_to_num(labels)
    return {
        64 * 2**i: rng.normal(size=(seeds, len(labels))) + gain * shown + rng.normal(size=len(labels))
        for i, gain in enumerate(gains)
    }


# -- areas -----------------------------------------------------------------------------------------------


@given(seeds, st.integers(2, 60), st.integers(1, 12), st.floats(0.05, 0.95))
def test_an_area_is_that_of_scikit_learn(seed, count, levels, share):
    """With many ties and with none, whichever class is rarer."""
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < share
    labels[:2] = (True, False)
    scores = rng.integers(0, levels, count) / 4 if levels < 12 else rng.normal(size=count)
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    above, below = placements(scores, labels)
    assert above.mean() == pytest.approx(auc(scores, labels))
    assert below.mean() == pytest.approx(auc(scores, labels))


@given(seeds, st.integers(2, 60), st.integers(1, 12), st.floats(0.05, 0.95))
def test_weighted_areas_are_those_of_scikit_learn(seed, count, levels, share):
    """For many weightings at once; NaN where a weighting leaves a class out."""
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < share
    labels[:2] = (True, False)
    scores = rng.integers(0, levels, count) / 4 if levels < 12 else rng.normal(size=count)
    weights = rng.integers(0, 4, (count, 6)).astype(np.int32)
    weights[labels, 0] = 0
    found = Ranked(scores.astype(float), labels).areas(weights)
    for one, column in zip(found, weights.T, strict=True):
        if column[labels].any() and column[~labels].any():
            assert one == pytest.approx(roc_auc_score(labels, scores, sample_weight=column), abs=1e-12)
        else:
            assert math.isnan(one)


def test_an_area_needs_both_classes():
    """It is NaN, not 0 or 1, where one is missing; placements are refused."""
    assert math.isnan(auc([1, 2], [1, 1]))
    assert math.isnan(auc([1, 2], [0, 0]))
    with pytest.raises(ArgumentError, match="both classes are needed; found 2 positive and 0"):
        placements([1, 2], [1, 1])
    with pytest.raises(ArgumentError, match="labels must be a row of 0 and 1"):
        auc([1, 2], [1, np.nan])


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40))
def test_midranks_are_those_of_scipy(values):
    """Ties share their mean rank."""
    assert midranks(np.array(values, float)).tolist() == stats.rankdata(values).tolist()


# -- resamples -------------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 30), st.integers(1, 40))
def test_whole_patients_are_drawn(seed, patients, repeats):
    """As many as there are, each with all its films, and as often for whoever asks."""
    codes, _ = films(np.random.default_rng(seed), patients + 1)
    resampling = Resampling(codes, repeats=repeats, seed=seed)
    weights = np.concatenate(list(resampling.blocks()), axis=1)
    assert weights.shape == (len(codes), repeats)
    assert (weights == np.concatenate(list(resampling.blocks()), axis=1)).all()
    first = [np.flatnonzero(codes == code)[0] for code in np.unique(codes)]
    assert (weights[first].sum(axis=0) == resampling.count).all()
    for code in np.unique(codes):
        assert (np.ptp(weights[codes == code], axis=0) == 0).all()


def test_resamples_do_not_depend_on_how_many_are_held(monkeypatch):
    """Blocks of one or of many give the same draws; other seeds give others."""
    codes = np.arange(50)
    whole = np.concatenate(list(Resampling(codes, repeats=30).blocks()), axis=1)
    monkeypatch.setattr("resload.statistics.resampling._BLOCK_CELLS", 7 * 50)
    parts = list(Resampling(codes, repeats=30).blocks())
    assert len(parts) == 5
    assert (np.concatenate(parts, axis=1) == whole).all()
    assert (next(Resampling(codes, repeats=30, seed=1).blocks()) != parts[0]).any()


def test_patients_may_be_anything_but_unknown():
    """Texts and tuples are as good as numbers; None and NaN are not one more patient."""
    named = Resampling(["b", "a", "b"], repeats=9)
    assert named.codes.tolist() == [0, 1, 0]
    assert (next(named.blocks()) == next(Resampling([(1, 2), int, (1, 2)], repeats=9).blocks())).all()
    for unknown in (["a", None], [1.0, float("nan")], np.array([1.0, np.nan])):
        with pytest.raises(ArgumentError, match="every film needs a patient; found 1 of 2 without"):
            Resampling(unknown)
    with pytest.raises(ArgumentError, match="repeats must be >= 1; found 0"):
        Resampling([1, 2], repeats=0)


def test_resampled_values_are_those_of_the_films_drawn():
    """An area, and a mean, of a resample is that of its films written out, for each seed."""
    rng = np.random.default_rng(0)
    codes, labels = films(rng, 20)
    scores = rng.normal(size=(2, len(codes)))
    resampling = Resampling(codes, repeats=5)
    areas, means = measure([Areas(scores, labels == 1), Means(scores)], resampling, 2)
    weights = np.concatenate(list(resampling.blocks()), axis=1)
    for repeat, seed in itertools.product(range(5), range(2)):
        drawn = np.repeat(np.arange(len(codes)), weights[:, repeat])
        assert areas.resamples[repeat, seed] == pytest.approx(roc_auc_score(labels[drawn], scores[seed, drawn]))
        assert means.resamples[repeat, seed] == pytest.approx(scores[seed, drawn].mean())
    assert areas.seeds.tolist() == pytest.approx([roc_auc_score(labels, row) for row in scores])


# -- Student's t -----------------------------------------------------------------------------------------


@given(st.floats(-50, 50), st.integers(1, 400))
def test_students_t_is_that_of_scipy(t, freedom):
    """Both tails, odd and even degrees of freedom."""
    assert student_cdf(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-9)  # its own error


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 1000, 7001])
def test_students_quantiles_are_those_of_scipy(freedom):
    """At the level of an interval."""
    assert student_quantile(0.025, freedom) == pytest.approx(stats.t.ppf(0.025, freedom))


# -- DeLong ----------------------------------------------------------------------------------------------

# wfns/s100b/ndka of patients after a subarachnoid haemorrhage (Turck et al., Intensive Care Med 2010;36:107-115), by
# outcome: the data `aSAH` of the R package pROC (Robin et al., BMC Bioinformatics 2011;12:77).
POOR = """
3/0.13/17.4 2/0.1/12.75 4/0.16/13.2 5/0.12/15.96 5/0.44/5.18 5/0.71/8.9 5/0.49/11.6 2/0.07/32.37 5/0.33/54.82
2/0.09/32.41 1/0.07/40.34 2/0.41/9.85 5/0.35/14.04 4/0.48/21.93 4/0.96/7.42 2/0.25/8.38 5/0.86/13.56 5/0.52/3.87
5/2.07/419.19 2/0.07/21.22 5/0.77/10.4 2/0.3/11.09 5/0.03/12.22 2/0.09/13.67 4/0.23/22.63 5/0.7/12.9 4/0.27/21.57
4/0.71/8.23 1/0.08/72.57 4/0.26/15.54 4/0.13/5.19 2/0.1/9.63 2/0.11/21.48 5/0.22/5.37 5/0.56/9.57 2/0.14/34.06
2/0.58/11.72 5/0.32/14.26 5/0.82/47.61 5/0.74/11.67 5/0.44/15.89
"""
GOOD = """
1/0.13/3.01 1/0.14/8.54 1/0.1/8.09 1/0.04/10.42 5/0.47/6.0 1/0.18/15.54 2/0.1/6.01 2/0.1/17.86 1/0.04/13.41
2/0.08/20.75 2/0.04/16.11 1/0.09/49.94 1/0.11/9.47 1/0.07/6.29 2/0.17/12.53 1/0.07/6.54 2/0.11/6.3 1/0.13/80.3
1/0.19/12.8 3/0.05/9.8 4/0.16/9.81 1/0.14/18.21 4/0.34/5.03 1/0.09/8.02 5/0.5/6.59 5/0.46/9.63 1/0.16/13.12
1/0.07/7.96 2/0.43/14.34 4/0.45/41.43 1/0.11/7.63 1/0.08/7.06 2/0.09/12.59 2/0.08/9.44 1/0.06/7.66 2/0.13/12.98
1/0.1/27.19 2/0.14/22.27 2/0.15/9.95 1/0.06/11.73 1/0.05/58.83 1/0.09/6.39 1/0.04/17.21 2/0.09/9.7 1/0.08/10.51
2/0.16/10.6 1/0.09/14.57 1/0.08/4.61 3/0.33/17.3 2/0.11/12.71 4/0.28/9.44 2/0.07/11.07 1/0.1/19.46 4/0.32/10.83
1/0.07/11.97 1/0.05/7.75 5/0.24/9.83 4/0.38/10.55 2/0.1/28.49 2/0.15/8.53 1/0.08/12.57 1/0.14/12.9 1/0.1/46.83
3/0.07/11.68 1/0.04/12.67 2/0.19/9.01 2/0.15/24.58 4/0.47/10.33 4/0.17/13.87 1/0.15/22.43 1/0.5/6.79 1/0.48/13.45
"""


@pytest.fixture(scope="module")
def markers():
    """Name -> values of 41 poor and 72 good outcomes, and their labels."""
    rows = np.array([[float(v) for v in row.split("/")] for row in (POOR + GOOD).split()])
    labels = np.repeat([1, 0], [len(POOR.split()), len(GOOD.split())])
    assert labels.sum() == 41
    assert len(labels) == 113
    return dict(zip(("wfns", "s100b", "ndka"), rows.T, strict=True)), labels


@pytest.mark.parametrize(
    ("one", "other", "z", "p", "low", "high"),
    [
        ("wfns", "s100b", 2.20898359144091, 0.0271757822291882, 0.0104061769564846, 0.174214419249478),
        ("wfns", "ndka", 2.79777591868904, 0.00514557970691098, 0.0634011709339876, 0.3600405634833566),
        ("ndka", "s100b", -1.39077002573558, 0.164295175223054, -0.2876917446341914, 0.0488706064228094),
    ],
)
def test_delongs_test_is_that_of_proc(markers, one, other, z, p, low, high):
    """What pROC's own tests expect of `roc.test` (tests/testthat/test-roc.test.R), to their last digits."""
    values, labels = markers
    found = delong_test(values[one], values[other], labels)
    assert (found.z, found.p, found.low, found.high) == pytest.approx((z, p, low, high), rel=1e-10)
    back = delong_test(values[other], values[one], labels)
    assert (back.z, back.p) == pytest.approx((-z, p), rel=1e-10)


def test_delongs_covariances_are_those_of_proc(markers):
    """What pROC's own tests expect of `cov` (tests/testthat/test-cov.R)."""
    values, labels = markers
    _, covariance = delong([values["wfns"], values["ndka"], values["s100b"]], labels)
    expected = (-0.000532967856762438, -0.000756164938056579, 0.00119615567376754)
    assert (covariance[0, 1], covariance[1, 2], covariance[0, 2]) == pytest.approx(expected, rel=1e-10)


@given(seeds, st.integers(2, 9), st.integers(2, 9), st.integers(2, 5))
def test_delongs_covariance_is_its_definition(seed, m, n, levels):
    """Every pair counted by hand, ties among them."""
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, levels, (2, m + n)), np.repeat([1, 0], [m, n])
    won = [np.sign(row[:m, None] - row[None, m:]) / 2 + 0.5 for row in scores]
    covariance = np.cov([w.mean(axis=1) for w in won]) / m + np.cov([w.mean(axis=0) for w in won]) / n
    areas, found = delong(scores, labels)
    np.testing.assert_allclose(found, covariance, atol=1e-12)
    assert areas.tolist() == pytest.approx([w.mean() for w in won])


def test_delong_of_seeds_is_the_mean_of_their_areas():
    """Several seeds are compared by their mean area, with the variance that it has; one seed is the plain test."""
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [30, 50])
    one, other = rng.normal(size=(3, 80)) + labels, rng.normal(size=(3, 80))
    found = delong_test(one, other, labels)
    areas = [np.mean([auc(row, labels) for row in arm]) for arm in (one, other)]
    assert found.value == pytest.approx(areas[0] - areas[1])
    again = delong_test(np.repeat(one[:1], 3, axis=0), np.repeat(other[:1], 3, axis=0), labels)
    plain = delong_test(one[0], other[0], labels)
    assert (again.z, again.p) == pytest.approx((plain.z, plain.p))


def test_delong_of_the_same_is_no_difference():
    """z = 0 and p = 1, not a division by zero."""
    scores, labels = np.arange(8.0), np.repeat([0, 1], 4)
    found = delong_test(scores, scores, labels)
    assert (found.value, found.z, found.p) == (0, 0, 1)


def test_delong_refuses_several_films_of_a_patient():
    """And says what to use in its place."""
    with pytest.raises(ArgumentError, match="found 1 patients with more than one: use the bootstrap over patients"):
        delong_test(np.arange(4.0), np.arange(4.0), [0, 1, 0, 1], patients=["a", "b", "c", "a"])
    with pytest.raises(ArgumentError, match="two films of each class are needed; found 1 and 2"):
        delong(np.arange(3.0), [0, 1, 0])


def test_the_bootstrap_agrees_with_delong_where_each_patient_has_one_film():
    """Their intervals of a difference are within a tenth of their width."""
    rng = np.random.default_rng(3)
    labels = (rng.random(600) < 0.3).astype(float)
    found = compared(sizes(rng, labels, seeds=2), labels, np.arange(600), reference=256, margin=0.02, repeats=4000)
    assert found.note == ""
    for size, normal in found.delong.items():
        one = found.differences[size]
        width = normal.high - normal.low
        assert one.value == pytest.approx(normal.value)
        assert (one.low, one.high) == pytest.approx((normal.low, normal.high), abs=width / 10)
        assert one.sd_patients == pytest.approx(width / 2 / 1.96, rel=0.1)


# -- estimates -------------------------------------------------------------------------------------------


def test_seeds_and_patients_are_kept_apart():
    """The value is the mean over seeds; each spread is over its own, and differences and ratios are seed by seed."""
    rng = np.random.default_rng(1)
    codes, labels = films(rng, 80)
    arms = sizes(rng, labels, seeds=3)
    found = compared(arms, labels, codes, reference=256, margin=0.02, repeats=300)
    each = {size: np.array([auc(row, labels) for row in scores]) for size, scores in arms.items()}
    for size, estimate in found.arms.items():
        assert estimate.value == pytest.approx(each[size].mean())
        assert estimate.sd_seeds == pytest.approx(each[size].std(ddof=1))
        assert estimate.seeds == pytest.approx(tuple(each[size]))
        assert estimate.low < estimate.value < estimate.high
    assert found.differences[64].sd_seeds == pytest.approx((each[64] - each[256]).std(ddof=1))
    assert found.ratio_of == (64, 256)
    assert found.ratio.value == pytest.approx(each[64].mean() / each[256].mean())
    assert found.ratio.sd_seeds == pytest.approx((each[64] / each[256]).std(ddof=1))
    assert 0 < found.ratio.sd_patients < 0.2


def test_the_papers_ratio():
    """0.689 at 64 pixels over 0.854 at 320 is 80.7 %, as Sabottke and Spieler print it."""
    scale = 1000
    labels = np.repeat([1, 0], [1, scale])
    arms = {size: np.append(won - 0.5, np.arange(scale)) for size, won in ((64, 689), (320, 854))}
    found = compared(arms, labels, np.arange(scale + 1), reference=320, margin=0.02, repeats=2)
    assert (found.arms[64].value, found.arms[320].value) == pytest.approx((0.689, 0.854))
    assert f"{found.ratio.value:.1%}" == "80.7%"


def test_what_has_no_number_is_nan():
    """An area of one class, and a share of nothing."""
    found = compared({64: range(3), 256: range(3)}, [1, 1, 1], range(3), reference=256, margin=0.02, repeats=9)
    assert np.isnan([found.arms[64].value, found.arms[64].low, found.differences[64].p, found.ratio.value]).all()
    assert found.note == "DeLong's test needs two films of each class"
    errors = {64: [1, 2, 0], 256: [0, 0, 0]}
    found = compared(errors, None, range(3), metric="error", reference=256, margin=0.02, repeats=9)
    assert math.isnan(found.ratio.value)
    assert found.arms[256].value == 0


def test_one_seed_has_no_spread_over_seeds():
    """NaN, and not 0, which would say that seeds agree."""
    rng = np.random.default_rng(2)
    codes, labels = films(rng, 40)
    found = compared(sizes(rng, labels, seeds=1), labels, codes, reference=256, margin=0.02, repeats=50)
    assert math.isnan(found.arms[64].sd_seeds)
    assert found.arms[64].sd_patients > 0


def test_a_class_of_one_patient_has_no_interval():
    """Resamples cannot show what another patient's films would have done: NaN, no test, no plateau."""
    codes, labels = np.repeat(np.arange(20), 3), np.repeat([1, 0], [3, 57])
    arms = sizes(np.random.default_rng(0), labels)
    found = compared(arms, labels, codes, reference=256, margin=0.5, repeats=50)
    assert np.isnan(
        [found.arms[64].low, found.arms[64].high, found.arms[64].sd_patients, found.differences[64].p]
    ).all()
    assert found.arms[64].value > 0
    assert found.plateau.size is None


def test_equal_arms_differ_by_nothing():
    """p = 1 and an interval of no width; the smallest size is as good."""
    rng = np.random.default_rng(4)
    codes, labels = films(rng, 40)
    scores = rng.normal(size=(2, len(codes)))
    found = compared({64: scores, 128: scores, 256: scores}, labels, codes, reference=256, margin=1e-9, repeats=99)
    assert (found.differences[64].low, found.differences[64].high, found.differences[64].p) == (0, 0, 1)
    assert found.plateau.size == 64
    assert found.ratio.value == 1


@given(seeds)
@settings(max_examples=20)
def test_a_p_value_and_its_interval_say_the_same(seed):
    """Below 0.05 exactly where the interval leaves zero out, but for the resamples at its ends."""
    rng = np.random.default_rng(seed)
    codes, labels = films(rng, 40)
    found = compared(sizes(rng, labels, gains=(0.6, 1.0, 1.2)), labels, codes, reference=256, margin=0.02, repeats=999)
    for one in found.differences.values():
        if not 0.03 < one.p < 0.07:
            assert (one.p < 0.05) == (one.low > 0 or one.high < 0)


# -- values that are no scores ---------------------------------------------------------------------------


def test_means_are_averaged_without_what_is_unknown():
    """A film unknown in any arm counts in none; there is no ensemble and no DeLong."""
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(50), 2)
    arms = {64: rng.normal(2, 1, (2, 100)), 256: rng.normal(1, 1, (2, 100))}
    arms[64][0, 3] = np.nan
    arms[256][1, 8] = np.nan
    found = compared(arms, None, codes, metric="error", reference=256, margin=0.2, repeats=200)
    kept = np.delete(np.arange(100), [3, 8])
    assert found.films == 98
    assert found.arms[64].value == pytest.approx(arms[64][:, kept].mean())
    assert (found.ensemble, found.delong, found.positives) == (None, {}, None)
    assert found.note == "DeLong's test is of areas under ROC curves, not of the metric 'error'"
    assert found.differences[64].low > 0.2
    assert found.plateau.size is None
    assert compared(arms, None, codes, metric="mean", reference=256, margin=0.2, repeats=200).plateau.size == 64


def test_labels_choose_the_films_of_a_mean():
    """Films of unknown label are left out here too."""
    values = np.arange(6.0)
    found = compared(
        {1: values}, [1, 1, np.nan, 0, 0, np.nan], range(6), metric="mean", reference=1, margin=1, repeats=9
    )
    assert found.arms[1].value == pytest.approx(2)


# -- many comparisons ------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_its_definition(values):
    """The i-th smallest times how many are left, never falling, at most 1."""
    found = holm(values)
    highest = 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        assert found[index] == pytest.approx(highest)


def test_unknown_p_values_are_not_of_the_family():
    """They stay unknown and cost the others nothing."""
    assert holm([0.01, np.nan, 0.02])[[0, 2]].tolist() == [0.02, 0.02]
    assert math.isnan(holm([0.01, np.nan, 0.02])[1])


def test_several_targets_are_corrected_together():
    """Within a comparison by its own differences, `adjusted` by all; p itself stays."""
    rng = np.random.default_rng(6)
    codes, labels = films(rng, 60)
    one, two = (compared(sizes(rng, labels), labels, codes, reference=256, margin=0.02, repeats=200) for _ in range(2))
    own = [*one.differences.values(), one.ensemble_difference]
    assert [found.p_holm for found in own] == pytest.approx(holm([found.p for found in own]).tolist())
    both = adjusted({"nodule": one, "mass": two})
    family = [found for each in both.values() for found in (*each.differences.values(), each.ensemble_difference)]
    assert [found.p_holm for found in family] == pytest.approx(holm([found.p for found in family]).tolist())
    assert [found.p for found in family[:3]] == [found.p for found in own]


def test_how_many_resamples_a_family_needs():
    """With so many the smallest p-value of so many comparisons gets to 0.05, with one fewer it does not."""
    for count in (1, 8, 112):
        fewest = repeats_for(count)
        assert 2 / (fewest + 1) * count <= 0.05 < 2 / fewest * count


# -- the plateau -----------------------------------------------------------------------------------------


def between(low, high):
    """An estimate of which only the ends matter."""
    return Estimate((low + high) / 2, low, high, 0.0, 0.0, ())


def test_the_plateau_ends_at_the_first_size_that_fails():
    """Even where a smaller one would pass: nothing may be claimed below it, and it is not tested."""
    differences = {
        64: between(-0.01, 0.03),
        128: between(-0.05, 0.01),
        256: between(-0.015, 0.02),
        384: between(0, 0.1),
    }
    found = plateau(differences, 0.02)
    assert found.size == 256
    assert [(one.size, one.worst, one.passed) for one in found.tested] == [
        (384, 0, True), (256, -0.015, True), (128, -0.05, False),
    ]  # fmt: skip


def test_the_plateau_looks_at_the_bad_side():
    """The lower end where higher is better, the upper where lower is; touching the margin fails, unknown ends too."""
    assert plateau({64: between(-0.019, 0.5)}, 0.02).size == 64
    assert plateau({64: between(-0.02, 0.5)}, 0.02).size is None
    assert plateau({64: between(-0.5, 0.019)}, 0.02, higher_is_better=False).size == 64
    assert plateau({64: between(-0.5, 0.02)}, 0.02, higher_is_better=False).size is None
    assert plateau({64: between(np.nan, np.nan)}, 0.02).size is None
    assert plateau({}, 0.02) == statistics.Plateau(None, 0.02, ())


@pytest.mark.parametrize("margin", [0, -0.01, math.inf, math.nan, True])
def test_a_margin_is_above_zero(margin):
    """Nothing is ever shown to be no worse at all."""
    with pytest.raises(
        ArgumentError, match=re.escape(f"margin must be above 0, in the metric's own units; found {margin}")
    ):
        plateau({}, margin)


def test_sizes_above_the_reference_are_compared_and_not_tested():
    """The plateau begins below the reference that was named."""
    rng = np.random.default_rng(7)
    codes, labels = films(rng, 60)
    found = compared(sizes(rng, labels), labels, codes, reference=128, margin=0.5, repeats=100)
    assert set(found.differences) == {64, 256}
    assert [one.size for one in found.plateau.tested] == [64]


# -- ensembles -------------------------------------------------------------------------------------------


def test_an_ensemble_is_the_mean_score():
    """Seed by seed; by ranks where asked."""
    arms = {64: np.array([[0.1, 0.5, 0.9]]), 128: np.array([[3.0, 1.0, 2.0]])}
    assert ensemble(arms).tolist() == pytest.approx(np.array([[1.55, 0.75, 1.45]]))
    assert ensemble(arms, ranks=True) * 6 == pytest.approx(np.array([[3, 2, 4]]))
    with pytest.raises(ArgumentError, match=r"same seeds and films, \(S, N\); found \[\(1, 3\), \(2, 3\)\]"):
        ensemble({64: np.zeros((1, 3)), 128: np.zeros((2, 3))})


def test_an_ensemble_is_compared_like_an_arm():
    """On the same resamples; where arms have other numbers of seeds there is none."""
    rng = np.random.default_rng(8)
    codes, labels = films(rng, 60)
    arms = sizes(rng, labels)
    found = compared(arms, labels, codes, reference=256, margin=0.02, repeats=100)
    joined = compared({"all": ensemble(arms), 256: arms[256]}, labels, codes, reference=256, margin=0.02, repeats=100)
    assert found.ensemble == joined.arms["all"]
    assert found.ensemble_difference.low == joined.differences["all"].low
    arms[64] = arms[64][:1]
    fewer = compared(arms, labels, codes, reference=256, margin=0.02, repeats=100)
    assert fewer.ensemble is None
    assert math.isnan(fewer.differences[64].sd_seeds)


# -- what is compared ------------------------------------------------------------------------------------


def test_films_of_unknown_label_do_not_count():
    """As if they were not there, whatever their scores are."""
    rng = np.random.default_rng(9)
    codes, labels = films(rng, 60)
    arms = sizes(rng, labels)
    lost = rng.random(len(codes)) < 0.3
    marked = np.where(lost, np.nan, labels)
    for scores in arms.values():
        scores[:, lost] = np.nan
    some = compared(arms, marked, codes, reference=256, margin=0.02, repeats=100)
    kept = {size: scores[:, ~lost] for size, scores in arms.items()}
    assert some == compared(kept, labels[~lost], codes[~lost], reference=256, margin=0.02, repeats=100)
    assert (some.films, some.positives) == ((~lost).sum(), int(labels[~lost].sum()))
    assert some.patients == len(np.unique(codes[~lost]))
    assert some.positive_patients == len(np.unique(codes[~lost & (labels == 1)]))
    assert (
        some.note
        == f"DeLong's test needs one film of each patient; {sum(np.bincount(codes[~lost]) > 1)} patients have more"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"metric": "f1"}, "metric must be one of auc, mean, error; found 'f1'"),
        ({"reference": 512}, "reference and ratio_of must be among the arms [64, 128, 256]; found 512"),
        ({"ratio_of": (32, 256)}, "reference and ratio_of must be among the arms [64, 128, 256]; found 32"),
        ({"labels": None}, 'the metric "auc" needs labels, 0, 1 or NaN for each film; found None'),
        ({"labels": [0, 1, 2, 0]}, "labels must be 0, 1, or NaN for unknown; found 2"),
        ({"labels": [0, 1]}, "labels must be one for each of 4 films; found (2,)"),
        ({"labels": [np.nan] * 4}, "no film has a known label"),
        ({"patients": [0, 1]}, "arm 64 must be (S, 2), seeds x films with a patient; found (1, 4)"),
        ({"arms": {}}, "at least one arm is needed"),
        ({"arms": {64: [0, 1, 2, 3], 128: [0, 1, 2, np.nan]}}, "arm 128 has no score (NaN) for 1 films"),
        ({"arms": {128: range(4), 64: range(4)}}, "arms must be given in ascending order of size; found [128, 64]"),
        ({"margin": 0}, "margin must be above 0"),
        ({"repeats": 0}, "repeats must be >= 1; found 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(changed, message):
    """With what was expected and what was found."""
    asked = {"arms": {64: range(4), 128: range(4), 256: range(4)}, "labels": [0, 1, 0, 1], "patients": range(4)}
    asked |= {"reference": 256, "margin": 0.02, "repeats": 9} | changed
    with pytest.raises(ArgumentError, match=re.escape(message)):
        compared(asked.pop("arms"), asked.pop("labels"), asked.pop("patients"), **asked)


def test_the_same_question_has_the_same_answer():
    """Another seed draws other patients."""
    rng = np.random.default_rng(10)
    codes, labels = films(rng, 60)
    arms = sizes(rng, labels)
    one, two, three = (
        compared(arms, labels, codes, reference=256, margin=0.02, repeats=100, seed=seed) for seed in (0, 0, 1)
    )
    assert one == two
    assert one.arms[64].low != three.arms[64].low
    assert one.arms[64].value == three.arms[64].value


def test_one_arm_has_nothing_to_be_compared_with():
    """Its estimate stands alone."""
    rng = np.random.default_rng(11)
    codes, labels = films(rng, 60)
    found = compared({256: rng.normal(size=len(codes))}, labels, codes, reference=256, margin=0.02, repeats=50)
    assert (found.differences, found.ratio, found.ratio_of, found.ensemble) == ({}, None, None, None)
    assert found.plateau.size is None


def test_the_room_needs_no_torch_and_no_pandas():
    """Arrays in, dataclasses out."""
    import subprocess
    import sys

    code = (
        "import sys, resload.statistics; print([name for name in ('torch', 'pandas', 'scipy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_simulation_of_intervals_runs_and_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    import interval_coverage

    monkeypatch.setattr("sys.argv", ["interval_coverage.py", "--trials", "2", "--out", str(tmp_path)])
    interval_coverage.main()
    rows = json.loads((tmp_path / "interval_coverage.json").read_text())["rows"]
    assert len(rows) == 9
    assert all(row[kind] in (0.0, 0.5, 1.0) for row in rows for kind in ("area_held", "difference", "area_plain"))
    assert "13 of 200" in capsys.readouterr().out
