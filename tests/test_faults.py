"""The faults of resload.testing: each does what it says, and what a power cut leaves is what a disk may hold."""

import errno
import os
import signal
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resload.errors import ArgumentError
from resload.store.commit import make_folders, write_whole
from resload.store.files import Files, disk, write_at
from resload.testing import (
    EVERYTHING,
    NAMES,
    NOTHING,
    FailsAt,
    KillsAt,
    Layer,
    Place,
    PowerCut,
    PowerLoss,
    Short,
    counted,
    different,
    fails_to_read,
    faulty,
    in_child,
)
from resload.testing.faults import CALLS


def written(path, data=b"words", *, sync=True):
    """Create a file through the layer in use."""
    descriptor = disk().create(path)
    write_at(descriptor, data, 0)
    if sync:
        disk().sync(descriptor)
    disk().close(descriptor)


# -- layers --


def test_every_call_of_the_store_goes_through_a_layer(tmp_path):
    """A layer has each method of `Files`, passes it on, and counts it under its name."""
    assert {name for name in vars(Files) if not name.startswith("_")} == set(CALLS)

    def work():
        disk().mkdir(tmp_path / "a")
        written(tmp_path / "a" / "x")
        disk().replace(tmp_path / "a" / "x", tmp_path / "y")
        disk().sync_folder(tmp_path)
        descriptor = disk().create(tmp_path / "z")
        disk().truncate(descriptor, 3)
        disk().close(descriptor)
        disk().unlink(tmp_path / "y")
        disk().rmdir(tmp_path / "a")

    made = counted(work)
    kinds = "mkdir create write sync close replace sync_folder create truncate close unlink rmdir"
    assert made == kinds.split()
    assert set(made) == set(CALLS)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"z": b"\0\0\0"}


def test_a_layer_is_in_use_only_inside_the_block(tmp_path):
    """Also when the block ends by an error."""
    layer = Layer()
    with pytest.raises(KeyError), faulty(layer):
        raise KeyError
    written(tmp_path / "x")
    assert layer.made == []
    assert type(disk()) is Files


def test_one_call_fails(tmp_path):
    """The k-th call of its kinds, with the error asked for, naming the path where there is one; the others pass."""
    layer = FailsAt(2, errno.EIO, kinds=("create",))
    with faulty(layer):
        written(tmp_path / "a")
        with pytest.raises(OSError, match=r"\[Errno 5\] .*/b'") as caught:
            written(tmp_path / "b")
        written(tmp_path / "c")
    assert caught.value.errno == errno.EIO
    assert layer.struck
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]


def test_a_full_disk_stays_full(tmp_path):
    """onward: every call from the k-th on; and closing works, as it does on a full disk."""
    with faulty(FailsAt(2, errno.ENOSPC, kinds=("write", "close"), onward=True)):
        written(tmp_path / "a")
        for name in "bc":
            with pytest.raises(OSError, match="No space"):
                written(tmp_path / name)
        descriptor = disk().create(tmp_path / "d")
        disk().close(descriptor)


def test_a_close_that_fails_closes(tmp_path):
    """As close(2) does: the descriptor is gone, whatever it answers."""
    with faulty(FailsAt(1, errno.EIO, kinds=("close",))):
        descriptor = disk().create(tmp_path / "a")
        with pytest.raises(OSError, match="Errno 5"):
            disk().close(descriptor)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_short_writes_write_all_in_the_end(tmp_path):
    """In more calls, and differently by another seed."""
    data = np.arange(5000, dtype=np.uint16).tobytes()
    counts = {seed: counted(lambda seed=seed: written(tmp_path / f"{seed}", data), Short(seed)) for seed in range(4)}
    assert all((tmp_path / f"{seed}").read_bytes() == data for seed in counts)
    with faulty(layer := Short(0)):
        written(tmp_path / "again", data)
    assert layer.made.count("write") > 1
    with faulty(other := Short(1)):
        written(tmp_path / "other", data)
    assert other.made.count("write") != layer.made.count("write")


def test_a_process_is_killed_in_place_of_a_call(tmp_path):
    """The calls before it were made, it was not."""

    def work():
        with faulty(KillsAt(5)):
            written(tmp_path / "a", sync=False)
            written(tmp_path / "b", sync=False)

    assert in_child(work).killed
    assert (tmp_path / "a").read_bytes() == b"words"
    assert (tmp_path / "b").read_bytes() == b""


def test_children_send_home_what_they_made():
    """A value, or the error with its traceback; a child killed late, or dead of something else, is told apart."""
    assert in_child(lambda: {"a": 1}).value == {"a": 1}
    ended = in_child(lambda: 1 // 0)
    assert isinstance(ended.error, ZeroDivisionError)
    assert "1 // 0" in ended.trace
    assert not ended.killed
    begun = time.monotonic()
    assert in_child(lambda: time.sleep(60), kill_after=0.05).killed
    assert time.monotonic() - begun < 30
    assert in_child(lambda: 7, kill_after=60).value == 7
    with pytest.raises(RuntimeError, match="a child died"):
        in_child(lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert in_child(lambda: lambda: 0).error is not None, "what cannot be pickled"


# -- what a power cut leaves --


def states(layer, folder, seeds=60):
    """Everything that the folder may be, as {name: bytes} by a seed each."""
    found = []
    for seed in range(seeds):
        layer.restore(seed, folder)
        found.append({path.relative_to(folder).as_posix(): path.read_bytes() for path in files_in(folder)})
    return found


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def kept(layer, keep, folder):
    layer.restore(keep, folder)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_in(folder)}


@pytest.fixture
def inside(tmp_path):
    """A folder with one file."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "old").write_bytes(b"old words")
    return tmp_path / "inside"


def test_what_was_synced_stays(inside, tmp_path):
    """The contents by a sync of the file, the name by one of the folder: whatever happens to the rest."""
    layer = PowerLoss(inside)
    with faulty(layer):
        written(inside / "new")
        disk().sync_folder(inside)
        written(inside / "lost", sync=False)
    assert kept(layer, NOTHING, tmp_path / "b") == {"old": b"old words", "new": b"words"}
    assert kept(layer, NAMES, tmp_path / "b") == {"old": b"old words", "new": b"words", "lost": b""}
    assert kept(layer, EVERYTHING, tmp_path / "b") == {"old": b"old words", "new": b"words", "lost": b"words"}
    assert {len(state) for state in states(layer, tmp_path / "b")} == {2, 3}


def test_a_synced_file_has_no_name_before_its_folder_is_synced(inside, tmp_path):
    """fsync(2): that of a file does not promise its entry in the folder."""
    layer = PowerLoss(inside)
    with faulty(layer):
        written(inside / "new")
    assert kept(layer, NOTHING, tmp_path / "b") == {"old": b"old words"}
    assert kept(layer, NAMES, tmp_path / "b")["new"] == b"words"


def test_writes_are_torn_at_sectors(inside, tmp_path):
    """Each 512 bytes are the old or the new ones; some states have some of both; a lost tail is no byte at all."""
    (inside / "old").write_bytes(b"o" * 2000)
    layer = PowerLoss(inside)
    with faulty(layer):
        descriptor = disk().create(inside / "new")
        write_at(descriptor, b"o" * 2000, 0)
        disk().sync(descriptor)
        disk().sync_folder(inside)
        write_at(descriptor, b"n" * 1800, 100)
        disk().close(descriptor)
    seen = [state["new"] for state in states(layer, tmp_path / "b")]
    for data in seen:
        assert len(data) == 2000
        parts = [data[:100], data[1900:], data[100:512], *(data[k : k + 512] for k in (512, 1024)), data[1536:1900]]
        assert parts[0] + parts[1] == b"o" * 200
        assert all(len(set(part)) == 1 for part in parts)
    assert {b"o", b"n"} <= {bytes(set(data)) for data in seen if len(set(data[100:1900])) == 1} | {b"o", b"n"}
    assert any(len(set(data[100:1900])) == 2 for data in seen), "torn"
    assert any(set(data[100:1900]) == set(b"n") for data in seen), "whole"
    assert any(set(data) == set(b"o") for data in seen), "lost"


def test_a_rename_leaves_the_old_file_or_the_new(inside, tmp_path):
    """Over a name that was there: never neither. The old name may stay beside it, and never goes alone."""
    layer = PowerLoss(inside)
    with faulty(layer):
        disk().mkdir(inside / "scratch")
        disk().sync_folder(inside)
        written(inside / "scratch" / "part")
        disk().sync_folder(inside / "scratch")
        disk().replace(inside / "scratch" / "part", inside / "old")
    seen = states(layer, tmp_path / "b")
    assert {state["old"] for state in seen} == {b"old words", b"words"}
    assert {"scratch/part" in state for state in seen if state["old"] == b"words"} == {True, False}
    assert all("scratch/part" in state for state in seen if state["old"] == b"old words")
    with faulty(layer):
        disk().sync_folder(inside / "scratch")
    assert kept(layer, NOTHING, tmp_path / "b") == {"old": b"words"}, "a name that is gone for sure has its new one"


def test_an_unsynced_rename_may_leave_an_empty_file(inside, tmp_path):
    """What careless programs meet: the name is there and the contents are not."""
    layer = PowerLoss(inside)
    with faulty(layer):
        written(inside / "part", sync=False)
        disk().replace(inside / "part", inside / "old")
        disk().sync_folder(inside)
    assert kept(layer, NOTHING, tmp_path / "b") == {"old": b""}
    assert {state["old"] for state in states(layer, tmp_path / "b")} == {b"", b"words"}


def test_a_folder_is_lost_with_all_below_it(inside, tmp_path):
    """Whatever was synced there."""
    layer = PowerLoss(inside)
    with faulty(layer):
        disk().mkdir(inside / "a")
        written(inside / "a" / "x")
        disk().sync_folder(inside / "a")
    assert kept(layer, NOTHING, tmp_path / "b") == {"old": b"old words"}
    with faulty(layer):
        disk().sync_folder(inside)
    assert kept(layer, NOTHING, tmp_path / "b") == {"old": b"old words", "a/x": b"words"}


def test_the_power_goes_at_a_call(inside):
    """No call after it does anything, but for closes, and no `except OSError` catches it."""
    layer = PowerLoss(inside, 3)
    with faulty(layer), pytest.raises(PowerCut, match="at call 3, sync"):
        written(inside / "new")
    assert (inside / "new").exists()
    with faulty(layer), pytest.raises(PowerCut):
        disk().unlink(inside / "old")
    assert (inside / "old").exists()
    layer.again()
    with faulty(layer):
        disk().unlink(inside / "old")
    assert not (inside / "old").exists()
    assert not issubclass(PowerCut, Exception)


def test_the_same_seed_leaves_the_same(inside, tmp_path):
    """So that what a run found can be made again."""
    layer = PowerLoss(inside)
    with faulty(layer):
        for k in range(20):
            written(inside / f"{k}", bytes(3000), sync=k % 2 == 0)
    one, other = kept(layer, 5, tmp_path / "b"), kept(layer, 5, tmp_path / "c")
    assert one == other != kept(layer, 6, tmp_path / "b")


PATHS = st.sampled_from(["a", "b", "f/a", "f/b", "g/a"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PATHS, st.binary(max_size=1300)),
        st.tuples(st.just("replace"), PATHS, PATHS),
        st.tuples(st.just("unlink"), PATHS),
        st.tuples(st.just("mkdir"), st.sampled_from(["f", "g"])),
        st.tuples(st.just("rmdir"), st.sampled_from(["f", "g"])),
        st.tuples(st.just("sync_folder"), st.sampled_from([".", "f", "g"])),
    ),
    max_size=25,
)


@given(steps=STEPS, seed=st.integers(0, 1000))
def test_the_journal_knows_what_is_there(tmp_path_factory, steps, seed):
    """Whatever was done: with everything kept it is the folder itself; synced from below up, whatever is kept."""
    root = tmp_path_factory.mktemp("journal")
    (root / "real").mkdir()
    layer = PowerLoss(root / "real")
    with faulty(layer):
        for name, *values in steps:
            paths = [root / "real" / value for value in values if isinstance(value, str)]
            try:
                if name == "write":
                    written(paths[0], values[1], sync=False)
                else:
                    getattr(disk(), name)(*paths)
            except OSError:
                continue
        real = Place(root / "real").tree()
        layer.restore(EVERYTHING, root / "laid")
        assert different(Place(root / "laid").tree(), real) == []
        layer.restore(EVERYTHING)
        assert Place(root / "real").tree() == real
        for path in [*sorted((root / "real").rglob("*"), reverse=True), root / "real"]:
            if path.is_dir():
                disk().sync_folder(path)
    layer.restore(NAMES, root / "laid")
    assert Place(root / "laid").tree().keys() == real.keys()


@pytest.mark.parametrize("careless", [None, "sync", "sync_folder"])
def test_files_written_whole_are_whole_and_carelessness_is_found(inside, tmp_path, careless):
    """`write_whole` leaves the old file or the new one at whichever call the power goes; without one of its syncs, the
    same look finds that it does not."""

    class Careless(PowerLoss):
        def sync(self, descriptor):
            return None if careless == "sync" else super().sync(descriptor)

        def sync_folder(self, path):
            return None if careless == "sync_folder" else super().sync_folder(path)

    found = set()
    for k in range(1, 20):
        layer = Careless(inside, k)
        cut = False
        with faulty(layer):
            try:
                make_folders(inside / "scratch", below=inside)
                write_whole(b"words", inside / "old", scratch=inside / "scratch")
            except PowerCut:
                cut = True
        ends = [kept(layer, keep, tmp_path / "b") for keep in (NOTHING, NAMES, EVERYTHING, 1, 2, 3)]
        found |= {"torn" for end in ends if end.get("old") not in (b"old words", b"words")}
        found |= {"not kept" for end in ends if not cut and end.get("old") != b"words"}
        layer.restore(NOTHING)
        (inside / "old").write_bytes(b"old words")
        if not cut:
            break
    assert found == {None: set(), "sync": {"torn", "not kept"}, "sync_folder": {"not kept"}}[careless]


# -- reading --


def test_an_open_file_fails_to_be_read(inside):
    """Every descriptor on it, and no other; afterwards they read as before."""
    one, other = os.open(inside / "old", os.O_RDONLY), os.open(inside, os.O_RDONLY)
    with fails_to_read(inside / "old") as count:
        assert count == 1
        with pytest.raises(OSError, match="Input/output error"):
            os.pread(one, 4, 0)
        assert (inside / "old").read_bytes() == b"old words"
    assert os.pread(one, 4, 0) == b"old "
    os.close(one)
    os.close(other)
    with pytest.raises(ArgumentError, match="no descriptor open"), fails_to_read(inside / "old"):
        pass
