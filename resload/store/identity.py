"""What makes a cache, or a step of its build, the same one."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from resload.store import layout
from resload.store.layout import Manifest


def fingerprint(goal: Manifest, ids: Sequence[str], results: pd.DataFrame) -> Manifest:
    """The manifest with its fingerprint: of format, recipe, depth, ids and source hashes."""
    head = json.dumps([layout.FORMAT, dict(goal.recipe), goal.dtype], sort_keys=True)
    body = "\n".join(f"{name}\t{source}" for name, source in zip(ids, results["source_hash"], strict=True))
    return replace(goal, fingerprint=hashlib.sha256(f"{head}\n{body}".encode()).hexdigest())


def step_key(goal: Manifest, ids: Sequence[str]) -> str:
    """Names a step by where it leads, so that only the very same step continues what it began."""
    attributes = replace(goal, state="complete", fingerprint="", tables={}).attributes()
    return hashlib.sha256("\n".join([json.dumps(attributes, sort_keys=True), *ids]).encode()).hexdigest()
