"""What the path around a film costs, when decoding and resizing cost next to nothing: Python's lock, held by one thread
at a time, bounds what many cores, or a GPU, can be fed.

    python benchmarks/film_overhead.py [--rounds 7 --against CHECKOUT]

    alone          JPEG files of 64 px to 32 px through the reader of a Loader, on one thread: microseconds a film
    N threads      the same where decoding takes 5 ms more and holds nothing, as on a core of its own: films/s, and of
                   the films/s that N such threads could have
    a GPU, N       one that decodes up to 64 films in 5 ms, however many: films/s of a Loader with decode="dali"

Page cache warm. The GPU is played: its decoder waits, and gives the same tensor each time, on the CPU. --against: the
same for another checkout of resload, in turn with this one, each in a process of its own; ratios are taken round by
round.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
import torch
from common import ratio, save, summary

import resload
from resload.readers.source import SourceReader
from resload.store.slot import Slot
from resload.testing import synthetic_film

FILMS, SIDE, SIZE = 1024, 64, resload.Size(32, 32)
WAIT = 0.005
THREADS = (4, 16, 32)
GPU_THREADS = (1, 4, 16)
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--against", type=Path, help="another checkout of resload, measured in turn with this one")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)  # one round, as JSON
    args = parser.parse_args()
    if args.once:
        print(json.dumps(measured()))
        return
    here = Path(__file__).parents[1]
    places = {"this": here} | ({"that": args.against} if args.against else {})
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in places}
    for turn in range(args.rounds + 1):
        for name, place in places.items():
            found = in_a_process(place)
            if turn:  # the first warms the disk
                rounds[name].append(found)
    names = {name: revision(place) for name, place in places.items()}
    values = {name: {what: [one[what] for one in ones] for what in ones[0]} for name, ones in rounds.items()}
    document = {name: {what: summary(ones) for what, ones in found.items()} for name, found in values.items()}
    compared = f"This is {names['this']}, the other {names['that']}. " if args.against else ""
    save("film_overhead", f"{compared}The GPU is played.\n\n{table(values)}", {"revisions": names, **document})


def in_a_process(place: Path) -> dict[str, float]:
    """One round with the resload of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(place.resolve())}
    command = [sys.executable, __file__, "--once"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def revision(place: Path) -> str:
    """Which commit a checkout is at."""
    command = ["git", "-C", str(place), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def table(values: dict[str, dict[str, list[float]]]) -> str:
    """A line for each thing measured."""
    compared = "that" in values
    lines = ["| what | median |" + (" the other | ratio |" if compared else ""), "|---|---|" + ("---|---|" * compared)]
    for what, ones in values["this"].items():
        line = f"| {what} | {summary(ones)['median']:,.0f} |"
        if compared:
            other = values["that"][what]
            line += f" {summary(other)['median']:,.0f} | {ratio(ones, other):.2f} |"
        lines.append(line)
    return "\n".join(lines)


def measured() -> dict[str, float]:
    """One round."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        catalog = films(Path(folder))
        reader = SourceReader(catalog, resload.Pipeline(SIZE), threads=1)
        found = {"alone: microseconds a film": 1e6 / max(rate(reader, 1) for _ in range(3))}
        slow_down()
        for threads in THREADS:
            found[f"{threads} threads: films/s of {threads / WAIT:,.0f}"] = rate(reader, threads)
        play_a_gpu()
        for threads in GPU_THREADS:
            found[f"a GPU, {threads} threads: films/s of {BATCH / WAIT:,.0f}"] = loaded(catalog, threads)
    return found


def films(folder: Path) -> resload.Catalog:
    coded = [imagecodecs.jpeg8_encode(synthetic_film(seed, size=SIDE).pixels, level=90) for seed in range(8)]
    paths = [folder / f"{k}.jpg" for k in range(FILMS)]
    for k, path in enumerate(paths):
        path.write_bytes(coded[k % len(coded)])
    return resload.Catalog(pd.DataFrame({"id": [p.stem for p in paths], "path": [str(p) for p in paths], "bits": 8}))


def rate(reader: SourceReader, threads: int) -> float:
    """Films/s of all films, on so many threads."""
    slot = Slot(np.empty((FILMS, *SIZE), np.uint8))

    def one(k: int) -> None:
        reader.fill(slot, np.array([k]), SIZE, k)

    with ThreadPoolExecutor(threads) as pool:
        begun = time.perf_counter()
        list(pool.map(one, range(FILMS)))
        return FILMS / (time.perf_counter() - begun)


def slow_down() -> None:
    """Decoding waits first."""
    from resload.decode import others

    real: Callable[..., Any] = others.run

    def run(*given: Any, **options: Any) -> Any:
        time.sleep(WAIT)
        return real(*given, **options)

    others.run = run


def play_a_gpu() -> None:
    """decode="dali" is a decoder that waits, and whose images are on the CPU."""
    from resload.pipeline import dali
    from resload.pipeline import engine as engines
    from resload.readers import source

    package = ModuleType("nvidia.dali")
    package.__version__ = "played"  # type: ignore[attr-defined]  # a module made here
    sys.modules |= {"nvidia": ModuleType("nvidia"), "nvidia.dali": package}
    dali._Line._decoded = decoded  # type: ignore[method-assign]
    there = torch.device("cpu")
    other = dali.Decoder(there, 1)
    fields = {"device": there, "other": other, "waiting": engines._WAITING, "decoders": other.names}
    if hasattr(other, "gathering"):
        fields |= {"together": engines._TOGETHER, "gathering": other.gathering}
    source.engine_of = lambda *_: engines.Engine(**fields)


_FIRST: dict[bytes, Any] = {}


def decoded(line: Any, streams: list[bytes]) -> list[Any]:
    """A run of the played GPU."""
    from resload.pipeline import dali

    time.sleep(WAIT)
    for data in streams:
        if data not in _FIRST:
            pixels = imagecodecs.jpeg8_decode(data)
            _FIRST[data] = dali._Found(torch.from_numpy(pixels), pixels.reshape(-1)[:64])
    return [_FIRST[data] for data in streams]


def loaded(catalog: resload.Catalog, threads: int) -> float:
    """Films/s of an epoch after the first."""
    loader = resload.Loader(
        catalog, pipeline=resload.Pipeline(SIZE), size=SIZE, batch_size=BATCH, decode="dali", threads=threads
    )
    for _ in range(2):
        begun = time.perf_counter()
        for _ in loader:
            pass
        taken = time.perf_counter() - begun
    return FILMS / taken


if __name__ == "__main__":
    main()
