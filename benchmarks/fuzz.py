"""Hostile input: nothing that others hand in may crash, hang, eat memory, reach other files, or run code.

    python benchmarks/fuzz.py [--executions 215000 --guided 0.1 --seed 0 --targets png dicom ...]

Every way in which bytes of others come into the library is a target (`tests/fuzz_targets.py`): raster files, DICOM of
all transfer syntaxes and the compressed frames in it, masks, the documents, tables and shards of a cache, saved
recipes and catalogs. Damaged inputs are run in child processes (`resload.testing.fuzzing`); a share of them, --guided,
by atheris, which goes on from those that reach new branches of the library's Python code. An input is served, or
refused by a class of `resload.errors`; anything else is a bug, is kept below --keep, and makes the exit code 1.
`tests/corpus` keeps those that once were bugs.
"""

import argparse
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from common import save

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))
from fuzz_targets import MEMORY, TARGETS, VARIABLES  # noqa: E402

from resload.testing.fuzzing import Bounds, Found, fuzz  # noqa: E402
from resload.testing.fuzzing.parent import python  # noqa: E402

BOUNDS = Bounds(seconds=5.0, memory=MEMORY, variables=VARIABLES)


def main() -> None:
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--executions", type=int, default=215_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", choices=names, default=names)
    guided = 0.1 if find_spec("atheris") else 0.0
    parser.add_argument("--guided", type=float, default=guided, help="share of executions that atheris chooses")
    parser.add_argument("--keep", type=Path, help="a folder for the inputs that are bugs")
    parser.add_argument("--dry", action="store_true", help="save no results")
    args = parser.parse_args()
    found = run(args.targets, args.executions, args.seed, args.guided)
    bugs = [(one.target, *bug) for one in found for bug in one.bugs]
    for number, (target, what, data, trace) in enumerate(bugs):
        print(f"{target}: {what}\n{trace}\n")
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            (args.keep / f"{target}-{number}.bin").write_bytes(data)
    table, document = report(found, args)
    if args.dry:
        print(table)
    else:
        save("fuzz", table, document)
    sys.exit(1 if bugs else 0)


def run(targets: list[str], executions: int, seed: int, guided: float) -> list[Found]:
    """Each target's share, one after another in one child at a time."""
    weights = {target.name: target.weight for target in TARGETS if target.name in targets}
    found = []
    for name, weight in weights.items():
        runs = max(1, round(executions * weight / sum(weights.values())))
        shares = {"atheris": round(guided * runs), "blind": runs - round(guided * runs)}
        parts = [part(name, engine, share, seed) for engine, share in shares.items() if share]
        one = Found(
            name,
            sum((each.counts for each in parts), Counter()),
            [bug for each in parts for bug in each.bugs],
            max(each.slowest for each in parts),
            max(each.peak for each in parts),
        )
        print(f"{name}: {one.executions:,} executions, {len(one.bugs)} bugs, slowest {one.slowest:.2f} s, "
              f"at most {one.peak >> 20} MiB", flush=True)  # fmt: skip
        found.append(one)
    return found


def part(name: str, engine: str, runs: int, seed: int) -> Found:
    """One target by one engine."""
    return fuzz(python(TESTS / "fuzz_targets.py"), name, runs=runs, seed=seed, bounds=BOUNDS, engine=engine)


def report(found: list[Found], args: argparse.Namespace) -> tuple[str, dict[str, object]]:
    kinds = sorted({kind for one in found for kind in one.counts if not kind.startswith("bug") and kind != "served"})
    total, bugs = sum(one.executions for one in found), sum(len(one.bugs) for one in found)
    head = (
        f"{total:,} executions, {args.guided:.0%} of them chosen by atheris, seed {args.seed}: {bugs} bugs (an "
        f"exception that is no ResloadError, a warning, a signal, more than {BOUNDS.seconds:g} s or {MEMORY >> 20} MiB "
        "for one input, a "
        "file outside the folder, a process, a socket, an unpickled object, code). Limits: "
        + ", ".join(f"{name}={value}" for name, value in VARIABLES.items())
        + "."
    )
    lines = [
        "| target | executions | served | refused | bugs | slowest, s | refused as |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for one in found:
        refused = {kind: one.counts[kind] for kind in kinds if one.counts[kind]}
        most = ", ".join(f"{kind} {count:,}" for kind, count in sorted(refused.items(), key=lambda pair: -pair[1]))
        lines.append(
            f"| {one.target} | {one.executions:,} | {one.counts['served']:,} | {sum(refused.values()):,} "
            f"| {len(one.bugs)} | {one.slowest:.2f} | {most} |"
        )
    rows = [
        {"target": one.target, "executions": one.executions, "outcomes": dict(one.counts), "slowest_s": one.slowest,
         "peak_bytes": one.peak, "bugs": [what for what, _, _ in one.bugs]}
        for one in found
    ]  # fmt: skip
    document = {"executions": total, "guided": args.guided, "seed": args.seed, "bugs": bugs, "limits": VARIABLES,
                "memory_bytes": MEMORY, "seconds": BOUNDS.seconds, "targets": rows}  # fmt: skip
    return f"{head}\n\n" + "\n".join(lines), document


if __name__ == "__main__":
    main()
