"""Synthetic radiographs for tests, examples and the demo: made, not patients', and with known truth.

    synthetic_film(index)          one film in memory: pixels, spacing, nodules, targets
    write_synthetic(folder, n)     n files as archives have them, and the catalog of them
    write_miniature(name, folder)  a public data set: its tables, names and quirks, a few tiny images
    write_archive(folder, n)       a hospital's archive with all that lies between the films, and its spreadsheet
    s3_server(), FlakyProxy        object storage in a process beside, and a network before it that fails

The files are PNG and DICOM of several kinds, and one is broken on purpose. `anatomy.py` draws a chest,
`film.py` exposes it, `files.py` stores it. `objects.py` makes what an archive holds; `dicom.py` is what all DICOM files
share.
"""

from resload.testing.archive import SyntheticArchive, write_archive
from resload.testing.files import write_synthetic
from resload.testing.film import DIAMETERS_MM, TARGETS, Nodule, SyntheticFilm, synthetic_film
from resload.testing.miniatures import write_miniature
from resload.testing.storage import FlakyProxy, S3Server, s3_at, s3_server

__all__ = [
    "DIAMETERS_MM",
    "TARGETS",
    "FlakyProxy",
    "Nodule",
    "S3Server",
    "SyntheticArchive",
    "SyntheticFilm",
    "s3_at",
    "s3_server",
    "synthetic_film",
    "write_archive",
    "write_miniature",
    "write_synthetic",
]
