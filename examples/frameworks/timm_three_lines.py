"""An ordinary timm script for films in class folders, changed in three lines.

    python examples/frameworks/timm_three_lines.py --data films/               films/train/nodule/1.png ...
    python examples/frameworks/timm_three_lines.py --miniature                 tiny films, in seconds

What stood there is above each changed line, as `# before:`. timm's models take three colours: `channels=3` repeats
the gray. It needs timm (`pip install timm`), which brings torchvision: the one that belongs to your torch.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from torch import nn

# before: from timm.data import create_dataset, create_loader
import resload

SPLITS = ("train", "val")


def main(argv: list[str] | None = None) -> None:
    args = arguments(argv)
    timm = needed_timm()
    torch.manual_seed(0)
    classes = len(list((args.data / "train").iterdir()))
    model = timm.create_model(args.model, num_classes=classes).to(args.device)
    train, val = (loader_of(split, args) for split in SPLITS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in range(args.epochs):
        model.train()
        for images, labels in train:
            loss = nn.functional.cross_entropy(model(images.to(args.device)), labels.to(args.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {validated(model, val, args.device):.4f}")
    result = {"val_loss": validated(model, val, args.device)}
    (args.out / "result.json").write_text(json.dumps(result))


def loader_of(split: str, args: argparse.Namespace):
    """Batches of images and labels of the films below train/ or val/."""
    # before: films = create_dataset("", args.data, split=split)
    films = resload.build(resload.Catalog.from_folder(args.data), args.out / "films.zarr", sizes=(args.size,))
    # before: shape = (3, args.size, args.size)
    #         return create_loader(films, shape, 16, is_training=split == "train", use_prefetcher=False, num_workers=2)
    return resload.Loader(films, size=args.size, batch_size=16, split=split, shuffle=split == "train", channels=3)


@torch.no_grad()
def validated(model: nn.Module, loader: object, device: str) -> float:
    """The mean loss of the validation batches."""
    model.eval()
    pairs = [(model(images.to(device)), labels.to(device)) for images, labels in loader]
    losses = [nn.functional.cross_entropy(outputs, labels).item() for outputs, labels in pairs]
    return math.fsum(losses) / len(losses)


def needed_timm():
    """timm, or how to get it."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error.name} is needed and is not installed: pip install timm") from error
    return timm


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="class folders below train/ and val/")
    which.add_argument("--miniature", action="store_true", help="write tiny films to OUT, and train on them")
    parser.add_argument("--out", type=Path, default=Path("timm-out"), help="default: timm-out")
    parser.add_argument("--model", default="resnet18", help="one of timm's (default: resnet18)")
    parser.add_argument("--size", type=int, default=256, help="height and width (default: 256)")
    parser.add_argument("--epochs", type=int, default=10, help="default: 10")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.miniature:
        args.data, args.size, args.epochs = miniature(args.out / "data"), 48, 1
    return args


def miniature(folder: Path) -> Path:
    """Synthetic films in the class folders `nodule` and `other`, below `train` and `val`."""
    from resload.testing import write_synthetic

    made = write_synthetic(folder.with_name("made"), 24, size=64, broken=0, dicom_share=0)
    for row, film in enumerate(made.table.itertuples()):
        home = folder / SPLITS[row % 3 == 2] / ("nodule" if film.nodule else "other")
        home.mkdir(parents=True, exist_ok=True)
        (home / Path(film.path).name).write_bytes(made.path(row).read_bytes())
    return folder


if __name__ == "__main__":
    main()
