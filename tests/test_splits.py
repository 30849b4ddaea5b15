"""Splits keep groups whole, share out films and targets alike, and repeat; folds and balanced draws do too."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resload import Catalog
from resload.cli import main
from resload.errors import ArgumentError
from resload.splits import exchanging, memberships, split_groups, stratified, stratified_groups
from resload.testing import write_synthetic

THREE = {"train": 0.7, "val": 0.1, "test": 0.2}
sizes = st.lists(st.integers(1, 9), min_size=3, max_size=40)
seeds = st.integers(0, 2**40)


def films(sizes):
    """Patient 0 has sizes[0] films, and so on."""
    return np.repeat(np.arange(len(sizes)), sizes)


def distance(sizes, dealt, fractions=THREE):
    """How many films are in a split they would not be in if films could be cut."""
    have = np.bincount(dealt, weights=sizes, minlength=len(fractions))
    return np.abs(have - np.array(list(fractions.values())) * sum(sizes)).sum()


@given(sizes, seeds)
def test_groups_stay_whole_and_no_split_is_empty(sizes, seed):
    """Every patient is in one split, and every split has a patient."""
    groups = films(sizes)
    labels = split_groups(groups, THREE, seed=seed)
    assert labels.shape == groups.shape
    assert len({*zip(groups, labels, strict=True)}) == len(sizes)
    assert set(labels) == set(THREE)


@given(sizes, seeds)
def test_no_move_or_exchange_of_groups_would_come_closer(sizes, seed):
    """Against plain trying: moving one patient, or exchanging two, never brings the counts closer."""
    labels = split_groups(films(sizes), THREE, seed=seed)
    names = list(THREE)
    dealt = np.array([names.index(labels[start]) for start in np.cumsum([0, *sizes[:-1]])])
    closest = distance(sizes, dealt)
    for group, other in itertools.product(range(len(sizes)), range(3)):
        moved = dealt.copy()
        moved[group] = other
        if len(set(moved)) == 3:
            assert distance(sizes, moved) >= closest - 1e-6
    for one, two in itertools.combinations(range(len(sizes)), 2):
        swapped = dealt.copy()
        swapped[[one, two]] = dealt[[two, one]]
        assert distance(sizes, swapped) >= closest - 1e-6


@given(sizes, seeds, st.randoms())
def test_the_order_of_films_does_not_matter(sizes, seed, random):
    """A shuffled table gets the same split, film by film."""
    groups = films(sizes)
    order = np.array(random.sample(range(len(groups)), len(groups)))
    labels = split_groups(groups, THREE, seed=seed)
    assert (split_groups(groups[order], THREE, seed=seed) == labels[order]).all()


def test_single_films_are_split_exactly():
    """1,000 patients with a film each: 700, 100 and 200."""
    labels = split_groups(np.arange(1000), THREE)
    assert pd.Series(labels).value_counts().to_dict() == {"train": 700, "val": 100, "test": 200}


def test_large_groups_do_not_all_go_the_same_way():
    """With another seed the patient with most films is in another split, at about the rate of its fraction."""
    groups = films([184, *[1, 2, 3, 4] * 500])
    in_train = [split_groups(groups, {"train": 0.5, "test": 0.5}, seed=seed)[0] == "train" for seed in range(40)]
    assert 8 <= sum(in_train) <= 32


def test_splits_are_alike_in_the_sizes_of_their_groups():
    """Patients with many films are in every split: the mean number of films hardly differs."""
    sizes = np.random.default_rng(0).geometric(0.25, 6000)
    labels = split_groups(films(sizes), THREE)
    means = pd.Series(sizes).groupby(labels[np.cumsum([0, *sizes[:-1]])]).mean()
    assert means.max() / means.min() < 1.15


def test_seeds_differ_and_repeat():
    """The same seed is the same split, another seed is another."""
    first, again, other = (split_groups(np.arange(100), THREE, seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_any_hashable_is_a_group():
    """Texts, numbers and tuples may be patients, in one column."""
    groups = pd.Series([("a", 1), "a", 1, ("a", 1), 1, "b"], dtype=object)
    labels = split_groups(groups, {"train": 0.5, "test": 0.5})
    assert labels[0] == labels[3]
    assert labels[2] == labels[4]
    assert pd.Series(labels).value_counts().to_dict() == {"train": 3, "test": 3}


@pytest.mark.parametrize(
    "fractions",
    [{}, {"train": 0.7, "test": 0.2}, {"train": 1.0, "test": 0.0}, {"a": 1.5, "b": -0.5}, {"a": float("nan")}],
)
def test_wrong_fractions_are_refused(fractions):
    """Shares that are not > 0, or do not sum to 1, are an error that shows how it is done."""
    with pytest.raises(ArgumentError, match="sum to 1, for example"):
        split_groups([1, 2, 3], fractions)


def test_thirds_sum_to_one():
    """Fractions a millionth off are what people type."""
    split_groups([1, 2, 3], {"a": 0.3333333, "b": 0.3333333, "c": 0.3333334})


def test_too_few_groups_are_refused():
    """Two patients cannot be in three splits."""
    with pytest.raises(ArgumentError, match="3 splits need at least as many groups; found 2"):
        split_groups([1, 1, 2], THREE)


def test_a_film_without_a_group_is_refused():
    """A missing patient may be anybody."""
    with pytest.raises(ArgumentError, match="found 1 without"):
        split_groups(["a", None, "b"], {"train": 0.5, "test": 0.5})


# -- shared out by strata --


def prevalence(labels, members):
    """(splits, strata) share of each split's films, relative to that of all."""
    return pd.DataFrame(members).groupby(labels).mean() / members.mean(axis=0)


def chest_like(rng, patients=4000):
    """Films and findings as ChestX-ray14 has them: many films of some patients, findings alike within a patient."""
    groups = np.repeat(np.arange(patients), rng.geometric(0.28, patients))
    rates = np.geomspace(0.18, 0.004, 12)
    prone = rng.gamma(0.5, 2.0, (patients, 12))
    return groups, rng.random((len(groups), 12)) < np.clip(rates * prone[groups], 0, 0.9)


flags = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=40, max_size=120)


@given(flags, st.integers(4, 12), seeds, st.randoms())
def test_strata_keep_groups_whole_whatever_the_order(members, patients, seed, random):
    """Every patient in one split, no split empty, and a shuffled table gets the same split film by film."""
    members = np.array(members)
    groups = np.arange(len(members)) % patients
    labels = stratified_groups(groups, members, THREE, seed=seed)
    assert len({*zip(groups, labels, strict=True)}) == patients
    assert set(labels) == set(THREE)
    order = np.array(random.sample(range(len(groups)), len(groups)))
    assert (stratified_groups(groups[order], members[order], THREE, seed=seed) == labels[order]).all()


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=3, max_size=25), seeds)
def test_no_move_or_exchange_would_bring_strata_closer(patients, seed):
    """Against plain trying: (have - wanted) / wanted, squared, is at a minimum that no move or exchange improves."""
    counts = np.array([(films, min(films, ill)) for films, ill in patients])
    groups = films(counts[:, 0])
    members = np.concatenate([np.arange(size) < ill for size, ill in counts])[:, None]
    labels = stratified_groups(groups, members, THREE, seed=seed)
    columns = counts if counts[:, 1].any() else counts[:, :1]
    wanted = stratified._wanted(columns, np.array(list(THREE.values())))
    names = list(THREE)
    dealt = np.array([names.index(labels[start]) for start in np.cumsum([0, *counts[:-1, 0]])])

    def apart(dealt):
        have = np.stack([columns[dealt == split].sum(axis=0) for split in range(3)])
        weights = np.array([exchanging.FILMS_WEIGH, 1.0])[: columns.shape[1]]
        return (weights * ((have - wanted) / np.maximum(wanted, 1.0)) ** 2).sum()

    closest = apart(dealt) - 2 * exchanging.LEAST_GAIN
    for group, other in itertools.product(range(len(counts)), range(3)):
        moved = dealt.copy()
        moved[group] = other
        if len(set(moved)) == 3:
            assert apart(moved) >= closest
    for one, two in itertools.combinations(range(len(counts)), 2):
        swapped = dealt.copy()
        swapped[[one, two]] = dealt[[two, one]]
        assert apart(swapped) >= closest


def test_prevalences_are_alike_where_random_ones_are_not():
    """Twelve findings, by patient: within 1 % of themselves, or a film; dealt by number of films they are not."""
    groups, members = chest_like(np.random.default_rng(0))
    labels = stratified_groups(groups, members, THREE)
    shares = pd.Series(labels).value_counts(normalize=True)
    assert all(abs(shares[name] - share) * len(groups) <= 1 for name, share in THREE.items())
    film = 1 / np.outer([THREE[name] for name in sorted(THREE)], members.sum(axis=0))
    error = np.abs(prevalence(labels, members) - 1)
    assert (error <= np.maximum(0.01, film)).all(axis=None)
    plain = np.abs(prevalence(split_groups(groups, THREE), members) - 1)
    assert plain.max(axis=None) > 0.1


def test_a_rare_finding_reaches_every_split():
    """Three patients have it and there are three splits, one of a tenth of the films: each gets one, for any seed."""
    groups = films([2] * 60)
    members = np.isin(groups, [3, 30, 50])[:, None] & (np.arange(120) % 2 == 0)[:, None]
    for seed in range(20):
        labels = stratified_groups(groups, members, THREE, seed=seed)
        assert set(labels[members[:, 0]]) == set(THREE)


def test_two_patients_with_a_finding_cannot_reach_three_splits():
    """Then it is in two of them, and the films are dealt all the same."""
    groups = np.arange(100)
    members = (groups < 2)[:, None]
    labels = stratified_groups(groups, members, THREE)
    assert pd.Series(labels).value_counts().to_dict() == {"train": 70, "val": 10, "test": 20}


def test_other_seeds_deal_other_patients():
    """Half of them land elsewhere, and large patients are not sent to one split."""
    groups, members = chest_like(np.random.default_rng(1), 800)
    first, again, other = (stratified_groups(groups, members, {"a": 0.5, "b": 0.5}, seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert 0.35 < (first != other).mean() < 0.65
    large = np.bincount(groups).argmax()
    where = [stratified_groups(groups, members, {"a": 0.5, "b": 0.5}, seed=s)[groups == large][0] for s in range(30)]
    assert 6 <= where.count("a") <= 24


@pytest.mark.parametrize("members", [np.zeros((3, 2), bool), np.zeros(4, bool)])
def test_members_have_a_row_for_each_film(members):
    """One row for each film, one column for each stratum."""
    with pytest.raises(ArgumentError, match=r"members is \(films, strata\) for 4 films"):
        stratified_groups([1, 2, 3, 4], members, {"train": 0.5, "test": 0.5})


def test_too_few_groups_for_strata_are_refused():
    """As without them."""
    with pytest.raises(ArgumentError, match="3 splits need at least as many groups; found 2"):
        stratified_groups([1, 1, 2], np.ones((3, 1), bool), THREE)


def test_strata_of_a_column():
    """Yes and no: the rarer; few values: all but the most frequent; unknown: one more; texts as values."""
    table = pd.DataFrame(
        {
            "sign": [0.0, 0.0, 0.0, 1.0, np.nan, 0.0],
            "grade": [1, 2, 2, 3, 2, 2],
            "view": ["PA", "AP", "PA", None, "PA", "PA"],
            "same": [1.0] * 6,
        }
    )
    expected = {
        "sign": [[3], [4]],
        "grade": [[0], [3]],
        "view": [[1], [3]],
        "same": [],
    }
    for name, strata in expected.items():
        assert [np.flatnonzero(column).tolist() for column in memberships(table[[name]]).T] == strata, name
    assert memberships(table).shape == (6, 6)
    assert memberships(table[[]]).shape == (6, 0)


def test_many_numbers_become_ten_bins():
    """Ages in months: nine of ten bins of equally many films, the tenth is what they leave; unknown is one more."""
    ages = pd.DataFrame({"age": np.append(np.random.default_rng(0).gamma(9, 14, 1000), np.nan)})
    found = memberships(ages)
    assert found.shape == (1001, 10)
    assert found[:, :9].sum(axis=0).tolist() == [100] * 9
    assert np.flatnonzero(found[:, 9]).tolist() == [1000]
    assert found[:, :9].sum(axis=1).max() == 1


def test_names_are_no_strata():
    """A column of 60 different texts is told from one of kinds."""
    with pytest.raises(ArgumentError, match="column 'reader' has 60 different values"):
        memberships(pd.DataFrame({"reader": [f"R{i}" for i in range(60)]}))


# -- a catalog's splits --


def catalog(n=200, **columns):
    """Two films of each patient; nodule in a fifth, unknown in some; a month of age."""
    rows = np.arange(n)
    table = pd.DataFrame({"id": [f"f{i:04d}" for i in rows], "path": [f"{i}.png" for i in rows], "patient": rows // 2})
    table["nodule"] = np.where(rows % 5 == 0, 1.0, 0.0)
    table.loc[rows % 17 == 3, "nodule"] = np.nan
    table["age"] = 10.0 + rows * 7 % 190
    return Catalog(table.assign(**columns), targets=["nodule", "age"])


def test_a_split_shares_out_the_targets():
    """By default all targets; the balance table has their shares, and unknown ones are shared out too."""
    parts = catalog(1000).split(THREE)
    found = parts.balance().set_index(["target", "split"])
    assert found.loc["nodule"]["films"].to_dict() == {"train": 700, "val": 100, "test": 200}
    assert found.loc["nodule"]["groups"].sum() == 500
    assert np.ptp(found.loc["nodule"]["prevalence"]) < 0.005
    unknown = found.loc["nodule"]["unknown"]
    assert unknown.sum() == 59
    assert all(abs(unknown[name] - 59 * share) <= 1 for name, share in THREE.items())
    assert np.ptp(found.loc["age"]["mean"]) < 3
    assert found.loc["age"]["positives"].isna().all()
    assert found.loc["nodule"]["mean"].isna().all()


def test_without_strata_it_is_the_split_by_films():
    """stratify=False is `split_groups`, and so is a catalog without targets."""
    plain = split_groups(catalog().table["patient"], THREE, seed=3)
    assert (catalog().split(THREE, seed=3, stratify=False).table["split"] == plain).all()
    bare = Catalog(catalog().table)
    assert (bare.split(THREE, seed=3).table["split"] == plain).all()
    assert (catalog().split(THREE, seed=3).table["split"] != plain).any()


def test_any_columns_may_be_shared_out():
    """Columns that are no targets, by name; a name that is not there is refused with those that are."""
    views = np.where(np.arange(400) % 9 == 0, "AP", "PA")
    parts = catalog(400, view=views).split(THREE, stratify=["view"])
    shares = (parts.table["view"] == "AP").groupby(parts.table["split"]).mean()
    assert np.ptp(shares) < 0.02
    with pytest.raises(ArgumentError, match=r"stratify=\['site'\]: no such column site; found: \['id'"):
        catalog().split(THREE, stratify=["site"])


def test_the_order_of_rows_does_not_matter_to_a_catalog():
    """Splits, folds and balanced draws are the same films for a shuffled table."""
    one = catalog(300)
    other = one.select(np.random.default_rng(0).permutation(300))
    for divide in (lambda c: c.split(THREE, seed=2), lambda c: c.folds(3, seed=2).fold(1)):
        a, b = (divide(c).table.set_index("id")["split"].sort_index() for c in (one, other))
        assert (a == b).all()
    a, b = (set(c.balanced("nodule", seed=2).table["id"]) for c in (one, other))
    assert a == b


def test_within_an_official_part():
    """Train becomes train and val; official test films, and films on no list, keep what they have."""
    official = ["train"] * 140 + ["test"] * 40 + [None] * 20
    parts = catalog(split=official).split({"train": 0.8, "val": 0.2}, within="train").table
    assert parts["split"].iloc[:140].value_counts().to_dict() == {"train": 112, "val": 28}
    assert (parts["split"].iloc[140:180] == "test").all()
    assert parts["split"].iloc[180:].isna().all()
    assert parts.groupby("patient")["split"].nunique().max() == 1


def test_within_needs_a_part_and_free_names():
    """A split that is not there, and a new name that official films have, are refused."""
    official = catalog(split=["train"] * 100 + ["test"] * 100)
    with pytest.raises(ArgumentError, match=r"in a split test already; give the new splits other names"):
        official.split({"train": 0.8, "test": 0.2}, within="train")
    with pytest.raises(ArgumentError, match="within='tarin': there is no such split; found: train, test"):
        official.split({"train": 0.8, "val": 0.2}, within="tarin")
    with pytest.raises(ArgumentError, match="within='train': there is no such split; found: none"):
        catalog().split({"train": 0.8, "val": 0.2}, within="train")
    with pytest.raises(ArgumentError, match="within='train': there is no such split; found: none"):
        catalog().balanced("nodule", within="train")


def test_patients_outside_the_part_need_not_be_known():
    """A missing patient matters among the films that are divided only."""
    gaps = catalog(split=["train"] * 100 + ["test"] * 100)
    gaps = Catalog(gaps.table.assign(patient=gaps.table["patient"].where(np.arange(200) < 100)))
    gaps.split({"train": 0.8, "val": 0.2}, within="train")
    with pytest.raises(ArgumentError, match="100 of 200 films have no 'patient'"):
        gaps.split({"train": 0.8, "val": 0.2})


# -- folds --


@settings(max_examples=25)
@given(st.integers(2, 6), seeds)
def test_folds_are_equal_whole_and_each_is_val_once(k, seed):
    """k folds of whole patients, as many films in each; fold(i) makes it "val" and the others "train"."""
    folded = catalog().folds(k, seed=seed)
    folds = folded.table["fold"]
    assert folds.dtype == np.int64
    assert folds.groupby(folded.table["patient"]).nunique().max() == 1
    assert np.ptp(folds.value_counts().sort_index()) <= 2
    assert sorted(folds.unique()) == list(range(k))
    seen = []
    for i in range(k):
        one = folded.fold(i)
        assert set(one.table["split"]) == {"train", "val"}
        seen += one.select(split="val").table["id"].tolist()
    assert sorted(seen) == folded.table["id"].tolist()


def test_folds_are_alike():
    """Prevalence and unknown films are those of all, in each fold."""
    folded = catalog(1000).folds(5).table
    positives = (folded["nodule"] == 1).groupby(folded["fold"]).sum()
    assert np.ptp(positives) <= 2
    assert np.ptp(folded["nodule"].isna().groupby(folded["fold"]).sum()) <= 1


def test_folds_within_leave_the_test_films_alone():
    """Official test films have no fold and stay "test"; their names are not given to folds."""
    official = ["train"] * 150 + ["test"] * 50
    folded = catalog(split=official).folds(3, within="train")
    assert folded.table["fold"].isna().tolist() == [False] * 150 + [True] * 50
    assert str(folded.table["fold"].dtype) == "Int64"
    one = folded.fold(2).table["split"]
    assert one.value_counts().to_dict() == {"train": 100, "test": 50, "val": 50}
    with pytest.raises(ArgumentError, match="in a split test already"):
        folded.fold(0, names=("train", "test"))
    assert set(folded.fold(0, names=("fit", "check")).table["split"]) == {"fit", "check", "test"}


def test_folds_say_what_is_wrong():
    """Numbers of folds, a fold that is not there, and no folds at all."""
    for k in (1, 2.0, True):
        with pytest.raises(ArgumentError, match="k is a whole number of folds, at least 2; found"):
            catalog().folds(k)
    with pytest.raises(ArgumentError, match="there is no fold 3; found: 0, 1, 2"):
        catalog().folds(3).fold(3)
    with pytest.raises(ArgumentError, match=r"has no folds; make them: catalog\.folds\(5\)"):
        catalog().fold(0)
    with pytest.raises(ArgumentError, match="the column fold holds numbers from 0; found first"):
        catalog(fold="first").fold(0)


def test_folds_on_a_cache_touch_no_pixel(films, cache):
    """The folds of the catalog are views of one cache, by id."""
    folded = films.folds(4)
    for i in range(4):
        view = cache.with_table(folded.fold(i).table[["id", "split"]], on="id")
        held = set(view.table["id"].iloc[view.rows(split="val")])
        assert held == set(folded.table.loc[folded.table["fold"] == i, "id"]) - set(cache.quarantine["id"])
        assert view.path == cache.path


# -- balanced draws --


@settings(max_examples=50)
@given(st.floats(0.2, 5), seeds)
def test_balanced_draws_keep_the_ratio(ratio, seed):
    """All positives and `ratio` times as many negatives, to the nearest film; the rarer side is whole."""
    one = catalog()
    values = one.table["nodule"]
    drawn = one.balanced("nodule", ratio=ratio, seed=seed).table["nodule"]
    positives, negatives = (drawn == 1).sum(), (drawn == 0).sum()
    assert not drawn.isna().any()
    whole = positives == (values == 1).sum(), negatives == (values == 0).sum()
    assert whole[0] or whole[1]
    assert abs(negatives - ratio * positives) <= 0.5 * max(1.0, ratio) + 1e-6


def test_where_positives_outnumber_negatives_they_are_drawn():
    """Three in four are positive: all negatives, and as many positives."""
    one = catalog(nodule=np.where(np.arange(200) % 4 == 0, 0.0, 1.0))
    drawn = one.balanced("nodule").table["nodule"]
    assert drawn.value_counts().to_dict() == {0.0: 50, 1.0: 50}


def test_every_seed_draws_other_negatives_and_the_same_positives():
    """Films keep their order; nothing is drawn twice."""
    one = catalog()
    a, again, b = (one.balanced("nodule", seed=seed).table for seed in (0, 0, 1))
    assert a.equals(again)
    assert a["id"].is_monotonic_increasing
    assert a["id"].is_unique
    assert set(a.loc[a["nodule"] == 1, "id"]) == set(b.loc[b["nodule"] == 1, "id"])
    assert set(a.loc[a["nodule"] == 0, "id"]) != set(b.loc[b["nodule"] == 0, "id"])


def test_every_split_is_balanced_for_itself_or_one_alone():
    """Films keep their splits, so patients stay apart; within= leaves the others whole."""
    parts = catalog().split(THREE)
    found = parts.balanced("nodule").balance().set_index(["target", "split"]).loc["nodule"]
    assert (found["prevalence"] == 0.5).all()
    assert (found["unknown"] == 0).all()
    only = parts.balanced("nodule", within="train")
    counts = only.table["split"].value_counts()
    assert counts["val"], counts["test"] == (20, 40)
    assert only.balance().set_index(["target", "split"]).loc[("nodule", "train"), "prevalence"] == 0.5
    assert only.table.groupby("patient")["split"].nunique().max() == 1


def test_balanced_says_what_is_wrong():
    """A column that is not there or not yes and no, a ratio of nothing, a split without positives."""
    one = catalog(split=["train"] * 100 + ["test"] * 100)
    with pytest.raises(ArgumentError, match="there is no column 'mass' to balance"):
        one.balanced("mass")
    with pytest.raises(ArgumentError, match=r"'age' is balanced by 1 \(yes\) and 0 \(no\); found also 10\.0"):
        one.balanced("age")
    for ratio in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match="ratio is negatives for each positive, > 0"):
            one.balanced("nodule", ratio=ratio)
    healthy = Catalog(
        one.table.assign(nodule=np.where(np.arange(200) < 100, one.table["nodule"], 0.0)), targets=["nodule"]
    )
    with pytest.raises(ArgumentError, match="'nodule' has 0 positives and 100 negatives in split 'test'"):
        healthy.balanced("nodule")
    healthy.balanced("nodule", within="train")


# -- the balance table --


def test_balance_without_splits_or_targets():
    """All films are one part; without targets there is a row for each split; a film in no split is in "none"."""
    alone = catalog().balance()
    assert alone["split"].tolist() == ["all", "all"]
    assert alone.loc[0, ["films", "groups", "known", "unknown", "positives"]].tolist() == [200, 100, 188, 12, 37]
    bare = Catalog(catalog(split=["train"] * 150 + [None] * 50).table).balance()
    assert bare[["split", "films", "groups"]].to_numpy().tolist() == [["train", 150, 75], ["none", 50, 25]]
    assert bare["target"].isna().all()
    assert catalog().balance(by="site")["groups"].isna().all()


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """A working directory with films/ and a CSV of 12 films, six patients, a target, an age and official splits."""
    monkeypatch.chdir(tmp_path)
    write_synthetic(tmp_path / "films", 12, size=32, broken=0, dicom_share=0)
    rows = [f"film_{i:05d}.png,P{i // 2},{'train' if i < 8 else 'test'},{i % 2},{20 + i}" for i in range(12)]
    (tmp_path / "films.csv").write_text("\n".join(["path,patient,split,mass,age", *rows]) + "\n")
    return ["scan", "films.csv", "--root", "films", "--patient", "patient", "--targets", "mass", "age"]


def test_scan_tells_how_even_the_splits_are(listed, capsys):
    """A column for each split, a row for each target: positives of known, or mean and sd."""
    assert main([*listed, "--split", "train=.5,test=.5"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^  target: positive of known, or mean \(sd\) +(train|test) +(train|test)$", shown, re.MULTILINE)
    assert re.search(r"^  mass +3 of 6, 50.00 % +3 of 6, 50.00 %$", shown, re.MULTILINE)
    assert re.search(r"^  age +2\d.* \(\d.*\) +2\d.* \(\d.*\)$", shown, re.MULTILINE)
    assert main([*listed, "--split", "train=.5,test=.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["balance"]
    assert [(one["target"], one["films"], one["groups"], one["positives"]) for one in found[:2]] == [
        ("mass", 6, 3, 3),
        ("age", 6, 3, None),
    ]


def test_the_command_divides_an_official_part(listed, capsys):
    """--within and --stratify are those of Catalog.split; without shares they are refused."""
    words = [*listed, "--split", "train=.5,val=.5", "--within", "train", "--json"]
    assert main([*words, "--stratify", "mass"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"] == {"train": 4, "val": 4, "test": 4}
    assert main([*words, "--stratify"]) == 0
    assert main([*words, "--stratify", "site"]) == 2
    assert "no such column site" in capsys.readouterr().err
    for option in (["--within", "train"], ["--stratify", "mass"], ["--leaks", "join"]):
        assert main([*listed, *option]) == 2
        assert f"{option[0]} go with --split SHARES" in capsys.readouterr().err


@pytest.mark.real
@pytest.mark.slow
def test_the_table_of_chestxray14_is_shared_out_to_the_film(real_data):
    """112,120 films, 30,805 patients, 14 findings: films exact, prevalences to 0.5 % or, for Hernia, to a film."""
    table = pd.read_csv(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz")
    labels = table["Finding Labels"].str.get_dummies("|").drop(columns="No Finding").astype("float32")
    films = pd.DataFrame({"id": table["Image Index"], "path": table["Image Index"], "patient": table["Patient ID"]})
    whole = Catalog(films.join(labels), targets=list(labels))
    for seed in (0, 1):
        parts = whole.split(THREE, seed=seed)
        found = parts.balance().set_index(["target", "split"])
        assert found.loc["Mass"]["films"].to_dict() == {"train": 78484, "val": 11212, "test": 22424}
        overall = found["positives"].groupby("target").sum() / 112120
        error = (found["prevalence"] / overall - 1).abs()
        assert error.drop("Hernia", level="target").max() < 0.005
        assert all(abs(found.loc[("Hernia", name), "positives"] - 227 * share) < 1 for name, share in THREE.items())
        assert parts.table.groupby("patient")["split"].nunique().max() == 1
    folds = whole.folds(5).table
    positives = folds[list(labels)].groupby(folds["fold"]).sum()
    assert np.ptp(positives, axis=0).max() <= 0.005 * positives.max(axis=None)
    assert np.ptp(positives["Hernia"]) == 1
