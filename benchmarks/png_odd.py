"""PNG files that are unusual or damaged, and what packages make of them: the last table of `png_routes.py`."""

import struct
import zlib
from collections.abc import Mapping

import imagecodecs
import numpy as np
from png_packages import Route, matches

from resload.decode import decode, png
from resload.errors import DecodeError
from resload.testing import synthetic_film


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def file_of(shape: tuple[int, ...], depth: int, colour: int, raw: bytes, *, extra: bytes = b"", stream=None) -> bytes:
    head = chunk(b"IHDR", struct.pack(">II", shape[1], shape[0]) + bytes((depth, colour, 0, 0, 0)))
    data = chunk(b"IDAT", zlib.compress(raw) if stream is None else stream)
    return png.SIGNATURE + head + extra + data + chunk(b"IEND", b"")


def odd_files() -> dict[str, bytes]:
    gray = np.asarray(synthetic_film(0, size=96).pixels).astype(np.uint8)
    raw = np.concatenate([np.zeros((96, 1), np.uint8), gray], axis=1)
    stream = zlib.compress(raw.tobytes())
    whole = file_of(gray.shape, 8, 0, raw.tobytes())
    flipped, head, filters = bytearray(whole), bytearray(whole), raw.copy()
    flipped[len(whole) // 2] ^= 1
    head[30] ^= 1
    filters[50, 0] = 9
    colours = chunk(b"PLTE", np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    packed = np.packbits(gray > 99, axis=1)
    return {
        "sound: 8 bit": whole,
        "sound: 16 bit": imagecodecs.png_encode(gray.astype(np.uint16) * 257),
        "sound: 1 bit": file_of(gray.shape, 1, 0, np.concatenate([raw[:, :1], packed], axis=1).tobytes()),
        "sound: palette": file_of(gray.shape, 8, 3, raw.tobytes(), extra=colours),
        "sound: tRNS": file_of(gray.shape, 8, 0, raw.tobytes(), extra=chunk(b"tRNS", b"\0\x05")),
        "sound: gray and alpha": imagecodecs.png_encode(np.dstack([gray, np.full_like(gray, 255)])),
        "a bit flipped": bytes(flipped),
        "checksum of the header": bytes(head),
        "cut in half": whole[: len(whole) // 2],
        "no end chunk": whole[:-12],
        "wrong Adler-32": file_of(gray.shape, 8, 0, b"", stream=stream[:-1] + bytes([stream[-1] ^ 1])),
        "Adler-32 cut off": file_of(gray.shape, 8, 0, b"", stream=stream[:-4]),
        "rows missing": file_of(gray.shape, 8, 0, raw[:50].tobytes()),
        "a filter that is none": file_of(gray.shape, 8, 0, filters.tobytes()),
        "unknown critical chunk": file_of(gray.shape, 8, 0, raw.tobytes(), extra=chunk(b"ABCD", b"")),
    }


def outcomes(file: bytes, routes: Mapping[str, Route]) -> dict[str, str]:
    """`same` as resload.decode, `differs`, `refused`, or `accepted` where resload refuses."""
    try:
        expected = decode(file).pixels
    except DecodeError:
        expected = None
    return {"resload.decode": "refused" if expected is None else "same"} | {
        name: outcome(file, route, expected) for name, route in routes.items() if not name.startswith("resload")
    }


def outcome(file: bytes, route: Route, expected: np.ndarray | None) -> str:
    try:
        found = route(file)
        if found is None:
            return "refused"
    except BaseException as exc:  # panics of Rust are no Exception
        if isinstance(exc, KeyboardInterrupt):
            raise
        return "refused"
    if expected is None:
        return "accepted"
    return "same" if matches(found, expected) else "differs"
