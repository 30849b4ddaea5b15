"""LitData: optimized chunks, read by its StreamingDataset and StreamingDataLoader with workers.

From its README ("Speed up model training"): `optimize` writes chunks of 64 MB, the loader shuffles and batches them.
The chunks are local, so nothing is downloaded or copied.
"""

import functools
from pathlib import Path

import numpy as np
import torch
from litdata import StreamingDataLoader, StreamingDataset, optimize
from worker import Config, Way, prepared, serve


def record(index: int, path: str) -> torch.Tensor:
    """One record, as LitData stores it."""
    return torch.from_numpy(np.array(np.load(path, mmap_mode="r")[index]))


def stored(config: Config) -> Way:
    def write(part: Path) -> None:
        optimize(
            functools.partial(record, path=config.records),
            list(range(config.count)),
            output_dir=str(part),
            chunk_bytes="64MB",
            num_workers=config.threads,
        )

    path = prepared(config, f"chunks-{config.side}", write)
    loader = StreamingDataLoader(
        StreamingDataset(str(path), shuffle=True),
        batch_size=config.batch,
        num_workers=config.threads,
        persistent_workers=config.stay,
    )
    return Way(lambda: loader, ("litdata", "torch"), recipe="LitData README", data=[str(path)])


if __name__ == "__main__":
    serve({"stored": stored})
