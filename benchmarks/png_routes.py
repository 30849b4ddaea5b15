"""Where the milliseconds of a PNG go, and which packages decode films faster, as exactly and as safely.

    python benchmarks/png_routes.py [--data FOLDER --films 8 --rounds 7]

1. Stages of one film of 8 bit and 1024 x 1024: reading, checksums, inflating, what libpng then does, resizing.
2. Which row filters films use, and what numpy would need for rows that it can undo in whole arrays (None, Sub, Up).
3. Packages on the same bytes, one thread and two: ms per film, whether pixels are libpng's, how two threads scale,
   and whether Python's lock (the GIL) is let go meanwhile.
4. The same packages on files that are unusual or damaged, beside resload.decode.

Every package is optional, and whatever is missing is named. An environment with all of them:

    pip install opencv-python-headless pillow kornia-rs imgrs pyspng skia-python 'pyvips[binary]'

None of them is used by resload, which decodes by imagecodecs alone.
--data: a folder with nih/images (8 bit), actualmed/images (full size, gray stored as RGB) and dicom (a CR of 10 bit,
written as 16-bit PNG here; two more come with pydicom-data). Without it films are synthetic.
"""

import argparse
import contextlib
import threading
import time
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import imagecodecs
import numpy as np
import torch
from common import interleaved, ratio, save, seconds, summary
from png_odd import odd_files, outcomes
from png_packages import PACKAGES, Route, available, matches, version_of
from png_stages import FILTERS, rows_by_filter, staged, whole_arrays

from resload.decode import decode, read_header
from resload.testing import synthetic_film


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder with real films (default: synthetic ones)")
    parser.add_argument("--films", type=int, default=8, help="films of 8 bit and 1024 x 1024")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    sets = real(args.data, args.films) if args.data else synthetic(args.films)
    routes, missing = available()
    print("not installed:", ", ".join(missing) or "nothing", flush=True)
    first = next(iter(sets))
    stages = staged(sets[first], args.rounds, routes.get("kornia-rs (png crate)"))
    print("stages measured", flush=True)
    filters = {name: rows_by_filter(films) for name, films in sets.items()}
    whole = whole_arrays(sets[first], args.rounds)
    cases = {}
    for name, films in sets.items():
        cases[name] = compared(films, routes, args.rounds)
        print(f"{name}: measured", flush=True)
    lock = {name: locked(route) for name, route in routes.items()}
    odd = {name: outcomes(file, routes) for name, file in odd_files().items()}
    versions = {package: version_of(package) for package in (*PACKAGES.values(), "imagecodecs")}
    films = "real films" if args.data else "synthetic films"
    tables = [f"Torch on one thread, {films}.", f"Stages, {first}:", stage_table(stages), "Row filters, share of rows:"]
    tables += [filter_table(filters), whole_text(whole), "Packages:", route_table(cases)]
    tables += [lock_text(lock), "Unusual and damaged files:", odd_table(odd, routes), missing_text(missing, versions)]
    document = {
        "films": films,
        "stages": stages,
        "filters": filters,
        "numpy": whole,
        "cases": cases,
        "odd": odd,
        "locked": lock,
    }
    save("png_routes", "\n\n".join(tables), document | {"odd": odd, "missing": missing, "packages": versions})


# -- films --


def real(folder: Path, count: int) -> dict[str, list[bytes]]:
    from pydicom.data import get_testdata_file

    nih = [path.read_bytes() for path in sorted((folder / "nih/images").glob("*.png"))]
    gray = [film for film in nih if read_header(film).photometric == "MONOCHROME2"]
    deep = [folder / "dicom/RG2_JLSL.dcm", *(get_testdata_file(f"{name}_UNCR.dcm") for name in ("RG1", "RG3"))]
    return {
        "8 bit, 1024 x 1024": gray[:count],
        "8 bit as RGB, full size": [path.read_bytes() for path in sorted((folder / "actualmed/images").glob("*.png"))],
        "16 bit, full size": [imagecodecs.png_encode(decode(path).pixels) for path in deep],
    }


def synthetic(count: int) -> dict[str, list[bytes]]:
    return {
        "8 bit, 1024 x 1024": [imagecodecs.png_encode(synthetic_film(seed, size=1024).pixels) for seed in range(count)],
        "16 bit, 2048 x 2048": [
            imagecodecs.png_encode(synthetic_film(seed, size=2048, bits=12).pixels) for seed in (0, 1)
        ],
    }


# -- what is measured --


def compared(films: list[bytes], routes: Mapping[str, Route], rounds: int) -> dict[str, dict]:
    """Ms per film on one thread, how much two do in the time of one, and whether all pixels are libpng's."""
    found: dict[str, dict] = {}
    work = {}
    for name, route in routes.items():
        same = agreement(films, route)
        found[name] = {"pixels": same}
        if same == "same":
            work[name] = lambda route=route: seconds(lambda: drained(films, route))
            work[f"{name}, 2"] = lambda route=route: seconds(lambda: on_two(films, route))
    times = interleaved(work, rounds)
    alone = times["imagecodecs (libpng)"]
    for name, one in found.items():
        if name in times:
            one["ms"] = summary([value * 1e3 / len(films) for value in times[name]])
            one["libpng_takes"] = ratio(alone, times[name])
            one["two_threads"] = 2 * ratio(times[name], times[f"{name}, 2"])
    return found


def locked(route: Route) -> float | None:
    """The longest stretch in which no other Python thread ran, as a part of one call for a large film; None: refused.

    About 1 where the GIL is held all the while. The least of five: a busy machine stops threads too.
    """
    film = large_film()
    shares = []
    for _ in range(5):
        ends: list[float] = []
        thread = threading.Thread(target=timed, args=(route, film, ends))
        thread.start()
        ticks = []
        while thread.is_alive():
            ticks.append(time.perf_counter())
        if len(ends) < 2:
            return None
        begun, done = ends
        within = [begun, *(tick for tick in ticks if begun < tick < done), done]
        shares.append(max(after - before for before, after in pairwise(within)) / (done - begun))
    return min(shares)


def timed(route: Route, film: bytes, ends: list[float]) -> None:
    begun = time.perf_counter()
    with contextlib.suppress(Exception):  # refusals are told elsewhere
        route(film)
        ends += [begun, time.perf_counter()]


@cache
def large_film() -> bytes:
    return imagecodecs.png_encode(np.random.default_rng(0).integers(0, 60, (4000, 4000)).astype(np.uint8), level=1)


def agreement(films: list[bytes], route: Route) -> str:
    for film in films:
        try:
            if not matches(route(film), imagecodecs.png_decode(film)):
                return "differ"
        except Exception as exc:
            return f"refused ({type(exc).__name__})"
    return "same"


def drained(films: list[bytes], route: Route) -> None:
    for film in films:  # let go of each, as a loader does
        route(film)


def on_two(films: list[bytes], route: Route) -> None:
    threads = [threading.Thread(target=drained, args=(films, route)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- tables --


def stage_table(stages: dict[str, dict]) -> str:
    rows = [f"| {name} | {one['median']:.2f} | {one['least']:.2f} |" for name, one in stages.items()]
    return "| step | ms per film, median | least |\n|---|---|---|\n" + "\n".join(rows)


def filter_table(filters: dict[str, dict]) -> str:
    rows = [
        f"| {name} | " + " | ".join(f"{share:.1%}" for share in one.values()) + " |" for name, one in filters.items()
    ]
    return f"| films | {' | '.join(FILTERS)} |\n|---|{'---|' * len(FILTERS)}\n" + "\n".join(rows)


def whole_text(whole: dict[str, float]) -> str:
    listed = "; ".join(f"{name} {ms:.2f}" for name, ms in whole.items())
    return f"The films of the first line with one filter in all rows, undone in whole arrays (ms per film): {listed}."


def route_table(cases: dict[str, dict]) -> str:
    rows = [
        f"| {films} | {name} | {one['pixels']} | {cells(one)} |"
        for films, case in cases.items()
        for name, one in case.items()
    ]
    head = (
        "| films | route | pixels | ms per film | libpng takes so many times as long | two threads do in one's time |"
    )
    return f"{head}\n|---|---|---|---|---|---|\n" + "\n".join(rows)


def cells(one: dict) -> str:
    return (
        f"{one['ms']['median']:.2f} | {one['libpng_takes']:.2f} | {one['two_threads']:.2f}" if "ms" in one else " | | "
    )


def lock_text(lock: dict[str, float | None]) -> str:
    listed = "; ".join(f"{name} {share:.0%}" for name, share in lock.items() if share is not None)
    return f"Longest stretch in which no other Python thread runs, of one call for 4000 x 4000: {listed}."


def odd_table(odd: dict[str, dict[str, str]], routes: Mapping[str, Route]) -> str:
    names = ["resload.decode", *(name for name in routes if not name.startswith("resload"))]
    rows = [f"| {file} | " + " | ".join(one[name] for name in names) + " |" for file, one in odd.items()]
    return f"| file | {' | '.join(names)} |\n|---|{'---|' * len(names)}\n" + "\n".join(rows)


def missing_text(missing: dict[str, str], versions: dict[str, str | None]) -> str:
    there = ", ".join(f"{package} {number}" for package, number in versions.items() if number)
    gone = "; ".join(f"{name} ({why})" for name, why in missing.items())
    return f"Versions: {there}." + (f" Not measured, since not importable: {gone}." if gone else "")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
