"""The open shards of a cache's levels: each checked when it is first opened, a bounded number kept open."""

from functools import partial
from pathlib import Path

from resload import forks
from resload.errors import ArgumentError, CorruptCacheError
from resload.size import Size
from resload.store import guarded, layout
from resload.store.descriptors import OpenFiles, opened
from resload.store.mirror import Mirror
from resload.store.remote import AT_ONCE, Location, Url
from resload.store.shard import Shard
from resload.threads import ThreadPool

ACCESS = ("pread", "mmap", "memory")
AGAIN = 4
"""How often a copy is fetched again that was damaged, or removed by another process before it was opened."""


class Shards:
    """The shards of a cache: opened when first read, kept open as `descriptors` says. Thread-safe."""

    def __init__(
        self, cache: Location, manifest: layout.Manifest, *, access: str = "pread", mirror: Mirror | None = None
    ) -> None:
        if access not in ACCESS:
            raise ArgumentError(f"access must be one of {', '.join(ACCESS)}; found {access!r}")
        if access == "mmap" and isinstance(cache, Url) and mirror is None:
            raise ArgumentError(f"{cache}: object storage cannot be mapped; use access='pread', or mirror=")
        self.cache, self.manifest, self.access = cache, manifest, access
        self.mirror, self._removed = mirror, 0
        self.far = isinstance(cache, Url) and mirror is None
        """Whether shards are read by requests for ranges."""
        self._checked: dict[tuple[Size, int], tuple[object, ...]] = {}
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
        if self.far and len(groups) > 1:
            return self._all_far(kept, size, groups)
        return [files.get(group) or self._opened(kept, size, group, patient) for group in groups]

    def _all_far(self, kept: OpenFiles[int, Shard], size: Size, groups: list[int]) -> list[Shard]:
        """Each takes two requests, so many are opened at once."""
        there = {group: kept.files.get(group) for group in groups}
        absent = [group for group, shard in there.items() if shard is None]
        if absent:
            with ThreadPool(min(AT_ONCE, len(absent)), "resload-open") as pool:
                opening = {group: pool.submit(self._kept, kept, size, group, True) for group in absent}
                there |= {group: future.result() for group, future in opening.items()}
        return [shard for group in groups if (shard := there[group]) is not None]

    def _opened(self, kept: OpenFiles[int, Shard], size: Size, group: int, patient: bool) -> Shard:
        for _ in range(AGAIN):
            try:
                return self._kept(kept, size, group, patient)
            except CorruptCacheError:
                if not self.renewed(size, [group]):
                    raise
        return self._kept(kept, size, group, patient)

    def _kept(self, kept: OpenFiles[int, Shard], size: Size, group: int, patient: bool) -> Shard:
        place = self.place(size, group)  # which may take long: the lock is for those whose shards are there
        if self.mirror is not None and self.mirror.removed != self._removed:
            self._removed = self.mirror.removed
            self.let_go()
        if self.far:
            far = self._shard(place, size, group)
            kept.add(group, far)
            return far
        return opened(partial(self._local, kept, place, size, group), patient=patient)

    def _local(self, kept: OpenFiles[int, Shard], place: Location, size: Size, group: int) -> Shard:
        with self._lock:
            shard = kept.files.get(group)
            if shard is None:
                shard = self._shard(place, size, group)
                self._checked[size, group] = shard.identity
                kept.add(group, shard, descriptors=1 + (self.access == "mmap"))  # a map has its own
            return shard

    def _shard(self, place: Location, size: Size, group: int) -> Shard:
        return Shard(
            place,
            size=size,
            dtype=self.manifest.dtype,
            per_shard=self.manifest.per_shard,
            count=len(self.manifest.rows_of(group)),
            access=self.access,
            checked=self._checked.get((size, group)),
        )

    # -- copies in a mirror --

    def place(self, size: Size, group: int) -> Location:
        """Where a shard is read: its copy in the mirror, fetched where it is not there, or itself."""
        if self.mirror is not None:
            return self.mirror.path(size, group)
        return guarded.shard(self.cache, layout.shard_path(size, group))

    def renewed(self, size: Size, groups: list[int]) -> bool:
        """Whether a copy of one of these shards was damaged, and is gone now: reading again then fetches it again."""
        if self.mirror is None:
            return False
        found = [group for group in dict.fromkeys(groups) if self.mirror.renewed(size, group)]
        kept = self._by_size.get(size)
        for group in found:
            if kept is not None:
                kept.files.pop(group, None)
        return bool(found)

    def let_go(self) -> None:
        """Close what was removed from the mirror: its bytes stay on the disk as long as it is open."""
        for kept in list(self._by_size.values()):
            for group, shard in list(kept.files.items()):
                if isinstance(shard.path, Path) and not shard.path.exists():
                    kept.files.pop(group, None)

    def close(self) -> None:
        """Let go of every open file."""
        for kept in list(self._by_size.values()):
            kept.clear()
