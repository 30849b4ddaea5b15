"""Tests in an environment with a package that .venv does not have: pillow-simd in Pillow's place, or NVIDIA DALI.

    .venv/bin/python tests/beside.py pillow-simd

makes .venv-pillow-simd beside .venv, installs that package into it, and lets it see the packages of .venv behind
its own, by a .pth file: .venv itself is read and never written to. Then it makes sure that the stand-in is what is
imported, runs the tests named for it below, and what comes after them. The environment is kept, and made anew when
what it is made of changes.

Ends with 0 where all of it passes, and where the machine lacks what the package is built with: it then says what was
not run and why. Ends with 1 where installing, a test, or what follows it fails.
"""

# ruff: noqa: T201 - a script prints

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class StandIn:
    """What an environment is made of, and what is run in it."""

    requirement: str
    """The one package that is installed, with its version: `name==version`."""
    modules: tuple[str, ...]
    """What must be imported from this environment and not from .venv; none where it cannot be imported by itself."""
    tests: tuple[str, ...]
    """Files in tests/; one that is not there is named and left out."""
    after: tuple[str, ...] = ()
    """Run by .venv's Python when the tests have passed: a script and its arguments."""
    with_needs: bool = False
    """Install what it needs too, where .venv does not have it."""
    options: tuple[str, ...] = ()
    """What pip is told besides."""
    environ: dict[str, str] = field(default_factory=dict)
    """For pip."""
    setting: dict[str, str] = field(default_factory=dict)
    """For the tests."""
    impossible: str = ""
    """Why it cannot be made here, if so."""
    left_out: str = ""
    """What is not run here, and why, if so."""


def main() -> int:
    stand_ins = {"pillow-simd": pillow_simd, "dali": dali, "triton": triton, "torchvision": torchvision}
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", choices=stand_ins)
    name = parser.parse_args().name
    one = stand_ins[name]()
    if one.impossible:
        print(f"beside: NOT RUN: tests with {one.requirement}: {one.impossible}")
        return 0
    python = environment(ROOT / f".venv-{name}", one)
    prove(python, one)
    there = [test for test in one.tests if (ROOT / test).is_file()]
    lacking = sorted({*one.tests} - {*there})
    ran([str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *there], os.environ | one.setting)
    if one.after:
        ran([sys.executable, *one.after])
    print(f"beside: passed with {one.requirement}: {', '.join(there)}")
    if lacking:
        print(f"beside: NOT RUN: not in this checkout: {', '.join(lacking)}")
    if one.left_out:
        print(f"beside: NOT RUN: {one.left_out}")
    return 0


# -- the environments --


def pillow_simd() -> StandIn:
    """Pillow's fork with SIMD code, as its users build it: from source, with AVX2 where the processor has it."""
    headers = {name: f"{name}.h" for name in ("zlib", "jpeglib", "tiffio")}
    lacking = [name for name, header in headers.items() if not compiles(f"#include <stdio.h>\n#include <{header}>\n")]
    switches = {"zlib": "zlib=disable", "jpeglib": "jpeg=disable"}  # the two that its build insists on
    decoding = ("tests/test_decode_raster.py",)
    return StandIn(
        requirement="pillow-simd==12.1.1.post0",
        modules=("PIL.Image", "PIL._imaging"),
        tests=(
            "tests/test_resampling.py",
            "tests/test_resampling_pillow.py",
            "tests/test_loader_transform.py",
            "tests/test_augment_albumentations.py",
            *(() if lacking else decoding),
        ),
        after=("benchmarks/pillow_engines.py", "--rounds", "1", "--out", str(ROOT / ".venv-pillow-simd" / "bench")),
        options=(
            *("--no-binary", "pillow-simd", "--no-cache-dir"),  # a cached wheel may be built with other flags
            *(word for name in lacking if name in switches for word in ("-C", switches[name])),
        ),
        environ={"CC": "cc -mavx2"} if "avx2" in processor_flags() else {},
        impossible=cannot_build(),
        left_out=f"{', '.join(decoding)}: no C headers for {', '.join(lacking)}" if lacking else "",
    )


def dali() -> StandIn:
    """NVIDIA's data loading library, whose CPU half needs neither a GPU nor a driver; some 700 MB."""
    fits = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
    return StandIn(
        requirement="nvidia-dali-cuda130==2.4.0",
        modules=("nvidia.dali", "nvidia.dali.backend_impl"),
        tests=("tests/test_dali.py",),
        with_needs=True,
        impossible="" if fits else f"it is made for Linux on x86-64 and arm64, and this is {platform.platform()}",
    )


def triton() -> StandIn:
    """Triton, whose interpreter runs kernels for CUDA on the CPU. (torch's builds for the CPU bring no Triton.)"""
    fits = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
    return StandIn(
        requirement="triton==3.6.0",
        modules=("triton",),
        tests=("tests/test_kernels.py",),
        setting={"TRITON_INTERPRET": "1"},
        impossible="" if fits else f"it is made for Linux on x86-64 and arm64, and this is {platform.platform()}",
    )


def torchvision() -> StandIn:
    """torchvision's transforms, which are Python; its operators are compiled for CUDA, and are left unloaded."""
    fits = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
    return StandIn(
        requirement="torchvision==0.28.0",
        modules=(),
        tests=("tests/test_augment_torchvision.py",),
        setting={"TORCHVISION_ALONE": "1"},
        impossible="" if fits else f"it is made for Linux on x86-64 and arm64, and this is {platform.platform()}",
    )


def cannot_build() -> str:
    """Why a C extension with SSE4 cannot be built here, or nothing."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"it is made of SSE4 and AVX2 code, and this processor is {platform.machine()}"
    if shutil.which("cc") is None:
        return "there is no C compiler (cc)"
    if not compiles("#include <Python.h>\n"):
        return "the C headers of Python are not installed (Debian, Ubuntu: python3-dev)"
    return ""


def compiles(code: str) -> bool:
    """Whether the C compiler finds the headers that these lines include."""
    if shutil.which("cc") is None:
        return False
    command = ["cc", "-E", "-I", sysconfig.get_paths()["include"], "-"]
    return subprocess.run(command, check=False, input=code, text=True, capture_output=True).returncode == 0


def processor_flags() -> set[str]:
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


# -- making one --


def environment(folder: Path, one: StandIn) -> Path:
    """Its Python, once the folder holds what is asked for."""
    python = folder / "bin" / "python"
    recipe = json.dumps([one.requirement, one.with_needs, one.options, one.environ, sys.version, sys.prefix, str(ROOT)])
    stamp = folder / "recipe.json"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == recipe:
        return python
    if folder.is_symlink() or not folder.name.startswith(".venv-"):
        sys.exit(f"beside: {folder} is not a folder that this script makes")
    print(f"beside: making {folder.name}: {one.requirement} {one.environ or ''}", flush=True)
    venv.create(folder, clear=True, symlinks=True)
    see_behind(python)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    needs = () if one.with_needs else ("--no-deps",)
    ran([*pip, *needs, *one.options, one.requirement], os.environ | one.environ)
    stamp.write_text(recipe, encoding="utf-8")
    return python


def see_behind(python: Path) -> None:
    """Behind its own packages: this checkout, then the packages of .venv (whose own .pth files do not count here)."""
    own = told(python, "import sysconfig; print(sysconfig.get_paths()['purelib'])")
    lines = [str(ROOT), sysconfig.get_paths()["purelib"]]
    (Path(own) / "behind.pth").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def prove(python: Path, one: StandIn) -> None:
    """Stop unless the stand-in is what its environment imports, and what it does not replace comes from elsewhere."""
    package, _, wanted = one.requirement.partition("==")
    code = "import importlib, json, resload\nfrom importlib.metadata import version\n"
    code += f"files = [importlib.import_module(name).__file__ for name in {one.modules!r}]\n"
    code += f"print(json.dumps([version({package!r}), resload.__file__, files]))"
    found, ours, files = json.loads(told(python, code))
    folder = python.parent.parent
    strangers = [file for file in files if not Path(file).is_relative_to(folder)]
    if found != wanted or strangers or not Path(ours).is_relative_to(ROOT):
        sys.exit(
            f"beside: {package} {wanted} does not stand in: found {found}, {strangers or files}, resload at {ours}"
        )
    places = ", ".join(str(Path(file).relative_to(ROOT)) for file in files) or str(folder.relative_to(ROOT))
    print(f"beside: {package} {found} stands in, at {places}")


def told(python: Path, code: str) -> str:
    """What this code prints there, away from the checkout."""
    done = subprocess.run([python, "-c", code], check=False, cwd=python.parent, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"beside: {python} failed")
    return done.stdout.strip()


def ran(command: list[str], environ: dict[str, str] | None = None) -> None:
    """Run it in the checkout, or stop with 1."""
    print("beside:", " ".join(command), flush=True)
    if subprocess.run(command, check=False, cwd=ROOT, env=environ).returncode:
        sys.exit(f"beside: failed: {' '.join(command)}")


if __name__ == "__main__":
    sys.exit(main())
