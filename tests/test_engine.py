"""Other decoders and devices without either: a DALI made of imagecodecs, the device's arithmetic on CPU tensors."""

import logging
import os
import re
import sys
import threading
from dataclasses import replace
from types import ModuleType

import imagecodecs
import numpy as np
import pandas as pd
import pytest
import torch
from dicom_files import HTJ2K, J2K, J2K_LOSSY, JPEG_57, JPEG_70, frame_bytes, make_dicom, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import GPU, LOSSLESS, LOSSY, codes, decoded_by_imagecodecs, dicom_of, faked, film, parsed

import resload
from resload import Pipeline, reference
from resload.decode import Radiograph, decode
from resload.errors import ArgumentError, DecodeError, MissingPackageError
from resload.pipeline import cpu, dali, device, make
from resload.pipeline.engine import CPU, Engine, engine_of
from resload.size import Size

HERE = Engine(torch.device("cpu"))
"""The device's engine, where tensors are on the CPU."""


# -- which engine --


def test_the_usual_engine_is_the_cpus():
    """decode="cpu" on the CPU is what films are made by when nothing is said."""
    assert engine_of("cpu", "cpu", 2) == CPU == Engine(None, None, 0)


@pytest.mark.parametrize(
    ("decode_", "device_", "words"),
    [
        ("gpu", "cpu", "decode must be one of cpu, dali; found 'gpu'"),
        ("cpu", "meta", "on the CPU or on a CUDA device; found device='meta'"),
        ("cpu", "nowhere", "not a device that torch knows"),
    ],
)
def test_engines_that_cannot_be(decode_, device_, words):
    """Refused by name, wherever it is asked for."""
    with pytest.raises(ArgumentError, match=words):
        engine_of(decode_, device_, 2)
    with pytest.raises(ArgumentError, match=words):
        Pipeline(32)([film(8)], decode=decode_, device=device_)


@pytest.fixture
def without_dali(monkeypatch):
    """An environment in which DALI is not installed."""
    dali.decoder.cache_clear()
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    monkeypatch.setitem(sys.modules, "nvidia", ModuleType("nvidia"))


@pytest.mark.usefixtures("without_dali")
def test_without_dali_the_extra_is_named(films, tmp_path):
    """Before anything is written."""
    words = r"nvidia-dali is needed to decode with decode='dali' and is not installed: pip install 'resload\[dali\]'"
    with pytest.raises(MissingPackageError, match=words):
        resload.build(films, tmp_path / "a.zarr", 32, decode="dali", progress=False)
    assert not (tmp_path / "a.zarr").exists()
    with pytest.raises(MissingPackageError, match=words):
        resload.Loader(films, pipeline=Pipeline(32), size=32, batch_size=4, decode="dali")


def test_a_cache_is_not_decoded(cache):
    """decode= beside a cache is a mistake."""
    with pytest.raises(ArgumentError, match="pipeline= and decode= go with a Catalog"):
        resload.Loader(cache, size=32, batch_size=4, decode="dali")


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        (LOSSY["JPEG"](0), {"process": 0xC0, "predictor": 0, "reversible": False}),
        (LOSSY["progressive JPEG"](0), {"process": 0xC2, "reversible": False}),
        (frame_bytes(film(12), JPEG_70, 12), {"process": 0xC3, "predictor": 1, "reversible": True}),
        (frame_bytes(film(12), JPEG_57, 12), {"process": 0xC3, "predictor": 4, "reversible": True}),
        (frame_bytes(film(12), J2K, 12), {"high_throughput": False, "reversible": True, "precision": 12}),
        (frame_bytes(film(12), J2K_LOSSY, 12), {"high_throughput": False, "reversible": False}),
        (frame_bytes(film(16), HTJ2K[0], 16), {"high_throughput": True, "reversible": True, "precision": 16}),
        (imagecodecs.jpeg2k_encode(film(8), level=0, codecformat="jp2"), {"reversible": True, "precision": 8}),
    ],
    ids=["baseline", "progressive", "lossless", "predictor 4", "J2K", "J2K lossy", "HTJ2K", "JP2"],
)
def test_what_a_stream_says_of_its_kind(stream, says):
    """What tells kinds apart is read from the stream, whatever the file around it says."""
    _, found = parsed(stream)
    assert {name: getattr(found, name) for name in says} == says


# -- DALI, as far as it is ours --


@pytest.fixture
def fake(monkeypatch):
    return faked(monkeypatch)


@pytest.mark.parametrize("kind", LOSSLESS | LOSSY)
@pytest.mark.parametrize("where", [None, GPU], ids=["cpu", "gpu"])
def test_films_are_what_imagecodecs_makes_of_them(fake, kind, where):
    """Bit for bit, whoever decodes, and the name of who did is told."""
    other = fake.decoder(where)
    for seed in range(6):
        file = (LOSSLESS | LOSSY)[kind](seed)
        found, expected = decode(file, other=other), decode(file)
        assert (codes(found) == expected.pixels).all()
        assert (found.bits, found.shape, found.content) == (expected.bits, expected.shape, expected.content)
    takes = kind in ("JPEG", "progressive JPEG", "JPEG in DICOM") or "JPEG 2000" in kind or "HTJ2K" in kind
    takes |= where is GPU and kind == "lossless JPEG of 12 bits"
    codec = "jpeg2k" if "2000" in kind or "HTJ2K" in kind else "jpeg"
    name = f"dali.{codec}.{'cpu' if where is None else 'cuda'} 0.fake"
    assert found.decoder == (name if takes else expected.decoder)
    assert bool(fake) == takes


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda samples: samples << 3, "values differ by up to 1.*e.03 of 255"),
        (lambda samples: np.minimum(samples, 255), "values differ by up to 2"),
        (np.zeros_like, "values differ by up to 2"),
        (lambda samples: samples + 1, "values differ by up to 0.0623 of 255, by 0.0623 on average"),
        (lambda samples: samples[:-1], r"it decodes to \(119, 96\), not \(120, 96\)"),
    ],
    ids=["rescaled", "clipped", "black", "one more", "smaller"],
)
@pytest.mark.parametrize("syntax", [J2K, JPEG_70])
def test_a_kind_that_is_decoded_wrongly_goes_to_imagecodecs(fake, caplog, spoil, words, syntax):
    """From the first film on, said once, and the films are right; other kinds and precisions still go to DALI."""
    other = fake.decoder(GPU)
    files = [dicom_of(syntax, 12, seed) for seed in range(3)]
    fake.spoil = spoil
    with caplog.at_level(logging.WARNING, "resload"):
        found = [decode(file, other=other) for file in files]
    assert [(codes(one) == decode(file).pixels).all() for one, file in zip(found, files, strict=True)] == [True] * 3
    assert {one.decoder.partition(" ")[0] for one in found} == {f"imagecodecs.{'jpeg2k' if syntax == J2K else 'jpeg'}"}
    (record,) = caplog.records
    assert "DALI 0.fake on this GPU does not decode" in record.getMessage()
    assert "of 12 bits as imagecodecs does (" in record.getMessage()
    assert re.search(words, record.getMessage())
    fake.spoil = lambda samples: samples
    assert decode(dicom_of(syntax, 16), other=other).decoder.startswith("dali.")


@pytest.mark.parametrize("where", [None, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize(
    "spread", [lambda v: v << 4, lambda v: (v << 4) | (v >> 8), lambda v: np.rint(v * (65535 / 4095))]
)
def test_values_that_are_spread_over_16_bits_are_brought_back(fake, caplog, where, spread):
    """DALI on a GPU makes 0 to 65535 of 0 to 4095, with or without filled lower bits: undone exactly, on every film."""
    other = fake.decoder(where)
    fake.spoil = lambda samples: spread(samples.astype(np.uint16)).astype(np.uint16)
    every = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    black = make_dicom(np.zeros((64, 64), np.uint16), J2K, bits=12)
    for _ in range(4):  # which tell nothing of it
        assert not codes(decode(black, other=other)).any()
    for k in range(6):
        file = make_dicom(np.roll(every, k), J2K, bits=12)
        found = decode(file, other=other)
        assert found.decoder.startswith("dali.")
        assert (codes(found) == np.roll(every, k)).all()
    assert not caplog.records


def test_a_kind_that_turns_black_later_is_found_out(fake, caplog):
    """Films of one value are decoded twice: a right one stays DALI's, a wrong one ends the trust."""
    other = fake.decoder(GPU)
    files = [dicom_of(J2K, 12, seed) for seed in range(4)]
    for file in files:
        decode(file, other=other)
    blank = make_dicom(np.full((40, 30), 7, np.uint16), J2K, bits=12)
    assert decode(blank, other=other).decoder.startswith("dali.")
    fake.spoil = np.zeros_like
    with caplog.at_level(logging.WARNING, "resload"):
        found = decode(files[0], other=other)
    assert (codes(found) == decode(files[0]).pixels).all()
    assert found.decoder.startswith("imagecodecs.")
    assert len(caplog.records) == 1


def test_a_lossy_kind_may_be_a_rounding_apart(fake):
    """Two right decoders of lossy JPEG differ by one here and there: that is DALI's film, and three apart is not."""
    rng = np.random.default_rng(0)
    fake.spoil = lambda samples: np.where(rng.random(samples.shape) < 0.05, samples ^ 1, samples)
    file = LOSSY["JPEG"](0)
    assert decode(file, other=fake.decoder()).decoder.startswith("dali.")
    fake.spoil = lambda samples: samples + np.uint8(3)
    assert decode(file, other=fake.decoder()).decoder.startswith("imagecodecs.")


def test_signed_colour_and_other_streams_do_not_reach_it(fake):
    """Colour, signed samples, JPEG-LS, 12-bit JPEG, PNG, arithmetic coding."""
    other = fake.decoder(GPU)
    for file in (
        make_dicom(noise((20, 24), 12, signed=True), J2K, bits=12),
        imagecodecs.jpeg8_encode(noise((20, 24, 3), 8)),
        LOSSLESS["lossless JPEG of 10 bits, another predictor"](0),
        *(EVERY(0) for EVERY in (LOSSLESS["JPEG-LS"], LOSSY["JPEG of 12 bits in DICOM"], LOSSLESS["PNG of 8 bits"])),
    ):
        assert not decode(file, other=other).decoder.startswith("dali.")
    assert fake == []
    codec, stream = parsed(LOSSY["JPEG"](0))
    assert dali.kind_of(codec, stream, on_gpu=True) == "JPEG"
    assert dali.kind_of(codec, replace(stream, process=0xC9), on_gpu=True) is None
    assert dali.kind_of(codec, replace(stream, precision=12), on_gpu=True) is None


def damaged(seed=0):
    """A JPEG 2000 stream whose first packet's header is nonsense."""
    coded = bytearray(imagecodecs.jpeg2k_encode(film(12, seed=seed), level=0, codecformat="j2k", bitspersample=12))
    at = coded.index(b"\xff\x93")
    coded[at + 2 : at + 60] = b"\xff" * 58
    return bytes(coded)


def test_a_damaged_film_proves_nothing_and_names_its_damage(fake):
    """Before and after the kind is trusted, in the words that are used without DALI; others are fine."""
    other = fake.decoder()
    good = [dicom_of(J2K, 12, seed) for seed in range(4)]
    codec, stream = parsed(damaged())
    for _ in range(2):
        with pytest.raises(DecodeError, match="the JPEG 2000 data is damaged"):
            other.samples(codec, damaged(), stream)
        for file in good:
            assert decode(file, other=other).decoder.startswith("dali.")


def test_what_dali_cannot_read_and_imagecodecs_can_is_read(fake, caplog):
    """Said once; the kind stays DALI's, which reads the others."""
    other = fake.decoder()
    files = [dicom_of(J2K, 12, seed) for seed in range(6)]
    for file in files[:3]:
        decode(file, other=other)

    def fails(samples):
        raise RuntimeError("Failed to decode sample #0")

    fake.spoil = fails
    with caplog.at_level(logging.WARNING, "resload"):
        found = [decode(file, other=other) for file in files]
    assert {one.decoder.split(".")[0] for one in found} == {"imagecodecs"}
    assert all((one.pixels == decode(file).pixels).all() for one, file in zip(found, files, strict=True))
    (record,) = caplog.records
    assert "DALI 0.fake fails at some JPEG 2000 of 12 bits, which imagecodecs decodes (Failed" in record.getMessage()
    fake.spoil = lambda samples: samples
    assert decode(files[0], other=other).decoder.startswith("dali.")


@pytest.mark.parametrize("where", [None, GPU])
def test_a_margin_of_one_value_raises_no_doubt(fake, monkeypatch, where):
    """Most films have one; a film is decoded twice only where everything in it is the same, by a look at some of it."""
    pixels = noise((1024, 64), 8)
    pixels[:, :8] = 0
    files = imagecodecs.jpeg8_encode(pixels), imagecodecs.jpeg8_encode(np.zeros_like(pixels))
    other, again = fake.decoder(where), []
    for _ in range(dali._PROVEN):
        decode(files[0], other=other)
    monkeypatch.setattr(dali, "run", lambda codec, data: again.append(data) or decoded_by_imagecodecs(data))
    for _ in range(2):
        assert decode(files[0], other=other).decoder.startswith("dali.")
    assert again == []
    decode(files[1], other=other)
    assert again == [files[1]]


def test_many_threads_share_runs(fake):
    """Streams that wait are decoded together, each thread gets its own film, and a bad one fails alone."""
    other = fake.decoder()
    files = [dicom_of(J2K, 12, seed) for seed in range(24)]
    for file in files[:3]:
        decode(file, other=other)
    line, (codec, stream) = other._lines[16], parsed(imagecodecs.jpeg2k_encode(film(12), level=0, bitspersample=12))
    bad = b"\xff\x4f\xff\x51 nothing"
    found, errors = {}, {}
    held = threading.Barrier(25)

    def work(k):
        held.wait()
        try:
            if k == 24:
                line.decode(bad)
            else:
                found[k] = decode(files[k], other=other).pixels
        except DecodeError as error:
            errors[k] = error

    with line._turn:  # nobody decodes before all of them wait
        threads = [threading.Thread(target=work, args=(k,)) for k in range(25)]
        for thread in threads:
            thread.start()
        while len(line._waiting) < 25:
            pass
    for thread in threads:
        thread.join()
    assert list(errors) == [24]
    assert all((found[k] == decode(files[k]).pixels).all() for k in range(24))
    assert 25 in [run for pipeline in fake for run in pipeline.runs]
    assert stream.precision == 12
    assert codec == "jpeg2k"


def test_an_interrupted_run_leaves_nobody_waiting(fake):
    """Ctrl-C in the thread that decodes: it goes up, and those that waited for the run hear of it."""
    line = fake.decoder()._lines[8]

    def interrupt(samples):
        raise KeyboardInterrupt

    fake.spoil = interrupt
    data, errors = imagecodecs.jpeg8_encode(film(8)), []

    def work():
        try:
            line.decode(data)
        except (KeyboardInterrupt, DecodeError) as error:
            errors.append(type(error))

    with line._turn:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        while len(line._waiting) < 3:
            pass
    for thread in threads:
        thread.join(20)
    assert sorted(error.__name__ for error in errors) == ["DecodeError", "DecodeError", "KeyboardInterrupt"]


def test_builds_loaders_and_calls_take_it(fake, films, tmp_path, monkeypatch):
    """Through every door the pixels are those of imagecodecs, and a cache records who decoded."""
    monkeypatch.setattr(dali, "decoder", dali.Decoder)
    root = tmp_path / "films"
    root.mkdir()
    for k, (_, file) in enumerate((LOSSLESS | LOSSY).items()):
        (root / f"{k:02}.bin").write_bytes(file(k))
    names = sorted(path.name for path in root.iterdir())
    catalog = resload.Catalog(pd.DataFrame({"id": names, "path": names}), root=root)
    one = resload.build(catalog, tmp_path / "dali", (32, 48), decode="dali", progress=False)
    two = resload.build(catalog, tmp_path / "cpu", (32, 48), progress=False)
    same = two.table.columns.drop("decoder")
    assert one.table[same].equals(two.table[same])
    assert one.table["decoder"].str.startswith("dali.").sum() == 10
    for size in (32, 48):
        assert (one.read(range(len(one)), size) == two.read(range(len(two)), size)).all()
    recipe, options = Pipeline(48, dtype="uint16"), {"size": 48, "batch_size": 5}
    loaders = [resload.Loader(catalog, pipeline=recipe, decode=name, **options) for name in ("dali", "cpu")]
    for found, expected in zip(*loaders, strict=True):
        assert (found.images == expected.images).all()
    with_dali, without = (set(one.pipeline.model.decoders) for one in loaders)
    assert with_dali - without == {"dali.jpeg.cpu 0.fake", "dali.jpeg2k.cpu 0.fake"}
    paths = [root / name for name in names]
    assert (recipe(paths, decode="dali").images[Size(48, 48)] == recipe(paths).images[Size(48, 48)]).all()


def test_verify_knows_that_lossy_films_may_be_a_rounding_apart(fake, tmp_path, monkeypatch):
    """Films that DALI decoded, two levels from imagecodecs' here and there: right. Of its own they would be wrong."""
    monkeypatch.setattr(dali, "decoder", dali.Decoder)
    rng = np.random.default_rng(0)
    fake.spoil = lambda samples: np.where(rng.random(samples.shape) < 0.01, samples.clip(2) - 2, samples).astype("u1")
    (tmp_path / "a.jpg").write_bytes(LOSSY["JPEG"](0))
    catalog = resload.Catalog(pd.DataFrame({"id": ["a"], "path": ["a.jpg"]}), root=tmp_path)
    cache = resload.build(catalog, tmp_path / "d", [(120, 96)], decode="dali", progress=False)
    found = resload.verify(cache, sources=1, catalog=catalog, progress=False)
    assert found.ok
    assert 1.9 < found.levels[0].worst < 2.1
    monkeypatch.setattr("resload.store.proof.OTHERS", "none")
    assert not resload.verify(cache, sources=1, catalog=catalog, progress=False).ok


def test_dalis_libraries_are_loaded_without_chatter(monkeypatch):
    """OpenCV's level is set while they are, and left as it was: also where the user has set one."""
    with dali._quiet():
        assert os.environ["OPENCV_LOG_LEVEL"] == "ERROR"
    assert "OPENCV_LOG_LEVEL" not in os.environ
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "INFO")
    with dali._quiet():
        assert os.environ["OPENCV_LOG_LEVEL"] == "INFO"
    assert os.environ["OPENCV_LOG_LEVEL"] == "INFO"


# -- the device's arithmetic --


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kernel", sorted(reference.KERNELS))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_resize_on_a_device_keeps_the_contract(dtype, kernel, data):
    """Any shape to any size: within 0.52 units of the float64 definition, the film itself untouched."""
    sides = st.integers(1, 300)
    height, width, down, across = (data.draw(sides) for _ in range(4))
    top = np.iinfo(dtype).max
    image = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, top + 1, (height, width), dtype)
    (found,) = device.pyramid(torch.from_numpy(image), [Size(down, across)], kernel=kernel)
    exact = reference.resample(image, (down, across), kernel=kernel).clip(0, top)
    assert found.dtype == dtype
    assert found.shape == (down, across)
    assert np.abs(found - exact).max() <= 0.52


@pytest.mark.parametrize("source", [(4096, 64), (64, 4096), (2500, 2048)])
def test_large_ratios_of_16_bits_keep_it_too(source):
    """Hundreds of weights for one pixel, summed in float32."""
    image = np.random.default_rng(0).integers(0, 65536, source, np.uint16)
    for size in (Size(32, 32), Size(9, 21)):
        (found,) = device.pyramid(torch.from_numpy(image), [size], kernel="triangle")
        assert np.abs(found - reference.resample(image, size)).max() <= 0.52


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop", resload.geometry.Crop("content")])
@pytest.mark.parametrize("intensity", ["auto", "minmax", "percentile(1, 99)", "window(1000, 900)"])
def test_films_made_on_a_device_are_those_of_the_cpu(fit, intensity):
    """Every intensity, every fit, several sizes and the film itself: within the two contracts of each other."""
    file = dicom_of(J2K, 12)
    recipe = Pipeline((20, 48, "native"), dtype="uint16", fit=fit, intensity=intensity)
    found, expected = (make(recipe, file, engine=engine) for engine in (HERE, CPU))
    assert found.places == expected.places
    assert (found.size, found.content, found.scale, found.offset) == (
        expected.size,
        expected.content,
        expected.scale,
        expected.offset,
    ) or np.isnan(found.scale)
    for one, other in zip(found.levels, expected.levels, strict=True):
        assert one.dtype == other.dtype
        assert np.abs(one.astype(int) - other).max() <= 1
    assert (found.levels[-1] == expected.levels[-1]).all()


@pytest.mark.parametrize("intensity", ["auto", "minmax", "raw", "display(polarity=keep)", "mimic-jpg"])
@pytest.mark.parametrize("kind", ["JPEG", "JPEG 2000 of 12 bits", "HTJ2K of 16 bits"])
@pytest.mark.parametrize("fit", ["stretch", resload.geometry.Crop("content")])
@pytest.mark.parametrize("spread", [0, 4])
def test_films_that_a_decoder_left_there(fake, kind, intensity, fit, spread):
    """All that is done to codes is one table there; a film that is to be measured is brought back."""
    file, dtype = (LOSSLESS | LOSSY)[kind](0), "uint8" if intensity == "mimic-jpg" else "uint16"
    recipe = Pipeline((20, 48, "native"), dtype=dtype, intensity=intensity, fit=fit)
    if "12" in kind:
        fake.spoil = lambda samples: samples << spread
    engine = Engine(GPU, fake.decoder(GPU))
    found, expected = make(recipe, file, engine=engine), make(recipe, file, engine=HERE)
    assert found.decoder.startswith("dali.")
    assert found.size == expected.size
    assert found.places == expected.places
    for one, other in zip(found.levels, expected.levels, strict=True):
        assert (one == other).all()


@pytest.mark.parametrize("bits", [8, 12])
def test_8_bit_pixels_of_a_device(bits):
    """uint8 of films of 8 and 12 bits, within the CPU's 1.01 and the device's 0.52."""
    file = dicom_of(J2K, bits)
    found, expected = (make(Pipeline((31, 64), dtype="uint8"), file, engine=engine) for engine in (HERE, CPU))
    for one, other in zip(found.levels, expected.levels, strict=True):
        assert one.dtype == np.uint8
        assert np.abs(one.astype(int) - other).max() <= 1


def test_arrays_that_cannot_be_written_are_uploaded_too():
    """A read-only view, and a part of a larger array."""
    whole = np.random.default_rng(0).integers(0, 4096, (60, 80), np.uint16)
    whole.setflags(write=False)
    for image in (whole, whole[3:, ::2]):
        radiograph = Radiograph(image, 12, None, "array")
        assert (device.there(radiograph, None, torch.device("cpu")).numpy() == image).all()


def test_gradients_and_autocast_of_the_caller_do_not_matter():
    """The same bits under autocast and with gradients on."""
    image = film(16)
    expected = make(Pipeline(32, dtype="uint16"), image, engine=HERE).levels[0]
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.enable_grad():
        assert (make(Pipeline(32, dtype="uint16"), image, engine=HERE).levels[0] == expected).all()


def test_levels_on_a_canvas_come_from_the_device_too():
    """`pad`: the canvas beside the film is the recipe's, whoever resized."""
    recipe = Pipeline(64, dtype="uint8", fit=resload.geometry.Pad(value=1.0))
    found, expected = (make(recipe, film(8, (100, 40)), engine=engine).levels[0] for engine in (HERE, CPU))
    assert (found[:, :10] == 255).all()
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_the_cpu_engine_is_as_it_was():
    """`make` without an engine never asks for a device."""
    assert cpu.make(Pipeline(32, dtype="uint8"), film(8)).levels[0].shape == (32, 32)
