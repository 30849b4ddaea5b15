"""PNG, JPEG and TIFF against Pillow and against the numbers they were made from."""

import gc
import io
import itertools
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import hostile
import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from resload.decode import decode, inflated, png, read_header, sniff, tiff
from resload.decode.codecs import run
from resload.decode.gray import to_gray
from resload.decode.window import FileWindow
from resload.errors import (
    DecodeError,
    NotARadiographError,
    TooLargeError,
    TruncatedFileError,
    UnknownFormatError,
    UnreadableFileError,
)
from resload.limits import Limits

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def rows_of(samples: np.ndarray, depth: int) -> bytes:
    """Scan lines of filter 0: samples (H, W, channels) packed to `depth` bits, most significant first."""
    out = b""
    for row in samples:
        flat = row.reshape(-1)
        if depth == 16:
            packed = flat.astype(">u2").tobytes()
        else:
            bits = (flat[:, None] >> np.arange(depth)[::-1]) & 1
            packed = np.packbits(bits.astype(np.uint8).reshape(-1)).tobytes()
        out += b"\0" + packed
    return out


def make_png(samples: np.ndarray, depth: int, colour: int, *, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """A PNG written by the standard's text alone, so that no encoder's habits are tested."""
    samples = samples.reshape(samples.shape[0], samples.shape[1], -1)
    passes = [samples[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [samples]
    raw = b"".join(rows_of(part, depth) for part in passes if part.size)
    size = struct.pack(">II", samples.shape[1], samples.shape[0])
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size + bytes((depth, colour, 0, 0, int(interlaced))))
        + extra
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


def bomb_png(width: int = 60_000, height: int = 60_000) -> bytes:
    size = struct.pack(">II", width, height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\x08\0\0\0\0") + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def saved(pixels: np.ndarray, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def smooth(height: int = 61, width: int = 47) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (120 + 60 * np.sin(x / 7) + 50 * np.cos(y / 11)).astype(np.uint8)


def colourful() -> np.ndarray:
    gray = smooth()
    return np.dstack([gray, gray[::-1], 255 - gray])


def luma(rgb: np.ndarray) -> np.ndarray:
    red, green, blue = (rgb[..., k].astype(np.int64) for k in range(3))
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


def images(depth: int, channels: int = 1) -> st.SearchStrategy[np.ndarray]:
    def draw(shape: tuple[int, int], seed: int) -> np.ndarray:
        kind = np.uint16 if depth == 16 else np.uint8
        full = (*shape, channels) if channels > 1 else shape
        return np.random.default_rng(seed).integers(0, 1 << depth, full, kind)

    return st.builds(draw, st.tuples(st.integers(1, 19), st.integers(1, 19)), st.integers(0, 1 << 32))


def refused_for_nothing(file: bytes) -> None:
    """Refusing a file of 512 x 512 hundreds of times keeps neither references nor memory."""
    with pytest.raises(DecodeError):
        decode(file)
    gc.collect()
    gc.disable()  # what other tests left behind refers to None too, and must not be cleared away meanwhile
    tracemalloc.start()
    try:
        before = sys.getrefcount(None)
        for _ in range(300):
            with pytest.raises(DecodeError):
                decode(file)
        assert sys.getrefcount(None) > before - 100
        assert tracemalloc.get_traced_memory()[0] < 20 * 512 * 512
    finally:
        tracemalloc.stop()
        gc.enable()


class TestPng:
    @pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
    @given(data=st.data(), interlaced=st.booleans())
    @settings(max_examples=25, deadline=None)
    def test_gray_of_every_depth_comes_back_exactly(self, depth, data, interlaced):
        """1 to 16 bits, interlaced or not, any shape from one pixel on; below 8 bits spread over 0 to 255."""
        samples = data.draw(images(depth))
        file = make_png(samples, depth, 0, interlaced=interlaced)
        found = decode(file)
        expected = samples if depth >= 8 else samples * np.uint8(255 // ((1 << depth) - 1))
        assert np.array_equal(found.pixels, expected)
        assert found.pixels.dtype == (np.uint16 if depth == 16 else np.uint8)
        assert found.bits == read_header(file).bits == max(8, depth)
        assert np.array_equal(found.pixels, np.asarray(Image.open(io.BytesIO(file)).convert("I")))

    @pytest.mark.parametrize("depth", [8, 16])
    @given(data=st.data(), interlaced=st.booleans(), alpha=st.booleans())
    @settings(max_examples=20, deadline=None)
    def test_colour_becomes_luma_and_alpha_is_ignored(self, depth, data, interlaced, alpha):
        """RGB and RGBA of 8 and 16 bits by the one declared rule."""
        samples = data.draw(images(depth, 4 if alpha else 3))
        file = make_png(samples, depth, 6 if alpha else 2, interlaced=interlaced)
        assert np.array_equal(decode(file).pixels, luma(samples))
        assert read_header(file).photometric == "RGB"

    @pytest.mark.parametrize("depth", [8, 16])
    @given(data=st.data())
    @settings(max_examples=10, deadline=None)
    def test_alpha_beside_gray_is_ignored(self, depth, data):
        """Gray with alpha gives its gray."""
        samples = data.draw(images(depth, 2))
        assert np.array_equal(decode(make_png(samples, depth, 4)).pixels, samples[..., 0])

    @pytest.mark.parametrize("depth", [1, 2, 4, 8])
    @pytest.mark.parametrize("transparent", [False, True])
    def test_palettes_are_looked_up(self, depth, transparent):
        """A palette's colours go through the luma rule; its transparency does not matter."""
        rng = np.random.default_rng(depth)
        colours = rng.integers(0, 256, (1 << depth, 3), np.uint8)
        index = rng.integers(0, 1 << depth, (13, 9), np.uint8)
        extra = chunk(b"PLTE", colours.tobytes()) + (chunk(b"tRNS", b"\0\x80") if transparent else b"")
        file = make_png(index, depth, 3, extra=extra)
        assert np.array_equal(decode(file).pixels, luma(colours[index]))
        assert read_header(file).photometric == "PALETTE COLOR"

    def test_transparent_gray_is_still_gray(self):
        """A tRNS chunk makes libpng add a channel, which is dropped again."""
        file = make_png(smooth(), 8, 0, extra=chunk(b"tRNS", b"\0\x05"))
        assert np.array_equal(decode(file).pixels, smooth())

    @pytest.mark.parametrize("bits", [9, 10, 12, 15])
    def test_significant_bits_are_honoured(self, bits):
        """sBIT: samples scaled up to 16 bits, as the standard wants, come back as 0 to 2**bits - 1."""
        codes = np.random.default_rng(bits).integers(0, 1 << bits, (9, 14), np.uint16)
        codes[0, 0] = (1 << bits) - 1
        scaled = (codes << (16 - bits)) | (codes >> (2 * bits - 16))
        file = make_png(scaled, 16, 0, extra=chunk(b"sBIT", bytes([bits])))
        found = decode(file)
        assert (found.bits, read_header(file).bits) == (bits, bits)
        assert np.array_equal(found.pixels, codes)

    def test_significant_bits_of_writers_that_do_not_scale(self):
        """sBIT 12 over values that never leave 12 bits: they are kept, not shifted away."""
        codes = np.random.default_rng(0).integers(0, 4096, (9, 14), np.uint16)
        found = decode(make_png(codes, 16, 0, extra=chunk(b"sBIT", b"\x0c")))
        assert found.bits == 12
        assert np.array_equal(found.pixels, codes)

    def test_a_wrong_checksum_is_refused(self):
        """One flipped bit of the image data never becomes pixels."""
        file = make_png(smooth(), 8, 0)
        for at in range(file.index(b"IDAT") + 4, len(file) - 16, 7):
            damaged = bytearray(file)
            damaged[at] ^= 4
            with pytest.raises(DecodeError):
                decode(bytes(damaged))

    def test_rows_that_are_missing_are_refused(self):
        """A whole zlib stream of too few rows is damage, not a half-filled image."""
        short = make_png(smooth(20, 20), 8, 0)
        taller = short[:20] + struct.pack(">I", 40) + short[24:]
        taller = taller[:29] + struct.pack(">I", zlib.crc32(taller[12:29])) + taller[33:]
        with pytest.raises(DecodeError, match="PNG data is damaged"):
            decode(taller)

    def test_damaged_files_cost_neither_references_nor_memory(self):
        """Thousands of damaged files in one build must not end the process or eat its memory."""
        whole = imagecodecs.png_encode(np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8))
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 1
        file = bytes(damaged)
        refused_for_nothing(file)

    def test_many_chunks_end_the_walk(self):
        """A file of nothing but tiny chunks is refused rather than walked."""
        file = make_png(smooth(), 8, 0, extra=chunk(b"tEXt", b"") * 10_000)
        with pytest.raises(TooLargeError, match="more chunks before its pixels than the limit"):
            decode(file)


def split_png(file: bytes, stream: bytes, cuts: list[int], between: bytes = b"") -> bytes:
    """A PNG with another zlib stream, cut into IDAT chunks at these positions, `between` put before the last one."""
    start = file.index(b"IDAT") - 4
    cuts = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [chunk(b"IDAT", stream[a:b]) for a, b in itertools.pairwise(cuts)]
    return file[:start] + b"".join(chunks[:-1]) + between + chunks[-1] + chunk(b"IEND", b"")


def outcome(decoded: Callable[[], np.ndarray]) -> bytes | str:
    try:
        return decoded().tobytes()
    except DecodeError as exc:
        return str(exc)


def filtered_png(pixels: np.ndarray, filters: list[int], extra: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG whose rows have these filter bytes, whatever pixels come of it."""
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(len(pixels), -1).view(np.uint8)
    raw = b"".join(bytes([kind]) + row.tobytes() for kind, row in zip(filters, rows, strict=True))
    colour = {1: 0, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[2]]
    size = struct.pack(">II", pixels.shape[1], pixels.shape[0])
    head = chunk(b"IHDR", size + bytes((8 * pixels.itemsize, colour, 0, 0, 0)))
    return png.SIGNATURE + head + extra + chunk(b"IDAT", zlib.compress(raw)) + after + chunk(b"IEND", b"")


def perhaps_damaged(kind: bytes, body: bytes, damage: int) -> bytes:
    whole = chunk(kind, body)
    return whole[:-1] + bytes([whole[-1] ^ damage])


ANY_CHUNK = st.tuples(
    st.sampled_from(
        [b"tIME", b"pHYs", b"gAMA", b"sBIT", b"tEXt", b"tRNS", b"PLTE", b"iCCP", b"ABCD", b"abcd", b"IHDR"]
    ),
    st.one_of(st.binary(max_size=40), st.sampled_from([b"\0" * 4, b"\x0c", b"\0\x01\0\x01\0\x01", b"k\0text"])),
    st.sampled_from([0, 0, 0, 0, 1]),
).map(lambda one: perhaps_damaged(*one))


class TestInflated:
    """The detour by libdeflate: libpng's pixels, libpng's refusals."""

    @pytest.mark.parametrize("shape", [(1, 1), (256, 255), (256, 256), (700, 531)])
    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    @pytest.mark.parametrize("level", [0, 1, 9])
    def test_pixels_are_those_of_libpng(self, shape, kind, channels, level):
        """Every row filter, stored blocks that end with the data or before it, every number of samples."""
        y, x = np.mgrid[: shape[0], : shape[1]]
        noise = np.random.default_rng(0).integers(0, 9, (*shape, channels))
        pixels = ((x + y)[..., None] * (np.arange(channels) + 1) + noise).astype(kind)
        pixels = pixels[..., 0] if channels == 1 else pixels
        file = imagecodecs.png_encode(pixels, level=level)
        parsed = png.parse(file)
        stored = inflated.inflated(file, parsed.pixels_at, parsed.filtered_bytes)
        assert stored is not None
        assert np.array_equal(imagecodecs.png_decode(stored).reshape(pixels.shape), pixels)
        assert np.array_equal(imagecodecs.png_decode(file).reshape(pixels.shape), pixels)

    @given(data=st.data())
    @settings(max_examples=80, deadline=None)
    def test_any_stream_ends_as_it_ends_in_libpng(self, data):
        """Right chunk checksums around anything: cut, prolonged, damaged, scattered; with other chunks between."""
        file = GOOD["png"]
        stream = zlib.compress(rows_of(smooth()[..., None], 8), data.draw(st.integers(0, 9)))
        cut = data.draw(st.integers(0, len(stream)))
        stream = data.draw(
            st.sampled_from(
                [
                    stream,
                    stream[:cut],
                    stream + stream[:cut],
                    stream[:cut] + b"\x55" + stream[cut + 1 :],
                    zlib.compress(zlib.decompress(stream)[:cut]),
                    zlib.compress(zlib.decompress(stream) + stream[:cut]),
                ]
            )
        )
        cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=3))
        between = data.draw(st.sampled_from([b"", chunk(b"tEXt", b"a\0b"), chunk(b"PLTE", b"\1\2\3")]))
        file = split_png(file, stream, cuts, between)

        def by_libpng() -> np.ndarray:
            return to_gray(run("png", file, out=np.empty(smooth().shape, np.uint8)))

        ours, theirs = outcome(lambda: decode(file).pixels), outcome(by_libpng)
        assert isinstance(ours, str) == isinstance(theirs, str)
        if isinstance(theirs, bytes):
            assert ours == theirs

    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    @given(data=st.data())
    @settings(max_examples=20, deadline=None)
    def test_every_filter_of_every_row(self, channels, kind, data):
        """Any filters over any bytes, from one pixel on: what libpng makes of the file itself."""
        pixels = data.draw(images(8 * np.dtype(kind).itemsize, channels))
        filters = data.draw(st.lists(st.integers(0, 4), min_size=len(pixels), max_size=len(pixels)))
        file = filtered_png(pixels, filters)
        parsed = png.parse(file)
        stored = inflated.inflated(file, parsed.pixels_at, parsed.filtered_bytes)
        assert np.array_equal(imagecodecs.png_decode(stored), imagecodecs.png_decode(file))

    @given(data=st.data())
    @settings(max_examples=100, deadline=None)
    def test_any_chunks_end_as_they_end_in_libpng(self, data):
        """Known and unknown chunks, sound or not, before and after the pixels; filters that are none."""
        filters = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 4, 5]), min_size=61, max_size=61))
        filters = data.draw(st.sampled_from([filters, [kind % 5 for kind in filters]]))
        extra, after = (b"".join(data.draw(st.lists(ANY_CHUNK, max_size=3))) for _ in range(2))
        file = filtered_png(smooth(), filters, extra, after)

        def by_libpng() -> np.ndarray:
            return to_gray(run("png", file, out=np.empty(png.parse(file).shape, np.uint8)))

        assert outcome(lambda: decode(file).pixels) == outcome(by_libpng)

    def test_a_stream_that_cannot_be_inflated_costs_neither_references_nor_memory(self):
        """Damage behind right checksums of the chunks: thousands of such files in one build."""
        noise = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
        stream = bytearray(zlib.compress(rows_of(noise[..., None], 8)))
        stream[-3] ^= 1
        file = split_png(make_png(noise, 8, 0), bytes(stream), [])
        refused_for_nothing(file)

    def test_more_than_a_chunk_holds_is_left_to_libpng(self):
        """No allocation follows a claim that large."""
        file = GOOD["png"]
        assert inflated.inflated(file, png.parse(file).pixels_at, (1 << 30) + 1) is None


class TestLuma:
    @given(value=st.integers(0, 65535))
    @settings(deadline=None)
    def test_gray_stays_itself(self, value):
        """R = G = B = v gives v, in 8 and 16 bits, shortcut or not."""
        deep = np.full((2, 3, 3), value, np.uint16)
        deep[0, 0] = (0, 1, 2)  # not gray as a whole, so that the arithmetic runs
        assert (to_gray(deep).reshape(-1)[1:] == value).all()
        assert (to_gray(np.full((2, 3, 3), value % 256, np.uint8)) == value % 256).all()

    def test_it_is_what_pillow_calls_gray(self):
        """For 8 bits the rule is Pillow's convert("L"), on every shape of noise; pillow-simd's is one off, seldom."""
        rgb = np.random.default_rng(3).integers(0, 256, (300, 400, 3), np.uint8)
        difference = np.abs(to_gray(rgb).astype(int) - np.asarray(Image.fromarray(rgb).convert("L")))
        assert difference.max() <= (1 if ".post" in Image.__version__ else 0)
        assert (difference > 0).mean() < 0.01

    @pytest.mark.parametrize("where", [(0, 0), (299, 399), (151, 7)])
    def test_one_coloured_pixel_is_noticed(self, where):
        """The shortcut for gray pictures looks at every pixel."""
        rgb = np.repeat(np.random.default_rng(4).integers(0, 256, (300, 400, 1), np.uint8), 3, axis=2)
        rgb[where] = (255, 0, 0)
        assert np.array_equal(to_gray(rgb), luma(rgb))

    @pytest.mark.parametrize("channels", [3, 4])
    @pytest.mark.parametrize("shape", [(1, 1), (1, 21_845), (1, 21_846), (3, 16_384), (257, 255)])
    @given(data=st.data())
    @settings(max_examples=15, deadline=None)
    def test_gray_is_gray_in_every_sample(self, channels, shape, data):
        """Any one sample that differs is noticed, on either side of the ends of blocks; any alpha is ignored."""
        seed = data.draw(st.integers(0, 99))
        rgb = np.random.default_rng(seed).integers(0, 256, (*shape, channels), np.uint8)
        rgb[..., 1] = rgb[..., 2] = rgb[..., 0]
        assert np.array_equal(to_gray(rgb), rgb[..., 0])
        at = data.draw(st.integers(0, rgb[..., 0].size - 1) | st.sampled_from([0, rgb[..., 0].size - 1]))
        rgb[np.unravel_index(at, shape)][data.draw(st.integers(0, 2))] ^= 255
        assert np.array_equal(to_gray(rgb), luma(rgb))

    def test_extremes_of_16_bits_do_not_overflow(self):
        """White is white."""
        assert to_gray(np.array([[[65535] * 3, [65535, 65535, 0]]], np.uint16)).tolist() == [
            [65535, (19595 * 65535 + 38470 * 65535 + 32768) >> 16]
        ]


class TestJpeg:
    @pytest.mark.parametrize("progressive", [False, True])
    @pytest.mark.parametrize("subsampling", [0, 1, 2])
    def test_it_agrees_with_pillow(self, progressive, subsampling):
        """Gray and colour, sequential and progressive: what Pillow decodes, within one grey level."""
        for pixels in (smooth(), colourful()):
            file = saved(pixels, "JPEG", quality=92, progressive=progressive, subsampling=subsampling)
            found = decode(file)
            expected = np.asarray(Image.open(io.BytesIO(file)).convert("L"))
            assert np.abs(found.pixels.astype(int) - expected).max() <= 1
            assert (found.bits, found.pixels.dtype) == (8, np.uint8)

    def test_twelve_bits(self):
        """An extended JPEG keeps its 12 bits."""
        pixels = smooth().astype(np.uint16) * 16
        file = imagecodecs.jpeg8_encode(pixels, level=100, bitspersample=12)
        found = decode(file)
        assert (found.bits, found.pixels.dtype, read_header(file).bits) == (12, np.uint16, 12)
        assert np.abs(found.pixels.astype(int) - pixels).max() < 40

    def test_cmyk_is_refused_by_name(self):
        """Four inks are no gray scale that a rule could guess."""
        file = io.BytesIO()
        Image.fromarray(np.zeros((8, 8, 4), np.uint8), "CMYK").save(file, "JPEG")
        with pytest.raises(NotARadiographError, match="CMYK"):
            decode(file.getvalue())

    def test_a_thumbnail_with_an_end_marker_does_not_hide_truncation(self):
        """The FFD9 of an embedded thumbnail is not the end of the picture."""
        file = saved(smooth(), "JPEG")
        thumbnail = b"Exif\0\0" + saved(smooth(8, 8), "JPEG")
        whole = file[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + file[2:]
        assert np.array_equal(decode(whole).pixels, decode(file).pixels)
        with pytest.raises(TruncatedFileError):
            decode(whole[:-50])

    def test_bytes_behind_the_end_do_not_matter(self):
        """Scanners append things."""
        file = saved(smooth(), "JPEG")
        assert np.array_equal(decode(file + b"\0" * 40).pixels, decode(file).pixels)


def make_tiff(pixels: np.ndarray, *, order: str = "<", big: bool = False, photometric: int = 1, **tags: int) -> bytes:
    """An uncompressed one-strip TIFF or BigTIFF, directory last."""
    raw = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    head = 16 if big else 8
    fields = {256: pixels.shape[1], 257: pixels.shape[0], 258: pixels.dtype.itemsize * 8, 259: 1, 262: photometric}
    fields |= {273: head, 277: samples, 278: pixels.shape[0], 279: len(raw)}
    fields |= {int(name[1:]): value for name, value in tags.items()}
    word = "Q" if big else "I"
    mark = b"II" if order == "<" else b"MM"
    start = head + len(raw)
    first = struct.pack(f"{order}HHHQ", 43, 8, 0, start) if big else struct.pack(f"{order}HI", 42, start)
    entries = b"".join(
        struct.pack(f"{order}HH{word}{word}", tag, 16 if big else 4, 1, value) for tag, value in sorted(fields.items())
    )
    count = struct.pack(f"{order}{'Q' if big else 'H'}", len(fields))
    return mark + first + raw + count + entries + struct.pack(f"{order}{word}", 0)


class TestTiff:
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("big", [False, True])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_gray_in_both_byte_orders_and_sizes(self, order, big, dtype):
        """Classic and BigTIFF, little and big endian, 8 and 16 bits."""
        pixels = np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, (11, 7), dtype)
        file = make_tiff(pixels, order=order, big=big)
        found = decode(file)
        assert np.array_equal(found.pixels, pixels)
        assert (found.bits, found.pixels.dtype) == (np.iinfo(dtype).bits, np.dtype(dtype))

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_white_zero_is_turned_round_once(self, dtype):
        """MINISWHITE: codes grow with brightness, as everywhere else."""
        pixels = np.random.default_rng(2).integers(0, np.iinfo(dtype).max + 1, (5, 6), dtype)
        file = make_tiff(pixels, photometric=0)
        assert np.array_equal(decode(file).pixels, np.iinfo(dtype).max - pixels)
        assert read_header(file).photometric == "MONOCHROME1"

    @pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
    @given(data=st.data(), kind=st.sampled_from(["L", "I;16", "RGB", "RGBA"]))
    @settings(max_examples=15, deadline=None)
    def test_compressions(self, compression, data, kind):
        """What Pillow wrote, in any lossless compression."""
        channels = {"RGB": 3, "RGBA": 4}.get(kind, 1)
        pixels = data.draw(images(16 if kind == "I;16" else 8, channels))
        found = decode(saved(pixels, "TIFF", compression=compression))
        assert np.array_equal(found.pixels, pixels if channels == 1 else luma(pixels))

    def test_jpeg_inside(self):
        """A JPEG-compressed page comes back as RGB and then luma."""
        file = saved(colourful(), "TIFF", compression="jpeg", quality=95)
        expected = np.asarray(Image.open(io.BytesIO(file)).convert("L")).astype(int)
        assert np.abs(decode(file).pixels - expected).max() <= 1

    def test_pages_are_frames(self):
        """Each page by its number; one too many is refused."""
        pages = [smooth(20 + k, 30) for k in range(3)]
        file = io.BytesIO()
        first, *rest = map(Image.fromarray, pages)
        first.save(file, "TIFF", save_all=True, append_images=rest)
        assert read_header(file.getvalue()).frames == 3
        for k, page in enumerate(pages):
            assert np.array_equal(decode(file.getvalue(), frame=k).pixels, page)
        for wrong in (3, -1):
            with pytest.raises(NotARadiographError, match="holds 3"):
                decode(file.getvalue(), frame=wrong)

    @pytest.mark.parametrize(
        ("tags", "message"),
        [
            ({"t262": 3}, "neither gray nor RGB"),
            ({"t262": 5}, "neither gray nor RGB"),
            ({"t258": 4}, "8 or 16 bits"),
            ({"t339": 3}, "unsigned"),
            ({"t339": 2}, "unsigned"),
            ({"t277": 5}, "channels"),
        ],
    )
    def test_other_kinds_are_refused_by_name(self, tags, message):
        """Palette, CMYK, 4 bits, floats, signed, five channels."""
        with pytest.raises(NotARadiographError, match=message):
            decode(make_tiff(smooth(), **tags))

    def test_too_few_strips_are_refused(self):
        """Strips that the directory does not list would be left as whatever memory held."""
        with pytest.raises(DecodeError, match="directory is damaged"):
            decode(make_tiff(smooth(), t278=1))

    def test_pages_in_a_loop_are_refused(self):
        """A directory that follows itself."""
        file = make_tiff(smooth())
        start = struct.unpack("<I", file[4:8])[0]
        with pytest.raises(DecodeError, match="damaged"):
            decode(file[:-4] + struct.pack("<I", start))


GOOD = {
    "png": imagecodecs.png_encode(smooth()),
    "deep": imagecodecs.png_encode(smooth().astype(np.uint16) * 200),
    "interlaced": make_png(smooth(), 8, 0, interlaced=True),
    "jpeg": saved(smooth(), "JPEG"),
    "progressive": saved(colourful(), "JPEG", progressive=True),
    "tiff": saved(smooth(), "TIFF"),
    "lzw": saved(colourful(), "TIFF", compression="tiff_lzw"),
}


class TestHostile:
    @pytest.mark.parametrize("name", GOOD)
    def test_every_truncation_is_noticed(self, name):
        """A file cut anywhere is refused as such: no codec's half-filled answer gets through."""
        file = GOOD[name]
        decode(file)
        for size in range(8, len(file), max(1, len(file) // 400)):
            with pytest.raises(TruncatedFileError):
                decode(file[:size])
        with pytest.raises(TruncatedFileError):
            decode(file[:-1])

    @pytest.mark.parametrize("name", GOOD)
    @given(data=st.data())
    @settings(max_examples=60, deadline=None)
    def test_damage_raises_nothing_but_our_errors(self, name, data):
        """Bytes changed at random: pixels or a DecodeError, never another exception."""
        hostile.raises_nothing_but_our_errors(data, GOOD[name])

    @given(data=st.binary(max_size=300))
    @settings(deadline=None)
    def test_noise_raises_nothing_but_our_errors(self, data):
        """Any bytes at all."""
        with pytest.raises(DecodeError):
            decode(data)

    def test_empty(self):
        """No bytes."""
        with pytest.raises(TruncatedFileError, match="empty"):
            decode(b"")

    def test_text(self):
        """A web page saved as an image."""
        with pytest.raises(UnknownFormatError, match="not PNG, JPEG, TIFF or DICOM"):
            decode(b"<html><body>404 not found</body></html>" * 20)

    @pytest.mark.parametrize(
        "file",
        [
            bomb_png(),
            make_tiff(smooth(), t256=60_000, t257=60_000),
            GOOD["jpeg"].replace(struct.pack(">HH", 61, 47), struct.pack(">HH", 60_000, 60_000), 1),
        ],
        ids=["png", "tiff", "jpeg"],
    )
    def test_a_claim_of_60000_by_60000_is_refused_before_anything_is_allocated(self, file):
        """Quickly, and with next to no memory."""
        decode(GOOD["png"])  # imports
        hostile.claim_is_refused_before_anything_is_allocated(file)

    def test_the_limit_is_the_callers(self):
        """`max_pixels` itself is allowed, one less is not."""
        assert decode(GOOD["png"], max_pixels=61 * 47).pixels.shape == (61, 47)
        with pytest.raises(TooLargeError):
            decode(GOOD["png"], max_pixels=61 * 47 - 1)
        assert Limits().pixels == 2**27

    def test_no_pixels_at_all(self):
        """Zero columns."""
        with pytest.raises(NotARadiographError, match="no pixels"):
            decode(bomb_png(width=0))

    def test_a_second_frame_of_a_png(self):
        """PNG and JPEG hold one image."""
        for name in ("png", "jpeg"):
            with pytest.raises(NotARadiographError, match="holds 1"):
                decode(GOOD[name], frame=1)


class TestFiles:
    def test_the_name_does_not_matter(self, tmp_path: Path):
        """A JPEG named .png is the JPEG it is."""
        path = tmp_path / "film.png"
        path.write_bytes(GOOD["jpeg"])
        assert sniff(GOOD["jpeg"]) == read_header(path).format == "jpeg"
        assert np.array_equal(decode(path).pixels, decode(GOOD["jpeg"]).pixels)

    @pytest.mark.parametrize("step", [decode, read_header])
    def test_the_error_names_the_file(self, step, tmp_path: Path):
        """Missing, a folder, damaged: with the path in the message and not in the reason."""
        broken = tmp_path / "broken.png"
        broken.write_bytes(GOOD["png"][:20])
        for path, kind in ((tmp_path / "none", UnreadableFileError), (tmp_path, UnreadableFileError)):
            with pytest.raises(kind) as caught:
                step(path)
            assert str(path) in str(caught.value)
        with pytest.raises(TruncatedFileError) as caught:
            step(broken)
        assert str(broken) in str(caught.value)
        assert "broken" not in caught.value.reason

    @pytest.mark.parametrize("name", GOOD)
    def test_headers_of_paths_and_bytes_agree_with_the_pixels(self, name, tmp_path: Path):
        """Height, width and bits are those of the decoded image."""
        path = tmp_path / "film"
        path.write_bytes(GOOD[name])
        header, film = read_header(path), decode(str(path))
        assert header == read_header(GOOD[name]) == read_header(bytearray(GOOD[name]))
        assert (header.height, header.width, header.bits) == (*film.pixels.shape, film.bits)
        assert film.content == (0, 0, *film.pixels.shape)
        assert film.spacing is header.spacing is None

    @pytest.mark.parametrize("form", [png, tiff])
    def test_a_header_costs_few_bytes(self, form):
        """Of a large file, the header reads some kilobytes, wherever they are."""
        pixels = np.random.default_rng(0).integers(0, 256, (1024, 1024), np.uint8)
        data = imagecodecs.png_encode(pixels) if form is png else make_tiff(pixels)
        read = []

        class Counting(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                read.append(size)
                return super().read(size)

        assert form.header(FileWindow(Counting(data))).width == 1024
        assert 0 < sum(read) <= 1 << 16 < len(data)

    @pytest.mark.parametrize("name", GOOD)
    def test_pixels_belong_to_the_caller(self, name):
        """Contiguous, writable, no view of the file."""
        pixels = decode(GOOD[name]).pixels
        assert pixels.flags.c_contiguous
        assert pixels.flags.writeable
        assert pixels.ndim == 2

    def test_threads_get_what_one_thread_gets(self):
        """Many threads, all formats, broken files among them."""
        hostile.threads_get_what_one_thread_gets(GOOD)

    def test_the_decoder_is_named_with_its_version(self):
        """What a cache records about who made the pixels."""
        assert decode(GOOD["png"]).decoder == f"imagecodecs.png {imagecodecs.__version__}"


@pytest.mark.real
def test_real_films_are_what_pillow_reads(real_data: Path):
    """Every ChestX-ray14 film, the two RGBA ones included, equals Pillow's gray."""
    paths = sorted((real_data / "nih" / "images").glob("*.png"))
    assert len(paths) >= 90
    colours = 0
    for path in paths:
        with Image.open(path) as image:
            expected = np.asarray(image.convert("L"))
        found = decode(path)
        assert np.array_equal(found.pixels, expected), path.name
        colours += read_header(path).photometric == "RGB"
    assert colours == 2
