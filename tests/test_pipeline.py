"""The pipeline: many films in, every size of each out, from one decode; the same pixels everywhere."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pandas as pd
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resload import Catalog, Pipeline, Size, decode, intensity, reference
from resload.errors import ArgumentError, NotARadiographError, SizeError, TruncatedFileError, UnreadableFileError
from resload.geometry import Crop, Pad
from resload.intensity import RECIPES
from resload.pipeline import Known, make
from resload.pipeline.recipe import DTYPES

SIZES = (Size(32, 32), Size(48, 40), Size(64, 64))

pipelines = st.builds(
    Pipeline,
    st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), min_size=1, max_size=5),
    intensity=st.sampled_from(RECIPES),
    fit=st.sampled_from(["pad", "crop", Pad(0.25, "chest-wall"), Pad(field=(400, 300.5)), Crop("content")]),
    aspect=st.sampled_from(["pixel", "physical"]),
    kernel=st.sampled_from(list(reference.KERNELS)),
    dtype=st.sampled_from(DTYPES),
)


@pytest.fixture(scope="module")
def paths(films, cache):
    """A path of each kind: an 8-bit PNG, a 16-bit PNG, a DICOM, and the broken one."""
    bits = films.scan(progress=False).table["bits"].to_numpy()
    broken = films.table["id"].isin(cache.quarantine["id"]).to_numpy()
    places = {
        "8": np.flatnonzero((bits == 8) & ~broken)[0],
        "16": np.flatnonzero(bits == 16)[0],
        "dicom": np.flatnonzero(bits == 12)[0],
        "broken": np.flatnonzero(broken)[0],
    }
    return {kind: films.path(int(row)) for kind, row in places.items()}


def plain(images):
    """{size: tensor (B, 1, H, W)} -> {size: array (B, H, W)}."""
    return {size: tensor[:, 0].numpy() for size, tensor in images.items()}


# -- pixels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", list(reference.KERNELS))
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_level_is_a_resize_of_the_whole_film(paths, kernel, dtype):
    """Each size is within the contract of the exact resize of the film at full size: never of another level."""
    result = Pipeline(SIZES, kernel=kernel, dtype=dtype)([paths["8"], paths["16"], paths["dicom"]])
    bound = 1.01 if (kernel, dtype) == ("triangle", "uint8") else 0.52
    for i, kind in enumerate(("8", "16", "dicom")):
        film = intensity.apply(decode.decode(paths[kind]), dtype=dtype).pixels
        for size, images in plain(result.images).items():
            exact = np.clip(reference.resample(film, size, kernel=kernel), 0, np.iinfo(dtype).max)
            assert images.dtype == dtype
            assert np.abs(images[i] - exact).max() <= bound
    assert list(result.images) == list(SIZES)


def test_a_cache_holds_what_its_pipeline_makes(films, cache):
    """cache.pipeline on one film, at serving time, gives the stored pixels bit for bit, at every size."""
    place = {name: row for row, name in enumerate(cache.table["id"])}
    rows = [0, 3, 7, 30]
    made = plain(cache.pipeline([films.path(row) for row in rows]).images)
    assert set(made) == set(cache.sizes)
    for size, images in made.items():
        stored = cache.read([place[films.table["id"][row]] for row in rows], size)
        assert np.array_equal(images, stored)


@pytest.mark.parametrize("kind", ["8", "16", "dicom"])
def test_a_film_in_any_form_is_the_same_film(films, paths, kind):
    """Path, text, bytes, bytearray, memoryview, decoded radiograph, row of a catalog; a DICOM also as a pydicom
    dataset, which is not changed by it; one that needs no interpretation also as its array."""
    path = paths[kind]
    data = path.read_bytes()
    row = [films.path(row) for row in range(len(films))].index(path)
    forms = [path, str(path), data, bytearray(data), memoryview(data), decode.decode(path)]
    recipe = Pipeline(SIZES, dtype="uint16")
    if kind == "dicom":
        dataset = pydicom.dcmread(path)
        forms += [dataset, dataset]
    else:
        forms.append(imagecodecs.png_decode(data))
    made = plain(recipe(forms).images)
    from_catalog = plain(recipe((films, [row])).images)
    for size in SIZES:
        assert len({image.tobytes() for image in [*made[size], *from_catalog[size]]}) == 1
        assert made[size].std() > 0
    if kind == "dicom":
        assert dataset == pydicom.dcmread(path)


def test_intensity_is_applied_before_resizing(paths):
    """ "auto" of a DICOM is "display" (its window); "none" is its stored values over their full range."""
    film = decode.decode(paths["dicom"])
    made = {recipe: make(Pipeline(32, intensity=recipe, dtype="uint16"), film) for recipe in RECIPES}
    assert np.array_equal(made["auto"].levels[0], made["display"].levels[0])
    assert made["auto"].intensity == "display"
    assert not np.array_equal(made["none"].levels[0], made["display"].levels[0])
    assert made["none"].scale == pytest.approx(4095 / 65535)
    assert np.isnan(made["display"].scale)
    exact = reference.resample(film.pixels * (65535 / 4095), 32)
    assert np.abs(made["none"].levels[0] - exact).max() <= 1.02  # each code is rounded once before the resize


def test_what_a_film_tells(paths):
    """Size, bits, spacing and content of the source, and the decoder with its version, come along."""
    film = make(Pipeline(32, dtype="uint16"), paths["dicom"])
    dataset = pydicom.dcmread(paths["dicom"])
    assert film.size == Size(dataset.Rows, dataset.Columns)
    assert film.bits == 12
    assert film.spacing == tuple(float(mm) for mm in dataset.PixelSpacing)
    assert film.content == (0, 0, dataset.Rows, dataset.Columns)
    assert any(character.isdigit() for character in film.decoder)


def test_known_bits_override_the_files(tmp_path, paths):
    """12 bits in a 16-bit PNG: with the catalog's `bits`, 4095 is white; without, nearly black."""
    ramp = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    (tmp_path / "film.png").write_bytes(imagecodecs.png_encode(ramp))
    table = {"id": ["film"], "path": ["film.png"]}
    known = Catalog(pd.DataFrame(table | {"bits": [12]}), root=tmp_path)
    unknown = Catalog(pd.DataFrame(table), root=tmp_path)
    recipe = Pipeline(64, dtype="uint16")
    assert recipe((known, [0])).images[Size(64, 64)].numpy().max() == 65535
    assert recipe((unknown, [0])).images[Size(64, 64)].numpy().max() == 4095
    assert make(recipe, tmp_path / "film.png", Known(bits=12)).bits == 12


def test_frames(tmp_path, paths):
    """A catalog's frame_index, and make's frame=, choose the image of a multi-frame file."""
    dataset = pydicom.dcmread(paths["dicom"])
    assert not dataset.file_meta.TransferSyntaxUID.is_compressed
    first = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
    dataset.NumberOfFrames = 2
    dataset.PixelData = first.tobytes() + first[::-1].tobytes()
    dataset.save_as(tmp_path / "two.dcm")
    frames = pd.DataFrame({"id": ["0", "1"], "path": ["two.dcm"] * 2, "frame_index": [0, 1]})
    recipe = Pipeline((64, 64), dtype="uint16", kernel="area")
    images = recipe((Catalog(frames, root=tmp_path), [0, 1])).images[Size(64, 64)][:, 0].numpy()
    assert np.array_equal(images[0], make(recipe, tmp_path / "two.dcm").levels[0])
    assert not np.array_equal(images[0], images[1])
    np.testing.assert_allclose(images[1].astype(int), images[0][::-1].astype(int), atol=1)
    assert np.array_equal(make(recipe, tmp_path / "two.dcm", Known(frame=1)).levels[0], images[1])


def test_a_film_is_decoded_once_for_all_sizes(paths, monkeypatch):
    """Whatever the length of the ladder."""
    calls = []
    true_decode = decode.decode

    def counted(source, **options):
        calls.append(source)
        return true_decode(source, **options)

    monkeypatch.setattr(decode, "decode", counted)
    Pipeline(range(8, 120, 8), dtype="uint8")([paths["8"], paths["dicom"]], threads=1)
    assert calls == [paths["8"], paths["dicom"]]


def test_threads_change_nothing(films):
    """One thread, many, or many calls at once: the same result in the order of the films."""
    recipe = Pipeline(SIZES, dtype="uint16")
    films8 = (films, range(8))
    one = plain(recipe(films8, threads=1).images)
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda threads: plain(recipe(films8, threads=threads).images), [1, 2, 5]))
    for other in results:
        assert all(np.array_equal(one[size], other[size]) for size in SIZES)


# -- errors and geometry ---------------------------------------------------------------------------------


def test_a_film_that_fails_stops_no_other(paths, tmp_path):
    """Its error is in its place, naming the file; its pixels are zeros, its geometry None; the others are whole."""
    missing = tmp_path / "missing.png"
    films = [paths["8"], paths["broken"], missing, b"", np.zeros((3, 4, 5), np.uint8), np.zeros((4, 4)), paths["8"]]
    result = Pipeline(SIZES, dtype="uint8")(films, threads=3)
    kinds = [type(error) for error in result.errors]
    expected = [None, TruncatedFileError, UnreadableFileError, TruncatedFileError, *[NotARadiographError] * 2, None]
    assert [None if kind is type(None) else kind for kind in kinds] == expected
    assert str(result.errors[1]) == f"{paths['broken']}: the PNG data ends early"
    assert str(missing) in str(result.errors[2])
    for size in SIZES:
        images = result.images[size]
        assert images.shape == (7, 1, *size)
        assert (images[1:6] == 0).all()
        assert (images[0] == images[6]).all()
        assert images[0].any()
        assert [affine is None for affine in result.geometry[size]] == [error is not None for error in result.errors]


def test_geometry_maps_each_film(films):
    """One map per film and size: the film's corner lands on the level's."""
    result = Pipeline(SIZES, dtype="uint16")((films, [0, 30]))
    for size in SIZES:
        for affine, shape in zip(result.geometry[size], ((200, 160), (160, 184)), strict=True):
            np.testing.assert_allclose(affine.points([shape]), [size])


def test_a_dataset_that_is_no_file_is_an_error_in_place(paths):
    """A pydicom dataset without file meta or pixels fails alone."""
    bare = pydicom.Dataset()
    bare.Rows = bare.Columns = 4
    result = Pipeline(32, dtype="uint8")([bare, paths["8"]])
    assert isinstance(result.errors[0], NotARadiographError)
    assert "the dataset cannot be written as a DICOM file" in str(result.errors[0])
    assert result.errors[1] is None


def test_what_is_no_film_is_the_callers_mistake(paths):
    """A film of no known kind, or one film instead of many, is refused at once."""
    with pytest.raises(ArgumentError, match=r"a film is a path, bytes, a pydicom dataset or .* found int"):
        Pipeline(32, dtype="uint8")([paths["8"], 3])
    for one in (paths["8"], str(paths["8"]), b"abc", np.zeros((4, 4), np.uint8), 3):
        with pytest.raises(ArgumentError, match=f"films are a sequence of films.* found one {type(one).__name__}"):
            Pipeline(32)(one)


def test_no_films():
    """An empty sequence gives empty tensors of every size."""
    result = Pipeline(SIZES)([])
    assert [tuple(result.images[size].shape) for size in SIZES] == [(0, 1, *size) for size in SIZES]
    assert result.errors == []


# -- depth -----------------------------------------------------------------------------------------------


def test_auto_keeps_the_deepest(paths):
    """dtype "auto": uint16 as soon as one film has more than 8 bits; a film that fails does not decide."""
    for kinds, dtype in (
        (["8"], "uint8"),
        (["8", "broken"], "uint8"),
        (["8", "16"], "uint16"),
        (["16", "8"], "uint16"),
        (["dicom"], "uint16"),
    ):
        images = Pipeline(32)([paths[kind] for kind in kinds]).images[Size(32, 32)]
        assert images.numpy().dtype == dtype


def test_resolve(films, films8):
    """The catalog's bits where they are known, else the headers; a decided dtype stays; nothing else changes."""
    recipe = Pipeline(SIZES, kernel="area")
    assert recipe.resolve(films) == dataclasses.replace(recipe, dtype="uint16")
    assert recipe.resolve(films8) == dataclasses.replace(recipe, dtype="uint8")
    decided = dataclasses.replace(recipe, dtype="uint8")
    assert decided.resolve(films) is decided
    told = Catalog(films8.table.assign(bits=12), root="nowhere")  # no file is there to be read
    assert recipe.resolve(told).dtype == "uint16"
    assert recipe.resolve(Catalog(films.table.assign(bits=8), root="nowhere")).dtype == "uint8"


# -- the recipe as a value -------------------------------------------------------------------------------


@given(pipelines)
def test_save_and_load(tmp_path_factory, pipeline):
    """What was saved is what is loaded; it is JSON that says everything."""
    path = tmp_path_factory.mktemp("recipes") / "recipe.json"
    pipeline.save(path)
    assert Pipeline.load(path) == pipeline
    document = json.loads(path.read_text())
    assert [tuple(size) for size in document["sizes"]] == list(pipeline.sizes)
    assert {name: document[name] for name in pipeline.settings()} == pipeline.settings()


@given(pipelines)
def test_a_pipeline_is_a_value(pipeline):
    """Equal when its fields are, hashable, frozen; sizes ascending without repeats; with_sizes changes only them."""
    same = Pipeline(pipeline.sizes[::-1] + pipeline.sizes[:1], **pipeline.settings())
    assert same == pipeline
    assert hash(same) == hash(pipeline)
    other = pipeline.with_sizes((16, 8))
    assert other.sizes == (Size(8, 8), Size(16, 16))
    assert other.settings() == pipeline.settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        pipeline.kernel = "area"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intensity": "bright"}, "intensity must be one of auto, display, .*none; found 'bright'"),
        (
            {"fit": "squash"},
            "fit must be one of stretch, pad, crop, or a value .*found 'squash'",
        ),
        ({"aspect": "mm"}, "aspect must be one of pixel, physical; found 'mm'"),
        ({"kernel": "nearest"}, "kernel must be one of triangle, area, lanczos3, cubic; found 'nearest'"),
        ({"dtype": "float32"}, "dtype must be one of auto, uint8, uint16; found 'float32'"),
        ({"dtype": np.uint8}, "dtype must be one of auto, uint8, uint16; found"),
    ],
)
def test_unknown_values_are_refused(options, message):
    """With those there are, and what was found."""
    with pytest.raises(ArgumentError, match=message):
        Pipeline(32, **options)


def test_sizes_are_checked():
    """As everywhere."""
    for wrong in ([], 0, "large", [(1, 2, 3)]):
        with pytest.raises(SizeError):
            Pipeline(wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a recipe that Pipeline.save wrote"),
        ("[1, 2]", "not a recipe that Pipeline.save wrote"),
        ('"text"', "not a recipe that Pipeline.save wrote"),
        ('{"sizes": [[32, 32]]}', "not a recipe that Pipeline.save wrote"),
        ('{"resload_pipeline": 1}', "not a recipe that Pipeline.save wrote .*sizes"),
        ('{"resload_pipeline": 1, "sizes": [[32, 32]], "colour": 1}', "not a recipe that Pipeline.save wrote .*colour"),
        ('{"resload_pipeline": 99, "sizes": [[32, 32]]}', "recipe format 99; this resload reads 1"),
        ('{"resload_pipeline": 1, "sizes": [[32, 32]], "kernel": "nearest"}', "kernel must be one of"),
    ],
)
def test_what_is_no_recipe_is_not_loaded(tmp_path, text, message):
    """Refused with the file and the reason."""
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(ArgumentError, match=message):
        Pipeline.load(path)
