"""An ordinary MONAI script for films in class folders, changed in three lines.

    python examples/frameworks/monai_three_lines.py --data films/              films/train/nodule/1.png ...
    python examples/frameworks/monai_three_lines.py --miniature                tiny films, in seconds

What stood there is above each changed line, as `# before:`. MONAI's network, loss and metrics are as they were, and
its transforms go to `Loader(transform=...)`: docs/how-to/augmentation.md.
"""

import argparse
import json
from pathlib import Path

import torch
from monai.networks.nets import DenseNet121
from torch import nn

# before: from monai import data, transforms as T
import resload

SPLITS = ("train", "val")


def main(argv: list[str] | None = None) -> None:
    args = arguments(argv)
    torch.manual_seed(0)
    train, val = (loader_of(split, args) for split in SPLITS)
    classes = len(list((args.data / "train").iterdir()))
    model = DenseNet121(spatial_dims=2, in_channels=1, out_channels=classes).to(args.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(args.epochs):
        model.train()
        for images, labels in train:
            loss = nn.functional.cross_entropy(model(images.to(args.device)), labels.to(args.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        result = {"epoch": epoch, "val_loss": validated(model, val, args.device)}
        print(result)
    (args.out / "result.json").write_text(json.dumps(result))


def loader_of(split: str, args: argparse.Namespace):
    """Batches of images and labels of the films below train/ or val/."""
    # before: files = sorted((args.data / split).glob("*/*.png"))
    #         names = sorted(folder.name for folder in (args.data / split).iterdir())
    #         see = [T.LoadImage(image_only=True, ensure_channel_first=True), T.ScaleIntensity()]
    #         see = T.Compose([*see, T.Resize((args.size, args.size))])
    #         films = data.ArrayDataset(files, see, [names.index(file.parent.name) for file in files])
    films = resload.build(resload.Catalog.from_folder(args.data), args.out / "films.zarr", sizes=(args.size,))
    # before: return data.DataLoader(films, batch_size=16, shuffle=split == "train", num_workers=2)
    return resload.Loader(films, size=args.size, batch_size=16, split=split, shuffle=split == "train")


@torch.no_grad()
def validated(model: nn.Module, loader: object, device: str) -> float:
    """The mean loss of the validation batches."""
    model.eval()
    losses = [nn.functional.cross_entropy(model(images.to(device)), labels.to(device)) for images, labels in loader]
    return float(torch.stack(losses).mean())


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="class folders below train/ and val/")
    which.add_argument("--miniature", action="store_true", help="write tiny films to OUT, and train on them")
    parser.add_argument("--out", type=Path, default=Path("monai-out"), help="default: monai-out")
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
