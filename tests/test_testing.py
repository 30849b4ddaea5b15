"""Synthetic films: repeatable, true in millimetres, and stored as archives store films."""

import doctest
import itertools
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import get_frame

from resload.errors import ArgumentError
from resload.testing import DIAMETERS_MM, TARGETS, synthetic_film, write_synthetic
from resload.testing import files as files_module
from resload.testing import film as film_module
from resload.testing.files import SYNTAXES


def difference(diameters, *, index=1, size=1024):
    """The nodules alone: the film with them less the film without, in shares of full scale."""
    film = synthetic_film(index, size=size, bits=16, nodules=diameters)
    bare = synthetic_film(index, size=size, bits=16, nodules=())
    return film, (film.pixels.astype(np.float32) - bare.pixels) / 65535


def shrink(picture, size):
    tensor = torch.from_numpy(np.ascontiguousarray(picture))[None, None]
    return torch.nn.functional.interpolate(tensor, size=(size, size), mode="bilinear", antialias=True)[0, 0].numpy()


@settings(max_examples=20, deadline=None)
@given(
    index=st.integers(0, 10**6),
    seed=st.integers(0, 100),
    size=st.tuples(st.integers(16, 300), st.integers(16, 300)),
    bits=st.integers(8, 16),
)
def test_the_same_film_twice(index, seed, size, bits):
    """Equal arguments give equal films, in the depth and shape that were asked for."""
    first = synthetic_film(index, seed=seed, size=size, bits=bits)
    again = synthetic_film(index, seed=seed, size=size, bits=bits)
    assert np.array_equal(first.pixels, again.pixels)
    assert (first.spacing, first.nodules, first.targets) == (again.spacing, again.nodules, again.targets)
    assert first.pixels.shape == size
    assert first.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert first.pixels.max() <= 2**bits - 1


def test_different_films_differ():
    """The index and the seed each change the film, and (seed 0, index 1) is not (seed 1, index 0)."""
    films = [synthetic_film(index, seed=seed, size=64) for seed in (0, 1) for index in (0, 1)]
    assert len({film.pixels.tobytes() for film in films}) == 4
    assert len({film.spacing for film in films}) == 4


def test_global_random_state_is_left_alone():
    """Drawing a film neither reads nor changes the generators of numpy and torch."""
    torch_before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    synthetic_film(0, size=64)
    assert torch.equal(torch_before, torch.random.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_the_same_chest_at_any_size():
    """Size changes the sampling, not the anatomy: small films are the large ones shrunk, but for noise."""
    small = synthetic_film(3, size=128)
    large = synthetic_film(3, size=1024)
    shrunk = shrink(large.pixels.astype(np.float32), 128)
    assert np.corrcoef(shrunk.ravel(), small.pixels.ravel())[0, 1] > 0.97
    assert small.spacing == pytest.approx([8 * mm for mm in large.spacing], rel=1e-5)
    assert [n.diameter_mm for n in small.nodules] == [n.diameter_mm for n in large.nodules]


@pytest.mark.parametrize("diameter", [4.0, 8.0, 16.0])
def test_a_nodule_measures_what_it_says(diameter):
    """Its extent in the pixels, times the spacing, is its diameter to about a pixel, in y and in x."""
    film, nodule = difference([diameter])
    for axis in (0, 1):
        seen = np.flatnonzero((nodule > 0.001).any(axis=1 - axis))
        assert (seen[-1] - seen[0] + 1) * film.spacing[axis] == pytest.approx(diameter, abs=1.6 * film.spacing[axis])


def test_the_box_is_where_the_nodule_is():
    """The box holds all that the nodule changes and touches its edges; half-pixel centres, so no shift by half."""
    film, picture = difference([16.0])
    (nodule,) = film.nodules
    x, y, width, height = nodule.box(film.spacing)
    rows, cols = np.nonzero(picture > 0.001)
    assert rows.min() >= int(y)
    assert rows.max() <= int(y + height)
    assert cols.min() >= int(x)
    assert cols.max() <= int(x + width)
    weights = picture[rows, cols]
    assert np.average(rows + 0.5, weights=weights) == pytest.approx(nodule.y, abs=0.05)
    assert np.average(cols + 0.5, weights=weights) == pytest.approx(nodule.x, abs=0.05)


def test_all_diameters_have_one_contrast():
    """At full resolution the peak is the same for each diameter, so that resolution alone decides."""
    peaks = [difference([diameter])[1].max() for diameter in DIAMETERS_MM[1:]]
    assert max(peaks) - min(peaks) < 0.15 * max(peaks)


@pytest.mark.parametrize("diameter", DIAMETERS_MM)
def test_contrast_fades_with_resolution(diameter):
    """Down the ladder the peak never grows, and once a pixel is wider than the nodule little is left."""
    film, picture = difference([diameter])
    peaks = [shrink(picture, size).max() for size in (1024, 512, 256, 128, 64, 32)]
    assert all(after <= before * 1.001 for before, after in itertools.pairwise(peaks))
    pixel_mm = max(film.spacing) * 1024 / np.array([1024, 512, 256, 128, 64, 32])
    for peak, mm in zip(peaks, pixel_mm, strict=True):
        if mm < diameter / 6:
            assert peak > 0.75 * peaks[0]
        if mm > 2 * diameter:
            assert peak < 0.25 * peaks[0]


def test_nodules_lie_in_lung_and_apart():
    """On a hundred films every nodule is on the film, on dark (aerated) ground, and no two overlap."""
    for index in range(100):
        film = synthetic_film(index, size=128)
        bare = synthetic_film(index, size=128, nodules=())
        for number, nodule in enumerate(film.nodules):
            assert bare.pixels[int(nodule.y), int(nodule.x)] < 150
            for other in film.nodules[:number]:
                dy = (nodule.y - other.y) * film.spacing[0]
                dx = (nodule.x - other.x) * film.spacing[1]
                assert np.hypot(dy, dx) > (nodule.diameter_mm + other.diameter_mm) / 2


def test_targets_can_be_seen():
    """Fluid whitens a costophrenic angle and an enlarged heart the field beside the spine; chance does neither."""
    films = [synthetic_film(index, size=64, nodules=()) for index in range(120)]
    pixels = np.stack([film.pixels for film in films]).astype(float)
    fluid = np.array([film.targets["effusion"] for film in films]) == 1
    heart = np.array([film.targets["cardiomegaly"] for film in films]) == 1
    assert 0.15 < fluid.mean() < 0.55
    assert 0.15 < heart.mean() < 0.55
    angles = np.maximum(pixels[:, 40:46, 11:17].mean(axis=(1, 2)), pixels[:, 40:46, 47:53].mean(axis=(1, 2)))
    assert angles[fluid].mean() > angles[~fluid].mean() + 20
    beside = pixels[:, 36:44, 40:48].mean(axis=(1, 2))
    assert beside[heart & ~fluid].mean() > beside[~heart & ~fluid].mean() + 10


def test_wrong_arguments_are_refused():
    """Depths that radiographs do not have, and diameters that nothing has."""
    with pytest.raises(ArgumentError, match="8 to 16"):
        synthetic_film(0, bits=7)
    with pytest.raises(ArgumentError, match="must be positive"):
        synthetic_film(0, nodules=[0.0])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "films"
    return folder, write_synthetic(folder, 24, size=(96, 80))


def test_the_catalog_lists_every_file(written):
    """One row and one file each; ids, paths, patients, spacing and targets as the films have them."""
    folder, catalog = written
    table = catalog.table
    assert len(catalog) == 24
    assert catalog.targets == TARGETS
    assert sorted(table["path"]) == sorted(path.name for path in folder.iterdir())
    assert table["patient"].nunique() < 24
    film = synthetic_film(5, size=(96, 80))
    row = table.iloc[5]
    assert (row["spacing_y"], row["spacing_x"]) == film.spacing
    assert {name: row[name] for name in TARGETS} == film.targets


def test_boxes_are_the_nodules(written):
    """The boxes of a film, in source pixels, are those of its nodules, and only films with nodules have any."""
    _, catalog = written
    table, boxes = catalog.table, catalog.boxes
    assert set(boxes["id"]) == set(table.loc[table["nodule"] == 1, "id"])
    for index in range(24):
        film = synthetic_film(index, size=(96, 80))
        mine = boxes[boxes["id"] == table["id"][index]]
        found = mine[["x", "y", "width", "height"]].to_numpy(dtype=float).reshape(-1, 4)
        assert found == pytest.approx(np.array([n.box(film.spacing) for n in film.nodules]).reshape(-1, 4))


def test_png_files_hold_the_film(written):
    """8-bit and 16-bit PNG, pixel for pixel; both kinds occur."""
    folder, catalog = written
    depths = set()
    for index, name in enumerate(catalog.table["path"][:-1]):
        if name.endswith(".png"):
            pixels = imagecodecs.png_decode((folder / name).read_bytes())
            depths.add(pixels.dtype.itemsize * 8)
            film = synthetic_film(index, size=(96, 80), bits=pixels.dtype.itemsize * 8)
            assert np.array_equal(pixels, film.pixels)
    assert depths == {8, 16}


def stored_values(dataset):
    """pydicom decodes the plain ones itself; the codecs of the others are called as a viewer would."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == SYNTAXES[0]:
        return dataset.pixel_array
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    return imagecodecs.jpeg_decode(frame) if syntax == SYNTAXES[1] else imagecodecs.jpeg2k_decode(frame)


def test_dicom_files_hold_the_film(written):
    """CR with 12 bits in 16, three transfer syntaxes, both photometric interpretations, spacing and window."""
    folder, catalog = written
    kinds = set()
    for index, row in catalog.table.iterrows():
        if not row["path"].endswith(".dcm"):
            continue
        dataset = pydicom.dcmread(folder / row["path"])
        assert (dataset.Modality, dataset.ViewPosition) == ("CR", row["view"])
        assert (dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit) == (16, 12, 11)
        assert [float(mm) for mm in dataset.PixelSpacing] == [row["spacing_y"], row["spacing_x"]]
        assert float(dataset.WindowWidth) > 1
        kinds.add((str(dataset.file_meta.TransferSyntaxUID), dataset.PhotometricInterpretation))
        film = synthetic_film(index, size=(96, 80), bits=12).pixels
        inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
        assert np.array_equal(stored_values(dataset), 4095 - film if inverted else film)
    assert kinds == {(syntax, f"MONOCHROME{one}") for syntax in SYNTAXES for one in (1, 2)}


def test_lossless_jpeg_says_what_it_is(written):
    """1.2.840.10008.1.2.4.70 is selection value 1 (DICOM PS3.5 A.4.1); the scan header must agree."""
    folder, catalog = written
    found = 0
    for name in catalog.table["path"]:
        dataset = pydicom.dcmread(folder / name) if name.endswith(".dcm") else None
        if dataset is not None and dataset.file_meta.TransferSyntaxUID == SYNTAXES[1]:
            frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
            scan = frame.index(b"\xff\xda")
            assert frame[scan + 7] == 1
            found += 1
    assert found > 0


def test_the_broken_file_is_broken(written):
    """The last file is a PNG by its first bytes, and no decoder gets a film out of it."""
    folder, catalog = written
    data = (folder / catalog.table["path"].iloc[-1]).read_bytes()
    assert data.startswith(b"\x89PNG")
    with pytest.raises(imagecodecs.PngError):
        imagecodecs.png_decode(data)


def test_the_same_files_twice(written, tmp_path):
    """Two writes are byte for byte the same, and a smaller collection begins like a larger one."""
    folder, _ = written
    write_synthetic(tmp_path / "again", 24, size=(96, 80))
    write_synthetic(tmp_path / "fewer", 5, size=(96, 80), broken=0)
    for other, count in (("again", 24), ("fewer", 5)):
        paths = sorted((tmp_path / other).iterdir())
        assert len(paths) == count
        assert all(path.read_bytes() == (folder / path.name).read_bytes() for path in paths)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 5), (1.0, 20)])
def test_dicom_share(tmp_path, share, count):
    """The share of DICOM files is the one asked for, spread over the collection."""
    catalog = write_synthetic(tmp_path, 20, size=16, dicom_share=share, broken=0)
    assert catalog.table["path"].str.endswith(".dcm").sum() == count


def test_no_film_is_a_sentence(tmp_path):
    """Shares and counts that make no sense are refused before a file is written."""
    with pytest.raises(ArgumentError, match="cut short; found 4"):
        write_synthetic(tmp_path / "a", 3, broken=4)
    with pytest.raises(ArgumentError, match="0 to 1; found 2"):
        write_synthetic(tmp_path / "b", 3, dicom_share=2)
    assert not list(Path(tmp_path).iterdir())


def test_a_collection_without_nodules_has_an_empty_box_table(tmp_path):
    """Boxes are a table with its columns also where there is nothing in it."""
    index = next(i for i in range(20) if not synthetic_film(i, size=16).nodules)
    catalog = write_synthetic(tmp_path, index + 1, size=16, broken=0)
    boxes = catalog.boxes
    assert isinstance(boxes, pd.DataFrame)
    assert list(boxes.columns) == ["id", "label", "x", "y", "width", "height"]


@pytest.mark.parametrize("module", [film_module, files_module], ids=lambda module: module.__name__)
def test_examples_in_docstrings_run(module, tmp_path, monkeypatch):
    """What the docstrings show is what happens."""
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(module)
    assert (result.failed, result.attempted > 0) == (0, True)
