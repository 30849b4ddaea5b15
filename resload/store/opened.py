"""The open files of a cache: a bounded number, each checked when it is first opened."""

import sys
import threading
from collections import deque
from pathlib import Path

from resload.errors import ArgumentError
from resload.size import Size
from resload.store import guarded, layout
from resload.store.shard import Shard

ACCESS = ("pread", "mmap", "memory")
_FEWEST, _MOST = 128, 1024


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
        self, cache: Path, manifest: layout.Manifest, *, access: str = "pread", limit: int | None = None
    ) -> None:
        if access not in ACCESS:
            raise ArgumentError(f"access must be one of {', '.join(ACCESS)}; found {access!r}")
        self.cache, self.manifest, self.access = cache, manifest, access
        self._limit = open_limit() if limit is None else limit
        self._checked: dict[tuple[Size, int], tuple[int, ...]] = {}
        self._by_size: dict[Size, dict[int, Shard]] = {}
        self._order: deque[tuple[Size, int]] = deque()
        self._lock = threading.Lock()

    def of(self, size: Size, groups: list[int]) -> list[Shard]:
        """The open shard of each group. Whoever holds one may read it even after it was evicted here."""
        opened = self._by_size.get(size, {})
        return [opened.get(group) or self._opened(size, group) for group in groups]

    def _opened(self, size: Size, group: int) -> Shard:
        with self._lock:
            of_size = self._by_size.setdefault(size, {})
            shard = of_size.get(group)
            if shard is None:
                known = self._checked.get((size, group))
                shard = Shard(
                    guarded.shard(self.cache, layout.shard_path(size, group)),
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
                del self._by_size[oldest][number]
            return shard

    def close(self) -> None:
        """Let go of every open file."""
        with self._lock:
            self._by_size.clear()
            self._order.clear()
