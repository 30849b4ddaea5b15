"""What composite resizes could do differently, and what that does to their errors on real films.

    python benchmarks/fidelity_choices.py [--data FOLDER] [--films 12]

Each choice of resload/composite/axis.py changed alone, on levels made from 1024 px films: the number of taps, what
films are taken to be like (and nothing: `white`), the rounding assumed, the outermost line, how many source pixels
stand for films of all lengths. Then levels of 16 bits; and two levels together, the best mixture of what each of
them gives, chosen in hindsight. rmse over all films in grey levels of 255, before rounding.
"""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

import numpy as np
from common import save
from fidelity import composed, directly, real_films

from resload import composite, resampling
from resload.composite import axis
from resload.size import Size

N = 1024
PAIRS = ((512, 448), (512, 320), (512, 256), (256, 160), (128, 64), (600, 300))
WHITE = 1e-12
CHOICES = {
    "as it is": {"_LEAST_TAPS": axis._LEAST_TAPS},
    "6 taps": {"_LEAST_TAPS": 6, "_MORE_TAPS": 2},
    "10 taps": {"_LEAST_TAPS": 10, "_MORE_TAPS": 6},
    "12 taps": {"_LEAST_TAPS": 12, "_MORE_TAPS": 8},
    "20 taps": {"_LEAST_TAPS": 20, "_MORE_TAPS": 16},
    "white, not rounded, no odd line (pseudo-inverse), 8 taps": {
        "_ROUGHNESS": WHITE, "_NOISE": {"uint8": WHITE}, "_EDGE": 0.0,
    },
    "pseudo-inverse, 12 taps": {
        "_ROUGHNESS": WHITE, "_NOISE": {"uint8": WHITE}, "_EDGE": 0.0, "_LEAST_TAPS": 12, "_MORE_TAPS": 8,
    },
    "pseudo-inverse, 20 taps": {
        "_ROUGHNESS": WHITE, "_NOISE": {"uint8": WHITE}, "_EDGE": 0.0, "_LEAST_TAPS": 20, "_MORE_TAPS": 16,
    },
    "roughness 1": {"_ROUGHNESS": 1.0},
    "roughness 1.8": {"_ROUGHNESS": 1.8},
    "rounding 1e-4": {"_NOISE": {"uint8": 1e-4}},
    "rounding 1e-2": {"_NOISE": {"uint8": 1e-2}},
    "no odd line": {"_EDGE": 0.0},
    "odd line 30": {"_EDGE": 30.0},
    "3 source pixels": {"_OVERSAMPLING": 3},
    "8 source pixels": {"_OVERSAMPLING": 8},
    "the film's own length": {"_LENGTH_FREE": 100},
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("RESLOAD_DATA"), help="a folder of real films")
    parser.add_argument("--films", type=int, default=12)
    args = parser.parse_args()
    if args.data is None:
        parser.error("--data is needed, or RESLOAD_DATA: errors are measured on real films")
    films = [film for film in real_films(args.data, 10_000) if film.shape == (N, N)]
    films = films[:: max(1, len(films) // args.films)][: args.films]
    found = {f"{level} -> {target}": choices(films, level, target) for level, target in PAIRS}
    mixed = {f"512 and 256 -> {target}": mixture(films, 512, 256, target) for target in (320, 224, 128)}
    rows = [f"| choice | {' | '.join(found)} |", "|---|" + "---|" * len(found)]
    names = next(iter(found.values()))
    rows += [f"| {name} | {' | '.join(f'{found[pair][name]:.3f}' for pair in found)} |" for name in names]
    rows += ["", "| two levels | of the first | rmse of the first alone | of both |", "|---|---|---|---|"]
    rows += [f"| {name} | {m['share']:.3f} | {m['alone']:.3f} | {m['both']:.3f} |" for name, m in mixed.items()]
    head = f"{len(films)} films of {N} px; rmse in grey levels of 255.\n\n"
    save("fidelity_choices", head + "\n".join(rows), {"films": len(films), "choices": found, "two_levels": mixed})


def choices(films: list[np.ndarray], level: int, target: int) -> dict[str, float]:
    """The error by what was chosen."""
    direct, stored = directly(films, target), levels(films, level)
    found = {"plain": rmse(directly(stored, target), direct)}
    for name, changed in CHOICES.items():
        with mock.patch.multiple(axis, **changed):
            axis._whole.cache_clear()
            found[name] = rmse(composed(stored, composite.weights(N, level, target)), direct)
    axis._whole.cache_clear()
    deep = levels([film.astype(np.uint16) * 257 for film in films], level)
    made = composed(deep, composite.weights(N, level, target, depth="uint16"))
    found["16-bit level"] = rmse([one / 257 for one in made], direct)
    return found


def mixture(films: list[np.ndarray], first: int, second: int, target: int) -> dict[str, float]:
    """The share of the first level's answer in the mixture that is best for these films, and what it gains."""
    direct = directly(films, target)
    one, two = (composed(levels(films, level), composite.weights(N, level, target)) for level in (first, second))
    apart = np.concatenate([(a - b).ravel() for a, b in zip(one, two, strict=True)])
    wanted = np.concatenate([(d - b).ravel() for d, b in zip(direct, two, strict=True)])
    share = float(apart @ wanted / (apart @ apart))
    both = [share * a + (1 - share) * b for a, b in zip(one, two, strict=True)]
    return {"share": share, "alone": rmse(one, direct), "both": rmse(both, direct)}


def levels(films: list[np.ndarray], side: int) -> list[np.ndarray]:
    return [resampling.pyramid(film, [Size(side, side)])[0] for film in films]


def rmse(made: Iterable[np.ndarray], direct: Iterable[np.ndarray]) -> float:
    return float(np.sqrt(np.mean([((a - b) ** 2).mean() for a, b in zip(made, direct, strict=True)])))


if __name__ == "__main__":
    main()
