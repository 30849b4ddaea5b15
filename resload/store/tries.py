"""Requests of storage that are made again as long as that may help, and what is said when it does not.

    throttled, failed, cut, silent    again, later each time, for `GIVE_UP` seconds; then StorageError
    refused                           StorageError at once: no right, no such bucket, no credentials
    not there                         FileNotFoundError at once

What other libraries say is shown without what looks like a secret, or is one in the environment.
"""

import errno
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from resload import seeds
from resload.errors import ResloadError, StorageError

T = TypeVar("T")

GIVE_UP = 120.0
"""Seconds after which a request that fails is not made again: storage that rests for a minute costs no training."""
FIRST_WAIT, LONGEST_WAIT = 0.3, 8.0
"""Seconds between two tries: doubled each time, and shortened by chance lest many processes come back at once."""
_REFUSED = (
    FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError, ImportError, ValueError,
    TypeError, AttributeError, NotImplementedError, MemoryError,
)  # fmt: skip
"""Answers that will be the same next time."""
_OURS = (TypeError, AttributeError, MemoryError, NotImplementedError, ResloadError)
"""Of these, what is not storage's doing."""
_REFUSED_NUMBERS = {
    errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.EMSGSIZE,
    getattr(errno, "EREMCHG", errno.EINVAL),
}  # fmt: skip
"""The same, as numbers of OSError (s3fs translates the codes of S3 into these)."""
_LATER = {408, 409, 425, 429}
"""Answers of HTTP to the client that another time may be others."""
_AGAIN_CODES = {"BadDigest", "IncompleteBody", "NoSuchUpload", "RequestTimeout"}
"""Answers of S3 that a connection which failed midway brings about."""
_REFUSED_NAMES = {"NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "ProfileNotFound"}
"""The same, of libraries that need not be there."""
SECRET = re.compile(r"(?i)((?:signature|sig|secret|token|password|credential|accesskeyid|\w*key)[\w-]*=)[^&\s'\"]+")
LOGIN = re.compile(r"//[^/@\s]*:[^/@\s]*@")
_SECRET_NAMES = re.compile(r"(?i)secret|key|token|passw|credential|connection_string|sas")


def tried(place: object, verb: str, request: Callable[[], T]) -> T:
    """What the request answers, made again as long as that may help. verb: what was asked, for the message."""
    begun, attempt = time.monotonic(), 0
    while True:
        try:
            return request()
        except Exception as exc:  # each library has errors of its own
            failed = exc
        if isinstance(failed, FileNotFoundError) and not _is_again(failed):
            if verb != "write":
                raise failed
            raise StorageError(f"{place}: storage refuses to write it: {scrubbed(failed)}") from None
        if is_refused(failed):
            if isinstance(failed, _OURS):
                raise failed
            raise StorageError(f"{place}: storage refuses to {verb} it: {scrubbed(failed)}") from None
        attempt, passed = attempt + 1, time.monotonic() - begun
        if passed >= GIVE_UP:
            raise StorageError(
                f"{place}: could not {verb} it in {attempt} tries and {passed:.0f} seconds, the last answer: "
                f"{scrubbed(failed)}; what is there is kept: run the same again when storage answers"
            ) from None
        check_wanted(place)
        _wait(attempt - 1)


@contextmanager
def wanted_until(ended: Callable[[], bool]) -> Iterator[None]:
    """In this thread, what is fetched is given up between two requests once it is no longer wanted."""
    _here.ended = ended
    try:
        yield
    finally:
        del _here.ended


_here = threading.local()


def check_wanted(place: object) -> None:
    """Raise StorageError where a fetch is no longer wanted, see `wanted_until`."""
    ended: Callable[[], bool] | None = getattr(_here, "ended", None)
    if ended is not None and ended():
        raise StorageError(f"{place}: no longer wanted, what is fetched is kept")


def _is_again(exc: BaseException) -> bool:
    """Whether S3 answered what says nothing of the request, but that the one before ended midway."""
    answer = getattr(exc.__cause__, "response", None)
    return isinstance(answer, dict) and answer.get("Error", {}).get("Code") in _AGAIN_CODES


def is_refused(exc: BaseException) -> bool:
    """Whether the same request would have the same answer."""
    if _is_again(exc):
        return False
    status = getattr(exc, "status_code", None) or getattr(exc, "code", None)  # of Azure's and Google's libraries
    if str(status).isdecimal():
        return 400 <= int(str(status)) < 500 and int(str(status)) not in _LATER
    if isinstance(exc, OSError) and not isinstance(exc, (ConnectionError, TimeoutError)):
        return isinstance(exc, _REFUSED) or exc.errno in _REFUSED_NUMBERS
    return isinstance(exc, _REFUSED) or type(exc).__name__ in _REFUSED_NAMES


def _wait(attempt: int) -> None:
    most = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)
    rng = seeds.generator(os.getpid(), time.monotonic_ns(), "retry", attempt)
    time.sleep(most * rng.uniform(0.5, 1.0))


def scrubbed(exc: BaseException) -> str:
    """An error of another library in words, without what looks like a secret."""
    text = str(exc)
    for secret in _known_secrets():
        text = text.replace(secret, "...")
    text = SECRET.sub(r"\1...", LOGIN.sub("//...@", text))
    return f"{type(exc).__name__}: {text.splitlines()[0][:300]}" if text else type(exc).__name__


def _known_secrets() -> list[str]:
    """Values of the environment, and of fsspec's configuration, that are called secrets, keys, tokens."""
    from fsspec.config import conf

    told: list[tuple[str, object]] = [*os.environ.items()]
    for options in conf.values():
        told += options.items() if isinstance(options, dict) else []
    named = {value for name, value in told if isinstance(value, str) and _SECRET_NAMES.search(str(name))}
    return sorted((value for value in named if len(value) > 7), key=len, reverse=True)
