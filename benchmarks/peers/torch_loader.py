"""torch's DataLoader, as people write it: over a memory map, over PNG files of the right size, over large PNG files.

Workers stay from one epoch to the next (persistent_workers=True), so that no epoch pays for starting them.
"""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from worker import Config, Way, files_of, serve

RECIPE = "torch.utils.data, PyTorch documentation"


class Mapped(torch.utils.data.Dataset):
    """Record by record out of a memory map, as most people write it."""

    def __init__(self, path: str, normalize: tuple[float, float] | None = None) -> None:
        self.mapped = np.load(path, mmap_mode="r")
        self.normalize = normalize

    def __len__(self) -> int:
        return len(self.mapped)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.made(np.array(self.mapped[index]))

    def made(self, pixels: np.ndarray) -> torch.Tensor:
        """One record or many, as the model gets them: one multiplication and one addition in place."""
        tensor = torch.from_numpy(pixels)
        if self.normalize is None:
            return tensor
        mean, std = self.normalize
        return tensor.float().mul_(1 / (255 * std)).sub_(mean / std)


class MappedBatches(Mapped):
    """Whole batches out of a memory map: the fastest that a DataLoader does."""

    def __getitems__(self, indices: list[int]) -> torch.Tensor:
        return self.made(self.mapped[indices])


class Files(torch.utils.data.Dataset):
    """PNG files, decoded by Pillow, and resized by it when they have another size."""

    def __init__(self, files: list[str], side: int) -> None:
        self.files, self.side = files, side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as film:
            if film.size != (self.side, self.side):
                film = film.resize((self.side, self.side), Image.Resampling.BILINEAR)
            return torch.from_numpy(np.array(film))


def loader(config: Config, data: torch.utils.data.Dataset, workers: int, **options: Any) -> Iterator[torch.Tensor]:
    return torch.utils.data.DataLoader(
        data,
        batch_size=config.batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=config.stay and workers > 0,
        **options,
    )


def mapped(config: Config, workers: int | None) -> Way:
    """One record after another, collated by the DataLoader."""
    batches = loader(config, Mapped(config.records, asked(config)), config.threads if workers is None else workers)
    return Way(lambda: batches, ("torch",), recipe=RECIPE, data=[config.records])


def batched(config: Config, workers: int | None) -> Way:
    """Whole batches by __getitems__."""
    data = MappedBatches(config.records, asked(config))
    batches = loader(config, data, config.threads if workers is None else workers, collate_fn=as_it_is)
    return Way(lambda: batches, ("torch",), recipe=RECIPE, data=[config.records])


def asked(config: Config) -> tuple[float, float] | None:
    return config.normalize if config.dtype == "float32" else None


def as_it_is(batch: torch.Tensor) -> torch.Tensor:
    return batch


def files(config: Config, records: str) -> Way:
    """PNG files in worker processes."""
    batches = loader(config, Files(files_of(config), config.side), config.threads)
    packages = ("torch", "pillow")
    return Way(lambda: batches, packages, "not PNG's CRCs", recipe=RECIPE, records=records, data=[config.files])


if __name__ == "__main__":
    serve(
        {
            "mapped": functools.partial(mapped, workers=0),
            "mapped workers": functools.partial(mapped, workers=None),
            "batched": functools.partial(batched, workers=0),
            "batched workers": functools.partial(batched, workers=None),
            "files": functools.partial(files, records="records"),
            "source": functools.partial(files, records="sources resized"),
        }
    )
