"""Hugging Face datasets: records as fixed-size arrays of an Arrow file, and PNG files by its Image feature.

From its documentation (Use with PyTorch; Process; Load image data): a map-style Dataset with a format, in a torch
DataLoader whose workers ask for whole batches (`__getitems__`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Array2D, Dataset, Features, Image, load_from_disk
from PIL import Image as Pillow
from worker import Config, Way, files_of, prepared, serve

PACKAGES = ("datasets", "torch", "pillow")
RECIPE = "Hugging Face datasets documentation, Use with PyTorch"


def loader(config: Config, data: Any, collate: Any) -> Any:
    return torch.utils.data.DataLoader(
        data,
        batch_size=config.batch,
        shuffle=True,
        num_workers=config.threads,
        persistent_workers=config.stay,
        collate_fn=collate,
    )


def stored(config: Config) -> Way:
    def write(part: Path) -> None:
        features = Features({"image": Array2D((config.side, config.side), "uint8")})
        scratch = str(part.with_name("scratch"))
        data = Dataset.from_generator(
            records, features=features, gen_kwargs={"path": config.records}, cache_dir=scratch
        )
        data.save_to_disk(part)

    path = prepared(config, f"arrow-{config.side}", write)
    data = load_from_disk(path).with_format("torch", dtype=torch.uint8)
    batches = loader(config, data, None)
    return Way(lambda: (one["image"] for one in batches), PACKAGES, recipe=RECIPE, data=[str(path)])


def records(path: str) -> Iterator[dict[str, np.ndarray]]:
    for image in np.load(path, mmap_mode="r"):
        yield {"image": np.array(image)}


def source(config: Config) -> Way:
    data = Dataset.from_dict({"image": files_of(config)}).cast_column("image", Image())

    def resized(batch: dict[str, list[Any]]) -> dict[str, list[torch.Tensor]]:
        side = (config.side, config.side)
        films = [film.resize(side, Pillow.Resampling.BILINEAR) for film in batch["image"]]
        return {"image": [torch.from_numpy(np.array(film)) for film in films]}

    batches = loader(config, data.with_transform(resized), None)
    whole = "not PNG's CRCs"
    return Way(lambda: (one["image"] for one in batches), PACKAGES, whole, recipe=RECIPE, records="sources resized")


if __name__ == "__main__":
    serve({"stored": stored, "source": source})
