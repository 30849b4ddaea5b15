"""Ways to damage an input: bytes, numbers at the edges of their types, JSON. Each is a function of its generator."""

import copy
import json
import math
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator

EDGES = (
    0, 1, 2, 3, 4, 7, 8, 12, 15, 16, 17, 31, 32, 63, 64, 127, 128, 255, 256, 4095, 4096, 32767, 32768, 65534, 65535,
    65536, 1 << 20, (1 << 24) - 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 2, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1,
)  # fmt: skip
"""Numbers that programs compare with."""
LONGEST = 1 << 18
"""Bytes of an input: damage that repeats parts of it stops there."""


def damaged(data: bytes, rng: Rng) -> bytes:
    """One to four changes: bits flipped, bytes exchanged, cut, inserted, repeated, numbers put to an edge."""
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 4]))):
        data = one_of(WAYS, rng)(bytearray(data or b"\0"), rng)
    return bytes(data[:LONGEST])


def one_of(values: Any, rng: Rng) -> Any:
    """One of a sequence."""
    return values[int(rng.integers(len(values)))]


def _somewhere(data: bytearray, rng: Rng) -> int:
    """A place: half of them near the beginning, where headers are."""
    end = min(len(data), 256) if rng.random() < 0.5 else len(data)
    return int(rng.integers(max(end, 1)))


def _flip(data: bytearray, rng: Rng) -> bytes:
    for _ in range(int(rng.integers(1, 9))):
        data[_somewhere(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(data)


def _exchange(data: bytearray, rng: Rng) -> bytes:
    at = _somewhere(data, rng)
    data[at : at + 1] = rng.bytes(1)
    return bytes(data)


def _cut(data: bytearray, rng: Rng) -> bytes:
    return bytes(data[: max(1, int(rng.integers(len(data))))])


def _take_out(data: bytearray, rng: Rng) -> bytes:
    at = _somewhere(data, rng)
    del data[at : at + int(rng.integers(1, 65))]
    return bytes(data)


def _insert(data: bytearray, rng: Rng) -> bytes:
    at = _somewhere(data, rng)
    data[at:at] = rng.bytes(int(rng.integers(1, 33)))
    return bytes(data)


def _repeat(data: bytearray, rng: Rng) -> bytes:
    start, at, length = _somewhere(data, rng), _somewhere(data, rng), int(rng.integers(1, 257))
    times = int(rng.choice([1, 1, 1, 2, 50, 500]))
    data[at:at] = data[start : start + length] * times
    return bytes(data[:LONGEST])


def _edge(data: bytearray, rng: Rng) -> bytes:
    """A number of 1 to 8 bytes, in either order of bytes."""
    size = int(rng.choice([1, 2, 2, 4, 4, 8]))
    value = (one_of(EDGES, rng) + int(rng.integers(-1, 2))) % (1 << 8 * size)
    at = _somewhere(data, rng)
    data[at : at + size] = value.to_bytes(size, "little" if rng.random() < 0.5 else "big")
    return bytes(data)


def _swap(data: bytearray, rng: Rng) -> bytes:
    length, one, other = int(rng.integers(1, 17)), _somewhere(data, rng), _somewhere(data, rng)
    data[one : one + length], data[other : other + length] = data[other : other + length], data[one : one + length]
    return bytes(data)


WAYS: list[Callable[[bytearray, Rng], bytes]] = [
    _flip, _exchange, _cut, _take_out, _insert, _repeat, _edge, _edge, _edge, _swap,
]  # fmt: skip


# -- PNG: damage that its checksums do not give away --


def png(data: bytes, rng: Rng) -> bytes:
    """A PNG damaged; most of the time with its checksums right again, sometimes inside the compressed rows."""
    kind = rng.random()
    if kind < 0.3:
        return damaged(data, rng)
    parts = png_chunks(data)
    if not parts:
        return damaged(data, rng)
    at = int(rng.integers(len(parts)))
    name, body = parts[at]
    if name == b"IDAT" and kind < 0.6:
        body = _recompressed(body, rng)
    elif kind < 0.9:
        body = damaged(body or b"\0", rng)
    else:
        parts.insert(at, (one_of((b"tRNS", b"sBIT", b"PLTE", b"IHDR", b"IDAT", b"zTXt", name), rng), rng.bytes(9)))
        return png_of(parts)
    parts[at] = (name, body)
    return png_of(parts)


def _recompressed(body: bytes, rng: Rng) -> bytes:
    try:
        rows = zlib.decompressobj().decompress(body, LONGEST)
    except zlib.error:
        return damaged(body, rng)
    return zlib.compress(damaged(rows, rng), 1)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(name, body) of every chunk that is whole."""
    found, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if at + 12 + length > len(data):
            break
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks, its checksums right."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, body in chunks:
        parts.append(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))
    return b"".join(parts)


# -- JSON --

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 1 << 16, (1 << 16) + 1, 1 << 31, 1 << 63, 1 << 64, 10**30, 0.5, -0.0, 1e300,
    math.nan, math.inf, -math.inf, "", "x", "auto", "native", "512", "64x64", "../../etc/passwd", "/etc/passwd", "\0",
    "\ud800", "é" * 100, [], {}, [[]], [0], ["a"], {"a": 1}, [1, 2], [64, 64], [1 << 16, 1 << 16], [10**9] * 3,
)  # fmt: skip
"""Values that no document should have where they may be put."""


def document(data: bytes, rng: Rng) -> bytes:
    """A JSON document with one to three values exchanged, repeated, taken out or nested; sometimes damaged as bytes."""
    if rng.random() < 0.15:
        return damaged(data, rng)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return damaged(data, rng)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        value = changed(value, rng)
    text = json.dumps(value).replace('"__huge__"', "1e999")
    if rng.random() < 0.02:
        depth = int(rng.choice([100, 5_000, 100_000]))
        text = text[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}"
    return text.encode()


def changed(value: Any, rng: Rng) -> Any:
    """The value with one place in it changed."""
    holder, key = None, None
    here = value
    while isinstance(here, dict | list) and here and (holder is None or rng.random() < 0.85):
        holder, key = here, one_of(list(here) if isinstance(here, dict) else range(len(here)), rng)
        here = here[key]
    if holder is None:
        return copy.deepcopy(one_of(STRANGE, rng))
    _change(holder, key, rng)
    return value


def _change(holder: Any, key: Any, rng: Rng) -> None:
    here, way = holder[key], rng.random()
    if way < 0.1:
        del holder[key]
    elif way < 0.2 and isinstance(here, list):
        holder[key] = here * int(rng.choice([0, 2, 3, 200]))
    elif way < 0.45 and isinstance(here, int | float) and not isinstance(here, bool):
        holder[key] = one_of((here + 1, here - 1, -here, here * 2, here * 1.0, here * 1000, str(here), "__huge__"), rng)
    elif way < 0.5:
        holder[key] = [here]
    else:
        holder[key] = copy.deepcopy(one_of(STRANGE, rng))  # which may be changed itself
