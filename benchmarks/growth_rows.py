"""Curves of `growth.py` against the number of rows: what a pass, its beginning and its memory cost as a cache grows.

Two caches at each number of rows, both of 256 x 256 (`many_rows.py`): with shards as a build makes them for this size
alone, and as it makes them where the ladder reaches 1024 px, which are shorter and more. Only the first batches of a
pass are loaded; a pass that has no more is loaded whole, as often as it takes.
"""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import drained, interleaved, seconds
from curves import Curve
from growth_points import measured
from many_rows import disk_bytes, make

import resload
from resload.samplers import BlockShuffle, Fixed, Images, Sampler

SIDE = 256
BESIDE = (1024,)
ALONG = "rows"
SHUFFLE = "Shuffle"


def many_rows(folder: Path, settings: Any) -> list[Curve]:
    """Images a second, seconds of each beginning, and memory, against the number of rows."""
    paths: dict[tuple[int, tuple[int, ...]], Path] = {}
    for count in settings.rows:
        for beside in ((), BESIDE):
            path = folder / f"{count}-{len(beside)}.zarr"
            paths[count, beside] = make(path, count, SIDE, beside=beside)
    note = (
        f"{disk_bytes(folder) / 2**20:,.0f} MB of disk hold all of these caches: the shards of each are one file under "
        "many names (hard links), so what grows is everything but the bytes of the storage."
    )
    return [_pass(paths, settings, note), _beginnings(paths, settings), _memory(paths, settings)]


# -- a pass ----------------------------------------------------------------------------------------------


def _pass(paths: dict[Any, Path], settings: Any, note: str) -> Curve:
    work: dict[Any, Callable[[], float]] = {}
    orders = ((SHUFFLE, (), None), ("BlockShuffle", (), BlockShuffle()), ("Shuffle, ladder to 1024 px", BESIDE, None))
    shards: dict[str, list[str]] = {name: [] for name, _, _ in orders}
    for count in settings.rows:
        for name, beside, order in orders:
            cache = resload.open_cache(paths[count, beside])
            sampler = Sampler(cache, order=order, sizes=Fixed(SIDE), budget=Images(settings.batch))
            loader = resload.Loader(cache, sampler=sampler, dtype=torch.uint8, threads=2)
            work[name, count] = partial(pass_rate, loader, settings.batch, settings.most_steps)
            shards[name].append(f"{len(list((cache.path / 'images').glob('*/c/*'))):,}")
    numbers = "; ".join(f"{name}: {', '.join(found)}" for name, found in shards.items())
    notes = (
        f"uint8, {SIDE} x {SIDE}, batches of {settings.batch}, two threads; a pass of more than "
        f"{settings.most_steps:,} batches is left after so many, and timed from its first batch on.",
        f"Shards, by rows: {numbers}.",
        note,
    )
    return Curve("Rows", "images/s", measured(work, settings.rounds), along=ALONG, notes=notes, linear=True)


def pass_rate(loader: resload.Loader, batch: int, most: int) -> float:
    """Images/s of a pass: whole passes where they are short, else the batches that follow the first."""
    if len(loader) <= most:
        turns = max(1, most // (2 * len(loader)))
        return turns * len(loader) * batch / seconds(lambda: [drained(loader) for _ in range(turns)])
    batches = iter(loader)
    next(batches)
    found = most * batch / seconds(lambda: drained(itertools.islice(batches, most)))
    loader.close()
    return found


# -- before the first batch ------------------------------------------------------------------------------


STAGES = ("open_cache", "Loader(...)", "its first batch", "one epoch's plan", "state_dict")


def _beginnings(paths: dict[Any, Path], settings: Any) -> Curve:
    """Each stage from a closed cache to the first batch, timed anew every round."""
    lines: dict[str, dict[float, list[float]]] = {stage: {count: [] for count in settings.rows} for stage in STAGES}

    def once(count: int) -> float:
        took = stages(paths[count, ()], settings.batch)
        for stage, one in took.items():
            lines[stage][count].append(1e3 * one)
        return sum(took.values())

    interleaved({str(count): partial(once, count) for count in settings.rows}, settings.rounds)
    counted = {stage: {count: took[1:] for count, took in points.items()} for stage, points in lines.items()}
    note = "Page cache warm. The first batch waits for the plan of its epoch and for the facts of all films."
    return Curve("Rows: to the first batch", "ms", counted, along=ALONG, notes=(note,))


def stages(path: Path, batch: int) -> dict[str, float]:
    """Seconds of each stage."""
    made: list[Any] = []
    took = [
        seconds(lambda: made.append(resload.open_cache(path))),
        seconds(lambda: made.append(
            resload.Loader(made[0], size=SIDE, batch_size=batch, shuffle=True, dtype=torch.uint8, threads=2)
        )),
        seconds(lambda: next(iter(made[1]))),
        seconds(lambda: drained(made[1].sampler.steps(1))),
        seconds(lambda: made[1].state_dict()),  # noqa: PLW0108 - it is made above
    ]  # fmt: skip
    made[1].close()
    return dict(zip(STAGES, took, strict=True))


# -- memory ----------------------------------------------------------------------------------------------


PROGRAM = """
import itertools, json, sys
import torch, resload, resload.loader, resload.store.cache
def most():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1e3 for line in status if line.startswith("VmHWM"))
path, side, batch, steps = sys.argv[1], *map(int, sys.argv[2:])
found = [most()]
cache = resload.open_cache(path)
found.append(most())
loader = resload.Loader(cache, size=side, batch_size=batch, shuffle=True, dtype=torch.uint8, threads=2)
for batch in itertools.islice(loader, steps):
    pass
found.append(most())
print(json.dumps(found))
"""
"""The most memory a process ever held (VmHWM), in MB: after its imports, after opening, and after some batches. Not
ru_maxrss, which a new process takes over from the one that started it."""


def _memory(paths: dict[Any, Path], settings: Any) -> Curve:
    title, unit = "Rows: memory", "MB over the imports"
    if not Path("/proc/self/status").exists():
        return Curve(title, unit, {}, along=ALONG, notes=("Not measured: this system has no /proc/self/status.",))
    lines: dict[str, dict[float, list[float]]] = {"opened": {}, "and iterated": {}}
    for _ in range(settings.memory_rounds):
        for count in settings.rows:
            command = [sys.executable, "-c", PROGRAM, str(paths[count, ()]), str(SIDE), str(settings.batch), "64"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            imported, opened, iterated = json.loads(done.stdout)
            lines["opened"].setdefault(count, []).append(opened - imported)
            lines["and iterated"].setdefault(count, []).append(iterated - imported)
    note = "The most that a process of its own ever held, over what it held after its imports; 64 batches."
    return Curve(title, unit, lines, along=ALONG, notes=(note,))
