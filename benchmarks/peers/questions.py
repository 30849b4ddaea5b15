"""What is asked of the loaders, and who answers it in which way.

Every question: the same records, shuffled anew each epoch, batches of 64, two threads or workers, CPU tensors out.
"""

from dataclasses import dataclass

OURS = "resload"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a table: a way that a worker script knows."""

    label: str
    script: str
    way: str
    peer: str = ""
    """Whose environment it needs; our own when empty."""


@dataclass(frozen=True, slots=True)
class Question:
    """One table."""

    title: str
    side: int
    dtype: str
    entries: tuple[Entry, ...]
    """The first one is ours: ratios are to it."""
    source: bool = False
    """From 1024 px PNG files instead of the records."""
    cold: bool = False
    """Each epoch begins without a page of the data in the page cache."""


LOADER = Entry(OURS, "ours.py", "stored")
UNVERIFIED = Entry("resload, checks taken out", "ours.py", "unverified")
MMAP = Entry('resload, access="mmap"', "ours.py", "mmap")
MEMORY = Entry('resload, access="memory"', "ours.py", "memory")
MAPPED = Entry("DataLoader, memory map, 0 workers", "torch_loader.py", "mapped")
BATCHED = Entry("DataLoader, memory map by batch, 0 workers", "torch_loader.py", "batched")
MAPPED_WORKERS = Entry("DataLoader, memory map, 2 workers", "torch_loader.py", "mapped workers")
BATCHED_WORKERS = Entry("DataLoader, memory map by batch, 2 workers", "torch_loader.py", "batched workers")
FFCV = Entry("FFCV", "ffcv_loader.py", "stored", "ffcv")
LITDATA = Entry("LitData", "litdata_loader.py", "stored", "litdata")
WEBDATASET = Entry("WebDataset", "webdataset_loader.py", "stored", "webdataset")
SPDL = Entry("SPDL, memory map", "spdl_loader.py", "mapped", "spdl")
DALI = Entry("DALI CPU, external source", "dali_loader.py", "records", "dali")
MONAI = Entry("MONAI CacheDataset", "monai_loader.py", "in memory", "monai")
TAKE = Entry("ceiling: two-thread take, one buffer", "ceilings.py", "take")
TAKE_FOUR = Entry("ceiling: two-thread take, four buffers", "ceilings.py", "take four")

QUESTIONS = {
    "stored256": Question(
        "256 x 256 uint8, as stored",
        256,
        "uint8",
        (
            LOADER,
            UNVERIFIED,
            MEMORY,
            MMAP,
            Entry("resload torch_dataset, DataLoader, 0 workers", "ours.py", "dataset"),
            Entry("resload torch_dataset, DataLoader, 2 workers", "ours.py", "dataset workers"),
            FFCV,
            MAPPED,
            BATCHED,
            MAPPED_WORKERS,
            BATCHED_WORKERS,
            SPDL,
            DALI,
            MONAI,
            Entry("MONAI PersistentDataset", "monai_loader.py", "on disk", "monai"),
            LITDATA,
            WEBDATASET,
            Entry("MosaicML Streaming", "streaming_loader.py", "stored", "streaming"),
            Entry("Hugging Face datasets", "huggingface_loader.py", "stored", "huggingface"),
            Entry("DataLoader, folder of 256 px PNG, 2 workers", "torch_loader.py", "files"),
            TAKE,
            TAKE_FOUR,
        ),
    ),
    "stored64": Question(
        "64 x 64 uint8, as stored",
        64,
        "uint8",
        (LOADER, UNVERIFIED, MMAP, FFCV, MAPPED, BATCHED, BATCHED_WORKERS, SPDL, TAKE, TAKE_FOUR),
    ),
    "float256": Question(
        "256 x 256 float32, normalised by (mean, std)",
        256,
        "float32",
        (
            LOADER,
            UNVERIFIED,
            MEMORY,
            MMAP,
            Entry("FFCV, table in compiled code", "ffcv_loader.py", "floats", "ffcv"),
            Entry("FFCV, Convert and torch's arithmetic", "ffcv_loader.py", "floats torch", "ffcv"),
            MAPPED,
            BATCHED,
            BATCHED_WORKERS,
            SPDL,
            DALI,
            MONAI,
            Entry("ceiling: two-thread float32 write, one buffer", "ceilings.py", "write"),
            Entry("ceiling: two-thread float32 write, four buffers", "ceilings.py", "write four"),
        ),
    ),
    "source256": Question(
        "1024 x 1024 gray PNG files -> 256 x 256 uint8",
        256,
        "uint8",
        (
            Entry(OURS, "ours.py", "source"),
            Entry("DataLoader + Pillow, 2 workers", "torch_loader.py", "source"),
            Entry("DALI CPU", "dali_loader.py", "source", "dali"),
            Entry("SPDL", "spdl_loader.py", "source", "spdl"),
            Entry("Hugging Face datasets, 2 workers", "huggingface_loader.py", "source", "huggingface"),
            Entry("WebDataset of PNG, 2 workers", "webdataset_loader.py", "source", "webdataset"),
            Entry("imagecodecs, decoding alone", "imagecodecs_alone.py", "decode"),
        ),
        source=True,
    ),
    "cold256": Question(
        "256 x 256 uint8, as stored, page cache cold",
        256,
        "uint8",
        (LOADER, MMAP, MAPPED, BATCHED, FFCV, LITDATA, WEBDATASET),
        cold=True,
    ),
}
