"""Phantoms: what is computed of them, held to what is drawn; and the study, which must find it."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import resload
from resload import study
from resload.errors import ArgumentError
from resload.readers import CacheReader
from resload.study import films as study_films
from resload.testing import phantoms, write_phantoms

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import synthetic_study


def test_the_same_arguments_draw_the_same_phantom():
    assert np.array_equal(phantoms.phantom(3).pixels, phantoms.phantom(3).pixels)
    assert not np.array_equal(phantoms.phantom(3).pixels, phantoms.phantom(4).pixels)
    assert not np.array_equal(phantoms.phantom(3).pixels, phantoms.phantom(3, seed=1).pixels)


def test_targets_and_boxes_say_what_is_drawn(tmp_path):
    catalog = write_phantoms(tmp_path, 40)
    for row in catalog.table.itertuples():
        own = catalog.boxes[catalog.boxes["id"] == row.id]
        counts = own["label"].value_counts().to_dict()
        there = [phantoms.name_of(d) for d in phantoms.COUNTS if catalog.table.loc[row.Index, phantoms.name_of(d)] == 1]
        assert counts == {name: phantoms.COUNTS[float(name.split()[0])] for name in there}
    assert set(catalog.boxes["width"] * 0.25) == {2.0, 4.0, 8.0}
    assert catalog.table["patient"].nunique() < 40


def test_a_nodule_has_no_mean():
    """So that pixels larger than it average it away."""
    for diameter in phantoms.COUNTS:
        drawn = phantoms._nodule(32.0, 32.0, diameter)
        assert abs(drawn.sum()) < 1e-3 * np.abs(drawn).sum()
        assert drawn.max() == pytest.approx(phantoms.CONTRAST, rel=0.07)


@pytest.fixture(scope="module")
def backgrounds():
    """(300, 256, 256) float32."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.stack([phantoms._background(rng) for _ in range(300)]).astype(np.float32))


def spectra(images, size):
    """(n, size, size): Fourier coefficients of images, resized as films are, divided by the number of pixels."""
    return np.fft.fft2(resload.resample(images[:, None], size)[:, 0].numpy()) / size**2


def expected_noise(size):
    """(size, size): the variance of each coefficient, as `detectability` has it."""
    noise = phantoms._tissue() + phantoms.DETECTOR**2 / 256**2
    return phantoms._folded(noise * phantoms._transfer(size) ** 2, size).real


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128])
def test_the_noise_at_a_size_is_the_noise_that_is_computed(backgrounds, size):
    power = (np.abs(spectra(backgrounds, size)) ** 2).mean(axis=0)
    inner = np.abs(np.fft.fftfreq(size)) * size >= 1
    inner = inner[:, None] & inner
    ratio = power[inner].sum() / expected_noise(size)[inner].sum()
    assert ratio == pytest.approx(1, abs=0.12)  # films end, and spectra go on: borders differ


@pytest.mark.parametrize(("diameter", "size"), [(8.0, 16), (8.0, 32), (4.0, 32), (4.0, 64), (2.0, 64)])
def test_the_ideal_observer_reaches_what_is_computed(backgrounds, diameter, size):
    """The matched filter, applied to backgrounds with and without a nodule, tells them apart by the d' computed."""
    nodule = torch.from_numpy(phantoms._nodule(31.0, 33.0, diameter).astype(np.float32))
    power = expected_noise(size)
    power[0, 0] = np.inf
    template = np.conj(spectra(nodule[None], size)[0]) / power
    without, there = ((template * spectra(backgrounds + k * nodule, size)).sum(axis=(1, 2)).real for k in (0, 1))
    found = (there.mean() - without.mean()) / without.std()
    assert found == pytest.approx(phantoms.detectability(diameter, size), rel=0.2)


def test_scale_alone_decides():
    """A nodule twice as large at half the size is as easy to see."""
    for diameter, size in ((2.0, 64), (4.0, 32), (2.0, 32)):
        one, other = phantoms.detectability(diameter, size), phantoms.detectability(2 * diameter, size // 2)
        assert one == pytest.approx(other, rel=0.02)


def test_two_pixels_to_a_nodule_show_it_and_one_does_not():
    for diameter in phantoms.COUNTS:
        at = round(2 * phantoms.FIELD_MM / diameter)
        assert phantoms.ideal_area(diameter, at) > 0.999
        assert phantoms.ideal_area(diameter, at // 2) < 0.95
        assert phantoms.ideal_area(diameter, at // 4) < 0.55
        assert phantoms.predicted(diameter, (8, 16, 32, 64, 128), 0.05) == at


@pytest.mark.parametrize(("diameter", "size"), [(3.0, 64), (2.0, 100), (2.0, 2)])
def test_other_sizes_are_refused(diameter, size):
    with pytest.raises(ArgumentError, match="a diameter is one of"):
        phantoms.ideal_area(diameter, size)


# -- the study --

POWER = {"sizes": (32,), "targets": ["8 mm"], "seeds": 1, "epochs": 5, "batch_size": 16, "lr": 0.01, "margin": 0.05,
         "transform": synthetic_study.mirrored, "repeats": 50, "progress": False}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """240 phantoms at 32 pixels."""
    folder = tmp_path_factory.mktemp("phantoms")
    catalog = write_phantoms(folder / "films", 240)
    catalog = catalog.split({"train": 0.6, "val": 0.1, "test": 0.3}, by="patient", seed=0)
    return resload.build(catalog, folder / "c.zarr", sizes=(4, 32), progress=False)


def area(cache, folder):
    return study.run(cache, folder, **POWER).table["value"].iloc[0]


@pytest.mark.slow
def test_a_fault_in_loading_or_splitting_would_be_seen(world, tmp_path, monkeypatch):
    """Nodules of 8 mm, 4 pixels across, are seen; with films, detail, or labels that are not theirs they are not."""
    assert area(world, tmp_path / "right") > 0.97
    fill, prepared = CacheReader.fill, study_films.prepared

    def of_others(self, slot, rows, size, start):
        fill(self, slot, (rows + 1) % len(self), size, start)

    def of_four_pixels(self, slot, rows, size, start):
        fill(self, slot, rows, size, start)
        for image in slot.out[start : start + len(rows)]:
            image[...] = np.kron(image[::8, ::8], np.ones((8, 8), image.dtype))

    def with_test_labels_turned(caches, settings):
        found = prepared(caches, settings)
        values = found.values.copy()
        values[found.rows["test"]] = np.roll(values[found.rows["test"]], 1, axis=0)
        return study_films.replace(found, values=values)

    for name, fault in (("others", of_others), ("four", of_four_pixels)):
        with monkeypatch.context() as patched:
            patched.setattr(CacheReader, "fill", fault)
            assert area(world, tmp_path / name) < 0.8
    with monkeypatch.context() as patched:
        patched.setattr("resload.study.running.prepared", with_test_labels_turned)
        assert area(world, tmp_path / "labels") < 0.8


@pytest.mark.slow
def test_the_study_finds_the_sizes_at_which_nodules_become_visible(tmp_path):
    """`synthetic_study.py --quick`: plateaus where mm per pixel puts them; no network beats the ideal observer."""
    found = synthetic_study.studied(tmp_path, synthetic_study.QUICK, synthetic_study.FILMS["quick"])
    summary = synthetic_study.summary(found)
    assert [(one["target"], one["found"]) for one in summary["plateaus"]] == [("2 mm", 64), ("4 mm", 32), ("8 mm", 16)]
    assert all(one["found"] == one["predicted"] for one in summary["plateaus"])
    assert all(row["low"] <= row["ideal"] + 0.02 for row in summary["rows"])
    below = [row for row in summary["rows"] if row["pixels_of_nodule"] <= 1]
    assert all(row["high"] < 0.8 for row in below)
