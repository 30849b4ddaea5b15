"""Readers answer (rows, size) with pixels, whatever they come from."""

from resload.readers.base import Facts, Reader
from resload.readers.cache import CacheReader
from resload.readers.source import SourceReader

__all__ = ["CacheReader", "Facts", "Reader", "SourceReader"]
