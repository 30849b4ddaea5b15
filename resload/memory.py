"""How much memory this process may use, as the system and a container say."""

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def free_bytes(root: Path = CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Memory that files may be kept in: what the system says is available, within a container's limit.

    None where nothing says so.
    """
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    free = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        free += [int(word) for word in words_of(root / name) if word.isdigit()]
    return min(free) if free else None


def words_of(path: Path) -> list[str]:
    """The words of a file of the system's; none where it cannot be read."""
    try:
        return path.read_text().split()
    except OSError:
        return []
