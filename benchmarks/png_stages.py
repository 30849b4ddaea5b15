"""The steps of decoding one PNG film, and the row filters of films: the first tables of `png_routes.py`."""

import statistics
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import torch
from common import interleaved, seconds, summary
from png_odd import file_of
from png_packages import Route

from resload import resampling
from resload.decode import decode, png
from resload.decode.codecs import adler32, crc32, run
from resload.decode.inflated import _stream, inflated
from resload.pipeline import Pipeline, make
from resload.size import Size

FILTERS = ("None", "Sub", "Up", "Average", "Paeth")


def staged(films: list[bytes], rounds: int, kornia: Route | None) -> dict[str, dict[str, float]]:
    """Ms per film of every step of decoding and resizing, each fed with what the step before made."""
    told = [png.parse(film) for film in films]
    shapes = [one.shape for one in told]
    streams = [bytes(_stream(memoryview(film), one.pixels_at)[0] or b"") for film, one in zip(films, told, strict=True)]
    sizes = [one.filtered_bytes for one in told]
    starts = [one.pixels_at for one in told]
    rows = [run("deflate", stream, out=size) for stream, size in zip(streams, sizes, strict=True)]
    ready = [inflated(*one) for one in zip(films, starts, sizes, strict=True)]
    outs = [np.empty(shape, np.uint8) for shape in shapes]
    again = bytearray(max(sizes))
    decoded = [decode(film) for film in films]
    recipe = Pipeline(256, dtype="uint8")

    def each(step: Callable[..., object], *columns: list) -> Callable[[], float]:
        return lambda: seconds(lambda: [step(*one) for one in zip(*columns, strict=True)] and None) * 1e3 / len(films)

    work = {
        "header": each(png.parse, films),
        "checksums of the chunks, and joining them": each(lambda f, at: _stream(memoryview(f), at), films, starts),
        "inflating, libdeflate": each(lambda stream, size: run("deflate", stream, out=size), streams, sizes),
        "inflating, libdeflate, into memory used before": each(
            lambda stream: run("deflate", stream, out=again), streams
        ),
        "inflating, zlib": each(zlib.decompress, streams),
        "Adler-32 and CRC-32 of the rows": each(lambda row: (adler32(row), crc32(row)), rows),
        "all of inflated.py": each(inflated, films, starts, sizes),
        "libpng on what it made": each(imagecodecs.png_decode, ready),
        "libpng on what it made, into memory used before": each(lambda f, out: run("png", f, out=out), ready, outs),
    }
    if kornia is not None:
        work["kornia-rs on what it made"] = each(kornia, ready)
    work |= {
        "libpng alone": each(imagecodecs.png_decode, films),
        "resload.decode": each(decode, films),
        "resize to 256, pipeline included": each(lambda film: make(recipe, film), decoded),
        "resize to 256, alone": each(lambda film: resampling.pyramid(film.pixels, [Size(256, 256)]), decoded),
        "resize to 256, torch on the gray picture": each(lambda film: plain_resize(film.pixels), decoded),
        "decode and resize": each(lambda film: make(recipe, film), films),
    }
    return {name: summary(values) for name, values in interleaved(work, rounds).items()}


def plain_resize(pixels: np.ndarray) -> torch.Tensor:
    """The same resize by torch, one gray picture as one channel."""
    image = torch.from_numpy(pixels)[None, None]
    return torch.nn.functional.interpolate(image, size=(256, 256), mode="bilinear", antialias=True)


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
