"""Everything resload raises on purpose, in one tree; each class is also the builtin it is.

    ResloadError
    ├── ArgumentError (ValueError)         an argument is wrong
    │   └── SizeError                      a size is malformed, or not one this data can serve
    ├── MissingPackageError (ImportError)  an optional package is not installed
    ├── CatalogError (ValueError)          a table that is not a catalog
    ├── DecodeError (ValueError)           one file that cannot become a radiograph
    │   ├── UnreadableFileError (OSError)  it could not be opened or read
    │   ├── UnknownFormatError             its first bytes are no format resload reads
    │   ├── TruncatedFileError             it is empty or ends too early
    │   ├── TooLargeError                  it claims more pixels than the limit
    │   └── NotARadiographError            it has no pixels, or more frames or colours than one image
    ├── CacheError (OSError)               a cache that cannot be served or built
    │   ├── NotACacheError (FileNotFoundError)
    │   ├── IncompleteCacheError           its build did not finish
    │   ├── NewerFormatError               it was written by a later resload
    │   ├── CacheMismatchError             the build asked for is not the one that is there
    │   ├── CorruptCacheError              bytes differ from their checksum
    │   ├── DiskSpaceError                 the disk is too small for what was asked
    │   ├── StorageError                   storage does not answer, or refuses
    │   ├── WorkerError                    a worker of an executor died, or does not see what it needs
    │   └── BuildInProgressError           another process is building it
    ├── StudyError (RuntimeError)          a study's folder is damaged, or a network of it did not learn
    ├── StateError (ValueError)            a saved position belongs to another plan
    └── ForkedError (RuntimeError)         what needs the threads of the process that was forked

`DecodeError.reason` is the fixed sentence that a cache keeps (no path, no host, no time), so that two
builds of one catalog write the same bytes.
"""

import importlib
from functools import partial
from types import ModuleType
from typing import Any


class ResloadError(Exception):
    """Base of every error resload raises on purpose."""


class ArgumentError(ResloadError, ValueError):
    """An argument is wrong; the message names it, what was expected and what was found."""


class SizeError(ArgumentError):
    """A size is malformed, or is not one that this data can serve."""


class MissingPackageError(ResloadError, ImportError):
    """An optional package is missing; the message names the extra to install."""


class CatalogError(ResloadError, ValueError):
    """A table that is not a catalog; the message names the column or rows and the remedy."""


class DecodeError(ResloadError, ValueError):
    """One file that cannot become a radiograph.

    `reason` is a fixed sentence without path or host; `path` is the file when it is known.
    """

    def __init__(self, reason: str, *, path: object = None, detail: str = "") -> None:
        self.reason = reason
        self.path = path
        self.detail = detail
        super().__init__(reason, path, detail)

    def __str__(self) -> str:
        text = self.reason if self.path is None else f"{self.path}: {self.reason}"
        return f"{text} ({self.detail})" if self.detail else text

    def at(self, path: object) -> "DecodeError":
        """The same error, naming the file it happened in (for the code that knows the path)."""
        return type(self)(self.reason, path=path, detail=self.detail)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args` by position; worker processes send errors home by pickle.
        return partial(type(self), self.reason, path=self.path, detail=self.detail), (), self.__dict__


class UnreadableFileError(DecodeError, OSError):
    """The file could not be opened or read."""


class UnknownFormatError(DecodeError):
    """The first bytes are none of the formats resload reads."""


class TruncatedFileError(DecodeError):
    """The file is empty or ends before its pixels do."""


class TooLargeError(DecodeError):
    """The header claims more pixels than the limit (a decompression bomb, or a damaged header)."""


class NotARadiographError(DecodeError):
    """The file holds no pixels, or something other than one two-dimensional image."""


class CacheError(ResloadError, OSError):
    """A cache that cannot be served or built."""


class NotACacheError(CacheError, FileNotFoundError):
    """No resload cache is at this path."""


class IncompleteCacheError(CacheError):
    """The build of this cache has not finished."""


class NewerFormatError(CacheError):
    """The cache was written by a later version of resload."""


class CacheMismatchError(CacheError):
    """The build that was asked for cannot continue the cache that is there."""


class CorruptCacheError(CacheError):
    """Stored bytes differ from their checksum; the message names file, record and both sums."""


class DiskSpaceError(CacheError):
    """The disk has less room than the build needs."""


class StorageError(CacheError):
    """Storage does not answer after many tries, or refuses what is asked; what is built or fetched is kept."""


class WorkerError(CacheError):
    """A worker of an executor died, sees other files than the process that sent it work, or has other versions."""


class BuildInProgressError(CacheError):
    """Another process is building this cache."""


class StudyError(ResloadError, RuntimeError):
    """A study's folder that is damaged or is none, or a network whose loss is not a number any more."""


class StateError(ResloadError, ValueError):
    """A saved position belongs to another plan (other data, seed, batch size or order)."""


class ForkedError(ResloadError, RuntimeError):
    """What needs threads of another process: an iteration that began before this process was forked from it."""


def require(package: str, extra: str, why: str, *, name: str = "") -> ModuleType:
    """Import an optional package, or say which extra brings it.

    `require("matplotlib.pyplot", "figures", "to draw a contact sheet")`; `name` where the package is not called as its
    first module is.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as exc:
        top = package.partition(".")[0]
        if exc.name is not None and exc.name.partition(".")[0] != top:
            raise  # the package is there; something it needs is not, and that message is the useful one
        raise MissingPackageError(
            f"{name or top} is needed {why} and is not installed: pip install 'resload[{extra}]'", name=top
        ) from exc
