"""Films made on a CUDA device, and DALI on one. Reported as skipped where there is none."""

import imagecodecs
import numpy as np
import pytest
import torch
from streams import LOSSLESS, LOSSY, film

import resload
from resload import Pipeline, reference
from resload.decode import decode
from resload.pipeline import device, make
from resload.pipeline.engine import CPU, engine_of
from resload.size import Size
from resload.threads import ordered_map

pytestmark = pytest.mark.gpu
EVERY = LOSSLESS | LOSSY


@pytest.mark.parametrize("kernel", sorted(reference.KERNELS))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_resize_there_keeps_the_contract(dtype, kernel):
    """Shrunk, enlarged, by large ratios, to the film's own side: within 0.52 units of the float64 definition."""
    top = np.iinfo(dtype).max
    for k, shape in enumerate(((1024, 1024), (417, 300), (64, 4096), (1, 77), (2500, 2048))):
        image = np.random.default_rng(k).integers(0, top + 1, shape, dtype)
        sizes = [Size(512, 512), Size(32, 40), Size(9, 21), Size(shape[0], 50), Size(1, 1)]
        there = torch.from_numpy(image).cuda()
        for size, found in zip(sizes, device.pyramid(there, sizes, kernel=kernel), strict=True):
            exact = reference.resample(image, size, kernel=kernel).clip(0, top)
            assert found.dtype == dtype
            assert np.abs(found - exact).max() <= 0.52, (shape, size)
        assert (there.cpu().numpy() == image).all()


def test_a_part_of_a_film_there():
    """A rectangle of a tensor is resized from its own pixels alone."""
    image = np.random.default_rng(0).integers(0, 65536, (300, 400), np.uint16)
    part = torch.from_numpy(image).cuda()[20:220, 31:333]
    (found,) = device.pyramid(part, [Size(64, 70)], kernel="triangle")
    assert np.abs(found - reference.resample(image[20:220, 31:333], (64, 70))).max() <= 0.52


@pytest.mark.parametrize("intensity", ["auto", "minmax", "window(1000, 900)"])
@pytest.mark.parametrize("fit", ["stretch", "pad", resload.geometry.Crop("content")])
def test_films_are_those_of_the_cpu(fit, intensity):
    """From many threads at once: within the two contracts of what the CPU makes."""
    files = [EVERY[kind](seed) for kind in ("JPEG 2000 of 12 bits", "JPEG", "PNG of 16 bits") for seed in range(8)]
    recipe, there = (
        Pipeline((20, 48, "native"), dtype="uint16", fit=fit, intensity=intensity),
        engine_of("cpu", "cuda", 4),
    )
    made = ordered_map(lambda file: make(recipe, file, engine=there), files, threads=8, window=24)
    for found, file in zip(made, files, strict=True):
        expected = make(recipe, file, engine=CPU)
        for one, other in zip(found.levels, expected.levels, strict=True):
            assert np.abs(one.astype(int) - other).max() <= 1
        assert (found.levels[-1] == expected.levels[-1]).all()


def test_a_cache_built_there_is_within_the_contract_of_its_films(films, tmp_path):
    """`verify` decodes the films again and finds every record where it must be."""
    cache = resload.build(films, tmp_path / "there", (32, 64), device="cuda", progress=False)
    found = resload.verify(cache, sources=len(cache), catalog=films, progress=False)
    assert found.ok, found
    assert all(level.worst <= 0.52 for level in found.levels)


def test_a_call_leaves_its_images_there():
    """`Result.images` on the device that was asked for."""
    found = Pipeline(32)([film(8)], device="cuda").images[Size(32, 32)]
    assert found.device.type == "cuda"


@pytest.mark.dali
@pytest.mark.parametrize("kind", EVERY)
def test_dali_there_gives_what_imagecodecs_gives(kind, record_property):
    """Whatever it is trusted with: equal where the kind loses nothing, else within two roundings."""
    other = engine_of("dali", "cuda", 4).other
    for seed in range(6):
        file = EVERY[kind](seed)
        found, expected = decode(file, other=other), decode(file)
        codes = found.pixels if found.held is None else found.pixels[0][found.held.cpu().numpy()]
        off = np.abs(codes.astype(int) - expected.pixels) * 255 / ((1 << expected.bits) - 1)
        assert off.max() <= (0 if kind in LOSSLESS else 2), found.decoder
        record_property("decoder", f"{found.decoder}, {off.max():.3g} of 255 apart")


@pytest.mark.dali
def test_dali_is_used_there():
    """JPEG and JPEG 2000 are decoded by it, by many threads together; a damaged file fails alone."""
    recipe = Pipeline((64, 32), dtype="uint8")
    good = [LOSSY["JPEG"](seed) for seed in range(40)]
    files = [*good[:20], good[0][:-300], *good[20:]]
    there = engine_of("dali", "cuda", 4)
    assert decode(good[0], other=there.other).decoder.startswith("dali.jpeg.cuda")
    found, expected = recipe(files, decode="dali", device="cuda"), recipe(files)
    assert [type(error) for error in found.errors] == [type(error) for error in expected.errors]
    for size, images in found.images.items():
        assert (images.cpu().int() - expected.images[size].int()).abs().max() <= 3


@pytest.mark.dali
def test_a_loader_decodes_there(tmp_path):
    """A catalog of JPEG files through DALI, to batches on the device."""
    import pandas as pd

    for k in range(30):
        (tmp_path / f"{k}.jpg").write_bytes(imagecodecs.jpeg8_encode(film(8, (300, 260), k), level=95))
    catalog = resload.Catalog(
        pd.DataFrame({"id": range(30), "path": [f"{k}.jpg" for k in range(30)]}).astype(str), root=tmp_path
    )
    options = {"pipeline": Pipeline(64), "size": 64, "batch_size": 7, "shuffle": True}
    there = resload.Loader(catalog, decode="dali", device="cuda", **options)
    for one, other in zip(there, resload.Loader(catalog, **options), strict=True):
        assert one.ids == other.ids
        assert one.images.device.type == "cuda"
        assert (one.images.cpu() - other.images).abs().max() * 255 <= 2
