"""Orders of rows: balance, repeats, weights that change, and how well block shuffles mix."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import resload
from resload import seeds
from resload.datasets.nih import TARGETS, parse_entries
from resload.errors import ArgumentError, StateError
from resload.samplers import Balanced, BlockShuffle, Columns, Fixed, Images, RepeatFactor, Sampler, Shuffle, Weighted
from resload.samplers.balance import systematic
from resload.store.plan import row_order
from resload.testing.miniatures.images import write_png

FILMS, PATIENTS = 112_120, 30_805
PREVALENCE = {"Infiltration": 0.177, "Nodule": 0.056, "Pneumothorax": 0.047, "Pneumonia": 0.0128, "Hernia": 0.002}
"""Of ChestX-ray14's films."""


def sampler(data, order, **options):
    return Sampler(data, **{"order": order, "sizes": Fixed(32), "budget": Images(4), "tail": "exact"} | options)


def visited(one, epoch):
    return np.concatenate([step.index for step in one.steps(epoch)])


def rng(index=0):
    return seeds.generator(0, 0, "synthetic", index)


def table(n=4000, unknown=0.1):
    """Findings as rare as ChestX-ray14's, some unknown, and a column of other numbers."""
    draw = rng()
    columns = {name: np.where(draw.random(n) < unknown, np.nan, draw.random(n) < f) for name, f in PREVALENCE.items()}
    return pd.DataFrame({"id": [f"film {k}" for k in range(n)], "age": draw.integers(20, 90, n), **columns})


class Data:
    """A table with targets, as catalogs and caches are."""

    targets = tuple(PREVALENCE)

    def __init__(self, frame):
        self.table = frame

    def __len__(self):
        return len(self.table)


# -- systematic ------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(st.floats(0, 5), st.integers(0, 3).map(float)), max_size=30).map(lambda x: np.array(x, float)),
    st.integers(0, 20),
)
def test_rounding_by_lot_goes_up_or_down(expected, index):
    """Each count is floor or ceil of what is expected, whole ones as they are, and the sum is the rounded sum."""
    counts = systematic(expected, rng(index))
    near = np.where(np.abs(expected - np.rint(expected)) < 1e-9, np.rint(expected), expected)
    assert (counts >= np.floor(near)).all()
    assert (counts <= np.ceil(near)).all()
    assert abs(counts.sum() - near.sum()) <= 0.5 + 1e-9


def test_rounding_by_lot_is_right_on_average():
    """Over 4000 draws each mean is what is expected, within 5 standard errors, where the sum is whole."""
    expected = np.array([0.1, 0.9, 2.5, 1.0, 0.0, 1.3, 0.2])
    mean = np.mean([systematic(expected, rng(k)) for k in range(4000)], axis=0)
    chance = expected % 1
    assert (np.abs(mean - expected) <= 5 * np.sqrt(chance * (1 - chance) / 4000) + 1e-12).all()


@pytest.mark.parametrize(("expected", "total"), [([0.9, 0.9, 0.9], 3), ([0.3, 0.3, 0.5], 1), ([0.2, 0.2], 0)])
def test_rounding_by_lot_moves_a_broken_sum_to_the_nearest(expected, total):
    """2.7 is 3, of which none gets 2; 1.1 is 1; 0.4 is 0."""
    for k in range(50):
        counts = systematic(np.array(expected), rng(k))
        assert counts.sum() == total
        assert counts.max() <= 1


def test_neighbours_are_not_tied():
    """Half of 12 rows: over 2000 draws nearly all of the first six rows' 64 combinations come, not the few of a fixed
    order."""
    seen = {tuple(systematic(np.full(12, 0.5), rng(k))[:6].tolist()) for k in range(2000)}
    assert len(seen) >= 60


# -- Balanced --------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=2, max_size=60), st.sampled_from([0.5, 1, 2, 3.3]),
    st.integers(0, 3),
)  # fmt: skip
def test_balance_is_exact(values, ratio, epoch):
    """The rarer side whole, the other without repeats, as many each epoch: as many as Catalog.balanced keeps."""
    values = np.array(values)
    yes, no = (values == 1).sum(), (values == 0).sum()
    if not yes or not no or round(no / ratio - 1e-9) == 0:
        return
    one = sampler(len(values), Balanced(values, ratio), budget=Images(1))
    rows = visited(one, epoch)
    assert len(set(rows.tolist())) == len(rows) == len(one)
    found = values[rows]
    catalog = resload.Catalog(
        pd.DataFrame({"id": [f"{k:03}" for k in range(len(values))], "path": "x", "y": values}), targets=("y",)
    )
    kept = catalog.balanced("y", ratio=ratio).table["y"]
    assert ((found == 1).sum(), (found == 0).sum()) == ((kept == 1).sum(), (kept == 0).sum())
    assert yes == (found == 1).sum() or no == (found == 0).sum()


def test_negatives_are_drawn_anew():
    """1:1; all positives each epoch; two epochs share no more negatives than chance; after 60 all have been seen."""
    data = table()
    one = sampler(data, Balanced("Nodule"), budget=Images(10), tail="exact")
    yes, no = np.flatnonzero(data["Nodule"] == 1), np.flatnonzero(data["Nodule"] == 0)
    draws = []
    for epoch in range(150):
        rows = visited(one, epoch)
        assert set(yes) < set(rows.tolist())
        draws.append(set(rows.tolist()) - set(yes))
        assert len(draws[-1]) == len(yes)
    common = np.mean([len(a & b) for a, b in itertools.pairwise(draws)])
    by_chance = len(yes) ** 2 / len(no)
    assert abs(common - by_chance) < 5 * np.sqrt(by_chance / 149)
    assert set().union(*draws) == set(no.tolist())
    assert visited(one, 3).tolist() != sorted(visited(one, 3).tolist())


def test_balance_visits_the_rows_it_is_given():
    """rows= are balanced for themselves: no row outside them is drawn."""
    data = table()
    rows = np.arange(0, 4000, 3)[::-1]
    one = sampler(data, Balanced("Infiltration"), rows=rows)
    found = visited(one, 0)
    assert set(found.tolist()) <= set(rows.tolist())
    assert (data["Infiltration"][found] == 1).sum() == (data["Infiltration"][rows] == 1).sum() == len(found) / 2


@pytest.mark.parametrize("kind", ["Int64", "boolean", "object", "Float32"])
def test_balance_reads_any_column_of_yes_and_no(kind):
    """Nullable and object columns: what is missing is unknown, not a group of its own and not an error."""
    values = pd.Series([1, 0, None, 0, 1, 0]).astype("Int64").astype(kind)
    one = sampler(pd.DataFrame({"y": values}), Balanced("y"))
    assert len(visited(one, 0)) == 4
    assert 2 not in visited(one, 0)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Balanced("Mass"), r"Balanced: no column 'Mass'; there are \['id', 'age'"),
        (Balanced("age"), r"Balanced goes by 1 \(yes\) and 0 \(no\); 'age' has also 20, 21, 22, 23, 24: name a"),
        (Balanced("id"), "Balanced needs numbers, or missing values; found 'film 0'"),
        (Balanced(np.zeros(4000)), "the target has 0 positives and 4000 negatives in 4000 rows, so nothing can be"),
        (Balanced([1, 0]), r"Balanced needs one value for each of 4000 rows; found shape \(2,\)"),
        (Balanced("Hernia", ratio=1e9), "ratio=1e[+]09 leaves none of one side: 'Hernia' has"),
        (RepeatFactor("Mass"), "RepeatFactor: no column 'Mass'"),
        (RepeatFactor(["Nodule", "age"]), "RepeatFactor goes by 1 .* 'age' has also"),
        (RepeatFactor(np.zeros((4000, 3))), "RepeatFactor: none of its targets has a positive in these rows"),
        (RepeatFactor(np.zeros((1, 2, 3))), r"targets must be names, or an array .*; found shape \(1, 2, 3\)"),
        (RepeatFactor(), "RepeatFactor.. goes by the data's targets, and this data has none"),
        (Weighted("Nodule"), "weights must be finite numbers >= 0; found nan"),
        (Weighted(np.zeros(4000)), "no row has a weight above 0"),
        (Weighted(np.full(4000, -1.0)), "weights must be finite numbers >= 0; found -1"),
        (Weighted(np.full(4000, 1e39)), "weights must be finite numbers >= 0; found 1e[+]39"),
    ],
)
def test_orders_that_the_data_cannot_have_are_refused(order, message):
    """When the sampler is made, naming the order, what was found, and what to do."""
    with pytest.raises(ArgumentError, match=message):
        sampler(table(), order)


@pytest.mark.parametrize("order", [Balanced("y"), RepeatFactor("y"), Weighted("y")])
def test_a_number_of_rows_has_no_columns(order):
    """Data that is an int: a column's name is refused with both remedies; an array is taken."""
    with pytest.raises(
        ArgumentError, match="needs the column 'y': make the Sampler of a Cache, a Catalog or a table, or"
    ):
        sampler(9, order)
    assert len(visited(sampler(4, Balanced([1, 0, 0, 0])), 0)) == 2


def test_arguments_without_meaning_are_refused():
    """Ratios, thresholds and counts that are none."""
    for ratio in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match="ratio is negatives for each positive, > 0; found"):
            Balanced("y", ratio)
    for threshold in (0, -0.1, 1.5, float("nan")):
        with pytest.raises(ArgumentError, match="threshold is a share of the films, > 0 and at most 1; found"):
            RepeatFactor("y", threshold)
    for n in (0, -1, 2.0, True):
        with pytest.raises(ArgumentError, match="n is how many images an epoch has, an int >= 1; found"):
            Weighted(n=n)
    for value in (0, -1, 2.0, True):
        with pytest.raises(ArgumentError, match="BlockShuffle needs block as an int >= 1; found"):
            BlockShuffle(value)
        with pytest.raises(ArgumentError, match="BlockShuffle needs mix as an int >= 1; found"):
            BlockShuffle(mix=value)


# -- RepeatFactor ----------------------------------------------------------------------------------------


def factors(values, threshold):
    """The definition, row by row."""
    share = [np.nanmean(column) for column in values.T]
    return np.array(
        [
            max([1.0, *(np.sqrt(threshold / f) for f, value in zip(share, row, strict=True) if value == 1)])
            for row in values
        ]
    )


def test_rare_findings_come_as_often_as_they_ask():
    """Every row floor or ceil of its factor; on average over 400 epochs the factor, for each finding within 5 standard
    errors; always as many images; rows without a rare finding exactly once."""
    data = Data(table(10_000))
    values = data.table[list(PREVALENCE)].to_numpy()
    expected = factors(values, 0.05)
    one = sampler(data, RepeatFactor(), budget=Images(50), tail="drop")
    counts = np.zeros(10_000)
    for epoch in range(400):
        found = np.bincount(one.order.positions(10_000, seed=0, epoch=epoch), minlength=10_000)
        assert found.sum() == one.order.count == round(expected.sum())
        assert ((found == np.floor(expected)) | (found == np.ceil(expected))).all()
        counts += found
    assert (counts[expected == 1] == 400).all()
    chance = expected % 1
    for k, name in enumerate(PREVALENCE):
        rows = values[:, k] == 1
        error = np.sqrt(400 * (chance[rows] * (1 - chance[rows])).sum())
        assert abs(counts[rows].sum() - 400 * expected[rows].sum()) < 5 * error + 400, name
    hernia = values[:, list(PREVALENCE).index("Hernia")] == 1
    assert expected[hernia].min() == pytest.approx(np.sqrt(0.05 / np.nanmean(values[:, -1])))
    assert counts[hernia].mean() / 400 == pytest.approx(5, rel=0.2)


def test_names_and_arrays_are_the_same_targets():
    """A name, a list of names; (n,) arrays, also of objects, and (n, T)."""
    data = table(500)
    both = data[["Nodule", "Pneumonia"]].to_numpy()
    columns = Columns(data, 500, np.arange(500))
    nullable = data["Nodule"].astype("Int64").to_numpy(object)
    for names, array in [("Nodule", both[:, 0]), ("Nodule", nullable), (["Nodule", "Pneumonia"], both)]:
        assert np.array_equal(RepeatFactor(names).bind(columns).factors, RepeatFactor(array).bind(columns).factors)


def test_shares_are_of_the_rows_that_are_visited():
    """A finding that is rare in all rows and common in these is not repeated."""
    y = np.array([1.0] * 10 + [0.0] * 990)
    assert len(visited(sampler(1000, RepeatFactor(y)), 0)) > 1000
    assert sorted(visited(sampler(1000, RepeatFactor(y), rows=range(20)), 0)) == list(range(20))


@pytest.mark.real
def test_the_real_findings_are_as_the_docstring_says(real_data):
    """ChestX-ray14 under the default: nine findings repeated, Pneumothorax 1.03 and Hernia 5 times, 7 % more images;
    Balanced has 227 films with a hernia and 227 without."""
    films = parse_entries(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz")
    values = films[list(TARGETS)].to_numpy(np.float64)
    order = RepeatFactor(list(TARGETS)).bind(Columns(films, FILMS, np.arange(FILMS)))
    asked = {name: order.factors[values[:, k] == 1].min() for k, name in enumerate(TARGETS)}
    repeated = {name: factor for name, factor in asked.items() if factor > 1}
    assert len(repeated) == 9
    assert min(repeated, key=repeated.get) == "Pneumothorax"
    assert (round(repeated["Pneumothorax"], 2), round(repeated["Hernia"])) == (1.03, 5)
    assert round(100 * order.count / FILMS) == 107
    lvis = RepeatFactor(list(TARGETS), 0.001).bind(Columns(films, FILMS, np.arange(FILMS)))
    assert lvis.count == FILMS
    counts = np.bincount(order.positions(FILMS, seed=0, epoch=0), minlength=FILMS)
    hernia = values[:, TARGETS.index("Hernia")]
    assert (counts * hernia).sum() / 227 == pytest.approx(5, abs=0.1)
    pairs = hernia[visited(sampler(films, Balanced("Hernia")), 0)]
    assert ((pairs == 1).sum(), (pairs == 0).sum()) == (227, 227)


@pytest.mark.real
def test_the_made_up_patients_are_like_the_real_ones(real_data):
    """Of those that block shuffles are judged by: as many films, and pairs of films of one patient, within 10 %."""
    films = parse_entries(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz")
    real, made = films["patient"].value_counts().to_numpy(), np.bincount(radiographs()[0])
    assert (real.sum(), len(real), real.max()) == (FILMS, PATIENTS, made.max())
    assert len(made) == PATIENTS
    assert made.sum() == pytest.approx(FILMS, rel=0.1)
    assert (made**2).sum() / made.sum() == pytest.approx((real**2).sum() / FILMS, rel=0.1)


# -- Weighted --------------------------------------------------------------------------------------------


def test_weights_are_what_is_drawn():
    """Each row floor or ceil of n * w / sum, on average that, never one of weight 0; always n images."""
    weights = np.array([0.0, 1.0, 2.0, 3.5, 0.1, 0.0])
    order = Weighted(weights, n=10)
    sampler(6, order)
    expected = 10 * weights / weights.sum()
    counts = [np.bincount(order.positions(6, seed=0, epoch=e), minlength=6) for e in range(3000)]
    assert all(((c >= np.floor(expected)) & (c <= np.ceil(expected))).all() and c.sum() == 10 for c in counts)
    assert np.mean(counts, axis=0) == pytest.approx(expected, abs=5 * 0.5 / np.sqrt(3000))


def test_equal_weights_are_a_shuffle():
    """By default every row once, in another order each epoch."""
    one = sampler(50, Weighted())
    assert sorted(visited(one, 0)) == list(range(50))
    assert visited(one, 0).tolist() != visited(one, 1).tolist()
    assert len(sampler(50, Weighted(n=120), budget=Images(10))) == 12


def test_updates_hold_from_their_epoch_on():
    """Epoch 1 and before give what they gave; from epoch 2 on only rows 3 and 5 come."""
    order = Weighted()
    one = sampler(8, order)
    before = [visited(one, epoch).tolist() for epoch in range(2)]
    order.update([3, 5, -1], [1e6, 1e6, 7], epoch=2)
    order.update([0, 1, 2, 4, 6, 7], 0.0, epoch=2)
    assert [visited(one, epoch).tolist() for epoch in range(2)] == before
    assert set(visited(one, 2).tolist()) == set(visited(one, 9).tolist()) == {3, 5}
    assert order.weights(1).tolist() == [1] * 8
    assert order.weights(2)[[3, 0]].tolist() == [1e6, 0]


def test_two_versions_are_kept():
    """An epoch whose weights are forgotten is refused, not planned by others."""
    order = Weighted()
    one = sampler(8, order)
    order.update([0], 2.0, epoch=1)
    order.update([1], 2.0, epoch=2)
    assert order.weights(1)[:2].tolist() == [2, 1]
    assert order.weights(2)[:2].tolist() == [2, 2]
    with pytest.raises(ArgumentError, match="weights of epoch 0 are not kept, only those from epoch 1 on: load a"):
        visited(one, 0)
    assert len(one.view(1, 2)) == len(one)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (([0], [np.nan], 5), "weights must be finite numbers >= 0; found nan"),
        (([0], [-1.0], 5), "weights must be finite numbers >= 0; found -1"),
        (([0], [np.inf], 5), "weights must be finite numbers >= 0; found inf"),
        (([0, 1], [1.0], 5), r"weights must be one for each of 2 rows; found shape \(1,\)"),
        (([[0]], [[1.0]], 5), "rows must be whole numbers"),
        (([0.5], [1.0], 5), "rows must be whole numbers"),
        (([9], [1.0], 5), "rows that the sampler does not visit have no weight here; found row 9"),
        (([1, 2, 3], 0.0, 5), "no row has a weight above 0"),
        (([1], 1.0, 2), "epoch 2 has been planned by the weights it had: give the next one, epoch=3"),
        (([1], 1.0, 3), "weights that hold from epoch 4 on are set already; found epoch=3"),
        (([1], 1.0, -1), "epoch must be an int >= 0; found -1"),
        (([1], 1.0, 5.0), "epoch must be an int >= 0; found 5.0"),
    ],
)
def test_impossible_updates_are_refused(update, message):
    """With what was expected and found; the weights stay what they were."""
    order = Weighted()
    one = sampler(10, order, rows=[1, 2, 3] if "visit" in message or "above" in message else None)
    visited(one, 2)
    order.update([1], 3.0, epoch=4)
    before = order.state_dict()
    rows, weights, epoch = update
    with pytest.raises(ArgumentError, match=message):
        order.update(rows, weights, epoch=epoch)
    assert order.state_dict() == before


def test_a_weighted_belongs_to_its_rows():
    """Before a sampler has it there is nothing to update; another sampler of the same rows shares it, one of other
    rows is refused; plans that would ask for epochs it does not know are refused with the remedy."""
    order = Weighted()
    with pytest.raises(ArgumentError, match="belongs to no sampler yet: give it to one first"):
        order.update([0], 1.0, epoch=1)
    one, two = sampler(8, order), sampler(8, order, seed=1)
    order.update(np.arange(7), 0.0, epoch=0)
    assert set(visited(one, 0).tolist()) == set(visited(two, 0).tolist()) == {7}
    for other in ({"data": 9}, {"data": 8, "rows": range(7)}):
        with pytest.raises(ArgumentError, match="belongs to a sampler of other rows, whose weights it holds: make one"):
            sampler(order=order, **other)
    with pytest.raises(ArgumentError, match=r"Weighted changes with the epochs.*leave epoch_steps= out.* n="):
        sampler(8, Weighted(), epoch_steps=2, tail="drop")
    with pytest.raises(ArgumentError, match=r"Weighted changes with the epochs.*leave buckets= out"):
        sampler(8, Weighted(), buckets=[0, 1] * 4)


def weights_of(epoch, index):
    return rng(1000 + epoch).random(40)[index]


def trained(one, order, epochs, *, stop=None):
    """Keys of some epochs, the weights updated after each step for the next epoch; left after `stop` steps."""
    keys = []
    for _ in range(epochs):
        for batch in one:
            epoch = one.state_dict()["epoch"] - (one.state_dict()["step"] == 0)
            rows = np.array([key.index for key in batch])
            order.update(rows, weights_of(epoch, rows), epoch=epoch + 1)
            keys.append(batch)
            if len(keys) == stop:
                return keys
    return keys


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 39))
def test_updated_runs_resume_anywhere(stop):
    """Updated after every step, stopped anywhere in four epochs, continued from JSON by a fresh process: the same keys,
    and the same weights at the end."""

    def fresh():
        order = Weighted()
        return sampler(40, order), order

    one, order = fresh()
    whole = trained(one, order, 4)
    assert len({str(sorted(key.index for batch in whole[k : k + 10] for key in batch)) for k in (0, 10, 20, 30)}) == 4
    first, of_first = fresh()
    head = trained(first, of_first, 4, stop=stop)
    state = json.loads(json.dumps(first.state_dict()))
    second, of_second = fresh()
    second.load_state_dict(state)
    assert head + trained(second, of_second, 4, stop=40 - stop) == whole
    assert of_second.weights(4).tolist() == order.weights(4).tolist()


def test_saved_weights_are_checked():
    """Of other rows, damaged or missing: StateError; position and weights stay. Weights are not in the fingerprint, how
    many images are."""
    order = Weighted()
    one = sampler(8, order)
    order.update([0], 3.0, epoch=1)
    good = one.state_dict()
    text = good["order"]["weights"][0]["float32"]
    for wrong in (
        {}, {"weights": []}, {"weights": [{"epoch": 0, "float32": text[:-4]}]}, {"weights": [{"epoch": 0}]},
        {"weights": [{"epoch": -1, "float32": text}]}, {"weights": [{"epoch": 0, "float32": "?"}]},
        {"weights": [{"epoch": 0, "float32": text}] * 2},
        {"weights": [{"epoch": 0, "float32": "AACAvw==" * 8}]},
    ):  # fmt: skip
        with pytest.raises(StateError, match="these are no weights of a Weighted of these rows"):
            one.load_state_dict(good | {"epoch": 1, "order": wrong})
        assert one.state_dict() == good
    with pytest.raises(StateError, match="lacks what its order remembers"):
        one.load_state_dict({key: value for key, value in good.items() if key != "order"})
    assert (
        sampler(8, Weighted([1, 2] * 4)).fingerprint() == one.fingerprint() != sampler(8, Weighted(n=4)).fingerprint()
    )


def test_a_loader_resumes_with_its_weights(cache):
    """Batches of a cache's targets, weights updated from `Batch.rows` with losses as tensors; a loader's saved position
    carries them."""

    def fresh():
        order = Weighted("weight")
        known = np.isfinite(cache.table["nodule"]).to_numpy()
        view = cache.with_table(cache.table[["id"]].assign(weight=1.0 + known))
        one = Sampler(view, order=order, sizes=Fixed(32), budget=Images(8))
        return resload.Loader(view, sampler=one), order

    def passed(loader, order, stop=None):
        rows = []
        for batch in loader:
            losses = torch.linspace(0.1, 2, len(batch), dtype=torch.bfloat16, requires_grad=True)
            order.update(batch.rows, losses, epoch=1)
            rows.append(batch.rows.tolist())
            if len(rows) == stop:
                break
        return rows

    loader, order = fresh()
    whole = passed(loader, order) + [batch.rows.tolist() for batch in loader]
    first, of_first = fresh()
    head = passed(first, of_first, 2)
    second, of_second = fresh()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert head + passed(second, of_second) + [batch.rows.tolist() for batch in second] == whole


# -- every order -----------------------------------------------------------------------------------------

ORDERS = {
    "balanced": "Balanced(y)",
    "repeat": "RepeatFactor(y, 0.3)",
    "weighted": "Weighted(y + 0.1)",
    "block": "BlockShuffle(16, 4)",
}
SCRIPT = """
import numpy as np
from resload.samplers import *
y = (np.arange(300) % 7 == 0).astype(float)
s = Sampler(300, order={order}, sizes=Fixed(32), budget=Images(8), seed=5)
print([step.index.tolist() for epoch in (3, 0) for step in s.steps(epoch)], s.fingerprint(), len(s))
"""


@pytest.mark.parametrize("name", ORDERS)
def test_orders_are_the_same_in_every_process(name):
    """Hash seeds and the order in which epochs are asked for change nothing; the length holds in every epoch."""
    code = SCRIPT.format(order=ORDERS[name])
    printed = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": hash_seed}, text=True,
            capture_output=True, check=True, timeout=120,
        ).stdout
        for hash_seed in ("1", "2")
    ]  # fmt: skip
    y = (np.arange(300) % 7 == 0).astype(float)
    order = eval(ORDERS[name], {"y": y} | {c.__name__: c for c in (Balanced, RepeatFactor, Weighted, BlockShuffle)})
    one = sampler(300, order, budget=Images(8), seed=5, tail="drop")
    epochs = {epoch: [step.index.tolist() for step in one.steps(epoch)] for epoch in range(4)}
    assert printed == [f"{epochs[3] + epochs[0]} {one.fingerprint()} {len(one)}\n"] * 2
    assert {len(steps) for steps in epochs.values()} == {len(one)}
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("make", [Balanced, lambda y: RepeatFactor(y, 0.3)])
def test_other_labels_are_another_plan(make):
    """A corrected label changes the fingerprint, so that no position is continued in another plan."""
    y = (np.arange(300) % 7 == 0).astype(float)
    corrected = y.copy()
    corrected[[0, 1]] = 0, 1
    assert sampler(300, make(y)).fingerprint() == sampler(300, make(y.copy())).fingerprint()
    assert sampler(300, make(y)).fingerprint() != sampler(300, make(corrected)).fingerprint()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 9), st.integers(0, 3))
def test_block_shuffles_visit_every_row_once(n, block, mix, epoch):
    """Whatever the blocks; and each `mix` blocks' worth of positions comes from at most mix + 1 blocks."""
    found = BlockShuffle(block, mix).positions(n, seed=0, epoch=epoch)
    assert sorted(found.tolist()) == list(range(n))
    for start in range(0, n, block * mix):
        assert len(set((found[start : start + block * mix] // block).tolist())) <= mix + 1


def test_rows_of_several_blocks_are_mixed():
    """Each block's worth of positions comes from all `mix` blocks; with mix=1 from one."""
    for mix, blocks in ((1, {1}), (4, {4})):
        found = BlockShuffle(100, mix).positions(1200, seed=0, epoch=1).reshape(-1, 100) // 100
        assert {len(set(one)) for one in found.tolist()} == blocks
        assert found.tolist() != np.sort(found, axis=None).tolist()


# -- how well block shuffles mix -------------------------------------------------------------------------


def radiographs():
    """(patients, labels) of about as many films as ChestX-ray14's, sorted by patient: one to 184 of each, with as many
    pairs of one patient; films of one patient mostly have the same label."""
    draw = rng(7)
    films = np.minimum(np.ceil(draw.pareto(1.6, PATIENTS)), 184).astype(np.int64)
    films = np.minimum(np.maximum(systematic(films * (FILMS / films.sum()), draw), 1), 184)
    patients = np.repeat(np.arange(PATIENTS), films)
    return patients, draw.random(len(patients)) < draw.beta(0.1, 0.9, PATIENTS)[patients]


def mixing(rows_of, patients, labels, batch, epochs):
    """(share of images with another of the same patient in their batch, variance of the batches' prevalence)."""
    shares, variances = [], []
    for epoch in range(epochs):
        rows = rows_of(epoch)
        rows = rows[: len(rows) // batch * batch].reshape(-1, batch)
        who = np.sort(patients[rows], axis=1)
        same = np.zeros((len(who), batch + 1), bool)
        same[:, 1:-1] = who[:, 1:] == who[:, :-1]
        shares.append((same[:, 1:] | same[:, :-1]).mean())
        variances.append(labels[rows].mean(axis=1).var())
    return np.array([np.mean(shares), np.mean(variances)])


def within(found, full):
    """The criterion: both within 10 % of a full shuffle."""
    return bool((np.abs(found / full - 1) < 0.1).all())


def test_block_shuffles_of_a_cache_are_as_mixed_as_full_ones():
    """Films as in ChestX-ray14: in the order in which a build stores them, the default BlockShuffle puts films of
    one patient into a batch of 64 as seldom as a full shuffle, and batches' prevalence varies as little, each within
    10 %. Stored by patient it fails, which shows that the criterion can."""
    patients, labels = radiographs()
    stored = row_order(len(patients), 0, 0)

    def mixed(order, rows):
        def rows_of(epoch):
            return rows[order.positions(len(rows), seed=0, epoch=epoch)]

        return mixing(rows_of, patients, labels, 64, 30)

    full = mixed(Shuffle(), stored)
    assert within(mixed(Shuffle(), np.arange(len(patients))), full)
    assert within(mixed(BlockShuffle(), stored), full)
    by_patient = mixed(BlockShuffle(), np.arange(len(patients)))
    assert not within(by_patient, full)
    assert by_patient[0] > 5 * full[0]


def test_block_shuffles_of_a_built_cache_are_as_mixed_as_full_ones(tmp_path):
    """The same of a cache that was built from films sorted by patient, read through a Sampler; and it fails where rows
    are visited by patient."""
    write_png(tmp_path / "film.png")
    n = 2048
    patients = np.arange(n) // 8
    films = pd.DataFrame({"id": [f"{k:04}" for k in range(n)], "path": "film.png", "patient": patients})
    films["y"] = (rng(8).random(n // 8)[patients] < 0.3).astype(float)
    cache = resload.build(
        resload.Catalog(films, targets=("y",), root=tmp_path), tmp_path / "c.zarr", sizes=(8,), progress=False
    )

    def mixed(order, rows=None):
        one = sampler(cache, order, rows=rows, budget=Images(16))
        who, labels = cache.table["patient"].to_numpy(), cache.table["y"].to_numpy()
        return mixing(lambda epoch: visited(one, epoch), who, labels, 16, 60)

    full = mixed(Shuffle())
    assert within(mixed(BlockShuffle(64, 4)), full)
    by_patient = np.argsort(cache.table["patient"].to_numpy(), kind="stable")
    assert not within(mixed(BlockShuffle(64, 4), by_patient), full)
