"""FFCV: records of an NDArrayField, as its documentation's performance guide advises.

OrderOption.RANDOM with os_cache=True is its advice for data that fit into memory, RandomAccess with the operating
system's cache. A batch is a view of its ring of buffers (batches_ahead + 2 of them).

Floats: its NormalizeImage handles three channels only (ffcv/transforms/normalize.py reshapes to them), so gray
records are normalised by a transform of our own, written as its page on custom transforms shows and as NormalizeImage
works: a table of 256 floats, looked up in compiled code on all threads. Its other way, ToTensor and Convert and
torch's arithmetic, stands beside it.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ffcv.fields import NDArrayField
from ffcv.fields.ndarray import NDArrayDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.transforms import Convert, ModuleWrapper, ToTensor
from ffcv.writer import DatasetWriter
from worker import Config, Way, prepared, serve

RECIPE = "FFCV documentation, Performance Guide and Custom transforms"


class Indexed:
    """The records as its writer takes them."""

    def __init__(self, path: str) -> None:
        self.images = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        return (np.array(self.images[index]),)


class NormalizeGray(Operation):
    """ffcv.transforms.NormalizeImage for one channel."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.table = ((np.arange(256) / 255 - mean) / std).astype(np.float32)

    def generate_code(self) -> Callable[..., Any]:
        """What is compiled: rows of bytes -> rows of floats."""
        table = self.table
        my_range = Compiler.get_iterator()

        def normalize(images, result, indices):
            flat = result.reshape(result.shape[0], -1)
            for i in my_range(len(indices)):
                image = images[i].reshape(-1)
                for pixel in range(image.shape[0]):
                    flat[i, pixel] = table[image[pixel]]
            return result[: len(indices)]

        normalize.is_parallel = True
        normalize.with_indices = True
        return normalize

    def declare_state_and_memory(self, previous_state: Any) -> Any:
        """Floats of the same shape, in memory of the loader."""
        state = replace(previous_state, jit_mode=True, dtype=np.dtype("float32"))
        return state, AllocationQuery(previous_state.shape, np.dtype("float32"))


class Normalize(torch.nn.Module):
    """The same by torch."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """In place."""
        return images.mul_(1 / (255 * self.std)).sub_(self.mean / self.std)


def with_steps(config: Config, *steps: Any) -> Way:
    def write(part: Path) -> None:
        field = NDArrayField(np.dtype("uint8"), (config.side, config.side))
        writer = DatasetWriter(str(part), {"image": field}, num_workers=config.threads)
        writer.from_indexed_dataset(Indexed(config.records))

    path = prepared(config, f"images-{config.side}.beton", write)
    loader = Loader(
        str(path),
        batch_size=config.batch,
        num_workers=config.threads,
        order=OrderOption.RANDOM,
        os_cache=True,
        pipelines={"image": [NDArrayDecoder(), *steps]},
    )
    ring = "no: a ring of buffers is re-used"
    return Way(lambda: (images for (images,) in loader), ("ffcv",), owns=ring, recipe=RECIPE, data=[str(path)])


if __name__ == "__main__":
    serve(
        {
            "stored": lambda config: with_steps(config, ToTensor()),
            "floats": lambda config: with_steps(config, NormalizeGray(*config.normalize), ToTensor()),
            "floats torch": lambda config: with_steps(
                config, ToTensor(), Convert(torch.float32), ModuleWrapper(Normalize(*config.normalize))
            ),
        }
    )
