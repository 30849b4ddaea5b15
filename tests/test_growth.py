"""benchmarks/growth.py and transforms.py, small: they end, and leave what they say they leave."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def ran(name, tmp_path, *words):
    """A script of its own process, as people run it (its workers are forked): what it prints and what it leaves."""
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, BENCHMARKS / f"{name}.py", "--quick", "--results", tmp_path / "out", *words]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "scratch").iterdir()) == []
    with Image.open(tmp_path / "out" / f"{name}.png") as image:
        assert image.size[0] > 600
    table = (tmp_path / "out" / f"{name}.md").read_text()
    assert table.strip() in done.stdout
    return table, json.loads((tmp_path / "out" / f"{name}.json").read_text())


@pytest.mark.slow
def test_the_curves_are_measured(tmp_path):
    """Every curve has a table, its points are positive, and no file of records is left behind.

    Bytes a second are images a second times the bytes of an image, and what is cold says how that was seen.
    """
    table, found = ran("growth", tmp_path)
    titles = [curve["title"] for curve in found["curves"]]
    assert titles == [
        "Resolution",
        "Resolution, in bytes",
        "Threads, cached",
        "Threads, from PNG",
        "Batch size, 64 px",
        "Rows",
        "Rows: to the first batch",
        "Rows: memory",
        "Cold page cache",
    ]
    assert all(f"**{title}**" in table for title in titles)
    assert all(row["least"] > 0 for curve in found["curves"] for row in curve["rows"])
    images, volume, cold = found["curves"][0], found["curves"][1], found["curves"][-1]
    pixels = {"numpy.take, 2 threads": 1, "Loader, uint8": 1, "Loader, float32 normalised": 4}
    for one, other in zip(images["rows"], volume["rows"], strict=True):
        assert other["median"] == pytest.approx(one["median"] * one["at"] ** 2 * pixels[one["line"]] / 1e6)
    assert any("left in memory" in note or "Not cold" in note or "Not measured" in note for note in cold["notes"])


def test_transforms_are_measured(tmp_path):
    """Threads and workers for each transform, a sentence that says which is ahead, and what was left out."""
    table, found = ran("transforms", tmp_path, "--only", "none, 256", "Python, 0.05")
    assert list(found["cases"]) == ["none, 256 px", "Python, 0.05 ms"]
    for case in found["cases"].values():
        assert case["images"] == 64
        assert list(case["images_per_second"]) == ["1 thread", "2 threads", "0 workers", "1 worker", "2 workers"]
        assert all(rate["least"] > 0 for rate in case["images_per_second"].values())
    assert found["said"][0].startswith("Two workers are ahead of two threads")
    assert all(sentence in table for sentence in found["said"])


@pytest.fixture
def scripts(monkeypatch):
    """The folder of the scripts is where they look for each other."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_many_rows_are_a_whole_cache(scripts, tmp_path):
    """Hard links make a cache whose every record is read and verified as any other's, on the disk of two shards."""
    from many_rows import disk_bytes, make

    import resload

    cache = resload.open_cache(make(tmp_path / "many.zarr", 5_000, 32))
    assert len(cache) == 5_000
    assert cache.read(range(5_000), 32).any(axis=(1, 2)).all()
    shards = [path for path in (tmp_path / "many.zarr" / "images").rglob("c/*/0/0") if path.is_file()]
    assert len(shards) > 64
    assert disk_bytes(tmp_path) < sum(path.stat().st_size for path in shards) / 2


def test_dropped_files_are_not_in_memory(scripts, tmp_path):
    """What `drop` forgets, `in_memory` no longer finds, where the file system keeps files elsewhere at all."""
    from growth_cold import drop, in_memory

    path = tmp_path / "file"
    path.write_bytes(os.urandom(1 << 20))
    assert in_memory(path) == 1
    drop(path)
    if in_memory(path) == 1:
        pytest.skip("this file system keeps its files in memory")
    assert in_memory(path) == 0
    path.read_bytes()
    assert in_memory(path) == 1
