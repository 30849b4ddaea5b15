"""A model's tensors from single films: what serving runs, with the arithmetic that loading runs.

    film --make--> stored values at one size --(detail: enlarge)--> --Scaling--> (B, C, H, W)

Every film is a task of its own, which writes its place of the batch.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload.errors import ArgumentError, DecodeError
from resload.geometry.placing import placed
from resload.pipeline.cpu import Film, Known, enlarged, make, on_canvas
from resload.scaling import DTYPES, Scaling
from resload.size import NATIVE, Native, Size
from resload.threads import ordered_map

if TYPE_CHECKING:
    from resload.pipeline.model_input import ModelInput
    from resload.pipeline.recipe import Pipeline


def tensor(pipeline: "Pipeline", sources: Sequence[tuple[object, Known]], *, threads: int) -> torch.Tensor:
    """`Pipeline.tensor` on the CPU, for films with what is known of them."""
    model = _model_of(pipeline)
    scaling = scaling_of(pipeline, model)
    if isinstance(model.size, Native):  # whatever the canvas of training's films was
        return _native(pipeline.with_sizes(NATIVE), sources, model, scaling, threads)
    recipe = pipeline.with_sizes([model.detail or model.size])
    out = np.empty((len(sources), model.channels, *model.size), scaling.made)

    def one(place: int) -> str:
        film = _made(recipe, *sources[place], place)
        image = film.levels[0] if model.detail is None else _enlarged(recipe, film, model.size)
        scaling.run(image[None], out[place : place + 1])
        return film.decoder

    decoders = set(ordered_map(one, range(len(sources)), threads=threads, window=len(sources) + 1))
    model.warn_of_others(decoders)
    return scaling.finished(torch.from_numpy(out))


def _native(
    recipe: "Pipeline", sources: Sequence[tuple[object, Known]], model: "ModelInput", scaling: Scaling, threads: int
) -> torch.Tensor:
    """Films at their own size, at the top left of zeros as large as the largest of them."""
    places = range(len(sources))
    work = partial(_made_at, recipe, sources)
    made = list(ordered_map(work, places, threads=threads, window=len(sources) + 1))
    model.warn_of_others({film.decoder for film in made})
    canvas = np.max([film.size for film in made], axis=0, initial=1)
    out = np.empty((len(made), model.channels, *canvas), scaling.made)
    for film, place in zip(made, out, strict=True):
        scaling.run(on_canvas(film.levels[0], tuple(canvas))[None], place[None])
    return scaling.finished(torch.from_numpy(out))


def _made_at(recipe: "Pipeline", sources: Sequence[tuple[object, Known]], place: int) -> Film:
    return _made(recipe, *sources[place], place)


def _model_of(pipeline: "Pipeline") -> "ModelInput":
    if pipeline.model is None:
        raise ArgumentError(
            "this recipe does not know what a model was trained on; take loader.pipeline of the Loader that fed it "
            "(with_sizes forgets it), or pass Pipeline(model=...)"
        )
    if pipeline.dtype == "auto":
        raise ArgumentError("tensor needs a decided dtype, since 'auto' depends on the films: pass uint8 or uint16")
    return pipeline.model


def scaling_of(pipeline: "Pipeline", model: "ModelInput") -> Scaling:
    """Stored pixels of a recipe -> a model's. Raises ArgumentError where the two do not fit."""
    return Scaling(np.dtype(pipeline.dtype), DTYPES[model.dtype], model.channels, model.normalization)


def _made(recipe: "Pipeline", film: object, known: Known, place: int) -> Film:
    """A film; what is raised names it: its path, or its place among the films."""
    try:
        return make(recipe, film, known)
    except DecodeError as error:
        raise error.at(film if isinstance(film, str | Path) else f"films[{place}]") from error


def _enlarged(recipe: "Pipeline", film: Film, size: Size) -> NDArray[Any]:
    """The film's only level, enlarged to a size with the recipe's kernel: as `DetailReader` does it."""
    image, (_, shown) = film.levels[0], film.places[0]
    found = placed(recipe.fit, recipe.aspect, film.facts, size)
    assert found is not None  # it has been placed at another size
    return enlarged(image, shown, found[1], size, recipe)
