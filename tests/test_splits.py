"""Splits keep groups whole, come as close as groups allow, and are the same for the same data."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resload.errors import ArgumentError
from resload.splits import split_groups

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
