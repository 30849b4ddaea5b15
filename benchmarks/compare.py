"""resload beside its peers, in one run on one machine: who loads how many images a second.

    python benchmarks/compare.py [--questions stored256 ... --peers ffcv ... --rounds 5 --quick]

    stored256, stored64    records as stored, uint8
    float256               the same as float32, normalised by (mean, std)
    source256              1024 px PNG files decoded and resized
    cold256                stored256 after the data's pages were dropped from the page cache

Whoever is installed (benchmarks/peers/install.py) takes part, each in a process and an environment of its own, one at
work at a time. All rounds are interleaved, one warm-up round goes before, and ratios are taken round by round. What
each delivers is summed and compared with the records, so nobody is fast by delivering nothing. The results are
benchmarks/results/compare.json, .md and .png, and the README's table is made of them.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

from common import RESULTS, ratio, save, summary
from peers import records
from peers.figure import draw
from peers.install import PEERS
from peers.questions import QUESTIONS, Question
from peers.runner import Row, run
from peers.tables import document_table
from peers.worker import Config
from readme_table import update

NORMALIZE = (0.5, 0.25)
BATCH = 64
COUNTS = {256: 8192, 64: 65536}
SOURCES = 256
"""A whole number of batches for each of two workers: none idles at the end."""
QUICK = 16
"""How many times fewer images a quick run has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="only these, besides what needs no peer")
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few images and two rounds: to see that all of it works")
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "peers" / ".work")
    args = parser.parse_args()
    rounds = 2 if args.quick else args.rounds
    begun = time.perf_counter()
    answers = {}
    for name in args.questions:
        question = chosen(QUESTIONS[name], args.peers)
        print(f"{name}: {question.title}", flush=True)
        config = asked(question, args.work, QUICK if args.quick else 1)
        answers[name] = answer(question, config, run(question, config, rounds))
    document = {
        "films": records.described(),
        "rounds": rounds,
        "quick": args.quick,
        "batch": BATCH,
        "questions": answers,
    }
    save("compare", document_table(document), document)
    draw(json.loads((RESULTS / "compare.json").read_text()), RESULTS / "compare.png")
    update()
    print(f"\n{(time.perf_counter() - begun) / 60:.1f} minutes")


def chosen(question: Question, peers: list[str] | None) -> Question:
    """The question for these peers alone."""
    if peers is None:
        return question
    return replace(question, entries=tuple(one for one in question.entries if not one.peer or one.peer in peers))


def asked(question: Question, work: Path, fewer: int) -> Config:
    """The shared records, made unless they are there, and what every worker is told."""
    work = work.resolve()
    if question.source:
        count = SOURCES // (2 if fewer > 1 else 1)
        files, folder = records.sources(work, count), None
    else:
        count = COUNTS[question.side] // fewer
        folder = records.records(work, question.side, count)
        files = records.pngs_of(folder) if any(one.way == "files" for one in question.entries) else folder / "png"
    return Config(
        side=question.side,
        dtype=question.dtype,
        count=count,
        batch=BATCH,
        threads=2,
        normalize=NORMALIZE,
        records=str(folder / "images.npy") if folder else "",
        cache=str(folder / "images.zarr") if folder else "",
        files=str(files),
        stay=not question.cold,
        work=str(work / f"formats-{question.side}-{count}{records.kind()}"),
    )


def answer(question: Question, config: Config, rows: list[Row]) -> dict[str, object]:
    """A question's rows with medians, spreads and ratios to ours, round by round."""
    ours = rows[0].rates
    made = []
    for row in rows:
        told: dict[str, object] = {"label": row.label, **row.facts, "reason": row.reason}
        if row.rates:
            told |= {"rate": summary(row.rates), "to_ours": ratio(row.rates, ours) if ours else None}
        made.append(told)
    return {"title": question.title, "images": config.count, "cold": question.cold, "rows": made}


if __name__ == "__main__":
    main()
