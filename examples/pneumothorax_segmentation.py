"""Outlines of pneumothoraces: a U-Net on films of 512 px first, then of 1024, judged at the films' own size.

    python examples/pneumothorax_segmentation.py --data SIIM/
    python examples/pneumothorax_segmentation.py --miniature   five small films, in seconds

The editorial (Lakhani 2020) has the SIIM-ACR challenge as the task where 1024 px won. Training begins at 512 px,
where a step is a quarter of the work, and ends at 1024 (`samplers.Stages`): the size is one rule of the sampler, the
loop does not know of it. Half of the films of an epoch have a pneumothorax. Masks are coverage, so a pixel that is
half inside is 0.5. Dice is computed on the film's own 1024 x 1024 pixels whatever the size of the input, so that
sizes can be compared. Patients are not known here, and films are those of ChestX-ray14. What a full run needs is in
examples/README.md.
"""

import argparse
import json
from pathlib import Path

import torch
from monai.networks.nets import UNet
from torch import nn

import resload
from resload import samplers
from resload.masks.read import film_masks
from resload.testing import write_miniature


def main(argv: list[str] | None = None) -> None:
    """Train through the sizes, and write the Dice that each gives at the films' own size to OUT/result.json."""
    args = arguments(argv)
    torch.manual_seed(0)
    catalog = resload.datasets.siim_pneumothorax(args.data, unlabelled="skip")
    catalog = catalog.split({"train": 0.8, "val": 0.2}, by="id", seed=0)
    cache = resload.build(catalog, args.out / "films.zarr", sizes=args.sizes)
    stages = samplers.Stages(*((size, args.epochs) for size in args.sizes))
    sampler = samplers.Sampler(
        cache,
        rows=cache.rows(split="train"),
        order=samplers.Balanced("pneumothorax"),
        sizes=stages,
        budget=samplers.Images(args.batch_size),
        tail="pad",
    )
    train = resload.Loader(cache, sampler=sampler, masks=True, normalize="dataset", device=args.device)
    model = network().to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    epochs = []
    for epoch in range(args.epochs * len(args.sizes)):
        size, loss = trained(model, train, optimizer)
        epochs.append({"size": size, "loss": loss})
        print(f"epoch {epoch} at {size}: loss {loss:.4f}")
    result = {"epochs": epochs, "dice": {size: dice(model, cache, catalog, size, args, train) for size in args.sizes}}
    (args.out / "result.json").write_text(json.dumps(result, indent=1))
    print("Dice at the films' own size:", result["dice"])


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="SIIM-ACR Pneumothorax")
    which.add_argument("--miniature", action="store_true", help="write small films to OUT, and train on them")
    parser.add_argument("--out", type=Path, default=Path("pneumothorax-out"), help="default: pneumothorax-out")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024], help="in turn (default: 512 1024)")
    parser.add_argument("--epochs", type=int, default=15, help="at each size (default: 15)")
    parser.add_argument("--batch-size", type=int, default=8, help="default: 8")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    if args.miniature:
        args.data = write_miniature("siim_pneumothorax", args.out / "data")
        args.sizes, args.epochs, args.batch_size = [64, 128], 1, 2
    return args


def network() -> nn.Module:
    """(B, 1, H, W) -> logits (B, 1, H, W); H and W are multiples of 32."""
    channels, strides = (32, 64, 128, 256, 512, 512), (2, 2, 2, 2, 2)
    return UNet(spatial_dims=2, in_channels=1, out_channels=1, channels=channels, strides=strides, num_res_units=2)


def trained(model: nn.Module, loader: resload.Loader, optimizer: torch.optim.Optimizer) -> tuple[str, float]:
    """One epoch; returns the size of its films and the mean loss of its steps."""
    model.train()
    losses = []
    for batch in loader:
        loss = outline_loss(model(batch.images), batch.masks.float() / 255, batch.masks_known)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return str(batch.size), float(torch.stack(losses).mean())


def outline_loss(logits: torch.Tensor, coverage: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus soft Dice of the masks that are known; a mask that is known to be empty counts."""
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, coverage, reduction="none").mean(dim=(2, 3))
    found = logits.sigmoid()
    common, both = (found * coverage).sum(dim=(2, 3)), (found + coverage).sum(dim=(2, 3))
    return (entropy + 1 - (2 * common + 1) / (both + 1))[known].mean()


@torch.no_grad()
def dice(
    model: nn.Module, cache: resload.Cache, catalog: resload.Catalog, size: int, args: argparse.Namespace,
    train: resload.Loader,
) -> float:  # fmt: skip
    """Mean Dice of the validation films on their own pixels, as the challenge counts: 1 where both are empty."""
    model.eval()
    by_film = dict(tuple(catalog.masks.groupby("id")))
    common = {"size": size, "batch_size": args.batch_size, "device": args.device}
    scores = []
    for batch in resload.Loader(cache, split="val", normalize=train.normalization, **common):
        maps = batch.geometry.to_source(maps=model(batch.images).sigmoid())
        for name, native in zip(batch.ids, maps, strict=True):
            (truth,), _ = film_masks(by_film[name], ["pneumothorax"], native.shape[1:], catalog.root)
            found, true = native[0] >= 0.5, torch.from_numpy(truth)
            area = int(found.sum() + true.sum())
            scores.append(2 * int((found & true).sum()) / area if area else 1.0)
    return sum(scores) / len(scores)


if __name__ == "__main__":
    main()
