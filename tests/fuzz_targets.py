"""What is fuzzed: every way in which bytes of others come into the library. Its own main is the child's.

    png jpeg tiff                                 raster files: header, pixels, and every step of a recipe
    dicom tags                                    whole DICOM files of all transfer syntaxes; their attributes
    jpeg-stream jpegls jpeg2000 htj2k rle         compressed frames inside a sound DICOM file
    runs polygons mask                            masks of all kinds
    manifest parquet shard packed unfinished      a cache: its document, table, shards, and what a build leaves
    recipe catalog                                documents that save() writes

For `benchmarks/fuzz.py` and `test_fuzz.py`.
"""

import sys

if "atheris" in sys.argv:
    import atheris

    with atheris.instrument_imports(include=["resload"]):
        import resload
        import resload.catalog
        import resload.decode.dicom
        import resload.decode.png
        import resload.decode.tags
        import resload.decode.tiff
        import resload.masks.polygons
        import resload.masks.read
        import resload.parquet
        import resload.store.cache
        import resload.store.verify

import io
import json
import shutil
import struct
import tempfile
import zlib
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
from crc32c import crc32c
from dicom_files import (
    HTJ2K,
    J2K,
    J2K_LOSSY,
    JLS,
    JLS_NEAR,
    JPEG,
    JPEG_12,
    JPEG_70,
    RLE,
    frame_bytes,
    make_dicom,
    smooth,
)
from dicom_mutants import mutate, sound_files
from PIL import Image

import resload
from resload import Catalog, Pipeline
from resload.decode import decode, read_header, read_tags
from resload.decode.tags import named
from resload.errors import ResloadError
from resload.masks.polygons import polygon_mask
from resload.masks.read import film_masks
from resload.masks.runs import FORMATS, decode_runs, encode_runs
from resload.pipeline.cpu import make
from resload.store import codecs, documents, layout, tables
from resload.store.identity import step_key
from resload.store.packed import PackedShard
from resload.testing import fuzzing
from resload.testing.fuzzing import Target, mutations

VARIABLES = {
    "RESLOAD_MAX_PIXELS": str(1 << 20),
    "RESLOAD_MAX_FILE_BYTES": str(1 << 24),
    "RESLOAD_MAX_INFLATED_BYTES": str(1 << 26),
    "RESLOAD_MAX_DICOM_ELEMENTS": str(2000),
    "RESLOAD_MAX_CROSSINGS": str(1 << 18),
    "RESLOAD_MAX_DOCUMENT_BYTES": str(1 << 20),
    "RESLOAD_MAX_TABLE_BYTES": str(1 << 26),
    "RESLOAD_MAX_TABLE_ROWS": str(1 << 20),
}
"""Limits that small inputs can reach; the memory that is allowed follows from them."""
MEMORY = 512 << 20
SMALL = (24, 20)


def tried(*steps):
    """Run every step; the first refusal is the answer, but the others run too."""
    refusal = None
    for step in steps:
        try:
            step()
        except ResloadError as exc:
            refusal = refusal or exc
    if refusal is not None:
        raise refusal


# -- films --


@cache
def recipe():
    return Pipeline(8, dtype="uint16", intensity="auto")


def film(data, folder):
    """Header, pixels, and a level of it; sometimes as a file."""
    source = data
    if zlib.crc32(data) % 16 == 0:
        source = folder / "film"
        source.write_bytes(data)
    tried(partial(read_header, source), partial(decode, source), partial(make, recipe(), source))


def png_seeds():
    gray = smooth(8, SMALL)
    deep, colour = smooth(16, SMALL), np.dstack([gray, gray[::-1], gray])
    files = [imagecodecs.png_encode(pixels, level=1) for pixels in (gray, deep, colour, np.dstack([gray, gray]))]
    for image, options in ((Image.fromarray(gray).convert("P"), {}), (Image.fromarray(gray > 99), {})):
        file = io.BytesIO()
        image.save(file, "PNG", **options)
        files.append(file.getvalue())
    parts = mutations.png_chunks(files[0])
    head = bytearray(parts[0][1])
    head[12] = 1  # interlaced, its rows no longer right
    lines = [(b"IHDR", bytes(head)), (b"sBIT", b"\5"), (b"tRNS", b"\0\5"), *parts[1:]]
    return [*files, mutations.png_of(lines)]


def jpeg_seeds():
    gray = smooth(8, SMALL)
    files = [imagecodecs.jpeg8_encode(pixels, level=90) for pixels in (gray, np.dstack([gray, gray[::-1], gray]))]
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "JPEG", progressive=True)
    return [*files, file.getvalue(), frame_bytes(smooth(12, SMALL), JPEG_12, 12), frame_bytes(gray, JPEG_70, 8)]


def tiff_seeds():
    gray, deep = smooth(8, SMALL), smooth(16, SMALL)
    colour = np.dstack([gray, gray[::-1], gray])
    files = []
    for pixels, options in (
        (gray, {"compression": "raw"}),
        (gray, {"compression": "tiff_lzw"}),
        (deep, {"compression": "tiff_adobe_deflate"}),
        (colour, {"compression": "packbits"}),
        (colour, {"compression": "jpeg"}),
    ):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "TIFF", **options)
        files.append(file.getvalue())
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "TIFF", save_all=True, append_images=[Image.fromarray(gray[::-1])])
    return [*files, file.getvalue(), imagecodecs.tiff_encode(deep), imagecodecs.tiff_encode(np.stack([gray, gray]))]


def tiff_mutated(data, rng):
    """Damage in a directory's entries as often as anywhere."""
    if rng.random() < 0.5 or len(data) < 16:
        return mutations.damaged(data, rng)
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack(order + "I", data[4:8])
    count = struct.unpack(order + "H", data[at : at + 2])[0] if at + 2 <= len(data) else 0
    file = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        entry = at + 2 + 12 * int(rng.integers(max(count, 1)))
        if entry + 12 > len(file):
            continue
        way = int(rng.integers(5))
        if way == 0:
            file[entry : entry + 2] = struct.pack(
                order + "H",
                int(
                    mutations.one_of(
                        (
                            256,
                            257,
                            258,
                            259,
                            262,
                            273,
                            277,
                            278,
                            279,
                            284,
                            322,
                            323,
                            324,
                            325,
                            330,
                            339,
                            347,
                            530,
                            32997,
                            32998,
                        ),
                        rng,
                    )
                ),
            )
        elif way == 1:
            file[entry + 2 : entry + 4] = struct.pack(order + "H", int(rng.integers(0, 19)))
        elif way == 2:
            file[entry + 4 : entry + 8] = struct.pack(order + "I", mutations.one_of(mutations.EDGES, rng) & 0xFFFFFFFF)
        elif way == 3:
            file[entry + 8 : entry + 12] = struct.pack(order + "I", mutations.one_of(mutations.EDGES, rng) & 0xFFFFFFFF)
        else:
            other = at + 2 + 12 * int(rng.integers(max(count, 1)))
            file[entry : entry + 12] = file[other : other + 12].ljust(12, b"\0")
    return bytes(file)


@cache
def dicom_seeds():
    return [file for files in sound_files(crop=24).values() for file in files if len(file) < 20_000]


TAGS = (
    "PatientName",
    "Modality",
    "Rows",
    "ViewCodeSequence.CodeMeaning",
    "StudyDate",
    "PixelSpacing",
    "SOPInstanceUID",
)


def tags(data, folder):
    path = folder / "object"
    path.write_bytes(data)
    return read_tags(path, [named(name) for name in TAGS])


def nested(data, rng):
    """A DICOM file damaged; sometimes with sequences in sequences, or elements without end."""
    if rng.random() < 0.9:
        return mutate(data, rng)[: mutations.LONGEST]
    kind = mutations.one_of((b"SQ", b"UN"), rng)
    opened = struct.pack("<HH2sHI", 8, 0x1115, kind, 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    deep = opened * int(rng.choice([3, 30, 300]))
    many = struct.pack("<HH2sH", 8, 0x60, b"CS", 0) * int(rng.choice([10, 300, 3000]))
    at = 132 + 12 + int.from_bytes(data[140:144], "little")
    return (data[:at] + (deep if rng.random() < 0.5 else many) + data[at:])[: mutations.LONGEST]


# -- compressed frames in a sound DICOM file --


@cache
def around(syntax, bits, colour):
    """What stands before the frame of a file of this transfer syntax."""
    pixels = smooth(bits, SMALL)
    file = make_dicom(np.dstack([pixels] * 3) if colour else pixels, syntax, bits=bits)
    return file[: file.rindex(b"\xe0\x7f\x10\x00OB") + 12]


def framed(syntax, data, folder):
    """The first byte says how the header is: its depth, and whether it is in colour."""
    bits, colour = ((8, False), (8, True), (12, False))[data[0] % 3] if data else (8, False)
    stream = data[1:] + b"\0" * (len(data) % 2 == 0)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, len(stream))
    bits = 8 if syntax == JPEG else bits
    file = around(syntax, bits, colour) + item + stream + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    tried(partial(read_header, file), partial(decode, file))


def stream_seeds(*syntaxes):
    gray, deep = smooth(8, SMALL), smooth(12, SMALL)
    colour = np.dstack([gray, gray[::-1], gray])
    found = []
    for syntax in syntaxes:
        for kind, (pixels, bits) in enumerate(((gray, 8), (colour, 8), (deep, 12))):
            if not ((syntax == JPEG and bits > 8) or (syntax == JPEG_12 and kind == 1)):
                with suppress(Exception):  # a codec that has no colour
                    found.append(bytes([kind]) + frame_bytes(pixels, syntax, bits))
    assert found
    return found


def marked(data, rng):
    """A stream damaged, half of the time behind one of its markers; its kind of header stays."""
    kind, file = data[:1], bytearray(data[1:] or b"\0")
    marks = [at for at in range(len(file) - 1) if file[at] == 0xFF and file[at + 1] >= 0x4F][:60]
    if not marks or rng.random() < 0.4:
        return kind + mutations.damaged(bytes(file), rng)
    for _ in range(int(rng.integers(1, 4))):
        at = mutations.one_of(marks, rng) + 2 + int(rng.integers(44))
        size = int(rng.choice([1, 1, 2, 4]))
        file[at : at + size] = (mutations.one_of(mutations.EDGES, rng) % (1 << 8 * size)).to_bytes(size, "big")
    return kind + bytes(file)


# -- masks --


def runs_seeds():
    disc = np.hypot(*np.mgrid[-10:10, -12:12]) < 8
    return [f"{name} {encode_runs(disc, name)}".encode() for name in FORMATS]


def runs(data, folder):
    name, _, text = data.decode("latin-1").partition(" ")
    name = name if name in FORMATS else FORMATS[zlib.crc32(data) % 4]
    decode_runs(text, (20, 24), name)
    numbers = [int(word) for word in text.split() if word.isdigit() and len(word) < 20]
    decode_runs(numbers, (20, 24), name)


def runs_mutated(data, rng):
    if rng.random() < 0.4:
        return mutations.damaged(data, rng)
    words = data.split()
    for _ in range(int(rng.integers(1, 4))):
        new = str(mutations.one_of((*mutations.EDGES, -1, 10**30, 0.5, "x", ""), rng)).encode()
        words.insert(int(rng.integers(len(words) + 1)), new * int(rng.choice([1, 1, 1, 2000])))
    return b" ".join(words)[: mutations.LONGEST]


def polygon_seeds():
    circle = [(20 + 9 * np.cos(t), 15 + 9 * np.sin(t)) for t in np.linspace(0, 6, 20)]
    star = [(float(x), float(y)) for x, y in np.random.default_rng(0).uniform(-5, 60, (30, 2))]
    return [json.dumps(one).encode() for one in ([circle], [circle, star], [[(3, 3)]], [[(0, 0), (48, 64)]], [])]


def polygons(data, folder):
    try:
        contours = json.loads(data)
    except (ValueError, RecursionError):
        contours = data.decode("latin-1")
    polygon_mask(contours, (64, 48))


def mask_seeds():
    disc = np.hypot(*np.mgrid[-12:12, -10:10]) < 8
    found = []
    for array in (disc, disc.astype(np.uint8), disc.astype("<i4"), disc.astype(">u2")):
        file = io.BytesIO()
        np.save(file, array)
        found.append(b"n" + file.getvalue())
    file = io.BytesIO()
    np.savez(file, disc)
    return [*found, b"n" + file.getvalue(), b"p" + imagecodecs.png_encode(disc * np.uint8(255))]


def mask(data, folder):
    name = "mask.npy" if data[:1] == b"n" else "mask.png"
    (folder / name).write_bytes(data[1:])
    film_masks(pd.DataFrame({"id": ["a"], "label": ["m"], "path": [name]}), ["m"], SMALL, folder)


def headed(data, rng):
    """The letter that says what it is stays."""
    return data[:1] + mutations.damaged(data[1:] or b"\0", rng)


# -- caches --


def make_cache(folder):
    """A small cache with everything, in `cache`, and once more in `sound`."""
    films = folder / "films"
    films.mkdir(exist_ok=True)
    table, boxes, rows = [], [], []
    for i in range(6):
        pixels = smooth(8 if i % 2 else 12, (30 + i, 26))
        (films / f"{i}.png").write_bytes(imagecodecs.png_encode(pixels))
        table.append({"id": f"film{i}", "path": f"{i}.png", "split": "train" if i < 4 else "test", "finding": i % 2,
                      "patient": i // 2, "age": 50 + i, "spacing_y": 0.2, "spacing_x": 0.2})  # fmt: skip
        boxes.append({"id": f"film{i}", "label": "nodule", "x": 2.0, "y": 3.0, "width": 5.0, "height": 4.0})
        rows.append({"id": f"film{i}", "label": "nodule", "rle": encode_runs(pixels > pixels.mean())})
    (films / "5.png").write_bytes(b"nothing")
    catalog = Catalog(
        pd.DataFrame(table), targets=["finding"], boxes=pd.DataFrame(boxes), masks=pd.DataFrame(rows), root=films
    )
    resload.build(catalog, folder / "cache", (8, (16, 12), "native"), columns=["age"], fit="pad", progress=False)
    catalog.save(folder / "catalog")
    shutil.copytree(folder / "cache", folder / "sound", dirs_exist_ok=True)
    return catalog


def use(path, partial_=False):
    """What people do with a cache."""
    cache = resload.open_cache(path, partial=partial_)
    rows = cache.rows()
    sizes = [size for size in cache.sizes if size.pixels <= 1 << 14][:4]

    def read(size):
        cache.read(rows[:4], size)

    steps = [partial(read, size) for size in sizes]
    steps += [lambda: cache.pipeline, lambda: cache.digest, lambda: repr(cache), lambda: cache.quarantine]
    steps += [lambda: cache.read(rows[:2], 5), lambda: cache.read(rows[:2], (13, 9), allow_upsample=True)]
    steps += [
        lambda: cache.stats(8),
        lambda: cache.select(split="train"),
        lambda: cache.read(rows[:1], 4, region=(1, 1, 9, 9)),
    ]
    if cache.masks:
        steps += [lambda: cache.read_masks(rows[:2], (16, 12)), lambda: cache.masks_known(rows[:2])]
    try:
        tried(*steps)
    finally:
        cache.close()
    if zlib.crc32((path / layout.MANIFEST).read_bytes()) % 8 == 0 and not partial_:
        resload.verify(path, progress=False, threads=1)


@cache
def sound_files_of_cache():
    """The bytes of all that `make_cache` makes, by name; made once in this process."""
    with tempfile.TemporaryDirectory() as folder:
        make_cache(Path(folder))
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def place_cache(folder):
    """The very same bytes in a folder: a table's sum is that of its bytes."""
    for name, data in sound_files_of_cache().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def sound_cache():
    """The bytes of the cache's files by name."""
    return {name[6:]: data for name, data in sound_files_of_cache().items() if name.startswith("cache/")}


def sealed(text):
    """A manifest whose own sum is right again, where it has one: anybody can compute it."""
    try:
        from resload.store import sealed as seals

        document = json.loads(text)
        if "sum" in document["attributes"]["resload"]:
            seals.sealed(document, document["attributes"]["resload"])
        return json.dumps(document).encode()
    except (ImportError, ValueError, KeyError, TypeError, RecursionError):
        return text


def attributes_mutated(data, rng):
    """A manifest with damage among what resload reads of it, its sum right again."""
    if rng.random() < 0.1:
        return mutations.damaged(data, rng)
    try:
        value = json.loads(data)
        inner = value["attributes"]["resload"]
        changed = mutations.document(json.dumps(inner).encode(), rng)
        value["attributes"]["resload"] = json.loads(changed)
        return sealed(json.dumps(value).encode())
    except (ValueError, KeyError, TypeError, RecursionError):
        return mutations.document(data, rng)


def manifest_seeds():
    return [sound_cache()[layout.MANIFEST]]


def manifest(data, folder):
    (folder / "cache" / layout.MANIFEST).write_bytes(data)
    use(folder / "cache")


def rebuilt(data, folder):
    """A build goes on from a hostile manifest."""
    home = folder / "again"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(folder / "sound", home)
    (home / layout.MANIFEST).write_bytes(data)
    catalog = Catalog.load(folder / "catalog", root=folder / "films")
    resload.build(catalog, home, (8, (16, 12), "native"), columns=["age"], fit="pad", progress=False, threads=1)


def parquet_seeds():
    return [sound_cache()[layout.SAMPLES], sound_cache()[layout.BOXES]]


def parquet(data, folder):
    """A table whose sum the manifest knows, as boxes where it has no column `status`."""
    name = layout.SAMPLES if b"source_hash" in data else layout.BOXES
    home = folder / "cache"
    (home / name).write_bytes(data)
    (home / (layout.BOXES if name == layout.SAMPLES else layout.SAMPLES)).write_bytes(
        (folder / "sound" / (layout.BOXES if name == layout.SAMPLES else layout.SAMPLES)).read_bytes()
    )
    sound = layout.read_manifest(folder / "sound")
    changed = replace(sound, tables={**sound.tables, name: (tables.sum_of(data),)})
    (home / layout.MANIFEST).write_bytes(documents.as_json(documents.root_document(changed)))
    use(home)


ODD = (None, np.nan, np.inf, -1, 0, 1 << 40, "x", "", b"\xff", True, 1e300, [1], {"a": 1}, pd.Timestamp("2020-01-01"))


def table_mutated(data, rng):
    """Bytes of a table damaged; or a table of other columns, types and values; or pandas' words about it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    way = rng.random()
    if way < 0.35:
        return mutations.damaged(data, rng)
    if way < 0.5:  # the footer alone
        cut = len(data) - 8 - int.from_bytes(data[-8:-4], "little") if len(data) > 12 else 0
        return data[: max(cut, 0)] + mutations.damaged(data[max(cut, 0) : -8] or b"\0", rng) + data[-8:]
    try:
        table = pq.read_table(pa.BufferReader(data))
        if way < 0.65:
            about = dict(table.schema.metadata or {})
            key = mutations.one_of(list(about) or [b"pandas"], rng)
            about[key] = mutations.document(about.get(key, b"{}"), rng)
            table = table.replace_schema_metadata(about)
        else:
            frame = table.to_pandas()
            name = mutations.one_of(list(frame), rng)
            kind = int(rng.integers(6))
            if kind == 0:
                frame = frame.drop(columns=name)
            elif kind == 1:
                frame = frame.iloc[: int(rng.integers(len(frame)))] if rng.random() < 0.5 else pd.concat([frame] * 3)
            elif kind == 2:
                frame[name] = [mutations.one_of(ODD, rng)] * len(frame)
            elif kind == 3:
                frame[name] = frame[name].astype(
                    mutations.one_of(("str", "float64", "category", "object", "Int64"), rng)
                )
            elif kind == 4:
                frame = frame.rename(
                    columns={name: mutations.one_of(("", "id", "x" * 1000, "crc32c_9x9", "status2"), rng)}
                )
            else:
                column = frame[name].to_numpy(copy=True)
                with np.errstate(all="ignore"):
                    column[int(rng.integers(len(column)))] = mutations.one_of(ODD, rng)
                frame[name] = column
            table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(
                {
                    **(table.schema.metadata or {}),
                    **(pa.Table.from_pandas(frame, preserve_index=False).schema.metadata or {}),
                }
            )
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression=mutations.one_of(("zstd", "snappy", "gzip", "none"), rng),
                       use_dictionary=bool(rng.random() < 0.7), version=mutations.one_of(("1.0", "2.6"), rng),
                       data_page_version=mutations.one_of(("1.0", "2.0"), rng))  # fmt: skip
        return bytes(sink.getvalue())
    except Exception:  # what cannot be written as a table is damaged as bytes
        return mutations.damaged(data, rng)


LEVEL = "images/8x8/c/0/0/0"
CANVAS = "images/native/c/0/0/0"
COVER = "masks/16x12/c/0/0/0/0"


def shard_seeds():
    files = sound_cache()
    return [kind + files[name] for kind, name in ((b"l", LEVEL), (b"n", CANVAS), (b"m", COVER))]


def shard(data, folder):
    """One shard exchanged."""
    name = {b"l": LEVEL, b"n": CANVAS, b"m": COVER}.get(data[:1], LEVEL)
    path = folder / "cache" / name
    path.write_bytes(data[1:])
    try:
        use(folder / "cache")
    finally:
        path.write_bytes((folder / "sound" / name).read_bytes())


def shard_mutated(data, rng):
    """Damage, and the index's sum right again half of the time."""
    changed = bytearray(data[:1] + mutations.damaged(data[1:] or b"\0", rng))
    if rng.random() < 0.5:
        size = layout.index_bytes(layout_per_shard())
        if len(changed) > size:
            changed[-4:] = crc32c(bytes(changed[-size:-4])).to_bytes(4, "little")
    return bytes(changed)


@cache
def layout_per_shard():
    return json.loads(sound_cache()[layout.MANIFEST])["attributes"]["resload"]["per_shard"]


CODECS = (
    (codecs.NATIVE8, (24, 20), "uint8"),
    (codecs.NATIVE16, (24, 20), "uint16"),
    (codecs.MASKS, (2, 24, 20), "uint8"),
)


def packed_seeds():
    found = []
    for kind, (codec, shape, dtype) in enumerate(CODECS):
        plain, noise = np.arange(np.prod(shape)), np.random.default_rng(0).integers(0, 1 << 16, np.prod(shape))
        found += [bytes([kind]) + codec.encode(values.astype(dtype).reshape(shape)) for values in (plain, noise)]
    return found


def packed(data, folder):
    """One compressed record, all of whose sums are right: only the codec is left to object."""
    codec, shape, dtype = CODECS[data[0] % 3 if data else 0]
    record = data[1:]
    total = crc32c(record)
    index = np.array([[0, len(record) + 4]], "<u8").tobytes()
    path = folder / "shard"
    path.write_bytes(record + total.to_bytes(4, "little") + index + crc32c(index).to_bytes(4, "little"))
    shard = PackedShard(path, shape=shape, dtype=dtype, per_shard=1, count=1, codec=codec)
    tried(partial(shard.read, 0, total), *([partial(shard.read, 0, total, rows=7)] if len(shape) == 2 else []))


def unfinished_seeds():
    """A plan, and the records of a row group, as a build leaves them."""
    ids = [f"film{i}" for i in range(6)]
    sizes = ["8x8", "16x12", "native", "masks_8x8", "masks_16x12"]
    plain = {name: 1.0 if kind == "float64" else "ok" if kind == "str" else 8 for name, kind in tables.RESULTS.items()}
    about = {"masks": {"nodule": 3.0}, tables.MASKS_HASH: "", tables.MASKS_STAMP: ""}
    records = [{"id": name, **plain, "levels": {size: [1, 2, 3] for size in sizes}, **about} for name in ids]
    return [json.dumps({"plan": {"key": "k", "ids": ids}, "rows": {"sizes": sizes, "records": records}}).encode()]


def prepare_unfinished(folder):
    place_cache(folder)
    sound = layout.read_manifest(folder / "cache")
    building = documents.as_json(documents.root_document(replace(sound, state="building", tables={})))
    (folder / "cache" / layout.MANIFEST).write_bytes(building)
    (folder / "cache" / layout.BUILD).mkdir(exist_ok=True)


def with_sum(document):
    """A document with its own sum, as a build writes it where documents have one."""
    with suppress(ImportError, TypeError, ValueError):
        from resload.store import sealed as seals

        seals.sealed(document, document)
    return document


def unfinished(data, folder):
    home = folder / "cache" / layout.BUILD
    try:
        parts = json.loads(data)
        with suppress(TypeError, ValueError, AttributeError):  # the key of these ids, as a build writes it
            if parts["plan"]["key"] == "k":
                parts["plan"]["key"] = step_key(
                    layout.read_manifest(folder / "cache", partial=True), parts["plan"]["ids"]
                )
        plan, rows = (json.dumps(with_sum(parts[name])).encode() for name in ("plan", "rows"))
    except (ValueError, KeyError, TypeError, RecursionError):
        plan, rows = data, data
    (home / layout.PLAN).write_bytes(plan)
    (home / "rows-0.json").write_bytes(rows)
    use(folder / "cache", partial_=True)


# -- documents that save() writes --


def recipe_seeds():
    found = []
    for made in (
        Pipeline((8, (16, 12), "native"), fit="pad"),
        Pipeline(16, dtype="uint8"),
        Pipeline(16, fit="crop", kernel="lanczos3", aspect="physical"),
        Pipeline("0.4mm@16x12"),
    ):
        document = {
            "resload_pipeline": 1,
            "sizes": [str(s) if str(s) == "native" else list(s) for s in made.sizes],
            **made.settings(),
        }
        found.append(json.dumps(document).encode())
    return found


def load_recipe(data, folder):
    path = folder / "recipe.json"
    path.write_bytes(data)
    made = Pipeline.load(path)
    if all(size.pixels <= 1 << 12 for size in made.sizes) and len(made.sizes) < 20:
        made([smooth(8, SMALL)], threads=1)


def catalog_seeds():
    with tempfile.TemporaryDirectory() as folder:
        place_cache(Path(folder))
        home = Path(folder) / "catalog"
        return [
            b"a" + (home / "catalog.json").read_bytes(),
            *(
                b"tbm"[k : k + 1] + (home / f"{name}.parquet").read_bytes()
                for k, name in enumerate(("table", "boxes", "masks"))
            ),
        ]


def load_catalog(data, folder):
    names = {b"a": "catalog.json", b"t": "table.parquet", b"b": "boxes.parquet", b"m": "masks.parquet"}
    path = folder / "catalog" / names.get(data[:1], "table.parquet")
    before = path.read_bytes()
    path.write_bytes(data[1:])
    try:
        found = Catalog.load(folder / "catalog")
        repr(found), found.table, found.boxes, found.masks, found.path(0), found.notes
    finally:
        path.write_bytes(before)


def catalog_mutated(data, rng):
    kind, rest = data[:1], data[1:]
    return kind + (mutations.document(rest, rng) if kind == b"a" else table_mutated(rest, rng))


TARGETS = (
    Target("png", png_seeds, film, mutations.png, 1.5),
    Target("jpeg", jpeg_seeds, film, weight=1.5),
    Target("tiff", tiff_seeds, film, tiff_mutated, 1.5),
    Target("dicom", dicom_seeds, film, nested, 2),
    Target("tags", dicom_seeds, tags, nested, 1),
    Target("jpeg-stream", partial(stream_seeds, JPEG, JPEG_12, JPEG_70), partial(framed, JPEG_70), marked),
    Target("jpegls", partial(stream_seeds, JLS, JLS_NEAR), partial(framed, JLS), marked),
    Target("jpeg2000", partial(stream_seeds, J2K, J2K_LOSSY), partial(framed, J2K), marked, 1.5),
    Target("htj2k", partial(stream_seeds, *HTJ2K), partial(framed, HTJ2K[0]), marked, 1.5),
    Target("rle", partial(stream_seeds, RLE), partial(framed, RLE)),
    Target("runs", runs_seeds, runs, runs_mutated, 1.5),
    Target("polygons", polygon_seeds, polygons, mutations.document),
    Target("mask", mask_seeds, mask, headed),
    Target("packed", packed_seeds, packed, headed, 1.5),
    Target("recipe", recipe_seeds, load_recipe, mutations.document),
    Target("manifest", manifest_seeds, manifest, attributes_mutated, 0.7, place_cache),
    Target("parquet", parquet_seeds, parquet, table_mutated, 0.5, place_cache),
    Target("shard", shard_seeds, shard, shard_mutated, 0.3, place_cache),
    Target("unfinished", unfinished_seeds, unfinished, mutations.document, 0.4, prepare_unfinished),
    Target("catalog", catalog_seeds, load_catalog, catalog_mutated, 0.4, place_cache),
    Target("rebuild", manifest_seeds, rebuilt, attributes_mutated, 0.05, place_cache),
)

if __name__ == "__main__":
    fuzzing.main(TARGETS)
