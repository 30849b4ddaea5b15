"""Which films go together: splits that never cut a group, alike in what they hold.

Films of one patient look alike, so a patient in two splits is a leak: the test score then measures memory.
Whole groups are dealt out, and the number of *films*, not of groups, meets the fractions.

dealing      whole groups -> splits of given numbers of films
  └── stratified   the same, with the positives of every target in equal shares too
        └── exchanging   groups moved and exchanged until neither helps
strata       columns of a table -> which film belongs to which stratum
linked       groups that must not be parted, joined into one
drawing      as many negatives as positives, drawn anew for every seed

All of it is arithmetic on NumPy arrays: no tables of films, no files.
"""

from resload.splits.dealing import split_groups
from resload.splits.drawing import balanced_draw
from resload.splits.linked import components, joined_groups
from resload.splits.strata import memberships
from resload.splits.stratified import stratified_groups

__all__ = ["balanced_draw", "components", "joined_groups", "memberships", "split_groups", "stratified_groups"]
