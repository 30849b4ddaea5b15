"""MosaicML Streaming: MDS shards on the local disk, in its StreamingDataset and StreamingDataLoader.

It imports torchvision when it is imported, for data sets of its own that nothing here uses; torchvision fits only one
build of torch. An empty stand-in with the names that it asks for takes its place.
"""

import sys
import types
from pathlib import Path

import numpy as np
from worker import Config, Way, prepared, serve


def stand_in() -> None:
    """The modules of torchvision, as far as `import streaming` asks for names of them."""
    modules = {
        name: types.ModuleType(name)
        for name in (
            "torchvision",
            "torchvision.datasets",
            "torchvision.transforms",
            "torchvision.transforms.functional",
        )
    }
    modules["torchvision.datasets"].VisionDataset = object  # type: ignore[attr-defined]
    modules["torchvision.transforms.functional"].to_tensor = None  # type: ignore[attr-defined]
    sys.modules.update(modules)


def stored(config: Config) -> Way:
    import transformers.utils  # noqa: F401  # looks whether torchvision is there, and must not find the stand-in

    stand_in()
    from streaming import MDSWriter, StreamingDataLoader, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    def write(part: Path) -> None:
        columns = {"image": f"ndarray:uint8:{config.side},{config.side}"}
        with MDSWriter(out=str(part), columns=columns, size_limit="64mb") as out:
            for image in np.load(config.records, mmap_mode="r"):
                out.write({"image": np.array(image)})

    path = prepared(config, f"mds-{config.side}", write)
    clean_stale_shared_memory()
    data = StreamingDataset(local=str(path), shuffle=True, batch_size=config.batch)
    loader = StreamingDataLoader(
        data, batch_size=config.batch, num_workers=config.threads, persistent_workers=config.stay
    )
    return Way(
        lambda: (batch["image"] for batch in loader),
        ("mosaicml-streaming", "torch"),
        recipe="MosaicML Streaming documentation, Quick Start",
        data=[str(path)],
    )


if __name__ == "__main__":
    serve({"stored": stored})
