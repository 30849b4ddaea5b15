"""The same film twice: in two splits, of two patients, in two data sets. And patients in two splits.

near_duplicates   a catalog or cache -> a table of pairs of films that show the same
  ├── images      its films at a small size, from a cache's levels or decoded from the files
  ├── search      all pairs of small images that correlate, exactly and without comparing all in full
  └── overlaps    which public data sets are known to share films, so that a pair can be explained
crossing          what belongs together and is in different splits: refused where it is known

A copy that was re-encoded, resized, made brighter or inverted is found. One that was flipped, turned or cropped is
not: its pixels lie elsewhere, and correlation compares pixels at the same place.
"""

from resload.leakage.crossing import (
    COLUMN,
    cluster_names,
    clusters_of,
    crossing_clusters,
    shared_groups,
)
from resload.leakage.overlaps import overlap_notes
from resload.leakage.pairs import near_duplicates

__all__ = [
    "COLUMN",
    "cluster_names",
    "clusters_of",
    "crossing_clusters",
    "near_duplicates",
    "overlap_notes",
    "shared_groups",
]
