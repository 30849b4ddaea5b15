"""RSNA Bone Age in miniature: four hands for training, two for validation and two for testing, in both layouts."""

from pathlib import Path

from resload.testing.miniatures.images import write_png

TRAIN = (("1377", 180, False), ("1378", 12, False), ("1379", 94, True), ("1380", 120, True))
VALIDATION = (("1386", True, "32.03"), ("1392", False, "138.0"))
TEST = (("4360", "M", "168.93"), ("4361", "F", "180.0"))


def write(root: Path, *, layout: str = "rsna", ages: bool = True, leave_out: tuple[str, ...] = ()) -> Path:
    """Write RSNA Bone Age to a folder.

    `layout` is "kaggle" or "rsna"; `ages` is whether RSNA's ages of the test films were saved as CSV; `leave_out` are
    films that are not written.
    """
    kaggle = layout == "kaggle"
    twice = "/{0}" if kaggle else ""
    homes = {film: f"boneage-training-dataset{twice.format('boneage-training-dataset')}" for film, *_ in TRAIN}
    _lines(
        root / ("boneage-training-dataset.csv" if kaggle else "train.csv"),
        "id,boneage,male",
        [f"{film},{months},{male}" for film, months, male in TRAIN],
    )
    if kaggle:
        homes |= {film: "boneage-test-dataset/boneage-test-dataset" for film, *_ in TEST}
        _lines(root / "boneage-test-dataset.csv", "Case ID,Sex", [f"{film},{sex}" for film, sex, _ in TEST])
    else:
        homes |= {film: f"boneage-validation-dataset-{part}" for part, (film, *_) in enumerate(VALIDATION, start=1)}
        homes |= {film: "Bone Age Test Set/Test Set Images" for film, *_ in TEST if ages}
        rows = [f"{film},{str(male).upper()},{months}" for film, male, months in VALIDATION]
        _lines(root / "Validation Dataset.csv", "Image ID,male,Bone Age (months)", rows)
    if ages and not kaggle:
        rows = [f"{film},{sex},{months}" for film, sex, months in TEST]
        header = "Case ID,Sex,Ground truth bone age (months)"
        _lines(root / "Bone Age Test Set" / "Bone age ground truth.csv", header, rows)
    for number, (film, folder) in enumerate(homes.items()):
        if film not in leave_out:
            write_png(root / folder / f"{film}.png", 12 + number, 10)
    return root


def _lines(path: Path, header: str, rows: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
