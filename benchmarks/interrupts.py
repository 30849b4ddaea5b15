"""Ctrl-C at random moments, and once more while the first is handled: what `long_runs.py --interrupts N` does.

Work runs in forked processes with a terminal; verbs of the command line in processes of their own, from their start on.
Of each: does it end by KeyboardInterrupt (a verb: with code 130 and one sentence) within seconds; is a thread or a
descriptor left; does the terminal end with a whole line and without a traceback. What is built, and interrupted again
and again, must at last be byte for byte what is built without.
"""

import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from common import save

import resload
from resload.store import builder, repair, verify  # noqa: F401 - imported before forking, so that children start at once
from resload.testing import write_synthetic
from resload.testing.interrupting import Ending, interrupted

SECONDS = 5.0
"""From Ctrl-C to the end, at most."""
AT_MOST = 0.03
"""Seconds between the two of a pair."""
BEGINS = "import sys; from resload.cli import main; sys.stderr.write('.'); sys.stderr.flush(); sys.exit(main())"


@dataclass
class Case:
    """Something to interrupt."""

    work: Callable[[], object]
    seconds: float = 0.0
    """How long it takes alone."""
    cache: Path | None = None
    """What it makes, if it makes something."""
    start: Path | None = None
    """What that is made of: copied before; None where it begins with nothing."""
    reference: dict[str, bytes] = field(default_factory=dict)
    """What it is to be."""


@dataclass
class Tally:
    """What was seen of one case."""

    ways: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)
    compared: int = 0
    dropped: int = 0

    def add(self, ending: Ending) -> None:
        """Count it, and what is wrong with it."""
        self.ways[ending.how if ending.how in ("interrupted", "whole") else "failed"] += 1
        self.dropped += dropped(ending)
        self.slowest = max(self.slowest, ending.seconds)
        self.wrong += faults(ending)


def dropped(ending: Ending) -> bool:
    """Whether Python dropped an interrupt: in a callback of garbage collection, which cannot raise anything."""
    told = ending.shown.count("Traceback")
    return bool(told) and told == len(
        re.findall(r"Exception ignored in: .*?KeyboardInterrupt", ending.shown, re.DOTALL)
    )


def faults(ending: Ending) -> list[str]:
    """What should not be, in words."""
    found = [f"left: {one}" for one in ending.left]
    if ending.how not in ("interrupted", "whole"):
        found.append(f"ended by: {ending.how}")
    if ending.seconds > SECONDS:
        found.append(f"took {ending.seconds:.1f} s")
    if ending.shown and not ending.shown.endswith("\n"):
        found.append(f"the terminal's line goes on: {ending.shown[-120:]!r}")
    if "Traceback" in ending.shown and not dropped(ending):
        found.append(f"a traceback: {ending.shown[-2000:]}")
    return found


def tree(folder: Path) -> dict[str, bytes]:
    """Every file's bytes, and every folder, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


# -- one case --


def again_and_again(case: Case, count: int, rng: random.Random) -> Tally:
    """So many interrupts. What makes a cache goes on with what the last one left until it is whole, then anew."""
    tally = Tally()
    fresh(case)
    while sum(tally.ways.values()) < count:
        pair = rng.uniform(0, AT_MOST) if rng.random() < 0.4 else None
        ending = interrupted(case.work, after=rng.uniform(0, case.seconds), again=pair)
        tally.add(ending)
        case.seconds *= 0.85 if ending.how == "whole" else 1.05  # how long it takes on this machine just now
        if ending.how == "whole":
            compare(case, tally)
    finish(case, tally)
    return tally


def fresh(case: Case) -> None:
    """As it is before anything was done."""
    if case.cache is not None:
        shutil.rmtree(case.cache, ignore_errors=True)
        if case.start is not None:
            shutil.copytree(case.start, case.cache)


def finish(case: Case, tally: Tally) -> None:
    """Let what is half made be made, and compare."""
    if case.cache is not None:
        ending = interrupted(case.work, after=None)
        tally.wrong += [f"going on after the last interrupt: {one}" for one in faults(ending)]
        compare(case, tally)


def compare(case: Case, tally: Tally) -> None:
    """What was made with what should be, byte for byte; then it begins anew."""
    if case.cache is None:
        return
    found = tree(case.cache)
    tally.compared += 1
    differ = sorted(
        name for name in found.keys() | case.reference.keys() if found.get(name) != case.reference.get(name)
    )
    if differ:
        tally.wrong.append(f"differs from what is made without interrupts: {', '.join(differ[:5])}")
    fresh(case)


# -- the cases --


def make_cases(folder: Path, films: int, seed: int) -> dict[str, Case]:
    """All that is done in forked processes, with what it is to become."""
    done(lambda: write_synthetic(folder / "films", films, size=(420, 400), seed=seed).save(folder / "catalog"))
    catalog = resload.Catalog.load(folder / "catalog")
    few = catalog.select([k < films * 2 // 3 for k in range(films)])
    options: dict[str, Any] = {"shard_mb": 0.05, "threads": 2}
    sizes, cache = (32, 64, "native"), folder / "made.zarr"

    def made() -> object:
        return resload.build(catalog, cache, sizes, progress=True, **options)

    for name, of, some in (("few", few, sizes), ("narrow", catalog, (32, "native")), ("whole", catalog, sizes)):
        done(partial(resload.build, of, folder / f"{name}.zarr", some, progress=False, **options))
    damage(folder / "whole.zarr", folder / "damaged.zarr")
    whole = folder / "whole.zarr"
    cases = {
        "build": Case(made, cache=cache),
        "append films": Case(made, cache=cache, start=folder / "few.zarr"),
        "add a size": Case(made, cache=cache, start=folder / "narrow.zarr"),
        "repair": Case(lambda: resload.repair(cache, catalog, threads=2), cache=cache, start=folder / "damaged.zarr"),
        "verify": Case(lambda: resload.verify(whole, sources=8, catalog=catalog, threads=2)),
        "open_cache": Case(lambda: [resload.open_cache(whole) for _ in range(20)]),
        "Loader": Case(lambda: load(resload.open_cache(whole))),
        "Loader, from the files": Case(lambda: load(catalog, pipeline=resload.Pipeline(64), rows=range(films - 1))),
    }
    for case in cases.values():
        time_alone(case)
    assert cases["repair"].reference == tree(whole)
    return cases


def done(work: Callable[[], object]) -> None:
    """In a forked process: this one shall have no threads when it forks."""
    ending = interrupted(work, after=None)
    assert ending.how == "whole", ending


def load(data: Any, **options: Any) -> None:
    """Some epochs."""
    loader = resload.Loader(data, size=64, batch_size=4, shuffle=True, threads=2, **options)
    for _ in range(6):
        for batch in loader:
            assert len(batch.images)


def damage(whole: Path, copy: Path) -> None:
    """A bit in some shards of every array, and one shard that is gone."""
    shutil.copytree(whole, copy)
    shards = [path for path in sorted(copy.rglob("c/*/*/*")) if path.is_file()]
    for path in shards[::2]:
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 4
        path.write_bytes(data)
    shards[1].unlink()


def time_alone(case: Case) -> None:
    """How long it takes, and what it makes."""
    fresh(case)
    begun = time.monotonic()
    ending = interrupted(case.work, after=None)
    case.seconds = time.monotonic() - begun
    assert ending.how == "whole", ending
    if case.cache is not None:
        case.reference = tree(case.cache)


# -- the command line --


def verbs(folder: Path) -> dict[str, list[str]]:
    """What is interrupted of it."""
    films, made = str(folder / "films"), str(folder / "by-verb.zarr")
    whole = str(folder / "whole.zarr")
    return {
        "resload build": ["build", films, made, "--sizes", "32", "64", "native", "--shard-mb", "0.05"],
        "resload verify": ["verify", whole, films, "--sources", "200"],
        "resload repair": ["repair", str(folder / "damaged.zarr"), films],
        "resload bench": ["bench", whole, "--seconds", "0.2"],
    }


def verb(arguments: list[str], *, after: float, again: float | None) -> Ending:
    """A verb in a process of its own, which is sent Ctrl-C; from its first own line on, it is resload that answers."""
    command = [sys.executable, "-c", BEGINS, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.read(1)
        time.sleep(after)
        pressed = time.monotonic()
        for wait in (0.0, again):
            if wait is not None and process.poll() is None:
                time.sleep(wait)
                process.send_signal(2)
        shown = process.stderr.read()
        code = process.wait(timeout=60)
    how = {130: "interrupted", 0: "whole", 1: "whole"}.get(code, f"exit code {code}: {shown}")
    if how == "interrupted" and not shown.rpartition("resload: interrupted")[1]:
        how = f"exit code 130 without a sentence: {shown}"
    return Ending(how, [], time.monotonic() - pressed, shown)


def verb_again_and_again(arguments: list[str], count: int, seconds: float, rng: random.Random) -> Tally:
    """So many interrupts of a verb, most of them in its first seconds."""
    tally = Tally()
    for _ in range(count):
        pair = rng.uniform(0, AT_MOST) if rng.random() < 0.4 else None
        tally.add(verb(arguments, after=rng.uniform(0, seconds), again=pair))
    return tally


# -- all of it --


def measured(count: int, seed: int, *, films: int, verb_share: float = 0.2) -> dict[str, Tally]:
    """About `count` interrupts: four in five of what is forked, and one in five of verbs."""
    rng = random.Random(seed)
    found: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = make_cases(folder, films, seed)
        each = max(1, round(count * (1 - verb_share) / len(cases)))
        for kind, case in cases.items():
            found[kind] = again_and_again(case, each, rng)
            said(kind, found[kind])
        asked = verbs(folder)
        each = round(count * verb_share / len(asked))
        for kind, arguments in asked.items():
            found[kind] = verb_again_and_again(arguments, each, 4.0, rng)
            said(kind, found[kind])
    return found


def said(kind: str, tally: Tally) -> None:
    print(f"{kind}: {dict(tally.ways)}, slowest {tally.slowest:.2f} s, {len(tally.wrong)} wrong", flush=True)
    for one in tally.wrong:
        print(f"    {one}", flush=True)


def report(count: int, seed: int, films: int, folder: Path) -> None:
    """All of it, to interrupts.* in a folder; exits with 1 where something is wrong."""
    found = measured(count, seed, films=films)
    total = sum(sum(one.ways.values()) for one in found.values())
    head = [
        "# Ctrl-C",
        "",
        f"{total} times at a random moment of the work, two in five of them again within {AT_MOST * 1000:.0f} ms. "
        "Wrong would be: another end than KeyboardInterrupt (a verb: exit code 130 and one sentence) or the "
        f"whole answer, more than {SECONDS:.0f} s, a thread or a descriptor left, a line of the terminal that goes on, "
        "a traceback. Compared: caches that were interrupted again and again and at last finished, byte for byte with "
        "one that was not. Dropped: Python says 'Exception ignored' where an interrupt comes while an object is "
        "destroyed, and whoever pressed presses again; the command line sends it again itself.",
        "",
        "| what | interrupted | whole before | slowest end, s | compared | dropped | wrong |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = [
        f"| {kind} | {one.ways['interrupted']} | {one.ways['whole']} | {one.slowest:.2f} | {one.compared or ''} "
        f"| {one.dropped} | {len(one.wrong)} |"
        for kind, one in found.items()
    ]
    document = {
        kind: {
            "ways": dict(one.ways),
            "slowest": one.slowest,
            "compared": one.compared,
            "dropped": one.dropped,
            "wrong": one.wrong,
        }
        for kind, one in found.items()
    }
    save("interrupts", "\n".join([*head, *rows]), {"seed": seed, "cases": document}, folder)
    if any(one.wrong for one in found.values()):
        sys.exit(1)
