"""Lesions with boxes: a detector for mammograms at 2100 x 1700 px, its boxes in pixels of the films.

    python examples/lesion_detection.py --data VinDr-Mammo/
    python examples/lesion_detection.py --data VinDr-CXR/ --dataset vindr_cxr --size 1024 1024
    python examples/lesion_detection.py --miniature            twelve tiny films, in seconds

The editorial (Lakhani 2020) has detection at 1700 x 2100 px (Ribli, Sci Rep 2018;8:4165, with Faster R-CNN). This
detector has no anchors and needs no package but torch: a map of how likely the centre of a lesion lies in each cell
of 8 x 8 px, and its height and width there (simplified from Zhou, Objects as Points, arXiv 1904.07850). Boxes follow
the films into the images and back: `Loader(boxes=True)`, `batch.detection_targets()`,
`batch.geometry.to_source(boxes=...)`. As many films without a box as with one are seen. What a full run needs is in
examples/README.md.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import pandas as pd
import torch
from torch import nn

import resload
from resload import samplers
from resload.geometry import Pad
from resload.testing import write_miniature

STRIDE = 8
"""Pixels of the image in a cell of the maps, each way."""
KEPT = 5
"""Boxes that are kept of each film."""


def main(argv: list[str] | None = None) -> None:
    """Train; write the boxes of the test films to OUT/boxes.csv, and how many lesions they hit to OUT/result.json."""
    args = arguments(argv)
    torch.manual_seed(0)
    catalog = getattr(resload.datasets, args.dataset)(args.data)
    fit = Pad(align="chest-wall") if args.dataset == "vindr_mammo" else Pad()
    cache = resload.build(catalog, args.out / "films.zarr", sizes=(args.size,), fit=fit)
    train = with_boxes(cache, args)
    labels = train.box_names
    model = Detector(len(labels)).to(args.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)
    losses = [trained(model, train, optimizer) for _ in range(args.epochs)]
    common = {"size": args.size, "batch_size": args.batch_size, "boxes": True, "device": args.device}
    with resload.Loader(cache, split="test", normalize=train.normalization, **common) as test:
        found = detected(model, test)
    found.to_csv(args.out / "boxes.csv", index=False)
    result = {"losses": losses, "boxes": len(found), "labels": list(labels), **hits(found, cache)}
    (args.out / "result.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="the data set")
    which.add_argument("--miniature", action="store_true", help="write tiny films to OUT, and train on them")
    parser.add_argument("--dataset", choices=("vindr_mammo", "vindr_cxr"), default="vindr_mammo")
    parser.add_argument("--out", type=Path, default=Path("lesions-out"), help="default: lesions-out")
    parser.add_argument("--size", type=int, nargs=2, default=(2100, 1700), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--epochs", type=int, default=50, help="default: 50")
    parser.add_argument("--batch-size", type=int, default=8, help="default: 8")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    if args.miniature:
        args.data = write_miniature(args.dataset, args.out / "data")
        args.size, args.epochs, args.batch_size = (84, 68), 1, 4
    args.size = tuple(args.size)
    return args


def with_boxes(cache: resload.Cache, args: argparse.Namespace) -> resload.Loader:
    """The training films: all with a box, and as many without, others each epoch."""
    boxed = cache.table["id"].isin(cache.boxes["id"]).to_numpy()
    sampler = samplers.Sampler(
        cache,
        rows=cache.rows(split="train"),
        order=samplers.Balanced(boxed.astype(float)),
        sizes=samplers.Fixed(args.size),
        budget=samplers.Images(args.batch_size),
        tail="pad",
    )
    return resload.Loader(cache, sampler=sampler, boxes=True, normalize="dataset", device=args.device)


class Detector(nn.Module):
    """(B, 1, H, W) -> centres (B, labels, h, w), logits, and sides (B, 2, h, w), log of pixels; h is ceil(H / 8)."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        widths, layers = (1, 32, 64, 128), []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.ReLU()]
        for dilation in (1, 2, 4, 8, 16):  # a cell sees about 500 px of the image around it
            layers += [nn.Conv2d(128, 128, 3, padding=dilation, dilation=dilation), nn.GroupNorm(8, 128), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.centres, self.sides = nn.Conv2d(128, labels, 1), nn.Conv2d(128, 2, 1)
        nn.init.constant_(self.centres.bias, -4.6)  # lesions are rare: one cell in a hundred to begin with

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.features(images)
        return self.centres(features), self.sides(features)


def trained(model: nn.Module, loader: resload.Loader, optimizer: torch.optim.Optimizer) -> float:
    """One epoch; returns the mean loss of its steps."""
    model.train()
    losses = []
    for batch in loader:
        loss = detection_loss(*model(batch.images), batch.detection_targets())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def detection_loss(centres: torch.Tensor, sides: torch.Tensor, targets: list[dict[str, torch.Tensor]]) -> torch.Tensor:
    """Focal loss of the centres, less near one, and the difference of the logarithms of the sides at the centres."""
    wanted, of_sides, count = torch.zeros_like(centres), sides.sum() * 0, 0
    rows, columns = (torch.arange(cells, device=centres.device) for cells in centres.shape[2:])
    for place, target in enumerate(targets):
        for box, label in zip(target["boxes"].to(centres.device), target["labels"] - 1, strict=True):
            x, y = ((box[:2] + box[2:]) / 2 / STRIDE).long().tolist()
            lengths = (box[2:] - box[:2]).clamp(min=1)
            wide, high = (lengths / STRIDE / 6).clamp(min=0.5)
            hill = torch.exp(-(((columns - x) / wide) ** 2 + ((rows[:, None] - y) / high) ** 2) / 2)
            wanted[place, label] = torch.maximum(wanted[place, label], hill)
            of_sides = of_sides + (sides[place, :, y, x] - lengths.log()).abs().sum()
            count += 1
    likely, there = centres.sigmoid(), wanted == 1
    hit = (1 - likely) ** 2 * nn.functional.logsigmoid(centres) * there
    miss = (1 - wanted) ** 4 * likely**2 * nn.functional.logsigmoid(-centres) * ~there
    return (0.1 * of_sides - hit.sum() - miss.sum()) / max(count, 1)


@torch.no_grad()
def detected(model: nn.Module, loader: resload.Loader) -> pd.DataFrame:
    """The likeliest boxes of each film: id, label, score, x, y, width, height in pixels of the film."""
    model.eval()
    found = []
    for batch in loader:
        centres, sides = model(batch.images)
        scores = centres.sigmoid()
        peaks = scores * (nn.functional.max_pool2d(scores, 3, 1, 1) == scores)
        best, at = peaks.flatten(1).topk(KEPT)
        labels, cells = at // peaks[0, 0].numel(), at % peaks[0, 0].numel()
        middles = torch.stack([cells % peaks.shape[3] + 0.5, cells // peaks.shape[3] + 0.5], dim=2) * STRIDE
        lengths = sides.flatten(2).gather(2, cells[:, None].expand(-1, 2, -1)).transpose(1, 2).exp()
        boxes = batch.geometry.to_source(boxes=torch.cat([middles - lengths / 2, middles + lengths / 2], dim=2))
        for name, film, some, score, label in zip(batch.ids, batch.geometry.shapes, boxes, best, labels, strict=True):
            x1, y1, x2, y2 = some.clamp(min=0).minimum(film.flip(0).repeat(2)).unbind(1)
            names = [loader.box_names[k] for k in label.tolist()]
            table = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
            found.append(pd.DataFrame({"id": name, "label": names, "score": score.cpu(), **table}))
    return pd.concat(found, ignore_index=True)


def hits(found: pd.DataFrame, cache: resload.Cache) -> dict[str, float | int | None]:
    """How many lesions of the test films have the centre of one of KEPT boxes inside them, whatever its label."""
    true = cache.boxes[cache.boxes["id"].isin(cache.table["id"][cache.rows(split="test")])]
    pairs = true.reset_index(names="lesion").merge(found, on="id", suffixes=("", "_found"))
    x, y = pairs["x_found"] + pairs["width_found"] / 2, pairs["y_found"] + pairs["height_found"] / 2
    inside = x.between(pairs["x"], pairs["x"] + pairs["width"]) & y.between(pairs["y"], pairs["y"] + pairs["height"])
    hit = int(inside.groupby(pairs["lesion"]).any().sum())
    return {"lesions": len(true), "hit": hit, "sensitivity": hit / len(true) if len(true) else None}


if __name__ == "__main__":
    main()
