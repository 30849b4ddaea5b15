"""What nine resolutions cost beside decoding alone, in one run and on one thread.

    python benchmarks/build_cost.py [--data FOLDER --films 16 --rounds 7]

    decode           imagecodecs (libpng) on the file's bytes, nothing else
    resload decode   the same by resload.decode, headers and checks included
    pipeline         the same films decoded and made at nine sizes (32 ... 600), each directly from the film
    build            that, and hashing, checksums, sums and writing the shards: a whole resload.build, synced

for 1024 px PNG of one shape, for PNG of mixed shapes, and (pipeline only, without decoding) for one 2048 x 2048 film
of 16 bit. Then what reading takes of files that were just written, in pieces as a build writes them and by one call for
each record of 256 x 256 bytes. At last the peak memory of building 64 and 256 such films with two threads: it must not
grow. Films are synthetic, or real ones from --data (a folder with PNG files of 8 bit; of one shape only those of
1024 x 1024 count).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import torch
from common import interleaved, ratio, save, seconds, summary

import resload
from resload import resampling
from resload.decode import decode
from resload.pipeline import make
from resload.store.pieces import Pieces
from resload.testing import synthetic_film

SIZES = (32, 64, 128, 224, 256, 320, 448, 512, 600)
MIXED = ((1024, 1024), (2048, 2500), (1331, 1097), (999, 1500), (1760, 2140), (1023, 1021), (1841, 1955), (1200, 900))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder of 8-bit PNG films (default: synthetic ones)")
    parser.add_argument("--films", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sets = {
            "1024 x 1024": one_shape(Path(folder) / "one", args),
            "mixed shapes": synthetic(Path(folder) / "mixed", MIXED),
        }
        cases = {name: compared(Path(folder), files, args.rounds) for name, files in sets.items()}
        memory = {count: peak_mb(Path(folder), sets["1024 x 1024"], count) for count in (64, 256)}
        reading = read_after_writing(Path(folder), args.rounds)
    deep = deep_film(args.rounds)
    rows = [
        f"| {name} | {what} | {case['ms'][what]['median']:.2f} | {case['ratios'].get(what, 1.0):.2f} |"
        for name, case in cases.items()
        for what in case["ms"]
    ]
    rows.append(f"| 2048 x 2048, 16 bit | nine sizes, no decoding | {deep['median']:.1f} | |")
    table = "| films | what | ms per film | of decoding |\n|---|---|---|---|\n" + "\n".join(rows)
    table += "\n\nPeak memory of a build with two threads: "
    table += ", ".join(f"{peak:.0f} MB for {count} films" for count, peak in memory.items()) + "."
    table += "\n\nReading a record of 256 x 256 bytes of a file that was just written (us): "
    table += ", ".join(f"{found['median']:.2f} {how}" for how, found in reading.items()) + "."
    source = "real films" if args.data else "synthetic films"
    save(
        "build_cost",
        f"One thread, {source}.\n\n{table}",
        {"films": source, "cases": cases, "deep": deep, "peak_mb": memory, "read_us": reading},
    )


def one_shape(folder: Path, args: argparse.Namespace) -> list[Path]:
    if args.data is None:
        return synthetic(folder, [(1024, 1024)] * args.films)
    found = [path for path in sorted(args.data.rglob("*.png")) if gray_1024(path)]
    return found[: args.films]


def gray_1024(path: Path) -> bool:
    header = resload.Catalog(pd.DataFrame({"id": ["x"], "path": [str(path.resolve())]})).scan(progress=False).table
    row = header.iloc[0]
    return (row["height"], row["width"], row["photometric"]) == (1024, 1024, "MONOCHROME2")


def synthetic(folder: Path, shapes) -> list[Path]:
    folder.mkdir()
    paths = []
    for index, shape in enumerate(shapes):
        paths.append(folder / f"{index:03d}.png")
        paths[-1].write_bytes(imagecodecs.png_encode(synthetic_film(index, size=shape).pixels))
    return paths


def compared(folder: Path, files: list[Path], rounds: int) -> dict[str, dict]:
    data = [path.read_bytes() for path in files]
    pipeline = resload.Pipeline(SIZES, dtype="uint8")
    table = pd.DataFrame({"id": [path.stem for path in files], "path": [str(path.resolve()) for path in files]})
    catalog = resload.Catalog(table.assign(bits=8))

    def per_film(once: Callable[[], object]) -> Callable[[], float]:
        return lambda: seconds(once) * 1e3 / len(files)

    def one_by_one(made: Callable[[bytes], object]) -> Callable[[], None]:
        def all_of_them() -> None:
            for one in data:  # let go of each, as a build does: new memory costs a page fault per 4 KB
                made(one)

        return all_of_them

    def built() -> None:
        target = folder / "built.zarr"
        shutil.rmtree(target, ignore_errors=True)
        resload.build(catalog, target, pipeline=pipeline, threads=1, progress=False)

    times = interleaved(
        {
            "decode": per_film(one_by_one(imagecodecs.png_decode)),
            "resload decode": per_film(one_by_one(decode)),
            "pipeline": per_film(one_by_one(lambda one: make(pipeline, one))),
            "build": per_film(built),
        },
        rounds,
    )
    ratios = {what: ratio(times[what], times["decode"]) for what in times if what != "decode"}
    return {"ms": {what: summary(values) for what, values in times.items()}, "ratios": ratios}


def peak_mb(folder: Path, files: list[Path], count: int) -> float:
    """The most memory a process that builds `count` films ever held, in MB."""
    program = f"""
import pandas, resload
files = {[str(path.resolve()) for path in files]!r}
table = pandas.DataFrame({{"id": [str(i) for i in range({count})], "bits": 8}})
table["path"] = [files[i % len(files)] for i in range({count})]
resload.build(resload.Catalog(table), {str(folder / f"peak{count}.zarr")!r}, {SIZES}, threads=2, progress=False)
status = open("/proc/self/status").read()  # not ru_maxrss, which a child begins with its parent's
print(int(status.split("VmHWM:")[1].split()[0]) / 1e3)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    shutil.rmtree(folder / f"peak{count}.zarr")
    return float(done.stdout)


def read_after_writing(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of one pread of a record, page cache as the writing left it, median over random records."""
    record, count = 256 * 256 + 4, 1024
    data = memoryview(np.random.default_rng(0).bytes(record * count))
    out, rng = memoryview(bytearray(record)), np.random.default_rng(1)

    def once(in_pieces: bool) -> float:
        file = os.open(folder / "written", os.O_CREAT | os.O_TRUNC | os.O_RDWR)
        pieces = Pieces(file)
        for at in range(0, len(data), record):
            if in_pieces:
                pieces.put(data[at : at + record], at)
            else:
                os.pwrite(file, data[at : at + record], at)
        pieces.flush(len(data))
        os.fsync(file)
        places = (rng.integers(0, count, 4 * count) * record).tolist()
        took = seconds(lambda: [os.preadv(file, [out], at) for at in places])
        os.close(file)
        return took * 1e6 / len(places)

    found = interleaved({"in large pieces": lambda: once(True), "record by record": lambda: once(False)}, rounds)
    return {how: summary(values) for how, values in found.items()}


def deep_film(rounds: int) -> dict[str, float]:
    film = np.asarray(synthetic_film(0, size=2048, bits=12).pixels)
    sizes = resload.Pipeline(SIZES).sizes
    resampling.pyramid(film, sizes)
    return summary([seconds(lambda: resampling.pyramid(film, sizes)) * 1e3 for _ in range(rounds)])


if __name__ == "__main__":
    torch.set_num_threads(1)  # one core is what is measured; a build's own threads share the cores in the same way
    main()
