"""What runs a recipe: which decoder of compressed streams, and where films are resized.

    decode="cpu"    imagecodecs, on the threads that make films
    decode="dali"   NVIDIA DALI decodes the streams that it reads correctly, imagecodecs all others
    device="cpu"    `resampling`                    device="cuda"   `device.pyramid`: the same resizes there

Neither changes what a film's pixels mean, so neither is a part of the recipe; who decoded a film is recorded with it.
"""

from typing import NamedTuple

import torch

from resload.decode.others import Other
from resload.devices import usable_device
from resload.errors import ArgumentError

DECODERS = ("cpu", "dali")
_WAITING = 32
"""Films that wait for a GPU's decoder together, beside those that are made on the cores: a batch for it."""


class Engine(NamedTuple):
    """The choices for one run. Shared by all of its threads."""

    device: torch.device | None = None
    """Where films go through their table and are resized; None: on the CPU, by its own engines."""
    other: Other | None = None
    """Decodes streams in the place of imagecodecs."""
    waiting: int = 0
    """Threads to have beside those that compute: they wait for the decoder, which takes many streams at once."""
    decoders: tuple[str, ...] = ()
    """What may have decoded a film beside imagecodecs, with versions."""


CPU = Engine()


def engine_of(decode: str, device: str | torch.device, threads: int) -> Engine:
    """The engine that is asked for. The decoder of DALI is kept for the process: making one takes a second on a GPU.

    Raises ArgumentError for another decoder or a device that is not there, MissingPackageError without DALI.
    """
    if decode not in DECODERS:
        raise ArgumentError(f"decode must be one of {', '.join(DECODERS)}; found {decode!r}")
    found = usable_device(device)
    if found.type not in ("cpu", "cuda"):
        raise ArgumentError(f"films are made on the CPU or on a CUDA device; found device={str(found)!r}")
    there = None if found.type == "cpu" else found
    if decode == "cpu":
        return Engine(there)
    from resload.pipeline.dali import decoder

    other = decoder(there, threads)
    return Engine(there, other, threads if there is None else _WAITING, other.names)
