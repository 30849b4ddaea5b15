"""What to say when the system cannot read a file of a cache."""

import errno

from resload.errors import CacheError, CorruptCacheError
from resload.store.remote import Location

REMEDY = "resload.verify lists what is damaged, resload.repair makes it again from the sources"

_REMEDIES = {
    errno.EACCES: "give this user the right to read it",
    errno.EPERM: "give this user the right to read it",
    errno.EMFILE: "let this process open more files (ulimit -n), or close other caches and loaders",
    errno.ENFILE: "this system has too many files open",
    errno.ESTALE: "it was replaced on its file server: open the cache again",
}


def unreadable(path: Location, error: OSError) -> CacheError:
    """The error to raise: CorruptCacheError for what a disk cannot give back (EIO), which `repair` makes again; else
    a CacheError, since nothing is known to be lost.
    """
    if error.errno == errno.EIO:
        return CorruptCacheError(f"{path}: it could not be read ({error.strerror}); {REMEDY}")
    remedy = _REMEDIES.get(error.errno or 0, "try again when that is put right")
    return CacheError(f"{path}: it could not be read ({error.strerror or error}); {remedy}")
