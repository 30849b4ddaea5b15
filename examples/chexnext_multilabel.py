"""CheXNeXt-style: fourteen findings at once from chest films of 512 px, with a DenseNet-121.

    python examples/chexnext_multilabel.py --data NIH/
    python examples/chexnext_multilabel.py --miniature         six tiny films, in seconds

The editorial (Lakhani 2020) names CheXNeXt (Rajpurkar, PLoS Med 2018;15(11):e1002686) among the models that see more
than the usual 256 px. One network, MONAI's DenseNet121, has an output for each finding of ChestX-ray14; films of rare
findings come more often, unknown labels do not count, and the epoch with the lowest loss on the validation patients
is kept. OUT/model.json is how films become tensors for it, for `Pipeline.load` in the clinic. It is one network from
scratch, where the paper averages ten. What a full run needs is in examples/README.md.
"""

import argparse
import json
from pathlib import Path

import torch
from monai.networks.nets import DenseNet121
from monai.transforms import RandFlip
from torch import nn

import resload
from resload import samplers
from resload.testing import write_miniature


def main(argv: list[str] | None = None) -> None:
    """Train, keep the best epoch, and write its AUC of each finding to OUT/result.json."""
    args = arguments(argv)
    torch.manual_seed(0)
    cache = resload.build(divided(resload.datasets.chestxray14(args.data)), args.out / "films.zarr", sizes=(args.size,))
    train = balanced(cache, args)
    common = {"size": args.size, "batch_size": args.batch_size, "device": args.device}
    val, test = (resload.Loader(cache, split=one, normalize=train.normalization, **common) for one in ("val", "test"))
    train.pipeline.save(args.out / "model.json")
    model = network(len(cache.targets)).to(args.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    epochs = []
    for epoch in range(args.epochs):
        epochs.append({"train": trained(model, train, optimizer), "val": evaluated(model, val)[0]})
        print(f"epoch {epoch}: {epochs[-1]}")
        if epochs[-1]["val"] == min(one["val"] for one in epochs):
            torch.save(model.state_dict(), args.out / "best.pt")
    model.load_state_dict(torch.load(args.out / "best.pt", weights_only=True))
    loss, scores, truth = evaluated(model, test)
    aucs = {name: auc(scores[:, k], truth[:, k]) for k, name in enumerate(cache.targets)}
    result = {"size": args.size, "epochs": epochs, "test_films": len(scores), "test_loss": loss, "auc": aucs}
    (args.out / "result.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(aucs, indent=1))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="ChestX-ray14")
    which.add_argument("--miniature", action="store_true", help="write tiny films to OUT, and train on them")
    parser.add_argument("--out", type=Path, default=Path("chexnext-out"), help="default: chexnext-out")
    parser.add_argument("--size", type=int, default=512, help="height and width (default: 512)")
    parser.add_argument("--epochs", type=int, default=10, help="default: 10")
    parser.add_argument("--batch-size", type=int, default=32, help="default: 32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    if args.miniature:
        args.data = write_miniature("chestxray14", args.out / "data", lists="")
        args.size, args.epochs, args.batch_size = 64, 1, 2
    return args


def divided(catalog: resload.Catalog) -> resload.Catalog:
    """The official test films, and a tenth of the other patients for validation; without the lists, by patient too."""
    if "split" in catalog.table:
        return catalog.split({"train": 0.9, "val": 0.1}, by="patient", within="train", seed=0)
    return catalog.split({"train": 0.7, "val": 0.1, "test": 0.2}, by="patient", seed=0)


def network(targets: int) -> nn.Module:
    """(B, 1, H, W) -> logits (B, targets)."""
    return DenseNet121(spatial_dims=2, in_channels=1, out_channels=targets)


def balanced(cache: resload.Cache, args: argparse.Namespace) -> resload.Loader:
    """The training films, those with a rare finding several times an epoch, half of them mirrored."""
    sampler = samplers.Sampler(
        cache,
        rows=cache.rows(split="train"),
        order=samplers.RepeatFactor(threshold=0.05),
        sizes=samplers.Fixed(args.size),
        budget=samplers.Images(args.batch_size),
        tail="pad",
    )
    mirror = RandFlip(prob=0.5, spatial_axis=1)
    return resload.Loader(cache, sampler=sampler, normalize="dataset", transform=mirror, device=args.device)


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
def evaluated(model: nn.Module, loader: resload.Loader) -> tuple[float, torch.Tensor, torch.Tensor]:
    """The loss over all films of a loader, their probabilities and their targets, (N, T) each."""
    model.eval()
    pairs = [(model(images).cpu(), targets.cpu()) for images, targets in loader]
    logits, truth = torch.cat([one for one, _ in pairs]), torch.cat([one for _, one in pairs])
    known = truth.isfinite()
    loss = nn.functional.binary_cross_entropy_with_logits(logits[known], truth[known])
    return float(loss), logits.sigmoid(), truth


def auc(scores: torch.Tensor, truth: torch.Tensor) -> float | None:
    """Area under the ROC curve: how often a positive has the higher score, ties as half; None without both classes."""
    positive, negative = scores[truth == 1], scores[truth == 0].sort().values
    if not len(positive) or not len(negative):
        return None
    lower = torch.searchsorted(negative, positive) + torch.searchsorted(negative, positive, right=True)
    return float(lower.double().mean() / (2 * len(negative)))


if __name__ == "__main__":
    main()
