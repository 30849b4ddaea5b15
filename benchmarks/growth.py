"""Cost as it grows: curves, not points. One command measures and draws all of them.

    python benchmarks/growth.py [--only resolution threads ...] [--quick] [--folder FOLDER]

    resolution    images/s and MB/s against the side of the image, 32 to 1,024 px
    threads       images/s against threads, from a cache and from PNG files
    batch         images/s against the images of a batch
    rows          images/s, the time to the first batch and its stages, and memory, against the number of rows
    cold          images/s of an epoch from the disk, read ahead of the plan or not, beside a memory map

Writes results/growth.json, growth.md and growth.png. --quick takes few and small points, to see that it runs. Needs
3 GB of disk in --folder (default: a temporary folder), which it empties again, and 4 GB of memory.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from common import RESULTS, environment, save, seconds
from curves import Curve, document, draw, table
from growth_cold import cold
from growth_points import batch_size, resolution, threads
from growth_rows import many_rows


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    rounds: int = 5
    batch: int = 64
    megabytes: int = 128
    """Of stored pixels at each point, so that no size fits a processor's cache."""
    most_images: int = 32_768
    sides: tuple[int, ...] = (32, 64, 128, 256, 512, 1024)
    threads: tuple[int, ...] = (1, 2, 3, 4, 8)
    film_side: int = 1024
    films: int = 32
    """Files that are decoded, at each number of threads."""
    batches: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    batch_sides: tuple[int, ...] = (64, 256)
    most_steps: int = 256
    """Batches of one round, at most, but for these images:"""
    least_images: int = 2_048
    rows: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    memory_rounds: int = 3
    cold_images: int = 8_192
    cold_rounds: int = 5

    def images(self, side: int) -> int:
        """How many records of a size there are: whole batches, at least eight."""
        fit = min(self.megabytes * 10**6 // side**2, self.most_images)
        return max(fit // self.batch, 8) * self.batch


QUICK = Settings(
    rounds=2,
    batch=16,
    megabytes=4,
    most_images=512,
    sides=(32, 64, 256),
    threads=(1, 2, 3),
    film_side=256,
    films=4,
    batches=(1, 16, 64),
    batch_sides=(64,),
    most_steps=16,
    least_images=64,
    rows=(300, 3_000),
    memory_rounds=1,
    cold_images=512,
    cold_rounds=2,
)
CURVES: dict[str, Callable[[Path, Settings], list[Curve]]] = {
    "resolution": resolution,
    "threads": threads,
    "batch": batch_size,
    "rows": many_rows,
    "cold": cold,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=CURVES, default=list(CURVES), metavar="NAME", help=", ".join(CURVES)
    )
    parser.add_argument("--quick", action="store_true", help="few and small points, to see that it runs")
    parser.add_argument("--folder", type=Path, help="where to put records (default: a temporary folder)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write (default: benchmarks/results)")
    args = parser.parse_args()
    torch.set_num_threads(1)  # what is measured has threads of its own
    found = measured(args.only, QUICK if args.quick else Settings(), args.folder)
    where = environment()
    foot = f"{where['date']}, {where['processor']}, {where['cores']} cores; bands and whiskers: range of the rounds."
    args.results.mkdir(exist_ok=True)
    draw(found, args.results / "growth.png", heading="Cost as it grows", foot=foot)
    save("growth", "\n\n".join(map(table, found)), {"quick": args.quick, "curves": document(found)}, args.results)


def measured(names: Sequence[str], settings: Settings, folder: Path | None) -> list[Curve]:
    """The curves of these names, each with a folder of its own that is gone before the next begins."""
    found: list[Curve] = []
    for name in names:
        print(f"{name} ...", end=" ", flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as own:
            took = seconds(lambda name=name, own=own: found.extend(CURVES[name](Path(own), settings)))
        print(f"{took:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    main()
