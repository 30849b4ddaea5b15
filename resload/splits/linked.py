"""Groups that must not be parted: what links join, directly or in several steps, is one."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.splits.dealing import numbered


def components(count: int, links: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """(count,) int64: for each of 0 .. count - 1, the smallest number that links lead to from it (union-find).

    >>> components(5, [(4, 1), (3, 4)]).tolist()
    [0, 1, 2, 1, 1]
    """
    parent = list(range(count))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for a, b in links:
        small, large = sorted((root(a), root(b)))
        parent[large] = small
    # A parent is never larger than its child, so one pass upwards finds every root.
    for one in range(count):
        parent[one] = parent[parent[one]]
    return np.array(parent, dtype=np.int64)


def joined_groups(groups: object, clusters: "pd.Series[Any]") -> NDArray[np.int64]:
    """(n,) int64: groups as numbers, where those with films of one cluster have become one.

    groups: (n,) any hashables, none missing. clusters: (n,) any hashables, missing for a film of no cluster.
    The numbers order the groups as their spellings do, so the answer does not depend on the order of the films.
    """
    codes, sizes = numbered(groups)
    cluster, _ = pd.factorize(clusters)
    inside = np.flatnonzero(cluster >= 0)
    inside = inside[np.argsort(cluster[inside], kind="stable")]
    same = cluster[inside[1:]] == cluster[inside[:-1]]
    links = zip(codes[inside[1:]][same].tolist(), codes[inside[:-1]][same].tolist(), strict=True)
    return components(len(sizes), links)[codes]
