"""The decode-and-resize pipeline: a frozen recipe, the engine that runs it, and what a model sees of its pixels."""

from resload.pipeline.cpu import Film, Known, make
from resload.pipeline.model_input import ModelInput
from resload.pipeline.recipe import Pipeline, Result

__all__ = ["Film", "Known", "ModelInput", "Pipeline", "Result", "make"]
