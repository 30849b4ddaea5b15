"""NVIDIA DALI on the CPU: its file reader, decoder and antialiased resize; and records by its external source.

From its documentation (Image Decoder examples; External Source; Running DALI without a GPU): device_id=None makes a
pipeline that needs no driver, num_threads are the CPU threads, and two batches are prefetched, its default.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from nvidia.dali import fn, pipeline_def, types
from worker import Config, Way, files_of, serve

AHEAD = 2
"""Batches, its default."""
PACKAGES = ("nvidia-dali-cuda130", "torch")
RECIPE = "DALI documentation (Image Decoder, External Source)"


def epochs(config: Config, graph: Callable[[], Any]) -> Callable[[], Iterator[torch.Tensor]]:
    """The pipeline run through an epoch, again and again; what it lends is copied into a tensor that stays.

    Runs are scheduled one by one, so that nothing of an epoch is made before it begins: with `pipe.run()` two batches
    of the next one would be waiting when the clock starts.
    """
    batches = -(-config.count // config.batch)
    ahead = min(AHEAD, batches)
    pipe = pipeline_def(graph)(
        batch_size=config.batch, num_threads=config.threads, device_id=None, prefetch_queue_depth=ahead
    )
    pipe.build()
    begins = [ahead]  # the first call of schedule_run fills the queue

    def epoch() -> Iterator[torch.Tensor]:
        scheduled = 0
        for number in range(batches):
            while scheduled < min(number + ahead, batches):
                pipe.schedule_run()
                scheduled += begins.pop() if begins else 1
            (images,) = pipe.share_outputs()
            batch = torch.from_numpy(np.array(images.as_tensor()))
            pipe.release_outputs()
            yield batch[: config.count - number * config.batch]

    return epoch


def source(config: Config) -> Way:
    files = files_of(config)

    def graph() -> Any:
        encoded, _ = fn.readers.file(files=files, random_shuffle=True, initial_fill=len(files), name="files")
        films = fn.decoders.image(encoded, device="cpu", output_type=types.GRAY)
        return fn.resize(films, size=[config.side, config.side], interp_type=types.INTERP_LINEAR, antialias=True)

    whole = "PNG's CRCs"
    return Way(epochs(config, graph), PACKAGES, whole, recipe=RECIPE, records="sources resized")


def records(config: Config) -> Way:
    """Shuffled batches from the memory map by an external source; normalised in its own threads."""
    images = np.load(config.records, mmap_mode="r")
    rng = np.random.default_rng(0)
    mean, std = config.normalize

    def batches() -> Iterator[np.ndarray]:
        while True:
            order = rng.permutation(config.count)
            for at in range(0, config.count, config.batch):
                yield np.take(images, order[at : at + config.batch], axis=0)[..., None]

    def graph() -> Any:
        stored = fn.external_source(source=batches(), batch=True, layout="HWC")
        if config.dtype == "uint8":
            return stored
        return fn.crop_mirror_normalize(
            stored, dtype=types.FLOAT, output_layout="CHW", mean=[255 * mean], std=[255 * std]
        )

    return Way(epochs(config, graph), PACKAGES, recipe=RECIPE, data=[config.records])


if __name__ == "__main__":
    serve({"source": source, "records": records})
