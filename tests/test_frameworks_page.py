"""docs/how-to/frameworks.md is true: what it shows as text, because frameworks warn of others' doings, runs as well."""

from pathlib import Path

import pytest
from frameworks import by_processes
from test_docs import ROOT, blocks

for package in ("accelerate", "lightning", "torchdata", "transformers"):
    pytest.importorskip(package)

PAGE = ROOT / "docs" / "how-to" / "frameworks.md"

pytestmark = [
    pytest.mark.slow,
    # Lightning's: compares tree specs as torch 2.13 deprecates; recommends workers, logging and a loop for validation
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.. is deprecated"),
    # torchdata's: marks its use for torch's telemetry
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
    # transformers': pinned memory on machines without an accelerator
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # machines of one core
]

SCRIPT = "# train.py\n"


def test_every_block_runs(tmp_path, monkeypatch):
    """From the first to the last in one folder; the script of the page under torchrun, in two processes."""
    monkeypatch.chdir(tmp_path)
    namespace, scripts = {"__name__": "__main__"}, 0
    for language, code, line in blocks(PAGE):
        if language == "text" and code.startswith(SCRIPT):
            by_processes(code + "\nfrom frameworks import say\nsay(None)\n", Path.cwd())
            scripts += 1
        elif language in ("python", "text") and "composer" not in code:  # which does not install beside this torch
            exec(compile("\n" * (line - 1) + code, str(PAGE), "exec"), namespace)
    assert scripts == 1
    assert Path("runs", "checkpoint-3").is_dir()
