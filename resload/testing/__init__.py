"""Synthetic radiographs for tests, examples and the demo: made, not patients', and with known truth.

    synthetic_film(index)          one film in memory: pixels, spacing, nodules, targets
    write_synthetic(folder, n)     n files as archives have them, and the catalog of them
    write_phantoms(folder, n)      films of which can be computed from which size on their nodules can be seen
    write_miniature(name, folder)  a public data set: its tables, names and quirks, a few tiny images
    write_archive(folder, n)       a hospital's archive with all that lies between the films, and its spreadsheet
    fuzzing                        hostile input in child processes that are watched: bounds of time, memory and reach
    s3_server(), FlakyProxy        object storage in a process beside, and a network before it that fails

Faults in what writes and reads caches, to test that nothing is lost (`benchmarks/torture.py` and `kills.py` do):

    faulty(layer)                  under FailsAt, Short, KillsAt or PowerLoss; counted(work): where they can strike
    in_child(work)                 work in a child that may be killed
    fails_to_read(file)            a file of which every open descriptor answers with an I/O error
    Place, served, different       what lies where a cache is, and what it serves, to compare; `bucket.py`: on S3

The files are PNG and DICOM of several kinds, and one is broken on purpose. `anatomy.py` draws a chest,
`film.py` exposes it, `files.py` stores it. `objects.py` makes what an archive holds; `dicom.py` is what all DICOM files
share. `damage.py` damages caches, and `regions.py` says which of their bytes are what; both are imported by their own
names, since they need the store.
"""

from resload.testing.archive import SyntheticArchive, write_archive
from resload.testing.children import Ended, in_child
from resload.testing.faults import FailsAt, KillsAt, Layer, Short, counted, faulty
from resload.testing.files import write_synthetic
from resload.testing.film import DIAMETERS_MM, TARGETS, Nodule, SyntheticFilm, synthetic_film
from resload.testing.miniatures import write_miniature
from resload.testing.phantoms import ideal_area, write_phantoms
from resload.testing.places import Place, Served, different, served
from resload.testing.power import EVERYTHING, NAMES, NOTHING, PowerCut, PowerLoss
from resload.testing.storage import FlakyProxy, S3Server, s3_at, s3_server
from resload.testing.unreadable import fails_to_read

__all__ = [
    "DIAMETERS_MM",
    "EVERYTHING",
    "NAMES",
    "NOTHING",
    "TARGETS",
    "Ended",
    "FailsAt",
    "FlakyProxy",
    "KillsAt",
    "Layer",
    "Nodule",
    "Place",
    "PowerCut",
    "PowerLoss",
    "S3Server",
    "Served",
    "Short",
    "SyntheticArchive",
    "SyntheticFilm",
    "counted",
    "different",
    "fails_to_read",
    "faulty",
    "ideal_area",
    "in_child",
    "s3_at",
    "s3_server",
    "served",
    "synthetic_film",
    "write_archive",
    "write_miniature",
    "write_phantoms",
    "write_synthetic",
]
