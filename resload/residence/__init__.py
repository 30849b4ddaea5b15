"""Pixels of rows that stay on a device: put there as they arrive, gathered for every batch, shared, and given back.

keepers    the memory of one device, and the order of work on it
kept       pixels of rows in such memory: which are missing, put what arrived, take a batch
sharing    one for all who ask for the same pixels; the last one to let go gives the memory back
"""

from resload.residence.kept import Residence
from resload.residence.sharing import Holds, Residences

__all__ = ["Holds", "Residence", "Residences"]
