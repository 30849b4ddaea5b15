"""How near a size that is not stored comes to the direct resize: plainly resized levels, and composite ones.

    python benchmarks/fidelity.py [--data FOLDER] [--films 90] [--ship] [--again]

Every film is made square at n pixels a side, as a source (uint8; from a larger film by the library's own resize). Of
the source a level of L pixels is made as caches hold it, rounded to uint8, and from the level t pixels a side:

    plain       the level resized with the triangle kernel
    composite   resload.composite

both before rounding, against the float64 resize of the source to t. Per cell (n / L, L, t / L): the rmse over all
films and that of the worst film, and the largest error of any pixel, in grey levels of 255.

`--ship` writes resload/composite/fidelity.json, which `composite.expected` reads: rmse of the worst film, largest
error of any pixel, of real and of synthetic films, rounded up. Cells that no film is large enough for take the values
of the next smaller n / L. Between the cells, and below the smallest level, some thousand questions of small synthetic
films are asked at random; where one errs more than its neighbours say, they say so from then on. `--again` takes the
cells from the last results instead of measuring them.
`benchmarks/fidelity_choices.py` measures what composite.py could do differently, on the same films;
`benchmarks/fidelity_figure.py` draws the picture.
"""

import argparse
import itertools
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, environment, save

from resload import composite, intensity, reference, resampling
from resload.decode import decode
from resload.errors import DecodeError
from resload.size import Size
from resload.testing import synthetic_film

RATIOS = (1.1, 1.25, 4 / 3, 1.6, 2.0, 3.0, 4.0, 8.0, 16.0)
LEVELS = (64, 128, 256, 512, 600, 820, 1024)
SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 31 / 32, 5 / 4, 3 / 2, 2.0)
SHIPPED = Path(composite.__file__).parent / "fidelity.json"
QUESTIONS = 4000
SHOWN = ((2, 512), (4, 256), (8, 128), (1.6, 600), (4, 512))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("RESLOAD_DATA"), help="a folder of real films")
    parser.add_argument("--films", type=int, default=10_000, help="at most, of each shape")
    parser.add_argument("--ship", action="store_true", help="write the package's table")
    parser.add_argument("--again", action="store_true", help="take the cells from the last results")
    args = parser.parse_args()
    if args.again:
        SHIPPED.write_text(shipped(json.loads((RESULTS / "fidelity.json").read_text())["cells"]))
        return
    if args.data is None:
        parser.error("--data is needed, or RESLOAD_DATA: errors are measured on real films")
    films = real_films(args.data, args.films)
    cells = list(measured(films, synthetic_films()))
    if args.ship:
        SHIPPED.write_text(shipped(cells))
    counts = {f"{h} x {w}": sum(f.shape == (h, w) for f in films) for h, w in sorted({f.shape for f in films})}
    save("fidelity", table(cells), {"films": counts, "cells": cells})


# -- films --------------------------------------------------------------------------------------------------


def real_films(folder: Path, most: int) -> list[np.ndarray]:
    """Every film below the folder that decodes, as uint8 at display values; at most `most` of each shape."""
    found: dict[tuple[int, ...], dict[bytes, np.ndarray]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".png", ".dcm"):
            try:
                film, _ = intensity.apply(decode(path), dtype="uint8")
            except DecodeError as refused:
                print(f"left out: {refused}")
                continue
            alike = found.setdefault(film.shape, {})
            if len(alike) < most:
                alike[film.tobytes()] = film  # one picture comes in several syntaxes
    return [film for alike in found.values() for film in alike.values()]


def synthetic_films() -> list[np.ndarray]:
    """As the tests draw them: they know no real film, and are held to the table too."""
    return [synthetic_film(index, size=size).pixels for size in (1024, 2400) for index in range(8)]


def source(film: np.ndarray, n: int) -> np.ndarray:
    """The film as (n, n) uint8; as it is where that is its shape."""
    return resampling.pyramid(film, [Size(n, n)])[0]


# -- cells --------------------------------------------------------------------------------------------------


def sides(ratio: float, level: int) -> int:
    """Pixels of the source, where a 1024 px film may stand for 1025."""
    n = round(ratio * level)
    return 1024 if n == 1025 else n


def measured(films: list[np.ndarray], drawn: list[np.ndarray]) -> Iterator[dict]:
    """Each cell that a film is large enough for."""
    by_side: dict[int, list[tuple[float, int]]] = {}
    for level in LEVELS:
        for ratio in RATIOS:
            by_side.setdefault(sides(ratio, level), []).append((ratio, level))
    for n, pairs in sorted(by_side.items()):
        sources = {
            name: [source(film, n) for film in some if min(film.shape) >= n]
            for name, some in (("films", films), ("synthetic", drawn))
        }
        for ratio, level in pairs if sources["films"] else []:
            yield from served(n, ratio, level, sources)
        print(f"n = {n}: {len(sources['films'])} films, levels {[level for _, level in pairs]}", flush=True)


def served(n: int, ratio: float, level: int, sources: dict[str, list[np.ndarray]]) -> Iterator[dict]:
    """The cells of one level: each target from it."""
    stored = {k: [resampling.pyramid(one, [Size(level, level)])[0] for one in some] for k, some in sources.items()}
    for share in SHARES:
        target = round(share * level)
        direct = {name: directly(some, target) for name, some in sources.items()}
        axis = composite.weights(n, level, target)
        yield {
            **{"film_over_level": ratio, "n": n, "level": level, "target_over_level": share, "target": target},
            "films": len(sources["films"]),
            "plain": errors(directly(stored["films"], target), direct["films"]),
            "composite": errors(composed(stored["films"], axis), direct["films"]),
            "synthetic": errors(composed(stored["synthetic"], axis), direct["synthetic"]),
        }


def directly(images: list[np.ndarray], target: int) -> list[np.ndarray]:
    """Each (n, n) image resized to (target, target) in float64, as `reference.resample` does."""
    n = images[0].shape[0]
    first, width = windows(n, target)
    pixels = first[:, None] + np.arange(width)
    taps = torch.from_numpy(reference.weights_at(pixels, n, target, "triangle")).reshape(-1)
    index, begins = torch.from_numpy(pixels.reshape(-1)), torch.arange(0, pixels.size, width)

    def summed(rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.embedding_bag(index, rows, begins, mode="sum", per_sample_weights=taps)

    floats = (torch.from_numpy(one.astype(np.float64)) for one in images)
    return [summed(summed(one).t().contiguous()).t().numpy() for one in floats]


def windows(n: int, target: int) -> tuple[np.ndarray, int]:
    """The first pixel under each triangle, and how many pixels any of them covers at most."""
    reach = max(n / target, 1.0)
    width = min(n, int(np.ceil(2 * reach)) + 2)
    first = np.floor((np.arange(target) + 0.5) * n / target - reach - 0.5).astype(np.int64)
    return first.clip(0, n - width), width


def composed(stored: list[np.ndarray], axis: composite.Weights) -> list[np.ndarray]:
    return [composite.resample_float(level, axis, axis) for level in stored]


def errors(made: list[np.ndarray], direct: list[np.ndarray]) -> dict:
    """Over all films, and of the film and the pixel that came out worst."""
    distances = [one - wanted for one, wanted in zip(made, direct, strict=True)]
    squares = [float((distance**2).mean()) for distance in distances]
    worst = max(float(np.abs(distance).max()) for distance in distances)
    roots = np.sqrt(squares)
    return {
        "rmse": round(float(np.sqrt(np.mean(squares))), 5),
        "rmse_95th_film": round(float(np.quantile(roots, 0.95)), 5),
        "rmse_worst_film": round(float(roots.max()), 5),
        "worst": round(worst, 4),
    }


# -- what is kept ---------------------------------------------------------------------------------------------


def shipped(cells: list[dict]) -> str:
    found = {(c["film_over_level"], c["level"], c["target_over_level"]): c for c in cells}
    for level in LEVELS:
        for share in SHARES:
            for smaller, ratio in itertools.pairwise(RATIOS):
                found.setdefault((ratio, level, share), found[smaller, level, share])
    document = {
        "made_by": "benchmarks/fidelity.py --ship",
        "date": environment()["date"],
        "film_over_level": RATIOS,
        "level": LEVELS,
        "target_over_level": SHARES,
    }
    asked = list(questions())
    for name, kept, digits in (("rmse", "rmse_worst_film", 1000), ("worst", "worst", 100)):
        most = {where: max(cell[of][kept] for of in ("composite", "synthetic")) for where, cell in found.items()}
        for place, error in asked:
            beside = [neighbours(grid, value) for grid, value in zip((RATIOS, LEVELS, SHARES), place, strict=True)]
            if error[kept] > max(most[where] for where in itertools.product(*beside)):
                most |= {where: max(most[where], error[kept]) for where in itertools.product(*beside)}
        document[name] = [
            [[math.ceil(most[ratio, level, share] * digits) / digits for share in SHARES] for level in LEVELS]
            for ratio in RATIOS
        ]
    lines = json.dumps(document).replace(', "', ',\n "').replace("[[", "[\n [").replace("]], ", "]],\n  ")
    return lines.replace("], [", "],\n  [") + "\n"


def questions() -> Iterator[tuple[tuple[float, float, float], dict]]:
    """Errors at random places (n / L, L, t / L) of synthetic films, reduced to n as the real ones are."""
    rng = np.random.default_rng(0)
    films = [synthetic_film(index, size=1024).pixels for index in range(20)]
    drawn = {n: source(films[index % 20], n) for index, n in enumerate(range(120, 620, 5))}
    for _ in range(QUESTIONS):
        n = int(rng.choice(list(drawn)))
        level = max(20, round(n / float(np.exp(rng.uniform(np.log(1.02), np.log(6))))))
        target = max(4, round(level * rng.uniform(0.1, 1.6)))
        if level in (n, target) or level > n:
            continue
        stored = [resampling.pyramid(drawn[n], [Size(level, level)])[0]]
        axis = composite.weights(n, level, target)
        yield (n / level, level, target / level), errors(composed(stored, axis), directly([drawn[n]], target))


def neighbours(grid: tuple[float, ...], value: float) -> list[float]:
    """The grid's values just below and above, or the one that it is, or the last: as `composite.expected` looks."""
    right = int(np.searchsorted(grid, value))
    if right == len(grid) or grid[right] == value:
        return [grid[min(right, len(grid) - 1)]]
    return [grid[max(right - 1, 0)], grid[right]]


def table(cells: list[dict]) -> str:
    """The cells that people ask for; all of them are in the JSON."""
    rows = [
        "| film | level -> size | films | plain | composite |",
        "|---|---|---|---|---|",
    ]
    for cell in cells:
        if (cell["film_over_level"], cell["level"]) in SHOWN and cell["target_over_level"] in SHARES[:7]:
            what = f"| {cell['n']} | {cell['level']} -> {cell['target']} | {cell['films']} |"
            rows.append(f"{what} {figures(cell['plain'])} | {figures(cell['composite'])} |")
    rows.append(
        "\nrmse of all films / of the worst film / largest error of a pixel, in grey levels of 255, before rounding."
    )
    return "\n".join(rows)


def figures(found: dict) -> str:
    return f"{found['rmse']:.3f} / {found['rmse_worst_film']:.3f} / {found['worst']:.1f}"


if __name__ == "__main__":
    main()
