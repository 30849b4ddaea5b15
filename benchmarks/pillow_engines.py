"""What resizing costs by torch, by Pillow and by pillow-simd, on one core, and how far each is from the exact resize.

    python benchmarks/pillow_engines.py [--rounds 9 --out FOLDER]

Each package in a process of its own, all alive at once and asked in turn, so that a machine that slows down slows
all alike. pillow-simd is measured where `make test-pillow-simd` has made its environment, .venv-pillow-simd.

    torch                  resload's default engine
    Pillow, gray           Image.fromarray(film).resize(...) as people write it: mode L or I;16
    Pillow, engine         resload's engine="pillow": four pictures as CMYK, float pixels for 16 bit
    pillow-simd, ...       the same code, with pillow-simd in Pillow's place

Synthetic films. Last comes what a fresh process needs until its first resize: seconds and memory, by either engine.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, interleaved, ratio, save, seconds, summary
from numpy.typing import NDArray

from resload import reference
from resload.resampling import pyramid
from resload.size import Size
from resload.testing import synthetic_film

STAND_IN = Path(__file__).resolve().parent.parent / ".venv-pillow-simd" / "bin" / "python"
FILMS = {f"{bits} bit, {h} x {w}": ((h, w), bits) for h, w in ((1024, 1024), (2500, 2048)) for bits in (8, 16)}
LEVELS = {"one level": (256,), "nine levels": (64, 128, 192, 224, 256, 320, 384, 448, 512)}
CASES = {f"{film}, {levels}": (film, levels) for film in FILMS for levels in LEVELS}
STARTS = ("torch", "pillow")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    parser.add_argument("--asked", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.asked:
        answer()
        return
    pythons = {"Pillow": sys.executable} | ({"pillow-simd": str(STAND_IN)} if STAND_IN.exists() else {})
    workers = {name: Worker(python) for name, python in pythons.items()}
    routes = {"torch": (workers["Pillow"], "torch")}
    routes |= {f"{name}, {way}": (worker, way) for name, worker in workers.items() for way in ("gray", "engine")}
    cases = {case: measured(case, routes, args.rounds) for case in CASES}
    packages = {name: worker.ask("", "version") for name, worker in workers.items()}
    for worker in workers.values():
        worker.close()
    starts = started(args.rounds)
    missing = "" if "pillow-simd" in pythons else "pillow-simd: not measured; `make test-pillow-simd` installs it."
    texts = [table(cases), start_text(starts), ", ".join(f"{name} {number}" for name, number in packages.items())]
    document = {"cases": cases, "starts": starts, "packages": packages, "missing": missing}
    save("pillow_engines", "\n\n".join([*texts, *([missing] if missing else [])]), document, args.out)


# -- in the process that is asked --


def answer() -> None:
    """Read what to do, a line each, and write what came of it."""
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        case, way, what = json.loads(line)
        print(json.dumps(ANSWERS[what](case, way)), flush=True)


def took(case: str, way: str) -> float:
    """Seconds for one film: the median of three."""
    film, sizes = asked(case)
    return statistics.median(seconds(lambda: WAYS[way](film, sizes)) for _ in range(3))


def errors(case: str, way: str) -> dict[str, float]:
    """Distance from the exact resize over all levels, in units of the film's depth."""
    film, sizes = asked(case)
    levels = WAYS[way](film, sizes)
    wrong = [level - reference.resample(film, size) for level, size in zip(levels, sizes, strict=True)]
    flat = np.concatenate([one.ravel() for one in wrong])
    return {"largest": float(np.abs(flat).max()), "mean": float(flat.mean()), "rmse": float(np.sqrt((flat**2).mean()))}


def pillow_version(case: str, way: str) -> str:
    import PIL

    return PIL.__version__


def gray(film: NDArray[Any], sizes: list[Size]) -> list[NDArray[Any]]:
    from PIL import Image

    picture = Image.fromarray(film)
    return [np.asarray(picture.resize((size.width, size.height), Image.Resampling.BILINEAR)) for size in sizes]


WAYS: dict[str, Callable[[NDArray[Any], list[Size]], list[NDArray[Any]]]] = {
    "gray": gray,
    "engine": lambda film, sizes: pyramid(film, sizes, engine="pillow"),
    "torch": lambda film, sizes: pyramid(film, sizes, engine="torch"),
}
ANSWERS: dict[str, Callable[[str, str], object]] = {"took": took, "errors": errors, "version": pillow_version}


def asked(case: str) -> tuple[NDArray[Any], list[Size]]:
    film, levels = CASES[case]
    return film_of(film), [Size(side, side) for side in LEVELS[levels]]


@cache
def film_of(name: str) -> NDArray[Any]:
    size, bits = FILMS[name]
    return np.ascontiguousarray(synthetic_film(0, size=size, bits=bits).pixels)


# -- in the process that asks --


class Worker:
    """This file in another process, asked by lines."""

    def __init__(self, python: str) -> None:
        command = [python, __file__, "--asked"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, case: str, what: str, way: str = "") -> Any:
        """One answer of `ANSWERS`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([case, way, what]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args} ended; its error stands above")
        return json.loads(line)

    def close(self) -> None:
        """Wait for its end."""
        self._process.communicate()


def measured(case: str, routes: dict[str, tuple[Worker, str]], rounds: int) -> dict[str, dict[str, Any]]:
    """Ms per film by each route, how many times as long as torch that is, and errors in units."""
    work = {
        name: lambda worker=worker, way=way: worker.ask(case, "took", way) for name, (worker, way) in routes.items()
    }
    times = interleaved(work, rounds)
    print(f"{case}: measured", flush=True)
    return {
        name: {
            "ms": summary([1e3 * value for value in times[name]]),
            "of_torch": ratio(times[name], times["torch"]),
            "error": worker.ask(case, "errors", way),
        }
        for name, (worker, way) in routes.items()
    }


START = """
import time
begun = time.perf_counter()
import numpy as np
import resload
resload.resample(np.zeros((1024, 1024), np.uint8), 256, engine="{engine}")
took = time.perf_counter() - begun
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(took, int(peak) / 1024)
"""


def started(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """What a fresh process needs until its first resize is made: seconds, and the most memory it held (MiB)."""
    if not Path("/proc/self/status").exists():
        return {}
    memory: dict[str, list[float]] = {engine: [] for engine in STARTS}

    def start(engine: str) -> float:
        code = [sys.executable, "-c", START.format(engine=engine)]
        took, peak = map(float, subprocess.run(code, capture_output=True, text=True, check=True).stdout.split())
        memory[engine].append(peak)
        return took

    times = interleaved({engine: lambda engine=engine: start(engine) for engine in STARTS}, rounds)
    return {engine: {"seconds": summary(times[engine]), "mib": summary(memory[engine])} for engine in STARTS}


# -- tables --


def table(cases: dict[str, dict[str, dict[str, Any]]]) -> str:
    rows = [
        f"| {case} | {name} | {one['ms']['median']:.2f} | {one['of_torch']:.2f} | "
        f"{one['error']['largest']:.2f} | {one['error']['mean']:+.3f} | {one['error']['rmse']:.3f} |"
        for case, routes in cases.items()
        for name, one in routes.items()
    ]
    head = "| film | by | ms per film | times torch's | largest error | mean error | rmse |"
    return f"{head}\n|---|---|---|---|---|---|---|\n" + "\n".join(rows)


def start_text(starts: dict[str, dict[str, dict[str, float]]]) -> str:
    listed = "; ".join(
        f'engine="{engine}" {one["seconds"]["median"]:.2f} s and {one["mib"]["median"]:.0f} MiB'
        for engine, one in starts.items()
    )
    return f"A fresh process until its first resize: {listed or 'not measured on this system'}."


if __name__ == "__main__":
    main()
