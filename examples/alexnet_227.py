"""AlexNet on chest films at 227 px: the size that a network for photographs has made usual.

    python examples/alexnet_227.py --data NIH/                 ChestX-ray14, as downloaded
    python examples/alexnet_227.py --miniature                 six tiny films, in seconds

The editorial (Lakhani, Radiology: AI 2020;2(1):e190177) begins with this network: 227 x 227 pixels of three colours
(Krizhevsky 2012), taken over for radiographs. Here every film is three equal channels, normalised by the mean and
standard deviation of the training films, and the fourteen findings are learned at once. `--size 448` is the same
network with another size of film. What a full run needs is in examples/README.md.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import nn

import resload
from resload.testing import write_miniature


def main(argv: list[str] | None = None) -> None:
    """Build the cache, train, and write the AUC of each finding to OUT/result.json."""
    args = arguments(argv)
    torch.manual_seed(0)
    cache = resload.build(divided(resload.datasets.chestxray14(args.data)), args.out / "films.zarr", sizes=(args.size,))
    common = {"size": args.size, "batch_size": args.batch_size, "channels": 3, "normalize": "dataset"}
    train = resload.Loader(cache, split="train", shuffle=True, device=args.device, **common)
    test = resload.Loader(cache, split="test", device=args.device, **common)
    model = network(len(cache.targets)).to(args.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    losses = [trained(model, train, optimizer) for _ in range(args.epochs)]
    scores, truth = predicted(model, test)
    aucs = {name: auc(scores[:, k], truth[:, k]) for k, name in enumerate(cache.targets)}
    result = {"size": args.size, "test_films": len(scores), "losses": losses, "auc": aucs}
    (args.out / "result.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="ChestX-ray14")
    which.add_argument("--miniature", action="store_true", help="write tiny films to OUT, and train on them")
    parser.add_argument("--out", type=Path, default=Path("alexnet-out"), help="default: alexnet-out")
    parser.add_argument("--size", type=int, default=227, help="height and width (default: 227)")
    parser.add_argument("--epochs", type=int, default=20, help="default: 20")
    parser.add_argument("--batch-size", type=int, default=128, help="default: 128")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    if args.miniature:
        args.data = write_miniature("chestxray14", args.out / "data", lists="")
        args.epochs, args.batch_size = 1, 2
    return args


def divided(catalog: resload.Catalog) -> resload.Catalog:
    """The official test films; all films divided by patient where the official lists are not there."""
    if "split" in catalog.table:
        return catalog
    return catalog.split({"train": 0.8, "test": 0.2}, by="patient", seed=0)


def network(targets: int) -> nn.Sequential:
    """AlexNet, its two halves on one device: (B, 3, 227, 227) -> logits (B, targets)."""
    return nn.Sequential(
        *(nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2)),  # 227 -> 27
        *(nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2)),  # 27 -> 13
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),  # 13 -> 6
        *(nn.AdaptiveAvgPool2d(6), nn.Flatten()),  # changes nothing at 227, and lets other sizes in
        *(nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, targets),
    )


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
    """Probabilities and targets of every film of a loader, (N, T) each."""
    model.eval()
    pairs = [(model(images).sigmoid().cpu(), targets.cpu()) for images, targets in loader]
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
