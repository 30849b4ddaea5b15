"""Links of the pages lead somewhere: to a file of this repository, to a heading of it, or to a well-formed address.

    .venv/bin/python tests/links.py

says what does not, one line each, and ends with 1 where there is any (`make lint` runs it). Nothing is fetched: an
address elsewhere is looked at for its form alone. A heading's anchor is GitHub's, which MyST's are too.
"""

# ruff: noqa: T201 - a script prints

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "docs" / "_build"
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").rglob("*.md")) if BUILT not in page.parents)]
"""What `make docs` renders, and the README."""
CHECKED = [*PAGES, ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", ROOT / "resload" / "README.md"]
"""Whose links are looked at."""

FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
"""A fenced block: its language, and what is in it."""
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(
    r"\]\(\s*([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)[^)]*\)"  # [text](target "title"), with brackets in pairs
    r"|^\[[^\]]+\]:\s+(\S+)"
    r"|<(https?:[^>\s]*)>",
    re.MULTILINE,
)
HEADING = re.compile(r"^(#{1,3}) +(.+?) *#*$", re.MULTILINE)
"""Down to the third level, as `myst_heading_anchors` in docs/conf.py has it."""


def main() -> int:
    found = [line for page in CHECKED for line in wrong(page)]
    print("\n".join(found) or f"links: {sum(1 for page in CHECKED for _ in links(page))} lead somewhere")
    return int(bool(found))


def wrong(page: Path) -> list[str]:
    """What is wrong with each link of a page that leads nowhere, as `file:line: ...`."""
    where = page.relative_to(ROOT) if page.is_relative_to(ROOT) else page
    return [f"{where}:{line}: {target}: {why}" for target, line in links(page) if (why := amiss(page, target))]


def links(page: Path) -> Iterator[tuple[str, int]]:
    """(target, line number) of each link outside code."""
    text = prose(page)
    for found in LINK.finditer(text):
        yield found[1] or found[2] or found[3], text.count("\n", 0, found.start()) + 1


def prose(page: Path) -> str:
    """A page without its code, line for line."""
    return CODE.sub("", FENCE.sub(lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8")))


def amiss(page: Path, target: str) -> str:
    """Why a link from this page leads nowhere; empty where it does not."""
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return misshapen(target)
    path, _, anchor = target.partition("#")
    there = page.parent / path if path else page
    if not there.exists():
        return "there is no such file"
    if anchor and (there.suffix != ".md" or anchor not in anchors(there)):
        return f"no heading there has the anchor #{anchor}"
    return ""


def misshapen(address: str) -> str:
    """What is wrong with the form of an address elsewhere."""
    parts = urlsplit(address)
    if parts.scheme != "https":
        return "addresses begin with https://"
    if not re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc):
        return f"{parts.netloc!r} is no name of a host"
    if address[-1] in ".,;:" or not re.fullmatch(r"[!-~]+", address):
        return "it ends in a mark, or has signs that must be escaped"
    return ""


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings; of equal headings the later ones are counted."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    seen: Counter[str] = Counter()
    names = set()
    for heading in HEADING.finditer(text):
        slug = slugged(heading[2])
        names.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return names


def slugged(heading: str) -> str:
    """A heading as an anchor: small letters, without marks, hyphens for spaces."""
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main())
