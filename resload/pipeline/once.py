"""Films decoded once for several recipes that are built at the same time.

    build 1 --bytes-->  ┌──────┐ --film-->  levels of recipe 1
    build 2 --bytes-->  │ Once │ --film-->  levels of recipe 2     whoever comes first decodes; the last one lets go
    build 3 --bytes-->  └──────┘ --film-->  levels of recipe 3

Films wait for the slowest build, so many at most: a build that is ahead waits for the others. Where they go different
ways (one was interrupted later than another) nobody comes for a film: after a while it is let go, and decoded again if
somebody does.
"""

import hashlib
import threading
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass

from resload.decode import Radiograph
from resload.pipeline.cpu import Known, as_radiograph

Key = tuple[bytes, int, str]

PATIENCE = 2.0
"""Seconds without anybody's coming for a film, after which the oldest is let go."""


@dataclass
class _Film:
    decoded: "Future[Radiograph]"
    awaited: int
    """By how many more builds."""


class Once:
    """Decodes for `users` builds. Thread-safe.

    most: films that wait at a time. `decoded`: how many films were decoded so far.
    """

    def __init__(self, users: int, most: int) -> None:
        self._users, self._most = users, most
        self._films: dict[Key, _Film] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self.decoded = 0

    def __call__(self, source: object, known: Known, colour: str) -> Radiograph:
        """The film; its pixels are shared, and only to be read. Raises DecodeError, for each build anew."""
        if self._stopped:
            raise CancelledError("the builds that share this film were stopped")
        if not isinstance(source, bytes):
            return as_radiograph(source, frame=known.frame, colour=colour)
        key = hashlib.blake2b(source, digest_size=16).digest(), known.frame, colour
        film, mine = self._asked(key)
        if mine:
            self._decode(film, source, known, colour)
        return film.decoded.result()

    def stop(self) -> None:
        """Every build ends with its next film."""
        with self._changed:
            self._stopped, self._users = True, 1
            self._changed.notify_all()

    def ended(self) -> None:
        """One build less: it is not waited for."""
        with self._changed:
            self._users -= 1
            for key in list(self._films):
                self._came(key)
            self._changed.notify_all()

    def _asked(self, key: Key) -> tuple[_Film, bool]:
        """The film, and whether it is for the caller to decode."""
        with self._changed:
            while key not in self._films and self._users > 1 and len(self._films) >= self._most:
                if not self._changed.wait(PATIENCE):
                    self._films.pop(next(iter(self._films)), None)
            mine = key not in self._films
            if mine:
                self._films[key] = _Film(Future(), self._users)
                self.decoded += 1
                self._changed.notify_all()  # whoever waits for room may have waited for this film
            film = self._films[key]
            self._came(key)
            return film, mine

    def _came(self, key: Key) -> None:
        film = self._films[key]
        film.awaited -= 1
        if film.awaited <= 0:
            del self._films[key]
            self._changed.notify_all()

    def _decode(self, film: _Film, source: bytes, known: Known, colour: str) -> None:
        try:
            found = as_radiograph(source, frame=known.frame, colour=colour)
        except BaseException as error:
            film.decoded.set_exception(error)
        else:
            film.decoded.set_result(found)
