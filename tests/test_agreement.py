"""Image, mask, box and geometry of one finding agree: discs whose centre and area are known, through a cache.

Each film has a body of one grey on black, and a brighter disc in it, drawn with shares of pixels. The same disc is the
film's mask (the pixels whose centres it holds, as a reader would outline it) and its box. No resize moves the centroid
of a disc, so all four must name one point, at a stored size and at one that is made of it, under every fit.
"""

import imagecodecs
import numpy as np
import pandas as pd
import pytest
import torch

import resload
from resload.geometry import Crop, Pad, Stretch
from resload.masks.runs import encode_runs

GREY, BRIGHT = 30000, 48000
STORED, SERVED = 160, 90
SHAPES = ((420, 360), (330, 400), (391, 391), (520, 290), (300, 512), (449, 353))
FITS = {
    "stretch": Stretch(),
    "pad": Pad(),
    "pad top-left": Pad(value=0.5, align="top-left"),
    "pad chest-wall": Pad(align="chest-wall"),
    "pad field": Pad(field=(160.0, 150.0)),
    "crop centre": Crop(),
    "crop content": Crop(to="content"),
}


def discs():
    """(shape, (y, x) of the centre, radius) of each film, fractions of pixels in all of them."""
    rng = np.random.default_rng(7)
    for height, width in SHAPES:
        yield (height, width), (height / 2 + rng.uniform(-9, 9), width / 2 + rng.uniform(-9, 9)), rng.uniform(48, 58)


def drawn(shape, centre, radius, fine):
    """How much of each pixel the disc holds, from `fine` x `fine` points in it."""
    y, x = ((np.arange(side * fine) + 0.5) / fine for side in shape)
    inside = np.hypot(y[:, None] - centre[0], x - centre[1]) < radius
    return inside.reshape(shape[0], fine, shape[1], fine).mean(axis=(1, 3))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    root = tmp_path_factory.mktemp("discs")
    films, boxes, masks = [], [], []
    for number, (shape, centre, radius) in enumerate(discs()):
        name, share = f"disc{number}", drawn(shape, centre, radius, 8)
        film = np.zeros(shape)
        film[14:-10, 12:-16] = GREY
        film += share * (BRIGHT - GREY)
        (root / f"{name}.png").write_bytes(imagecodecs.png_encode(np.rint(film).astype(np.uint16)))
        films.append({"id": name, "path": f"{name}.png", "laterality": "LR"[number % 2], "y": centre[0], "x": centre[1],
                      "radius": radius, "spacing_y": 0.5, "spacing_x": 0.4})  # fmt: skip
        boxes.append({"id": name, "label": "disc", "x": centre[1] - radius, "y": centre[0] - radius,
                      "width": 2 * radius, "height": 2 * radius})  # fmt: skip
        runs = encode_runs(drawn(shape, centre, radius, 1) > 0, "kaggle")
        masks.append({"id": name, "label": "disc", "rle": runs, "rle_format": "kaggle"})
    return resload.Catalog(pd.DataFrame(films), boxes=pd.DataFrame(boxes), masks=pd.DataFrame(masks), root=root)


def centroid(weights):
    """(y, x) in pixels from the upper left corner."""
    weights = np.asarray(weights, np.float64)
    y, x = (np.arange(side) + 0.5 for side in weights.shape)
    return np.array([weights.sum(1) @ y, weights.sum(0) @ x]) / weights.sum()


def disc_of(image, centre, radii):
    """The disc in an image, as shares of what it adds to the grey around it."""
    y, x = (np.arange(side) + 0.5 for side in image.shape)
    near = np.hypot((y[:, None] - centre[0]) / (radii[0] + 3), (x - centre[1]) / (radii[1] + 3)) < 1
    return np.where(near, (image.astype(np.float64) - GREY) / (BRIGHT - GREY), 0)


def measured(batch, k, film):
    """What each of the four says of the disc of image k: its centre (y, x) in pixels of the image, and its area."""
    scale = batch.geometry.affine[k, :2].numpy()
    true = np.array([[film["y"], film["x"]]])
    nothing = np.zeros((0, 2))
    points = batch.geometry.to_target(points=[true if i == k else nothing for i in range(len(batch))])
    mapped = points[k][0].numpy()
    radii = film["radius"] * scale
    shown = disc_of(batch.images[k, 0].numpy(), mapped, radii)
    mask = batch.masks[k, 0].numpy() / 255
    x1, y1, x2, y2 = batch.boxes[k][0].double().tolist()
    centres = {"geometry": mapped, "image": centroid(shown), "mask": centroid(mask),
               "box": np.array([(y1 + y2) / 2, (x1 + x2) / 2])}  # fmt: skip
    areas = {"geometry": np.pi * radii.prod(), "image": shown.sum(), "mask": mask.sum(),
             "box": np.pi / 4 * (y2 - y1) * (x2 - x1)}  # fmt: skip
    return centres, areas


def disagreement(centres):
    """The largest distance, along an axis, between what any two say."""
    every = np.array(list(centres.values()))
    return float((every.max(axis=0) - every.min(axis=0)).max())


@pytest.fixture(scope="module", params=FITS)
def cache(request, catalog, tmp_path_factory):
    path = tmp_path_factory.mktemp("agreement") / "discs.zarr"
    columns = ("y", "x", "radius")
    aspect = "physical" if request.param == "pad chest-wall" else "pixel"
    return resload.build(
        catalog, path, (STORED,), fit=FITS[request.param], aspect=aspect, columns=columns, progress=False
    )


def only_batch(cache, size):
    with resload.Loader(cache, size=size, batch_size=len(cache), masks=True, boxes=True, dtype=torch.uint16) as loader:
        (batch,) = loader
    return batch


@pytest.mark.parametrize(("size", "within"), [(STORED, 0.05), (SERVED, 0.06)])
def test_image_mask_box_and_geometry_agree(cache, size, within):
    """Centres to 0.05 target pixel (0.06 through two stored roundings), areas to 1 %.

    Half a pixel in any one of them, along either axis, would be seen.
    """
    batch = only_batch(cache, size)
    films = cache.table.to_dict("records")
    for k, row in enumerate(batch.rows.tolist()):
        centres, areas = measured(batch, k, films[row])
        assert disagreement(centres) <= within, centres
        for name, area in areas.items():
            assert area == pytest.approx(areas["geometry"], rel=0.01), name
        for name, centre in centres.items():
            for half in np.eye(2) / 2:
                assert disagreement(centres | {name: centre + half}) > within, f"an error of half a pixel in {name}"


@pytest.mark.parametrize("size", [STORED, SERVED])
def test_half_a_pixel_in_the_pixels_themselves_is_seen(cache, size):
    """Images and masks moved by half a pixel, as resizes without half-pixel centres move them, no longer agree."""
    films = cache.table.to_dict("records")
    for axis in (-2, -1):
        for name in ("images", "masks"):
            batch = only_batch(cache, size)
            pixels = getattr(batch, name).to(torch.float64)
            setattr(batch, name, (pixels + pixels.roll(1, axis)) / 2)
            for k, row in enumerate(batch.rows.tolist()):
                assert disagreement(measured(batch, k, films[row])[0]) > 0.4


@pytest.mark.parametrize(("size", "within"), [(STORED, 0.05), (SERVED, 0.06)])
def test_there_and_back(cache, catalog, size, within):
    """Measured in the image and taken back, points, boxes and maps name the film's own disc."""
    batch = only_batch(cache, size)
    films = cache.table.to_dict("records")
    said = [measured(batch, k, films[row])[0] for k, row in enumerate(batch.rows.tolist())]
    points = batch.geometry.to_source(points=[np.stack([one["image"], one["mask"]]) for one in said])
    boxes = batch.geometry.to_source(boxes=batch.boxes)
    maps = batch.geometry.to_source(maps=batch.masks.float() / 255)
    again = batch.geometry.to_target(maps=maps)
    pixel = 1 / batch.geometry.affine[:, :2].numpy()  # of the image, in pixels of the film
    for k, row in enumerate(batch.rows.tolist()):
        film = films[row]
        true = np.array([film["y"], film["x"]])
        x1, y1, x2, y2 = boxes[k][0].tolist()
        found = [*points[k].numpy(), [(y1 + y2) / 2, (x1 + x2) / 2], centroid(maps[k][0])]
        assert (np.abs(found - true) <= within * pixel[k]).all()
        assert x2 - x1 == pytest.approx(2 * film["radius"], rel=1e-5)
        assert maps[k].shape == (1, film["height"], film["width"])
        assert float(maps[k].double().sum()) == pytest.approx(np.pi * film["radius"] ** 2, rel=0.01)
        assert np.abs(centroid(again[k, 0]) - said[k]["mask"]).max() <= within
