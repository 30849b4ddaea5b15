"""The study on films of which can be computed where its plateaus must be.

    python benchmarks/synthetic_study.py                      540 phantoms, five sizes, three seeds, the control arm
    python benchmarks/synthetic_study.py --quick              fewer: a minute, for the tests
    python benchmarks/synthetic_study.py --browser chromium   also the report as that browser shows it, for the docs

Phantoms (`resload.testing.phantoms`) hold nodules of 2, 4 and 8 mm, of which an ideal observer sees nothing to speak of
at one pixel to a nodule, and everything at two. The study must find its plateaus there; no network may do better than
the ideal observer; and with the detail of a smaller size, enlarged, networks must do what they do at that size.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import resload
from resload import study
from resload.augment import Sample
from resload.bench.machine import machine
from resload.testing.phantoms import COUNTS, FIELD_MM, ideal_area, name_of, predicted, write_phantoms

RESULTS = Path(__file__).parent / "results"
SHOT = Path(__file__).parent.parent / "docs" / "how-to" / "resolution-study.png"
WHOLE: dict[str, Any] = {"sizes": (8, 16, 32, 64, 128), "seeds": 3, "epochs": 16, "control": True, "margin": 0.05}
QUICK: dict[str, Any] = {"sizes": (8, 16, 32, 64), "seeds": 2, "epochs": 14, "control": False, "margin": 0.05}
FILMS = {"whole": 540, "quick": 480}


def main() -> int:
    """Run it; 1 where the study did not find what was computed."""
    args = arguments()
    begun = time.perf_counter()
    found = studied(args.out, QUICK if args.quick else WHOLE, FILMS["quick" if args.quick else "whole"])
    seconds = time.perf_counter() - begun
    document = summary(found) | {
        "seconds": round(seconds, 1),
        "machine": machine("cpu"),
        "date": time.strftime("%Y-%m-%d"),
    }
    text = markdown(document)
    print(text)
    if not args.quick:
        page = found.write_report()
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "synthetic_study.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        (RESULTS / "synthetic_study.md").write_text(text, encoding="utf-8")
        shutil.copy(page.parent / "figures" / "size.png", RESULTS / "synthetic_study.png")
        if args.browser:
            shoot(args.browser, page, SHOT)
    return int(not all(one["found"] == one["predicted"] for one in document["plateaus"]))


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("synthetic-study"), help="where to write (synthetic-study)")
    parser.add_argument("--quick", action="store_true", help="fewer networks, and nothing written to results/")
    parser.add_argument("--browser", metavar="PROGRAM", help="a Chromium, to draw the report's page for the docs")
    return parser.parse_args()


def shoot(browser: str, page: Path, out: Path) -> None:
    """The top of the page, as a browser shows it, in 256 colours."""
    asked = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,2000"]
    subprocess.run([browser, *asked, f"--screenshot={out}", page.resolve().as_uri()], check=True, capture_output=True)
    from PIL import Image

    Image.open(out).convert("RGB").quantize(256).save(out, optimize=True)


def studied(out: Path, grid: dict[str, Any], films: int) -> study.Study:
    """The study of so many phantoms."""
    catalog = write_phantoms(out / "phantoms", films)
    catalog = catalog.split({"train": 0.55, "val": 0.15, "test": 0.3}, by="patient", seed=0)
    cache = resload.build(catalog, out / "phantoms.zarr", sizes=grid["sizes"], progress=False)
    return study.run(
        cache,
        out / "study",
        task="multilabel",
        batch_size=8,
        lr=0.01,
        transform=mirrored,
        **grid,
    )


def mirrored(sample: Sample) -> None:
    """Left to right and top to bottom, each of every other time: a nodule stays one."""
    for axis in (1, 2):
        if sample.rng.random() < 0.5:
            sample.image = sample.image.flip(axis)


def summary(found: study.Study) -> dict[str, Any]:
    """What was found beside what was computed."""
    table, margin = found.table, found.settings["margin"]
    sizes = sorted({int(size.partition("x")[0]) for size in table["shows"]})
    rows, plateaus = [], []
    for diameter in COUNTS:
        target = name_of(diameter)
        plateau = found.plateau(target)
        expected = predicted(diameter, tuple(sizes), margin)
        plateaus.append({"target": target, "predicted": expected, "found": None if plateau is None else plateau.height})
        for row in table[table["target"] == target].to_dict("records"):
            size = int(row["shows"].partition("x")[0])
            rows.append(
                {
                    "target": target,
                    "arm": row["arm"],
                    "shows": size,
                    "mm_per_pixel": FIELD_MM / size,
                    "pixels_of_nodule": diameter * size / FIELD_MM,
                    "ideal": ideal_area(diameter, size),
                    **{name: row[name] for name in ("value", "low", "high", "sd_seeds", "train_seconds")},
                }
            )
    return {"margin": margin, "plateaus": plateaus, "rows": rows, "networks": len(found.runs)}


def markdown(document: dict[str, Any]) -> str:
    """The same as tables."""
    lines = ["# The study on phantoms", "", "| nodule | plateau computed | plateau found |", "|---|---:|---:|"]
    lines += [f"| {one['target']} | {one['predicted']} px | {one['found']} px |" for one in document["plateaus"]]
    lines += [
        "",
        f"Margin {document['margin']:g}, set beforehand; {document['networks']} networks, {document['seconds']:.0f} s "
        f"in all, {document['machine']['processor']}, {document['machine']['cores']} cores, {document['date']}.",
        "",
        "| nodule | arm | detail of | pixels across | ideal | networks | 95 % interval | SD of seeds | s each |",
        "|---|---|---:|---:|---:|---:|---|---:|---:|",
    ]
    lines += [
        f"| {row['target']} | {row['arm']} | {row['shows']} px | {row['pixels_of_nodule']:g} | {row['ideal']:.3f} "
        f"| {row['value']:.3f} | {row['low']:.3f} to {row['high']:.3f} | {row['sd_seeds']:.3f} "
        f"| {row['train_seconds']:.1f} |"
        for row in document["rows"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
