"""The same pixels in training and in the clinic: what `Pipeline.tensor` makes of a film is what the Loader yielded."""

import dataclasses
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loading import NumberReader

import resload
from resload import Catalog, Loader, Pipeline, Size
from resload.errors import ArgumentError, NotARadiographError, SizeError, TruncatedFileError, UnreadableFileError
from resload.geometry import Crop, Pad
from resload.pipeline import Known, ModelInput, model_input
from resload.scaling import DTYPES
from resload.size import Spacing

PER_CHANNEL = ((0.4, 0.5, 0.6), (0.2, 0.3, 0.1))
LADDER = (Size(32, 32), Size(48, 40), Size(64, 64))


def loaded(loader):
    """{id: image} of all batches."""
    with loader:
        return {name: image.clone() for batch in loader for name, image in zip(batch.ids, batch.images, strict=True)}


def bits(tensor):
    """A tensor's dtype, shape and bytes: what must be the same for it to be the same."""
    return tensor.dtype, tuple(tensor.shape), tensor.contiguous().view(torch.uint8).numpy().tobytes()


def check_same(loader, catalog, pipeline=None):
    """Each image of the loader, made again of its film alone with what the catalog knows: the same bits."""
    pipeline = loader.pipeline if pipeline is None else pipeline
    images = loaded(loader)
    rows = np.flatnonzero(catalog.table["id"].isin(images))
    assert len(rows) == len(images) > 0
    made = pipeline.tensor((catalog, rows))
    assert len({bits(image) for image in made}) > len(rows) // 2  # films differ: no two blanks are compared
    for row, tensor in zip(rows, made, strict=True):
        assert bits(tensor) == bits(images[catalog.table["id"][row]])


@pytest.fixture(scope="module")
def few(films, cache):
    """Twelve films of `films`: of both shapes and every kind, none broken."""
    table = films.scan(progress=False).table
    broken = table["id"].isin(cache.quarantine["id"])
    chosen = table[~broken].groupby(["bits", "photometric"], dropna=False).head(3).index
    return films.select(np.isin(np.arange(len(table)), chosen))


@pytest.fixture(scope="module")
def kinds(few):
    """A path of each kind: PNG of 8 and of 16 bits, DICOM of either polarity."""
    table = few.scan(progress=False).table
    where = {
        "png8": table["bits"] == 8,
        "png16": table["bits"] == 16,
        "monochrome1": table["photometric"] == "MONOCHROME1",
        "monochrome2": table["path"].str.endswith(".dcm") & (table["photometric"] == "MONOCHROME2"),
    }
    return {kind: few.path(int(np.flatnonzero(mask)[0])) for kind, mask in where.items()}


@pytest.fixture(scope="module")
def recipe(cache):
    """A loader's recipe: 64 x 64, three channels, normalised."""
    return Loader(cache, size=64, batch_size=8, channels=3, normalize=(0.4, 0.2)).pipeline


# -- the same bits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", LADDER, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("channels", "normalize"), [(1, None), (3, None), (1, (0.45, 0.25)), (3, PER_CHANNEL), (3, "dataset")]
)
def test_floats_are_the_loaders(films, cache, size, dtype, channels, normalize):
    """Every film of a cache at each stored size: PNG of 8 and 16 bits, DICOM of 12 in both polarities."""
    options = {"dtype": DTYPES[dtype], "channels": channels, "normalize": normalize}
    check_same(Loader(cache, size=size, batch_size=7, **options), films)


@pytest.mark.parametrize(("depth", "dtype"), [("8", "uint8"), ("8", "uint16"), ("16", "uint16"), ("8", "float32")])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_depth_is_the_loaders(request, depth, dtype, channels):
    """Integers as stored or widened, and floats of 8 bits."""
    catalog, stored = ("films8", "cache8") if depth == "8" else ("films", "cache")
    loader = Loader(
        request.getfixturevalue(stored), size=(48, 40), batch_size=7, dtype=DTYPES[dtype], channels=channels
    )
    check_same(loader, request.getfixturevalue(catalog))


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((64, (48, 40)), {"fit": "pad"}),
        ((64,), {"fit": Pad(0.5, "bottom"), "aspect": "physical"}),
        ((64,), {"fit": Pad(align="chest-wall")}),
        ((64,), {"fit": "crop"}),
        (((48, 40),), {"fit": Crop("content"), "aspect": "physical"}),
        ((Spacing(6.0, (64, 48)), Spacing(3.0, (128, 96))), {}),
        ((Spacing(2.0, (64, 64)),), {"fit": Pad(0.25, "top-left")}),
        ((64,), {"kernel": "lanczos3", "intensity": "none"}),
        ((64,), {"dtype": "uint8"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("detail", [None, 24])
def test_every_fit_is_the_loaders(few, tmp_path, sizes, options, detail):
    """From a cache at a stored size and from the files; shrunk and enlarged too (`detail=`)."""
    recipe = Pipeline(sizes, **options)
    wanted = {"size": recipe.sizes[-1], "batch_size": 5, "normalize": (0.4, 0.2), "detail": detail}
    check_same(Loader(few, pipeline=recipe, **wanted), few)
    if detail is None:
        cache = resload.build(few, tmp_path / "c.zarr", pipeline=recipe, progress=False)
        check_same(Loader(cache, **wanted), few)


def test_detail_from_a_stored_size(few, tmp_path):
    """The control arm of a study: shrunk to a stored size, enlarged with the recipe's kernel, on its own canvas."""
    for fit in ("stretch", Pad(0.5), "crop"):
        cache = resload.build(few, tmp_path / f"{fit}.zarr", sizes=(24, 64), fit=fit, progress=False)
        loader = Loader(cache, size=64, batch_size=5, detail=24, normalize="dataset")
        check_same(loader, few)
        model = loader.pipeline.model
        assert (model.size, model.detail, model.level, model.expected_rmse) == (Size(64, 64), Size(24, 24), (24, 24), 0)
        plain = Loader(cache, size=64, batch_size=5).pipeline.tensor((few, [0]))
        assert not torch.equal(loader.pipeline.tensor((few, [0])), plain)


def test_several_sizes_serve_the_first(films, cache):
    """Of a loader that yields several sizes, the recipe makes `Batch.images`."""
    loader = Loader(cache, size=[64, 32], batch_size=7)
    assert loader.pipeline.sizes == (Size(64, 64),)
    check_same(loader, films)


def test_other_views_of_a_cache(films, cache):
    """Of selected rows too; the decoders are then those of their films alone."""
    png = [row for row in cache.rows() if cache.table["decoder"][row].startswith("imagecodecs.png")]
    loader = Loader(cache, rows=png, size=64, batch_size=7)
    assert loader.pipeline.model.decoders == (cache.table["decoder"][png[0]],)
    check_same(loader, films)


@pytest.mark.real
def test_real_films_are_the_loaders(real_data, tmp_path):
    """NIH's PNGs, a SIIM and two other DICOMs: from the path alone, the stored pixels."""
    paths = [*sorted((real_data / "nih" / "images").glob("*.png"))[:3], *sorted((real_data / "dicom").glob("*.dcm"))]
    table = pd.DataFrame({"id": [path.name for path in paths], "path": [str(path) for path in paths]})
    cache = resload.build(Catalog(table, root=real_data), tmp_path / "c.zarr", sizes=(224,), progress=False)
    assert len(cache.rows()) == len(paths) >= 5
    images = loaded(Loader(cache, size=224, batch_size=4, channels=3, normalize=PER_CHANNEL))
    made = Loader(cache, size=224, batch_size=4, channels=3, normalize=PER_CHANNEL).pipeline.tensor(paths)
    assert [bits(image) for image in made] == [bits(images[path.name]) for path in paths]


@pytest.fixture(scope="module")
def levels_of_64(films, films8, tmp_path_factory):
    """{bits: (catalog, cache of 64 x 64 alone)}."""
    root = tmp_path_factory.mktemp("level")
    return {
        depth: (catalog, resload.build(catalog, root / f"{depth}.zarr", sizes=(64,), progress=False))
        for depth, catalog in ((8, films8), (16, films))
    }


@pytest.mark.parametrize("size", [40, (30, 37), 20], ids=str)
@pytest.mark.parametrize("depth", [8, 16])
def test_other_sizes_are_as_near_as_the_batch_says(levels_of_64, depth, size):
    """Training saw a stored level resized, serving resizes the film: apart by what the batch and the recipe report, and
    with 8 bits by the rounding of stored values, which is 0.29 of one."""
    films, cache = levels_of_64[depth]
    loader = Loader(cache, size=size, batch_size=64)
    (batch,) = loader
    pipeline = loader.pipeline
    assert (pipeline.model.level, pipeline.model.expected_rmse) == (batch.level, batch.expected_rmse)
    assert batch.level == Size(64, 64)
    place = {name: row for row, name in enumerate(films.table["id"])}
    made = pipeline.tensor((films, [place[name] for name in batch.ids]))
    rmse = float((made - batch.images).square().mean().sqrt()) * 255
    assert 0 < rmse <= np.hypot(batch.expected_rmse, 0.29 if depth == 8 else 0.0)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint16"])
def test_a_device_gets_the_same_bits(films, cache, dtype):
    """A loader that converts on the device, and a recipe whose tensor was moved there."""
    options = {"dtype": DTYPES[dtype], "channels": 3, "normalize": None if dtype == "uint16" else PER_CHANNEL}
    loader = Loader(cache, size=64, batch_size=64, device="cuda", **options)
    (batch,) = loader
    place = {name: row for row, name in enumerate(films.table["id"])}
    made = loader.pipeline.tensor((films, [place[name] for name in batch.ids]), device="cuda")
    assert made.device.type == "cuda"
    assert bits(made.cpu()) == bits(batch.images.cpu())


# -- one film in any form --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png8", "png16", "monochrome1", "monochrome2"])
def test_a_film_in_any_form(few, cache, kinds, recipe, kind):
    """Path, text, bytes, bytearray, memoryview, dataset or array, alone or among others: the loader's image."""
    path = kinds[kind]
    (row,) = [row for row in range(len(few)) if few.path(row) == path]
    expected = loaded(Loader(cache, size=64, batch_size=8, channels=3, normalize=(0.4, 0.2)))[few.table["id"][row]]
    data = path.read_bytes()
    forms = [path, str(path), data, bytearray(data), memoryview(data), resload.decode.decode(path)]
    if path.suffix == ".dcm":
        forms.append(pydicom.dcmread(path))
    else:
        forms.append(imagecodecs.png_decode(data))
    for form in forms:
        alone = recipe.tensor(form)
        assert alone.shape == (1, 3, 64, 64)
        assert bits(alone[0]) == bits(expected)
    assert {bits(image) for image in recipe.tensor(forms)} == {bits(expected)}
    assert {bits(image) for image in recipe.tensor(iter(forms), threads=1)} == {bits(expected)}


def test_the_header_tells_the_spacing(few, kinds, tmp_path):
    """Where no catalog knew it, a DICOM's own spacing counts in training and serving."""
    bare = Catalog(pd.DataFrame({"id": ["film"], "path": [str(kinds["monochrome1"])]}), root=few.root)
    cache = resload.build(bare, tmp_path / "c.zarr", sizes=[Spacing(6.0, (64, 64))], progress=False)
    loader = Loader(cache, size=Spacing(6.0, (64, 64)), batch_size=1)
    ((image,),) = (batch.images for batch in loader)
    assert bits(loader.pipeline.tensor(kinds["monochrome1"])[0]) == bits(image)
    assert image.min() < image.max()


def test_known_is_what_the_catalog_knew(few, kinds):
    """Spacing of a film that has none in its header, one for all or one for each, also in a call; bits too."""
    spacing = Spacing(6.0, (64, 64))
    loader = Loader(few, pipeline=Pipeline([spacing], dtype="uint16"), size=spacing, batch_size=len(few))
    (batch,) = loader
    rows = [few.table["id"].tolist().index(name) for name in batch.ids]
    paths = [few.path(row) for row in rows]
    known = [Known(spacing=tuple(few.table.loc[row, ["spacing_y", "spacing_x"]].astype(float))) for row in rows]
    assert bits(loader.pipeline.tensor(paths, known=known)) == bits(batch.images)
    for path, one, image in zip(paths, known, batch.images, strict=True):
        assert bits(loader.pipeline.tensor([path, path], known=one)[1]) == bits(image)
    stored = Pipeline([spacing], dtype="uint16", model=ModelInput(64, dtype="uint16"))
    assert bits(stored(paths, known=known).images[spacing.canvas]) == bits(stored.tensor(paths, known=known))
    shallow = np.full((8, 8), 1023, np.uint16)
    deep = Pipeline(8, dtype="uint16", model=ModelInput(8))
    assert deep.tensor(shallow, known=Known(bits=10)).min() == 1.0
    assert deep.tensor(shallow).max() < 0.02


@pytest.mark.parametrize(
    ("count", "known"),
    [(2, [Known()]), (1, [Known(), Known()]), (1, [(0, None)]), (1, ["L"])],
)
def test_known_that_fits_no_films(recipe, count, known):
    """One too few, one too many, or something else than Known."""
    with pytest.raises(ArgumentError, match=r"known is one resload\.pipeline\.Known for all films, or a list"):
        recipe.tensor([np.zeros((8, 8), np.uint8)] * count, known=known)


def test_known_beside_a_catalog(films, recipe):
    """The catalog knows its films: two answers would be one too many."""
    with pytest.raises(ArgumentError, match=r"known= goes with films; \(catalog, rows\) takes what the catalog knows"):
        recipe.tensor((films, [0]), known=Known())


# -- how it is made --------------------------------------------------------------------------------------


def test_threads_change_nothing(films, recipe):
    """One thread, several, or several calls at once."""
    one = bits(recipe.tensor((films, range(9)), threads=1))
    with ThreadPoolExecutor(3) as pool:
        several = list(pool.map(lambda threads: bits(recipe.tensor((films, range(9)), threads=threads)), [2, 5, None]))
    assert several == [one] * 3
    with pytest.raises(ArgumentError, match="threads must be an int >= 1"):
        recipe.tensor((films, [0]), threads=0)


def test_the_tensor_is_the_callers(few, recipe):
    """New memory each time, which shares nothing with an array that was given."""
    film = np.random.default_rng(0).integers(0, 65536, (64, 64), np.uint16)
    before = film.copy()
    as_is = Pipeline(64, dtype="uint16", model=ModelInput(64, dtype="uint16"))
    made = as_is.tensor(film)
    assert np.array_equal(made[0, 0].numpy(), film)
    made.zero_()
    assert np.array_equal(film, before)


def test_no_films(recipe):
    """An empty batch."""
    assert recipe.tensor([]).shape == (0, 3, 64, 64)


def test_the_device(recipe, kinds):
    """On the CPU where nothing is said; what torch does not know, or has not here, is refused before any film."""
    assert recipe.tensor(kinds["png8"], device=torch.device("cpu")).device.type == "cpu"
    with pytest.raises(ArgumentError, match="device='abacus': not a device that torch knows"):
        recipe.tensor("nowhere.png", device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ArgumentError, match="torch finds no CUDA device here"):
            recipe.tensor("nowhere.png", device="cuda")


# -- films that fail -------------------------------------------------------------------------------------


def test_a_film_that_fails_is_an_error_that_names_it(kinds, recipe, tmp_path):
    """Never zeros: the path where there is one, else its place among the films."""
    with pytest.raises(UnreadableFileError, match=r"missing.png: the file could not be read"):
        recipe.tensor([kinds["png8"], tmp_path / "missing.png"])
    with pytest.raises(TruncatedFileError, match=r"films\[2\]: the PNG data ends early"):
        recipe.tensor([kinds["png8"], kinds["png16"], kinds["png8"].read_bytes()[:-4000]])
    with pytest.raises(NotARadiographError, match=r"films\[0\]: an array must be \(height, width\)"):
        recipe.tensor(np.zeros((2, 8, 8), np.uint8))
    bare = pydicom.Dataset()
    bare.Rows = bare.Columns = 4
    with pytest.raises(NotARadiographError, match=r"films\[0\]: the dataset cannot be written as a DICOM file"):
        recipe.tensor(bare)
    millimetres = Pipeline([Spacing(6.0, (64, 64))], dtype="uint16", model=ModelInput(64))
    with pytest.raises(NotARadiographError, match=r"\.png: its spacing is not known"):
        millimetres.tensor(kinds["png8"])
    with pytest.raises(ArgumentError, match=r"a film is a path, bytes.* found int"):
        recipe.tensor([3])
    with pytest.raises(ArgumentError, match=r"films are a sequence of films.* found one int"):
        recipe.tensor(3)


def test_a_recipe_without_a_model(cache, kinds, recipe):
    """A cache's recipe, and one given other sizes, do not say what a model was trained on."""
    for pipeline in (cache.pipeline, recipe.with_sizes(64), Pipeline(64)):
        assert pipeline.model is None
        with pytest.raises(ArgumentError, match=r"does not know what a model was trained on; take loader\.pipeline"):
            pipeline.tensor(kinds["png8"])
    with pytest.raises(ArgumentError, match="tensor needs a decided dtype"):
        Pipeline(64, model=ModelInput(64)).tensor(kinds["png8"])


def test_a_reader_without_a_recipe():
    """Somebody's own reader may have none."""
    loader = Loader(NumberReader(8), size=16, batch_size=4)
    with pytest.raises(ArgumentError, match=r"Loader\.pipeline needs data with a pipeline"):
        loader.pipeline  # noqa: B018


# -- what is recorded ------------------------------------------------------------------------------------


def test_a_loader_says_what_its_tensors_are(cache, films8, caplog):
    """From a cache and from files: size, dtype, channels, normalisation, level, expected distance, decoders."""
    loader = Loader(cache, size=32, batch_size=4, dtype=torch.bfloat16, channels=3, normalize=PER_CHANNEL)
    pipeline = loader.pipeline
    assert pipeline == dataclasses.replace(cache.pipeline, sizes=32, model=pipeline.model)
    names = {one.partition(" ")[0] for one in pipeline.model.decoders}
    assert names == {"imagecodecs.png", "imagecodecs.jpeg", "imagecodecs.jpeg2k", "numpy.frombuffer"}
    assert pipeline.model == ModelInput(
        Size(32, 32), "bfloat16", 3, *PER_CHANNEL, level=Size(32, 32), decoders=pipeline.model.decoders
    )
    loader = Loader(films8, pipeline=Pipeline(9), size=48, batch_size=4, normalize=(0.4, np.float32(0.2)))
    model = loader.pipeline.model
    assert loader.pipeline.dtype == "uint8"
    assert (model.level, model.expected_rmse, model.mean, model.std) == (None, 0.0, (0.4,), (float(np.float32(0.2)),))
    png = resload.decode.decode(films8.path(0)).decoder
    assert png in model.decoders
    assert len({one.rpartition(" ")[2] for one in model.decoders}) == 1
    with caplog.at_level(logging.WARNING, "resload"):
        loader.pipeline.tensor(films8.path(0))
    assert not caplog.records


def test_normalisation_of_the_data_set_is_recorded(cache):
    """ "dataset" as the numbers it became."""
    loader = Loader(cache, size=64, batch_size=4, normalize="dataset")
    model = loader.pipeline.model
    assert model.normalization == tuple((part,) for part in loader.normalization)


numbers = st.floats(-10, 10)
models = st.integers(1, 4).flatmap(
    lambda channels: st.builds(
        ModelInput,
        st.sampled_from(LADDER),
        st.sampled_from(["float32", "float16", "bfloat16"]),
        st.just(channels),
        st.one_of(numbers, st.lists(numbers, min_size=channels, max_size=channels)),
        st.floats(1e-6, 10),
        detail=st.none() | st.sampled_from([16, (20, 30)]),
        level=st.none() | st.sampled_from(LADDER),
        expected_rmse=st.floats(0, 9),
        decoders=st.lists(st.text()),
    )
)


@given(models, st.sampled_from(["uint8", "uint16"]))
def test_save_and_load(tmp_path_factory, model, dtype):
    """What was saved is what is loaded, to the last bit of each number; hashable, and in JSON by its own names."""
    pipeline = Pipeline(LADDER, fit=Pad(0.5, "top"), dtype=dtype, model=model)
    path = tmp_path_factory.mktemp("recipes") / "recipe.json"
    pipeline.save(path)
    again = Pipeline.load(path)
    assert again == pipeline
    assert hash(again) == hash(pipeline)
    document = json.loads(path.read_text())
    assert list(document["model"]) == [one.name for one in dataclasses.fields(ModelInput)]
    assert document["model"]["size"] == list(model.size)


def test_a_saved_recipe_makes_the_same_tensor(films, cache, tmp_path):
    """In another process it is all one has."""
    loader = Loader(cache, size=64, batch_size=7, channels=3, normalize="dataset", dtype=torch.float16)
    loader.pipeline.save(tmp_path / "model.json")
    check_same(loader, films, Pipeline.load(tmp_path / "model.json"))


def test_recipes_without_a_model_are_saved_as_before(tmp_path):
    """The JSON has no new word, and one written before there were models is read."""
    Pipeline(64, dtype="uint8").save(tmp_path / "recipe.json")
    document = json.loads((tmp_path / "recipe.json").read_text())
    assert list(document) == ["resload_pipeline", "sizes", "intensity", "fit", "aspect", "kernel", "dtype"]
    assert Pipeline.load(tmp_path / "recipe.json").model is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resload_pipeline": 2}, "recipe format 2; this resload reads 1"),
        ({"model": {"size": [64, 64], "colour": 3}}, "not a recipe that Pipeline.save wrote .*colour"),
        ({"model": 3}, "not a recipe that Pipeline.save wrote"),
        ({"model": {}}, "not a recipe that Pipeline.save wrote .*size"),
        ({"model": {"size": [64, 64], "decoders": 3}}, "not a recipe that Pipeline.save wrote"),
        ({"model": {"size": [65, 64]}}, "model: its size 65x64 is none of the recipe's; found 64x64"),
        ({"model": {"size": [64, 64], "dtype": "float64"}}, "model: dtype must be one of float32, .*found 'float64'"),
        ({"model": {"size": [64, 64], "dtype": "uint8"}}, "dtype uint8 would lose depth"),
        ({"model": {"size": [64, 64], "dtype": "uint16", "mean": 1, "std": 1}}, "normalize needs a float dtype"),
        ({"model": {"size": [64, 64], "channels": 0}}, "channels must be an int >= 1; found 0"),
        ({"model": {"size": [64, 64], "mean": 0.5}}, r"mean and std go together; found mean=\(0.5,\), std=None"),
        ({"model": {"size": [64, 64], "mean": "half", "std": 1}}, "model: mean is one number or one per channel"),
        ({"model": {"size": [64, 64], "mean": [0.5, 0.5], "std": 1}}, r"one finite number or one per channel \(1\)"),
        ({"model": {"size": [64, 64], "mean": 0.5, "std": 0}}, "std must be positive"),
        ({"model": {"size": "large"}}, "a size is an int or"),
    ],
)
def test_what_is_no_model_is_not_loaded(tmp_path, recipe, changes, message):
    """A newer format, a foreign model, or one that contradicts its recipe: refused, before any film."""
    recipe.save(tmp_path / "recipe.json")
    document = json.loads((tmp_path / "recipe.json").read_text())
    (tmp_path / "recipe.json").write_text(json.dumps(document | changes))
    with pytest.raises(ArgumentError, match=message):
        Pipeline.load(tmp_path / "recipe.json")


def test_pixels_do_not_depend_on_the_model(few, recipe, tmp_path):
    """A cache built with a recipe that has a model is the cache of the recipe without: same digest, same manifest;
    and each continues the other."""
    plain = resload.build(few, tmp_path / "a.zarr", pipeline=recipe.with_sizes(64), progress=False)
    other = resload.build(few, tmp_path / "b.zarr", pipeline=recipe, progress=False)
    assert recipe.settings() == recipe.with_sizes(64).settings()
    assert plain.digest == other.digest
    assert other.pipeline == plain.pipeline == recipe.with_sizes(64)
    manifests = [json.loads((tmp_path / name / "zarr.json").read_text()) for name in ("a.zarr", "b.zarr")]
    assert manifests[0] == manifests[1]
    half = few.select(np.arange(len(few)) < 6)
    resload.build(half, tmp_path / "c.zarr", pipeline=recipe, progress=False)
    assert len(resload.build(few, tmp_path / "c.zarr", pipeline=recipe, progress=False)) == len(few)
    with pytest.raises(SizeError):
        ModelInput("large")


# -- decoders --------------------------------------------------------------------------------------------


def with_decoders(pipeline, *decoders):
    return dataclasses.replace(pipeline, model=dataclasses.replace(pipeline.model, decoders=decoders))


def warnings_of(caplog, pipeline, films):
    """What is logged while films are made."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "resload"):
        pipeline.tensor(films)
    return [record.getMessage() for record in caplog.records]


def test_another_decoder_is_warned_of_once(caplog, monkeypatch, kinds, recipe):
    """Both versions are named; again only for another difference; never for films that it did not decode."""
    monkeypatch.setattr(model_input, "_warned", set())
    here = resload.decode.decode(kinds["png8"]).decoder
    old = with_decoders(recipe, "imagecodecs.png 1999.1.1", "imagecodecs.jpegls 1999.1.1")
    dicom, png = kinds["monochrome1"], kinds["png8"]
    assert warnings_of(caplog, old, dicom) == []
    (message,) = warnings_of(caplog, old, [png, dicom, png])
    assert message.startswith(f"films are decoded by {here} here, and were by imagecodecs.png 1999.1.1 for training")
    assert warnings_of(caplog, old, png) == []
    (message,) = warnings_of(caplog, with_decoders(recipe, "imagecodecs.png 1", "imagecodecs.png 2"), png)
    assert "were by imagecodecs.png 1 and imagecodecs.png 2 for training" in message
    for same in (recipe, with_decoders(recipe, "imagecodecs.png 1999.1.1", here), with_decoders(recipe)):
        assert warnings_of(caplog, same, [png, dicom, np.zeros((8, 8), np.uint8)]) == []


def test_a_warning_is_given_once_to_many_threads(caplog, monkeypatch, kinds, recipe):
    """Whoever comes first logs it."""
    monkeypatch.setattr(model_input, "_warned", set())
    old = with_decoders(recipe, "imagecodecs.png 1999.1.1")
    with caplog.at_level(logging.WARNING, "resload"), ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: old.tensor(kinds["png8"], threads=1), range(16)))
    assert len(caplog.records) == 1
