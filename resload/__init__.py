"""Resolution-aware loading of radiographs for PyTorch: decode once, train at any resolution.

Names are imported when they are first used, so that `import resload` stays light: it pulls in neither torch,
pandas, pyarrow, zarr nor pydicom.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resload import datasets as datasets
    from resload import errors as errors
    from resload import figures as figures
    from resload import reference as reference
    from resload import samplers as samplers
    from resload import study as study
    from resload import testing as testing
    from resload.batch import Batch as Batch
    from resload.batch import masked_bce as masked_bce
    from resload.catalog import Catalog as Catalog
    from resload.errors import ResloadError as ResloadError
    from resload.interop import torch_dataset as torch_dataset
    from resload.leakage import near_duplicates as near_duplicates
    from resload.loader import Loader as Loader
    from resload.overview import catalog_report as catalog_report
    from resload.pipeline import Pipeline as Pipeline
    from resload.report import resolution_report as resolution_report
    from resload.resampling import resample as resample
    from resload.size import Size as Size
    from resload.store.builder import build as build
    from resload.store.cache import Cache as Cache
    from resload.store.cache import open_cache as open_cache
    from resload.store.repair import repair as repair
    from resload.store.verify import verify as verify

_HOMES = {
    "Batch": "resload.batch",
    "Cache": "resload.store.cache",
    "Catalog": "resload.catalog",
    "Loader": "resload.loader",
    "Pipeline": "resload.pipeline",
    "ResloadError": "resload.errors",
    "Size": "resload.size",
    "build": "resload.store.builder",
    "catalog_report": "resload.overview",
    "masked_bce": "resload.batch",
    "near_duplicates": "resload.leakage",
    "open_cache": "resload.store.cache",
    "repair": "resload.store.repair",
    "resample": "resload.resampling",
    "resolution_report": "resload.report",
    "torch_dataset": "resload.interop",
    "verify": "resload.store.verify",
}
_ROOMS = ("datasets", "errors", "figures", "reference", "samplers", "study", "testing")

__version__ = "0.1.0"
__all__ = [*_HOMES, *_ROOMS]  # noqa: PLE0604 - names, all of them str


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"resload.{name}")
    else:
        raise AttributeError(f"module 'resload' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
