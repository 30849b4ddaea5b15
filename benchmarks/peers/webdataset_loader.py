"""WebDataset: tar files of raw records, or of PNG files, batched in the workers and loaded by its WebLoader.

From its documentation: shards are shuffled, then samples within a buffer (.shuffle), batches are made in the workers
(.batched) and the WebLoader takes them as they are (batch_size=None). It cannot shuffle the whole set, which makes its
work lighter. Raw bytes spare it the parsing of .npy files.
"""

import io
from collections.abc import Iterable
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


def loader(config: Config, folder: Path, made: Any, way: dict[str, Any]) -> Way:
    shards = sorted(map(str, folder.glob("*.tar")))
    data = wds.WebDataset(shards, shardshuffle=len(shards)).shuffle(BUFFER).map(made)
    data = data.batched(config.batch, collation_fn=torch.stack)
    batches = wds.WebLoader(data, batch_size=None, num_workers=config.threads, persistent_workers=config.stay)
    recipe = "WebDataset documentation (shuffle, batched, WebLoader)"
    return Way(lambda: batches, ("webdataset", "torch"), recipe=recipe, data=[str(folder)], **way)


def stored(config: Config) -> Way:
    images = np.load(config.records, mmap_mode="r")
    samples = ({"__key__": f"{index:08d}", "pixels": image.tobytes()} for index, image in enumerate(images))
    folder = written(config, f"raw-{config.side}", samples)

    def made(sample: dict[str, Any]) -> torch.Tensor:
        pixels = torch.frombuffer(bytearray(sample["pixels"]), dtype=torch.uint8)
        return pixels.view(config.side, config.side)

    return loader(config, folder, made, {})


def source(config: Config) -> Way:
    """The PNG files in tar files, decoded and resized by Pillow."""
    samples = ({"__key__": Path(path).stem, "png": Path(path).read_bytes()} for path in files_of(config))
    folder = written(config, "png", samples)

    def made(sample: dict[str, Any]) -> torch.Tensor:
        with Image.open(io.BytesIO(sample["png"])) as film:
            resized = film.resize((config.side, config.side), Image.Resampling.BILINEAR)
            return torch.from_numpy(np.array(resized))

    return loader(config, folder, made, {"records": "sources resized", "verifies": "not PNG's CRCs"})


if __name__ == "__main__":
    serve({"stored": stored, "source": source})
