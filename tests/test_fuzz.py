"""A short run of every target of `benchmarks/fuzz.py`, and of the corpus: inputs that once were bugs."""

from pathlib import Path

import numpy as np
import pytest
from fuzz_targets import MEMORY, TARGETS, VARIABLES

from resload.errors import ArgumentError
from resload.testing import fuzzing
from resload.testing.fuzzing import Bounds, Target, mutations
from resload.testing.fuzzing.child import BUG, SERVED
from resload.testing.fuzzing.parent import python

HERE = Path(__file__).parent
CORPUS = sorted(path for path in (HERE / "corpus").iterdir() if path.suffix == ".bin")
BY_NAME = {target.name: target for target in TARGETS}
EXECUTIONS = 300
SLOW = ("manifest", "parquet", "shard", "unfinished", "catalog")
"""Some milliseconds each."""


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "rebuild"])
@pytest.mark.slow
def test_a_few_hundred_inputs(name, tmp_path, monkeypatch):
    """Served, or refused by a class of ours; the same ones every time."""
    for variable, value in VARIABLES.items():
        monkeypatch.setenv(variable, value)
    target = BY_NAME[name]
    target.prepare(tmp_path)
    sound = target.seeds()
    answers = set()
    for i in range(EXECUTIONS // (4 if name in SLOW else 1)):
        rng = np.random.default_rng((len(name), i))
        data = target.mutate(sound[i % len(sound)], rng)
        answer = fuzzing.child.judged(target, data, tmp_path)
        assert not answer.startswith(BUG), (answer, data[:200], getattr(fuzzing.child.judged, "trace", ""))
        answers.add(answer)
    assert len(answers) > 1, "damage that changes nothing"


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_once_was_a_bug(path, tmp_path, monkeypatch):
    """Is none any more. Files are called by their target."""
    for variable, value in VARIABLES.items():
        monkeypatch.setenv(variable, value)
    answer = fuzzing.replay(BY_NAME[path.stem.rpartition("-")[0]], path.read_bytes(), tmp_path)
    assert not answer.startswith(BUG), answer


def test_the_corpus_is_small_and_every_file_has_a_target():
    """It is kept in the repository."""
    assert sum(path.stat().st_size for path in CORPUS) < 200_000
    assert {path.stem.rpartition("-")[0] for path in CORPUS} <= set(BY_NAME)


@pytest.mark.slow
def test_children_are_counted():
    """One target as the benchmark runs it: in a child that is watched, to the last execution."""
    found = fuzzing.fuzz(
        python(HERE / "fuzz_targets.py"), "runs", runs=250, seed=1, bounds=Bounds(memory=MEMORY, variables=VARIABLES)
    )
    assert found.executions == 250
    assert not found.bugs
    assert found.counts["DecodeError"] > 50
    assert found.peak > 1 << 20


# -- the watch can find what it is to find --

BAD = """
import os, pickle, socket, subprocess, sys, time
from resload.errors import DecodeError
from resload.testing import fuzzing
from resload.testing.fuzzing import Target

held = []

def run(data, folder):
    kind = data[:1]
    if kind == b"e": raise KeyError("x")
    if kind == b"w": __import__("warnings").warn("x")
    if kind == b"o": open("/etc/hostname").read()
    if kind == b"p": pickle.loads(pickle.dumps(DecodeError))
    if kind == b"s": subprocess.run(["true"])
    if kind == b"c": eval(data[1:])
    if kind == b"d": os.remove("/nowhere/x")
    if kind == b"k": os.kill(os.getpid(), 6)
    if kind == b"h": time.sleep(60)
    if kind == b"b":
        while True: pass
    if kind == b"m": held.append(b"x" * (200 << 20))
    if kind == b"f": (folder / "own").write_bytes(b"x")
    if kind == b"r": raise DecodeError("refused")

def only(letter):
    return lambda data, rng: letter + b"1+1"

def only(letters):
    order = iter(letters * 9)
    return lambda data, rng: next(order).encode() + b"1+1"

TARGETS = [Target(letters, lambda: [b"-"], run, only(letters)) for letters in ("ewopscd", "k", "h", "b", "m", "f-r")]
if __name__ == "__main__":
    fuzzing.main(TARGETS)
"""


def bad(folder, letters, runs, bounds):
    """What is found in the target that does what these letters say."""
    (folder / "bad.py").write_text(BAD)
    return fuzzing.fuzz(python(folder / "bad.py"), letters, runs=runs, seed=0, bounds=bounds)


def test_planted_bugs_are_found(tmp_path):
    """One of each kind that a process survives, each with its input."""
    found = bad(tmp_path, "ewopscd", 7, Bounds())
    expected = {
        b"e": "KeyError",
        b"w": "UserWarning",
        b"o": "Escape: open /etc/hostname",
        b"p": "Escape: pickle.find_class",
        b"s": "Escape: subprocess.Popen",
        b"c": "Escape: compile",
        b"d": "Escape: os.remove /nowhere/x",
    }
    assert [bug[1] for bug in found.bugs] == [letter + b"1+1" for letter in expected]
    for bug, what in zip(found.bugs, expected.values(), strict=True):
        assert bug[0].removeprefix(BUG).startswith(what)
    assert found.executions == 7


@pytest.mark.parametrize(
    ("letter", "what", "bounds"),
    [
        ("k", "SIGABRT", Bounds()),
        ("h", "hang", Bounds(seconds=0.8)),
        ("b", "hang", Bounds(seconds=0.8)),
        ("m", "memory", Bounds(memory=100 << 20)),
    ],
)
@pytest.mark.slow
def test_an_input_that_ends_or_holds_a_child_is_found(letter, what, bounds, tmp_path):
    """And kept: the parent knows it from the file in which it was noted."""
    found = bad(tmp_path, letter, 1, bounds)
    assert [bug[0].removeprefix(BUG).startswith(what) for bug in found.bugs] == [True], found
    assert found.bugs[0][1] == letter.encode() + b"1+1"
    assert found.executions == 1


def test_what_is_allowed_is_no_bug(tmp_path):
    """Files in the folder, refusals."""
    found = bad(tmp_path, "f-r", 3, Bounds())
    assert found.counts == {SERVED: 2, "DecodeError": 1}
    assert not found.bugs


def test_a_child_that_cannot_start_is_no_result(tmp_path):
    """What it said is told."""
    (tmp_path / "none.py").write_text("raise SystemExit('no targets')")
    with pytest.raises(RuntimeError, match="no targets"):
        fuzzing.fuzz(python(tmp_path / "none.py"), "x", runs=1, seed=0, bounds=Bounds())


# -- damage --


def test_damage_is_a_function_of_its_generator():
    """So that an input can be made again."""
    target = BY_NAME["png"]
    sound = target.seeds()[0]
    one, other = (target.mutate(sound, np.random.default_rng(5)) for _ in range(2))
    assert one == other != target.mutate(sound, np.random.default_rng(6))


def test_chunks_come_back():
    """Taking a PNG apart and putting it together."""
    sound = BY_NAME["png"].seeds()[0]
    assert mutations.png_of(mutations.png_chunks(sound)) == sound


def test_replay_judges_in_this_process(tmp_path):
    """A bug is named, a refusal is one."""

    def run(data, folder):
        raise ArgumentError("x") if data else ZeroDivisionError("y")

    target = Target("t", lambda: [b""], run)
    assert fuzzing.replay(target, b"1", tmp_path) == "ArgumentError"
    assert fuzzing.replay(target, b"", tmp_path) == "bug: ZeroDivisionError: y"
