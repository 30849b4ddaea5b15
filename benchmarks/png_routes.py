"""Where the milliseconds of a PNG go, and which packages decode films faster, as exactly and as safely.

    python benchmarks/png_routes.py [--data FOLDER --films 8 --rounds 7]

1. Stages of one film of 8 bit and 1024 x 1024: reading, checksums, inflating, what libpng then does, resizing.
2. Which row filters films use, and what numpy would need for rows that it can undo in whole arrays (None, Sub, Up).
3. Packages on the same bytes, one thread and two: ms per film, whether pixels are libpng's, how two threads scale.
4. The same packages on files that are unusual or damaged, beside resload.decode.

Every package is optional, and whatever is missing is named. An environment with all of them:

    pip install opencv-python-headless pillow kornia-rs imgrs pyspng skia-python 'pyvips[binary]'

Of these only kornia-rs is used by resload, through `resload[png]`; "resload, libpng" is what resload does without it.
--data: a folder with nih/images (8 bit), actualmed/images (full size, gray stored as RGB) and dicom (a CR of 10 bit,
written as 16-bit PNG here; two more come with pydicom-data). Without it films are synthetic.
"""

import argparse
import statistics
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import imagecodecs
import numpy as np
import torch
from common import interleaved, ratio, save, seconds, summary
from png_odd import file_of, odd_files, outcomes
from png_packages import PACKAGES, Route, available, matches, version_of

from resload import resampling
from resload.decode import decode, png, read_header
from resload.decode.codecs import adler32, crc32, row_filters, run
from resload.decode.inflated import _stream, inflated
from resload.decode.unfiltered import unfiltered
from resload.pipeline import Pipeline, make
from resload.size import Size
from resload.testing import synthetic_film

FILTERS = ("None", "Sub", "Up", "Average", "Paeth")


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
    stages = staged(sets[first], args.rounds)
    print("stages measured", flush=True)
    filters = {name: rows_by_filter(films) for name, films in sets.items()}
    whole = whole_arrays(sets[first], args.rounds)
    cases = {}
    for name, films in sets.items():
        cases[name] = compared(films, routes, args.rounds)
        print(f"{name}: measured", flush=True)
    odd = {name: outcomes(file, routes) for name, file in odd_files().items()}
    versions = {package: version_of(package) for package in (*PACKAGES.values(), "imagecodecs")}
    films = "real films" if args.data else "synthetic films"
    tables = [f"Torch on one thread, {films}.", f"Stages, {first}:", stage_table(stages), "Row filters, share of rows:"]
    tables += [filter_table(filters), whole_text(whole), "Packages:", route_table(cases)]
    tables += ["Unusual and damaged files:", odd_table(odd, routes), missing_text(missing, versions)]
    document = {"films": films, "stages": stages, "filters": filters, "numpy": whole, "cases": cases, "odd": odd}
    save("png_routes", "\n\n".join(tables), document | {"missing": missing, "packages": versions})


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


def staged(films: list[bytes], rounds: int) -> dict[str, dict[str, float]]:
    """Ms per film of every step of decoding and resizing, each fed with what the step before made."""
    told = [png.parse(film) for film in films]
    shapes = [one.shape for one in told]
    streams = [bytes(_stream(memoryview(film), one.pixels_at)[0] or b"") for film, one in zip(films, told, strict=True)]
    sizes = [one.filtered_bytes for one in told]
    starts = [one.pixels_at for one in told]
    rows = [run("deflate", stream, out=size) for stream, size in zip(streams, sizes, strict=True)]
    ready = [inflated(*one) for one in zip(films, starts, sizes, strict=True)]
    outs = [np.empty(shape, np.uint8) for shape in shapes]
    decoded = [decode(film) for film in films]
    recipe = Pipeline(256, dtype="uint8")

    def each(step: Callable[..., object], *columns: list) -> Callable[[], float]:
        return lambda: seconds(lambda: [step(*one) for one in zip(*columns, strict=True)] and None) * 1e3 / len(films)

    work = {
        "header": each(png.parse, films),
        "checksums of the chunks, and joining them": each(lambda f, at: _stream(memoryview(f), at), films, starts),
        "inflating, libdeflate": each(lambda stream, size: run("deflate", stream, out=size), streams, sizes),
        "inflating, zlib": each(zlib.decompress, streams),
        "Adler-32 and CRC-32 of the rows": each(lambda row: (adler32(row), crc32(row)), rows),
        "all of inflated.py": each(inflated, films, starts, sizes),
        "libpng on what it made": each(lambda file, out: run("png", file, out=out), ready, outs),
    }
    if row_filters():
        work["kornia-rs on what it made"] = each(lambda *one: unfiltered(*one, 8), ready, starts, shapes)
    work |= {
        "libpng alone": each(imagecodecs.png_decode, films),
        "resload.decode": each(decode, films),
        "resize to 256, pipeline included": each(lambda film: make(recipe, film), decoded),
        "resize to 256, alone": each(lambda film: resampling.pyramid(film.pixels, [Size(256, 256)]), decoded),
        "decode and resize": each(lambda film: make(recipe, film), films),
    }
    return {name: summary(values) for name, values in interleaved(work, rounds).items()}


def filtered_rows(film: bytes) -> np.ndarray:
    """(height, 1 + bytes of a row): as inflated, each row behind its filter's byte."""
    told = png.parse(film)
    stream, _ = _stream(memoryview(film), told.pixels_at)
    return np.frombuffer(run("deflate", stream, out=told.filtered_bytes), np.uint8).reshape(told.height, -1)


def rows_by_filter(films: list[bytes]) -> dict[str, float]:
    counts = sum(np.bincount(filtered_rows(film)[:, 0], minlength=5) for film in films)
    return dict(zip(FILTERS, (counts / counts.sum()).tolist(), strict=True))


def whole_arrays(films: list[bytes], rounds: int) -> dict[str, float]:
    """The same films with only Sub or only Up in all rows, which numpy can undo: ms per film beside libpng."""
    result = {}
    for kind, axis in ((1, 1), (2, 0)):
        pixels = [imagecodecs.png_decode(film) for film in films]
        shifted = [np.diff(one, axis=axis, prepend=np.uint8(0)) for one in pixels]
        files = [one_filter(one, kind) for one in shifted]
        starts = [png.parse(file).pixels_at for file in files]
        rows = [filtered_rows(file) for file in files]
        assert all(np.array_equal(undone(row, axis), one) for row, one in zip(rows, pixels, strict=True))
        ready = [inflated(file, at, row.size) for file, at, row in zip(files, starts, rows, strict=True)]
        out = np.empty_like(pixels[0])
        times = interleaved(
            {
                "numpy": lambda axis=axis, rows=rows: seconds(lambda: [undone(row, axis) for row in rows] and None),
                "libpng": lambda ready=ready, out=out: seconds(
                    lambda: [run("png", one, out=out) for one in ready] and None
                ),
            },
            rounds,
        )
        result |= {f"{FILTERS[kind]}, {name}": statistics.median(v) * 1e3 / len(films) for name, v in times.items()}
    return result


def undone(rows: np.ndarray, axis: int) -> np.ndarray:
    return np.add.accumulate(rows[:, 1:], axis=axis, dtype=np.uint8)


def one_filter(rows: np.ndarray, kind: int) -> bytes:
    raw = np.concatenate([np.full((len(rows), 1), kind, np.uint8), rows], axis=1)
    return file_of(rows.shape, 8, 0, raw.tobytes())


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
        f"{one['ms']['median']:.2f} | {one['libpng_takes']:.2f} | {one['two_threads']:.2f}" if "ms" in one else "| | "
    )


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
