"""Compressed films, and a DALI of ours: what tests of another decoder share."""

import ctypes
import io
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import imagecodecs
import numpy as np
import torch
from dicom_files import HTJ2K, J2K, J2K_LOSSY, JLS, JPEG, JPEG_12, JPEG_57, JPEG_70, make_dicom, noise, smooth
from PIL import Image

from resload.decode import Radiograph
from resload.decode.codestream import Codestream, parse_jpeg, parse_jpeg2000
from resload.pipeline import dali


def decoded_by_imagecodecs(data: bytes) -> np.ndarray:
    """What imagecodecs makes of a JPEG or JPEG 2000 stream."""
    if data[:2] == b"\xff\xd8":
        return imagecodecs.jpeg8_decode(data)
    return imagecodecs.jpeg2k_decode(data, numthreads=1)


def parsed(data: bytes) -> tuple[str, Codestream]:
    """resload's name of the codec, and the claim."""
    return ("jpeg", parse_jpeg(data)) if data[:2] == b"\xff\xd8" else ("jpeg2k", parse_jpeg2000(data))


class FakePipeline:
    """Stands in for a pipeline of DALI: decodes by imagecodecs, then does to the samples what it is told to.

    Like DALI, one stream that fails makes the whole run fail, and the pipeline is of no use afterwards.
    """

    def __init__(self, spoil: Callable[[np.ndarray], np.ndarray] = lambda samples: samples) -> None:
        self.spoil, self.dead, self.runs = spoil, False, []

    def feed_input(self, name: str, streams: list[np.ndarray]) -> None:
        assert name == "streams"
        self.streams = streams

    def run(self) -> tuple["FakePipeline"]:
        assert not self.dead, "used after it failed"
        self.runs.append(len(self.streams))
        try:
            self.found = [self.spoil(decoded_by_imagecodecs(one.tobytes())) for one in self.streams]
        except Exception as exc:
            self.dead = True
            raise RuntimeError(
                f"Critical error in pipeline:\nFailed to decode a sample: {exc}\nno longer valid"
            ) from exc
        return (self,)

    def at(self, k: int) -> np.ndarray:
        return self.found[k][..., None]

    def __getitem__(self, k: int) -> "FakeOutput":
        return FakeOutput(self.found[k])


class FakeOutput:
    """One image in DALI's memory, which is written again once it was copied."""

    def __init__(self, samples: np.ndarray) -> None:
        self.samples = np.ascontiguousarray(samples)

    def shape(self) -> list[int]:
        return [*self.samples.shape, 1]

    def copy_to_external(self, pointer: ctypes.c_void_p, stream: ctypes.c_void_p, *, non_blocking: bool) -> None:
        assert pointer.value is not None
        ctypes.memmove(pointer.value, self.samples.ctypes.data, self.samples.nbytes)
        self.samples[...] = 7


GPU = torch.device("cpu")
"""Where a GPU's decoder leaves what it decoded."""


def faked(monkeypatch: Any) -> Any:
    """A maker of decoders whose pipelines are FakePipelines: a list of these, with what they do to samples."""

    class Made(list):
        spoil = staticmethod(lambda samples: samples)

        def decoder(self, where=None):
            return dali.Decoder(where, 2)

    made = Made()
    package = ModuleType("nvidia.dali")
    package.__version__ = "0.fake"
    monkeypatch.setitem(sys.modules, "nvidia", ModuleType("nvidia"))
    monkeypatch.setitem(sys.modules, "nvidia.dali", package)

    def pipeline(depth, where, threads):
        made.append(FakePipeline(lambda samples: made.spoil(samples)))  # noqa: PLW0108 - tests change `spoil` later
        return made[-1]

    monkeypatch.setattr(dali, "_pipeline", pipeline)
    return made


def codes(radiograph: Radiograph) -> np.ndarray:
    """The codes of every pixel, wherever the decoder left them."""
    if radiograph.held is None:
        return radiograph.pixels
    assert radiograph.pixels.shape == (1, 256 ** radiograph.held.element_size())
    return radiograph.pixels[0][radiograph.held.numpy()]


def film(bits: int, shape: tuple[int, int] = (120, 96), seed: int = 0) -> np.ndarray:
    """A smooth picture with a little noise, of so many bits."""
    rng = np.random.default_rng(seed)
    base = smooth(bits, shape).astype(np.int64) + rng.integers(-2, 3, shape) + seed
    return base.clip(0, (1 << bits) - 1).astype(np.uint8 if bits <= 8 else np.uint16)


def dicom_of(syntax: str, bits: int, seed: int = 0) -> bytes:
    """A film in a DICOM file of this transfer syntax."""
    return make_dicom(film(bits, seed=seed), syntax, bits=bits)


def progressive(pixels: np.ndarray) -> bytes:
    """A progressive JPEG, by Pillow."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=90, progressive=True)
    return file.getvalue()


LOSSLESS = {
    "JPEG 2000 of 8 bits": lambda seed: dicom_of(J2K, 8, seed),
    "JPEG 2000 of 12 bits": lambda seed: dicom_of(J2K, 12, seed),
    "JPEG 2000 of 16 bits": lambda seed: dicom_of(J2K, 16, seed),
    "HTJ2K of 8 bits": lambda seed: dicom_of(HTJ2K[0], 8, seed),
    "HTJ2K of 16 bits": lambda seed: dicom_of(HTJ2K[1], 16, seed),
    "lossless JPEG of 12 bits": lambda seed: dicom_of(JPEG_70, 12, seed),
    "lossless JPEG of 10 bits, another predictor": lambda seed: dicom_of(JPEG_57, 10, seed),
    "JPEG-LS": lambda seed: dicom_of(JLS, 12, seed),
    "PNG of 16 bits": lambda seed: imagecodecs.png_encode(film(16, seed=seed)),
    "PNG of 8 bits": lambda seed: imagecodecs.png_encode(film(8, seed=seed)),
    "noise, JPEG 2000 of 16 bits": lambda seed: make_dicom(noise((64, 80), 16, seed=seed), J2K),
}
"""Files by what they are; each a function of a seed."""

LOSSY = {
    "JPEG": lambda seed: imagecodecs.jpeg8_encode(film(8, seed=seed), level=90),
    "progressive JPEG": lambda seed: progressive(film(8, seed=seed)),
    "JPEG in DICOM": lambda seed: dicom_of(JPEG, 8, seed),
    "JPEG of 12 bits in DICOM": lambda seed: dicom_of(JPEG_12, 12, seed),
    "JPEG 2000, lossy": lambda seed: dicom_of(J2K_LOSSY, 12, seed),
}
