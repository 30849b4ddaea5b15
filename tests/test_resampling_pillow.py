"""The Pillow engine besides the contract that both engines keep (test_resampling.py): no torch, no copies, CMYK."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from resload import reference
from resload.errors import MissingPackageError
from resload.resampling import by_pillow, resample, strips
from resload.size import Size

BILINEAR = Image.Resampling.BILINEAR


def noise(shape, dtype=np.uint8, seed=0):
    top = 256 if dtype is np.uint8 else 65536
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


# -- without torch --

WITHOUT_TORCH = """
import sys
if {blocked}:
    sys.modules["torch"] = None  # importing it now raises
import numpy as np
import resload
from resload.decode import decode
from resload.resampling import pyramid

film = decode({file!r}).pixels
assert film.shape == (200, 160)
small = resload.resample(film, (64, 48), engine="pillow")
deep = resload.resample(film.astype(np.uint16) * 257, 100, engine="pillow")
assert np.abs(small - resload.reference.resample(film, (64, 48))).max() <= 1.01
assert np.abs(deep / 257 - resload.reference.resample(film, 100)).max() <= 0.52 / 257 + 1e-9
for kernel in resload.reference.KERNELS:
    pyramid(film, [resload.Size(64, 64), resload.Size(180, 150)], kernel=kernel, engine="pillow")
print("torch", "is" if sys.modules.get("torch") else "is not", "here")
{more}
"""


def told(file, *, blocked, more=""):
    code = WITHOUT_TORCH.format(blocked=blocked, file=file, more=more)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def png(tmp_path_factory):
    import imagecodecs

    path = tmp_path_factory.mktemp("png") / "film.png"
    path.write_bytes(imagecodecs.png_encode(noise((200, 160))))
    return str(path)


@pytest.mark.parametrize("blocked", [False, True])
def test_decode_and_resample_never_import_torch(png, blocked):
    """A worker that decodes and resizes by Pillow does so where torch is not imported, and where it cannot be."""
    assert told(png, blocked=blocked) == "torch is not here"


def test_the_check_can_fail(png):
    """The default engine is seen to import torch."""
    more = 'resload.resample(film, 64)\nprint("torch" in sys.modules)'
    assert told(png, blocked=False, more=more).endswith("True")


def test_a_missing_torch_names_the_other_engine(png):
    """The default engine where there is no torch: a remedy, and no silent change of engine."""
    more = "try:\n    resload.resample(film, 64)\nexcept resload.errors.MissingPackageError as exc:\n    print(exc)"
    assert 'install it, or resize by Pillow with engine="pillow"' in told(png, blocked=True, more=more)


# -- Pillow itself --


def test_a_missing_pillow_names_the_extra(monkeypatch):
    """Asked for and not installed: which extra brings it, and nothing else is tried."""
    for name in ("PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=r"PIL is needed for engine=\"pillow\".*resload\[pillow\]"):
        resample(noise((8, 8)), 4, engine="pillow")


def test_an_old_pillow_is_refused_by_its_version(monkeypatch):
    """Pillow before 11.2.1 cannot take float pixels where they lie."""
    monkeypatch.delattr(Image, "fromarrow")
    with pytest.raises(MissingPackageError, match=rf"11\.2\.1 or later .* found {Image.__version__}"):
        resample(noise((8, 8)), 4, engine="pillow")


def test_trap_rgba_premultiplies_alpha():
    """Four films as RGBA in Pillow are multiplied by the fourth (31 to 56 units wrong); as CMYK not."""
    films = noise((200, 200, 4))
    exact = np.stack([reference.resample(films[..., k], 130) for k in range(4)], axis=-1)
    worst = {}
    for mode in ("RGBA", "CMYK"):
        picture = Image.frombytes(mode, (200, 200), films.tobytes()).resize((130, 130), BILINEAR)
        worst[mode] = np.abs(np.asarray(picture, float) - exact).max()
    assert worst["RGBA"] > 20
    assert worst["CMYK"] <= 1.01
    assert np.abs(by_pillow.four(films, (130, 130)) - exact).max() <= 1.01


def test_trap_box_is_not_area():
    """Pillow's BOX takes a pixel whole or not at all; the overlap of `area` is exact."""
    film = noise((100, 100))
    exact = reference.resample(film, 37, kernel="area")
    box = Image.fromarray(film).resize((37, 37), Image.Resampling.BOX)
    assert np.abs(np.asarray(box, float) - exact).max() > 5
    assert np.abs(resample(film, 37, kernel="area", engine="pillow") - exact).max() <= 0.52


def test_trap_16_bit_grey_is_rounded_between_passes():
    """Pillow's own 16-bit mode misses the half unit that float pixels keep."""
    film = noise((300, 300), np.uint16)
    exact = reference.resample(film, 211)
    theirs = np.asarray(Image.fromarray(film).resize((211, 211), BILINEAR), float)
    assert np.abs(theirs - exact).max() > 0.6
    assert np.abs(resample(film, 211, engine="pillow") - exact).max() <= 0.52


@pytest.mark.parametrize(("shape", "size"), [((500, 980), (100, 301)), ((261, 263), (37, 30)), ((64, 3000), (40, 37))])
def test_strips_are_pillows_own_passes(shape, size):
    """Cutting a film into four pictures changes no bit of Pillow's own gray passes."""
    film = noise(shape)
    assert strips.suit(film, Size(*size), "triangle")
    down = Image.fromarray(film).resize((shape[1], size[0]), BILINEAR)
    negative = Image.fromarray(255 - np.asarray(down)).resize((size[1], size[0]), BILINEAR)
    assert np.array_equal(resample(film, size, engine="pillow"), 255 - np.asarray(negative))


# -- memory and threads --


def test_films_are_taken_where_they_lie():
    """Neither four pictures nor float pixels are copied on the way to Pillow, and both stay alive with the picture."""
    floats = noise((50, 40)).astype(np.float32)
    picture = by_pillow._floats(floats)
    floats[7, 9] = -3
    assert picture.getpixel((9, 7)) == -3
    del floats
    assert picture.getpixel((9, 7)) == -3
    with_holes = np.array([1.0, np.nan], np.float32)  # what pandas would take for missing, and copy
    assert pa.array(with_holes).buffers()[1].address == with_holes.ctypes.data


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("kernel", list(reference.KERNELS))
def test_results_are_new_contiguous_and_writable(kernel, dtype):
    """Read-only films in any layout are taken; what comes back belongs to the caller, and the film is untouched."""
    film = noise((120, 90), np.uint8).astype(dtype)[::2, 5:]
    film.flags.writeable = False
    before = film.copy()
    for size in ((20, 31), (100, 120)):
        made = resample(film, size, kernel=kernel, engine="pillow")
        made[...] = 0
        assert made.flags.c_contiguous
        assert made.dtype == dtype
        assert made.shape == size
    assert np.array_equal(film, before)


def test_threads_make_the_same_pixels():
    """Many films of two depths on four threads: each as alone."""
    films = [noise((211, 130 + k), (np.uint8, np.uint16)[k % 2], k) for k in range(24)]
    alone = [resample(film, 64, engine="pillow") for film in films]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda film: resample(film, 64, engine="pillow"), films * 4))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 4, together, strict=True))


# -- beside torch --

sides = st.one_of(st.integers(1, 300), st.sampled_from([127, 211, 257, 509]))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(list(reference.KERNELS)), st.sampled_from([np.uint8, np.uint16]), sides, sides, sides, sides,
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_engines_differ_by_one_unit_at_most(kernel, dtype, h, w, th, tw, seed):
    """Whatever the path: never by more than one unit of the stored depth."""
    film = noise((h, w), dtype, seed)
    ours = [resample(film, (th, tw), kernel=kernel, engine=engine).astype(int) for engine in ("torch", "pillow")]
    assert np.abs(ours[0] - ours[1]).max() <= 1


@pytest.mark.parametrize("size", [(64, 64), (37, 101), (500, 520), (256, 600)])
def test_engines_seldom_differ(size):
    """8 bit: pillow-simd and torch make the same pixels bit for bit; of Pillow's fewer than 1 in 100 differ, by one."""
    film = noise((1000, 1040))
    assert strips.suit(film, Size(*size), "triangle")
    differ = (resample(film, size) != resample(film, size, engine="pillow")).mean()
    assert differ <= (0 if ".post" in Image.__version__ else 0.01)
