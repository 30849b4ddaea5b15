"""SPDL: its thread pipeline, over PNG files with its own decoder, and over the memory map with numpy.

From its documentation (Getting started; Performance tuning): a PipelineBuilder, stages with `concurrency` threads, a
sink with a buffer of a few batches. `load_image_batch` decodes, resizes and gathers a batch in FFmpeg's code.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import spdl.io
import torch
from spdl.pipeline import PipelineBuilder
from worker import Config, Way, files_of, serve

AHEAD = 3
"""Batches that wait in the sink."""
RECIPE = "SPDL documentation, Getting started"


def epochs(config: Config, made: Callable[[np.ndarray], torch.Tensor]) -> Callable[[], Iterator[torch.Tensor]]:
    """A pipeline for each epoch: shuffled indices, batches made on so many threads."""
    rng = np.random.default_rng(0)

    def orders() -> Iterable[np.ndarray]:
        order = rng.permutation(config.count)
        return [order[at : at + config.batch] for at in range(0, config.count, config.batch)]

    def epoch() -> Iterator[torch.Tensor]:
        builder: Any = PipelineBuilder().add_source(orders()).pipe(made, concurrency=config.threads)
        with (pipeline := builder.add_sink(AHEAD).build(num_threads=config.threads)).auto_stop():
            yield from pipeline

    return epoch


def mapped(config: Config) -> Way:
    """Batches gathered by numpy.take, and normalised by torch, in its threads."""
    records = np.load(config.records, mmap_mode="r")
    mean, std = config.normalize

    def made(rows: np.ndarray) -> torch.Tensor:
        images = torch.from_numpy(np.take(records, rows, axis=0))
        if config.dtype == "uint8":
            return images
        return images.float().mul_(1 / (255 * std)).sub_(mean / std)

    torch.set_num_threads(1)  # its threads are the parallel ones
    return Way(epochs(config, made), ("spdl", "torch"), recipe=RECIPE, data=[config.records])


def source(config: Config) -> Way:
    files = files_of(config)

    def made(rows: np.ndarray) -> torch.Tensor:
        batch = [files[row] for row in rows]
        frames = spdl.io.load_image_batch(batch, width=config.side, height=config.side, pix_fmt="gray")
        return spdl.io.to_torch(frames)

    epoch = epochs(config, made)
    return Way(epoch, ("spdl", "torch"), "the file's own checks", recipe=RECIPE, records="sources resized")


if __name__ == "__main__":
    serve({"mapped": mapped, "source": source})
