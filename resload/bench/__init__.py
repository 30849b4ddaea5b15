"""Where the time goes here: what each step of loading could do alone, what the loader does, what the model needs.

    settings.py  the loader that is meant, and for how long           found.py     what was measured, and what follows
    clock.py     how fast something is, within so many seconds        advice.py    what to do about it, by rules
    pages.py     files read with and without the page cache           document.py  plain values for JSON
    records.py   which records of a cache are used                    lines.py     the same for people
    stages.py    steps that caches and films have in common           drawing.py   and as a picture
    cached.py    the steps of loading from a cache                    machine.py   processor, cores, libraries
    films.py     the steps of loading from the films                  model.py     the user's model, found and made
    loading.py   the loader, the model, and both together             run.py       all of it, in order

Only reads: neither a cache nor a film is changed. Behind the command `resload bench`.
"""

from resload.bench.found import Found, Stage
from resload.bench.run import measured
from resload.bench.settings import Settings

__all__ = ["Found", "Settings", "Stage", "measured"]
