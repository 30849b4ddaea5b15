"""Elements of a page: text is escaped here, and nowhere else."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; color: #1a1a1a; background: #fff;
  max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .3rem; overflow-wrap: anywhere; }
p, li, figcaption { max-width: 48rem; }
nav ul { padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
a { color: #00588f; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; margin: .6rem 0; }
td, tbody th { white-space: nowrap; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
th { border-bottom: 2px solid #444; }
tbody th { border-bottom: 1px solid #ddd; font-weight: 600; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tr.mark td, tr.mark th { background: #e8f2fa; }
figure { margin: 1rem 0 2rem; }
figure img { max-width: 100%; min-width: 34rem; height: auto; }
figcaption { font-size: .9rem; color: #333; }
.caution { border-left: 4px solid #d55e00; padding: .1rem 1rem; background: #fdf3ec; }
pre { font-size: .8rem; background: #f6f6f6; padding: .8rem; overflow-x: auto; }
@media print {
  body { font-size: 10pt; max-width: none; padding: 0; }
  nav { display: none; }
  figure img { min-width: 0; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .wide { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: .1rem .25rem; }
  td, tbody th { white-space: normal; }
  pre { white-space: pre-wrap; }
}
"""


def paragraph(text: str) -> str:
    """Of plain text."""
    return f"<p>{escape(text)}</p>"


def bullets(texts: Iterable[str]) -> str:
    """A point for each text."""
    return "<ul>\n" + "\n".join(f"<li>{escape(text)}</li>" for text in texts) + "\n</ul>"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Iterable[int] = (), marked: Sequence[bool] = ()
) -> str:
    """Rows under a head; columns of `numbers` are set to the right, `marked` rows shaded."""
    right = set(numbers)

    def cell(kind: str, column: int, text: str, scope: str = "") -> str:
        aligned = ' class="n"' if column in right else ""
        return f"<{kind}{scope}{aligned}>{escape(text)}</{kind}>"

    top = "".join(cell("th", k, text, ' scope="col"') for k, text in enumerate(head))
    body = []
    for number, row in enumerate(rows):
        first, *others = row
        cells = cell("th", 0, first, ' scope="row"') + "".join(cell("td", k, one) for k, one in enumerate(others, 1))
        shade = ' class="mark"' if number < len(marked) and marked[number] else ""
        body.append(f"<tr{shade}>{cells}</tr>")
    return (
        f'<div class="wide">\n<table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n'
        + "\n".join(body)
        + "\n</tbody>\n</table>\n</div>"
    )


@dataclass(frozen=True)
class Picture:
    """A picture inside a page."""

    data: bytes
    kind: str
    """"png" or "svg+xml"."""


def figure(number: int, picture: Picture, title: str, caption: str) -> str:
    """A picture with its caption."""
    source = f"data:image/{picture.kind};base64,{base64.b64encode(picture.data).decode('ascii')}"
    image = f'<div class="wide"><img alt="{escape(title)}" src="{source}"></div>'
    below = f"<figcaption><b>Figure {number}. {escape(title)}</b> {escape(caption)}</figcaption>"
    return f"<figure>\n{image}\n{below}\n</figure>"
