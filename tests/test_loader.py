"""What batches hold: the pixels of the store or of the files, and true words about them."""

import numpy as np
import pandas as pd
import pytest
import torch
from loading import NumberReader, all_rows, by_id, rows_of

import resload
from resload import Catalog, Loader, Pipeline, Size
from resload.errors import ArgumentError, SizeError
from resload.readers import CacheReader
from resload.samplers import Fixed, Images, Sampler, Sequential

SIZES = [(32, 32), (64, 64), (48, 40)]
STORED = {"uint8": torch.uint8, "uint16": torch.uint16}


@pytest.fixture(params=["16 bits", "8 bits"])
def data(request, films, cache, films8, cache8):
    """(catalog without its broken film, cache of it), deep and shallow."""
    catalog, stored = (films, cache) if request.param == "16 bits" else (films8, cache8)
    return catalog.select(~catalog.table["id"].isin(stored.quarantine["id"]).to_numpy()), stored


@pytest.fixture(scope="module")
def large(films8, tmp_path_factory):
    """A cache whose records are large enough that a batch is filled by several tasks."""
    path = tmp_path_factory.mktemp("large") / "c.zarr"
    return resload.build(films8, path, [(512, 400)], progress=False)


# -- pixels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_cache_and_catalog_give_the_same_pixels(data, size):
    """Radiographs matched by id, a Loader of the cache and one of the files give the same pixels, bit for bit."""
    catalog, cache = data
    dtype = STORED[cache.dtype.name]
    stored = by_id(Loader(cache, size=size, batch_size=7, dtype=dtype))
    made = by_id(Loader(catalog, pipeline=cache.pipeline, size=size, batch_size=5, dtype=dtype, shuffle=True))
    assert stored.keys() == made.keys() == set(catalog.table["id"])
    assert all(np.array_equal(stored[name], made[name]) for name in made)
    assert len({image.tobytes() for image in made.values()}) == len(catalog)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_filled_by_several_tasks_is_whole(large, threads, monkeypatch):
    """Whatever part of a batch each thread fills, and whether in place or converted, the batch is the rows asked."""
    monkeypatch.setattr("resload.readers.cache._TASK_BYTES", 2 << 20)
    assert CacheReader(large).grain(Size(512, 400)) < 20
    rows = large.rows()[::-1]
    expected = large.read(rows, (512, 400))[:, None].astype(np.float64)
    for dtype, scale in ((torch.uint8, 1), (torch.uint16, 257), (torch.float32, 1 / 255)):
        loader = Loader(large, size=(512, 400), batch_size=20, rows=rows, dtype=dtype, threads=threads)
        found = np.concatenate([batch.images.numpy() for batch in loader])
        np.testing.assert_allclose(found, expected * scale, rtol=1e-6)


@pytest.mark.parametrize("normalize", [None, (0.4, 0.2), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_floats_follow_the_plain_formula(data, dtype, channels, normalize):
    """Float images are (stored / dtype maximum - mean) / std for each channel, to the last bit or two of the dtype."""
    if normalize is not None and np.ndim(normalize[0]) and channels == 1:
        normalize = (normalize[0][:1], normalize[1][:1])
    _, cache = data
    loader = Loader(cache, size=(48, 40), batch_size=6, dtype=dtype, channels=channels, normalize=normalize)
    mean, std = (np.broadcast_to(part, channels)[:, None, None] for part in normalize or (0.0, 1.0))
    for batch in loader:
        plain = cache.read(batch.rows.numpy(), (48, 40))[:, None] / np.iinfo(cache.dtype).max
        bound = torch.finfo(dtype).eps * (plain / std + mean / std)
        assert batch.images.dtype == dtype
        assert batch.images.shape == (len(batch), channels, 48, 40)
        assert (np.abs(batch.images.double().numpy() - (plain - mean) / std) <= bound).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_integers_are_as_stored(data, channels):
    """uint8 and uint16 come as stored, uint8 in a uint16 batch as v * 257, and uint16 never as uint8."""
    _, cache = data
    for dtype in (torch.uint8, torch.uint16):
        options = {"size": 32, "batch_size": 6, "dtype": dtype, "channels": channels}
        if cache.dtype == np.uint16 and dtype == torch.uint8:
            with pytest.raises(ArgumentError, match="dtype uint8 would lose depth: this data is uint16"):
                Loader(cache, **options)
            continue
        widened = 257 if (cache.dtype, dtype) == (np.uint8, torch.uint16) else 1
        for batch in Loader(cache, **options):
            expected = cache.read(batch.rows.numpy(), 32).astype(np.uint32)[:, None] * widened
            assert batch.images.dtype == dtype
            assert batch.images.shape == (len(batch), channels, 32, 32)
            assert (batch.images.numpy() == expected).all()


def test_autocast_of_the_caller_changes_nothing(cache):
    """Inside torch.autocast the batches are those of outside: dtype and every bit."""
    plain = by_id(Loader(cache, size=32, batch_size=8, normalize=(0.4, 0.2)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = by_id(Loader(cache, size=32, batch_size=8, normalize=(0.4, 0.2)))
    assert all(mixed[name].dtype == np.float32 and np.array_equal(mixed[name], plain[name]) for name in plain)


# -- the statistics of the data set ----------------------------------------------------------------------


@pytest.mark.parametrize("split", ["val", None])
def test_dataset_statistics_are_those_of_the_train_split(cache, caplog, split):
    """normalize="dataset": mean and std of the train split's pixels, whichever rows are loaded; it says so."""
    caplog.set_level("INFO", "resload")
    loader = Loader(cache, size=(48, 40), batch_size=4, split=split, normalize="dataset")
    train = cache.read(cache.rows(split="train"), (48, 40)) / 65535
    assert loader.normalization == pytest.approx((train.mean(), train.std()), rel=1e-9)
    assert loader.normalization != pytest.approx(cache.stats((48, 40)), rel=1e-6)
    assert f"mean {train.mean():.6f}, std {train.std():.6f} of split train at 48x40" in caplog.text
    given = Loader(cache, size=(48, 40), batch_size=4, split=split, normalize=(train.mean(), train.std()))
    for batch, same in zip(loader, given, strict=True):
        torch.testing.assert_close(batch.images, same.images)


def test_dataset_statistics_without_a_train_split(cache, caplog):
    """Without a train split they are those of the loader's own rows, and it says that."""
    caplog.set_level("INFO", "resload")
    rows = cache.rows()[5:15]
    view = cache.select(cache.rows())
    view.table = view.table.drop(columns="split")
    chosen = np.flatnonzero(view.table["id"].isin(cache.table["id"].iloc[rows]))
    loader = Loader(view, size=32, batch_size=4, rows=chosen, normalize="dataset")
    pixels = cache.read(rows, 32) / 65535
    assert loader.normalization == pytest.approx((pixels.mean(), pixels.std()), rel=1e-9)
    assert "of its rows at 32x32" in caplog.text


def test_dataset_statistics_need_a_cache(films):
    """From files they would cost a pass over all of them: refused, with what to do."""
    with pytest.raises(ArgumentError, match="only a cache has; build one, or pass normalize="):
        Loader(films, pipeline=Pipeline(32), size=32, batch_size=4, normalize="dataset")


# -- words about the pixels ------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["cache", "catalog"])
def test_targets_ids_and_columns_belong_to_their_images(films, cache, source):
    """Whatever the order, each image comes with its own targets, id, row and columns; NaN targets are not known."""
    readable = films.select(~films.table["id"].isin(cache.quarantine["id"]).to_numpy())
    data, pipeline = (cache, None) if source == "cache" else (readable, cache.pipeline)
    truth = films.table.set_index("id")
    seen = 0
    for batch in Loader(data, pipeline=pipeline, size=32, batch_size=7, shuffle=True, columns=("view", "split")):
        rows = truth.loc[batch.ids]
        expected = rows[list(films.targets)].to_numpy(np.float32)
        np.testing.assert_array_equal(batch.targets, expected)
        np.testing.assert_array_equal(batch.known, ~np.isnan(expected))
        assert batch.targets.dtype == torch.float32
        assert batch.known.dtype == torch.bool
        assert data.table["id"].iloc[batch.rows.numpy()].tolist() == batch.ids
        assert batch.columns == {"view": rows["view"].tolist(), "split": rows["split"].tolist()}
        assert batch.size == Size(32, 32)
        assert batch.level == (Size(32, 32) if source == "cache" else None)
        assert batch.valid.tolist() == [True] * len(batch)
        assert batch.draws.dtype == batch.rows.dtype == torch.int64
        seen += (~batch.known).sum().item()
    assert seen == readable.table[list(films.targets)].isna().sum().sum() > 0


@pytest.mark.parametrize("size", SIZES)
def test_spacing_is_mm_per_pixel_of_this_size(films, data, size):
    """Spacing times side is the film's field of view in mm, in y and in x, whatever the film's shape."""
    catalog, cache = data
    truth = catalog.table.set_index("id")
    shape = {name: (200, 160) if name.startswith("a/") else (160, 184) for name in truth.index}
    for loader in (
        Loader(cache, size=size, batch_size=7),
        Loader(catalog, pipeline=cache.pipeline, size=size, batch_size=7),
    ):
        for batch in loader:
            spacing = truth.loc[batch.ids, ["spacing_y", "spacing_x"]].to_numpy()
            view_mm = spacing * [shape[name] for name in batch.ids]
            np.testing.assert_allclose(batch.spacing.numpy() * size, view_mm, rtol=1e-6)
            np.testing.assert_array_equal(batch.content, [(0, 0, *size)] * len(batch))
            assert batch.spacing.dtype == batch.content.dtype == torch.float32


def test_spacing_comes_from_the_header_or_is_unknown(films):
    """A catalog that does not know its spacing: DICOM headers tell it, of a PNG it is NaN."""
    bare = Catalog(films.table[["id", "path"]], root=films.root).select(np.arange(12))
    truth = films.table.set_index("id")
    found = {"dicom": 0, "png": 0}
    for batch in Loader(bare, pipeline=Pipeline(40), size=40, batch_size=5):
        for name, spacing in zip(batch.ids, batch.spacing, strict=True):
            row = truth.loc[name]
            if str(row["path"]).endswith(".dcm"):
                mm = (row["spacing_y"] * 200 / 40, row["spacing_x"] * 160 / 40)
                assert spacing.tolist() == pytest.approx(mm, rel=1e-6)
                found["dicom"] += 1
            else:
                assert spacing.isnan().all()
                found["png"] += 1
    assert min(found.values()) > 0


def test_content_is_in_pixels_of_this_size():
    """The content box (y, x, height, width) of the source is scaled per axis to the batch's size."""
    batch = next(iter(Loader(NumberReader(3), size=(50, 40), batch_size=3)))
    assert batch.content.tolist() == [[2.5, 10.0, 25.0, 20.0]] * 3  # a film of 200 x 80: y by 1/4, x by 1/2
    assert batch.spacing.flatten().tolist() == pytest.approx([0.8, 0.6] * 3)


def test_a_batch_unpacks_and_has_a_length(cache):
    """`for images, targets in loader`, and len(batch)."""
    loader = Loader(cache, size=32, batch_size=10)
    sizes = []
    for images, targets in loader:
        assert len(images) == len(targets)
        sizes.append(len(images))
    assert sizes == [len(batch) for batch in loader] == [10, 10, 10, 9]


def test_data_without_targets(cache):
    """No targets: (B, 0), and nothing else is different."""
    view = cache.select(cache.rows())
    view.targets = ()
    batch = next(iter(Loader(view, size=32, batch_size=4)))
    assert batch.targets.shape == batch.known.shape == (4, 0)


# -- which radiographs -----------------------------------------------------------------------------------


def test_quarantined_rows_are_never_served(cache):
    """Not by default, not by split, not by a sampler of the cache; naming one is refused."""
    bad = int(np.flatnonzero(cache.table["status"] == "failed")[0])
    split = cache.table["split"].iloc[bad]
    sampler = Sampler(cache, sizes=Fixed(32), budget=Images(4), tail="exact")
    loaders = [
        Loader(cache, size=32, batch_size=4),
        Loader(cache, size=32, batch_size=4, split=split),
        Loader(cache, sampler=sampler),
    ]
    for loader in loaders:
        assert bad not in all_rows(loader)
    with pytest.raises(ArgumentError, match="rows must be readable row numbers below 40"):
        Loader(cache, size=32, batch_size=4, rows=[0, bad])
    every = Sampler(len(cache), sizes=Fixed(32), budget=Images(4))
    with pytest.raises(ArgumentError, match=rf"1 of the sampler's rows cannot be read \(first: row {bad}\)"):
        Loader(cache, sampler=every)


def test_split_and_rows_choose(films, cache):
    """split= gives the rows of that split, rows= those rows in that order; from a cache and from files."""
    for name in ("train", "val", "test"):
        rows = all_rows(Loader(cache, size=32, batch_size=4, split=name))
        assert rows == cache.rows(split=name).tolist()
        assert set(cache.table["split"].iloc[rows]) == {name}
    loader = Loader(films, pipeline=cache.pipeline, size=32, batch_size=4, split="val")
    assert {name for batch in loader for name in batch.ids} == set(films.select(split="val").table["id"])
    chosen = cache.rows()[[8, 3, 5]]
    assert rows_of(Loader(cache, size=32, batch_size=2, rows=chosen)) == [chosen[:2].tolist(), chosen[2:].tolist()]


def test_films_a_scan_found_unreadable_are_left_out(films):
    """After scan() a Loader of files skips what the scan could not read."""
    table = films.table.head(8).assign(path=lambda t: t["path"].where(t.index != 3, "nowhere.png"))
    scanned = Catalog(table, root=films.root).scan(progress=False)
    loader = Loader(scanned, pipeline=Pipeline(32), size=32, batch_size=3)
    assert all_rows(loader) == [0, 1, 2, 4, 5, 6, 7]


def test_views_of_a_cache(cache):
    """A Loader of a view: the view's rows, targets and columns, the same pixels."""
    chosen = cache.rows()[[20, 4, 11]]
    ids = cache.table["id"].iloc[chosen].tolist()
    fold = pd.DataFrame({"id": ids, "score": [1.0, 2.0, 3.0]})
    view = cache.select(chosen).with_table(fold, targets=["score"])
    (batch,) = Loader(view, size=32, batch_size=3, dtype=torch.uint16, columns=["view"])
    assert batch.ids == ids
    assert batch.rows.tolist() == [0, 1, 2]
    assert batch.targets.tolist() == [[1.0], [2.0], [3.0]]
    assert batch.columns["view"] == cache.table["view"].iloc[chosen].tolist()
    assert batch.group is batch.slot is None  # these films are of no exams
    assert np.array_equal(batch.images[:, 0].numpy(), cache.read(chosen, 32))


# -- samplers --------------------------------------------------------------------------------------------


class Alternating:
    """A size rule of a user's own."""

    def __init__(self, *sizes):
        self.sizes = [Size(*size) for size in sizes]

    def at(self, step, *, epoch):
        return self.sizes[(step + epoch) % len(self.sizes)]

    def __repr__(self):
        return f"Alternating({self.sizes})"


def test_a_sampler_decides_rows_order_and_size(cache):
    """With sampler=, batches are its steps: rows, draws and a size that may change from batch to batch."""
    sampler = Sampler(cache, rows=cache.rows(split="train"), sizes=Alternating((32, 32), (48, 40)), budget=Images(5))
    loader = Loader(cache, sampler=sampler, dtype=torch.uint16)
    for epoch in range(2):
        steps = list(sampler.steps(epoch))
        batches = list(loader)
        assert len(batches) == len(steps) == len(loader)
        for batch, step in zip(batches, steps, strict=True):
            assert (batch.size, batch.rows.tolist()) == (step.size, step.index.tolist())
            assert batch.draws.tolist() == step.draw.tolist()
            assert np.array_equal(batch.images[:, 0].numpy(), cache.read(step.index, step.size))
    assert {batch.size for batch in batches} == {Size(32, 32), Size(48, 40)}


def test_a_sampler_whose_later_size_cannot_be_served_is_refused(cache):
    """A size larger than every level is a SizeError whenever it comes, not a damaged cache."""
    sampler = Sampler(cache, order=Sequential(), sizes=Alternating((32, 32), (70, 70)), budget=Images(5))
    with pytest.raises(SizeError, match="70x70 is larger than what is stored"):
        list(Loader(cache, sampler=sampler))


# -- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": None}, "needs size= and batch_size=, or a sampler="),
        ({"batch_size": None}, "needs size= and batch_size=, or a sampler="),
        ({"size": 70}, r"70x70 is larger than what is stored in .* \(32x32, 48x40, 64x64\)"),
        ({"size": 0}, "sides from 1 to 65536; found 0"),
        ({"batch_size": 0}, "batch_size must be an int >= 1; found 0"),
        ({"batch_size": 2.5}, "batch_size must be an int >= 1; found 2.5"),
        ({"prefetch": 0}, "prefetch must be an int >= 1; found 0"),
        ({"prefetch": True}, "prefetch must be an int >= 1; found True"),
        ({"threads": 0}, "threads must be an int >= 1 .* found 0"),
        ({"seed": -1}, "seed must be an int >= 0; found -1"),
        ({"seed": 1.5}, "seed must be an int >= 0; found 1.5"),
        ({"channels": 0}, "channels must be an int >= 1; found 0"),
        ({"dtype": torch.int32}, "dtype must be float32, .* found torch.int32"),
        ({"dtype": torch.uint16, "normalize": (0.5, 0.5)}, "normalize needs a float dtype; found torch.uint16"),
        ({"normalize": "imagenet"}, "None, \"dataset\" or \\(mean, std\\); found 'imagenet'"),
        ({"normalize": (0.5, 0.5, 0.5)}, r"normalize must be \(mean, std\); found \(0.5, 0.5, 0.5\)"),
        ({"normalize": (0.5, 0.0)}, "std must be positive; found"),
        ({"normalize": (float("nan"), 1.0)}, "one finite number or one per channel"),
        ({"normalize": ("dark", 1.0)}, "one finite number or one per channel .* found 'dark'"),
        ({"normalize": ((0.1, 0.2), (1.0, 1.0)), "channels": 3}, r"one per channel \(3\)"),
        ({"columns": ["age"]}, r"columns=\['age'\]: not in the table"),
        ({"split": "fold"}, "split='fold': there are"),
        ({"split": "train", "rows": [1, 2]}, "pass split= or rows=, not both"),
        ({"rows": [0, 40]}, "rows must be readable row numbers below 40"),
        ({"rows": [-1]}, "rows must be readable row numbers"),
        ({"rows": [[0, 1]]}, "rows must be readable row numbers"),
        ({"rows": 3}, "rows must be readable row numbers"),
        ({"rows": np.ones(40, bool)}, "rows must be readable row numbers"),
        ({"rows": []}, "0 rows make no full step"),
        ({"batch_size": 100, "drop_last": True}, "39 rows make no full step: .* drop_last=False"),
        ({"pipeline": Pipeline(32)}, "pipeline= and decode= go with a Catalog"),
    ],
)
def test_impossible_arguments_are_refused(cache, arguments, message):
    """What cannot work is refused when the loader is made, with what was expected and found."""
    with pytest.raises(ArgumentError, match=message):
        Loader(cache, **{"size": 32, "batch_size": 4} | arguments)


def test_impossible_data_is_refused(films, cache):
    """Not a Cache, Catalog or Reader; a Catalog without recipe; nothing readable in it."""
    with pytest.raises(ArgumentError, match="must be a Cache, a Catalog or a Reader; found str"):
        Loader(str(cache.path), size=32, batch_size=4)
    with pytest.raises(ArgumentError, match="a Catalog needs pipeline="):
        Loader(films, size=32, batch_size=4)
    with pytest.raises(ArgumentError, match="there is no readable radiograph here"):
        Loader(NumberReader(0), size=32, batch_size=4)
    bare = Catalog(films.table[["id", "path"]], root=films.root)
    with pytest.raises(ArgumentError, match="split='train': there are no splits"):
        Loader(bare, pipeline=Pipeline(32), size=32, batch_size=4, split="train")


@pytest.mark.parametrize(
    "argument",
    [{"size": 32}, {"batch_size": 4}, {"split": "train"}, {"rows": np.arange(5)}, {"shuffle": True}, {"seed": 3},
     {"drop_last": True}],
)  # fmt: skip
def test_what_a_sampler_decides_is_refused_beside_it(cache, argument):
    """One fact in one place: with sampler=, its own arguments are not taken here."""
    sampler = Sampler(cache, sizes=Fixed(32), budget=Images(4))
    with pytest.raises(ArgumentError, match=f"sampler= decides {next(iter(argument))}: set them there"):
        Loader(cache, sampler=sampler, **argument)


def test_a_sampler_of_other_data_is_refused(cache):
    """A sampler for another number of rows, or for a size that cannot be served."""
    with pytest.raises(ArgumentError, match="the sampler was made for 12 rows, the data has 40"):
        Loader(cache, sampler=Sampler(12, sizes=Fixed(32), budget=Images(4)))
    with pytest.raises(SizeError, match="70x70 is larger than what is stored"):
        Loader(cache, sampler=Sampler(cache, sizes=Fixed(70), budget=Images(4)))
