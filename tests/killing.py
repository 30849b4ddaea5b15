"""A program that kills a build again and again: `python killing.py PLAN.json` prints {"kills": n, "whole": m}.

The parent imports everything once and forks; each child builds and is killed with SIGKILL after a random time. The
kills go on until enough of them hit a build under way; then the build may finish.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import resload
from resload.store import builder, verify  # noqa: F401 - imported before forking, so that children start at once


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
    child = os.fork()
    if child == 0:
        try:
            resload.build(catalog, plan["cache"], plan["sizes"], threads=plan["threads"], progress=False)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    assert os.WEXITSTATUS(status) == 0, "a build that continued a killed one failed"
    return True


if __name__ == "__main__":
    main()
