"""Many reads by one call: the same bytes as one after another, and nothing lost where the system has no such call."""

import errno
import os
import platform
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resload.store import bulk

here = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="Linux on x86_64 or aarch64 only"
)
STEP = 24  # 20 bytes of pixels and 4 of their sum


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three files of 50 records each, and their bytes as (3, 50, STEP)."""
    folder = tmp_path_factory.mktemp("bulk")
    data = np.random.default_rng(0).integers(0, 256, (3, 50, STEP), np.uint8)
    descriptors = []
    for k, records in enumerate(data):
        (folder / str(k)).write_bytes(records.tobytes())
        descriptors.append(os.open(folder / str(k), os.O_RDONLY))
    yield descriptors, data
    for descriptor in descriptors:
        os.close(descriptor)


def places(count):
    pixels, sums = np.zeros((count, STEP - 4), np.uint8), np.zeros(count, "<u4")
    return pixels, sums, bulk.Buffers(pixels, sums)


def read(files, which, records, start=0, room=bulk.MOST):
    """What `run` says, and what lies in the buffers afterwards, as (room, STEP)."""
    pixels, sums, buffers = places(room)
    offsets = (np.array(records) * STEP).astype(np.int64)
    whole = bulk.run(buffers, start, [files[0][k] for k in which], offsets, STEP)
    return whole, np.concatenate([pixels, sums.view(np.uint8).reshape(-1, 4)], axis=1)


@here
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_records_go_where_they_belong(files, data):
    """Any records of any files, adjacent or not, repeated or not, from any place on; nothing else is touched."""
    count = data.draw(st.integers(1, bulk.MOST - 5))
    runs = data.draw(st.booleans())
    first = data.draw(st.integers(0, 49))
    if runs:
        records, which = [(first + i) % 50 for i in range(count)], [data.draw(st.integers(0, 2))] * count
    else:
        records = data.draw(st.lists(st.integers(0, 49), min_size=count, max_size=count))
        which = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    start = data.draw(st.integers(0, 5))
    whole, found = read(files, which, records, start)
    assert whole
    expected = np.zeros_like(found)
    expected[start : start + count] = files[1][which, records]
    assert np.array_equal(found, expected)


@here
def test_adjacent_records_of_a_file_are_one_read(files, monkeypatch):
    """Seven records of which five follow one another: three reads; those that follow in another file do not count."""
    asked = []
    submit = bulk._SYSTEM.submit

    def counted(context, count, reads):
        asked.append(count.value)
        return submit(context, count, reads)

    monkeypatch.setattr(bulk, "_SYSTEM", bulk._SYSTEM._replace(submit=counted))
    assert read(files, [0, 0, 0, 0, 0, 0, 0], [7, 8, 9, 10, 11, 3, 30])[0]
    assert read(files, [0, 1, 1, 2], [7, 8, 9, 10])[0]
    assert asked == [3, 3]


@here
@pytest.mark.parametrize(("which", "records"), [([0, 0], [3, 50]), ([0, 0, 0], [48, 49, 50]), ([1], [49.5])])
def test_a_file_that_ends_early_is_not_whole(files, which, records):
    """Beyond the end, across it in a run of records, and in the middle of a record."""
    assert not read(files, which, records)[0]
    assert read(files, [0, 0], [3, 4])[0]  # and the next call is none the worse


@here
def test_a_bad_descriptor_is_not_whole_and_changes_nothing_else(files):
    """First of all reads, or behind others that were taken: their answers are waited for."""
    for bad in (0, 1, 5):
        descriptors = [files[0][0]] * 6
        descriptors[bad] = 1 << 20
        _, _, buffers = places(6)
        assert not bulk.run(buffers, 0, descriptors, np.arange(6) * 2 * STEP, STEP)
    assert read(files, [0, 2], [3, 4])[0]
    assert not bulk._refused


@here
@pytest.mark.parametrize("call", ["setup", "submit"])
def test_a_system_that_refuses_is_not_asked_again(files, monkeypatch, call):
    """As in a container that forbids the calls: False, once and for all, without an error."""
    import ctypes

    asked = []

    def refuse(*arguments):
        asked.append(arguments)
        ctypes.set_errno(errno.EPERM)
        return -1

    monkeypatch.setattr(bulk, "_refused", [])
    monkeypatch.setattr(bulk, "_SYSTEM", bulk._SYSTEM._replace(**{call: refuse}))
    monkeypatch.setattr(bulk, "_free", type(bulk._free)())
    for _ in range(3):
        assert not read(files, [0], [0])[0]
    assert len(asked) == 1
    assert bulk._refused == [errno.EPERM]


@here
def test_a_system_without_room_is_asked_again(files, monkeypatch):
    """Other programs may have taken all there is (EAGAIN): False now, and the next call tries again."""
    import ctypes

    def full(*arguments):
        ctypes.set_errno(errno.EAGAIN)
        return -1

    monkeypatch.setattr(bulk, "_free", type(bulk._free)())
    with monkeypatch.context() as patch:
        patch.setattr(bulk, "_SYSTEM", bulk._SYSTEM._replace(setup=full))
        assert not read(files, [0], [0])[0]
    assert not bulk._refused
    assert read(files, [0], [0])[0]


def test_where_there_is_no_such_call(files, monkeypatch):
    """Another system, another processor: False, and nobody is asked."""
    monkeypatch.setattr(bulk, "_SYSTEM", None)
    assert not read(files, [0], [0])[0]


@here
def test_a_signal_while_waiting_loses_no_answer(files, monkeypatch):
    """Answers that come in two parts, with EINTR between them, are all looked at."""
    import ctypes

    real, state = bulk._SYSTEM.getevents, []

    def interrupted(context, least, most, room, limit):
        state.append(least.value)
        if len(state) == 2:
            ctypes.set_errno(errno.EINTR)
            return -1
        first = ctypes.c_long(min(2, least.value)) if len(state) == 1 else least
        return real(context, first, first, room, limit)

    monkeypatch.setattr(bulk, "_SYSTEM", bulk._SYSTEM._replace(getevents=interrupted))
    whole, found = read(files, [0, 1, 2, 0, 1], [0, 9, 3, 30, 20])
    assert whole
    assert state == [5, 3, 3]
    assert np.array_equal(found[:5], files[1][[0, 1, 2, 0, 1], [0, 9, 3, 30, 20]])


@here
def test_an_interruption_ends_what_was_begun(files, monkeypatch):
    """Ctrl-C between the reads and their answers: the room is closed, not used again, and the next call has its own."""
    closed = []

    def interrupt(*arguments):
        raise KeyboardInterrupt

    real = bulk._SYSTEM
    watched = real._replace(getevents=interrupt, destroy=lambda *a: closed.append(a) or real.destroy(*a))
    with monkeypatch.context() as patch:
        patch.setattr(bulk, "_SYSTEM", watched)
        with pytest.raises(KeyboardInterrupt):
            read(files, [0, 1], [3, 5])
        assert len(closed) == 1
    assert read(files, [0, 1], [3, 5])[0]


@here
def test_threads_have_their_own_room(files):
    """Eight threads at once, each with its own records: no answer goes to another."""
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(100):
            which, records = rng.integers(0, 3, 40), rng.integers(0, 50, 40)
            whole, found = read(files, which.tolist(), records)
            if not whole or not np.array_equal(found[:40], files[1][which, records]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@here
def test_a_forked_process_makes_its_own_room(tmp_path):
    """As torch's workers do: what the parent used means nothing in a child."""
    program = f"""
import os, numpy as np
from resload.store import bulk
path = {str(tmp_path / "file")!r}
open(path, "wb").write(bytes(range(240)))
file = os.open(path, os.O_RDONLY)
def ok():
    pixels, sums = np.zeros((2, 20), np.uint8), np.zeros(2, "<u4")
    whole = bulk.run(bulk.Buffers(pixels, sums), 0, [file, file], np.array([0, 96]), 24)
    return whole and pixels[1, 0] == 96
assert ok() and len(bulk._free) == 1
child = os.fork()
if child == 0:
    os._exit(0 if not bulk._free and ok() and ok() else 1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0 and ok()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
