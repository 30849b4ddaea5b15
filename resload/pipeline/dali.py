"""NVIDIA DALI as a decoder of compressed gray streams, on a GPU or on the CPU.

    threads that make films      each asks for its own stream, or for those of several films, and waits
    one of them, at a time       decodes all that wait by one run of a DALI pipeline

Resizing stays with resload, since DALI's is another one at the border. Which streams DALI gets:

* JPEG of 8 bits (baseline and progressive), JPEG 2000, HTJ2K, and on a GPU lossless JPEG, also inside DICOM. Everything
  else goes to imagecodecs: PNG and TIFF gain nothing; JPEG-LS, JPEG XL and 12-bit JPEG are refused by DALI, which then
  may end the process (DALI 2.4.0).
* Only those that it decodes as it should. The first films of each kind and precision are decoded by imagecodecs too:
  equal, if the kind loses nothing, else within a rounding or two. A kind decoded otherwise is said once, and goes
  to imagecodecs from then on. (nvJPEG before 13.0.2 makes black images of lossless JPEG of 9 to 15 bits, without an
  error: NVIDIA/nvImageCodec issues 50 and 51.) For the same reason a film of one value is decoded by both.

On a GPU, DALI spreads values of 9 to 15 bits over 16 (2.4.0); the same proof finds that out, and it is undone exactly.
Output is asked for as GRAY: ANY_DATA writes beyond its memory for gray JPEG on the CPU (2.4.0). A stream that DALI
fails at is decoded, or refused, by imagecodecs, so that the same films are read with DALI as without.
"""

import ctypes
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from resload.decode.codecs import decoder_name, run
from resload.decode.codestream import LOSSLESS, Codestream
from resload.decode.others import Samples
from resload.errors import DecodeError, require
from resload.pipeline.device import own_stream

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
    """A `decode.others.Other`. Thread-safe, and the quicker the more threads ask at once.

    On a GPU what it decodes stays there (`Samples.held`): whoever uses a film waits for the device before letting go of
    it, since its memory is then given to the next one.
    """

    def __init__(self, device: torch.device | None, threads: int) -> None:
        dali = require("nvidia.dali", "dali", "to decode with decode='dali'", name="nvidia-dali")
        self.version = str(dali.__version__)
        self._holds = device is not None
        self._lines = {depth: _Line(depth, device, threads) for depth in (8, 16)}
        self._kinds: dict[tuple[str, int], _Kind] = {}
        self._proving = threading.Lock()

    def takes(self, codec: str, stream: Codestream) -> bool:
        """Whether it is of a kind that DALI reads, and has not been found to read wrongly."""
        kind = kind_of(codec, stream, on_gpu=self._holds)
        return kind is not None and self._known(kind, stream).right

    def samples(self, codec: str, data: bytes, stream: Codestream) -> Samples:
        """The samples, with `dali.jpeg.cuda 2.4.0` or the like; or those of imagecodecs, where DALI's are wrong."""
        known = self._known(kind_of(codec, stream, on_gpu=self._holds), stream)
        if known.proofs < _PROVEN:
            with self._proving:
                if known.proofs < _PROVEN:
                    return self._proof(known, codec, data, stream)
        try:
            found = self._line(stream).decode(data)
        except DecodeError as error:
            return self._failed(known, codec, data, error)
        if found.doubtful(stream):
            with self._proving:
                return self._proof(known, codec, data, stream)
        return self._meant(found.values, known, codec)

    def promised(self, codec: str, stream: Codestream) -> Samples | None:
        """What `samples` is going to give, with a `Later` in the place of the tensor; None where that is not known yet,
        or nothing stays on a GPU.
        """
        known = self._known(kind_of(codec, stream, on_gpu=self._holds), stream)
        if not self._holds or known.proofs < _PROVEN:
            return None
        return self._meant(Later(stream), known, codec)

    def all(self, streams: Sequence[tuple[bytes, Codestream]]) -> list[Any]:
        """The tensors of streams that were promised, decoded together; None where that failed or left doubts."""
        found: list[Any] = [None] * len(streams)
        for line in self._lines.values():
            mine = [k for k, (_, stream) in enumerate(streams) if self._line(stream) is line]
            for k, one in zip(mine, line.all([streams[k][0] for k in mine]), strict=True):
                found[k] = None if isinstance(one, DecodeError) or one.doubtful(streams[k][1]) else one.values
        return found

    def gathering(self) -> "Gathering":
        """The same for one thread, which asks for several streams at once."""
        return Gathering(self)

    @property
    def names(self) -> tuple[str, ...]:
        """What it may be called as the decoder of a film."""
        return tuple(map(self._name, ("jpeg", "jpeg2k")))

    def _name(self, codec: str) -> str:
        return f"dali.{codec}.{'cuda' if self._holds else 'cpu'} {self.version}"

    def _known(self, kind: str | None, stream: Codestream) -> "_Kind":
        assert kind is not None
        key = (kind, stream.precision)
        return self._kinds.get(key) or self._kinds.setdefault(key, _Kind(*key))

    def _line(self, stream: Codestream) -> "_Line":
        return self._lines[_depth(stream.precision)]

    def _meant(self, found: Any, known: "_Kind", codec: str) -> Samples:
        """DALI's numbers, and what they stand for."""
        if isinstance(found, np.ndarray):
            return Samples(found >> known.shift if known.shift else found, self._name(codec))
        return Samples(_every(_depth(known.precision), known.shift), self._name(codec), found)

    def _failed(self, known: "_Kind", codec: str, data: bytes, error: DecodeError) -> Samples:
        """What DALI fails at is decoded, or refused, by imagecodecs: a film is no worse for DALI."""
        found = Samples(np.asarray(run(codec, data)), decoder_name(codec))
        if not known.failed:
            known.failed = True
            _log.warning("DALI %s fails at some %s, which imagecodecs decodes (%s)", self.version, known, error.detail)
        return found

    def _proof(self, known: "_Kind", codec: str, data: bytes, stream: Codestream) -> Samples:
        """One film by both. A damaged one proves nothing: what imagecodecs says of it is raised."""
        expected = np.asarray(run(codec, data)).reshape(stream.height, stream.width)
        if known.right:
            try:
                found = self._line(stream).decode(data).values
            except DecodeError as error:
                why = error.detail
            else:
                why = known.judged(found if isinstance(found, np.ndarray) else found.cpu().numpy(), expected, stream)
            if not why:
                return self._meant(found, known, codec)
            known.right = False
            where = "GPU" if self._holds else "CPU"
            _log.warning(
                "DALI %s on this %s does not decode %s as imagecodecs does (%s): imagecodecs decodes these films",
                *(self.version, where, known, why),
            )
        return Samples(expected, decoder_name(codec))


class Later:
    """Stands for an image that is still to be decoded, in `Samples.held`."""

    def __init__(self, stream: Codestream) -> None:
        self.shape = stream.height, stream.width


class Gathering:
    """A `decode.others.Other` that puts off what a GPU's decoder takes: films are read first, then decoded by one run.

    Of one thread.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._waiting: list[tuple[Later, bytes, Codestream]] = []

    def takes(self, codec: str, stream: Codestream) -> bool:
        """As the decoder does."""
        return self._decoder.takes(codec, stream)

    def samples(self, codec: str, data: bytes, stream: Codestream) -> Samples:
        """With a `Later` as what is held, where the decoder is trusted with the kind already; else as the decoder."""
        found = self._decoder.promised(codec, stream)
        if found is None:
            return self._decoder.samples(codec, data, stream)
        self._waiting.append((found.held, data, stream))
        return found

    @staticmethod
    def holds(held: object) -> bool:
        """Whether what a radiograph holds is an image that was put off."""
        return isinstance(held, Later)

    @property
    def pixels(self) -> int:
        """Of the images that are put off."""
        return sum(later.shape[0] * later.shape[1] for later, _, _ in self._waiting)

    def decoded(self) -> dict[Later, Any]:
        """The tensors (height, width) of all that was put off; None where a film has to be asked for by itself, since
        decoding it failed or left it in doubt.
        """
        waiting, self._waiting = self._waiting, []
        return dict(
            zip(
                [later for later, _, _ in waiting],
                self._decoder.all([(data, stream) for _, data, stream in waiting]),
                strict=True,
            )
        )


@dataclass(slots=True)
class _Kind:
    """What is known of DALI's reading of a kind of stream. Changed by one thread at a time."""

    name: str
    precision: int
    right: bool = True
    """Nothing wrong has been seen."""
    proofs: int = 0
    """Films that imagecodecs decoded too, and alike, and that told which of the shifts it is."""
    shifts: tuple[int, ...] = ()
    """DALI may spread values over 8 or 16 bits, which loses nothing: so many bits less are the values. Those that fit
    all films so far; a black one tells nothing."""
    failed: bool = False
    """It could not decode one that imagecodecs decodes."""

    def __str__(self) -> str:
        return f"{self.name} of {self.precision} bits"

    def __post_init__(self) -> None:
        self.shifts = tuple(sorted({0, _depth(self.precision) - self.precision}))

    @property
    def shift(self) -> int:
        """The one, once proven."""
        return self.shifts[0]

    def judged(self, found: NDArray[Any], expected: NDArray[Any], stream: Codestream) -> str:
        """What is wrong with samples, in words; nothing is where they are those expected."""
        fits = tuple(shift for shift in self.shifts if not difference(found >> shift, expected, stream))
        if not fits:
            return difference(found >> self.shift, expected, stream)
        self.shifts = fits
        self.proofs += len(fits) == 1
        return ""


def _depth(precision: int) -> int:
    """Bits of the numbers that samples are asked for as."""
    return 8 if precision <= 8 else 16


@lru_cache(maxsize=32)
def _every(depth: int, shift: int) -> NDArray[Any]:
    """(1, n): what each number of a depth stands for."""
    every = np.arange(1 << depth)[None] >> shift
    found: NDArray[Any] = every.astype(np.uint8 if depth == 8 else np.uint16)
    found.setflags(write=False)  # shared
    return found


def kind_of(codec: str, stream: Codestream, *, on_gpu: bool) -> str | None:
    """What people call this kind of stream; None where DALI is not to see it."""
    if codec == "jpeg2k":
        return "HTJ2K" if stream.high_throughput else "JPEG 2000"
    if codec != "jpeg":
        return None
    if stream.process in _SEQUENTIAL and stream.precision == 8:
        return "JPEG"
    return "lossless JPEG" if on_gpu and stream.process == LOSSLESS and stream.predictor == 1 else None


def difference(found: NDArray[Any], expected: NDArray[Any], stream: Codestream) -> str:
    """What is wrong with decoded samples, in words; nothing is where they are those expected."""
    if found.shape != expected.shape:
        return f"it decodes to {found.shape}, not {expected.shape}"
    off = np.abs(found.astype(np.int32) - expected.astype(np.int32)) * (255 / ((1 << stream.precision) - 1))
    worst, mean = float(off.max()), float(off.mean())
    if worst == 0 or (not stream.reversible and worst <= _LOSSY[0] and mean <= _LOSSY[1]):
        return ""
    return f"values differ by up to {worst:.3g} of 255, by {mean:.3g} on average"


class _Found(NamedTuple):
    """One decoded stream."""

    values: Any
    """(height, width) uint8 or uint16: an array of its own, or a tensor on the GPU."""
    some: NDArray[Any]
    """Some of them, on the host."""

    def doubtful(self, stream: Codestream) -> bool:
        """Whether it is of another shape than was claimed, or all the same: something may have gone wrong."""
        return tuple(self.values.shape) != (stream.height, stream.width) or bool((self.some == self.some[0]).all())


class _Line:
    """Streams that wait for one DALI pipeline: whoever finds it free decodes all that wait."""

    def __init__(self, depth: int, device: torch.device | None, threads: int) -> None:
        self._made_of = (depth, device, threads)
        self._pipeline: Any = None
        self._waiting: deque[tuple[bytes, Future[_Found]]] = deque()
        self._turn = threading.Lock()

    def decode(self, data: bytes) -> _Found:
        """Raises DecodeError for a stream that DALI fails at."""
        (found,) = self.all([data])
        if isinstance(found, DecodeError):
            raise found
        return found

    def all(self, streams: Sequence[bytes]) -> list["_Found | DecodeError"]:
        """Each of them, or why DALI fails at it."""
        own: list[Future[_Found]] = [Future() for _ in streams]
        for asked in zip(streams, own, strict=True):
            self._waiting.append(asked)
        for one in own:
            while not one.done():
                with self._turn:
                    if not one.done():
                        self._run([self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))])
        return [self._outcome(one) for one in own]

    @staticmethod
    def _outcome(done: "Future[_Found]") -> "_Found | DecodeError":
        error = done.exception()
        if error is None:
            return done.result()
        assert isinstance(error, DecodeError)
        return error

    def _run(self, some: list[tuple[bytes, "Future[_Found]"]]) -> None:
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

    def _decoded(self, streams: list[bytes]) -> list[_Found]:
        if self._pipeline is None:
            with _quiet():
                self._pipeline = _pipeline(*self._made_of)
                return self._fed(streams)
        return self._fed(streams)

    def _fed(self, streams: list[bytes]) -> list[_Found]:
        self._pipeline.feed_input("streams", [np.frombuffer(data, np.uint8) for data in streams])
        (found,) = self._pipeline.run()
        device = self._made_of[1]
        if device is not None:
            return _held([found[k] for k in range(len(streams))], self._made_of[0], device)
        arrays = [np.array(found.at(k))[..., 0] for k in range(len(streams))]
        return [_Found(one, one.reshape(-1)[:: _step(*one.shape)]) for one in arrays]


def _step(height: int, width: int) -> int:
    """From one of some 1,000 values to the next, in every column by turns: the first may be black all the way down."""
    step = max(1, height * width // 1024)
    while math.gcd(step, width) > 1:
        step += 1
    return step


def _held(outputs: Sequence[Any], depth: int, device: torch.device) -> list[_Found]:
    """DALI's outputs as tensors of their own, done when this returns: DALI writes into its memory again."""
    dtype = torch.uint8 if depth == 8 else torch.uint16
    alike: dict[tuple[int, ...], list[int]] = {}
    for k, one in enumerate(outputs):
        alike.setdefault(tuple(one.shape()), []).append(k)
    order = [k for places in alike.values() for k in places]
    tensors, looks = list[torch.Tensor](), list[torch.Tensor]()
    with own_stream(device):
        stream = ctypes.c_void_p(torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0)
        for shape, places in alike.items():  # few calls where many are of one shape
            room = torch.empty(len(places), *shape, dtype=dtype, device=device)
            first, step = room.data_ptr(), room[0].nbytes
            for i, k in enumerate(places):
                outputs[k].copy_to_external(ctypes.c_void_p(first + i * step), stream, non_blocking=True)
            tensors.extend(room[..., 0].unbind())
            flat = room.view(torch.uint8 if depth == 8 else torch.int16).view(len(places), -1)
            looks.append(flat[:, :: _step(*shape[:2])])
        seen = torch.cat([one.reshape(-1) for one in looks]).cpu().numpy()  # which waits for the copies, too
    ends = np.cumsum([one.shape[1] for one in looks for _ in one])
    found = dict(zip(order, map(_Found, tensors, np.split(seen, ends[:-1])), strict=True))
    return [found[k] for k in range(len(outputs))]


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
