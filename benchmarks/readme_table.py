"""Write the README's table of rates from benchmarks/results/compare.json.

    python benchmarks/readme_table.py

The table stands between two HTML comments; everything between them is replaced. `compare.py` does this at its end.
"""

import json
from pathlib import Path
from typing import Any

from peers.tables import short_table

ROOT = Path(__file__).parent.parent
BEGIN = "<!-- made by benchmarks/readme_table.py from benchmarks/results/compare.json -->"
END = "<!-- end of what benchmarks/readme_table.py made -->"


def block(document: dict[str, Any]) -> str:
    """What stands between the comments."""
    where = document["environment"]
    versions = where["versions"]
    said = (
        f"{where['date']}, {where['processor']}, {where['cores']} cores, torch {versions['torch']}; "
        f"{document['films']}, batches of {document['batch']}, 2 threads or workers, CPU tensors out, page cache warm "
        f"unless it says cold; medians of {document['rounds']} interleaved rounds."
    )
    if document["quick"]:
        said += " **A quick run on few images: no measurement.**"
    return f"{short_table(document)}\n\n{said}"


def replaced(page: str, made: str) -> str:
    """The page with this between the comments. Raises ValueError when it lacks them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page must hold {BEGIN!r} and then {END!r}")
    return f"{before}{begin}\n\n{made}\n\n{end}{after}"


def update() -> None:
    """Bring the README up to date."""
    document = json.loads((ROOT / "benchmarks" / "results" / "compare.json").read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    readme.write_text(replaced(readme.read_text(encoding="utf-8"), block(document)), encoding="utf-8")


if __name__ == "__main__":
    update()
