"""The command `resload`: one verb, one file here, and one place that prints and decides how it ends.

    arguments  --verb.run-->  Answer(document, lines, bad)  -->  stdout: lines, or the document with --json
                                                                 exit code: 0, or 1 if something bad was found
    ArgumentError, CatalogError  ---------------------------->  stderr: one sentence; exit code 2
    other errors of resload, and the system's  -------------->  stderr: one sentence; exit code 1
    Ctrl-C  ------------------------------------------------->  stderr: one sentence; exit code 130

A verb has `HELP`, `EXAMPLE`, `arguments(parser)` and `run(args) -> Answer`. It imports what it needs when it runs,
so that `resload --help` does not wait for torch.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from types import ModuleType

from resload.cli import bench, build, info, repair, report, scan, show, study, verify
from resload.cli.answer import Answer
from resload.cli.interrupts import Interrupts
from resload.errors import ArgumentError, CatalogError, ResloadError

VERBS: dict[str, ModuleType] = {
    "scan": scan,
    "build": build,
    "info": info,
    "verify": verify,
    "repair": repair,
    "show": show,
    "report": report,
    "bench": bench,
    "study": study,
}
EXAMPLE = """\
  $ resload scan films
  $ resload build films films.zarr --sizes 64 128 256
  $ resload info films.zarr"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name; that of this process when None); returns its exit code."""
    _quiet_log()
    verb = None
    with Interrupts(last=argv is None) as interrupts:
        try:
            args = make_parser().parse_args(argv)
            verb = VERBS[args.verb]
            answer: Answer = args.run(args)
            _print(answer, as_json=args.json)
        except SystemExit as stop:  # argparse has printed help, or what is wrong
            return int(stop.code or 0)
        except BrokenPipeError:  # whoever reads, as `head` does, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (Exception, KeyboardInterrupt) as error:
            if not interrupts.seen and not isinstance(error, KeyboardInterrupt):
                return _failed(error)
            interrupts.no_more()
            code = _end(130, f"interrupted{getattr(verb, 'INTERRUPTED', '')}")
            interrupts.leave(code)
            return code
    return int(answer.bad)


def _failed(error: Exception) -> int:
    """What resload and the system raise on purpose, as a sentence; anything else is raised."""
    if isinstance(error, (ArgumentError, CatalogError)):
        return _end(2, error)
    if isinstance(error, (ResloadError, OSError)):
        return _end(1, error)
    raise error


def make_parser() -> argparse.ArgumentParser:
    """The whole grammar of the command line."""
    parser = argparse.ArgumentParser(
        prog="resload",
        description="Radiographs: decoded once, at every resolution.",
        epilog=f"example:\n{EXAMPLE}\n\nresload VERB --help says what a verb takes, with an example.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"resload {version('resload')}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, verb in VERBS.items():
        one = verbs.add_parser(
            name,
            help=verb.HELP,
            description=f"{verb.HELP[0].upper()}{verb.HELP[1:]}.",
            epilog=f"example:\n{verb.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # --root must not come to mean another option of a later version
        )
        verb.arguments(one)
        one.add_argument("--json", action="store_true", help="print one JSON document instead of text")
        one.set_defaults(run=verb.run)
    return parser


def _print(answer: Answer, *, as_json: bool) -> None:
    text = json.dumps(answer.document, indent=1, allow_nan=False) if as_json else "\n".join(answer.lines)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _end(code: int, why: object) -> int:
    if isinstance(why, OSError) and not isinstance(why, ResloadError) and why.strerror and why.filename:
        why = f"{why.filename}: {why.strerror}"
    sys.stderr.write(f"resload: {why}\n")
    return code


def _quiet_log() -> None:
    """What is logged about a catalog is in its notes, which the verbs print: not twice."""
    log = logging.getLogger("resload")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
