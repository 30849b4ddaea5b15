"""Where the time goes here: what each step of loading could do alone, what the loader does, what the model needs.

    settings.py  the loader that is meant, and for how long          found.py     what was measured, and what follows
    clock.py     how fast something is, within so many seconds
    pages.py     files read with and without the page cache           advice.py    what to do about it, by rules
    stages.py    steps that caches and films have in common           document.py  plain values for JSON
    cached.py    the steps of loading from a cache                    lines.py     the same for people
    films.py     the steps of loading from the films                  drawing.py   and as a picture
    loading.py   the loader, the model, and both together             machine.py   processor, cores, libraries
    model.py     the user's model: found, made and called             run.py       all of it, in order

Only reads: neither a cache nor a film is changed. Behind the command `resload bench`.
"""

from resload.bench.found import Found, Stage
from resload.bench.run import measured
from resload.bench.settings import Settings

__all__ = ["Found", "Settings", "Stage", "measured"]
