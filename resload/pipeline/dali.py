"""NVIDIA DALI as a decoder of compressed gray streams, on a GPU or on the CPU.

    threads that make films      each asks for its own stream, and waits
    one of them, at a time       decodes all that wait by one run of a DALI pipeline

Resizing stays with resload, since DALI's differs at the border by up to 0.9 of 255. Which streams DALI gets:

* JPEG of 8 bits (baseline and progressive), JPEG 2000, HTJ2K, and on a GPU lossless JPEG, also inside DICOM. Everything
  else goes to imagecodecs: PNG and TIFF gain nothing; JPEG-LS, JPEG XL and 12-bit JPEG are refused by DALI, which then
  may end the process (DALI 2.4.0).
* Only those that it decodes as it should. The first films of each kind and precision are decoded by imagecodecs too:
  equal, if the kind loses nothing, else within a rounding or two. A kind decoded otherwise is said once, and goes
  to imagecodecs from then on. (nvJPEG before 13.0.2 makes black images of lossless JPEG of 9 to 15 bits, without an
  error: NVIDIA/nvImageCodec issues 50 and 51.) For the same reason a film of one value is decoded by both.

Output is asked for as GRAY: ANY_DATA writes beyond its memory for gray JPEG on the CPU (DALI 2.4.0). A stream that DALI
fails at is an error of that film alone.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload.decode.codecs import decoder_name, run
from resload.decode.codestream import LOSSLESS, Codestream
from resload.errors import DecodeError, require

_log = logging.getLogger("resload")

_LEVEL = "OPENCV_LOG_LEVEL"
_BATCH = 64
"""Streams of one run, at most."""
_PROVEN = 3
"""Films of a kind and precision that imagecodecs decodes too, before DALI is trusted with them."""
_LOSSY = 2.0, 0.1
"""Largest and mean difference, in 1/255 of the range, of two right decoders of a lossy stream: both transforms are only
exact to a rounding (T.81 annex A.3.3 leaves it open)."""
_SEQUENTIAL = (0xC0, 0xC1, 0xC2)
"""JPEG's frame headers: baseline, extended, progressive; with Huffman codes."""


@lru_cache(maxsize=4)
def decoder(device: torch.device | None, threads: int) -> "Decoder":
    """The decoder of a device (None: the CPU); kept for the process."""
    return Decoder(device, threads)


class Decoder:
    """A `decode.others.Other`. Thread-safe, and the quicker the more threads ask at once."""

    def __init__(self, device: torch.device | None, threads: int) -> None:
        dali = require("nvidia.dali", "dali", "to decode with decode='dali'", name="nvidia-dali")
        self.version = str(dali.__version__)
        self._where = "cpu" if device is None else "cuda"
        self._lines = {depth: _Line(depth, device, threads) for depth in (8, 16)}
        self._proofs: dict[tuple[str, int], int] = {}
        self._proving = threading.Lock()

    def takes(self, codec: str, stream: Codestream) -> bool:
        """Whether it is of a kind that DALI reads, and has not been found to read wrongly."""
        kind = kind_of(codec, stream, on_gpu=self._where == "cuda")
        return kind is not None and self._proofs.get((kind, stream.precision), 0) >= 0

    def samples(self, codec: str, data: bytes, stream: Codestream) -> tuple[NDArray[Any], str]:
        """The samples, and `dali.jpeg.cuda 2.4.0` or the like; or those of imagecodecs, where DALI's are wrong."""
        kind = kind_of(codec, stream, on_gpu=self._where == "cuda")
        assert kind is not None
        key = (kind, stream.precision)
        if self._proofs.get(key, 0) < _PROVEN:
            with self._proving:
                if self._proofs.get(key, 0) < _PROVEN:
                    return self._proof(key, codec, data, stream)
        found = self._lines[8 if stream.precision <= 8 else 16].decode(data)
        if found.shape != (stream.height, stream.width) or _blank(found):
            with self._proving:
                return self._proof(key, codec, data, stream)
        return found, self._name(codec)

    def _name(self, codec: str) -> str:
        return f"dali.{codec}.{self._where} {self.version}"

    def _proof(self, key: tuple[str, int], codec: str, data: bytes, stream: Codestream) -> tuple[NDArray[Any], str]:
        """One film by both. A damaged one proves nothing: what imagecodecs says of it is raised."""
        expected = np.asarray(run(codec, data)).reshape(stream.height, stream.width)
        if self._proofs.get(key, 0) < 0:
            return expected, decoder_name(codec)
        try:
            found, why = self._lines[8 if stream.precision <= 8 else 16].decode(data), ""
        except DecodeError as error:
            found, why = expected, error.detail or error.reason
        why = why or difference(found, expected, stream)
        if not why:
            self._proofs[key] = self._proofs.get(key, 0) + 1
            return found, self._name(codec)
        self._proofs[key] = -1
        _log.warning(
            "DALI %s on this %s does not decode %s of %d bits as imagecodecs does (%s): imagecodecs decodes these",
            *(self.version, "GPU" if self._where == "cuda" else "CPU", *key, why),
        )
        return expected, decoder_name(codec)


def kind_of(codec: str, stream: Codestream, *, on_gpu: bool) -> str | None:
    """What people call this kind of stream; None where DALI is not to see it."""
    if codec == "jpeg2k":
        return "HTJ2K" if stream.high_throughput else "JPEG 2000"
    if codec == "jpeg" and stream.process in _SEQUENTIAL and stream.precision == 8:
        return "JPEG"
    return "lossless JPEG" if codec == "jpeg" and stream.process == LOSSLESS and on_gpu else None


def difference(found: NDArray[Any], expected: NDArray[Any], stream: Codestream) -> str:
    """What is wrong with decoded samples, in words; nothing is where they are those expected."""
    if found.shape != expected.shape:
        return f"it decodes to {found.shape}, not {expected.shape}"
    off = np.abs(found.astype(np.int32) - expected.astype(np.int32)) * (255 / ((1 << stream.precision) - 1))
    worst, mean = float(off.max()), float(off.mean())
    if worst == 0 or (not stream.reversible and worst <= _LOSSY[0] and mean <= _LOSSY[1]):
        return ""
    return f"values differ by up to {worst:.3g} of 255, by {mean:.3g} on average"


def _blank(samples: NDArray[Any]) -> bool:
    """Whether all values are the same; a look at some of them says no of nearly all films."""
    some = samples.reshape(-1)[:: max(1, samples.size // 1024)]
    return bool((some == some[0]).all() and (samples == some[0]).all())


class _Line:
    """Streams that wait for one DALI pipeline: whoever finds it free decodes all that wait."""

    def __init__(self, depth: int, device: torch.device | None, threads: int) -> None:
        self._made_of = (depth, device, threads)
        self._pipeline: Any = None
        self._waiting: deque[tuple[bytes, Future[NDArray[Any]]]] = deque()
        self._turn = threading.Lock()

    def decode(self, data: bytes) -> NDArray[Any]:
        """(height, width), uint8 or uint16, a new array. Raises DecodeError."""
        own: Future[NDArray[Any]] = Future()
        self._waiting.append((data, own))
        while not own.done():
            with self._turn:
                if not own.done():
                    self._run([self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))])
        return own.result()

    def _run(self, some: list[tuple[bytes, "Future[NDArray[Any]]"]]) -> None:
        """Decode these; where one of them fails, each alone."""
        try:
            for (_, asked), found in zip(some, self._decoded([data for data, _ in some]), strict=True):
                asked.set_result(found)
        except Exception as exc:  # DALI raises RuntimeError, for what a stream did and for what it lacks
            self._pipeline = None  # it is no longer valid, it says
            if len(some) > 1:
                for one in some:
                    self._run([one])
            else:
                some[0][1].set_exception(DecodeError("the compressed data is damaged", detail=_reason(exc)))
        finally:  # interrupted: nobody shall wait for what will not come
            for _, asked in some:
                if not asked.done():
                    asked.set_exception(DecodeError("decoding was interrupted"))

    def _decoded(self, streams: list[bytes]) -> list[NDArray[Any]]:
        if self._pipeline is None:
            with _quiet():
                self._pipeline = _pipeline(*self._made_of)
                return self._fed(streams)
        return self._fed(streams)

    def _fed(self, streams: list[bytes]) -> list[NDArray[Any]]:
        self._pipeline.feed_input("streams", [np.frombuffer(data, np.uint8) for data in streams])
        (found,) = self._pipeline.run()
        host = found.as_cpu()
        return [np.array(host.at(k))[..., 0] for k in range(len(streams))]


def _pipeline(depth: int, device: torch.device | None, threads: int) -> Any:
    """Bytes -> gray samples of 8 or 16 bits."""
    from nvidia.dali import Pipeline, fn, types

    made = Pipeline(
        batch_size=_BATCH,
        num_threads=threads,
        device_id=None if device is None else device.index,
        prefetch_queue_depth=1,
    )
    with made:
        streams = fn.external_source(name="streams", dtype=types.UINT8, ndim=1)
        dtype = types.UINT8 if depth == 8 else types.UINT16
        made.set_outputs(
            fn.decoders.image(streams, device="cpu" if device is None else "mixed", output_type=types.GRAY, dtype=dtype)
        )
    made.build()
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """While DALI's libraries are loaded: its OpenCV else prints a line for every JPEG 2000 that names no colour space,
    which no radiograph inside DICOM does. It looks once.
    """
    before = os.environ.get(_LEVEL)
    os.environ.setdefault(_LEVEL, "ERROR")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_LEVEL, None)


def _reason(error: Exception) -> str:
    """The sentence of DALI's message that says something of the stream."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "ailed" in line or "failure" in line]
    return (told or lines or [type(error).__name__])[-1][:200]
