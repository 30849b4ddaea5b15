"""An ordinary Lightning script for films in class folders, changed in three lines.

    python examples/frameworks/lightning_three_lines.py --data films/          films/train/nodule/1.png ...
    python examples/frameworks/lightning_three_lines.py --miniature            tiny films, in seconds

What stood there is above each changed line, as `# before:`. The model, its steps and the Trainer are as they were.
What they gain: films are decoded once, DICOM and 16 bits are read as radiographs, and `--size` is any size.
"""

import argparse
import json
from pathlib import Path

import lightning.pytorch as lightning
import torch
from torch import nn

# before: from torchvision import datasets, transforms as T
import resload

SPLITS = ("train", "val")


class Classifier(lightning.LightningModule):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, classes)),
        )

    def training_step(self, batch, number):
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images), labels)

    def validation_step(self, batch, number):
        images, labels = batch
        self.log("val_loss", nn.functional.cross_entropy(self.network(images), labels), batch_size=len(images))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def main(argv: list[str] | None = None) -> None:
    args = arguments(argv)
    lightning.seed_everything(0, verbose=False)
    trainer = lightning.Trainer(
        max_epochs=args.epochs,
        accelerator=args.device,
        default_root_dir=args.out,
        logger=False,
        enable_checkpointing=False,
    )
    trainer.fit(Classifier(len(list((args.data / "train").iterdir()))), *(loader_of(split, args) for split in SPLITS))
    result = {name: float(value) for name, value in trainer.callback_metrics.items()}
    (args.out / "result.json").write_text(json.dumps(result))
    print(result)


def loader_of(split: str, args: argparse.Namespace):
    """Batches of images and labels of the films below train/ or val/."""
    # before: see = T.Compose([T.Grayscale(), T.Resize((args.size, args.size)), T.ToTensor()])
    #         films = datasets.ImageFolder(args.data / split, see)
    films = resload.build(resload.Catalog.from_folder(args.data), args.out / "films.zarr", sizes=(args.size,))
    # before: return torch.utils.data.DataLoader(films, 16, shuffle=split == "train", num_workers=2)
    return resload.Loader(films, size=args.size, batch_size=16, split=split, shuffle=split == "train")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="class folders below train/ and val/")
    which.add_argument("--miniature", action="store_true", help="write tiny films to OUT, and train on them")
    parser.add_argument("--out", type=Path, default=Path("lightning-out"), help="default: lightning-out")
    parser.add_argument("--size", type=int, default=256, help="height and width (default: 256)")
    parser.add_argument("--epochs", type=int, default=10, help="default: 10")
    parser.add_argument("--device", default="auto", help="Lightning's accelerator (default: auto)")
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
