"""The decode-and-resize pipeline: a frozen recipe, and the engine that runs it."""

from resload.pipeline.cpu import Film, Known, make
from resload.pipeline.recipe import Pipeline, Result

__all__ = ["Film", "Known", "Pipeline", "Result", "make"]
