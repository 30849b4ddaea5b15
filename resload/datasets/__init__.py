"""Public data sets as catalogs: one short file for each, with the traps it handles and where they come from.

`nih.py` is `chestxray14`. A data set's function takes the folder it was unpacked to and its policies, reads
tables and lists folders, and opens hardly any image.
"""

from resload.datasets.nih import chestxray14

__all__ = ["chestxray14"]
