"""Tuberculosis: trained on Shenzhen, tested on Montgomery, at two sizes with the same code.

    python examples/tuberculosis.py --data TB/                 a folder with ChinaSet_AllFiles/ and MontgomerySet/
    python examples/tuberculosis.py --miniature                nine tiny films, in seconds

Films of one hospital in China, and an external test on those of a county in the USA (Jaeger 2014): the question of
Lakhani and Sundaram (Radiology 2017;284:574), who trained at 256 px. The released films are as large as the detectors
made them (about 3000 x 3000 and 4020 x 4892), so what 256 px loses can be asked: `--sizes 256 512 1024`. One decode
makes all sizes. Do not train on TBX11K besides: it contains the films of both sets. What a full run needs is in
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
    """Train at each size, and write the AUC on the films of both sets to OUT/result.json."""
    args = arguments(argv)
    cache = resload.build(films(args.data), args.out / "films.zarr", sizes=args.sizes)
    result = {size: at_size(cache, size, args) for size in args.sizes}
    (args.out / "result.json").write_text(json.dumps(result, indent=1))
    for size, found in result.items():
        print(f"{size:>5} px: Shenzhen (validation) AUC {found['val']}, Montgomery (external) AUC {found['test']}")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="holds ChinaSet_AllFiles/ and MontgomerySet/")
    which.add_argument("--miniature", action="store_true", help="write tiny films to OUT, and train on them")
    parser.add_argument("--out", type=Path, default=Path("tuberculosis-out"), help="default: tuberculosis-out")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="default: 256 512")
    parser.add_argument("--epochs", type=int, default=50, help="default: 50")
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    if args.miniature:
        args.data = args.out / "data"
        for name in ("shenzhen", "montgomery"):
            write_miniature(name, args.data, side=120)
        args.sizes, args.epochs, args.batch_size = [48, 64], 1, 2
    return args


def films(folder: Path) -> resload.Catalog:
    """Both sets in one catalog: Shenzhen's films are for training and validation, Montgomery's for the test."""
    shenzhen = resload.datasets.shenzhen(folder, masks=False).split({"train": 0.8, "val": 0.2}, seed=0)
    montgomery = resload.datasets.montgomery(folder, masks=False).split({"test": 1.0})
    return resload.Catalog.concat({"shenzhen": shenzhen, "montgomery": montgomery})


def at_size(cache: resload.Cache, size: int, args: argparse.Namespace) -> dict[str, float | None]:
    """Train one network from scratch; the AUC of each set of films it was not trained on, and the last loss."""
    torch.manual_seed(0)
    common = {"size": size, "batch_size": args.batch_size, "normalize": "dataset", "device": args.device}
    model = DenseNet121(spatial_dims=2, in_channels=1, out_channels=1).to(args.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    with resload.Loader(cache, split="train", shuffle=True, drop_last=True, **common) as train:
        for _ in range(args.epochs):
            loss = trained(model, train, optimizer)
    found: dict[str, float | None] = {"loss": loss}
    for split in ("val", "test"):
        with resload.Loader(cache, split=split, **common) as loader:
            found[split] = auc(*predicted(model, loader))
    return found


def trained(model: nn.Module, loader: resload.Loader, optimizer: torch.optim.Optimizer) -> float:
    """One epoch; returns the mean loss of its steps."""
    model.train()
    losses = []
    for batch in loader:
        loss = resload.masked_bce(model(batch.images), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


@torch.no_grad()
def predicted(model: nn.Module, loader: resload.Loader) -> tuple[torch.Tensor, torch.Tensor]:
    """Probability and truth of every film of a loader, (N,) each."""
    model.eval()
    pairs = [(model(images)[:, 0].sigmoid().cpu(), targets[:, 0].cpu()) for images, targets in loader]
    return torch.cat([scores for scores, _ in pairs]), torch.cat([truth for _, truth in pairs])


def auc(scores: torch.Tensor, truth: torch.Tensor) -> float | None:
    """Area under the ROC curve: how often a positive has the higher score, ties as half; None without both classes."""
    positive, negative = scores[truth == 1], scores[truth == 0].sort().values
    if not len(positive) or not len(negative):
        return None
    lower = torch.searchsorted(negative, positive) + torch.searchsorted(negative, positive, right=True)
    return float(lower.double().mean() / (2 * len(negative)))


if __name__ == "__main__":
    main()
