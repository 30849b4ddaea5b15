"""A program that kills a build again and again: `python killing.py PLAN.json` prints {"kills": n, "whole": m}.

The parent imports everything once and forks; each child builds and is killed with SIGKILL after a random time. The
kills go on until enough of them hit a build under way; then the build may finish.
"""

import json
import random
import shutil
import sys
from functools import partial
from pathlib import Path

import resload
from resload.store import builder, verify  # noqa: F401 - imported before forking, so that children start at once
from resload.testing.children import in_child


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    rng = random.Random(plan["seed"])
    catalog = resload.Catalog.load(plan["catalog"])
    if plan.get("start"):
        shutil.copytree(plan["start"], plan["cache"])
    kills = whole = 0
    while kills < plan["kills"]:
        if run(plan, catalog, rng.uniform(0, plan["seconds"])):
            whole += 1
            shutil.rmtree(plan["cache"])
            if plan.get("start"):
                shutil.copytree(plan["start"], plan["cache"])
        else:
            kills += 1
    assert run(plan, catalog, None)
    sys.stdout.write(json.dumps({"kills": kills, "whole": whole}))


def run(plan: dict, catalog: "resload.Catalog", seconds: float | None) -> bool:
    """Build in a child; True when it finished, False when it was killed."""
    ended = in_child(partial(build, plan, catalog), kill_after=seconds)
    assert ended.error is None, f"a build that continued a killed one failed: {ended.trace}"
    return not ended.killed


def build(plan: dict, catalog: "resload.Catalog") -> None:
    resload.build(catalog, plan["cache"], plan["sizes"], threads=plan["threads"], progress=False)


if __name__ == "__main__":
    main()
