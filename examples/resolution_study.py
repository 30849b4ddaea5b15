"""The grid of Sabottke & Spieler on ChestX-ray14: which size does each of eight findings need?

    python examples/resolution_study.py --data NIH/ --labels Nodule --no-control    a first answer
    python examples/resolution_study.py --data NIH/                                 all of it
    python examples/resolution_study.py --miniature                                 tiny films, in seconds

The paper (Radiology: AI 2020;2(1):e190015) trained ResNet-34 and DenseNet-121 on ChestX-ray14 at sizes from 32 x 32 to
600 x 600, a binary network for each label, on 80 % of the films, and reported eight of the 14 labels. Of nodules its
area at 64 px is 80.7 % of that at 320 px, 0.689 of 0.854; OUT/result.json has the same ratio of yours, with how much it
differs over patients and over seeds.

So much its abstract says, and the rest is this script's and may differ from theirs: the sizes between, which are those
commonly quoted; that films are divided by patient, and a tenth of the 80 % taken out to choose the epoch by, so that no
film that is reported chose anything; epochs, films of a step and learning rate, nothing pretrained or augmented; three
seeds; the margin. New is the control arm: networks of 600 px whose films hold only the detail of a smaller size. The
same command goes on where it was stopped, and may run beside itself, with another --device, on the same OUT. What a
full run needs is in examples/README.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from monai.networks.nets import DenseNet121, resnet34
from torch import nn

import resload
from resload import statistics
from resload.testing import write_miniature

SIZES = (32, 64, 128, 224, 256, 320, 448, 512, 600)
LABELS = ("Emphysema", "Cardiomegaly", "Hernia", "Edema", "Effusion", "Atelectasis", "Mass", "Nodule")
RATIO = (resload.Size(64, 64), resload.Size(320, 320))
"""Whose areas the paper divides."""


def main(argv: list[str] | None = None) -> None:
    """Train what is missing, write the report, and each label's plateau and ratio to OUT/result.json."""
    args = arguments(argv)
    catalog = films(args).split({"train": 0.72, "val": 0.08, "test": 0.2}, by="patient", seed=0)
    found = resload.study.run(
        catalog,
        args.out / "study",
        sizes=args.sizes,
        targets=args.labels,
        models={"small": "small"} if args.miniature else {"resnet34": resnet, "densenet121": densenet},
        seeds=args.seeds,
        control=args.control,
        epochs=args.epochs,
        batch_size=args.batch_size,
        device=args.device,
    )
    page = found.write_report()
    result = {"report": str(page), "networks": len(found.runs), "results": results(found)}
    (args.out / "result.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, metavar="FOLDER", help="ChestX-ray14")
    which.add_argument("--miniature", action="store_true", help="write tiny films to OUT, and train on them")
    parser.add_argument("--out", type=Path, default=Path("study-out"), help="default: study-out")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES, help="height and width (default: the grid's nine)"
    )
    parser.add_argument("--labels", nargs="+", default=LABELS, help="default: the paper's eight")
    parser.add_argument("--seeds", type=int, default=3, help="networks of each kind (default: 3)")
    parser.add_argument("--control", action=argparse.BooleanOptionalAction, default=True, help="the control arm too")
    parser.add_argument("--epochs", type=int, default=10, help="default: 10")
    parser.add_argument("--batch-size", type=int, default=32, help="at every size (default: 32)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    if args.miniature:
        args.data = write_miniature("chestxray14", args.out / "data", side=128)
        args.sizes, args.labels, args.seeds, args.epochs, args.batch_size = (16, 32), ["Nodule"], 2, 1, 8
    return args


def films(args: argparse.Namespace) -> resload.Catalog:
    """ChestX-ray14; the miniature's six films twenty times, as other patients', since each part needs some of all."""
    catalog = resload.datasets.chestxray14(args.data)
    if not args.miniature:
        return catalog
    table = catalog.table
    again = [table.assign(id=f"{k}-" + table["id"], patient=table["patient"] + 100 * k) for k in range(20)]
    return resload.Catalog(pd.concat(again, ignore_index=True), targets=catalog.targets, root=catalog.root)


def resnet(outputs: int, channels: int) -> nn.Module:
    """(B, channels, H, W) -> logits (B, outputs). The first layer halves, as the paper on ResNets has it."""
    return resnet34(spatial_dims=2, n_input_channels=channels, num_classes=outputs, conv1_t_stride=2)


def densenet(outputs: int, channels: int) -> nn.Module:
    """(B, channels, H, W) -> logits (B, outputs)."""
    return DenseNet121(spatial_dims=2, in_channels=channels, out_channels=outputs)


def results(study: resload.study.Study) -> list[dict[str, Any]]:
    """Of each network and label: the smallest size that is as good as the largest, the areas, and the paper's ratio."""
    return [
        {
            "label": line.target,
            "model": line.curve.model,
            "plateau": str(study.plateau(line.target, model=line.curve.model)),
            "auc": {str(size): one.value for size, one in comparison.arms.items()},
            "ratio": ratio(study, line),
        }
        for line, comparison in study.comparisons.items()
        if not line.curve.control
    ]


def ratio(study: resload.study.Study, line: resload.study.Line) -> dict[str, float] | None:
    """The area at 64 px over that at 320 px, and its deviations; None where either was not trained."""
    points = study.points(line)
    if not set(RATIO) <= set(points):
        return None
    found = statistics.compared(
        {size: point.values for size, point in points.items()},
        study.truth(line.target),
        study.films["patients"].tolist(),
        reference=study.reference,
        margin=study.settings["margin"],
        ratio_of=RATIO,
    ).ratio
    return {"value": found.value, "sd_patients": found.sd_patients, "sd_seeds": found.sd_seeds}


if __name__ == "__main__":
    main()
