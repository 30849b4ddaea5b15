"""A folder in a bucket of an S3 server on this machine, by plain requests: no thread, and nothing of resload's own."""

import hashlib
import html
import re
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit

from resload.errors import StorageError
from resload.testing.places import Place
from resload.testing.storage import S3Server

_PATIENCE = 60.0


class Bucket:
    """A place for a cache in object storage, for a server that asks nobody who they are, as that of `s3_server`.

    Each request has a connection of its own, so that a process which only looks here may fork at any time.
    Raises StorageError for what the server refuses.
    """

    def __init__(self, server: S3Server, name: str) -> None:
        self.path = f"{server.url}/{name}"
        """As `build` and `open_cache` take it."""
        place = urlsplit(self.path)
        self._server, self._key = urlsplit(server.endpoint).netloc, server.key
        self._bucket, self._folder = place.netloc, f"{place.path.strip('/')}/"

    def tree(self) -> dict[str, str]:
        """Every object below it: the SHA-256 (hex) of its bytes. As `Place.tree`, but for folders: there are none."""
        return {name: hashlib.sha256(self._asked("GET", self._folder + name)).hexdigest() for name in self.names()}

    def names(self) -> list[str]:
        """Every object below it, sorted."""
        found: list[str] = []
        while True:
            after = quote(self._folder + found[-1], safe="") if found else ""
            query = f"?list-type=2&prefix={quote(self._folder, safe='')}&start-after={after}"
            keys = re.findall(r"<Key>([^<]*)</Key>", self._asked("GET", "", query).decode())
            if not keys:
                return found
            found += sorted(html.unescape(key).removeprefix(self._folder) for key in keys)

    def fill(self, place: Place) -> None:
        """Put every file of a folder here."""
        for file in sorted(place.path.rglob("*")):
            if file.is_file():
                self.change(file.relative_to(place.path).as_posix(), file.read_bytes())

    def change(self, name: str, data: bytes | None) -> None:
        """Put one object; remove it where there is no data."""
        self._asked("DELETE" if data is None else "PUT", self._folder + name, body=data)

    def clear(self) -> None:
        """Remove all of it."""
        for name in self.names():
            self.change(name, None)

    def _asked(self, method: str, key: str, query: str = "", body: bytes | None = None) -> bytes:
        connection = HTTPConnection(self._server, timeout=_PATIENCE)
        try:
            target = f"/{self._bucket}/{quote(key)}{query}"
            connection.request(method, target, body, {"Authorization": f"AWS {self._key}:x"})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise StorageError(f"{self.path}: {method} {key}: {answer.status} {answer.reason}")
        return data
