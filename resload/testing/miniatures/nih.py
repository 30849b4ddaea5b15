"""ChestX-ray14 in miniature: six films, the tables as they are spelled in either release."""

from pathlib import Path

from resload.testing.miniatures.images import write_png

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
ROWS = (
    "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.14300000000000002,0.14300000000000002",
    "00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,PA,2894,2729,0.14300000000000002,0.14300000000000002",
    "00000002_000.png,No Finding,0,2,80,M,PA,2500,2048,0.171,0.171",
    "00000003_001.png,Hernia,0,3,74,F,PA,2500,2048,0.168,0.168",
    "00000005_006.png,Infiltration|Pleural_Thickening,6,5,70,F,AP,2048,2500,0.168,0.168",
    "00000008_000.png,Mass|Nodule,0,8,69,F,PA,2048,2500,0.139,0.139",
)
NAMES = tuple(row.partition(",")[0] for row in ROWS)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
BOX_ROWS = (
    "00000005_006.png,Infiltrate,225.084745762712,547.019216763771,86.7796610169491,79.1864406779661",
    "00000008_000.png,Mass,686.101694915254,131.543498411017,185.491525423729,313.491525423729",
    "00000008_000.png,Nodule,100,200,30,40",
)


def write(
    root: Path,
    *,
    images: str | None = "images",
    names: tuple[str, ...] = NAMES,
    side: int = 1024,
    entries: str = "Data_Entry_2017_v2020.csv",
    trailing_comma: bool = False,
    lists: str | None = None,
) -> Path:
    """Write ChestX-ray14 to a folder.

    `images` is the folder for all of `names` ("" for the root, None for no images); with a `*` in it each
    film gets a numbered folder of its own, as the downloads have. `lists` is what the official lists' names
    end in ("" or "_NIH").
    """
    root.mkdir(parents=True, exist_ok=True)
    comma = "," if trailing_comma else ""
    (root / entries).write_text("".join(f"{line}{comma}\n" for line in (HEADER, *ROWS)))
    (root / "BBox_List_2017.csv").write_text("\n".join((BOX_HEADER, *BOX_ROWS)) + "\n")
    if lists is not None:
        (root / f"train_val_list{lists}.txt").write_text("\n".join(NAMES[:4]))
        (root / f"test_list{lists}.txt").write_text("\r\n".join(NAMES[4:]) + "\r\n")
    if images is not None:
        for number, name in enumerate(names, start=1):
            write_png(root / images.replace("*", f"{number:03d}") / name, side, side)
    return root
