"""Films that are made together: a GPU's decoder takes many streams at once, and so do its resizes.

    files --read one by one--> streams --one run--> films there --tables; stacked by shape--> sizes --one copy--> levels

What such a decoder does not take is made as it is read. With any other engine every film is made by itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from resload.decode import Radiograph
from resload.errors import DecodeError
from resload.pipeline import device
from resload.pipeline.cpu import (
    Draft,
    Film,
    Known,
    as_radiograph,
    colour_of,
    drafted,
    finished,
    make,
    on_canvases,
    shown,
)
from resload.pipeline.engine import Engine

if TYPE_CHECKING:
    from resload.pipeline.recipe import Pipeline

Read = Callable[[], tuple[object, Known]]
"""A film as `make` takes it, and what is known of it. May raise DecodeError; may be called again."""
Made = tuple[int, Film | DecodeError]
"""A film's place among those asked for; and the film, or why there is none."""

_PIXELS = 1 << 26
"""Of films that wait to be decoded, at most: as many films of 12 million pixels as a GPU decodes at a time."""


def made_together(pipeline: "Pipeline", films: Sequence[Read], engine: Engine) -> Iterator[Made]:
    """`make` of each of these, in any order. Levels may be views of what several films share.

    The caller's thread does all of it. Raises nothing for a film.
    """
    if engine.gathering is None:
        for k, read in enumerate(films):
            yield k, _alone(pipeline, read, engine)
        return
    gathering, waiting = engine.gathering(), dict[int, tuple[Radiograph, Known]]()
    for k, read in enumerate(films):
        found: Film | DecodeError | None = None
        try:
            source, known = read()
            radiograph = as_radiograph(source, frame=known.frame, colour=colour_of(pipeline), other=gathering)
            if gathering.holds(radiograph.held):
                waiting[k] = radiograph, known
            else:
                found = make(pipeline, radiograph, known, engine)
        except DecodeError as error:
            found = error
        if found is not None:
            yield k, found
        if waiting and (k + 1 == len(films) or gathering.pixels >= _PIXELS):
            yield from _waited(pipeline, films, waiting, gathering.decoded(), engine)
            waiting = {}


def _alone(pipeline: "Pipeline", read: Read, engine: Engine) -> Film | DecodeError:
    try:
        source, known = read()
        if engine.once is not None:
            source = engine.once(source, known, colour_of(pipeline))
        return make(pipeline, source, known, engine)
    except DecodeError as error:
        return error


def _waited(
    pipeline: "Pipeline",
    films: Sequence[Read],
    waiting: dict[int, tuple[Radiograph, Known]],
    decoded: dict[Any, Any],
    engine: Engine,
) -> Iterator[Made]:
    """Films that were put off, now that they are decoded."""
    drafts: dict[int, Draft] = {}
    for k, (radiograph, known) in waiting.items():
        tensor = decoded[radiograph.held]
        if tensor is None:
            yield k, _alone(pipeline, films[k], engine)
            continue
        try:
            draft = drafted(pipeline, replace(radiograph, held=tensor), known, engine)
        except DecodeError as error:
            yield k, error
            continue
        if draft.radiograph.held is None:  # it had to be looked at on the host
            yield k, finished(pipeline, draft, engine)
        else:
            drafts[k] = draft
    if drafts:
        assert engine.device is not None
        yield from _resized(pipeline, drafts, engine.device)


def _resized(pipeline: "Pipeline", drafts: dict[int, Draft], where: torch.device) -> list[Made]:
    """Those of one shape that lie alike on their canvases by the same calls; one wait for the device."""
    alike: dict[Any, dict[int, torch.Tensor]] = {}
    with device.own_stream(where):
        for k, draft in drafts.items():
            image = device.there(draft.radiograph, draft.table, where)
            alike.setdefault((image.shape, image.dtype, draft.places), {})[k] = image
        queued = []
        for (_, _, places), images in alike.items():
            films = device.stacked(list(images.values()))
            for source, shapes in shown(places).items():
                part = films[(..., *source.slices)]
                queued += [device.resized(part, shape, pipeline.kernel) for shape in shapes]
        arrays = iter(device.on_host(queued))
    made: list[Made] = []
    for (_, _, places), images in alike.items():
        found = {source: [next(arrays) for _ in shapes] for source, shapes in shown(places).items()}
        levels = on_canvases(pipeline, places, found)
        made += [(k, drafts[k].film([level[i] for level in levels])) for i, k in enumerate(images)]
    return made
