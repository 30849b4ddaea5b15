"""Shards of compressed records: the pixels come back in any reader, the bytes are the same, damage is refused."""

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from crc32c import crc32c
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resload.errors import ArgumentError, CorruptCacheError
from resload.pipeline.cpu import on_canvas
from resload.store import codecs, documents, layout, packed
from resload.store.codecs import MASKS, NATIVE8, NATIVE16, Codec, native
from resload.store.packed import PackedShard, PackedWriter

SMALL8 = Codec("blosc", {**NATIVE8.configuration, "blocksize": 1024})
SMALL16 = Codec("blosc", {**NATIVE16.configuration, "blocksize": 1024})
"""As the native ones, in blocks so small that a test's film has several."""
KINDS = {
    "native8": ((40, 70), "uint8", NATIVE8),
    "native16": ((40, 70), "uint16", NATIVE16),
    "blocks8": ((40, 70), "uint8", SMALL8),
    "blocks16": ((40, 70), "uint16", SMALL16),
    "masks": ((3, 24, 20), "uint8", MASKS),
}


def film_like(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Smooth with some noise and zeros beyond: what compresses somewhat."""
    rng = np.random.default_rng(seed)
    found = np.zeros(shape, dtype)
    part = tuple(int(rng.integers(1, side + 1)) for side in shape)
    smooth = np.add.outer(np.arange(part[-2]) * 3, np.arange(part[-1]) * 2) + rng.integers(0, 9, part)
    found[tuple(map(slice, part))] = (smooth * (257 if dtype == "uint16" else 1)).astype(dtype)
    return found


def how(kind, per_shard=16):
    shape, dtype, codec = KINDS[kind]
    return {"shape": shape, "dtype": dtype, "per_shard": per_shard, "codec": codec}


def written(path, pixels, order=None, **options):
    """A finished shard of `pixels`, put in `order`; the checksums, by number."""
    writer = PackedWriter(path, **options)
    sums = {k: writer.put(k, pixels[k]) for k in (range(len(pixels)) if order is None else order)}
    writer.finish(len(pixels))
    return [sums[k] for k in range(len(pixels))]


def records(kind, count, seed=0):
    shape, dtype, _ = KINDS[kind]
    return [film_like(seed + k, shape, dtype) for k in range(count)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_records_come_back(tmp_path_factory, data):
    """Any shape and content, put in any order, read in any order: the pixels that were put, and their first rows."""
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    _, dtype, codec = KINDS[kind]
    sides = st.integers(1, 90)
    shape = data.draw(st.tuples(st.integers(1, 4), sides, sides) if kind == "masks" else st.tuples(sides, sides))
    per_shard, path = data.draw(st.sampled_from([1, 5, 16])), tmp_path_factory.mktemp("packed") / "0"
    count = data.draw(st.integers(1, per_shard))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    noise = [rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype) for _ in range(count)]  # nothing to compress
    smooth = [film_like(k, shape, dtype) for k in range(count)]
    pixels = [data.draw(st.sampled_from(pair)) for pair in zip(noise, smooth, strict=True)]
    options = {"shape": shape, "dtype": dtype, "per_shard": per_shard, "codec": codec}
    sums = written(path, pixels, data.draw(st.permutations(range(count))), **options)
    shard = PackedShard(path, count=count, **options)
    assert shard.present == count
    for k in data.draw(st.lists(st.integers(0, count - 1), max_size=6)):
        rows = data.draw(st.integers(0, shape[0]))
        assert np.array_equal(shard.read(k, sums[k]), pixels[k])
        found = shard.read(k, sums[k], rows=rows)
        assert found.dtype == dtype
        assert np.array_equal(found, pixels[k][:rows])
        out = np.full((rows, *shape[1:]), 77, dtype)
        assert shard.read(k, sums[k], out=out, rows=rows) is out
        assert np.array_equal(out, pixels[k][:rows])


@pytest.mark.parametrize("kind", ["blocks8", "blocks16"])
def test_padding_below_a_film_is_not_decoded(tmp_path, monkeypatch, kind):
    """The first rows take only the blocks they lie in."""
    (pixels,), options = records(kind, 1), how(kind)
    (total,) = written(tmp_path / "0", [pixels], **options)
    shard, sizes = PackedShard(tmp_path / "0", count=1, **options), []
    decode = Codec.decode
    monkeypatch.setattr(Codec, "decode", lambda self, record, out: sizes.append(len(out)) or decode(self, record, out))
    row = pixels[0].nbytes
    for rows in (1, 10, 20, 40):
        shard.read(0, total, rows=rows)
        assert sizes.pop() == min(pixels.nbytes, -(-rows * row // 1024) * 1024)


# -- the same bytes, whatever the order --


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("waiting", [0, 3000, 64 << 20])
def test_bytes_do_not_depend_on_order(tmp_path, monkeypatch, kind, waiting):
    """In order, backwards, shuffled, by eight threads; waiting in memory, in a file, or both: the same file."""
    monkeypatch.setattr(packed, "WAITING_BYTES", waiting)
    pixels, options = records(kind, 13), how(kind)
    sums = written(tmp_path / "plain", pixels, **options)
    plain = (tmp_path / "plain").read_bytes()
    orders = [range(12, -1, -1), np.random.default_rng(1).permutation(13).tolist(), [*range(1, 13), 0]]
    for order in orders:
        assert written(tmp_path / "other", pixels, order, **options) == sums
        assert (tmp_path / "other").read_bytes() == plain
    writer = PackedWriter(tmp_path / "threads", **options)
    with ThreadPoolExecutor(8) as pool:
        assert dict(pool.map(lambda k: (k, writer.put(k, pixels[k])), orders[1])) == dict(enumerate(sums))
    writer.finish(13)
    assert (tmp_path / "threads").read_bytes() == plain
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "plain", "threads"]


def test_waiting_records_take_bounded_memory(tmp_path, monkeypatch):
    """However many come before their turn, no more than the limit is in memory; the place is free again afterwards."""
    monkeypatch.setattr(packed, "WAITING_BYTES", 4000)
    pixels, options = records("native8", 16), how("native8")
    writer = PackedWriter(tmp_path / "0", **options)
    for k in range(15, 0, -1):
        writer.put(k, pixels[k])
        held = [found for found in writer._waiting.values() if isinstance(found, bytes)]
        assert sum(map(len, held)) <= 4000
    assert 0 < len(held) < 15
    writer.put(0, pixels[0])
    assert (writer._waiting, writer._waiting_bytes) == ({}, 0)
    writer.finish(16)


def test_compressing_happens_outside_the_lock(tmp_path, monkeypatch):
    """Two threads compress at once: each waits within the codec until the other is there too."""
    both, encode = threading.Barrier(2, timeout=60), Codec.encode

    def together(self, pixels):
        both.wait()
        return encode(self, pixels)

    monkeypatch.setattr(Codec, "encode", together)
    pixels, writer = records("native8", 2), PackedWriter(tmp_path / "0", **how("native8"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda k: writer.put(k, pixels[k]), range(2)))
    writer.finish(2)


def test_records_move_to_another_shard_as_they_are(tmp_path):
    """Compressed bytes that another version of a library would not write keep their checksum and their pixels."""
    pixels, options = records("native8", 3), how("native8")
    other = Codec("blosc", {**NATIVE8.configuration, "clevel": 9})
    sums = written(tmp_path / "0", pixels, **{**options, "codec": other})
    shard, writer = PackedShard(tmp_path / "0", count=3, **options), PackedWriter(tmp_path / "1", **options)
    assert [writer.put_compressed(k, shard.compressed(k, sums[k])) for k in (2, 0, 1)] == [sums[2], sums[0], sums[1]]
    writer.finish(3)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "0").read_bytes()
    assert written(tmp_path / "2", pixels, **options) != sums
    with pytest.raises(CorruptCacheError, match="record 1 is damaged"):
        shard.compressed(1, sums[0])


def test_reading_from_many_threads(tmp_path):
    """One open shard, many readers."""
    pixels, options = records("blocks16", 16), how("blocks16")
    sums = written(tmp_path / "0", pixels, **options)
    shard = PackedShard(tmp_path / "0", count=16, **options)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda k: shard.read(k % 16, sums[k % 16]), range(200))
        assert all(np.array_equal(one, pixels[k % 16]) for k, one in enumerate(found))


def test_a_writer_refuses_what_would_lie(tmp_path):
    """Another shape or dtype, a number twice or beyond the shard, an end before all records are there."""
    pixels, options = records("native8", 3), how("native8", 4)
    writer = PackedWriter(tmp_path / "0", **options)
    writer.put(2, pixels[2])
    for k, wrong in ((0, pixels[0][1:]), (0, pixels[0].astype(np.uint16)), (2, pixels[2]), (4, pixels[0])):
        with pytest.raises(AssertionError, match="record"):
            writer.put(k, wrong)
    writer.put(0, pixels[0])
    with pytest.raises(AssertionError, match="record 0 was put before"):
        writer.put(0, pixels[0])
    with pytest.raises(AssertionError, match="1 of 3 records were put, 1 wait"):
        writer.finish(3)
    writer.close()
    writer.close()


# -- open in other people's software --


NAMES = {2: ("radiograph", "y_native", "x_native"), 3: ("radiograph", "label", "y_24", "x_20")}


def array(folder, kind, count, per_shard):
    """A group with one array of `count` records, consolidated as a cache is; its pixels and checksums."""
    shape, dtype, codec = KINDS[kind]
    pixels, sums = records(kind, count), []
    document = documents.packed_document(
        (count, *shape), dtype, per_shard=per_shard, codec=codec.document(), names=NAMES[len(shape)]
    )
    for group, first in enumerate(range(0, count, per_shard)):
        path = folder.joinpath("level", "c", str(group), *"0" * len(shape))
        path.parent.mkdir(parents=True)
        sums += written(path, pixels[first : first + per_shard], **how(kind, per_shard))
    (folder / "level" / "zarr.json").write_bytes(documents.as_json(document))
    inline = {"kind": "inline", "must_understand": False, "metadata": {"level": document}}
    root = {"zarr_format": 3, "node_type": "group", "attributes": {}, "consolidated_metadata": inline}
    (folder / "zarr.json").write_bytes(documents.as_json(root))
    return np.stack(pixels), sums


def shard_file(folder, kind, group=0):
    return folder.joinpath("level", "c", str(group), *"0" * len(KINDS[kind][0]))


def by_tensorstore(folder):
    import tensorstore

    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/level/"}}
    return tensorstore.open(spec).result().read().result()


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("count", [3, 8, 13])
def test_zarr_and_tensorstore_open_it(tmp_path, kind, count):
    """Full and partial shards, value for value, with warnings as errors and through the consolidated metadata."""
    import zarr

    pixels, _ = array(tmp_path, kind, count, 4)
    group = zarr.open_group(tmp_path, mode="r")
    assert group.metadata.consolidated_metadata is not None
    theirs = group["level"]
    assert theirs.metadata.dimension_names == NAMES[pixels.ndim - 1]
    assert (theirs.shards[0], theirs.chunks) == (4, (1, *pixels.shape[1:]))
    assert np.array_equal(theirs[:], pixels)
    assert np.array_equal(zarr.open_array(tmp_path / "level", mode="r")[count - 1], pixels[count - 1])
    assert np.array_equal(by_tensorstore(tmp_path), pixels)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_document_names_the_codec_that_zarr_would_use(tmp_path, kind):
    """zarr-python reads our configuration as it stands, and what it writes with it, we read."""
    import zarr

    pixels, _ = array(tmp_path, kind, 4, 4)
    shape, dtype, codec = KINDS[kind]
    theirs = zarr.open_array(tmp_path / "level", mode="r+")
    inner = theirs.metadata.to_dict()["codecs"][0]["configuration"]["codecs"]
    assert inner[1] == codec.document()
    assert [each["name"] for each in inner] == ["bytes", codec.name, "crc32c"]
    for k in range(4):
        theirs[k] = pixels[3 - k]
    path = shard_file(tmp_path, kind)
    index = np.frombuffer(path.read_bytes()[-layout.index_bytes(4) : -4], "<u8").reshape(4, 2)
    for k, (offset, length) in enumerate(index.tolist()):
        stored = bytearray(path.read_bytes()[offset : offset + length - 4])
        out = np.empty(pixels[0].nbytes, np.uint8)
        record = np.frombuffer(stored, np.uint8)
        assert codec.span(record, out.size, out.size) == out.size
        codec.decode(record, out)
        assert np.array_equal(out.view(f"<{dtype[0]}{pixels.itemsize}").reshape(shape), pixels[3 - k])


def test_the_native_codec_fits_the_dtype():
    """Bits are shuffled apart over a value's own bytes."""
    assert native("uint8").configuration["typesize"] == 1
    assert native("uint16").configuration["typesize"] == 2


@pytest.mark.parametrize("shuffle", ["noshuffle", "shuffle", "bitshuffle"])
@pytest.mark.parametrize("typesize", [1, 2])
def test_blosc_does_what_the_document_says(shuffle, typesize):
    """The header of a record has the shuffle, typesize, block size and compressor of the configuration."""
    options = {"cname": "zstd", "clevel": 2, "shuffle": shuffle, "typesize": typesize, "blocksize": 4096}
    record = Codec("blosc", options).encode(film_like(0, (200, 300), f"uint{8 * typesize}"))
    flags = record[2]
    assert (flags & 1, flags >> 2 & 1, flags >> 5) == (shuffle == "shuffle", shuffle == "bitshuffle", 4)  # 4: zstd
    assert (record[3], int.from_bytes(record[8:12], "little")) == (typesize, 4096)


def test_absent_records_are_marked(tmp_path):
    """In a partial shard: all ones in both numbers, as the sharding specification says; none of them can be read."""
    pixels, options = records("native8", 5), how("native8")
    sums = written(tmp_path / "0", pixels, **options)
    index = np.frombuffer((tmp_path / "0").read_bytes()[-layout.index_bytes(16) : -4], "<u8").reshape(16, 2)
    assert (index[5:] == 2**64 - 1).all()
    assert index[1:5, 0].tolist() == np.cumsum(index[:4, 1]).tolist()
    shard = PackedShard(tmp_path / "0", count=3, **options)  # rows are being appended: more may be there
    assert shard.present == 5
    assert np.array_equal(shard.read(4, sums[4]), pixels[4])
    for k in (5, 15, 16, -1):
        with pytest.raises(AssertionError, match="in a shard of 5"):
            shard.read(k, 0)
    with pytest.raises(CorruptCacheError, match="where 6 records lie"):
        PackedShard(tmp_path / "0", count=6, **options)


# -- damage --


def read_all(path, sums, **options):
    """The first row of every record."""
    shard = PackedShard(path, count=len(sums), **options)
    return [shard.read(k, total, rows=1) for k, total in enumerate(sums)]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_flipped_bit_is_refused(tmp_path, kind):
    """Anywhere in a shard, by us and by zarr; ours names the file, and for a record its number and three sums."""
    import zarr

    _, sums = array(tmp_path, kind, 3, 4)
    path, options = shard_file(tmp_path, kind), how(kind, 4)
    sound = path.read_bytes()
    ends = np.cumsum(np.frombuffer(sound[-layout.index_bytes(4) : -4], "<u8").reshape(4, 2)[:3, 1]).tolist()
    rng = np.random.default_rng(3)
    for place in {0, 4, ends[0] - 1, ends[0], ends[2], len(sound) - 1, *rng.integers(0, len(sound), 40).tolist()}:
        data = bytearray(sound)
        data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        damaged = next((k for k, end in enumerate(ends) if place < end), None)
        with pytest.raises(CorruptCacheError, match=str(path)) as caught:
            read_all(path, sums, **options)
        if damaged is not None:
            assert f"record {damaged} is damaged" in str(caught.value)
            assert f"the table says {sums[damaged]:08x}" in str(caught.value)
        with pytest.raises(ValueError, match=r"[Cc]hecksum|crc32c"):
            zarr.open_array(tmp_path / "level", mode="r")[:]
        with pytest.raises(ValueError, match="Error reading"):
            by_tensorstore(tmp_path)


def test_another_records_bytes_are_refused(tmp_path):
    """Sound in itself, but not what the table remembers."""
    pixels, options = records("native8", 2), how("native8")
    sums = written(tmp_path / "0", pixels, **options)
    shard = PackedShard(tmp_path / "0", count=2, **options)
    with pytest.raises(CorruptCacheError, match=r"record 0 is damaged.*resload.verify.*resload.repair"):
        shard.read(0, sums[1])


def test_a_missing_or_truncated_file_is_refused(tmp_path):
    """At every length; and when it is cut after it was opened."""
    pixels, options = records("native8", 3), how("native8")
    with pytest.raises(CorruptCacheError, match="missing"):
        PackedShard(tmp_path / "0", count=3, **options)
    sums = written(tmp_path / "0", pixels, **options)
    sound = (tmp_path / "0").read_bytes()
    for length in [*range(0, len(sound), 97), len(sound) - 1]:
        (tmp_path / "0").write_bytes(sound[:length])
        with pytest.raises(CorruptCacheError, match=r"too short|index is damaged"):
            PackedShard(tmp_path / "0", count=3, **options)
    (tmp_path / "0").write_bytes(sound)
    shard = PackedShard(tmp_path / "0", count=3, **options)
    os.truncate(tmp_path / "0", 10)
    with pytest.raises(CorruptCacheError, match="ended while it was read"):
        shard.read(1, sums[1])


GONE = layout.MISSING


@pytest.mark.parametrize(
    "lie",
    [
        {(0, 0): 1},  # a gap
        {(1, 0): 0},  # over another
        {(1, 1): 4},  # room for a checksum only
        {(1, 1): 10**6},  # beyond the file
        {(1, 1): 2**63},
        {(0, 1): GONE},  # half absent
        {(1, 0): GONE, (1, 1): GONE},  # a hole
        {(2, 0): GONE, (2, 1): GONE},  # bytes that nobody has
        {(3, 0): 0, (3, 1): 9},  # one too many
        {(15, 0): GONE - 1},
    ],
)
def test_an_index_that_lies_is_refused(tmp_path, lie):
    """Though its own checksum is right."""
    written(tmp_path / "0", records("native8", 3), **how("native8"))
    data = (tmp_path / "0").read_bytes()
    index = np.frombuffer(data[-layout.index_bytes(16) : -4], "<u8").reshape(16, 2).copy()
    for place, number in lie.items():
        index[place] = number
    body = index.tobytes()
    (tmp_path / "0").write_bytes(data[: -layout.index_bytes(16)] + body + crc32c(body).to_bytes(4, "little"))
    with pytest.raises(CorruptCacheError, match="does not say where 3 records lie"):
        PackedShard(tmp_path / "0", count=3, **how("native8"))


def forged(path, kind, stored):
    """A shard whose only record is these bytes, with sums that are right."""
    options = how(kind)
    index = np.full((16, 2), GONE, "<u8")
    index[0] = 0, len(stored) + 4
    total, body = crc32c(stored), index.tobytes()
    parts = [stored, total.to_bytes(4, "little"), body, crc32c(body).to_bytes(4, "little")]
    path.write_bytes(b"".join(parts))
    return PackedShard(path, count=1, **options), total


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_record_that_decodes_to_another_length_is_refused(tmp_path, kind):
    """One row more, one less, a thousand times as many, nothing: with sums that are right."""
    shape, dtype, codec = KINDS[kind]
    for rows in (1, shape[0] - 1, shape[0] + 1, shape[0] * 1000):
        made = codec.encode(np.zeros((rows, *shape[1:]), dtype))
        shard, total = forged(tmp_path / "0", kind, made)
        with pytest.raises(CorruptCacheError, match="record 0 cannot be decoded"):
            shard.read(0, total)
    for junk in (b"\0", b"not compressed at all", bytes(64)):
        shard, total = forged(tmp_path / "0", kind, junk)
        with pytest.raises(CorruptCacheError, match="record 0 cannot be decoded"):
            shard.read(0, total)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.tuples(st.integers(0, 1 << 12), st.integers(1, 255)), min_size=1, max_size=8),
    st.sampled_from([1, None]),
)
@example("blocks8", [(2, 2)], None)
@example("blocks8", [(8, 255)], 1)
def test_hostile_records_end_in_an_error_or_in_pixels(tmp_path_factory, kind, changes, rows):
    """Bytes changed and every sum made right again: refused, or of the right shape; the process lives."""
    shape, dtype, codec = KINDS[kind]
    stored = bytearray(codec.encode(film_like(1, shape, dtype)))
    for place, change in changes:
        stored[place % len(stored) if place > 40 else min(place, len(stored) - 1)] ^= change
    shard, total = forged(tmp_path_factory.mktemp("hostile") / "0", kind, bytes(stored))
    with contextlib.suppress(CorruptCacheError):  # any other error fails
        found = shard.read(0, total, rows=rows)
        assert (found.shape, found.dtype) == ((rows or shape[0], *shape[1:]), dtype)


def test_a_canvas_that_no_codec_takes_is_refused():
    """Before anything is allocated or written."""
    assert codecs.body_bytes((1 << 15, 1 << 15), "uint8") == 1 << 30
    for shape, dtype in (((1 << 16, 1 << 16), "uint8"), ((1 << 15, 1 << 15), "uint16")):
        with pytest.raises(ArgumentError, match="at most 2147483631"):
            codecs.body_bytes(shape, dtype)


def test_a_wrong_out_is_refused(tmp_path):
    """Another shape, dtype or order of axes."""
    pixels, options = records("native8", 1), how("native8")
    (total,) = written(tmp_path / "0", pixels, **options)
    shard = PackedShard(tmp_path / "0", count=1, **options)
    for wrong in (np.empty((40, 71), np.uint8), np.empty((40, 70), np.uint16), np.empty((70, 40), np.uint8).T):
        with pytest.raises(ArgumentError, match="C-contiguous"):
            shard.read(0, total, out=wrong)


def test_a_film_lies_at_the_top_left_of_its_canvas():
    """Zeros beyond; a film that fills it is no copy."""
    film = np.arange(6, dtype=np.uint16).reshape(2, 3)
    canvas = on_canvas(film, (3, 5))
    assert canvas.dtype == np.uint16
    assert canvas.tolist() == [[0, 1, 2, 0, 0], [3, 4, 5, 0, 0], [0] * 5]
    assert on_canvas(film, (2, 3)) is film
    with pytest.raises(ValueError, match="broadcast"):
        on_canvas(film, (1, 9))


@pytest.mark.real
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_real_films_on_a_canvas(tmp_path, real_data, dtype):
    """Films as they are, on a canvas that is larger: back bit for bit, and at most two thirds of their bytes."""
    from resload import intensity
    from resload.decode import decode

    paths = sorted((real_data / "nih/images").glob("*.png"))[:3]
    films = [intensity.apply(decode(path), dtype=dtype)[0] for path in paths]
    shape = (1100, 1300)
    options = {"shape": shape, "dtype": dtype, "per_shard": 16, "codec": native(dtype)}
    sums = written(tmp_path / "0", [on_canvas(film, shape) for film in films], **options)
    shard = PackedShard(tmp_path / "0", count=3, **options)
    for k, film in enumerate(films):
        found = shard.read(k, sums[k], rows=film.shape[0])
        assert np.array_equal(found[:, : film.shape[1]], film)
        assert not found[:, film.shape[1] :].any()
    assert (tmp_path / "0").stat().st_size * 1.5 < sum(film.nbytes for film in films)
