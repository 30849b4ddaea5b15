"""Many reads by one call: Linux's `io_submit`, so that no Python and no GIL stand between two records.

A sweep of `os.preadv` gives the GIL up and asks for it back at every record; with several threads that costs more than
half of what the copy does. `io_submit` takes a list of reads; those of ordinary files (without O_DIRECT) are done when
it returns (Linux, fs/aio.c), and containers allow it, unlike io_uring. Where the system has no such call or refuses it,
`Reads.run` says so and the caller sweeps.

A read fills several buffers one after another (`iovec`), so adjacent records are one read.
"""

import ctypes
import errno
import os
import platform
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST = 128
"""Reads by one call."""
_CALLS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
"""io_setup, io_destroy, io_getevents, io_submit (Linux, unistd.h of the architecture)."""
_PREADV = 7
"""IOCB_CMD_PREADV (linux/aio_abi.h)."""
_REFUSED = (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP)
"""Answers that will be the same next time."""
_IOCB = np.dtype(
    {
        "names": ["data", "opcode", "file", "buffer", "length", "offset"],
        "formats": ["<u8", "<u2", "<u4", "<u8", "<u8", "<i8"],
        "offsets": [0, 16, 20, 24, 32, 40],
        "itemsize": 64,
    }
)
"""struct iocb (linux/aio_abi.h), little-endian."""


class _System(NamedTuple):
    """The four calls, each returning a number, negative when refused (`ctypes.get_errno` says why)."""

    setup: Callable[..., int]
    destroy: Callable[..., int]
    getevents: Callable[..., int]
    submit: Callable[..., int]


def _system() -> _System | None:
    """None where there are none, or their numbers are not known."""
    numbers = _CALLS.get(platform.machine()) if sys.platform == "linux" and sys.maxsize > 2**32 else None
    if numbers is None:
        return None
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    return _System(*(partial(syscall, ctypes.c_long(number)) for number in numbers))


_SYSTEM = _system()


class Buffers:
    """Where records go: the i-th one's pixels to row i of one array, the four bytes behind them to row i of another.

    pixels: (n, bytes) uint8, sums: (n,) of four bytes each; both C-contiguous, and held.
    """

    def __init__(self, pixels: NDArray[np.uint8], sums: NDArray[np.uint32]) -> None:
        self._held = pixels, sums
        self._vectors = np.empty((len(pixels), 2, 2), np.int64)  # iovec: address, bytes
        for k, (address, width) in enumerate(((pixels.ctypes.data, pixels.shape[1]), (sums.ctypes.data, 4))):
            self._vectors[:, k, 0] = address + np.arange(len(pixels)) * width
            self._vectors[:, k, 1] = width
        self.addresses = self._vectors.ctypes.data + np.arange(len(pixels)) * self._vectors.strides[0]
        """Of each record's vectors, int64 (n,)."""


class Reads:
    """Room for `MOST` reads and their answers, for one thread at a time. Raises OSError where there is none."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._context = ctypes.c_ulong(0)
        if _SYSTEM is None or _SYSTEM.setup(ctypes.c_uint(MOST), ctypes.byref(self._context)) < 0:
            raise OSError(ctypes.get_errno(), "io_setup")
        asked = np.zeros(MOST, _IOCB)
        asked["opcode"], asked["data"] = _PREADV, np.arange(MOST)
        self._file, self._offset = asked["file"], asked["offset"]
        self._buffer, self._length = asked["buffer"], asked["length"]
        self._list = asked.ctypes.data + np.arange(MOST, dtype=np.uint64) * _IOCB.itemsize
        self._answers = np.empty((MOST, 4), np.int64)  # io_event: data, iocb, bytes read, -
        self._addresses = ctypes.c_void_p(self._list.ctypes.data), self._answers.ctypes.data

    def run(self, buffers: Buffers, start: int, files: list[int], offsets: NDArray[np.int64], step: int) -> bool:
        """Read records of `step` bytes to the places start .. of `buffers`; whether every byte of every one came.

        files, offsets: of each record, at most MOST. False says nothing of why, nor what the buffers hold.
        """
        count, descriptors = len(files), np.array(files, np.uint32)
        places = buffers.addresses[start : start + count]
        follows = offsets[1:] - offsets[:-1] == step
        if follows.any():  # perhaps in the same file: a run of records by one read
            first = np.flatnonzero(np.concatenate([[True], ~follows | (descriptors[1:] != descriptors[:-1])]))
            records = np.diff(first, append=count)
            count, descriptors, offsets, places = len(first), descriptors[first], offsets[first], places[first]
            self._length[:count] = records * 2
        else:
            self._length[:count] = 2
        self._file[:count], self._offset[:count], self._buffer[:count] = descriptors, offsets, places
        if not self._submitted(count):
            return False
        found = self._answers[:count, 2]
        if follows.any():
            return bool((found == records[self._answers[:count, 0]] * step).all())
        return bool((found == step).all())

    def _submitted(self, count: int) -> bool:
        """Whether all of the first `count` reads were taken; their answers are there then."""
        assert _SYSTEM is not None
        taken = _SYSTEM.submit(self._context, ctypes.c_long(count), self._addresses[0])
        if taken < 0:
            if ctypes.get_errno() in _REFUSED:
                _refused.append(ctypes.get_errno())
            return False
        done = 0
        while done < taken:
            left, room = (
                ctypes.c_long(taken - done),
                ctypes.c_void_p(self._addresses[1] + done * self._answers.strides[0]),
            )
            found = _SYSTEM.getevents(self._context, left, left, room, None)
            if found < 0 and ctypes.get_errno() != errno.EINTR:
                raise OSError(ctypes.get_errno(), "io_getevents")
            done += max(found, 0)
        return bool(taken == count)

    def close(self) -> None:
        """Give the room back; waits for reads that are under way."""
        if self._context and self._process == os.getpid() and _SYSTEM is not None:
            _SYSTEM.destroy(self._context)
        self._context = ctypes.c_ulong(0)

    def __del__(self) -> None:
        self.close()


_free: deque[Reads] = deque()  # append and pop are single steps
_refused: list[int] = []
"""Why the system refuses, once it has."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free.clear)  # a child has none of its parent's


def run(buffers: Buffers, start: int, files: list[int], offsets: NDArray[np.int64], step: int) -> bool:
    """`Reads.run` with room that no other thread uses now; False where the system has none."""
    if _refused or _SYSTEM is None:
        return False
    try:
        reads = _free.pop() if _free else Reads()
    except IndexError:  # another thread took the last one
        return False
    except OSError as exc:
        if exc.errno in _REFUSED:
            _refused.append(exc.errno)
        return False
    whole = False
    try:
        whole = reads.run(buffers, start, files, offsets, step)
        _free.append(reads)
    except BaseException:
        reads.close()  # what it began ends before the buffers can be gone
        raise
    return whole
