"""The open shards of a cache's levels: each checked when it is first opened, a bounded number kept open."""

from functools import partial
from pathlib import Path

from resload import forks
from resload.errors import ArgumentError
from resload.size import Size
from resload.store import layout
from resload.store.descriptors import OpenFiles, opened
from resload.store.shard import Shard

ACCESS = ("pread", "mmap", "memory")


class Shards:
    """The shards of a cache: opened when first read, kept open as `descriptors` says. Thread-safe."""

    def __init__(self, cache: Path, manifest: layout.Manifest, *, access: str = "pread") -> None:
        if access not in ACCESS:
            raise ArgumentError(f"access must be one of {', '.join(ACCESS)}; found {access!r}")
        self.cache, self.manifest, self.access = cache, manifest, access
        self._checked: dict[tuple[Size, int], tuple[int, ...]] = {}
        self._by_size: dict[Size, OpenFiles[int, Shard]] = {}
        self._lock = forks.lock()

    def of(self, size: Size, groups: list[int]) -> list[Shard]:
        """The open shard of each group. Whoever holds one may read it even after it was let go of here.

        Raises OSError (EMFILE) for several groups that cannot all be open at once; CacheError for one.
        """
        kept = self._by_size.get(size)
        if kept is None:
            kept = self._by_size.setdefault(size, OpenFiles())
        patient, files = len(groups) == 1, kept.files
        return [
            files.get(group) or opened(partial(self._opened, kept, size, group), patient=patient) for group in groups
        ]

    def _opened(self, kept: OpenFiles[int, Shard], size: Size, group: int) -> Shard:
        with self._lock:
            shard = kept.files.get(group)
            if shard is None:
                shard = self._shard(size, group)
                self._checked[size, group] = shard.identity
                kept.add(group, shard, descriptors=1 + (self.access == "mmap"))  # a map has its own
            return shard

    def _shard(self, size: Size, group: int) -> Shard:
        return Shard(
            self.cache / layout.shard_path(size, group),
            size=size,
            dtype=self.manifest.dtype,
            per_shard=self.manifest.per_shard,
            count=len(self.manifest.rows_of(group)),
            access=self.access,
            checked=self._checked.get((size, group)),
        )

    def close(self) -> None:
        """Let go of every open file."""
        for kept in list(self._by_size.values()):
            kept.clear()
