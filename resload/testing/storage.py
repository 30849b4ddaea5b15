"""Object storage for tests: a real S3 server in a process of its own, and a proxy before it that misbehaves.

with s3_server() as server:                      moto's server on a free port of this machine, one empty bucket
    resload.build(catalog, f"{server.url}/a.zarr", 128)
    with FlakyProxy(server.endpoint, rate=0.3) as proxy, s3_at(proxy.endpoint):
        resload.verify(f"{server.url}/a.zarr")   three of ten requests fail, in one of `FAULTS`
"""

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import urlsplit

from resload import seeds
from resload.errors import ArgumentError, MissingPackageError, StorageError, require

FAULTS = ("slow", "error", "drop", "lost", "cut", "stall", "short")
"""What may happen to a request:

slow    503 SlowDown: throttled; nothing was done
error   500 InternalError; nothing was done
drop    the connection ends before an answer; nothing was done
lost    the same, after the request was done
cut     the connection ends in the middle of the answer
stall   silence for `stall` seconds, then the connection ends
short   a body (of a GET that is not a listing) that is shorter than what was asked for, and looks whole
"""
_RUN = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(["-H", "127.0.0.1", "-p", "0"])
"""
"""The server's program: it ends with the process that started it, whose end of the pipe then closes."""
_STARTS_IN = 60.0
_REFUSALS = {"slow": (503, "SlowDown"), "error": (500, "InternalError")}
_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "expect")
_SUMS = ("content-md5", "x-amz-checksum-crc32", "x-amz-checksum-crc32c", "x-amz-checksum-crc64nvme",
         "x-amz-checksum-sha1", "x-amz-checksum-sha256")  # fmt: skip
"""Headers by which a client would see that a body is short."""


@dataclass(frozen=True)
class S3Server:
    """A server that runs. `endpoint`: "http://127.0.0.1:PORT"; `url`: of a bucket that is there, "s3://resload"."""

    endpoint: str
    url: str = "s3://resload"
    key: str = "AKIARESLOADTESTING"
    """As the environment has it, AWS_ACCESS_KEY_ID."""
    secret: str = "resload/testing/secret/never/printed"  # noqa: S105  of a server that asks nobody
    """As the environment has it, AWS_SECRET_ACCESS_KEY."""


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """An S3 server on this machine, and the environment (AWS_*) set so that s3fs finds it; put back at the end.

    What it holds is in its memory, and gone at the end. Raises MissingPackageError without moto[server] and s3fs.
    """
    require("s3fs", "dev", "to speak with an S3 server")
    if not all(importlib.util.find_spec(name) for name in ("moto", "flask")):
        raise MissingPackageError("moto[server] is needed to run an S3 server and is not installed: "
                                  "pip install 'resload[dev]'", name="moto")  # fmt: skip
    process = subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-c", _RUN], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        server = S3Server(_endpoint(process))
        environment = {"AWS_ACCESS_KEY_ID": server.key, "AWS_SECRET_ACCESS_KEY": server.secret,
                       "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull,
                       "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip
        with _environment(environment), s3_at(server.endpoint):
            _make_bucket(server)
            yield server
    finally:
        process.kill()
        process.communicate()


def _endpoint(process: "subprocess.Popen[bytes]") -> str:
    """Where the server listens, which it says on stderr; a thread goes on reading, lest it waits for a reader."""
    assert process.stderr is not None
    ends = time.monotonic() + _STARTS_IN
    said: list[bytes] = []
    while time.monotonic() < ends and (line := process.stderr.readline()):
        said.append(line)
        found = re.search(rb"Running on (http://127\.0\.0\.1:\d+)", line)
        if found:
            Thread(target=process.stderr.read, name="resload-s3-log", daemon=True).start()
            return found[1].decode()
    raise StorageError(f"moto's server did not start: {b''.join(said).decode(errors='replace')[-500:]}")


def _make_bucket(server: S3Server) -> None:
    place = urlsplit(server.endpoint)
    connection = HTTPConnection(place.netloc, timeout=_STARTS_IN)
    connection.request("PUT", f"/{urlsplit(server.url).netloc}", headers={"Authorization": f"AWS {server.key}:x"})
    answer = connection.getresponse()
    connection.close()
    if answer.status != 200:
        raise StorageError(f"moto's server made no bucket: {answer.status} {answer.reason}")


@contextmanager
def s3_at(endpoint: str) -> Iterator[None]:
    """Have s3fs speak with this endpoint: the environment is set and put back, and connections are made anew."""
    systems = require("s3fs", "dev", "to speak with an S3 server").S3FileSystem
    with _environment({"AWS_ENDPOINT_URL": endpoint}):
        systems.clear_instance_cache()
        try:
            yield
        finally:
            systems.clear_instance_cache()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables, and no other AWS_* ones but those of an outer call, until the end of the block."""
    before = dict(os.environ)
    os.environ.pop("AWS_PROFILE", None)
    os.environ.pop("AWS_SESSION_TOKEN", None)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


class FlakyProxy:
    """An HTTP proxy on this machine before an S3 server; a context manager. Thread-safe.

    Args:
        upstream: the server's endpoint.
        rate: which part of the requests fails, 0 to 1; may be set at any time.
        faults: how, each as often as the others; see `FAULTS`.
        seed: the k-th request to arrive has the same fate in each run.
        latency: seconds that every answer takes longer.
        stall: seconds of silence.
    """

    def __init__(
        self,
        upstream: str,
        *,
        rate: float = 0.0,
        faults: Sequence[str] = FAULTS,
        seed: int = 0,
        latency: float = 0.0,
        stall: float = 1.0,
    ) -> None:
        if not set(faults) <= set(FAULTS):
            raise ArgumentError(f"faults must be among {', '.join(FAULTS)}; found {', '.join(faults)}")
        self.upstream, self.rate, self.faults = urlsplit(upstream).netloc, rate, tuple(faults)
        self.latency, self.stall = latency, stall
        self.requests: list[tuple[str, str, str]] = []
        """Of each request in the order of arrival: (method, path with query, "Range" header or "")."""
        self.happened: Counter[str] = Counter()
        """How often each fault was."""
        self._rng = seeds.generator(seed, 0, "network")
        self._lock = Lock()
        self._server = _Server(self)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        """For `s3_at`."""
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="resload-proxy", daemon=True)

    def __enter__(self) -> "FlakyProxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fate(self, method: str, path: str, part: str) -> str:
        """Note a request; what is to happen to it, "" for nothing."""
        with self._lock:
            self.requests.append((method, path, part))
            chance, which = self._rng.random(2)
            if chance >= self.rate or not self.faults:
                return ""
            found = self.faults[int(which * len(self.faults))]
            if found == "short" and (method != "GET" or "?" in path):
                found = "cut"
            self.happened[found] += 1
            return found

    def counted(self, method: str, ending: str = "") -> int:
        """How many requests of a method there were for paths (without the query) that end so."""
        with self._lock:
            return sum(one == method and path.partition("?")[0].endswith(ending) for one, path, _ in self.requests)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: FlakyProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what it is there for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body would wait 40 ms for the client to acknowledge the headers
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's name
        """Say nothing."""

    def _answer(self) -> None:
        proxy, body = self.server.proxy, self._body()
        fate = proxy.fate(self.command, self.path, self.headers.get("Range", ""))
        time.sleep(proxy.latency + proxy.stall * (fate == "stall"))
        if fate in _REFUSALS:
            self._refuse(*_REFUSALS[fate])
            return
        answer = None if fate in ("drop", "stall") else self._passed_on(body)
        if answer is None or fate == "lost":
            self.close_connection = True
        else:
            self._send(*answer, fate)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while length := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _passed_on(self, body: bytes) -> tuple[HTTPResponse, bytes] | None:
        """What the server answers; None where it does not."""
        passed = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        if body or self.command in ("PUT", "POST"):
            passed["Content-Length"] = str(len(body))
        connection = HTTPConnection(self.server.proxy.upstream, timeout=60)
        try:
            connection.request(self.command, self.path, body or None, passed)
            answer = connection.getresponse()
            return answer, answer.read()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def _send(self, answer: HTTPResponse, data: bytes, fate: str) -> None:
        sent = data[: len(data) // 2] if fate in ("short", "cut") else data
        hidden = (*_HOP_BY_HOP, "server", "date", *(_SUMS if fate == "short" else ()))
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in hidden:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(sent if fate == "short" else data)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(sent)
        if fate == "cut":
            self.close_connection = True

    def _refuse(self, status: int, code: str) -> None:
        words = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>made by a test</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(words)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815  http.server's names
