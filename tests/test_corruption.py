"""benchmarks/corruption.py, small: damage of every region and kind comes to what the oracle says; and it can fail."""

import os
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from trees import tree

import resload
from resload.errors import ArgumentError
from resload.store import gather, layout, repair, tables, verify
from resload.store.arrays import packed_shard, shard_of
from resload.store.layout import read_manifest
from resload.testing.damage import KINDS, regions

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))  # the scripts find each other as when they are run
import corruption_oracle as outcomes
from corruption import counted
from corruption_caches import loaded, made
from corruption_oracle import WRONG, Case, Oracle
from watched import CRASH, HANG, watched

CASES = 40
"""Of 10,000 that the runner does."""


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    """The caches that are damaged, by name."""
    folder = tmp_path_factory.mktemp("corruption")
    made(folder)
    return {subject.name: subject for subject in loaded(folder)}


@pytest.fixture(scope="module")
def oracles(subjects, tmp_path_factory):
    """A judge for each of them; torch has one thread meanwhile, as films are small."""
    place, threads = tmp_path_factory.mktemp("damaged"), torch.get_num_threads()
    torch.set_num_threads(1)
    yield {name: Oracle(subject, place) for name, subject in subjects.items()}
    torch.set_num_threads(threads)


def judged(oracle, region, kind, seed=0):
    """One case of a region and kind."""
    rng = np.random.default_rng(seed)
    return oracle.judged(oracle.subject.intact.draw(rng, region, kind), rng)


@pytest.mark.slow
def test_damage_drawn_at_random_is_found_named_and_mended(oracles):
    """None is missed, and nothing is raised but errors that name the damaged file."""
    found = []
    for number in range(CASES):
        oracle, rng = list(oracles.values())[number % len(oracles)], np.random.default_rng((7, number))
        found.append(oracle.judged(oracle.subject.intact.draw(rng), rng))
    assert [case for case in found if case.outcome in WRONG] == []
    assert len({case.outcome for case in found}) >= 5


EXPECTED = {
    "eight": {
        "manifest": outcomes.REFUSED,
        "group document": outcomes.QUIET,
        "level document": outcomes.QUIET,
        "level records": outcomes.MENDED,
        "level sums": outcomes.MENDED,
        "level index": outcomes.MENDED,
        "level index sum": outcomes.MENDED,
        "samples magic": outcomes.REFUSED,
        "samples columns": outcomes.REFUSED,
        "samples footer": outcomes.REFUSED,
        "boxes magic": outcomes.RESTORED,
        "boxes columns": outcomes.RESTORED,
        "boxes footer": outcomes.RESTORED,
    },
    "sixteen": {
        "native records": outcomes.MENDED,
        "native sums": outcomes.MENDED,
        "native index": outcomes.MENDED,
        "native index sum": outcomes.MENDED,
        "masks records": outcomes.MENDED,
        "masks sums": outcomes.MENDED,
        "masks index": outcomes.MENDED,
        "masks index sum": outcomes.MENDED,
    },
    "unfinished": {
        "manifest": outcomes.REFUSED,
        "plan": outcomes.RESUMED,
        "rows": outcomes.RESUMED,
        "level index": outcomes.RESUMED,
        "native index sum": outcomes.RESUMED,
    },
    "appending": {
        "manifest": outcomes.REFUSED,
        "samples columns": outcomes.REFUSED,
        "plan": outcomes.RESUMED,
        "rows": outcomes.RESUMED,
    },
}
"""What comes of a flipped bit. A quarantined film's record is never served: seeds 0 and 1 have none."""


@pytest.mark.parametrize(("name", "region"), [(name, region) for name in EXPECTED for region in EXPECTED[name]])
def test_a_flipped_bit_of_each_region(oracles, name, region):
    """It comes to what the pages say of this region."""
    found = {judged(oracles[name], region, "bit", seed).outcome for seed in range(2)}
    assert found == {EXPECTED[name][region]}


def test_every_region_is_expected_somewhere(subjects):
    """No region of any of the caches is left out of the table above."""
    there = {region for subject in subjects.values() for region in subject.intact.regions}
    assert there == {region for of_one in EXPECTED.values() for region in of_one}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_damage_to_a_shard(oracles, kind):
    """Refused when it is read, or, of rows that are not served, listed; then mended."""
    for region in ("level records", "native records", "masks records"):
        assert judged(oracles["sixteen"], region, kind, 1).outcome in (outcomes.MENDED, outcomes.QUIET)


def test_another_state_of_a_file(oracles):
    """An older shard is refused and mended, one to which rows were added serves those that are there."""
    for seed in range(2):
        assert judged(oracles["eight"], "level records", "older", seed).outcome == outcomes.MENDED
    later = {judged(oracles["before"], "level records", "later", seed).outcome for seed in range(8)}
    assert outcomes.HARMLESS in later
    assert later <= {outcomes.HARMLESS, outcomes.MENDED}
    for kind in ("older", "older table's", "another's films", "another recipe's"):
        assert judged(oracles["eight"], "manifest", kind).outcome == outcomes.REFUSED
        assert judged(oracles["eight"], "samples columns", kind).outcome == outcomes.REFUSED


# -- the oracle can fail --


def unverified(self, rows, slot, start):
    """`Level._verify`, not done."""


def no_problems(*_, **__):
    """Checks that find nothing, and repairs that do nothing."""
    return []


@pytest.mark.parametrize(
    ("where", "name", "instead", "case", "outcome"),
    [
        (gather.Level, "_verify", unverified, ("eight", "level records", "ones"), "missed"),
        (layout.sealed, "holds", lambda document, place: True, ("unfinished", "rows", "bit"), "missed"),
        (layout.sealed, "holds", lambda document, place: True, ("eight", "manifest", "bit"), "missed"),
        (verify, "_check_shard", no_problems, ("eight", "level records", "ones"), "not listed"),
        (verify, "_check_documents", no_problems, ("eight", "level document", "gone"), "not listed"),
        (repair._Repair, "_mend_shard", no_problems, ("eight", "level records", "ones"), "not mended"),
        (repair, "_mend_boxes", lambda path, *_: (path / "zarr.json").unlink(), ("eight", "boxes magic", "bit"),
         "not named"),
        (tables, "CorruptCacheError", OSError, ("eight", "samples columns", "bit"), "other error"),
        (tables, "_REMEDY", {}, ("eight", "samples columns", "bit"), "other error"),
        (layout, "COPY", "", ("eight", "manifest", "bit"), None),
    ],
)  # fmt: skip
def test_the_oracle_sees_a_check_that_is_not_made(oracles, monkeypatch, where, name, instead, case, outcome):
    """A check, a remedy or a repair taken away: some case of thirty shows it. Words alone show nothing."""
    monkeypatch.setattr(where, name, instead)
    seen = set()
    for seed in range(30):
        seen.add(judged(oracles[case[0]], *case[1:], seed).outcome)
        if outcome in seen:
            return
    assert outcome is None
    assert not seen & set(WRONG)


# -- damage --


def test_regions_hold_every_byte_once(subjects):
    """Of every file that is not a temporary: the regions lie end to end, from its beginning to its end."""
    for subject in subjects.values():
        of_file = {}
        for region in regions(subject.folder):
            of_file.setdefault(region.file, []).append((region.start, region.stop))
        for name, data in subject.intact.files.items():
            if name.endswith(".part"):
                continue
            parts = sorted(of_file.pop(name))
            assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])], name
            assert parts[-1][1] == len(data)
        assert not of_file


@pytest.mark.slow
def test_damage_is_done_and_undone(subjects, tmp_path):
    """Every kind of every region changes the files it names, and no others; the same generator draws the same."""
    for subject in subjects.values():
        place = tmp_path / subject.name
        subject.intact.restore(place)
        before = tree(place)
        for region in subject.intact.regions:
            for kind in subject.intact.kinds(region):
                damage = subject.intact.draw(np.random.default_rng(3), region, kind)
                assert damage == subject.intact.draw(np.random.default_rng(3), region, kind)
                damage.apply(place)
                changed = subject.intact.changed(place)
                assert changed
                assert changed <= set(damage.files)
                assert (damage.region, damage.kind) == (region, kind)
                subject.intact.restore(place)
                assert subject.intact.changed(place) == set()
        assert tree(place) == before


def test_damage_that_changes_nothing_is_refused(subjects):
    """A kind that a region does not know is refused with those that it knows."""
    with pytest.raises(ArgumentError, match=r"'files swapped' changes no byte of 'plan'; kinds that do: \['bit'"):
        subjects["unfinished"].intact.draw(np.random.default_rng(0), "plan", "files swapped")


def test_swapped_records_make_a_shard_that_is_whole(subjects, tmp_path):
    """Only the table tells it from the one that was: lengths, sums and index are right."""
    intact = subjects["sixteen"].intact
    for region in ("level records", "native records"):
        damage = intact.draw(np.random.default_rng(0), region, "records swapped")
        place = tmp_path / region
        intact.restore(place)
        damage.apply(place)
        (file,) = damage.files
        manifest, group = read_manifest(place), int(file.split("/")[3])
        size = next(one for one in manifest.sizes if layout.shard_path(one, group) == file)
        if layout.is_packed(size):
            assert packed_shard(place, manifest, size, group).present == len(manifest.rows_of(group))
        else:
            whole = shard_of(place, manifest, size, group)
            for k in range(len(manifest.rows_of(group))):
                assert len(set(verify.record_sums(whole, k, bytearray(whole.step)))) == 1
        assert not resload.verify(place, progress=False).ok


# -- the runner --


def test_crashes_and_hangs_are_told_of():
    """A process that ends or takes too long is replaced, and the other numbers are worked on."""

    def begin():
        def work(number):
            if number == 2:
                os._exit(1)
            if number == 3:
                time.sleep(60)
            return number * number

        return work

    found = dict(watched(begin, range(8), workers=2, longest_s=2.0))
    assert found == {0: 0, 1: 1, 2: CRASH, 3: HANG, 4: 16, 5: 25, 6: 36, 7: 49}


def test_outcomes_are_counted():
    """A row for each region, a column for each outcome; they sum to the cases."""
    cases = [Case("a", "plan", "bit", "one"), Case("b", "plan", "cut", "two"), Case("a", "rows", "bit", "two")] * 2
    lines = counted(cases, lambda case: case.region, "region").splitlines()
    assert lines == ["| region | one | two |", "|---|---:|---:|", "| plan | 2 | 2 |", "| rows | 0 | 2 |"]
    assert sum(Counter(case.outcome for case in cases).values()) == 6
