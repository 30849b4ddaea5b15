"""What a catalog holds, before anything is built from it.

catalog_report(catalog)  -> CatalogReport: document.py, which says it as a document, as lines and as a figure
├── mix         which values of which attributes there are, and of how many films
├── shortcuts   how well such an attribute alone separates a target
├── cautions    what to look at before training, a sentence each
├── lines       the report for a terminal
└── drawing     the report as a PNG
"""

from resload.overview.document import CatalogReport, catalog_report
from resload.overview.mix import TargetCounts
from resload.overview.shortcuts import Shortcut

__all__ = ["CatalogReport", "Shortcut", "TargetCounts", "catalog_report"]
