"""How records of a packed shard are compressed: codecs of Zarr v3, each as its document says it and at work.

    NATIVE8, NATIVE16   films: blosc (bits of a value shuffled apart, zstd), in blocks that are decoded one by one
    MASKS               coverage: zstd

Chosen by ratio and speed with benchmarks/native_codecs.py. With its bits shuffled apart a film is nearly as small at
zstd's first level as at later ones, which write slower; zstd alone gets there on 8 bit only by writing much slower;
lz4 decodes sooner and leaves more bytes to read. A block is what zstd of this level looks back over (512 KiB:
windowLog 19 in its table of levels).

A record is decoded only after its checksum was verified, and still is not trusted: its own words about its size must
be what is expected, and nothing larger is allocated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resload.errors import ArgumentError
from resload.store import layout
from resload.store.shard import little_endian

MOST_BYTES = (1 << 31) - 17
"""Of one decoded record: blosc counts in signed 32-bit numbers and adds a header of 16 (blosc.h, version 1)."""
_BLOSC_HEADER = 16
_BLOSC_STORED = 0x02
"""Flag of a record that blosc found no way to make smaller (README_CHUNK_FORMAT.rst of c-blosc 1)."""


@dataclass(frozen=True)
class Codec:
    """How records are compressed: a codec of Zarr v3 by name and configuration, and the same one at work.

    Thread-safe; encoding and decoding release the GIL. What it writes depends on the version of imagecodecs.
    """

    name: str
    """"blosc" or "zstd"."""
    configuration: Mapping[str, Any]
    """All of it, as it stands in the document: no reader needs to know a default."""

    def document(self) -> dict[str, Any]:
        """As it stands in zarr.json."""
        return {"name": self.name, "configuration": dict(self.configuration)}

    def encode(self, pixels: NDArray[Any]) -> bytes:
        """The compressed bytes of an array, little-endian; at most `MOST_BYTES` before."""
        import imagecodecs

        body: Any = little_endian(pixels)
        if self.name == "zstd":
            return bytes(imagecodecs.zstd_encode(body, self.configuration["level"]))
        names = {"compressor": "cname", "shuffle": "shuffle", "typesize": "typesize", "blocksize": "blocksize"}
        options: Any = {name: self.configuration[ours] for name, ours in names.items()}
        # imagecodecs 2026.3.6 shuffles by the size of the items it is given, whatever `typesize` says.
        values: Any = np.frombuffer(body, f"u{options['typesize']}")
        return bytes(imagecodecs.blosc_encode(values, self.configuration["clevel"], numthreads=1, **options))

    def span(self, record: NDArray[np.uint8], length: int, first: int) -> int:
        """How many bytes must be decoded to have the `first` ones of `length`: whole blocks of blosc, all of zstd.

        Raises ValueError when the record's own words about its size are not `length`.
        """
        if self.name == "zstd":
            return length
        if len(record) < _BLOSC_HEADER:
            raise ValueError(f"{len(record)} bytes are no blosc data")
        claimed, block, stored = (int(number) for number in record[4:_BLOSC_HEADER].view("<u4"))
        if claimed != length or stored != len(record) or not block:  # blosc itself believes all three
            raise ValueError(f"it says {claimed} bytes in {stored}; expected {length} in {len(record)}")
        if int(record[2]) & _BLOSC_STORED:
            return length
        return min(length, -(-first // block) * block)

    def decode(self, record: Any, out: Any) -> None:
        """Fill `out`, (n,) uint8, with the first n bytes, n as `span` answered; the record, uint8 too, is changed.

        Raises ValueError for damaged data, after which `out` is unspecified.
        """
        import imagecodecs

        try:
            if self.name == "zstd":
                found = imagecodecs.zstd_decode(record, out=out)
            else:
                record[4:8].view("<u4")[0] = len(out)  # blocks are independent: blosc decodes as many as fill this
                found = imagecodecs.blosc_decode(record, out=out, numthreads=1)
        except RuntimeError as exc:  # both libraries' errors are
            raise ValueError(str(exc)) from None
        if len(found) != len(out):
            raise ValueError(f"{len(found)} bytes came out; expected {len(out)}")


def _blosc(typesize: int) -> Codec:
    options = {"typesize": typesize, "cname": "zstd", "clevel": 1, "shuffle": "bitshuffle", "blocksize": 1 << 19}
    return Codec("blosc", options)


NATIVE8 = _blosc(1)
"""Films of 8 bit."""
NATIVE16 = _blosc(2)
"""Films of 16 bit."""
MASKS = Codec("zstd", {"level": 3, "checksum": False})
"""Coverage: mostly zeros, which zstd passes over."""


def native(dtype: str) -> Codec:
    """The codec of films of this dtype, "uint8" or "uint16"."""
    return {"uint8": NATIVE8, "uint16": NATIVE16}[dtype]


def body_bytes(shape: tuple[int, ...], dtype: str) -> int:
    """Bytes of one decoded record. Raises ArgumentError for more than a codec can take."""
    found = int(np.prod(shape, dtype=object)) * layout.item_bytes(dtype)
    if found > MOST_BYTES:
        raise ArgumentError(f"a record of {shape} {dtype} has {found} bytes; at most {MOST_BYTES} can be compressed")
    return found
