"""Limits: what hostile files run into, the variables that set them, and files that are no files."""

import dataclasses
import io
import json
import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pydicom
import pytest
from dicom_files import DEFLATED, J2K, make_dicom, smooth
from fuzz_targets import sealed
from PIL import Image
from pydicom.encaps import encapsulate

import resload
from resload import Catalog, Pipeline, regular
from resload.decode import decode, read_header, read_tags
from resload.decode.tags import named
from resload.errors import (
    ArgumentError,
    CacheError,
    CatalogError,
    CorruptCacheError,
    DecodeError,
    NotACacheError,
    ResloadError,
    TooLargeError,
    TruncatedFileError,
    UnreadableFileError,
)
from resload.limits import NAMES, Limits, limits, raised_by
from resload.masks.polygons import polygon_mask
from resload.masks.read import film_masks
from resload.masks.runs import decode_runs
from resload.testing import write_synthetic
from resload.testing.fuzzing import mutations

PAGE = Path(__file__).parent.parent / "docs/reference/limits.md"


# -- settings --


def test_defaults_hold_where_nothing_is_set(monkeypatch):
    """And cost no parsing."""
    for name in NAMES:
        monkeypatch.delenv(raised_by(name), raising=False)
    assert limits() is limits()
    assert limits() == Limits()


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_variable_that_is_read_at_every_call(name, monkeypatch):
    """A change counts from the next question on, in both directions."""
    monkeypatch.setenv(raised_by(name), "12345")
    assert limits() == dataclasses.replace(Limits(), **{name: 12345})
    monkeypatch.delenv(raised_by(name))
    assert limits() == Limits()


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1.5", "1e9", "nan", "inf"])
def test_other_values_are_refused_by_the_variables_name(value, monkeypatch):
    """By every way into the library, and not as the file's fault."""
    monkeypatch.setenv("RESLOAD_MAX_PIXELS", value)
    with pytest.raises(ArgumentError, match=r"RESLOAD_MAX_PIXELS is a positive whole number; found"):
        limits()
    with pytest.raises(ArgumentError, match="RESLOAD_MAX_PIXELS"):
        decode(imagecodecs.png_encode(smooth(8)))


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1"])
def test_a_limit_is_a_positive_whole_number(value):
    """In Python too."""
    with pytest.raises(ArgumentError, match="Limits: frames is a positive whole number"):
        Limits(frames=value)


def test_subprocesses_inherit_them():
    """Workers and commands need not be told."""
    code = "from resload.limits import limits; print(limits().pixels)"
    run = [sys.executable, "-c", code]
    environment = {**os.environ, "RESLOAD_MAX_PIXELS": "77"}
    assert subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout == "77\n"


def test_the_page_lists_every_variable_with_its_default():
    """One row each; the page and the code say the same."""
    rows = [line.split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `RESLOAD_MAX_")]
    told = {row[1].strip(" `"): int(row[2].replace(",", "")) for row in rows}
    assert told == {raised_by(name): getattr(Limits(), name) for name in NAMES}


# -- films that ask for too much --


def small_limit(monkeypatch, **values):
    for name, value in values.items():
        monkeypatch.setenv(raised_by(name), str(value))


def png(width, height, body, kind=0, depth=8):
    head = struct.pack(">IIBB", width, height, depth, kind) + b"\0\0\0"
    return mutations.png_of([(b"IHDR", head), (b"IDAT", body), (b"IEND", b"")])


def test_a_png_that_inflates_beyond_its_claim():
    """A hundred megabytes of zeros behind a claim of 8 x 8: no more than the claim is made of them."""
    squeeze = zlib.compressobj(9)
    body = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(100)) + squeeze.flush()
    try:
        found = decode(png(8, 8, body))
    except DecodeError:
        return
    assert found.pixels.shape == (8, 8)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG"])
def test_the_limit_on_pixels_names_its_variable(form, monkeypatch):
    """By bytes and by path."""
    file = io.BytesIO()
    Image.fromarray(smooth(8)).save(file, form)
    small_limit(monkeypatch, pixels=61 * 47)
    assert decode(file.getvalue()).pixels.shape == (61, 47)
    small_limit(monkeypatch, pixels=61 * 47 - 1)
    with pytest.raises(TooLargeError, match=r"more pixels than the limit \(RESLOAD_MAX_PIXELS\)"):
        decode(file.getvalue())


def test_the_limit_on_bytes_of_a_file(tmp_path, monkeypatch):
    """A file is not read beyond it, whoever reads."""
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(smooth(8)))
    size = (tmp_path / "a.png").stat().st_size
    small_limit(monkeypatch, file_bytes=size)
    assert decode(tmp_path / "a.png").pixels.shape == (61, 47)
    small_limit(monkeypatch, file_bytes=size - 1)
    with pytest.raises(TooLargeError, match=r"larger than the limit \(RESLOAD_MAX_FILE_BYTES\) \(\d+ bytes\)"):
        decode(tmp_path / "a.png")
    (error,) = Pipeline(16)([tmp_path / "a.png"]).errors
    assert isinstance(error, TooLargeError)


def test_a_deflated_data_set(monkeypatch):
    """Stops at the limit."""
    small_limit(monkeypatch, inflated_bytes=1000)
    with pytest.raises(TooLargeError, match="RESLOAD_MAX_INFLATED_BYTES"):
        decode(make_dicom(smooth(), DEFLATED, bits=12))


def opened(kind=b"SQ"):
    return struct.pack("<HH2sHI", 8, 0x1115, kind, 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)


@pytest.mark.parametrize("kind", [b"SQ", b"UN"])
def test_deep_sequences(kind):
    """Thousands in each other; those in one of an unknown kind (UN) are in implicit VR."""
    implicit = struct.pack("<HHI", 8, 0x1115, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    with pytest.raises(TooLargeError, match="RESLOAD_MAX_DICOM_DEPTH"):
        decode(opened(kind) + (implicit if kind == b"UN" else opened(kind)) * 5000)


def test_elements_of_unknown_sequences_count_with_the_others(monkeypatch):
    """A sequence of its own encoding (UN) does not start the count again: thousands of short ones are one long walk."""
    small_limit(monkeypatch, dicom_elements=1000)
    inner = struct.pack("<HHI", 8, 0x60, 0) * 5
    end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    one = opened(b"UN") + inner + end
    with pytest.raises(TooLargeError, match="RESLOAD_MAX_DICOM_ELEMENTS"):
        read_header(one * 500)


def test_frames(monkeypatch):
    """Of multi-frame objects, and pages of a TIFF."""
    small_limit(monkeypatch, frames=1)
    with pytest.raises(TooLargeError, match="RESLOAD_MAX_FRAMES"):
        decode(make_dicom([smooth(), smooth()], bits=12))
    file = io.BytesIO()
    Image.fromarray(smooth(8)).save(file, "TIFF", save_all=True, append_images=[Image.fromarray(smooth(8))])
    with pytest.raises(TooLargeError, match="RESLOAD_MAX_FRAMES"):
        decode(file.getvalue())


def test_fragments(monkeypatch):
    """Of encapsulated pixels."""
    small_limit(monkeypatch, fragments=3)
    with pytest.raises(TooLargeError, match="RESLOAD_MAX_FRAGMENTS"):
        decode(make_dicom(smooth(), J2K, bits=12, fragments=6))


def test_header_parts(monkeypatch):
    """Chunks of a PNG, segments of a JPEG."""
    small_limit(monkeypatch, header_parts=1)
    for file in (imagecodecs.png_encode(smooth(8)), imagecodecs.jpeg8_encode(smooth(8))):
        with pytest.raises(TooLargeError, match="RESLOAD_MAX_HEADER_PARTS"):
            decode(file)


def test_scans_of_a_progressive_jpeg():
    """A megabyte of scans, each a pass over a whole large image: refused at once, and ordinary files are not."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(file, "JPEG", progressive=True)
    data = bytearray(file.getvalue())
    assert decode(bytes(data)).pixels.shape == (64, 64)
    at = data.index(b"\xff\xc2")
    data[at + 5 : at + 9] = struct.pack(">HH", 8000, 8000)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x05\x02"
    begun = time.perf_counter()
    with pytest.raises(TooLargeError, match="RESLOAD_MAX_PASSES"):
        decode(bytes(data[:-2]) + scan * 100_000 + b"\xff\xd9")
    assert time.perf_counter() - begun < 20, "a hang, not a speed"


def jpeg2000(height, width, *, tile=None, precinct=None):
    """A stream of a few bytes that claims so many pixels, in tiles or precincts of this size."""
    data = bytearray(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint8), reversible=True, codecformat="j2k"))
    at = data.index(b"\xff\x51")
    data[at + 6 : at + 14] = struct.pack(">II", width, height)
    data[at + 22 : at + 30] = struct.pack(">II", tile or width, tile or height)
    if precinct is not None:
        at = data.index(b"\xff\x52")
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        body = bytearray(data[at + 4 : at + 14])
        body[0] |= 1
        levels = body[5]
        new = struct.pack(">H", 13 + levels) + bytes(body) + bytes([precinct]) * (levels + 1)
        data[at + 2 : at + 2 + length] = new
    dataset = pydicom.dcmread(io.BytesIO(make_dicom(smooth(8), J2K, Rows=height, Columns=width)))
    dataset.PixelData = encapsulate([bytes(data)])
    dataset["PixelData"].is_undefined_length = True
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def test_tiles_and_precincts_of_jpeg_2000():
    """Pieces that the stream has no bytes for: OpenJPEG took 8 GB and 45 s for the second of these."""
    for file in (jpeg2000(250, 250, tile=1), jpeg2000(4096, 4096, precinct=0x11)):
        with pytest.raises(TruncatedFileError, match=r"ends early \(\d+ tiles and \d+ precincts in 14\d bytes"):
            decode(file)
    assert decode(jpeg2000(64, 64, precinct=0x77)).pixels.shape == (64, 64)


def test_volumes_and_repeated_tags_of_tiff():
    """libtiff multiplies by a depth, and takes the first of two widths where we take the last."""
    file = bytearray(imagecodecs.tiff_encode(smooth(8)))
    order = "<" if file[:2] == b"II" else ">"
    (at,) = struct.unpack(order + "I", file[4:8])
    (count,) = struct.unpack(order + "H", file[at : at + 2])
    tags = [struct.unpack(order + "H", file[at + 2 + 12 * k : at + 4 + 12 * k])[0] for k in range(count)]
    spare = next(k for k, tag in enumerate(tags) if tag not in (256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 339))
    for tag in (32997, 256):
        changed = bytearray(file)
        entry = at + 2 + 12 * spare
        changed[entry : entry + 12] = struct.pack(order + "HHI", tag, 4, 1) + struct.pack(order + "I", 60_000)
        with pytest.raises(DecodeError, match=f"tag {tag} twice, or of a volume"):
            decode(bytes(changed))


# -- masks --


def test_numbers_of_run_lengths_without_end():
    """A compressed number of a megabyte would take minutes to add up, digit by digit."""
    begun = time.perf_counter()
    with pytest.raises(DecodeError, match="ends inside a number"):
        decode_runs("o" * (1 << 20), (64, 64), "coco-string")
    assert time.perf_counter() - begun < 20, "a hang, not a speed"


def test_contours_that_cross_too_often(monkeypatch):
    """A zigzag over the whole width, many times."""
    zigzag = [(x, y) for y in range(100) for x in (0, 64)]
    assert polygon_mask([zigzag], (100, 64)).any()
    small_limit(monkeypatch, crossings=1000)
    with pytest.raises(ArgumentError, match="RESLOAD_MAX_CROSSINGS"):
        polygon_mask([zigzag], (100, 64))
    for wrong in (5, None, "contour", b"x"):
        with pytest.raises(ArgumentError, match="contours are a list"):
            polygon_mask(wrong, (8, 8))


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }",
        b"{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (2, 2), }",
        b"__import__('os').getcwd()",
        b"(" * 9000,
        b"{'descr': '|b2', 'fortran_order': False, 'shape': (2, 2), }",
    ],
)
def test_arrays_that_are_none(header, tmp_path):
    """A giant shape, objects, records, code: no memory is taken and nothing is evaluated."""
    head = header.ljust(64)
    (tmp_path / "m.npy").write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + bytes(16))
    rows = pd.DataFrame({"id": ["a"], "label": ["m"], "path": ["m.npy"]})
    with pytest.raises(DecodeError, match=r"numpy\.save writes them|ends early"):
        film_masks(rows, ["m"], (2, 2), tmp_path)


def test_zips_and_pickles_as_masks_are_refused(tmp_path):
    """numpy.load would open the first as an archive."""
    with (tmp_path / "z.npy").open("wb") as file:
        np.savez(file, np.zeros((2, 2)))
    (tmp_path / "p.npy").write_bytes(pickle.dumps(Path("x")))
    for name in ("z.npy", "p.npy"):
        with pytest.raises(DecodeError, match="no array of numbers"):
            film_masks(pd.DataFrame({"id": ["a"], "label": ["m"], "path": [name]}), ["m"], (2, 2), tmp_path)


# -- what is no regular file --


@pytest.fixture(params=["pipe", "socket", "device", "folder"])
def odd(request, tmp_path):
    """A path that is there and is no regular file; reading it could wait for ever."""
    path = tmp_path / "film.png"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
            yield path
        return
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    yield path


def in_time(work):
    """What a call raises; fails when it waits."""
    found = []

    def step():
        try:
            found.append(work())
        except ResloadError as exc:
            found.append(exc)

    thread = threading.Thread(target=step, daemon=True)
    thread.start()
    thread.join(20)
    assert found, "it waits"
    return found[0]


def test_sources_that_are_no_files(odd):
    """Refused by every reader, without waiting."""
    rows = pd.DataFrame({"id": ["a"], "label": ["m"], "path": [odd.name]})
    for work in (
        lambda: decode(odd),
        lambda: read_header(odd),
        lambda: read_tags(odd, [named("Modality")]),
        lambda: film_masks(rows, ["m"], (2, 2), odd.parent),
        lambda: Pipeline(16)([odd]).errors[0],
    ):
        error = in_time(work)
        assert isinstance(error, UnreadableFileError), error
        assert "the file could not be read" in error.reason


def test_a_build_goes_on_beside_them(odd, tmp_path):
    """Such a film is quarantined like a broken one."""
    (tmp_path / "b.png").write_bytes(imagecodecs.png_encode(smooth(8)))
    catalog = Catalog(pd.DataFrame({"id": ["a", "b"], "path": [odd.name, "b.png"]}), root=tmp_path)
    cache = in_time(lambda: resload.build(catalog, tmp_path / "c.zarr", 16, dtype="uint8", progress=False))
    assert cache.quarantine["reason"].tolist() == ["UnreadableFileError: the file could not be read"]
    assert len(catalog.scan(progress=False).table["error"].dropna()) == 1


def test_paths_that_are_none():
    """A zero byte is no path, which Python says in another way."""
    with pytest.raises(UnreadableFileError, match="could not be read"):
        decode("a\0b")


def test_a_file_that_grows_is_read_up_to_the_limit(tmp_path):
    """Its size, asked for first, is no promise."""
    path = tmp_path / "grows"
    path.write_bytes(b"x" * 10)
    assert regular.contents(path, 10)[0] == b"x" * 10
    with pytest.raises(OSError, match="larger than 9 bytes"):
        regular.contents(path, 9)
    assert regular.contents("/proc/self/status", 1 << 20)[0].startswith(b"Name:")  # says that it has 0 bytes
    with pytest.raises(regular.TooLong):
        regular.contents("/proc/self/status", 100)


# -- caches --


@pytest.fixture
def catalog(tmp_path):
    """Four small films."""
    return write_synthetic(tmp_path / "films", 4, size=64, broken=0, dicom_share=0)


@pytest.fixture
def hostile(catalog, tmp_path):
    """A small cache to spoil."""
    resload.build(catalog, tmp_path / "c.zarr", 16, progress=False)
    return tmp_path / "c.zarr"


def first_film(folder):
    """Open and read."""
    cache = resload.open_cache(folder)
    return cache.read(cache.rows()[:1], 16)


@pytest.mark.parametrize("name", ["samples.parquet", "images/16x16/c/0/0/0", "images/16x16", "zarr.json", ".build"])
def test_links_that_lead_out_of_a_cache(hostile, name, tmp_path):
    """Are followed by nobody: not even to the very same bytes."""
    outside = tmp_path / "outside"
    if (hostile / name).exists():
        (hostile / name).rename(outside)
    else:
        outside.mkdir()
    (hostile / name).symlink_to(outside)
    with pytest.raises(CacheError, match="link leads out of the folder"):
        first_film(hostile)


def test_the_folder_itself_may_be_a_link(hostile, tmp_path):
    """And links that stay inside do no harm."""
    (tmp_path / "link").symlink_to(hostile)
    (hostile / "images/16x16/c/0/0/0").rename(hostile / "moved")
    (hostile / "images/16x16/c/0/0/0").symlink_to(hostile / "moved")
    assert first_film(tmp_path / "link").shape == (1, 16, 16)


def test_a_build_writes_through_no_link(hostile, catalog, tmp_path):
    """Shards of a new size would land elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (hostile / "images/8x8").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheError, match="link leads out of the folder"):
        resload.build(catalog, hostile, (8, 16), progress=False)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_pipes_in_place_of_a_caches_files(hostile):
    """Opening does not wait for them."""
    for name in ("images/16x16/c/0/0/0", "samples.parquet", "zarr.json"):
        (hostile / name).unlink()
        os.mkfifo(hostile / name)

        assert isinstance(in_time(lambda: first_film(hostile)), CacheError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 10**12),
        ("count", -1),
        ("count", True),
        ("count", 1.5),
        ("per_shard", 1 << 40),
        ("per_shard", 0),
        ("sizes", [[1 << 16, 1 << 16]]),
        ("sizes", [[16]]),
        ("sizes", [["16", "16"]]),
        ("sizes", {}),
        ("native", [1 << 16, 1 << 16]),
        ("masks", [{}]),
        ("batches", [-1, 1]),
        ("recipe", {"fit": {"name": "pad", "value": []}, "kernel": [], "aspect": {}}),
        ("recipe", []),
        ("tables", {"samples.parquet": [["x"]]}),
        ("tables", []),
        ("dtype", "object"),
        ("shuffle_seed", None),
        ("fingerprint", 5),
    ],
)
def test_manifests_that_cannot_be(hostile, name, value):
    """Refused by their numbers and types before anything follows from them."""
    spoiled(hostile, lambda found: found.__setitem__(name, value))
    with pytest.raises(CacheError, match="manifest is damaged"):
        resload.open_cache(hostile)


def spoiled(cache, change):
    """Change what the manifest says; its own sum, where it has one, is right again."""
    document = json.loads((cache / "zarr.json").read_bytes())
    change(document["attributes"]["resload"])
    (cache / "zarr.json").write_bytes(sealed(json.dumps(document).encode()))


@pytest.mark.parametrize("text", [b"[" * 200_000, b'{"a": ' * 200_000, b"NaN", b"\xff", b"1" * 10_000, b"null"])
def test_manifests_that_are_no_json(hostile, text):
    """Nested without end, no numbers, no text."""
    (hostile / "zarr.json").write_bytes(text)
    with pytest.raises(CacheError, match=r"Zarr group|damaged"):
        resload.open_cache(hostile)


def test_a_canvas_smaller_than_its_films(catalog, tmp_path):
    """Their records are as high as the table says, and there are no such rows in them."""
    resload.build(catalog, tmp_path / "n.zarr", "native", progress=False)
    spoiled(tmp_path / "n.zarr", lambda found: found.__setitem__("native", [1, found["native"][1]]))
    with pytest.raises(CorruptCacheError, match="films of its rows are larger than the native canvas of 1 x 64"):
        resload.open_cache(tmp_path / "n.zarr")


def test_a_manifest_too_large(hostile, monkeypatch):
    """Its variable is named."""
    small_limit(monkeypatch, document_bytes=100)
    with pytest.raises(CacheError, match="RESLOAD_MAX_DOCUMENT_BYTES"):
        resload.open_cache(hostile)


def test_levels_above_the_limit_on_pixels(hostile, monkeypatch):
    """A level is an image too."""
    small_limit(monkeypatch, pixels=255)
    with pytest.raises(CacheError, match="RESLOAD_MAX_PIXELS"):
        resload.open_cache(hostile)
    small_limit(monkeypatch, pixels=256)
    with pytest.raises(CorruptCacheError, match="RESLOAD_MAX_PIXELS"):  # the films of its rows are larger
        resload.open_cache(hostile)


# -- saved catalogs and recipes --


def test_a_saved_catalog_names_only_its_own_tables(catalog, tmp_path):
    """A name with dots would read a file elsewhere."""
    catalog.save(tmp_path / "saved")
    about = json.loads((tmp_path / "saved/catalog.json").read_text())
    for tables in (["table", "../../x"], ["table", "/etc/passwd"], [], ["boxes"], "table", [["table"]]):
        (tmp_path / "saved/catalog.json").write_text(json.dumps({**about, "tables": tables}))
        with pytest.raises(CatalogError, match="damaged"):
            Catalog.load(tmp_path / "saved")


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", '{"resload_pipeline": 1, "sizes": {"a": []}}', "5"])
def test_recipes_that_are_none(text, tmp_path):
    """Whatever is in the file."""
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ArgumentError):
        Pipeline.load(tmp_path / "r.json")


def test_no_cache_is_no_cache(tmp_path):
    """As before."""
    with pytest.raises(NotACacheError, match="no resload cache is here"):
        resload.open_cache(tmp_path / "nothing")
