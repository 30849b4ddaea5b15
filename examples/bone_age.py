"""Bone age in months from films of hands at 512 px, with the child's sex as a second input.

    python examples/bone_age.py --data BoneAge/                RSNA's or Kaggle's folder
    python examples/bone_age.py --miniature                    eight tiny films, in seconds

The editorial (Lakhani 2020) has bone age among the tasks that wanted 500 px and more; the challenge (Halabi,
Radiology 2019;290:498) is judged by the mean absolute difference in months. Films have many shapes, and a hand that
is stretched to a square is another hand: `fit="pad"` keeps its shape. The age of a boy's and of a girl's bones are
read differently, so sex travels with the batch (`columns=`) and joins the features. What a full run needs is in
examples/README.md.
"""

import argparse
import json
from pathlib import Path

import torch
from monai.networks.nets import DenseNet121
from torch import nn

import resload
from resload.testing import write_miniature


def main(argv: list[str] | None = None) -> None:
    """Train, and write the mean absolute difference in months of each official part to OUT/result.json."""
    args = arguments(argv)
    torch.manual_seed(0)
    catalog = resload.datasets.rsna_bone_age(args.data)
    cache = resload.build(catalog, args.out / "hands.zarr", sizes=(args.size,), fit="pad", columns=("sex",))
    ages = cache.table.loc[cache.rows(split="train"), "boneage"]
    model = BoneAge(ages.mean(), ages.std()).to(args.device)
    common = {"size": args.size, "batch_size": args.batch_size, "columns": ("sex",), "device": args.device}
    train = resload.Loader(cache, split="train", shuffle=True, normalize="dataset", **common)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(train))
    losses = [trained(model, train, optimizer, schedule) for _ in range(args.epochs)]
    result = {"size": args.size, "training_months": losses}
    for split in ("val", "test"):
        with resload.Loader(cache, split=split, normalize=train.normalization, **common) as loader:
            result[f"{split}_months"] = difference(model, loader)
    (args.out / "result.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="RSNA Bone Age")
    which.add_argument("--miniature", action="store_true", help="write tiny films to OUT, and train on them")
    parser.add_argument("--out", type=Path, default=Path("bone-age-out"), help="default: bone-age-out")
    parser.add_argument("--size", type=int, default=512, help="height and width (default: 512)")
    parser.add_argument("--epochs", type=int, default=60, help="default: 60")
    parser.add_argument("--batch-size", type=int, default=32, help="default: 32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    if args.miniature:
        args.data = write_miniature("rsna_bone_age", args.out / "data")
        args.size, args.epochs, args.batch_size = 64, 1, 2
    return args


class BoneAge(nn.Module):
    """A film (B, 1, H, W) and a sex (B,), 1 for male -> months (B,). Mean and spread are those of the training ages."""

    def __init__(self, mean: float, spread: float) -> None:
        super().__init__()
        self.mean, self.spread = float(mean), float(spread)
        self.film = DenseNet121(spatial_dims=2, in_channels=1, out_channels=256)
        self.sex = nn.Linear(1, 32)
        self.age = nn.Sequential(nn.ReLU(), nn.Linear(256 + 32, 256), nn.ReLU(), nn.Linear(256, 1))

    def forward(self, images: torch.Tensor, male: torch.Tensor) -> torch.Tensor:
        features = torch.cat([self.film(images), self.sex(male[:, None])], dim=1)
        return self.age(features)[:, 0] * self.spread + self.mean


def months(model: nn.Module, batch: resload.Batch) -> torch.Tensor:
    """The model's bone ages of a batch."""
    male = torch.tensor([float(sex == "M") for sex in batch.columns["sex"]], device=batch.images.device)
    return model(batch.images, male)


def trained(
    model: nn.Module,
    loader: resload.Loader,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    """One epoch; returns the mean absolute difference of its steps, in months."""
    model.train()
    losses = []
    for batch in loader:
        known = batch.known[:, 0]
        loss = (months(model, batch) - batch.targets[:, 0])[known].abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


@torch.no_grad()
def difference(model: nn.Module, loader: resload.Loader) -> float:
    """The mean absolute difference over all films whose age is known, in months; NaN where none is."""
    model.eval()
    found = [(months(model, batch) - batch.targets[:, 0])[batch.known[:, 0]].abs().cpu() for batch in loader]
    return float(torch.cat(found).mean())


if __name__ == "__main__":
    main()
