"""What was found as one document of plain values, for JSON: no NaN, unknown is None."""

from dataclasses import asdict
from typing import Any

from resload.bench.advice import advice
from resload.bench.clock import Rate
from resload.bench.found import Found, bottleneck, scaling, shares


def document(found: Found) -> dict[str, Any]:
    """Numbers, what follows from them, and where they were measured."""
    parts = shares(found)
    return {
        "source": found.source,
        "kind": found.kind,
        "films": found.films,
        "sampled": found.sampled,
        "unreadable": dict(found.unreadable),
        "size": found.size,
        "level": found.level,
        "expected_rmse": found.expected_rmse,
        "stored_sizes": list(found.sizes),
        "stored_dtype": found.stored,
        "stored_bytes": found.level_bytes,
        "dtype": found.dtype,
        "channels": found.channels,
        "batch_size": found.batch_size,
        "threads": found.threads,
        "device": found.device,
        "stages": [
            {
                "name": one.name,
                **asdict(one.rate),
                "threads": one.threads,
                "mb_per_s": one.megabytes,
                "us_per_image_and_thread": one.microseconds,
                "lane": one.lane or None,
                "share": parts[one.name] if one.lane else None,
                "note": one.note,
            }
            for one in found.stages
        ],
        "everything_else": parts["everything else"],
        "loader": _rate(found.loader),
        "loader_one_thread": _rate(found.one_thread),
        "scaling": scaling(found),
        "model": {"name": found.model_name, **asdict(found.model)} if found.model is not None else None,
        "together": _rate(found.together),
        "needs": found.need,
        "model_would_need": found.loader.median,
        "bottleneck": bottleneck(found),
        "advice": advice(found),
        "left_out": dict(found.left_out),
        "machine": dict(found.machine),
    }


def _rate(rate: Rate | None) -> dict[str, Any] | None:
    return None if rate is None else asdict(rate)
