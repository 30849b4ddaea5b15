"""Files that can be opened and not read: what a failing disk or a lost file server does to a reader."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resload.errors import ArgumentError


@contextmanager
def fails_to_read(path: Path) -> Iterator[int]:
    """Every descriptor that this process has open on a file answers reads with an I/O error (EIO) until the end.

    Gives how many there are; files that are opened later are not touched. For offsets below 64 KiB at least (of Linux's
    own `/proc/self/mem`, whose first pages are never there, is read instead). Linux only. Memory that was mapped before
    is not touched: there the system answers with SIGBUS, which ends the process.

    Raises ArgumentError where no descriptor is open on the file.
    """
    failing = os.open("/proc/self/mem", os.O_RDONLY)
    held = {descriptor: os.dup(descriptor) for descriptor in opened_on(path)}
    try:
        if not held:
            raise ArgumentError(f"{path}: this process has no descriptor open on it, so that none can fail")
        for descriptor in held:
            os.dup2(failing, descriptor, inheritable=False)
        yield len(held)
    finally:
        os.close(failing)
        for descriptor, own in held.items():
            os.dup2(own, descriptor, inheritable=False)
            os.close(own)


def opened_on(path: Path) -> list[int]:
    """The descriptors that this process has open on a file, by Linux's `/proc`."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # a descriptor that is gone by now is no Path's matter
        try:
            if os.readlink(f"/proc/self/fd/{name}") == str(path.resolve()):  # noqa: PTH115
                found.append(int(name))
        except OSError:
            continue
    return found
