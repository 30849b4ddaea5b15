"""Mammography: exams of four views at 2100 x 1700 px, whole, and one answer for each exam.

    python examples/mammography_exams.py --data VinDr-Mammo/
    python examples/mammography_exams.py --data CBIS-DDSM/ --dataset cbis_ddsm
    python examples/mammography_exams.py --miniature           twelve tiny films, in seconds

The editorial (Lakhani 2020) has mammography at 1700 x 2100 px: a calcification is gone at 256. Radiologists read an
exam, not a film, and so does this network (as in Wu et al., IEEE TMI 2020;39:1184): one encoder sees the views L-CC,
R-CC, L-MLO and R-MLO, and the exam is as suspicious as its most suspicious view. `samplers.Groups` keeps exams whole:
place k of an exam is always view k, and a view that is missing is a place with `batch.valid` False. Breasts lie at
their chest wall (`Pad(align="chest-wall")`), at full depth. What a full run needs is in examples/README.md.
"""

import argparse
import json
from pathlib import Path

import torch
from monai.networks.nets import ResNet
from torch import nn

import resload
from resload import samplers
from resload.geometry import Pad
from resload.testing import write_miniature

VIEWS = ("L-CC", "R-CC", "L-MLO", "R-MLO")
TARGETS = {"vindr_mammo": "suspicious", "cbis_ddsm": "malignant"}


def main(argv: list[str] | None = None) -> None:
    """Train, and write the AUC over the exams of the test set to OUT/result.json."""
    args = arguments(argv)
    torch.manual_seed(0)
    fit = Pad(align="chest-wall")
    cache = resload.build(films(args), args.out / "exams.zarr", sizes=(args.size,), fit=fit, columns=("laterality",))
    by_rarity = samplers.RepeatFactor(TARGETS[args.dataset], threshold=0.25)
    train = exams(cache, "train", by_rarity, args, normalize="dataset", tail="pad")
    test = exams(cache, "test", samplers.Sequential(), args, normalize=train.normalization, tail="exact")
    model = Exams().to(args.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    losses = [trained(model, train, optimizer) for _ in range(args.epochs)]
    scores, truth = predicted(model, test)
    result = {
        "size": list(args.size),
        "losses": losses,
        "test_exams": len(scores),
        "test_loss": float(nn.functional.binary_cross_entropy(scores, truth)),
        "auc": auc(scores, truth),
    }
    (args.out / "result.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="VinDr-Mammo, or CBIS-DDSM")
    which.add_argument("--miniature", action="store_true", help="write tiny films to OUT, and train on them")
    parser.add_argument("--dataset", choices=sorted(TARGETS), default="vindr_mammo", help="default: vindr_mammo")
    parser.add_argument("--out", type=Path, default=Path("mammography-out"), help="default: mammography-out")
    parser.add_argument("--size", type=int, nargs=2, default=(2100, 1700), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--epochs", type=int, default=20, help="default: 20")
    parser.add_argument("--exams", type=int, default=4, help="in a batch (default: 4, which are 16 films)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    if args.miniature:
        args.data = write_miniature(args.dataset, args.out / "data")
        args.size, args.epochs, args.exams = (84, 68), 1, 2
    args.size = tuple(args.size)
    return args


def films(args: argparse.Namespace) -> resload.Catalog:
    """The data set with an official split; that of CBIS-DDSM has patients in both parts, so another is made."""
    catalog = getattr(resload.datasets, args.dataset)(args.data)
    if args.dataset == "cbis_ddsm":
        return catalog.split({"train": 0.8, "test": 0.2}, by="patient", seed=0)
    return catalog


def exams(
    cache: resload.Cache, split: str, order: object, args: argparse.Namespace, *, normalize: object, tail: str
) -> resload.Loader:
    """Whole exams of a split, in an order of exams; an exam is four places of a batch."""
    sampler = samplers.Sampler(
        cache,
        rows=cache.rows(split=split),
        order=samplers.Groups("group", slots=VIEWS, order=order, draw="exam"),
        sizes=samplers.Fixed(args.size),
        budget=samplers.Images(args.exams * len(VIEWS)),
        tail=tail,
    )
    return resload.Loader(cache, sampler=sampler, normalize=normalize, device=args.device)


class Exams(nn.Module):
    """Four views of each exam (4 E, 1, H, W) and whether they are there (4 E,) -> logits of the exams (E,)."""

    def __init__(self) -> None:
        super().__init__()
        self.view = ResNet(
            *("basic", [2, 2, 2, 2], [16, 32, 64, 128]),
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_stride=2,
            norm=("group", {"num_groups": 8}),  # a batch has too few exams for batch statistics
            num_classes=1,
        )

    def forward(self, images: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        logits = self.view(images)[:, 0].masked_fill(~there, float("-inf"))
        return logits.unflatten(0, (-1, len(VIEWS))).amax(dim=1)


def truth_of(batch: resload.Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether each exam has a finding in any view, (E,), and whether that is known."""
    known = batch.known[:, 0].unflatten(0, (-1, len(VIEWS)))
    found = batch.targets[:, 0].nan_to_num(0).unflatten(0, (-1, len(VIEWS)))
    return found.amax(dim=1), known.any(dim=1)


def trained(model: nn.Module, loader: resload.Loader, optimizer: torch.optim.Optimizer) -> float:
    """One epoch; returns the mean loss of its steps."""
    model.train()
    losses = []
    for batch in loader:
        truth, known = truth_of(batch)
        logits = model(batch.images, batch.valid.to(batch.images.device))
        loss = nn.functional.binary_cross_entropy_with_logits(logits[known], truth[known])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


@torch.no_grad()
def predicted(model: nn.Module, loader: resload.Loader) -> tuple[torch.Tensor, torch.Tensor]:
    """Probability and truth of every exam of a loader whose truth is known, (E,) each."""
    model.eval()
    scores, truths = [], []
    for batch in loader:
        truth, known = truth_of(batch)
        scores.append(model(batch.images, batch.valid.to(batch.images.device)).sigmoid()[known].cpu())
        truths.append(truth[known].cpu())
    return torch.cat(scores), torch.cat(truths)


def auc(scores: torch.Tensor, truth: torch.Tensor) -> float | None:
    """Area under the ROC curve: how often a positive has the higher score, ties as half; None without both classes."""
    positive, negative = scores[truth == 1], scores[truth == 0].sort().values
    if not len(positive) or not len(negative):
        return None
    lower = torch.searchsorted(negative, positive) + torch.searchsorted(negative, positive, right=True)
    return float(lower.double().mean() / (2 * len(negative)))


if __name__ == "__main__":
    main()
