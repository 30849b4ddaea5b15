"""Ctrl-C: work ends by KeyboardInterrupt, with nothing left behind, and goes on from there when it is begun again."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from loading import NumberReader, workers

import resload
from resload import Loader, cli
from resload.regular import descriptor_of
from resload.threads import ThreadPool, ordered_map

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of POSIX")

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@contextmanager
def pressed(*seconds):
    """What is within is interrupted: Ctrl-C for the main thread, so many seconds from its beginning; no later one."""
    main, left = threading.main_thread().ident, list(seconds)

    def press():
        signal.pthread_kill(main, signal.SIGINT)
        left.pop()

    for after in seconds:
        threading.Timer(after, press).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        while left or any(isinstance(one, threading.Timer) for one in threading.enumerate()):
            with suppress(KeyboardInterrupt):
                time.sleep(0.01)


def taken(items, body):
    """A loop over all of them."""
    for one in items:
        body(one)


# -- files --


def left_open(opening, path, times=3000):
    """How many descriptors are left open of so many that were opened while an interrupt was on its way."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    earlier, waits = signal.signal(signal.SIGALRM, interrupt), np.random.default_rng(0).uniform(1e-6, 4e-5, times)
    try:
        for wait in waits.tolist():
            with suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, wait)
                try:
                    descriptor = opening(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
                    os.close(descriptor)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    left = [one for one in Path("/proc/self/fd").iterdir() if one.is_symlink() and one.readlink() == path]
    for one in left:
        os.close(int(one.name))
    return len(left)


def test_an_interrupt_while_a_file_is_opened_leaves_it_closed(tmp_path):
    assert left_open(descriptor_of, tmp_path / "file") == 0
    for number in range(20):  # and it is by chance only that the system's own leaves none
        if left_open(os.open, tmp_path / f"file-{number}"):
            return
    pytest.fail("no interrupt came while a file was opened")


# -- threads that work --


def test_the_end_outlasts_an_interrupt():
    """What a thread does is done when `end` returns, also where Ctrl-C came while it waited; what was not begun is
    dropped.
    """
    done = []

    def work(k):
        time.sleep(0.4)
        done.append(k)

    pool = ThreadPool(2)
    for k in range(6):
        pool.submit(work, k)
    with pressed(0.1, 0.2):
        pool.end()
    assert sorted(done) == [0, 1]
    time.sleep(0.5)
    assert sorted(done) == [0, 1]
    assert workers() == []


def test_the_third_interrupt_does_not_wait():
    """A task that does not end keeps nobody: one interrupt more than patience."""
    go_on = threading.Event()
    pool = ThreadPool(1)
    pool.submit(go_on.wait, 60)
    begun = time.monotonic()
    with pressed(0.1, 0.3, 0.5):
        pool.end()
    assert 0.4 < time.monotonic() - begun < 30
    assert workers() != []
    go_on.set()
    pool.end()


@pytest.mark.parametrize("twice", [(), (0.02,)])
def test_a_map_that_is_interrupted(twice):
    """In the loop, and once more while threads end: no thread works on, and what follows has its own."""
    working = []

    def work(k):
        working.append(k)
        time.sleep(0.15)
        working.remove(k)
        return k

    with pressed(0.3, *(0.3 + one for one in twice)):
        taken(ordered_map(work, range(1000), threads=3, window=9), str)
    assert working == []
    assert list(ordered_map(lambda k: k, range(5), threads=2, window=2)) == list(range(5))
    assert workers() == []


# -- loaders --


def test_a_loop_that_is_interrupted_ends_its_threads():
    """While it waits for a batch, and in its body; the loader goes on with the next epoch."""
    loader = Loader(NumberReader(400, delay=0.01), size=4, batch_size=8, threads=2)
    for body in (0, 10):
        with pressed(0.2):
            taken(loader, lambda _, body=body: time.sleep(body))
        assert workers() == []
    assert loader.state_dict()["epoch"] == 1
    quick = Loader(NumberReader(40), size=4, batch_size=8, threads=2)
    assert [row for batch in quick for row in batch.rows.tolist()] == list(range(40))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_raised_by_a_transform_reaches_the_loop(threads):
    """A callback on a thread that raises KeyboardInterrupt itself: the loop gets it, whole, and threads end."""

    def transform(sample):
        if sample.row == 21:
            raise KeyboardInterrupt

    loader = Loader(NumberReader(64), size=4, batch_size=8, threads=threads, transform=transform)
    rows = []
    with pytest.raises(KeyboardInterrupt):
        taken(loader, lambda batch: rows.extend(batch.rows.tolist()))
    assert rows == list(range(16))
    assert workers() == []


def test_a_loop_in_another_thread_goes_on():
    """Ctrl-C is the main thread's: a loop elsewhere gets all of its batches, and its threads end with it."""
    rows = []

    def loop():
        for batch in Loader(NumberReader(60, delay=0.01), size=4, batch_size=6, threads=2):
            rows.extend(batch.rows.tolist())

    thread = threading.Thread(target=loop)
    thread.start()
    with pressed(0.1):
        time.sleep(20)
    thread.join()
    assert rows == list(range(60))
    assert workers() == []


# -- the command line --


def test_what_an_interrupt_led_to_is_an_interrupt(monkeypatch, capsys):
    """C code turns it into an error of its own, as imports do: still one sentence and 130."""

    def broken(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("numpy.core.multiarray failed to import") from None

    monkeypatch.setattr("resload.store.verify.verify", broken)
    assert cli.main(["verify", "nothing.zarr"]) == 130
    assert capsys.readouterr().err == "resload: interrupted\n"


def test_errors_without_an_interrupt_are_what_they_were(monkeypatch, capsys):
    """The same error alone is raised; one of ours is a sentence; afterwards Ctrl-C is Python's again."""

    def broken(*_, **__):
        raise ImportError("numpy.core.multiarray failed to import")

    monkeypatch.setattr("resload.store.verify.verify", broken)
    with pytest.raises(ImportError, match="failed to import"):
        cli.main(["verify", "nothing.zarr"])
    monkeypatch.undo()
    assert cli.main(["verify", "nothing.zarr"]) == 1
    assert "nothing.zarr" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_python_drops_comes_again(monkeypatch, capsys):
    """In a callback of garbage collection nothing can be raised: a moment later it is, and what it interrupted ends."""

    class Dies:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def work(*_, **__):
        Dies()
        time.sleep(30)

    before = sys.unraisablehook
    monkeypatch.setattr("resload.store.verify.verify", work)
    begun = time.monotonic()
    assert cli.main(["verify", "nothing.zarr"]) == 130
    assert time.monotonic() - begun < 20
    assert capsys.readouterr().err == "resload: interrupted\n"
    assert sys.unraisablehook is before


def test_an_import_is_not_interrupted(tmp_path, monkeypatch, capsys):
    """C++ code that is loaded would end the process: the interrupt waits until the import is done, then comes."""
    module = "import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.2)\nDONE = True\n"
    (tmp_path / "imported_while_interrupted.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)

    def work(*_, **__):
        import imported_while_interrupted

        assert imported_while_interrupted.DONE
        time.sleep(30)

    monkeypatch.setattr("resload.store.verify.verify", work)
    begun = time.monotonic()
    assert cli.main(["verify", "nothing.zarr"]) == 130
    assert 0.2 < time.monotonic() - begun < 20
    assert capsys.readouterr().err == "resload: interrupted\n"
    assert sys.modules.pop("imported_while_interrupted").DONE


def test_a_handler_of_somebody_else_stays(monkeypatch):
    """Who embeds the command line and has a handler of its own keeps it, and gets the interrupt."""
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        monkeypatch.setattr("resload.store.verify.verify", lambda *_, **__: signal.raise_signal(signal.SIGINT))
        with pytest.raises(AttributeError):  # of the answer, which is None
            cli.main(["verify", "nothing.zarr"])
        assert seen == [1]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_command_that_has_answered_takes_no_interrupt():
    """Once its last word is said, Ctrl-C does not add a traceback or another exit code."""
    code = """
import signal, sys, time
from resload import cli
code = cli.main()
signal.raise_signal(signal.SIGINT)
time.sleep(0.1)
sys.exit(code)
"""
    command = [sys.executable, "-c", code, "info", "nothing.zarr"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "nothing.zarr" in done.stderr


def test_an_interrupted_command_runs_nothing_more():
    """Its last word is the sentence: what libraries do when Python ends is not done after an interrupt."""
    code = """
import atexit, signal, sys
from resload import cli
atexit.register(lambda: sys.stderr.write("terminate called"))
from resload.store import verify
verify.verify = lambda *_, **__: signal.raise_signal(signal.SIGINT)
sys.exit(cli.main())
"""
    command = [sys.executable, "-c", code, "verify", "nothing.zarr"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "resload: interrupted\n")


# -- at random moments --


@pytest.mark.slow
def test_what_the_runner_sees():
    """It can fail: a thread and a descriptor that are left, an end by something else, a line that goes on."""
    code = """
import os, sys, threading, time
from resload.testing import interrupting
from resload.testing.interrupting import interrupted

interrupting._SETTLES = 0.3  # what stays here stays for a minute

def leaves():
    try:
        time.sleep(60)
    finally:
        threading.Thread(target=time.sleep, args=(60,), name="left").start()
        os.open(os.devnull, os.O_RDONLY)
        sys.stderr.write("half a line")

def other():
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        raise ValueError("another one") from None

one = interrupted(leaves, after=0.1)
assert one.how == "interrupted", one
assert [word.split()[0] for word in one.left] == ["thread", "descriptor"], one
assert one.shown == "half a line", one
two = interrupted(other, after=0.1)
assert "ValueError: another one" in two.how and two.left == [], two
three = interrupted(lambda: print("done"), after=60)
assert three.how == "whole" and three.shown == "done\\n" and three.seconds == 0, three
four = interrupted(lambda: time.sleep(60), after=0.05, again=0.01)
assert four.how == "interrupted" and four.left == [] and four.seconds < 10, four
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


RUNNER = f"""
import runpy, sys
sys.path.insert(0, {str(BENCHMARKS)!r})
import interrupts
verb = interrupts.verb
interrupts.SECONDS = 60.0  # other work of this machine may take a lot of its time
interrupts.verb = lambda words, *, after, again: verb(words, after=after / 4, again=again)  # within the first second
sys.argv[0] = {str(BENCHMARKS / "long_runs.py")!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_a_dozen_interrupts(tmp_path):
    """Of builds, appends, new sizes, repairs, checks, loaders and verbs: nothing left, everything made in the end."""
    words = ["--interrupts", "12", "--films", "16", "--results", str(tmp_path)]
    command = [sys.executable, "-c", RUNNER, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads((tmp_path / "interrupts.json").read_text())["cases"]
    assert len(cases) == 12
    assert all(one["wrong"] == [] for one in cases.values())
    assert sum(one["ways"].get("interrupted", 0) for one in cases.values()) >= 4
    assert sum(one["compared"] for one in cases.values()) >= 4


def test_a_build_under_way_is_interrupted_and_goes_on(films8, cache8, tmp_path):
    """In this process: no thread and no descriptor of the cache's files left, and then the same cache as without."""
    path = tmp_path / "c.zarr"

    def build_and_wait():
        resload.build(films8, path, cache8.sizes, columns=("view",), threads=2, progress=False)
        time.sleep(20)

    with pressed(0.15):
        build_and_wait()
    assert workers() == []
    held = [one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert not [one for one in held if str(path) in str(one)]
    assert resload.build(films8, path, cache8.sizes, columns=("view",), progress=False).digest == cache8.digest


def test_batches_before_an_interrupt_are_whole():
    """What was handed over is kept, and nothing writes to it any more."""
    loader = Loader(NumberReader(200, delay=0.005), size=4, batch_size=10, threads=2, dtype=torch.uint16)
    kept = []
    with pressed(0.25):
        taken(loader, kept.append)
    for batch in kept:
        assert all((batch.images[k].to(torch.int32) == row).all() for k, row in enumerate(batch.rows.tolist()))
