"""Sphinx: MyST pages, furo's look, and the docstrings of the public names as the reference.

`make docs` runs it with warnings as errors.
"""

import re
from importlib.metadata import version as installed

project = "resload"
author = "The resload developers"
copyright = f"2025, {author}"
release = version = installed("resload")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "resload"

autodoc_typehints = "none"  # signatures carry the names; shapes, units and dtypes stand in the text
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
default_role = "code"  # docstrings write `name`, as they are read in an editor


def as_rst(app, what, name, obj, options, lines) -> None:
    """A docstring, as it is read in an editor, in reStructuredText's terms.

    An indented paragraph is an example or a drawing and is shown as it is typed; a star, a bar or a trailing
    underscore in the text means itself. A field's begins after an empty comment, or napoleon takes what it says
    before a colon for a type.
    """
    shown: list[str] = ["..", ""] if what in ("attribute", "data", "property") else []
    margin = 0
    literal = False
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        starts = bool(line.strip()) and indent > margin and number > 0 and not lines[number - 1].strip()
        if starts and not literal:
            shown += [" " * margin + "::", ""]
            literal = True
        elif line.strip() and indent <= margin:
            literal = False
        if line.strip() and not literal:
            margin = indent
        shown.append(line if literal else escaped(line))
    lines[:] = shown


def escaped(line: str) -> str:
    """Stars, bars and trailing underscores outside backticks, with a backslash before each."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else re.sub(r"[*|]|_(?!\w)", r"\\\g<0>", part) for part in parts)


def setup(app) -> None:
    """Before napoleon (500) turns `Args:` into fields."""
    app.connect("autodoc-process-docstring", as_rst, priority=400)
