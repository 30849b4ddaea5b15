"""WebDataset: tar files of raw records, or of PNG files, batched in the workers and loaded by its WebLoader.

From its documentation: shards are shuffled, then samples within a buffer (.shuffle), batches are made in the workers
(.batched) and the WebLoader takes them as they are (batch_size=None). It cannot shuffle the whole set, which makes its
work lighter. Raw bytes spare it the parsing of .npy files, and a batch of them is one join.
"""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds
from PIL import Image
from worker import Config, Way, files_of, prepared, serve

SHARDS = 16
BUFFER = 1000
"""Samples: its documentation's number."""


def written(config: Config, name: str, samples: Iterable[dict[str, Any]]) -> Path:
    def write(part: Path) -> None:
        part.mkdir()
        per_shard = -(-config.count // SHARDS)
        with wds.ShardWriter(str(part / "%06d.tar"), maxcount=per_shard, verbose=0) as sink:
            for sample in samples:
                sink.write(sample)

    return prepared(config, name, write)


def loader(config: Config, folder: Path, collate: Callable[[list[Any]], torch.Tensor], **way: Any) -> Way:
    """Batches of samples, made tensors by `collate` in the workers."""
    shards = sorted(map(str, folder.glob("*.tar")))
    data = wds.WebDataset(shards, shardshuffle=len(shards)).shuffle(BUFFER).batched(config.batch, collation_fn=collate)
    batches = wds.WebLoader(data, batch_size=None, num_workers=config.threads, persistent_workers=config.stay)
    recipe = "WebDataset documentation (shuffle, batched, WebLoader)"
    return Way(lambda: batches, ("webdataset", "torch"), recipe=recipe, data=[str(folder)], **way)


def stored(config: Config) -> Way:
    """A batch is one join of bytes."""
    images = np.load(config.records, mmap_mode="r")
    samples = ({"__key__": f"{index:08d}", "pixels": image.tobytes()} for index, image in enumerate(images))
    folder = written(config, f"raw-{config.side}", samples)

    def joined(batch: list[dict[str, Any]]) -> torch.Tensor:
        pixels = bytearray().join(sample["pixels"] for sample in batch)
        return torch.frombuffer(pixels, dtype=torch.uint8).view(-1, config.side, config.side)

    return loader(config, folder, joined)


def source(config: Config) -> Way:
    """The PNG files in tar files, decoded and resized by Pillow."""
    samples = ({"__key__": Path(path).stem, "png": Path(path).read_bytes()} for path in files_of(config))
    folder = written(config, "png", samples)

    def resized(sample: dict[str, Any]) -> torch.Tensor:
        with Image.open(io.BytesIO(sample["png"])) as film:
            return torch.from_numpy(np.array(film.resize((config.side, config.side), Image.Resampling.BILINEAR)))

    def stacked(batch: list[dict[str, Any]]) -> torch.Tensor:
        return torch.stack([resized(sample) for sample in batch])

    return loader(config, folder, stacked, records="sources resized", verifies="not PNG's CRCs")


if __name__ == "__main__":
    serve({"stored": stored, "source": source})
