"""A cache in object storage beside the same one on this machine's disk.

    python benchmarks/remote.py [--films 1024 --side 256 --rounds 5 --seed 0 --results FOLDER] [--quick]

    build           resload.build to a folder, and to s3://
    epoch           a Loader's epoch (BlockShuffle over the cache): from the disk; from s3:// with an empty mirror, and
                    with the mirror that this left
    random reads    batches of 64 random rows, a request each: without a mirror, beside the disk
    fetching        all shards of the level fetched, by how many at once and how many ranges of each

moto's server on this machine plays S3, in a process of its own; then once more behind a proxy, in another process,
that adds `--latency` milliseconds to every request, as a network does. What such a server can give is measured too
(one client that reads whole objects), since it is far from what S3 can: numbers here compare ways, not storage.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from common import RESULTS, drained, interleaved, ratio, save, seconds, summary

import resload
from resload.samplers import BlockShuffle, Fixed, Images, Sampler
from resload.store import remote
from resload.store.remote import Url
from resload.testing import s3_at, s3_server, write_synthetic

BATCH = 64
WAYS = ((1, 1), (1, 4), (2, 4), (4, 1), (4, 4), (8, 4))
"""(shards at once, ranges of each at once)"""
PROXY = """
import sys
from resload.testing import FlakyProxy
with FlakyProxy(sys.argv[1], latency=float(sys.argv[2])) as proxy:
    print(proxy.endpoint, flush=True)
    sys.stdin.read()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--films", type=int, default=1024)
    parser.add_argument("--side", type=int, default=256, help="of the level, in pixels")
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds that the proxy adds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="a few films, one round: whether it runs")
    args = parser.parse_args()
    if args.quick:
        args.films, args.side, args.rounds, args.latency = 96, 64, 1, 2.0
    with tempfile.TemporaryDirectory() as folder, s3_server() as server:
        films = write_synthetic(Path(folder) / "films", args.films, size=args.side + 32, seed=args.seed, broken=0)
        found = {"0": compared(Path(folder), films, f"{server.url}/near.zarr", args)}
        with proxied(server.endpoint, args.latency / 1e3) as endpoint, s3_at(endpoint):
            found[f"{args.latency:g}"] = compared(Path(folder), films, f"{server.url}/far.zarr", args)
    save("remote", table(found, args), {"settings": vars(args) | {"results": ""}, "ms": found}, args.results)


@contextmanager
def proxied(upstream: str, latency: float) -> Iterator[str]:
    """A proxy in a process of its own, so that it does not wait for Python's lock here."""
    command = [sys.executable, "-c", PROXY, upstream, str(latency)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.communicate()


def compared(folder: Path, films: resload.Catalog, url: str, args: argparse.Namespace) -> dict[str, dict]:
    """Everything once for one storage: {what: {way: numbers}}."""
    disk, options = folder / "disk.zarr", {"sizes": (args.side,), "shard_mb": 8, "progress": False}

    def built(path: object) -> float:
        remove(path)
        return seconds(lambda: resload.build(films, path, **options))

    builds = interleaved({"disk": lambda: built(disk), "s3": lambda: built(url)}, args.rounds)
    here, mirror = resload.open_cache(disk), folder / "mirror"
    rows = here.rows()

    def epoch(cache: resload.Cache) -> float:
        order = BlockShuffle(here._stored.manifest.per_shard, 2)
        plan = Sampler(cache, order=order, sizes=Fixed(args.side), budget=Images(BATCH), seed=args.seed)
        with resload.Loader(cache, sampler=plan) as loader:
            return len(rows) / seconds(lambda: drained(loader))

    def mirrored(empty: bool) -> float:
        if empty:
            shutil.rmtree(mirror, ignore_errors=True)
        return epoch(resload.open_cache(url, mirror=mirror))

    def random_reads(cache: resload.Cache) -> float:
        some = np.random.default_rng(args.seed).permutation(rows)[: 4 * BATCH]
        batches = np.array_split(some, 4)
        return len(some) / seconds(lambda: [cache.read(batch, args.side) for batch in batches])

    far = resload.open_cache(url)
    epochs = interleaved(
        {
            "disk": lambda: epoch(here),
            "mirror, empty": lambda: mirrored(True),
            "mirror, there": lambda: mirrored(False),
        },
        args.rounds,
    )
    reads = interleaved({"disk": lambda: random_reads(here), "s3": lambda: random_reads(far)}, args.rounds)
    fetches = interleaved(
        {f"{shards} x {ranges}": lambda way=(shards, ranges): fetched(folder, url, *way) for shards, ranges in WAYS}
        | {"server alone": lambda: fetched(folder, url, 1, 1, whole=True)},
        args.rounds,
    )
    mirror_rate = {"against the disk, there": ratio(epochs["mirror, there"], epochs["disk"]),
                   "against the disk, empty": ratio(epochs["mirror, empty"], epochs["disk"])}  # fmt: skip
    measured = {
        "build, s": builds,
        "epoch, images/s": epochs,
        "random reads, images/s": reads,
        "fetching, MB/s": fetches,
    }
    return {
        "ratios": mirror_rate,
        **{what: {way: summary(values) for way, values in ways.items()} for what, ways in measured.items()},
    }


def fetched(folder: Path, url: str, shards: int, ranges: int, *, whole: bool = False) -> float:
    """MB/s of all shards, so many at once, each by so many ranges of 1 MiB at once; or as whole objects."""
    names = [name for name in Url(url).sizes_below() if "/c/" in name]
    target = folder / "fetched"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()

    def one(name: str) -> int:
        file = target / name.replace("/", "-")
        if whole:
            file.write_bytes((Url(url) / name).read_bytes())
        else:
            (Url(url) / name).download(file)
        return file.stat().st_size

    before = remote.WINDOW, remote.RANGE
    remote.WINDOW, remote.RANGE = ranges, 1 << 20
    try:
        total = [0]
        with ThreadPoolExecutor(shards) as pool:
            took = seconds(lambda: total.__setitem__(0, sum(pool.map(one, names))))
    finally:
        remote.WINDOW, remote.RANGE = before
    return total[0] / took / 1e6


def remove(path: object) -> None:
    if isinstance(path, Path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        for name in Url(str(path)).sizes_below():
            (Url(str(path)) / name).unlink()


def table(found: dict[str, dict], args: argparse.Namespace) -> str:
    rows = [
        "| what | way | " + " | ".join(f"+{latency} ms" for latency in found) + " |",
        "|---|---|" + "---|" * len(found),
    ]
    first = next(iter(found.values()))
    for what in first:
        for way in first[what]:
            cells = [case[what][way] for case in found.values()]
            numbers = [cell if isinstance(cell, float) else cell["median"] for cell in cells]
            rows.append(f"| {what} | {way} | " + " | ".join(f"{number:.3g}" for number in numbers) + " |")
    head = f"{args.films} films at {args.side} x {args.side}; an S3 server of Python on the same cores."
    return head + "\n\n" + "\n".join(rows)


if __name__ == "__main__":
    main()
