"""An environment for each loader that we compare with, made once and left alone afterwards.

    python benchmarks/peers/install.py [NAME ...] [--system] [--list]

Each is benchmarks/peers/.envs/NAME: a bare virtual environment whose search path ends with that of the Python which
runs this. So torch, numpy and Pillow are shared, the same builds for everyone, and a peer that needs another version
(FFCV: numpy 1) has its own in front. pip takes what it finds there as installed.

FFCV has no wheel. It is compiled here, against Debian's OpenCV and libjpeg-turbo: the apt command is said when they
are missing, and run with --system. A peer that cannot be installed is reported with the reason, and the next follows.
"""

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ENVS = Path(__file__).parent / ".envs"
DONE = "installed"
"""A file in a finished environment; one without it is made again from nothing."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What one environment gets."""

    check: str
    """A line of Python that must run in the end."""
    packages: tuple[str, ...]
    """Requirements for pip, with all that they ask for."""
    bare: tuple[str, ...] = ()
    """Requirements for pip afterwards, compiled here if need be, without what they ask for."""
    libraries: tuple[str, ...] = ()
    """Names for pkg-config that must be there first."""
    apt: tuple[str, ...] = ()
    """Debian's packages that bring them."""
    programs: tuple[str, ...] = ()
    """Programs that must be on the PATH first."""


PEERS = {
    "ffcv": Peer(
        "import ffcv",
        # ffcv/fields/rgb_image.py imports cv2, which wants numpy 2 from 4.12 on.
        ("numpy<2", "numba==0.68.1", "opencv-python-headless<4.12", "assertpy", "fastargs", "psutil", "tqdm",
         "terminaltables"),
        bare=("ffcv==1.0.2",),
        libraries=("opencv4", "libturbojpeg"),
        apt=("libopencv-dev", "libturbojpeg0-dev", "pkg-config", "g++"),
        programs=("pkg-config", "g++"),
    ),
    # litdata and mosaicml-streaming ask for torchvision, which fits one build of torch only and would bring another
    # torch with it. What is used here runs without it: both go in last and bare.
    "litdata": Peer(
        "import litdata",
        ("boto3", "requests", "filelock", "lightning-utilities", "tifffile", "obstore"),
        bare=("litdata==0.2.76",),
    ),
    "webdataset": Peer("import webdataset", ("webdataset==1.0.2",)),
    "streaming": Peer(
        "import importlib.util; assert importlib.util.find_spec('streaming')",  # see streaming_loader.py
        ("boto3<2", "Brotli>=1.0.9", "google-cloud-storage>=2.9,<3.3", "matplotlib>=3.5.2,<4", "numpy<2.2",
         "paramiko<4", "python-snappy<1", "tqdm", "transformers>=4.21.3,<5", "xxhash<4", "zstd<2", "oci<3",
         "azure-storage-blob<13", "azure-storage-file-datalake<13", "azure-identity", "catalogue<3"),
        bare=("mosaicml-streaming==0.13.0",),
    ),
    # spdl loads FFmpeg's libraries when it first decodes; the package of the program brings all of them.
    "spdl": Peer("import spdl.io", ("spdl==0.8.0",), apt=("ffmpeg",), programs=("ffmpeg",)),
    "dali": Peer("import nvidia.dali", ("nvidia-dali-cuda130",)),
    "monai": Peer("import monai", ("monai==1.6.1",)),
    "huggingface": Peer("import datasets", ("datasets==5.2.0",)),
}  # fmt: skip


class Unavailable(Exception):
    """This peer cannot be installed here; the message says why."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)} (default: all)")
    parser.add_argument("--system", action="store_true", help="run apt-get for missing system packages")
    parser.add_argument("--list", action="store_true", help="say what is there, and install nothing")
    args = parser.parse_args()
    if unknown := set(args.names) - set(PEERS):
        parser.error(f"no peer is called {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    for name in args.names or PEERS:
        print(
            f"{name}: {'installed' if is_there(name) else 'not there'}" if args.list else installed(name, args.system)
        )
    return 0


def python_of(name: str) -> Path:
    """The interpreter of a peer's environment."""
    return ENVS / name / "bin" / "python"


def is_there(name: str) -> bool:
    """Whether a peer's environment was finished."""
    return (ENVS / name / DONE).exists()


def installed(name: str, system: bool = False) -> str:
    """Make one environment unless it is there; a line that says what became of it."""
    if is_there(name):
        return f"{name}: installed"
    print(f"{name}: installing ...", flush=True)
    try:
        make(name, PEERS[name], system)
    except Unavailable as reason:
        return f"{name}: not installed: {reason}"
    return f"{name}: installed"


def make(name: str, peer: Peer, system: bool) -> None:
    check_system(peer, system)
    shutil.rmtree(ENVS / name, ignore_errors=True)
    checked([sys.executable, "-m", "venv", "--without-pip", str(ENVS / name)])
    share_packages(name)
    pip(name, *peer.packages)
    if peer.bare:
        pip(name, "--no-deps", "--no-build-isolation", *peer.bare)
    checked([str(python_of(name)), "-c", peer.check])
    (ENVS / name / DONE).touch()


def share_packages(name: str) -> None:
    """Let the environment find our packages after its own. A path in a .pth file is appended to sys.path."""
    own = next((ENVS / name / "lib").glob("python*/site-packages"))
    (own / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")


def check_system(peer: Peer, system: bool) -> None:
    """Programs and libraries of the system: there, installed now, or Unavailable with what to do."""
    missing = [program for program in peer.programs if shutil.which(program) is None]
    if not missing:
        missing = [name for name in peer.libraries if not known_to_pkg_config(name)]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *peer.apt]
    if not system:
        raise Unavailable(f"it needs {', '.join(missing)} of this system: run {' '.join(command)}, or use --system")
    checked(["apt-get", "update"])
    checked(command)


def known_to_pkg_config(library: str) -> bool:
    return subprocess.run(["pkg-config", "--exists", library], check=False).returncode == 0


def pip(name: str, *arguments: str) -> None:
    """Install into the environment, but never another torch: all peers must run on ours to be compared with it."""
    held = ENVS / name / "constraints.txt"
    held.write_text(f"torch=={version('torch').partition('+')[0]}\n")
    checked([sys.executable, "-m", "pip", "--python", str(python_of(name)), "install", "--quiet", "--no-input",
             "--disable-pip-version-check", "--constraint", str(held), *arguments])  # fmt: skip


def checked(command: Sequence[str]) -> None:
    """Run a command; Unavailable with its last words when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(last_words(done.stderr or done.stdout) or f"{command[0]} ended with {done.returncode}")


def last_words(text: str) -> str:
    """The line of a failing program that says most: its last error, without addresses of the web."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(ERROR|\w*Error|E):", line)]
    return re.sub(r"\w+://\S+", "...", (errors or lines or [""])[-1])[:300]


if __name__ == "__main__":
    sys.exit(main())
