"""The open files of a cache: a bounded number, each checked when it is first opened."""

import sys
import threading
from collections import deque
from pathlib import Path

from resload.errors import ArgumentError, CorruptCacheError
from resload.size import Size
from resload.store import layout
from resload.store.mirror import Mirror
from resload.store.remote import Location, Url
from resload.store.shard import Shard

ACCESS = ("pread", "mmap", "memory")
_FEWEST, _MOST = 128, 1024
AGAIN = 4
"""How often a copy is fetched again that was damaged, or removed by another process before it was opened."""


def open_limit() -> int:
    """How many descriptors one cache keeps open: a quarter of what the process may, from 128 to 1,024."""
    if sys.platform == "win32":
        return _FEWEST
    import resource

    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if allowed < 0 else min(max(allowed // 4, _FEWEST), _MOST)


class Shards:
    """The shards of a cache: opened when first read, a bounded number kept open. Thread-safe."""

    def __init__(
        self,
        cache: Location,
        manifest: layout.Manifest,
        *,
        access: str = "pread",
        limit: int | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        if access not in ACCESS:
            raise ArgumentError(f"access must be one of {', '.join(ACCESS)}; found {access!r}")
        if access == "mmap" and isinstance(cache, Url) and mirror is None:
            raise ArgumentError(f"{cache}: object storage cannot be mapped; use access='pread', or mirror=")
        self.cache, self.manifest, self.access = cache, manifest, access
        self.mirror, self._removed = mirror, 0
        self.far = isinstance(cache, Url) and mirror is None
        """Whether shards are read by requests for ranges."""
        self._limit = open_limit() if limit is None else limit
        self._checked: dict[tuple[Size, int], tuple[object, ...]] = {}
        self._by_size: dict[Size, dict[int, Shard]] = {}
        self._order: deque[tuple[Size, int]] = deque()
        self._lock = threading.Lock()

    def of(self, size: Size, groups: list[int]) -> list[Shard]:
        """The open shard of each group. Whoever holds one may read it even after it was evicted here."""
        opened = self._by_size.get(size, {})
        return [opened.get(group) or self._opened(size, group) for group in groups]

    def place(self, size: Size, group: int) -> Location:
        """Where a shard is read: its copy in the mirror, fetched where it is not there, or itself."""
        return self.cache / layout.shard_path(size, group) if self.mirror is None else self.mirror.path(size, group)

    def renewed(self, size: Size, groups: list[int]) -> bool:
        """Whether a copy of one of these shards was damaged, and is gone now: reading again then fetches it again."""
        if self.mirror is None:
            return False
        found = [group for group in dict.fromkeys(groups) if self.mirror.renewed(size, group)]
        for group in found:
            self._forget(size, group)
        return bool(found)

    def _forget(self, size: Size, group: int) -> None:
        with self._lock:
            if self._by_size.get(size, {}).pop(group, None) is not None:
                self._order.remove((size, group))

    def let_go(self) -> None:
        """Close what was removed from the mirror: its bytes stay on the disk as long as it is open."""
        with self._lock:
            gone = [key for key in self._order if not Path(str(self._by_size[key[0]][key[1]].path)).exists()]
        for size, group in gone:
            self._forget(size, group)

    def _opened(self, size: Size, group: int) -> Shard:
        for _ in range(AGAIN):
            try:
                return self._open(size, group)
            except CorruptCacheError:
                if not self.renewed(size, [group]):
                    raise
        return self._open(size, group)

    def _open(self, size: Size, group: int) -> Shard:
        place = self.place(size, group)  # which may take long: the lock is for those whose shards are there
        if self.mirror is not None and self.mirror.removed != self._removed:
            self._removed = self.mirror.removed
            self.let_go()
        with self._lock:
            of_size = self._by_size.setdefault(size, {})
            shard = of_size.get(group)
            if shard is None:
                known = self._checked.get((size, group))
                shard = Shard(
                    place,
                    size=size,
                    dtype=self.manifest.dtype,
                    per_shard=self.manifest.per_shard,
                    count=len(self.manifest.rows_of(group)),
                    access=self.access,
                    checked=known,
                )
                self._checked[size, group] = shard.identity
                of_size[group] = shard
                self._order.append((size, group))
            while len(self._order) > self._limit:
                oldest, number = self._order.popleft()
                self._by_size[oldest].pop(number, None)
            return shard

    def close(self) -> None:
        """Let go of every open file."""
        with self._lock:
            self._by_size.clear()
            self._order.clear()
