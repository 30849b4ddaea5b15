"""What runs a recipe: which decoder of compressed streams, and where films are resized.

    decode="cpu"    imagecodecs, on the threads that make films
    decode="dali"   NVIDIA DALI decodes the streams that it reads correctly, imagecodecs all others
    device="cpu"    `resampling`                    device="cuda"   `device.pyramid`: the same resizes there

Neither changes what a film's pixels mean, so neither is a part of the recipe; who decoded a film is recorded with it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch

from resload.decode.others import Other
from resload.devices import usable_device
from resload.errors import ArgumentError

if TYPE_CHECKING:
    from resload.pipeline.dali import Gathering
    from resload.pipeline.once import Once

DECODERS = ("cpu", "dali")
_WAITING = 4
"""Threads beside those that compute, where a GPU decodes: while one waits for it, others read, and one resizes."""
_TOGETHER = 16
"""Films that a thread gives to a GPU's decoder at a time."""


class Engine(NamedTuple):
    """The choices for one run. Shared by all of its threads."""

    device: torch.device | None = None
    """Where films go through their table and are resized; None: on the CPU, by its own engines."""
    other: Other | None = None
    """Decodes streams in the place of imagecodecs."""
    waiting: int = 0
    """Threads to have beside those that compute: they wait for the decoder."""
    decoders: tuple[str, ...] = ()
    """What may have decoded a film beside imagecodecs, with versions."""
    together: int = 1
    """Films that one thread best makes at a time (`together.made_together`)."""
    gathering: "Callable[[], Gathering] | None" = None
    """A decoder that puts off what `other` takes, for them."""
    once: "Once | None" = None
    """Decodes films, by imagecodecs, for several builds that run beside each other."""


CPU = Engine()


def check_names(decode: str, device: object) -> None:
    """Refuse what no machine has. Raises ArgumentError."""
    if decode not in DECODERS:
        raise ArgumentError(f"decode must be one of {', '.join(DECODERS)}; found {decode!r}")
    try:
        kind = torch.device(device).type  # type: ignore[call-overload]  # what else it may be is an error
    except (RuntimeError, TypeError) as exc:
        raise ArgumentError(f"device={device!r}: not a device that torch knows") from exc
    if kind not in ("cpu", "cuda"):
        raise ArgumentError(f"films are made on the CPU or on a CUDA device; found device={str(device)!r}")


def engine_of(decode: str, device: str | torch.device, threads: int) -> Engine:
    """The engine that is asked for. The decoder of DALI is kept for the process: making one takes a second on a GPU.

    Raises ArgumentError for another decoder or a device that is not there, MissingPackageError without DALI.
    """
    check_names(decode, device)
    found = usable_device(device)
    there = None if found.type == "cpu" else found
    if decode == "cpu":
        return Engine(there)
    from resload.pipeline.dali import decoder

    other = decoder(there, threads)
    if there is None:
        return Engine(None, other, threads, other.names)
    return Engine(there, other, _WAITING, other.names, _TOGETHER, other.gathering)
