"""What the machine can do: batches gathered by bare numpy, and floats written, on bare threads.

No checksum, no batch object, no hand-over: each thread works through its share of a shuffled epoch. With one buffer
a thread's batch stays in the processor's cache; four are as many as a loader that prefetches two batches and lends
one has in use.
"""

import functools
import threading

import numpy as np
from worker import Config, Tally, Way, serve


def take(config: Config, buffers: int) -> Way:
    """numpy.take of batches from a memory map into buffers of its own."""
    mapped = np.load(config.records, mmap_mode="r")
    rng = np.random.default_rng(0)
    shape = (config.threads, buffers, config.batch, *mapped.shape[1:])
    outs = np.ones(shape, np.uint8)  # ones, so that every page is there before the clock runs

    def epoch(tally: Tally) -> None:
        order = rng.permutation(len(mapped))
        batches = [order[at : at + config.batch] for at in range(0, len(order), config.batch)]

        def one(thread: int, mine: Tally) -> None:
            for turn, rows in enumerate(batches[thread :: config.threads]):
                out = outs[thread, turn % buffers][: len(rows)]
                np.take(mapped, rows, axis=0, out=out, mode="clip")
                mine.add(out)

        on_threads(config, one, tally)

    return Way(epoch, ("numpy",), owns="no: buffers are re-used", data=[config.records], tallies=True)


def write(config: Config, buffers: int) -> Way:
    """One image of bytes, in the processor's cache, written as floats again and again."""
    outs = np.ones((config.threads, buffers, config.batch, config.side, config.side), np.float32)
    image = np.full((config.side, config.side), 7, np.uint8)
    whole = -(-config.count // config.batch)

    def epoch(tally: Tally) -> None:
        def one(thread: int, mine: Tally) -> None:
            for turn, batch in enumerate(range(thread, whole, config.threads)):
                out = outs[thread, turn % buffers][: config.count - batch * config.batch]
                for plane in out:
                    np.copyto(plane, image)
                mine.add(out)

        on_threads(config, one, tally)

    return Way(epoch, ("numpy",), owns="no: buffers are re-used", records="one image", tallies=True)


def on_threads(config: Config, one, tally: Tally) -> None:
    tallies = [Tally(tally.shape, tally.dtype) for _ in range(config.threads)]
    threads = [threading.Thread(target=one, args=pair) for pair in enumerate(tallies)]
    for thread in threads:
        thread.start()
    for thread, mine in zip(threads, tallies, strict=True):
        thread.join()
        tally.join(mine)


if __name__ == "__main__":
    serve(
        {
            "take": functools.partial(take, buffers=1),
            "take four": functools.partial(take, buffers=4),
            "write": functools.partial(write, buffers=1),
            "write four": functools.partial(write, buffers=4),
        }
    )
