"""Readers answer (rows, size) with pixels, whatever they come from."""

from resload.readers.base import Reader
from resload.readers.cache import CacheReader
from resload.readers.detail import DetailReader
from resload.readers.resident import ResidentReader
from resload.readers.source import SourceReader

__all__ = ["CacheReader", "DetailReader", "Reader", "ResidentReader", "SourceReader"]
