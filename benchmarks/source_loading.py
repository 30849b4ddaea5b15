"""Loading from the files beside decoding alone: PNG films in, batches of 256 px out, on one thread and on two.

    python benchmarks/source_loading.py [--data FOLDER --films 48 --rounds 5]

    imagecodecs       each file read and decoded by libpng (imagecodecs.png_decode), nothing else
    resload.decode    the same by resload.decode
    Loader            the same films through Loader(catalog, pipeline=..., size=256): decoded, resized, in batches, in
                      the stored dtype
    Loader f32        in float32, normalised

Page cache warm, images/s; `of imagecodecs` is taken round by round on the same number of threads.

--data: a folder with nih/images, actualmed/images (full size) and dicom, as for `png_routes.py`. Films of 16 bit are
the CRs, and the same at 1024 x 1024, as PNG. Without it films are synthetic.
"""

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import torch
from common import interleaved, ratio, save, seconds, summary

import resload
from resload import resampling
from resload.decode import decode, read_header
from resload.testing import synthetic_film

SIZE = 256
BATCH = 16
THREADS = (1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder with real films (default: synthetic ones)")
    parser.add_argument("--films", type=int, default=48, help="films of 1024 x 1024; a quarter as many of full size")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sets = real(args.data, Path(folder)) if args.data else synthetic(Path(folder))
        cases = {}
        for name, files in sets.items():
            count = args.films if "1024" in name else max(BATCH, args.films // 4)
            cases[name] = compared([files[i % len(files)] for i in range(count)], args.rounds)
            print(f"{name}: measured", flush=True)
    films = "real films" if args.data else "synthetic films"
    note = f"{films.capitalize()}, page cache warm."
    save("source_loading", f"{note}\n\n{table(cases)}", {"films": films, "size": SIZE, "batch": BATCH, "cases": cases})


# -- films --


def real(folder: Path, target: Path) -> dict[str, list[Path]]:
    from pydicom.data import get_testdata_file

    nih = sorted((folder / "nih/images").glob("*.png"))
    sources = [folder / "dicom/RG2_JLSL.dcm", *(get_testdata_file(f"{name}_UNCR.dcm") for name in ("RG1", "RG3"))]
    deep = [np.asarray(decode(path).pixels) for path in sources]
    return {
        "8 bit, 1024 x 1024": [path for path in nih if read_header(path).photometric == "MONOCHROME2"],
        "16 bit, 1024 x 1024": written(target / "small", [resampling.resample(film, 1024) for film in deep]),
        "8 bit as RGB, full size": sorted((folder / "actualmed/images").glob("*.png")),
        "16 bit, full size": written(target / "deep", deep),
    }


def synthetic(target: Path) -> dict[str, list[Path]]:
    return {
        f"{bits} bit, {side} x {side}": written(
            target / f"{bits}-{side}",
            [np.asarray(synthetic_film(seed, size=side, bits=bits).pixels) for seed in range(4)],
        )
        for side in (1024, 2048)
        for bits in (8, 16)
    }


def written(folder: Path, films: list[np.ndarray]) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{index}.png" for index in range(len(films))]
    for path, film in zip(paths, films, strict=True):
        path.write_bytes(imagecodecs.png_encode(film))
    return paths


# -- ways of loading --


def compared(files: list[Path], rounds: int) -> dict[str, dict]:
    """Images/s of each way on each number of threads, and what that is of imagecodecs."""
    table = pd.DataFrame({"id": [str(i) for i in range(len(files))], "path": [str(path.resolve()) for path in files]})
    catalog = resload.Catalog(table).scan(progress=False)
    recipe = resload.Pipeline(SIZE, fit="pad").resolve(catalog)
    stored = torch.uint16 if recipe.dtype == "uint16" else torch.uint8
    ways: dict[str, Callable[[int], None]] = {
        "imagecodecs": lambda threads: decoded(files, threads, by_imagecodecs),
        "resload.decode": lambda threads: decoded(files, threads, decode),
        "Loader": lambda threads: loaded(catalog, recipe, threads, dtype=stored),
        "Loader f32": lambda threads: loaded(catalog, recipe, threads, normalize=(0.5, 0.25)),
    }
    work = {
        f"{name}, {threads}": lambda way=way, threads=threads: len(files) / seconds(lambda: way(threads))
        for threads in THREADS
        for name, way in ways.items()
    }
    rates = interleaved(work, rounds)
    return {
        f"{name}, {threads}": {
            "way": name,
            "threads": threads,
            "images_per_s": summary(rates[f"{name}, {threads}"]),
            "of_imagecodecs": ratio(rates[f"{name}, {threads}"], rates[f"imagecodecs, {threads}"]),
        }
        for threads in THREADS
        for name in ways
    }


def by_imagecodecs(path: Path) -> object:
    return imagecodecs.png_decode(path.read_bytes())


def decoded(files: list[Path], threads: int, one: Callable[[Path], object]) -> None:
    def dropped(path: Path) -> None:
        one(path)  # what it made is let go of, as in a loader

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(dropped, files))


def loaded(catalog: resload.Catalog, recipe: resload.Pipeline, threads: int, **options) -> None:
    with resload.Loader(catalog, pipeline=recipe, size=SIZE, batch_size=BATCH, threads=threads, **options) as loader:
        for _ in loader:
            pass


def table(cases: dict[str, dict]) -> str:
    rows = [
        f"| {films} | {one['threads']} | {one['way']} | {one['images_per_s']['median']:.0f} | "
        f"{one['images_per_s']['least']:.0f} to {one['images_per_s']['most']:.0f} | {one['of_imagecodecs']:.2f} |"
        for films, case in cases.items()
        for one in case.values()
    ]
    return "| films | threads | what | images/s | range | of imagecodecs |\n|---|---|---|---|---|---|\n" + "\n".join(
        rows
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
