"""What decoding one DICOM film costs in each transfer syntax: resload, pydicom, gdcm.

    python benchmarks/dicom_decode.py [--rounds 9]

The film is RG1, a CR of 1955 x 1841 and 15 bits that comes with pydicom-data, coded anew in each syntax (8 and 12 bits
for the two lossy JPEGs), or a drawn one of that size where pydicom-data is not installed. From the bytes of the file in
memory to pixels as stored:

    resload   resload.decode.decode
    pydicom   pydicom.pixels.pixel_array(raw=True), by the plugins that pydicom chooses
    others    the same by each other plugin that is installed
    gdcm      gdcm.ImageReader on a file, and its buffer, which Python gets as a string: what that costs is part of it

These run on one core, since gdcm decodes JPEG 2000 on as many threads as there are cores (and so does pydicom with it).
Then, on two cores, resload and pydicom decode the same films on one thread and on two.

Every reader's pixels are compared with resload's; where a lossy codec makes others differ, the table says by how much.
"""

import argparse
import io
import math
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import gdcm
import numpy as np
import pydicom
from common import interleaved, ratio, save, seconds, summary
from pydicom.data import get_testdata_file
from pydicom.pixels import get_decoder, pixel_array

from resload.decode import decode
from resload.testing import synthetic_film

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import dicom_files
from dicom_files import make_dicom

SYNTAXES = {
    "implicit little endian": (dicom_files.IMPLICIT, 15),
    "explicit little endian": (dicom_files.EXPLICIT, 15),
    "explicit big endian": (dicom_files.BIG, 15),
    "deflated": (dicom_files.DEFLATED, 15),
    "RLE": (dicom_files.RLE, 15),
    "JPEG baseline": (dicom_files.JPEG, 8),
    "JPEG extended": (dicom_files.JPEG_12, 12),
    "JPEG lossless": (dicom_files.JPEG_57, 15),
    "JPEG lossless SV1": (dicom_files.JPEG_70, 15),
    "JPEG-LS": (dicom_files.JLS, 15),
    "JPEG 2000 lossless": (dicom_files.J2K, 15),
    "HTJ2K lossless": (dicom_files.HTJ2K[0], 15),
}
SHORTEST_S = 0.03
"""Of one measurement: films of microseconds are read many times."""
Reader = Callable[[], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    source, pixels, bits = film()
    cases = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, (syntax, most) in SYNTAXES.items():
            shift = max(0, bits - most)
            part = (pixels >> shift).astype(np.uint8 if most == 8 else np.uint16)
            path = Path(folder) / "film.dcm"
            path.write_bytes(make_dicom(part, syntax, bits=min(bits, most)))
            cases[name] = measured(path, syntax, args.rounds)
            print(row(name, cases[name]), flush=True)
    head = f"{source}. One core: ms per film, and resload's time over theirs. Two cores: films on two threads over one."
    save("dicom_decode", f"{head}\n\n{table(cases)}", {"film": source, "cases": cases})


def film() -> tuple[str, np.ndarray, int]:
    """What it is, its pixels, and how many bits they have."""
    path = get_testdata_file("RG1_UNCR.dcm", download=False)
    if path is None:
        return "A drawn film of 1955 x 1841 and 15 bits", synthetic_film((1955, 1841), bits=15).image, 15
    dataset = pydicom.dcmread(path)
    return "RG1, a CR of 1955 x 1841 and 15 bits", dataset.pixel_array, int(dataset.BitsStored)


# -- readers --


def readers(path: Path, syntax: str) -> dict[str, Reader]:
    file = path.read_bytes()
    found: dict[str, Reader] = {"resload": lambda: decode(file).pixels, "pydicom": by_pydicom(file, syntax, "")}
    plugins = get_decoder(syntax).available_plugins if syntax not in dicom_files.NATIVE else ()
    for plugin in plugins if len(plugins) > 1 else ():
        found[f"pydicom, {plugin}"] = by_pydicom(file, syntax, plugin)
    found["gdcm"] = lambda: by_gdcm(path)
    return {name: reader for name, reader in found.items() if able(reader)}


def by_pydicom(file: bytes, syntax: str, plugin: str) -> Reader:
    if syntax == dicom_files.DEFLATED:  # pixel_array looks for Pixel Data in the bytes as they are
        return lambda: pixel_array(pydicom.dcmread(io.BytesIO(file)), raw=True)
    return lambda: pixel_array(io.BytesIO(file), raw=True, decoding_plugin=plugin)


def by_gdcm(path: Path) -> np.ndarray:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise ValueError("gdcm does not read it")
    image = reader.GetImage()
    raw = image.GetBuffer().encode("utf-8", "surrogateescape")
    width, height = image.GetDimensions()
    return np.frombuffer(raw, np.uint8 if len(raw) == width * height else np.uint16).reshape(height, width)


def able(reader: Reader) -> bool:
    """Whether it reads this film at all."""
    try:
        reader()
    except Exception as exc:
        print(f"  not read: {type(exc).__name__}", flush=True)
        return False
    return True


# -- measuring --


@contextmanager
def one_core() -> Iterator[None]:
    """Only the first of the cores that this process has."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def measured(path: Path, syntax: str, rounds: int) -> dict[str, dict]:
    with one_core():
        found = readers(path, syntax)
        pixels = {name: reader().astype(int) for name, reader in found.items()}
        times = interleaved({name: repeated(reader) for name, reader in found.items()}, rounds)
    both = {name: found[name] for name in ("resload", "pydicom") if name in found}
    return {
        name: {
            "ms": summary([value * 1e3 for value in values]),
            "resload_over": ratio(times["resload"], values),
            "differs": int(np.abs(pixels[name] - pixels["resload"]).max()),
        }
        | ({"two_threads": threads_gain(both[name], rounds)} if name in both else {})
        for name, values in times.items()
    }


def repeated(reader: Reader) -> Callable[[], float]:
    """Seconds for one film, from as many as make a measurement."""
    times = math.ceil(SHORTEST_S / max(1e-6, seconds(reader)))

    def once() -> float:
        return seconds(lambda: [reader() for _ in range(times)]) / times

    return once


def threads_gain(reader: Reader, rounds: int) -> float:
    """How many times as many films two threads decode in the time of one."""
    count = 2 * math.ceil(SHORTEST_S / max(1e-6, seconds(reader)))
    with ThreadPoolExecutor(2) as pool:
        times = interleaved(
            {
                "one": lambda: seconds(lambda: [reader() for _ in range(count)]),
                "two": lambda: seconds(lambda: list(pool.map(lambda _: reader(), range(count)))),
            },
            rounds,
        )
    return ratio(times["one"], times["two"])


# -- tables --


def table(cases: dict[str, dict]) -> str:
    head = "| syntax | resload | pydicom | ratio | gdcm | ratio | other plugins | two threads: resload | pydicom |"
    return "\n".join([head, "|---|" + "---:|" * 8, *(row(name, case) for name, case in cases.items())])


def row(name: str, case: dict[str, dict]) -> str:
    others = [f"{key[9:]} {took(one)}" for key, one in case.items() if key.startswith("pydicom, ")]
    cells = [took(case["resload"])]
    for key in ("pydicom", "gdcm"):
        cells += [took(case[key]), f"{case[key]['resload_over']:.2f}"] if key in case else ["not read", ""]
    cells.append(", ".join(others))
    cells += [f"{case[key]['two_threads']:.2f}" if key in case else "" for key in ("resload", "pydicom")]
    return f"| {name} | {' | '.join(cells)} |"


def took(one: dict) -> str:
    text = f"{one['ms']['median']:.1f}"
    return f"{text} (differs by {one['differs']})" if one["differs"] else text


if __name__ == "__main__":
    main()
