"""What cannot be run here, from what was measured here: a build on many workers, many nodes that read one cache.

    build     the driver hands a row group to every free worker, one after another; a worker makes it (its time varies
              by chance, now and then a worker is lost and its group made again); storage takes and gives so much
    reading   every node fetches each shard of a level once, in an order of its own; object storage gives so much to
              one node and so much to all

Pure functions of their arguments; times in seconds, bytes in bytes.
"""

import heapq
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Build:
    """What a build is made of."""

    groups: int
    films_in_group: int
    film_s: float
    """One film on one core: read, decode, resize, write."""
    read_bytes: float
    """Of one film's file."""
    written_bytes: float
    """Of one film at all sizes."""
    driver_s: float
    """Of the driver, for one row group: its payload made and sent, its answer taken."""
    end_s: float
    """Of the driver, after the last group: tables and manifest."""


@dataclass(frozen=True)
class Storage:
    """What storage gives and takes, in bytes per second."""

    worker: float
    """To and from one worker or node."""
    total: float
    """To and from all together."""


def build_seconds(
    build: Build, storage: Storage, workers: int, *, lost: float = 0.0, seed: int = 0
) -> dict[str, float]:
    """How long it takes, and which share of it the driver and storage are busy.

    lost: the chance that a worker dies while it makes a group; half of the group is then done for nothing.
    """
    rng = np.random.default_rng(seed)
    busy = min(workers, build.groups)
    rate = min(storage.worker, storage.total / busy)
    moved = build.films_in_group * (build.read_bytes + build.written_bytes)
    own = np.maximum(build.films_in_group * build.film_s, moved / rate) * rng.lognormal(0.0, 0.15, build.groups)
    own *= 1 + 0.5 * (rng.random(build.groups) < lost)
    free = [0.0] * busy
    driver = last = 0.0
    for seconds in own.tolist():
        driver = max(driver, heapq.heappop(free)) + build.driver_s
        last = max(last, driver + seconds)
        heapq.heappush(free, driver + seconds)
    total = last + build.end_s
    return {
        "seconds": total,
        "driver_busy": (build.groups * build.driver_s + build.end_s) / total,
        "storage_busy": build.groups * moved / storage.total / total,
    }


def most_workers(build: Build, storage: Storage) -> dict[str, float]:
    """How many workers each thing that they share can keep at work."""
    own = build.films_in_group * build.film_s
    moved = build.films_in_group * (build.read_bytes + build.written_bytes)
    return {
        "row groups": float(build.groups),
        "the driver": own / build.driver_s,
        "storage": storage.total * own / moved,
    }


def fetch_seconds(shards: int, shard_bytes: float, storage: Storage, nodes: int) -> float:
    """Until every node has every shard: all fetch at once, in orders that differ, so that the load is even."""
    rate = min(storage.worker, storage.total / nodes)
    return shards * shard_bytes / rate


def without_mirror(batch_rate: float, gpus: int, requests: float, record_bytes: float, storage: Storage) -> float:
    """Images per second and GPU when every record is a request: of those wanted, what requests and bytes allow."""
    return min(batch_rate, requests / gpus, storage.total / gpus / record_bytes)
