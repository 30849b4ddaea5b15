"""How films of their own size, and masks, should be compressed: ratio, and what writing and reading cost on one core.

    python benchmarks/native_codecs.py [--data FOLDER --rounds 7]

Candidates are what Zarr v3 readers have: zstd, and blosc over zstd, lz4 and lz4hc with its shuffles, with the block
size that blosc chooses and, for bitshuffle and zstd, with 512 KiB (named 512K). Beside them PNG, decoded by libpng
(imagecodecs) and by resload.decode. Of each: bytes before over bytes after; ms per megapixel to encode (median of
three) and to decode (into memory that is there; PNG into new memory); and the decoding of the same films at the top
left of a canvas of 1.5 times their height and width, also per megapixel of film.

Then what reading costs in full with the codecs that were chosen: `PackedShard.read` of warm files, both checksums
verified, into a new array; and masks at 512 x 512.

--data: a folder with nih/images (PNG of 8 bit, 1024 x 1024), actualmed/images (PNG, full size), dicom (a CR of 10 bit)
and siim (run-length masks); two further CRs (10 and 15 bit) come with pydicom-data. Films are synthetic without it.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
from common import interleaved, ratio, save, seconds, summary
from pydicom.data import get_testdata_file

from resload import intensity
from resload.decode import decode
from resload.pipeline.cpu import on_canvas
from resload.store.codecs import MASKS, Codec, native
from resload.store.packed import PackedShard, PackedWriter
from resload.testing import synthetic_film

CANVAS = 1.5
LARGE_BLOCK = 1 << 19


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder with real films (default: synthetic ones)")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    sets = real(args.data) if args.data else synthetic()
    cases = {name: compared(films, args.rounds) for name, films in sets.items()}
    reads = {name: reading(films, args.rounds) for name, films in sets.items()}
    masks = masked(coverage(args.data) if args.data else discs(), args.rounds)
    source = "real films" if args.data else "synthetic films"
    head = f"One core of a machine that others used too, {source}. "
    head += "Cells: ratio; ms per megapixel to encode; to decode; to decode on a canvas of 1.5 x 1.5."
    parts = [head, table(cases), "`PackedShard.read`, ms per megapixel of film:", read_table(reads)]
    parts += ["Masks, 1 x 512 x 512 (ms per mask):", mask_table(masks)]
    save("native_codecs", "\n\n".join(parts), {"films": source, "cases": cases, "reads": reads, "masks": masks})


# -- films and masks --


def real(folder: Path) -> dict[str, list[np.ndarray]]:
    nih = sorted((folder / "nih/images").glob("*.png"))[5::16][:4]
    deep = [folder / "dicom/RG2_JLSL.dcm", *(get_testdata_file(f"{name}_UNCR.dcm") for name in ("RG1", "RG3"))]
    return {
        "NIH": [shown(path, "uint8") for path in nih],
        "Actualmed": [shown(path, "uint8") for path in sorted((folder / "actualmed/images").glob("*.png"))[1:]],
        "CR of 10 and 15 bit as uint16": [shown(path, "uint16") for path in deep],
        "NIH as uint16": [shown(path, "uint16") for path in nih],
    }


def shown(path: Path | str, dtype: str) -> np.ndarray:
    return intensity.apply(decode(path), dtype=dtype)[0]


def synthetic() -> dict[str, list[np.ndarray]]:
    eight = [synthetic_film(seed, size=1024).pixels for seed in range(4)]
    twelve = [synthetic_film(seed, size=1024, bits=12).pixels for seed in range(4)]
    return {
        "8 bit": [np.asarray(film) for film in eight],
        "12 bit as uint16": [np.asarray(film).astype(np.uint16) << 4 for film in twelve],
    }


def coverage(folder: Path) -> list[np.ndarray]:
    """SIIM's masks: 1024 x 1024, by columns, runs as (zeros since the last run, ones); shrunk by the mean of 2 x 2."""
    table = pd.read_csv(folder / "siim/train-rle-sample.csv", skipinitialspace=True)
    masks = []
    for text in table["EncodedPixels"]:
        runs = np.array(text.split(), np.int64)
        flat = np.repeat(np.arange(len(runs)) % 2, runs) if len(runs) > 1 else np.zeros(0, np.int64)
        whole = np.zeros(1024 * 1024)
        whole[: len(flat)] = flat
        parts = whole.reshape(1024, 1024).T.reshape(512, 2, 512, 2).mean(axis=(1, 3))
        masks.append(np.floor(parts * 255 + 0.5).astype(np.uint8)[None])
    return masks[:60]


def discs() -> list[np.ndarray]:
    y, x = np.mgrid[:512, :512]
    edges = (np.clip(side + 0.5 - np.hypot(y - 300, x - 200), 0, 1) for side in range(20, 80, 3))
    return [np.floor(edge * 255 + 0.5).astype(np.uint8)[None] for edge in edges]


# -- candidates --


def candidates(itemsize: int) -> dict[str, Codec]:
    found = {f"zstd {level}": Codec("zstd", {"level": level, "checksum": False}) for level in (1, 3, 9)}
    for name in ("zstd", "lz4", "lz4hc"):
        for shuffle in ("noshuffle", "shuffle", "bitshuffle"):
            if shuffle == "shuffle" and itemsize == 1:
                continue  # bytes of one byte: nothing to shuffle
            for level in (1, 5, 9):
                found[f"blosc {name} {shuffle} {level}"] = blosc(name, shuffle, level, itemsize, 0)
    for level in (1, 2, 3, 5):
        found[f"blosc zstd bitshuffle {level} 512K"] = blosc("zstd", "bitshuffle", level, itemsize, LARGE_BLOCK)
    return found


def blosc(cname: str, shuffle: str, clevel: int, typesize: int, blocksize: int) -> Codec:
    options = {"typesize": typesize, "cname": cname, "clevel": clevel, "shuffle": shuffle, "blocksize": blocksize}
    return Codec("blosc", options)


def timed(once: Callable[[np.ndarray], bytes], films: Sequence[np.ndarray]) -> tuple[list[bytes], float]:
    """What it made of each film, and how many ms all of them took: median of three, or once if that took seconds."""
    made: list[bytes] = []
    taken: list[float] = []
    while len(taken) < 3 and sum(taken) < 2:
        made.clear()
        taken.append(seconds(lambda: made.extend(map(once, films))))
    return made, statistics.median(taken) * 1e3


def decoding(codec: Codec, coded: Sequence[bytes], films: Sequence[np.ndarray]) -> Callable[[], float]:
    records = [np.frombuffer(bytearray(one), np.uint8) for one in coded]
    outs = [np.empty(film.nbytes, np.uint8) for film in films]

    def once() -> None:
        for record, out in zip(records, outs, strict=True):
            codec.decode(record, out)

    return lambda: seconds(once) * 1e3


def compared(films: list[np.ndarray], rounds: int) -> dict[str, dict]:
    """Of each candidate: ratio, ms per megapixel."""
    megapixels = sum(film.size for film in films) / 1e6
    canvases = [on_canvas(film, tuple(int(side * CANVAS) for side in film.shape)) for film in films]
    found: dict[str, dict] = {}
    work: dict[str, Callable[[], float]] = {}
    for name, codec in candidates(films[0].itemsize).items():
        coded, taken = timed(codec.encode, films)
        padded = [codec.encode(canvas) for canvas in canvases]
        found[name] = kept(films, coded, taken / megapixels) | {"canvas_bytes": total(padded) / total(coded)}
        work[name] = decoding(codec, coded, films)
        work[f"{name} canvas"] = decoding(codec, padded, canvases)
    coded, taken = timed(imagecodecs.png_encode, films)
    for name, reader in (("PNG, libpng", imagecodecs.png_decode), ("PNG, resload", decode)):
        found[name] = kept(films, coded, taken / megapixels)
        work[name] = partial(lambda reader: seconds(lambda: [reader(one) for one in coded]) * 1e3, reader)
    for name, values in interleaved(work, rounds).items():
        where, key = (name, "decode_ms") if name in found else (name.removesuffix(" canvas"), "canvas_decode_ms")
        found[where][key] = summary([value / megapixels for value in values])
    return found


def kept(films: Sequence[np.ndarray], coded: Sequence[bytes], encode_ms: float) -> dict:
    return {"ratio": sum(film.nbytes for film in films) / total(coded), "encode_ms": encode_ms}


def total(coded: Sequence[bytes]) -> int:
    return sum(map(len, coded))


# -- the chosen ones --


def reading(films: list[np.ndarray], rounds: int) -> dict[str, dict]:
    """Records of a file on their own canvas, and on one that is too large, whole and only as high as the film."""
    megapixels = sum(film.size for film in films) / 1e6
    pngs = [imagecodecs.png_encode(film) for film in films]
    with tempfile.TemporaryDirectory() as folder:
        own = [shard_of(Path(folder) / f"own{i}", film, film.shape) for i, film in enumerate(films)]
        wide = [
            shard_of(Path(folder) / f"wide{i}", film, tuple(int(side * CANVAS) for side in film.shape))
            for i, film in enumerate(films)
        ]
        times = interleaved(
            {
                "canvas 1.0": lambda: seconds(lambda: [shard.read(0, crc) for shard, crc in own]),
                "canvas 1.5": lambda: seconds(lambda: [shard.read(0, crc) for shard, crc in wide]),
                "canvas 1.5, rows of the film": lambda: seconds(
                    lambda: [shard.read(0, crc, rows=len(film)) for (shard, crc), film in zip(wide, films, strict=True)]
                ),
                "resload.decode of PNG": lambda: seconds(lambda: [decode(png) for png in pngs]),
            },
            rounds,
        )
    png = times["resload.decode of PNG"]
    return {
        name: summary([value * 1e3 / megapixels for value in values]) | {"png_takes": ratio(png, values)}
        for name, values in times.items()
    }


def shard_of(path: Path, film: np.ndarray, shape: tuple[int, ...]) -> tuple[PackedShard, int]:
    how = {"shape": shape, "dtype": film.dtype.name, "per_shard": 16, "codec": native(film.dtype.name)}
    writer = PackedWriter(path, **how)
    crc = writer.put(0, on_canvas(film, shape))
    writer.finish(1)
    return PackedShard(path, count=1, **how), crc


def masked(masks: list[np.ndarray], rounds: int) -> dict[str, dict]:
    codecs = {f"zstd {level}": Codec("zstd", {"level": level, "checksum": False}) for level in (1, 3, 9)}
    codecs["blosc zstd bitshuffle 1"] = blosc("zstd", "bitshuffle", 1, 1, 0)
    assert MASKS in codecs.values()
    found, work = {}, {}
    for name, codec in codecs.items():
        coded, taken = timed(codec.encode, masks)
        found[name] = kept(masks, coded, taken / len(masks)) | {"mean_bytes": total(coded) / len(masks)}
        work[name] = decoding(codec, coded, masks)
    for name, values in interleaved(work, rounds).items():
        found[name]["decode_ms"] = summary([value / len(masks) for value in values])
    return found


# -- tables --


def table(cases: dict[str, dict]) -> str:
    names = list(dict.fromkeys(name for case in cases.values() for name in case))
    rows = [f"| {name} | " + " | ".join(cell(case.get(name)) for case in cases.values()) + " |" for name in names]
    return f"| codec | {' | '.join(cases)} |\n|---|{'---|' * len(cases)}\n" + "\n".join(rows)


def cell(found: dict | None) -> str:
    if found is None:
        return ""
    text = f"{found['ratio']:.2f}; {found['encode_ms']:.1f}; {found['decode_ms']['median']:.2f}"
    return text + (f"; {found['canvas_decode_ms']['median']:.2f}" if "canvas_decode_ms" in found else "")


def read_table(reads: dict[str, dict]) -> str:
    rows = [
        f"| {name} | {what} | {found['median']:.2f} | {found['png_takes']:.1f} |"
        for name, case in reads.items()
        for what, found in case.items()
    ]
    return "| films | what | ms | decoding the PNG takes so many times as long |\n|---|---|---|---|\n" + "\n".join(rows)


def mask_table(masks: dict[str, dict]) -> str:
    rows = [
        f"| {name} | {found['ratio']:.0f} | {found['mean_bytes']:.0f} | {found['encode_ms']:.2f} "
        f"| {found['decode_ms']['median']:.3f} |"
        for name, found in masks.items()
    ]
    return "| codec | ratio | bytes | encode | decode |\n|---|---|---|---|---|\n" + "\n".join(rows)


if __name__ == "__main__":
    main()
