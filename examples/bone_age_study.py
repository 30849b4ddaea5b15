"""Which size does a bone age need? Networks at each size, with the child's sex as a second input, compared in months.

    python examples/bone_age_study.py --data BoneAge/                RSNA's or Kaggle's folder
    python examples/bone_age_study.py --miniature                    eight tiny films, in seconds

`bone_age.py` trains one network at 512 px, where the editorial (Lakhani 2020) says that 500 px and more are wanted.
This asks: `resload.study.run` trains at each size and says from which on the mean absolute difference is at most the
margin worse than at the largest. How much worse that may be is for those to say who read bone ages, before the first
network is trained: --margin. A network with a second input takes three arguments: `columns=` brings the sex with each
batch, `predict=` gives it to the network, `models=` makes one. What a full run needs is in examples/README.md.
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
    """Train what is missing, write the report, and the months at each size to OUT/result.json."""
    args = arguments(argv)
    found = resload.study.run(
        resload.datasets.rsna_bone_age(args.data),
        args.out / "study",
        sizes=args.sizes,
        fits=["pad"],  # a hand that is stretched to a square is another hand
        task="regression",
        margin=args.margin,
        models={"densenet121 and sex": BoneAge},
        columns=("sex",),
        predict=predict,
        seeds=args.seeds,
        epochs=args.epochs,
        batch_size=args.batch_size,
        lr=3e-4,
        device=args.device,
    )
    page = found.write_report()
    months = dict(found.table[["size", "value"]].itertuples(index=False))
    result = {"report": str(page), "plateau": str(found.plateau("boneage")), "months": months}
    (args.out / "result.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="RSNA Bone Age")
    which.add_argument("--miniature", action="store_true", help="write tiny films to OUT, and train on them")
    parser.add_argument("--out", type=Path, default=Path("bone-age-study-out"), help="default: bone-age-study-out")
    parser.add_argument("--sizes", type=int, nargs="+", default=(128, 256, 512), help="default: 128 256 512")
    parser.add_argument("--margin", type=float, default=0.5, help="months that are no worse (default: 0.5)")
    parser.add_argument("--seeds", type=int, default=3, help="networks of each size (default: 3)")
    parser.add_argument("--epochs", type=int, default=60, help="default: 60")
    parser.add_argument("--batch-size", type=int, default=32, help="default: 32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    if args.miniature:
        args.data = write_miniature("rsna_bone_age", args.out / "data")
        args.sizes, args.seeds, args.epochs, args.batch_size = (32, 64), 2, 1, 2
    return args


class BoneAge(nn.Module):
    """Films (B, C, H, W) and a sex (B,), 1 for male -> (B, outputs), standard deviations from the mean age."""

    def __init__(self, outputs: int, channels: int) -> None:
        super().__init__()
        self.film = DenseNet121(spatial_dims=2, in_channels=channels, out_channels=256)
        self.sex = nn.Linear(1, 32)
        self.age = nn.Sequential(nn.ReLU(), nn.Linear(256 + 32, 256), nn.ReLU(), nn.Linear(256, outputs))

    def forward(self, images: torch.Tensor, male: torch.Tensor) -> torch.Tensor:
        return self.age(torch.cat([self.film(images), self.sex(male[:, None])], dim=1))


def predict(network: nn.Module, batch: resload.Batch) -> torch.Tensor:
    """The network's answers to a batch; the study turns them into months, and compares them with the known ones."""
    male = torch.tensor([float(sex == "M") for sex in batch.columns["sex"]], device=batch.images.device)
    return network(batch.images, male)


if __name__ == "__main__":
    main()
