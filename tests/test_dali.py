"""DALI itself, on the CPU: run by `make test-dali`, in an environment that has it. Reported as skipped elsewhere."""

import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pytest
from streams import LOSSLESS, LOSSY, film

import resload
from resload import Catalog, Pipeline
from resload.errors import DecodeError
from resload.pipeline import make
from resload.pipeline.engine import engine_of

pytestmark = pytest.mark.dali
EVERY = LOSSLESS | LOSSY


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three files of every kind, and two that are cut short."""
    root = tmp_path_factory.mktemp("kinds")
    for name, file in EVERY.items():
        for seed in range(3):
            (root / f"{name.replace(' ', '_').replace(',', '')}-{seed}.bin").write_bytes(file(seed))
    (root / "cut.bin").write_bytes(LOSSY["JPEG"](9)[:-400])
    good = bytearray(LOSSLESS["JPEG 2000 of 12 bits"](9))
    (root / "cut2.bin").write_bytes(bytes(good[: len(good) // 2]))
    return root


@pytest.fixture(scope="module")
def kinds(folder):
    paths = sorted(folder.glob("*.bin"))
    table = pd.DataFrame({"id": [path.stem for path in paths], "path": [path.name for path in paths]})
    return Catalog(table, root=folder)


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_is_what_imagecodecs_makes_of_it(kind):
    """Bit for bit where the kind loses nothing, and on the CPU also where it does: both use the same libraries."""
    files = [EVERY[kind](seed) for seed in range(6)]
    pipeline = Pipeline((48, "native"), dtype="uint16")
    found, expected = pipeline(files, decode="dali", threads=2), pipeline(files, threads=2)
    assert found.errors == expected.errors == [None] * 6
    for size, images in expected.images.items():
        if kind in LOSSLESS or "JPEG 2000" not in kind:
            assert (found.images[size].numpy() == images.numpy()).all(), size
        else:
            off = np.abs(found.images[size].numpy().astype(int) - images.numpy())
            assert off.max() <= 2 * 257


def test_dali_took_the_kinds_that_it_reads(kinds):
    """The decoder that a cache records is DALI for JPEG, JPEG 2000 and HTJ2K, and imagecodecs for all else."""
    recipe = Pipeline(32, dtype="uint16")
    engine = engine_of("dali", "cpu", 2)
    decoders = {kind: make(recipe, file(0), engine=engine).decoder.split(" ")[0] for kind, file in EVERY.items()}
    dali = {kind for kind, name in decoders.items() if name.startswith("dali.")}
    assert dali == {kind for kind in EVERY if ("JPEG 2000" in kind or "HTJ2K" in kind)} | {
        "JPEG",
        "progressive JPEG",
        "JPEG in DICOM",
    }
    assert decoders["JPEG 2000 of 12 bits"] == "dali.jpeg2k.cpu"
    assert decoders["JPEG"] == "dali.jpeg.cpu"


def test_a_build_stores_what_a_build_without_it_stores(kinds, tmp_path):
    """The same records, quarantine and table but for the column that says who decoded."""
    with_dali = resload.build(kinds, tmp_path / "dali", (32, 64), decode="dali", progress=False)
    without = resload.build(kinds, tmp_path / "cpu", (32, 64), progress=False)
    assert with_dali.quarantine["id"].tolist() == without.quarantine["id"].tolist()
    assert sorted(without.quarantine["id"]) == ["cut", "cut2"]
    assert with_dali.quarantine["reason"].tolist() == without.quarantine["reason"].tolist()
    same = with_dali.table.columns.drop("decoder")
    assert with_dali.table[same].equals(without.table[same])
    rows = without.rows()
    lossless = rows[~without.table["id"].iloc[rows].str.startswith("JPEG_2000_lossy").to_numpy()]
    for size in (32, 64):
        assert (with_dali.read(lossless, size) == without.read(lossless, size)).all()
    for shard in sorted((tmp_path / "cpu" / "images").rglob("c/*/0/0")):
        assert shard.read_bytes() == (tmp_path / "dali" / shard.relative_to(tmp_path / "cpu")).read_bytes()


def test_a_loader_from_files(kinds):
    """Batches of a catalog decoded by DALI are those without it, in order."""
    options = {"pipeline": Pipeline(64, dtype="uint16"), "size": 64, "batch_size": 8, "shuffle": True, "seed": 3}
    rows = [k for k, name in enumerate(kinds.table["id"]) if not name.startswith(("cut", "JPEG_2000_lossy"))]
    found = resload.Loader(kinds, rows=rows, decode="dali", **options)
    for one, other in zip(found, resload.Loader(kinds, rows=rows, **options), strict=True):
        assert one.ids == other.ids
        assert (one.images == other.images).all()


def test_a_bad_file_among_good_ones_is_the_only_one_to_fail():
    """DALI's whole run fails for one stream; the films beside it come out all the same."""
    good = [LOSSLESS["JPEG 2000 of 12 bits"](seed) for seed in range(12)]
    spoiled = bytearray(imagecodecs.jpeg2k_encode(film(12), level=0, codecformat="j2k", bitspersample=12))
    at = spoiled.index(b"\xff\x93")  # start of data: the first packet's header becomes nonsense
    spoiled[at + 2 : at + 60] = b"\xff" * 58
    files = [*good[:6], bytes(spoiled), *good[6:]]
    pipeline = Pipeline(32, dtype="uint16")
    pipeline(good[:3], decode="dali")  # trusted from here on
    found = pipeline(files, decode="dali", threads=4)
    expected = pipeline(files, threads=4)
    assert [type(error) for error in found.errors] == [type(error) for error in expected.errors]
    kept = [k for k, error in enumerate(expected.errors) if error is None]
    (images,), (same,) = found.images.values(), expected.images.values()
    assert (images[kept] == same[kept]).all()


MUTATE = """
import random, sys
import numpy as np
from streams import LOSSLESS, LOSSY
from resload.decode import decode
from resload.errors import DecodeError
from resload.pipeline import make
from resload.pipeline.engine import engine_of
from resload.pipeline.dali import decoder
other, outcomes = decoder(None, 2), {}
for name in ("JPEG", "JPEG 2000 of 12 bits", "HTJ2K of 16 bits"):
    file = (LOSSY | LOSSLESS)[name](0)
    for seed in range(3):
        decode((LOSSY | LOSSLESS)[name](seed), other=other)
    for seed in range(150):
        rng, mutant = random.Random(seed), bytearray(file)
        for _ in range(rng.choice((1, 1, 2, 5))):
            mutant[rng.randrange(len(mutant) // 4, len(mutant))] = rng.randrange(256)
        try:
            found = decode(bytes(mutant), other=other).pixels
        except DecodeError:
            found = None
        try:
            expected = decode(bytes(mutant)).pixels
        except DecodeError:
            expected = None
        if found is not None and expected is not None:
            assert found.shape == expected.shape and (found == expected).all(), (name, seed)
        outcomes[found is None, expected is None] = outcomes.get((found is None, expected is None), 0) + 1
print(outcomes)
assert outcomes[False, False] > 100
"""


def test_damaged_streams_end_no_process():
    """450 streams with wrong bytes, in a process of its own: each is refused, or decodes to what imagecodecs makes."""
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", MUTATE], capture_output=True, text=True, cwd=here, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_dalis_own_reading_of_16_bit_png_is_ours():
    """DALI as an independent oracle of our PNG decoder."""
    from nvidia.dali import Pipeline as Dali
    from nvidia.dali import fn, types

    files = [LOSSLESS["PNG of 16 bits"](seed) for seed in range(4)]
    pipeline = Dali(batch_size=4, num_threads=2, device_id=None)
    with pipeline:
        streams = fn.external_source(name="streams", dtype=types.UINT8, ndim=1)
        pipeline.set_outputs(fn.decoders.image(streams, device="cpu", output_type=types.GRAY, dtype=types.UINT16))
    pipeline.build()
    pipeline.feed_input("streams", [np.frombuffer(file, np.uint8) for file in files])
    (found,) = pipeline.run()
    for k, file in enumerate(files):
        assert (np.array(found.at(k))[..., 0] == resload.decode.decode(file).pixels).all()


def test_the_error_of_a_damaged_stream_says_so():
    """A stream that only DALI is asked for, and fails at."""
    from resload.pipeline.dali import decoder

    line = decoder(None, 2)._lines[8]
    with pytest.raises(DecodeError, match="the compressed data is damaged"):
        line.decode(b"\xff\xd8\xff" + b"nonsense" * 20)
    assert line.decode(imagecodecs.jpeg8_encode(film(8))).values.shape == (120, 96)
