"""MONAI: CacheDataset (everything in memory) and PersistentDataset (everything as files of its own).

From its documentation (Fast model training guide; API, Data): a CacheDataset holds what its deterministic transforms
gave, so a ThreadDataLoader without worker processes is what its guide advises for it; a PersistentDataset reads a file
for each item, in workers.
"""

from pathlib import Path

import monai
import numpy as np
import torch
from monai.data import CacheDataset, PersistentDataset, ThreadDataLoader
from monai.transforms import Compose, ScaleIntensityRange, ToTensor
from worker import Config, Way, serve

PACKAGES = ("monai", "torch")
GUIDE = "MONAI documentation, Fast model training guide"


class FromRecords(monai.transforms.Transform):
    """An index -> a record (1, side, side) of the memory map."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, index: int) -> np.ndarray:
        """Read it; MONAI caches what this gives."""
        return np.array(np.load(self.path, mmap_mode="r")[index])[None]


def steps(config: Config) -> Compose:
    load = FromRecords(config.records)
    if config.dtype == "uint8":
        return Compose([load, ToTensor(dtype=torch.uint8, track_meta=False)])
    mean, std = config.normalize
    scale = ScaleIntensityRange(a_min=0, a_max=255, b_min=-mean / std, b_max=(1 - mean) / std)
    return Compose([load, scale, ToTensor(dtype=torch.float32, track_meta=False)])


def in_memory(config: Config) -> Way:
    data = CacheDataset(range(config.count), steps(config), cache_rate=1.0, num_workers=config.threads, progress=False)
    loader = ThreadDataLoader(data, batch_size=config.batch, shuffle=True, num_workers=0)
    return Way(lambda: loader, PACKAGES, recipe=GUIDE)


def on_disk(config: Config) -> Way:
    folder = Path(config.work) / f"persistent-{config.side}-{config.dtype}"
    data = PersistentDataset(range(config.count), steps(config), cache_dir=folder)
    loader = monai.data.DataLoader(
        data, batch_size=config.batch, shuffle=True, num_workers=config.threads, persistent_workers=config.stay
    )
    return Way(lambda: loader, PACKAGES, recipe=GUIDE, data=[str(folder)])


if __name__ == "__main__":
    serve({"in memory": in_memory, "on disk": on_disk})
