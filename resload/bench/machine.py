"""Where it was measured: processor, cores, memory, and the builds that do the work."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from resload.memory import CGROUP, free_bytes, words_of
from resload.pipeline.model_input import decoders_here
from resload.threads import thread_count


def machine(device: str) -> dict[str, Any]:
    """As plain values; None for what is not known, or not there."""
    import crc32c
    import imagecodecs

    return {
        "processor": processor(),
        "cores": thread_count(None),
        "cores_of_machine": os.cpu_count(),
        "cgroup_cores": cgroup_cores(),
        "free_bytes": free_bytes(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "resload": _version("resload"),
        "numpy": _version("numpy"),
        "torch": {
            "version": torch.__version__,
            "threads": torch.get_num_threads(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "device": _device(torch.device(device)),
        },
        "codecs": {
            "decoders": list(decoders_here()),
            "libraries": [imagecodecs.png_version(), imagecodecs.jpeg8_version(), imagecodecs.jpeg2k_version()],
        },
        "crc32c": {"version": _version("crc32c"), "hardware": bool(crc32c.hardware_based)},
        "pillow": pillow(),
    }


def pillow() -> dict[str, Any] | None:
    """Which Pillow is installed, for transforms that use it (nothing of resload's loading does); None for none.

    pillow-simd is a distribution of its own that brings the same package.
    """
    for name in ("pillow-simd", "pillow"):
        if found := _version(name):
            return {"distribution": name, "version": found, "simd": name == "pillow-simd"}
    return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _device(device: torch.device) -> str | None:
    """The name of a CUDA device; None for the CPU and others."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def cgroup_cores(root: Path = CGROUP) -> float | None:
    """How many cores' time a container's limit allows (cgroup v2 `cpu.max`, v1 `cpu.cfs_*`); None without one."""
    words = words_of(root / "cpu.max") or [
        *words_of(root / "cpu/cpu.cfs_quota_us"),
        *words_of(root / "cpu/cpu.cfs_period_us"),
    ]
    if len(words) != 2 or not words[0].isdigit():  # "max", or -1
        return None
    return int(words[0]) / int(words[1])
