"""`resload bench`: what it measures, what follows from numbers, and what it says. Nothing here depends on speed."""

import dataclasses
import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from crc32c import crc32c
from PIL import Image
from trees import reworded

import resload
from resload.bench import Found, Settings, Stage, measured, pages, records
from resload.bench import machine as machine_room
from resload.bench.advice import advice
from resload.bench.clock import Rate, alone, of_stream, on_threads, rate_of
from resload.bench.document import document
from resload.bench.drawing import draw
from resload.bench.films import FilmSteps
from resload.bench.found import bottleneck, lane_sum, shares
from resload.bench.lines import lines
from resload.bench.machine import cgroup_cores, machine, pillow
from resload.bench.model import step_of
from resload.bench.records import sample
from resload.cli import main
from resload.errors import ArgumentError, CatalogError
from resload.memory import free_bytes
from resload.store import layout
from resload.testing import write_synthetic

QUICK = Settings(seconds=0.02, threads=2, batch_size=4)


def bench(data, **changes):
    """A quick measurement."""
    own = {name: changes.pop(name) for name in ("model", "needs") if name in changes}
    return measured(data, dataclasses.replace(QUICK, **changes), source="here", progress=False, **own)


# -- what follows from numbers --


HERE = machine("cpu") | {"cores": 2, "free_bytes": 10**9}


def rate(value):
    return Rate(value, 0.9 * value, 1.1 * value, 5)


def stage(name, value, lane="threads", *, threads=2, size=65536):
    return Stage(name, rate(value), threads, size, lane)


def found(*stages, loader=1000.0, one=None, kind="cache", **about):
    """What a measurement could have found: the loader makes 1,000 images/s, on two of two cores."""
    given = {
        "source": "films.zarr" if kind == "cache" else "films",
        "kind": kind,
        "size": "256x256",
        "level": "256x256" if kind == "cache" else None,
        "dtype": "float32",
        "stored": "uint8",
        "channels": 1,
        "batch_size": 64,
        "threads": 2,
        "device": "cpu",
        "films": 5000,
        "sampled": 500,
        "image_bytes": 262144.0,
        "level_bytes": 3e8,
    }
    about["machine"] = HERE | about.get("machine", {})
    one = None if one is None else rate(one)
    return Found(stages=stages, loader=rate(loader), one_thread=one, **{**given, **about})


READ, SUM, FLOATS = stage("storage, warm", 20000), stage("checksum", 50000), stage("convert", 20000)


def test_shares_are_of_the_loaders_time_and_the_rest_is_everything_else():
    """A step that could do 4,000 where the loader does 1,000 is a quarter of it; what is beside the loader is none."""
    it = found(stage("resize", 4000), stage("convert", 2000), stage("storage, cold", 1500, ""))
    assert shares(it) == {"resize": 0.25, "convert": 0.5, "everything else": 0.25}
    assert lane_sum(it, "threads") == 0.75


def test_steps_that_take_longer_alone_are_scaled():
    """Two steps that alone would take twice the loader's time fill it, and nothing is left."""
    it = found(stage("resize", 1000), stage("convert", 1000))
    assert shares(it) == {"resize": 0.5, "convert": 0.5, "everything else": 0.0}
    assert any("alone the steps take 200 %" in line for line in lines(it))


def test_what_a_step_costs_and_moves():
    """Two threads that do 4,000 images/s take 500 us each for an image, and 65,536 bytes each are 262 MB/s."""
    one = stage("resize", 4000)
    assert one.microseconds == pytest.approx(500)
    assert one.megabytes == pytest.approx(262.144)


@pytest.mark.parametrize(
    ("it", "expected"),
    [
        (found(READ, FLOATS, needs=500.0), "the model"),
        (found(stage("resize", 1500), FLOATS, needs=2000.0), "resize"),
        (found(READ, FLOATS), "everything else"),
        (found(stage("storage, cold", 300, ""), stage("convert", 1200), level_bytes=1e12), "storage, cold"),
        (found(stage("storage, cold", 300, ""), stage("convert", 1200)), "convert"),
        (found(stage("storage, cold", 300, ""), READ, needs=500.0, level_bytes=1e12), "storage, cold"),
        (found(stage("storage, cold", 300, ""), READ, needs=500.0), "the model"),
        (found(READ, stage("copy to device", 1100, "device", threads=1), device="cuda"), "copy to device"),
    ],
)
def test_the_bottleneck(it, expected):
    """The model where the loader is faster; storage where it is slow and memory too small; else the largest step."""
    assert bottleneck(it) == expected


RULES = {
    "the model is the bottleneck": (found(READ, needs=400.0), found(READ, needs=1200.0)),
    "so what either saves is gained": (
        found(READ, model=rate(1000), together=rate(490)),
        found(READ, model=rate(1000), together=rate(900)),
    ),
    "in each other's way": (
        found(READ, model=rate(1000), together=rate(300)),
        found(READ, model=rate(1000), together=rate(490)),
    ),
    "the calling thread does both": (
        found(READ, model=rate(1000), together=rate(300), device="cuda"),
        found(READ, model=rate(1000), together=rate(300)),
    ),
    "the first epoch waits for it": (
        found(stage("storage, cold", 300, "")),
        found(stage("storage, cold", 300, ""), level_bytes=1e12),
    ),
    "copy the cache to a local disk": (
        found(stage("storage, cold", 300, ""), level_bytes=1e12),
        found(stage("storage, cold", 3000, ""), level_bytes=1e12),
    ),
    "build a cache, or copy the films here": (
        found(stage("storage, cold", 300, ""), level_bytes=1e12, kind="films"),
        found(stage("storage, cold", 300, ""), level_bytes=1e12),
    ),
    "resload build films films.zarr --sizes 256) and load from it": (
        found(stage("decode", 1200), kind="films"),
        found(stage("decode", 10000), stage("resize", 1200), kind="films"),
    ),
    "decompressing films is 71 %": (found(stage("decompress", 1400)), found(stage("decompress", 9000), SUM)),
    "the resize from 512x512 is 71 % of the loader's time: add this size to the cache (resload build SOURCE "
    "films.zarr --sizes 256)": (
        found(stage("resize", 1400), level="512x512"),
        found(stage("resize", 9000), level="512x512"),
    ),
    "a cache stores the resized images": (
        found(stage("resize", 1400), kind="films"),
        found(stage("resize", 1400), level="512x512"),
    ),
    "--dtype uint8, channels=1": (found(stage("convert", 1400)), found(FLOATS)),
    ", of 3 channels alike": (found(stage("convert", 1400), channels=3), found(stage("convert", 1400))),
    "keep a cache's images on the device (resident=True) where they fit": (
        found(READ, stage("copy to device", 1100, "device", threads=1), device="cuda"),
        found(stage("convert", 1100), stage("copy to device", 9000, "device", threads=1), device="cuda"),
    ),
    "access='memory'": (found(stage("storage, warm", 1400)), found(READ)),
    "a cache of 8 bit": (
        found(stage("copy from memory", 1400), stored="uint16"),
        found(stage("copy from memory", 1400)),
    ),
    "they stay on": (found(stage("checksum", 1400)), found(SUM)),
    "larger batches than 64": (found(READ), found(stage("convert", 1100))),
    "use more of the 8 cores (--threads 8)": (
        found(READ, one=520, machine={"cores": 8}),
        found(READ, one=520, machine={"cores": 2}),
    ),
    "more cores would help": (found(READ, one=520, needs=3000.0), found(READ, one=520)),
    "more of them will not help": (found(READ, one=950), found(READ, one=520)),
    "computed in software": (
        found(READ, machine={"cores": 2, "crc32c": {"hardware": False}}),
        found(READ, machine={"cores": 2, "crc32c": {"hardware": True}}),
    ),
}


@pytest.mark.parametrize("sentence", RULES)
def test_each_rule_speaks_where_it_should_and_nowhere_else(sentence):
    """The sentence is there for the first numbers, and not for the second ones, which differ in what matters."""
    there, elsewhere = RULES[sentence]
    assert sum(sentence in said for said in advice(there)) == 1
    assert not any(sentence in said for said in advice(elsewhere))


def test_nothing_about_the_loader_where_the_model_is_the_bottleneck():
    """Whatever is large in it: the loader is fast enough, and says how many times."""
    it = found(stage("convert", 1100), one=980, needs=400.0)
    assert advice(it) == ["nothing: the model is the bottleneck; the loader is 2.5 times as fast"]


def test_a_remedy_is_said_once():
    """Films that are decompressed and resized have one: the size stored."""
    it = found(stage("decompress", 2000), stage("resize", 2100), level="native")
    assert sum("add this size" in said for said in advice(it)) == 1


def test_what_a_model_would_need_is_always_said():
    """The loader's own speed, with what this model takes where it is known."""
    limit = "a model that takes more than 1,000 images/s would wait for the loader"
    assert any(line.startswith(limit) for line in lines(found(READ)))
    assert f"{limit}; this one needs 400" in lines(found(READ, needs=400.0))
    assert f"{limit}; m:f takes 250" in lines(found(READ, model=rate(250), model_name="m:f"))


# -- the clock --


def test_rounds_are_the_median_and_their_range():
    """Of three rounds the middle one, with the least and the most."""
    assert rate_of([3.0, 1.0, 2.0]) == Rate(2.0, 1.0, 3.0, 3)


def test_work_on_threads_runs_on_each_of_them():
    """Each thread does its own work, and what one raises is raised."""
    seen = set()

    def work(k):
        def once():
            seen.add(k)
            return 1

        return once

    assert on_threads(work, 3, 0.01).median > 0
    assert seen == {0, 1, 2}
    with pytest.raises(ZeroDivisionError):
        on_threads(lambda k: lambda: 1 // (k - 1), 2, 0.01)


def test_long_work_ends_after_its_budget():
    """One unit of work that takes longer than all of the time is warmed up once and counted once."""
    calls = []
    found = alone(lambda: calls.append(pause(0.03)) or 5, 0.02)
    assert (found.runs, len(calls)) == (1, 2)


def pause(seconds):
    import time

    time.sleep(seconds)


def test_a_stream_is_begun_anew_and_its_first_items_do_not_count():
    """Passes follow each other until there are enough rounds; images are counted as they are told."""
    passes, counted = [], []

    def one_pass():
        passes.append(None)
        for number in range(6):
            pause(0.001)
            yield number

    def images(item):
        counted.append(item)
        return 10

    found = of_stream(one_pass, images, 0.1, skip=2)
    assert found.median < 10 / 0.001
    assert len(passes) > 1
    assert not {0, 1} & set(counted)


# -- pages --


def test_dropped_pages_are_known_to_be_gone_or_it_is_said(tmp_path):
    """A file on a disk is read cold after it was synced; one whose pages stay is not called cold."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    with path.open("rb") as file:
        os.fsync(file.fileno())
    pieces = [pages.Piece(path, k << 16, 1 << 16) for k in range(16)]
    sweep = pages.swept(pieces, pages.Whole(), 2, 0.5)
    assert sweep.cold == (sweep.reason == "")
    assert 1 <= sweep.read <= 16
    assert sweep.rate.median > 0


def test_a_cold_rate_is_not_given_where_pages_stay(monkeypatch, tmp_path, cache8):
    """Nor where nobody can tell: the reason is in the document, and no number."""
    monkeypatch.setattr(pages, "_in_memory", lambda descriptor, offset: True)
    it = document(bench(cache8, size=64))
    assert "storage, cold" not in [one["name"] for one in it["stages"]]
    assert it["left_out"]["storage, cold"].startswith("pages stayed in memory (100 %")
    monkeypatch.setattr(pages, "_in_memory", lambda descriptor, offset: None)
    assert "does not say" in bench(cache8, size=64).left_out["storage, cold"]
    monkeypatch.delattr(os, "posix_fadvise")
    assert "cannot be asked" in bench(cache8, size=64).left_out["storage, cold"]


def test_what_is_read_is_what_was_asked(tmp_path):
    """A piece's bytes, at its offset, and a whole file."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    buffer = memoryview(bytearray(8))
    with pages.Kept([pages.Piece(path, 3, 4)]) as files:
        assert files.read(pages.Piece(path, 3, 4), buffer) == 4
        assert bytes(buffer[:4]) == b"3456"
    assert pages.Whole().read(pages.Piece(path, 0, 10), buffer) == 10


# -- a cache --


def stages_of(found):
    return [one.name for one in found.stages if one.name != "storage, cold"]


def test_a_stored_size(tmp_path, films8):
    """Records that are not held in memory are read and summed, and converted where floats are asked for."""
    large = resload.build(films8, tmp_path / "large.zarr", (160,), progress=False)
    it = bench(large)
    assert (it.size, it.level, it.kind, it.batch_size) == ("160x160", "160x160", "cache", 4)
    assert stages_of(it) == ["storage, warm", "checksum", "convert"]
    assert all(one.lane == "threads" for one in it.stages if one.name != "storage, cold")
    assert stages_of(bench(large, dtype="uint8")) == ["storage, warm", "checksum"]
    assert stages_of(bench(large, dtype="uint8", channels=3)) == ["storage, warm", "checksum", "convert"]
    assert stages_of(bench(large, dtype="bfloat16")) == ["storage, warm", "checksum", "convert"]


def test_a_level_held_in_memory(cache):
    """It is read once and then copied from memory: reading and summing are no part of the loader's time."""
    it = bench(cache, size=64)
    assert stages_of(it) == ["storage, warm", "checksum", "copy from memory", "convert"]
    assert {one.name for one in it.stages if one.lane} == {"copy from memory", "convert"}


def test_an_unstored_size(cache8):
    """It is resized from its level, which the document names with the error to expect."""
    it = bench(cache8, size=40)
    assert (it.size, it.level) == ("40x40", "64x64")
    assert "resize" in stages_of(it)
    assert it.expected_rmse == cache8.serving(40).rmse > 0


def test_the_native_level(tmp_path, films8):
    """A size made from the films at their own size is decompressed and resized."""
    it = bench(resload.build(films8, tmp_path / "native.zarr", (32, "native"), progress=False), size=100)
    assert stages_of(it) == ["storage, warm", "checksum", "decompress", "resize", "convert"]
    assert it.level == "native"


def test_another_device_gets_stored_bytes(cache8):
    """On a device floats are made there, and levels resized there; the CPU's steps are reading and summing alone."""
    it = bench(cache8, size=40, device="meta")
    lanes = {one.name: one.lane for one in it.stages if one.lane}
    assert lanes.pop("copy from memory") == "threads"
    assert lanes == {"copy to device": "device", "convert": "device", "resize on device": "device"}
    assert {one.name for one in bench(cache8, size=64, device="meta", dtype="uint8").stages if one.lane} == {
        "copy from memory",
        "copy to device",
    }


def test_the_sample_leaves_out_what_is_quarantined(cache8):
    """Readable rows alone are used, each of them once, in an order that the seed decides."""
    manifest = layout.read_manifest(cache8.path)
    rows = [sample(cache8, manifest, resload.Size(32, 32), seed)[0].tolist() for seed in (0, 0, 1)]
    assert len(cache8.rows()) == len(cache8) - 1
    assert sorted(rows[0]) == cache8.rows().tolist()
    assert rows[0] == rows[1] != rows[2]
    assert bench(cache8).films == len(cache8.rows())


def test_the_records_that_are_read_are_those_of_the_rows(tmp_path, films8):
    """Plain ones are the pixels and their sum; compressed ones lie where the shard's index says."""
    cache = resload.build(films8, tmp_path / "cache.zarr", (160, "native"), progress=False)
    manifest = layout.read_manifest(cache.path)
    for level in cache.sizes:
        rows, pieces = sample(cache, manifest, level, 0)
        for row, piece in zip(rows.tolist(), pieces, strict=True):
            record = piece.path.read_bytes()[piece.offset : piece.offset + piece.length]
            assert crc32c(record[:-4]) == int.from_bytes(record[-4:], "little")
            if level == resload.Size(160, 160):
                assert record[:-4] == cache.read([row], level).tobytes()


def test_the_sample_is_bounded(monkeypatch, cache8):
    """A few shards, records and bytes of a cache, however large it is."""
    manifest = layout.read_manifest(cache8.path)
    assert manifest.groups > 1
    monkeypatch.setattr(records, "MOST_SHARDS", 1)
    rows, pieces = sample(cache8, manifest, resload.Size(64, 64), 0)
    assert len(set(rows // manifest.per_shard)) == len({piece.path for piece in pieces}) == 1
    monkeypatch.setattr(records, "SAMPLE_BYTES", 3 * 4100)
    assert len(sample(cache8, manifest, resload.Size(64, 64), 0)[0]) == 3
    monkeypatch.setattr(records, "MOST_ROWS", 2)
    assert len(sample(cache8, manifest, resload.Size(64, 64), 0)[0]) == 2


def test_nothing_in_the_cache_changes(tmp_path, films8):
    """Neither a byte nor a file of it, nor of the films."""
    path = tmp_path / "films.zarr"
    cache = resload.build(films8, path, (32, 160), progress=False)
    before = {root: contents(root) for root in (path, Path(films8.root))}
    bench(cache, size=100)
    bench(films8, size=32)
    assert {root: contents(root) for root in before} == before


def contents(root):
    files = sorted(file for file in root.rglob("*") if file.is_file())
    return [(file, file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"size": 500}, "500x500 is larger than what is stored"),
        ({"size": "native"}, "a size in pixels is measured, for example 512; found 'native'"),
        ({"dtype": "int8"}, "dtype must be one of float32, float16, bfloat16, uint8, uint16; found 'int8'"),
        ({"dtype": "uint8", "normalize": (0.5, 0.2)}, "normalize needs a float dtype"),
        ({"seconds": 0}, "seconds for each measurement must be above 0; found 0"),
        ({"seconds": math.nan}, "seconds for each measurement must be above 0"),
        ({"batch_size": 0}, "batch_size must be >= 1; found 0"),
        ({"channels": 0}, "channels must be an int >= 1; found 0"),
        ({"threads": 0}, "threads must be an int >= 1"),
        ({"device": "nowhere"}, "not a device that torch knows"),
        ({"needs": 0.0}, "needs must be images per second, above 0; found 0.0"),
        ({"needs": 1.0, "model": "a.py:b"}, "pass one of model and needs"),
    ],
)
def test_what_cannot_be_is_refused(cache8, changes, sentence):
    """Before anything is measured."""
    with pytest.raises(ArgumentError, match=sentence.replace(".", r"\.")):
        bench(cache8, **changes)


# -- films --


def test_films_are_read_decoded_and_resized(films):
    """Of two shapes, PNG and DICOM, 8 to 16 bits; the broken one is counted, named and left out."""
    it = bench(films, size=32)
    assert stages_of(it) == ["storage, warm", "decode", "resize", "convert"]
    assert (it.kind, it.level, it.films) == ("films", None, 40)
    assert 1 <= it.sampled <= 39  # as many as the time allows
    steps = looked_at(films, size=32)
    steps.settle()
    assert steps.images.dtype == np.uint16  # some of them are deep
    assert list(steps.unreadable.values()) == ["the PNG data ends early"]
    assert steps.readable == 39
    told = dataclasses.replace(it, unreadable=steps.unreadable)
    assert "could not be read, and left out: 1" in lines(told)
    assert document(told)["unreadable"] == steps.unreadable


def looked_at(catalog, size):
    """The sample of a catalog, with all the time it takes."""
    steps = FilmSteps(catalog, dataclasses.replace(QUICK, size=size, seconds=60))
    steps.look()
    return steps


def test_the_batch_of_films_is_as_large_as_the_time_allows(films8):
    """Several batches within a measurement, where nobody says how large they are."""
    it = bench(films8, batch_size=None, seconds=0.05)
    assert it.size == "256x256"
    cost = sum(1 / one.rate.median for one in it.stages if one.name in ("storage, warm", "decode", "resize"))
    assert it.batch_size == max(1, min(64, int(0.05 / 10 / cost)))


def test_films_that_are_not_there(tmp_path):
    """Those that are gone count as unreadable; a catalog of nothing else is refused, with a reason."""
    catalog = write_synthetic(tmp_path, 3, size=48, broken=0)
    catalog.path(0).unlink()
    it = bench(catalog, size=16)
    assert list(it.unreadable.values()) == ["the file could not be read (No such file or directory)"]
    for row in (1, 2):
        catalog.path(row).unlink()
    with pytest.raises(CatalogError, match=r"none of 3 films is there; the first: film_0000.: the file could not be"):
        bench(catalog, size=16)


def test_films_that_are_all_broken(tmp_path):
    """Nothing can be measured, and the reason of one of them is told."""
    catalog = write_synthetic(tmp_path, 2, size=48, broken=0)
    for row in range(2):
        catalog.path(row).write_bytes(b"no film")
    with pytest.raises(CatalogError, match=r"none of 2 films could be read: film_0000.: the file is not PNG, JPEG"):
        bench(catalog, size=16)


def test_films_without_spacing_at_a_size_in_millimetres(tmp_path):
    """They cannot be made at that size, so they are no part of the sample."""
    write_synthetic(tmp_path, 8, size=48, broken=0)
    catalog = resload.Catalog.from_folder(tmp_path)
    steps = looked_at(catalog, "0.8mm@32x32")
    assert (steps.readable, len(steps.unreadable)) == (2, 6)
    assert all("its spacing is not known" in reason for reason in steps.unreadable.values())
    assert bench(catalog, size="0.8mm@32x32").size == "0.8mm@32x32"


# -- the model --


@pytest.fixture
def train(tmp_path, monkeypatch):
    """A file train.py in the working directory, with these lines."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="train.py"):
        Path(name).write_text(text)
        return name

    return write


MODULE = """
import torch

class Net(torch.nn.Module):
    def __init__(self, channels=1):
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, 2, 3)

    def forward(self, images):
        return {"name": "x", "logits": (self.conv(images),)}

def three():
    return Net(3)

made = []

def step():
    def one(batch):
        made.append((type(batch).__name__, tuple(batch.images.shape)))
    return one
"""


def test_a_module(train, cache8):
    """Forward and backward on a batch; its gradients are there, and loader and model are measured together."""
    it = bench(cache8, size=64, model=f"{train(MODULE)}:Net")
    assert it.need == it.model.median > 0
    assert it.together.median > 0
    assert it.model_name == "train.py:Net"
    words = lines(it)
    assert any(line.lstrip().startswith("the model ") for line in words)
    assert any(line.lstrip().startswith("loader and model ") for line in words)


def test_a_module_is_trained(train, monkeypatch):
    """A step leaves gradients of the mean of its first output of floats."""
    import sys

    net = []
    train(MODULE)
    step = step_of("train.py:Net", torch.device("cpu"))
    module = sys.modules["resload_user_train"]
    monkeypatch.setattr(module.Net, "forward", lambda self, images: net.append(self) or self.conv(images))

    class Batch:
        images = torch.ones(2, 1, 8, 8, dtype=torch.uint8)

    step(Batch)
    torch.testing.assert_close(net[0].conv.bias.grad, torch.full((2,), 0.5))


def test_a_step(train, cache8):
    """A function of a batch is called as it is, with the loader's own batches."""
    import sys

    it = bench(cache8, size=64, model=f"{train(MODULE)}:step", dtype="uint8", channels=3)
    calls = sys.modules["resload_user_train"].made
    assert set(calls) == {("Batch", (4, 3, 64, 64))}
    assert it.model.median > 0


def test_a_module_by_its_import_name(train, cache8):
    """Packages of the working directory are found, and attributes within attributes."""
    train(MODULE, "nets_of_a_test.py")
    assert bench(cache8, size=64, channels=3, model="nets_of_a_test:three").model is not None


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        ("", "train.py", "--model is PATH.py:NAME or package.module:NAME; found 'train.py'"),
        ("", "gone.py:make", "--model gone.py:make: there is no file gone.py"),
        ("a = 1\n", "train.py:make", "--model train.py:make: train.py has no 'make'; it has a"),
        ("a = 1\n", "train.py:a", "expected a callable without arguments; found int"),
        ("", "no.where:make", "raised while no.where was imported: ModuleNotFoundError: No module named 'no'"),
        (
            "1 / 0\n",
            "train.py:a",
            "while train.py was imported: ZeroDivisionError: division by zero (train.py, line 1)",
        ),
        ("def f(:\n", "train.py:f", "raised while train.py was imported: SyntaxError: "),
        ("raise SystemExit(2)\n", "train.py:f", "SystemExit: 2 (train.py, line 1)"),
        (
            "def f():\n    return 3\n",
            "train.py:f",
            "return a torch.nn.Module or a function step(batch); found int",
        ),
        ("def f(a):\n    pass\n", "train.py:f", "raised when it was called without arguments: TypeError: "),
        (
            "def f():\n    x = []\n    return x[0]\n",
            "train.py:f",
            "IndexError: list index out of range (train.py, line 3",
        ),
        (
            "def f():\n    def step(batch):\n        batch.pixels\n    return step\n",
            "train.py:f",
            "raised in its step, with images (4, 1, 64, 64) torch.float32: AttributeError: 'Batch' object has no "
            "attribute 'pixels' (train.py, line 3)",
        ),
        (
            "import torch\ndef f():\n    return torch.nn.Sequential(torch.nn.Conv2d(3, 1, 3))\n",
            "train.py:f",
            "with images (4, 1, 64, 64) torch.float32: RuntimeError: ",
        ),
        (
            "import torch\nclass N(torch.nn.Module):\n    def forward(self, x):\n        return 3\n",
            "train.py:N",
            "TypeError: the model returned no tensor of floats: int; give a function step(batch)",
        ),
    ],
)
def test_what_is_wrong_with_a_model_names_the_users_line(train, cache8, text, name, sentence):
    """One sentence, before long work."""
    train(text)
    with pytest.raises(ArgumentError) as caught:
        bench(cache8, size=64, model=name)
    assert sentence in str(caught.value)


# -- the command --


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """films/, labels.csv and films.zarr."""
    folder = tmp_path_factory.mktemp("made")
    catalog = write_synthetic(folder / "films", 8, size=64, broken=0)
    catalog.table[["id", "path"]].to_csv(folder / "films" / "labels.csv", index=False)
    resload.build(catalog, folder / "films.zarr", (16, 32), progress=False)
    return folder


@pytest.fixture
def there(made, monkeypatch):
    monkeypatch.chdir(made)


KEYS = {
    "source", "kind", "films", "sampled", "unreadable", "size", "level", "expected_rmse", "stored_sizes",
    "stored_dtype", "stored_bytes", "dtype", "channels", "batch_size", "threads", "device", "stages",
    "everything_else", "loader", "loader_one_thread", "scaling", "model", "together", "needs", "model_would_need",
    "bottleneck", "advice", "left_out", "machine", "out",
}  # fmt: skip


def answer(capfd, *words):
    """The exit code and the document; whatever is not JSON (NaN) or not alone on its stream fails."""
    code = main(["bench", *words, "--seconds", "0.02", "--json"])
    shown = capfd.readouterr()
    assert shown.err == ""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return code, json.loads(shown.out, parse_constant=refuse)


@pytest.mark.parametrize("source", [["films.zarr"], ["films"], ["films/labels.csv"], ["films", "--dicom"]])
def test_the_document(there, capfd, source):
    """The same keys for a cache, a folder, a CSV and an archive; numbers are finite, what is not known is null."""
    code, it = answer(capfd, *source, "--size", "32", "--needs", "12.5", "--threads", "2")
    assert code == 0
    assert set(it) == KEYS
    assert it["kind"] == ("cache" if source == ["films.zarr"] else "films")
    assert it["needs"] == 12.5
    assert it["scaling"] == pytest.approx(it["loader"]["median"] / it["loader_one_thread"]["median"])
    assert it["model_would_need"] == it["loader"]["median"]
    parts = [one["share"] for one in it["stages"] if one["lane"] == "threads"]
    assert sum(parts) + it["everything_else"] == pytest.approx(1)
    for one in it["stages"]:
        assert one["least"] <= one["median"] <= one["most"]
        assert one["us_per_image_and_thread"] == pytest.approx(1e6 * one["threads"] / one["median"])


def test_what_it_was_measured_with_is_told(there, capfd):
    """Processor, cores, and the versions of torch, codecs, crc32c, numpy and Pillow."""
    _, it = answer(capfd, "films.zarr")
    own = it["machine"]
    assert own["torch"]["version"] == torch.__version__
    assert own["torch"]["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert own["numpy"] == np.__version__
    assert any(one.startswith("imagecodecs.png ") for one in own["codecs"]["decoders"])
    assert any(one.startswith("libpng ") for one in own["codecs"]["libraries"])
    assert own["pillow"]["simd"] is False
    assert own["cores"] == len(os.sched_getaffinity(0))
    assert main(["bench", "films.zarr", "--seconds", "0.02"]) == 0
    words = capfd.readouterr().out
    for version in (torch.__version__, np.__version__, own["crc32c"]["version"], own["processor"]):
        assert version in words


@pytest.mark.slow
def test_a_picture(there, capfd, tmp_path):
    """A PNG with something on it; its path is checked before anything is measured."""
    out = str(tmp_path / "bench.png")
    code, it = answer(capfd, "films.zarr", "--size", "24", "--needs", "100", "--out", out)
    assert (code, it["out"]) == (0, out)
    with Image.open(out) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 20
    assert main(["bench", "films.zarr", "--out", str(tmp_path / "bench.jpg")]) == 2
    assert "its path must end in .png" in capfd.readouterr().err


def test_a_picture_of_everything(tmp_path):
    """Model, loop of both and need are on it as well: it is higher than one without them."""
    own = [READ, SUM, FLOATS]
    draw(found(*own), tmp_path / "a.png")
    draw(found(*own, one=600, model=rate(300), together=rate(250)), tmp_path / "b.png")
    with Image.open(tmp_path / "a.png") as less, Image.open(tmp_path / "b.png") as more:
        assert more.size[1] > less.size[1] + 150


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("films.zarr --root x --targets a", 2, "--root, --targets: only where films are read; films.zarr is a cache"),
        ("films.zarr --no-classes", 2, "--no-classes: only where films are read"),
        ("films.zarr --model a.py:b --needs 3", 2, "not allowed with"),
        ("films.zarr --model a.py:b", 2, "there is no file a.py"),
        ("films.zarr --size 33", 2, "33x33 is larger than what is stored"),
        ("nowhere", 2, "there is no such file or folder"),
    ],
)
def test_how_a_wrong_command_ends(there, capfd, words, code, sentence):
    """With 2 and one sentence."""
    assert main(["bench", *words.split()]) == code
    assert sentence in capfd.readouterr().err


def test_an_incomplete_cache_is_refused(tmp_path, capfd):
    """As everywhere: its build did not finish."""
    catalog = write_synthetic(tmp_path / "films", 4, size=32, broken=0)
    path = tmp_path / "films.zarr"
    resload.build(catalog, path, 16, progress=False)
    reworded(path, state="building")
    assert main(["bench", str(path)]) == 1
    assert f"{path}: its build has not finished" in capfd.readouterr().err


# -- the machine --


def test_limits_of_a_container_are_seen(tmp_path):
    """Both versions of cgroups; "max" and -1 are no limit."""
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cgroup_cores(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cgroup_cores(tmp_path) is None
    old = tmp_path / "old"
    (old / "cpu").mkdir(parents=True)
    (old / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (old / "cpu" / "cpu.cfs_quota_us").write_text("400000\n")
    assert cgroup_cores(old) == 4
    (old / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert cgroup_cores(old) is None
    assert cgroup_cores(tmp_path / "none") is None


def test_memory_is_the_smaller_of_what_is_free_and_what_is_allowed(tmp_path):
    """What the system has available, unless a container may have less; None where neither is known."""
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 9 kB\nMemAvailable:    1000 kB\n")
    assert free_bytes(tmp_path, info) == 1_024_000
    (tmp_path / "memory.max").write_text("5000\n")
    assert free_bytes(tmp_path, info) == 5000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(tmp_path, info) == 1_024_000
    assert free_bytes(tmp_path, tmp_path / "none") is None


def test_pillow_simd_is_told_from_pillow(monkeypatch):
    """By the name of the distribution that is installed."""
    versions = {"pillow-simd": "9.5.0.post2", "pillow": "9.5.0"}
    monkeypatch.setattr(machine_room, "_version", versions.get)
    assert pillow() == {"distribution": "pillow-simd", "version": "9.5.0.post2", "simd": True}
    del versions["pillow-simd"]
    assert pillow()["simd"] is False
    versions.clear()
    assert pillow() is None
