"""SPDL: its thread pipeline, over PNG files with its own decoder, and over the memory map with numpy.

From its documentation (Getting started; Performance tuning): a PipelineBuilder, stages with `concurrency` threads, a
sink with a buffer of a few batches. FFmpeg decodes and resizes in its threads.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import spdl.io
import torch
from spdl.pipeline import PipelineBuilder
from worker import Config, Way, files_of, serve

AHEAD = 3
"""Batches that wait in the sink."""
RECIPE = "SPDL documentation, Getting started"


def epochs(config: Config, stages: Callable[[Any, np.ndarray], Any]) -> Callable[[], Iterator[torch.Tensor]]:
    """A pipeline for each epoch: `stages` builds it from the shuffled order, the sink holds batches."""
    rng = np.random.default_rng(0)

    def epoch() -> Iterator[torch.Tensor]:
        builder = stages(PipelineBuilder(), rng.permutation(config.count)).add_sink(AHEAD)
        with (pipeline := builder.build(num_threads=config.threads)).auto_stop():
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

    def stages(builder: Any, order: np.ndarray) -> Any:
        batches = [order[at : at + config.batch] for at in range(0, config.count, config.batch)]
        return builder.add_source(batches).pipe(made, concurrency=config.threads)

    torch.set_num_threads(1)  # its threads are the parallel ones
    return Way(epochs(config, stages), ("spdl", "torch"), recipe=RECIPE, data=[config.records])


def source(config: Config) -> Way:
    """Each file decoded and resized by FFmpeg in a thread; batches copied together in another stage."""
    files = files_of(config)

    def decoded(row: int) -> Any:
        packets = spdl.io.demux_image(files[row])
        scale = spdl.io.get_filter_desc(packets, scale_width=config.side, scale_height=config.side, pix_fmt="gray")
        return spdl.io.decode_packets(packets, filter_desc=scale)

    def together(frames: list[Any]) -> torch.Tensor:
        return spdl.io.to_torch(spdl.io.convert_frames(frames))

    def stages(builder: Any, order: np.ndarray) -> Any:
        builder = builder.add_source(order.tolist()).pipe(decoded, concurrency=config.threads)
        return builder.aggregate(config.batch).pipe(together)

    together([decoded(0)])  # what goes wrong in a stage is logged and left out there; here it is said
    epoch = epochs(config, stages)
    return Way(epoch, ("spdl", "torch"), "not PNG's CRCs", recipe=RECIPE, records="sources resized")


if __name__ == "__main__":
    serve({"mapped": mapped, "source": source})
