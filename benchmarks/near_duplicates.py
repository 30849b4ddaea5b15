"""How long it takes to compare all pairs of films, and how much of it is pruned.

    python benchmarks/near_duplicates.py [--films 20000 112120] [--rounds 3] [--data FOLDER]

Films of 32 x 32 pixels are drawn with the mean, the principal components and their variances of real ones (those of
`RESLOAD_DATA`'s ChestX-ray14, or --data) where they are there, else of synthetic chest films; components beyond what
so few films show fall off as a power of their number. A hundredth of them are copies: half of these inverted, all with
noise of two grey levels. What must be found is known, and checked. Beside it stands one block of the plain product of
all pairs in full, from which the time of all blocks follows.

Of the films themselves it is told how alike copies are, and how alike the most similar of different films: the
threshold lies between.
"""

import argparse
import os
from pathlib import Path

import imagecodecs
import numpy as np
from common import interleaved, save, seconds, summary
from numpy.typing import NDArray

from resload.decode import decode
from resload.leakage import search
from resload.resampling import resample
from resload.testing import synthetic_film

SIDE = 32
THRESHOLD = 0.98
SHOWN = 60
"""Principal components that so few films show; the others follow a power law."""


def films_in(folder: Path | None) -> list[NDArray[np.uint8]]:
    """Real films, or drawn ones where there is no such folder."""
    if folder is not None and folder.is_dir():
        return [decode(path).pixels for path in sorted(folder.iterdir())]
    return [synthetic_film(i, size=256, bits=8).pixels for i in range(90)]


def small(films: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """(n, pixels): films at 32 x 32."""
    return np.stack([resample(film, SIDE) for film in films]).reshape(len(films), -1)


def alike(films: list[NDArray[np.uint8]]) -> dict[str, float]:
    """The smallest correlation of a film and its copy, by what was done to it, and the largest of different films."""
    own = search.normalised(small(films))
    changed = {
        "JPEG, quality 90": lambda film: imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(film, level=90)),
        "half the size": lambda film: resample(film, (film.shape[0] // 2, film.shape[1] // 2)),
        "brighter": lambda film: (film * 0.8 + 40).astype(np.uint8),
        "black and white exchanged": lambda film: 255 - film,
    }
    copies = {name: search.normalised(small([change(film) for film in films])) for name, change in changed.items()}
    found = {name: float(np.abs((own * other).sum(axis=1)).min()) for name, other in copies.items()}
    between = np.abs(own @ own.T) - 2 * np.eye(len(own))
    return {**found, "different films, the most alike": float(between.max())}


def drawn(real: NDArray[np.uint8], count: int) -> tuple[NDArray[np.uint8], set[tuple[int, int]]]:
    """(count, pixels) films like these, and which pairs of them are copies."""
    rng = np.random.default_rng(0)
    mean = real.mean(axis=0)
    _, singular, axes = np.linalg.svd(real - mean, full_matrices=False)
    basis, _ = np.linalg.qr(np.vstack([axes[:SHOWN], rng.normal(size=(mean.size - SHOWN, mean.size))]).T)
    spread = singular[:SHOWN] / np.sqrt(len(real) - 1)
    tail = spread[-1] * (np.arange(SHOWN, mean.size) / SHOWN) ** -1.5
    films = np.empty((count, mean.size), np.uint8)
    for start in range(0, count, 8192):
        part = films[start : start + 8192]
        part[...] = np.clip(mean + rng.normal(size=part.shape) * np.append(spread, tail) @ basis.T, 0, 255)
    chosen = rng.choice(count, 2 * (count // 100), replace=False).reshape(-1, 2)
    noisy = np.clip(films[chosen[:, 0]] + rng.normal(scale=2, size=(len(chosen), mean.size)), 0, 255)
    noisy[::2] = 255 - noisy[::2]
    films[chosen[:, 1]] = noisy
    return films, {(int(min(pair)), int(max(pair))) for pair in chosen}


def plain_block(films: NDArray[np.uint8]) -> float:
    """Seconds for one block of all pairs in full, in float32."""
    vectors = search.normalised(films[: 2 * search.BLOCK]).astype(np.float32)
    one, other = vectors[: search.BLOCK], vectors[search.BLOCK :]
    return seconds(lambda: np.abs(one @ other.T).max())


def measured(real: NDArray[np.uint8], count: int, rounds: int) -> dict[str, object]:
    """Seconds of the search and of all blocks in full, and how many pairs were left to compare."""
    films, copies = drawn(real, count)
    found = search.similar_pairs(films, THRESHOLD)
    missed = copies - set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert not missed, f"{len(missed)} copies were not found"
    blocks = count / search.BLOCK
    work = {
        "search": lambda: seconds(lambda: search.similar_pairs(films, THRESHOLD)),
        "all in full": lambda: plain_block(films) * blocks * (blocks + 1) / 2,
    }
    times = interleaved(work, rounds)
    return {
        "films": count,
        "pairs": count * (count - 1) // 2,
        "compared in full": found.compared,
        "found": len(found.first),
        "copies": len(copies),
        **{name: summary(values) for name, values in times.items()},
    }


def main() -> None:
    """Measure, print and keep."""
    data = os.environ.get("RESLOAD_DATA")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, nargs="+", default=[20_000, 112_120])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path(data) / "nih" / "images" if data else None)
    args = parser.parse_args()
    films = films_in(args.data)
    real = small(films)
    results = [measured(real, count, args.rounds) for count in args.films]
    head = "| films | pairs | search, s | all pairs in full, s (from one block) | compared in full | found | planted |"
    rows = [
        f"| {one['films']:,} | {one['pairs']:,} | {one['search']['median']:.1f} | {one['all in full']['median']:.0f} | "  # type: ignore[index]
        f"{one['compared in full']:,} | {one['found']:,} | {one['copies']:,} |"
        for one in results
    ]
    lines = ["# Near-duplicates among many films", "", head, "|---|---|---|---|---|---|---|", *rows]
    kinds = alike(films)
    of = "real films" if args.data is not None and args.data.is_dir() else "synthetic films"
    lines += ["", f"| {len(real)} {of} | absolute correlation at {SIDE} x {SIDE} |", "|---|---|"]
    lines += [f"| {name} | {value:.5f} |" for name, value in kinds.items()]
    save(
        "near_duplicates", "\n".join(lines), {"threshold": THRESHOLD, "side": SIDE, "results": results, "alike": kinds}
    )


if __name__ == "__main__":
    main()
