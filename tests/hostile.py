"""What tests of all decoders share: damage, claims that no memory should follow, and many threads at once."""

import contextlib
import tracemalloc
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import strategies as st

from resload.decode import decode, read_header
from resload.errors import DecodeError, TooLargeError


def raises_nothing_but_our_errors(data: st.DataObject, sound: bytes, first: int = 0) -> None:
    """A few bytes from `first` on changed at random: pixels or a DecodeError, never another exception or a crash."""
    file = bytearray(sound)
    for at in data.draw(st.lists(st.integers(first, len(file) - 1), min_size=1, max_size=6)):
        file[at] = data.draw(st.integers(0, 255))
    for step in (decode, read_header):
        with contextlib.suppress(DecodeError):
            step(bytes(file))


def claim_is_refused_before_anything_is_allocated(file: bytes) -> None:
    """A file that says it is 60,000 x 60,000: refused with next to no memory. What decoding imports must be there."""
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match="60000 x 60000"):
            decode(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def threads_get_what_one_thread_gets(files: Mapping[str, bytes]) -> None:
    """All files at once on eight threads, broken ones among them."""
    expected = {name: decode(file).pixels for name, file in files.items()}

    def work(k: int) -> bool:
        name = list(files)[k % len(files)]
        with pytest.raises(DecodeError):
            decode(files[name][:-3])
        return np.array_equal(decode(files[name]).pixels, expected[name])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(300)))
