"""resload's Loader: stored, normalised, by memory map, without its checks, from files, and inside a DataLoader."""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from worker import Config, Unavailable, Way, files_of, serve

import resload
from resload.store import gather

VERIFIED = "crc32c of every record"
PACKAGES = ("resload", "torch")
README = "README of this project"


def stored(config: Config, access: str = "pread") -> Way:
    """The Loader, as the README uses it."""
    cache = resload.open_cache(config.cache, access=access)
    loader = resload.Loader(
        cache, size=config.side, batch_size=config.batch, shuffle=True, threads=config.threads, **asked(config)
    )
    return Way(lambda: images(loader), PACKAGES, VERIFIED, recipe=README, data=[config.cache])


def asked(config: Config) -> dict[str, Any]:
    """Stored values, or normalised floats."""
    return {"dtype": torch.uint8} if config.dtype == "uint8" else {"normalize": config.normalize}


def images(loader: Iterable[Any]) -> Iterator[Any]:
    for batch in loader:
        yield batch.images


def unverified(config: Config) -> Way:
    """What checking costs: the same with the check left out, which no user can ask for."""
    if not hasattr(gather.Level, "_verify"):
        raise Unavailable("the check is not a step of its own in this version, so it cannot be left out")
    gather.Level._verify = lambda self, rows, slot, start: None  # type: ignore[attr-defined]
    way = stored(config)
    way.verifies = "no (its checks are taken out)"
    return way


def dataset(config: Config, workers: int) -> Way:
    """`torch_dataset` in a torch DataLoader."""
    data = resload.torch_dataset(resload.open_cache(config.cache), size=config.side, dtype=torch.uint8)
    loader = torch.utils.data.DataLoader(
        data, batch_size=config.batch, shuffle=True, num_workers=workers, persistent_workers=config.stay and workers > 0
    )
    return Way(lambda: (pixels for pixels, _ in loader), PACKAGES, VERIFIED, recipe=README, data=[config.cache])


def source(config: Config) -> Way:
    """Files decoded and resized as they are asked for, by the recipe that a build would use."""
    files = files_of(config)
    table = pd.DataFrame({"id": [Path(path).stem for path in files], "path": files, "bits": 8})
    loader = resload.Loader(
        resload.Catalog(table),
        pipeline=resload.Pipeline(config.side),
        size=config.side,
        batch_size=config.batch,
        shuffle=True,
        threads=config.threads,
        dtype=torch.uint8,
    )
    packages = (*PACKAGES, "imagecodecs")
    return Way(lambda: images(loader), packages, "PNG's CRCs", recipe=README, records="sources resized")


if __name__ == "__main__":
    serve(
        {
            "stored": stored,
            "memory": functools.partial(stored, access="memory"),
            "mmap": functools.partial(stored, access="mmap"),
            "unverified": unverified,
            "dataset": functools.partial(dataset, workers=0),
            "dataset workers": lambda config: dataset(config, config.threads),
            "source": source,
        }
    )
