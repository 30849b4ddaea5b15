"""CheXpert in miniature: nine films of five patients, with every kind of label, view and sex that the tables have."""

from pathlib import Path

from resload.testing.miniatures.images import write_jpeg

LABELS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
HEADER = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{LABELS}"
TRAIN = (
    "train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0",
    "train/patient00002/study2/view1_frontal.jpg,Female,87,Frontal,AP,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,",
    "train/patient00002/study1/view1_frontal.jpg,Female,83,Frontal,AP,,,,1.0,,,-1.0,,,,,,1.0,",
    "train/patient00002/study1/view2_lateral.jpg,Female,83,Lateral,,,,,1.0,,,-1.0,,,,,,1.0,",
    "train/patient07958/study5/view1_frontal.jpg,Unknown,90,Frontal,LL,,1.0,1.0,0.0,1.0,1.0,1.0,1.0,1.0,1.0,0.0,1.0,,",
    "train/patient20000/study3/view1_frontal.jpg,Male,20,Frontal,RL,1.0,,,,,,,,,,,,,-1.0",
    "train/patient64540/study1/view1_frontal.jpg,Female,0,Frontal,AP,1.0,,,,,,,,,,0.0,,,",
)
VALID = (
    "valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0",
    "valid/patient64541/study1/view2_lateral.jpg,Male,73,Lateral,,0.0,1.0,1.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0",
)
TEST = ("test/patient64741/study1/view1_frontal.jpg,0,0,1,0,0,0,0,0,0,0,0,0,0,1",)
BATCHES = {1: "batch 1 (validate & csv)", 2: "batch 2 (train 1)", 3: "batch 3 (train 2)", 4: "batch 4 (train 3)"}


def write(
    root: Path,
    *,
    layout: str = "",
    small: bool = True,
    test: bool = False,
    leave_out: tuple[str, ...] = (),
) -> Path:
    """Write CheXpert to a folder.

    `layout` is where tables and films lie: "" for the root, "release" for `CheXpert-v1.0(-small)/` in it, "batches"
    for four folders as the zips unpack, "plain batches" for those without their `train/`. `small` is which release's
    name the paths begin with. `leave_out` are films (ends of paths) that are not written.
    """
    name = "CheXpert-v1.0-small" if small else "CheXpert-v1.0"
    home = {"": "", "release": f"{name}/"}.get(layout, f"CheXpert-v1.0 {BATCHES[1]}/")
    tables = {"train.csv": (HEADER, TRAIN), "valid.csv": (HEADER, VALID)}
    if test:
        tables["test.csv"] = (f"Path,{LABELS}", TEST)
    (root / home).mkdir(parents=True, exist_ok=True)
    for table, (header, rows) in tables.items():
        lines = [header, *(row if table == "test.csv" else f"{name}/{row}" for row in rows)]
        (root / home / table).write_text("\n".join(lines) + "\n")
    for row in (*TRAIN, *VALID, *(TEST if test else ())):
        path = row.partition(",")[0]
        if path not in leave_out:
            write_jpeg(root / _place(path, layout, home))
    return root


def _place(path: str, layout: str, home: str) -> str:
    """Where a film lies: in a batch by its patient's number, else as it is called."""
    if not layout.endswith("batches") or not path.startswith("train"):
        return home + path
    number = int(path[len("train/patient") :][:5])
    batch = BATCHES[2 if number < 20000 else 3 if number < 43000 else 4]
    return f"CheXpert-v1.0 {batch}/" + (path if layout == "batches" else path.removeprefix("train/"))
