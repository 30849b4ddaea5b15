"""What an archive costs before anything is built: headers read, read again with an index, joined, reported.

    python benchmarks/archive.py [--files 20000] [--rounds 3] [--folder FOLDER]

The archive is synthetic (`resload.testing.write_archive`), its files lie in the page cache: what is measured is the
processor's share, which a slow disk or server comes on top of. pydicom reads the same files on one thread, up to the
pixels, for the same attributes: whoever writes the loop by hand begins with that. Memory is the largest that a process
which makes the catalog, and does nothing else, has had.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pydicom
from common import interleaved, save, seconds, summary

import resload
from resload.catalog.objects import BASE
from resload.testing import write_archive

FINDINGS = ("Pneumothorax", "Effusion")
SAMPLE = 2000
"""Files that pydicom reads."""


def by_hand(paths: list[Path]) -> None:
    """The attributes of a catalog, by pydicom."""
    names = [name for name in BASE if "." not in name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd files, which are many here
        for path in paths:
            try:
                pydicom.dcmread(path, stop_before_pixels=True, specific_tags=names)
            except (pydicom.errors.InvalidDicomError, EOFError, ValueError, OSError):
                continue


def peak_mb(root: Path) -> float:
    """Largest memory of a fresh process that makes the catalog."""
    code = f"import resload; resload.Catalog.from_dicom({str(root)!r}, progress=False)"
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def measured(folder: Path, count: int, rounds: int) -> dict[str, object]:
    """Seconds of each step, and what there was to do."""
    made = write_archive(folder / "hospital", count)
    index = folder / "headers.jsonl"
    catalog = resload.Catalog.from_dicom(made.archive, index=index, progress=False)
    joined = catalog.join(made.reports, on="AccessionNumber", targets=FINDINGS)
    paths = sorted(path for path in made.archive.rglob("*") if path.is_file())
    sample = paths[:: max(1, len(paths) // SAMPLE)]
    work = {
        "from_dicom": lambda: seconds(lambda: resload.Catalog.from_dicom(made.archive, progress=False)),
        "from_dicom, index": lambda: seconds(
            lambda: resload.Catalog.from_dicom(made.archive, index=index, progress=False)
        ),
        "pydicom by hand": lambda: seconds(lambda: by_hand(sample)) * len(paths) / len(sample),
        "join": lambda: seconds(lambda: catalog.join(made.reports, on="AccessionNumber", targets=FINDINGS)),
        "catalog_report": lambda: seconds(lambda: resload.catalog_report(joined)),
    }
    times = interleaved(work, rounds)
    return {
        "files": len(paths),
        "rows": len(catalog),
        "peak_mb": peak_mb(made.archive),
        "steps": {name: summary(values) for name, values in times.items()},
    }


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to put the archive (default: a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        found = measured(Path(folder), args.files, args.rounds)
    files = found["files"]
    rows = [
        f"| {name} | {one['median']:.2f} | {1000 * one['median'] / files:.3f} |"  # type: ignore[operator]
        for name, one in found["steps"].items()  # type: ignore[attr-defined]
    ]
    head = f"An archive of {files:,} files, {found['rows']:,} radiographs; peak memory {found['peak_mb']:.0f} MB."
    lines = [head, "", "| step | s | ms per file |", "|---|---:|---:|", *rows]
    save("archive", "\n".join(lines), found)


if __name__ == "__main__":
    main()
