"""Orders of exams and patients: films that stay together, and one film for each."""

import logging
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resload import seeds
from resload.datasets.nih import parse_entries
from resload.errors import ArgumentError
from resload.samplers import (
    Balanced,
    BlockShuffle,
    Columns,
    Fixed,
    Groups,
    Images,
    OnePer,
    RepeatFactor,
    Sampler,
    Sequential,
    Shuffle,
    Weighted,
)

VIEWS = ("L-CC", "R-CC", "L-MLO", "R-MLO")


def rng(index=0):
    return seeds.generator(0, 0, "synthetic", index)


def exams(n=120, films=500):
    """Films of exams in a mixed order: four views, some missing, some twice, some unnamed; a patient, a finding."""
    draw = rng(3)
    group = draw.integers(0, n, films)
    return pd.DataFrame(
        {
            "id": [f"film {k}" for k in range(films)],
            "group": group,
            "slot": draw.choice([*VIEWS, "L-ML"], films, p=[0.24, 0.24, 0.24, 0.24, 0.04]),
            "patient": [f"p{one // 2}" for one in group],
            "cancer": draw.choice([0.0, 1.0, np.nan], films, p=[0.7, 0.1, 0.2]),
        }
    )


def sampler(data, order, **options):
    return Sampler(data, **{"order": order, "sizes": Fixed(32), "budget": Images(40), "tail": "exact"} | options)


def units(one, epoch=0):
    """(exams, stride) row numbers of an epoch, padding at the end left out."""
    found = np.concatenate([step.index.reshape(-1, step.stride) for step in one.steps(epoch)])
    return found[(found >= 0).any(axis=1)]


def is_one(exam, group):
    return len({group[row] for row in exam if row >= 0}) == 1


# -- Groups ----------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=60), st.none() | st.integers(1, 5), st.integers(0, 3), st.data()
)
def test_every_exam_comes_once_and_whole(group, most, epoch, data):
    """Each exam of the visited rows is one unit of all its films, or of `max` different ones; never a row outside."""
    rows = data.draw(st.lists(st.integers(0, len(group) - 1), min_size=1, unique=True))
    table = pd.DataFrame({"group": group})
    one = sampler(table, Groups(max=most), rows=rows, budget=Images(100))
    found = units(one, epoch)
    films = {exam: [row for row in rows if group[row] == exam] for exam in {group[row] for row in rows}}
    stride = most or max(map(len, films.values()))
    assert found.shape == (len(films), stride)
    seen = set()
    for unit in found.tolist():
        there = [row for row in unit if row >= 0]
        exam = group[there[0]]
        seen.add(exam)
        assert unit[len(there) :] == [-1] * (stride - len(there))
        assert there == sorted(there)  # by row, where there is no column slot
        assert set(there) <= set(films[exam])
        assert len(there) == min(stride, len(films[exam]))
    assert seen == set(films)


@pytest.mark.parametrize("granule", [1, 2, 4, 8])
@pytest.mark.parametrize("slots", [None, VIEWS])
def test_exams_are_never_divided(granule, slots):
    """For every number of processes that divides the granule: each part holds whole exams, parts are equally long, and
    joined they are the step. A number that does not is refused."""
    data = exams()
    order = Groups(max=3, slots=slots)
    one = sampler(data, order, budget=Images(8 * (4 if slots else 3)), granule=granule, tail="drop")
    group = data["group"].to_numpy()
    for world in [w for w in (1, 2, 4, 8) if granule % w == 0]:
        parts = [list(one.view(rank, world).parts(1)) for rank in range(world)]
        for k, step in enumerate(one.steps(1)):
            assert np.concatenate([part[k].index for part in parts]).tolist() == step.index.tolist()
            assert len({len(part[k]) for part in parts}) == 1
            for part in parts:
                assert all(is_one(exam, group) for exam in part[k].index.reshape(-1, step.stride))
    with pytest.raises(ArgumentError, match="has 8 images or exams, which 3 processes cannot share evenly"):
        list(one.view(0, 3).parts(1))


def test_films_come_by_slot_and_row():
    """In the order of the names of their slots, unnamed ones last, then by row, whatever the order of rows=."""
    data = pd.DataFrame({"group": [7] * 5, "slot": ["b", None, "a", "b", "a"]})
    assert units(sampler(data, Groups(max=5), rows=[3, 1, 4, 0, 2])).tolist() == [[2, 4, 0, 3, 1]]
    assert units(sampler(data.drop(columns="slot"), Groups(max=5), rows=[3, 1, 4, 0, 2])).tolist() == [[0, 1, 2, 3, 4]]


def test_large_exams_are_drawn_anew(caplog):
    """Of 9 films 3, each as often as the others, in their order; counted in the log. Sequential: the first, always."""
    data = pd.DataFrame({"group": [1] * 9 + [2] * 2})
    with caplog.at_level(logging.INFO, logger="resload"):
        one = sampler(data, Groups(max=3))
    assert "Groups: 1 of 2 exams have more than 3 films; each epoch draws 3" in caplog.text
    counts = np.zeros(9)
    for epoch in range(900):
        (large,) = [unit for unit in units(one, epoch).tolist() if unit[0] < 9]
        assert large == sorted(set(large))
        counts[large] += 1
    assert np.abs(counts - 300).max() < 5 * np.sqrt(900 * 2 / 9)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="resload"):
        still = sampler(data, Groups(max=3, order=Sequential()))
    assert "have more than 3 films; the first 3" in caplog.text
    assert units(still, 0).tolist() == units(still, 5).tolist() == [[0, 1, 2], [9, 10, -1]]


def test_the_largest_exam_sets_the_places(caplog):
    """max=None: as many places as the largest of the visited rows has films; nothing is left out, nothing logged."""
    data = exams()
    with caplog.at_level(logging.INFO, logger="resload"):
        one = sampler(data, Groups(max=None))
    found = units(one)
    assert found.shape[1] == data["group"].value_counts().max()
    assert sorted(found[found >= 0].tolist()) == list(range(500))
    assert caplog.text == ""


def test_named_views_have_their_places(caplog):
    """Place k is view k or empty; a view that is there is never missing; of two films of one view each comes in turn;
    others are left out, and counted."""
    data = exams()
    with caplog.at_level(logging.WARNING, logger="resload"):
        one = sampler(data, Groups(slots=VIEWS))
    other = ~data["slot"].isin(VIEWS)
    lost = data["group"].nunique() - data["group"][~other].nunique()
    assert (
        f"Groups: {other.sum()} of 500 films have none of the slots L-CC, R-CC, L-MLO, R-MLO and are left out, and "
        f"with them {lost} exams that have no other"
    ) in caplog.text
    slot, group = data["slot"].to_numpy(), data["group"].to_numpy()
    there = {(exam, view) for exam, view in zip(group, slot, strict=True) if view in VIEWS}
    seen = set()
    for epoch in range(40):
        found = units(one, epoch)
        assert len(found) == data["group"][~other].nunique()
        placed = [(group[row], VIEWS[k]) for unit in found for k, row in enumerate(unit) if row >= 0]
        assert len(placed) == len(there)
        assert set(placed) == there
        assert all(is_one(unit, group) for unit in found)
        assert all(slot[row] == VIEWS[k] for unit in found for k, row in enumerate(unit) if row >= 0)
        seen |= set(found.ravel().tolist())
    assert seen - {-1} == set(np.flatnonzero(~other).tolist())
    still = sampler(data, Groups(slots=VIEWS, order=Sequential()))
    assert units(still, 0).tolist() == units(still, 1).tolist()
    firsts = [row for unit in units(still) for row in unit if row >= 0]
    assert firsts == [np.flatnonzero((group == group[row]) & (slot == slot[row]))[0] for row in firsts]


def test_the_first_film_of_a_view_is_that_of_the_first_row():
    """Under Sequential, in whatever order rows= names them; exams come as rows= names them."""
    data = pd.DataFrame({"group": [1, 1, 2, 1], "slot": ["A", "A", "A", "B"]})
    one = sampler(data, Groups(slots=("A", "B"), order=Sequential()), rows=[3, 2, 1, 0])
    assert units(one).tolist() == [[0, 3], [2, -1]]


def test_exams_without_a_named_view_are_left_out():
    """They are in no unit, and the exams' order does not see them."""
    data = pd.DataFrame({"group": [1, 1, 2, 3], "slot": ["A", "B", "C", "B"], "cancer": [0.0, 0.0, 1.0, 1.0]})
    assert units(sampler(data, Groups(slots=("B",), order=Sequential()))).tolist() == [[1], [3]]
    balanced = sampler(data, Groups(slots=["A", "B"], order=Balanced("cancer")))
    assert sorted(units(balanced).tolist()) == [[-1, 3], [0, 1]]


def test_rows_without_a_group_are_exams_of_one():
    """None, NaN and pandas' NA each for itself."""
    for kind in (object, "Int64", float):
        data = pd.DataFrame({"group": pd.Series([1, None, 1, None, 2]).astype("Int64").astype(kind)})
        assert units(sampler(data, Groups(max=2, order=Sequential()))).tolist() == [[0, 2], [1, -1], [3, -1], [4, -1]]


def test_one_seed_for_an_exam_or_for_each_film():
    """draw="exam": films of one exam share theirs, exams do not; draw="film": all differ."""
    for draw, count in (("exam", 1), ("film", 3)):
        steps = list(sampler(exams(), Groups(max=3, draw=draw), budget=Images(30)).steps(2))
        draws = np.concatenate([step.draw.reshape(-1, 3) for step in steps])
        assert {len(set(unit)) for unit in draws.tolist()} == {count}
        assert len(np.unique(draws)) == count * len(draws)


def test_the_budget_counts_places():
    """16 places are 4 exams of 4; one of fewer places than an exam is refused."""
    one = sampler(exams(), Groups(max=4), budget=Images(16), tail="drop")
    assert {len(step) for step in one.steps(0)} == {16}
    step = next(one.steps(0))
    assert step.n_global == (step.index >= 0).sum() < 16
    with pytest.raises(ArgumentError, match="less than a granule of 1 exams of 4 films"):
        sampler(exams(), Groups(max=4), budget=Images(3))


def test_orders_of_exams_see_exams():
    """An exam is positive if any film is, negative if one is known and none positive, else left out: as a loop over
    exams says, for a column and for an array."""
    data = exams()
    positive = {exam for exam, films in data.groupby("group") if (films["cancer"] == 1).any()}
    negative = {exam for exam, films in data.groupby("group") if (films["cancer"] == 0).any()} - positive
    group = data["group"].to_numpy()
    for target in ("cancer", data["cancer"].to_numpy()):
        one = sampler(data, Groups(max=None, order=Balanced(target)))
        seen = set()
        for epoch in range(20):
            found = [group[unit[0]] for unit in units(one, epoch)]
            assert sum(exam in positive for exam in found) == len(found) / 2 == min(len(positive), len(negative))
            assert set(found) <= positive | negative
            seen |= set(found)
        assert seen == positive | negative
    repeated = sampler(data, Groups(max=None, order=RepeatFactor("cancer", 1.0)))
    share = len(positive) / len(positive | negative)
    counts = [[group[unit[0]] in positive for unit in units(repeated, epoch)] for epoch in range(30)]
    assert np.mean([sum(one) for one in counts]) == pytest.approx(len(positive) / np.sqrt(share), rel=0.02)


def test_a_hidden_number_is_no_label():
    """A film with -1 beside one with 0 does not pass as negative."""
    data = pd.DataFrame({"group": [1, 1, 2], "y": [-1, 0, 1]})
    with pytest.raises(ArgumentError, match=r"Balanced goes by 1 .yes. and 0 .no.; 'y' has also -1"):
        sampler(data, Groups(order=Balanced("y")))


# -- OnePer ----------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.lists(st.none() | st.integers(0, 6), min_size=1, max_size=40), st.data())
def test_one_row_for_each_value(patient, data):
    """As many rows as values among the visited rows, the missing each for itself; every row in time."""
    rows = data.draw(st.lists(st.integers(0, len(patient) - 1), min_size=1, unique=True))
    one = sampler(pd.DataFrame({"patient": pd.Series(patient, dtype="object")}), OnePer("patient"), rows=rows)
    values = [patient[row] for row in rows]
    expected = len({value for value in values if value is not None}) + values.count(None)
    for epoch in range(3):
        found = units(one, epoch).ravel().tolist()
        assert len(found) == len(set(found)) == expected
        assert set(found) <= set(rows)
        known = [patient[row] for row in found if patient[row] is not None]
        assert len(set(known)) == len(known)


def test_the_film_of_a_patient_is_drawn_anew():
    """Each of a patient's films equally often over 1200 epochs, independently of another patient's; also in a steady
    order of patients."""
    data = pd.DataFrame({"patient": [5, 6, 5, 6, 5]})
    one = sampler(data, OnePer("patient", order=Sequential()))
    pairs = [tuple(units(one, epoch).ravel().tolist()) for epoch in range(1200)]
    assert {first for first, _ in pairs} == {0, 2, 4}
    counts = np.array([pairs.count((first, second)) for first in (0, 2, 4) for second in (1, 3)])
    assert np.abs(counts - 200).max() < 5 * np.sqrt(1200 * 5 / 36)


def test_patients_are_balanced():
    """OnePer(order=Balanced): as many patients with the finding as without, one film of each."""
    data = exams()
    one = sampler(data, OnePer("patient", order=Balanced("cancer")))
    positive = {who for who, films in data.groupby("patient") if (films["cancer"] == 1).any()}
    found = data["patient"][units(one, 4).ravel()].tolist()
    assert len(set(found)) == len(found)
    assert sum(who in positive for who in found) == len(found) / 2


def test_orders_nest_with_streams_of_their_own():
    """One exam of each patient, its films whole; what is drawn within is not tied to what is drawn without."""
    data = exams()
    one = sampler(data, Groups(max=2, order=OnePer("patient")))
    for epoch in range(3):
        found = units(one, epoch)
        who = data["patient"][found[:, 0]].tolist()
        assert len(set(who)) == len(who) == data["patient"].nunique()
        assert all(is_one(unit, data["group"].to_numpy()) for unit in found)
    two = pd.DataFrame({"patient": [1, 1, 2, 2], "hospital": [9, 9, 9, 9]})
    nested = sampler(two, OnePer("patient", order=OnePer("hospital")), budget=Images(1))
    films = [units(nested, epoch)[0, 0] for epoch in range(800)]
    assert np.abs(np.bincount(films, minlength=4) - 200).max() < 5 * np.sqrt(800 * 3 / 16)


# -- refusals, purity ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Groups("exam"), r"Groups: no column 'exam'; there are \['id', 'group'"),
        (OnePer("exam"), "OnePer: no column 'exam'"),
        (OnePer([1, 2]), r"OnePer needs one value for each of 500 rows; found shape \(2,\)"),
        (Groups(slots=("LAT", "PA")), r"no film has one of the slots \('LAT', 'PA'\); the column slot has \['L-CC'"),
        (Groups(order=Weighted()), "Groups orders exams by a pure order; Weighted keeps a state of rows"),
        (OnePer("patient", order=Weighted()), "OnePer orders exams by a pure order; Weighted keeps a state"),
        (Groups(order=Balanced("age")), "Balanced: no column 'age'"),
        (
            Groups(order=Groups()),
            r"an order within Groups must give exams 0 .. \d+, one after another; BoundGroups gave",
        ),
    ],
)
def test_orders_that_the_data_cannot_have_are_refused(order, message):
    """When the sampler is made, naming what was asked for and what there is."""
    with pytest.raises(ArgumentError, match=message):
        sampler(exams(), order)


def test_arguments_without_meaning_are_refused():
    """Places, views and draws that are none; columns where the data has none."""
    for most in (0, -1, 2.0, True):
        with pytest.raises(
            ArgumentError, match="max must be an int >= 1 of films, or None for the largest exam; found"
        ):
            Groups(max=most)
    for slots in ((), ("A", "A"), "A"):
        with pytest.raises(ArgumentError, match="slots must be different views"):
            Groups(slots=slots)
    with pytest.raises(ArgumentError, match="draw must be one of film, exam; found 'step'"):
        Groups(draw="step")
    for order in (Groups(), OnePer("patient")):
        with pytest.raises(ArgumentError, match=r"needs the column '(group|patient)': make the Sampler of a Cache"):
            sampler(9, order)
    assert len(units(sampler(9, Groups([1, 2, 3] * 3, 3)))) == 3
    no_slot = pd.DataFrame({"group": [1, 2]})
    with pytest.raises(ArgumentError, match="no column 'slot'"):
        sampler(no_slot, Groups(slots=VIEWS))


def test_small_data():
    """One exam; one film; no rows."""
    assert units(sampler(pd.DataFrame({"group": [4, 4]}), Groups(max=2), budget=Images(2))).tolist() == [[0, 1]]
    assert units(sampler(pd.DataFrame({"patient": [4]}), OnePer("patient"), budget=Images(2))).tolist() == [[0]]
    for order in (Groups(), Groups(max=None), OnePer("group")):
        with pytest.raises(ArgumentError, match="0 rows make no full step"):
            sampler(pd.DataFrame({"group": [4, 4]}), order, rows=[])


def test_exams_in_buckets():
    """Exams of one bucket share a step: the bucket of an exam is that of its first film."""
    data = exams()
    bucket = data["group"].to_numpy() % 3
    one = sampler(data, Groups(max=4), buckets=bucket, budget=Images(16), tail="drop")
    for step in one.steps(1):
        assert len({bucket[row] for row in step.index if row >= 0}) == 1


SCRIPT = """
import numpy as np, pandas as pd
from resload.samplers import *
d = pd.DataFrame({"group": np.arange(300) % 80, "slot": np.array(["a", "b", "c"])[np.arange(300) % 3]})
d["y"] = (np.arange(300) % 7 == 0).astype(float)
def made(order):
    return Sampler(d, order=order, sizes=Fixed(32), budget=Images(12), seed=5)
ORDERS = [Groups(max=3), Groups(max=2, order=Balanced("y")), Groups(slots=("a", "c")), OnePer("group"),
          Groups(max=2, order=BlockShuffle(8, 2))]
def told(one):
    epochs = {epoch: [step.index.tolist() for step in one.steps(epoch)] for epoch in (3, 0)}
    return [epochs[0], epochs[3], one.fingerprint(), len(one)]
"""


def test_exams_are_the_same_in_every_process():
    """Another process with another hash seed plans the same; lengths hold; no two orders are one plan."""
    space = {}
    exec(SCRIPT, space)
    here = [space["told"](space["made"](order)) for order in space["ORDERS"]]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + "print([told(made(order)) for order in ORDERS])"], text=True,
        env=os.environ | {"PYTHONHASHSEED": "3"}, capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == f"{here}\n"
    assert all(len(first) == len(fourth) == length for first, fourth, _, length in here)
    assert all(first != fourth for first, fourth, _, _ in here)
    assert len({fingerprint for _, _, fingerprint, _ in here}) == len(here)


def test_other_exams_are_another_plan():
    """A film that moves to another exam changes the fingerprint; so does the draw of augmentations."""
    data = exams()
    moved = data.assign(group=data["group"].where(data.index > 0, 999))
    made = [
        sampler(data, Groups()), sampler(moved, Groups()), sampler(data, Groups(draw="exam")),
        sampler(data, Groups(order=Sequential())), sampler(data, Groups(order=Shuffle(), max=3)),
    ]  # fmt: skip
    prints = [one.fingerprint() for one in made]
    assert len(set(prints)) == len(prints)
    assert sampler(data.copy(), Groups()).fingerprint() == prints[0]


@pytest.mark.real
def test_the_real_patients(real_data):
    """ChestX-ray14: one film for each of 30,805 patients, other films in other epochs; and patients whole."""
    films = parse_entries(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz")
    one = sampler(films, OnePer("patient"), budget=Images(64))
    found = [units(one, epoch).ravel() for epoch in range(2)]
    for rows in found:
        assert films["patient"][rows].nunique() == len(rows) == 30_805
    assert np.mean(np.sort(found[0]) == np.sort(found[1])) < 0.9
    whole = Groups("patient", None, order=BlockShuffle()).bind(Columns(films, len(films), np.arange(len(films))))
    assert whole.positions(len(films), seed=0, epoch=0).shape == (30_805, 184)
