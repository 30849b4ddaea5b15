"""What input must never bring about, watched by Python's audit events (PEP 578) from within the process.

Files outside of one folder, processes, sockets, unpickled objects, code. What Python itself opens to import a module
of the installation is let through; whatever else is wrong ends the execution with `Escape`, which is no Exception, so
that no handler of the library's can hide it.
"""

import os
import shutil
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from resload import errors

_FORBIDDEN = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile",
    "pickle.find_class", "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "pty.spawn",
    "cpython.run_command", "cpython.run_file", "cpython.run_startup", "webbrowser.open",
)  # fmt: skip
_ON_PATHS = frozenset((
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.listdir", "os.scandir", "shutil.rmtree", "shutil.copyfile", "shutil.move", "os.chdir", "os.utime",
))  # fmt: skip
_READABLE = ("/proc/", "/sys/fs/cgroup/", "/sys/devices/system/", os.devnull)
"""What the library reads of its machine: memory, processors."""


class Escape(BaseException):
    """An input brought about what it must not."""


class Guard:
    """An audit hook, which cannot be taken away again; it watches while `armed`."""

    def __init__(self, folder: Path) -> None:
        self._home = os.path.realpath(folder) + os.sep
        own = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(os.__file__).parent), *map(str, _own_code())}
        self._code = tuple({os.path.realpath(one) + os.sep for one in own} | {one + os.sep for one in own})
        shutil._use_fd_functions = False  # type: ignore[attr-defined]  # so that events tell whole paths
        self.armed = False
        self.escaped: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event == "open":
            self._opened(*args)
        elif event in _ON_PATHS:
            for one in args[:2]:
                if isinstance(one, str | bytes | os.PathLike) and not self._within(os.fspath(one)):
                    self._escape(f"{event} {os.fsdecode(one)}")
        elif event in ("exec", "compile"):
            if not (_importing() or _is_traceback(args)):
                self._escape(f"{event} {str(args)[:200]}")
        elif event.startswith(_FORBIDDEN):
            self._escape(f"{event} {str(args)[:200]}")

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a descriptor that is open already
        text = os.fsdecode(path)
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if self._within(text) or (not writes and text.startswith((*_READABLE, *self._code))):
            return
        self._escape(f"open {text} {mode} {flags}")

    def _within(self, path: str | bytes) -> bool:
        real = os.path.realpath(os.fsdecode(path).replace("\0", ""))
        return (real + os.sep).startswith(self._home)

    def _escape(self, what: str) -> None:
        self.escaped.append(what)
        raise Escape(what)


def _own_code() -> list[str]:
    return [str(Path(errors.__file__).parent), *(path for path in sys.path if path)]


def _is_traceback(args: tuple[Any, ...]) -> bool:
    """What Cython evaluates to build a traceback of an extension: a text of its own, in the name of its file."""
    if isinstance(args[0], CodeType):
        return args[0].co_filename.endswith((".pyx", ".pxd")) and args[0].co_names == ("_getframe",)
    return bool(args[0] == b"_getframe()")


def _importing() -> bool:
    """Whether Python is importing a module: then its code is executed, as it should be."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
