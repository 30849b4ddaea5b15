"""imagecodecs decoding files and nothing else: the ceiling of every loader that reads them by libpng."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
from worker import Config, Way, files_of, serve


def decode(config: Config) -> Way:
    """So many threads decode shuffled files, one batch ahead of what is handed over; nothing is resized."""
    files = files_of(config)
    rng = np.random.default_rng(0)

    def one(index: int) -> np.ndarray:
        return imagecodecs.png_decode(Path(files[index]).read_bytes())

    def epoch() -> Iterator[list[np.ndarray]]:
        with ThreadPoolExecutor(config.threads) as pool:
            order = iter(rng.permutation(len(files)))
            pending = [pool.submit(one, index) for index in itertools.islice(order, 2 * config.batch)]
            while pending:
                images = [task.result() for task in pending[: config.batch]]
                more = itertools.islice(order, config.batch)
                pending = [*pending[config.batch :], *(pool.submit(one, index) for index in more)]
                yield images

    return Way(epoch, ("imagecodecs",), "PNG's CRCs", "an array for each film", records="sources")


if __name__ == "__main__":
    serve({"decode": decode})
