"""One radiograph as a transform sees it: image, masks, boxes and targets together, and its own randomness.

A transform is any callable of a `Sample`. It runs on the loader's threads, after scaling and normalising (or before,
where it says so: `adapters.Adapter`), and changes the sample, or returns a new image of the same shape. All randomness
it needs is in the sample, keyed by the draw that the plan gave this image at this step: the same whichever process,
thread or run makes it.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from resload import borrowed, seeds
from resload.errors import ArgumentError
from resload.geometry import Geometry
from resload.size import Size

Transform = Callable[["Sample"], Any]


@dataclass(slots=True, eq=False)
class Sample:
    """One image of a batch that is being made. Its tensors are views of the batch: keep copies, not them.

    Change them in place, or set fields to others of the same shape and dtype. Of several sizes each is a sample of its
    own with the same draw, so that what is drawn first is drawn alike; masks and boxes come with the first alone, and
    targets that the others change are not handed out.
    """

    image: torch.Tensor
    """(C, H, W): floats as the batch has them, scaled and normalised (float32 where the batch is of a half precision,
    which it is rounded to afterwards); integers as stored. An `Adapter` is given (1, H, W) of what it takes."""
    targets: torch.Tensor
    """(T,) float32, NaN where unknown."""
    row: int
    """The reader's row."""
    id: str
    """What people call it."""
    size: Size
    """(height, width) of the image."""
    progress: float
    """Epochs of training before this step, a fraction."""
    draw: int
    """The seed of this image at this step, below 2**63."""
    masks: torch.Tensor | None = None
    """With `masks=`: (K, H, W) uint8 coverage, 0 to 255; the loader's rule that says what is inside comes after."""
    boxes: torch.Tensor | None = None
    """With `boxes=`: (n, 4) float32, (x1, y1, x2, y2) in pixels of this image. May come to be fewer or more."""
    box_labels: torch.Tensor | None = None
    """With `boxes=`: (n,) int64, places in `Loader.box_names`."""
    target_names: Sequence[str] = ()
    """(T,) what the targets are called."""
    placed: Callable[[], Geometry] | None = field(default=None, repr=False)
    """Asked once, for `geometry`."""
    _geometry: Geometry | None = field(default=None, init=False, repr=False)
    _python_rng: random.Random | None = field(default=None, init=False, repr=False)
    _rng: np.random.Generator | None = field(default=None, init=False, repr=False)
    _torch_generator: torch.Generator | None = field(default=None, init=False, repr=False)

    @property
    def rng(self) -> np.random.Generator:
        """A generator of its own, at its beginning when the transform is called."""
        if self._rng is None:
            self._rng = seeds.generator(self.draw, 0, "augment")
        return self._rng

    @property
    def torch_generator(self) -> torch.Generator:
        """The same for torch's functions: `torch.rand(3, generator=sample.torch_generator)`."""
        if self._torch_generator is None:
            self._torch_generator = torch.Generator().manual_seed(self.draw)
        return self._torch_generator

    @property
    def python_rng(self) -> random.Random:
        """The same of Python's own kind."""
        if self._python_rng is None:
            self._python_rng = seeds.python(self.draw)
        return self._python_rng

    @property
    def geometry(self) -> Geometry:
        """Where the film lies in this image, of a batch of one, as `Batch.geometry`: before the transform moves it."""
        if self._geometry is None:
            if self.placed is None:
                raise ArgumentError(f"{self}: this sample was made without a geometry; a Loader's samples have one")
            self._geometry = self.placed()
        return self._geometry

    def to_image(self, points: Any) -> NDArray[np.float64]:
        """Points (n, 2) as (y, x) in pixels of the film -> in pixels of this image, float64 (n, 2), not clipped."""
        return self._moved(points, self.geometry.to_target)

    def to_source(self, points: Any) -> NDArray[np.float64]:
        """The way back: pixels of this image -> pixels of the film, float64 (n, 2)."""
        return self._moved(points, self.geometry.to_source)

    @staticmethod
    def _moved(points: Any, way: Callable[..., Any]) -> NDArray[np.float64]:
        return np.asarray(way(points=[np.asarray(points, np.float64)])[0])

    def __str__(self) -> str:
        return f"film {self.id!r} (row {self.row})"


@contextmanager
def undisturbed() -> Iterator[None]:
    """No gradients and no autocast: a transform gives the same on the caller's thread as on a loader's own."""
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        yield


def applied(transform: Transform, sample: Sample) -> None:
    """Run a transform on a sample, and put what it made where the sample's tensors were.

    What it raises gets a note that names the film. Raises ArgumentError for results of another shape or dtype.
    """
    image, masks, targets, boxed = sample.image, sample.masks, sample.targets, sample.boxes is not None
    try:
        returned = transform(sample)
    except Exception as exc:
        exc.add_note(f"raised by transform= on {sample}")
        raise
    if returned is not None and returned is not sample:
        sample.image = returned
    _put(image, sample.image, "image", sample)
    _put(targets, sample.targets, "targets", sample)
    if masks is not None:
        _put(masks, sample.masks, "masks", sample)
    if boxed:
        sample.boxes, sample.box_labels = _boxes(sample)


def _put(place: torch.Tensor, found: object, name: str, sample: Sample) -> None:
    if found is place:
        return
    if not isinstance(found, torch.Tensor) or found.shape != place.shape or found.dtype != place.dtype:
        raise ArgumentError(
            f"transform= must leave {name} a {_said(place)}, or return None where it works in place; found "
            f"{_said(found)} for {sample}"
        )
    if found.data_ptr() == place.data_ptr() and found.stride() == place.stride():
        return
    # By numpy, which also takes a view of the place itself apart first. torch would give each of the loader's threads a
    # team of its own for such a copy, and let them wait for each other.
    np.copyto(place.numpy(), found.detach().numpy())


def _said(found: object) -> str:
    if isinstance(found, torch.Tensor):
        return f"tensor of shape {tuple(found.shape)} and {found.dtype}"
    return type(found).__name__


def _boxes(sample: Sample) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes and labels of a sample, float32 (n, 4) and int64 (n,)."""
    boxes, labels = sample.boxes, sample.box_labels
    if not isinstance(boxes, torch.Tensor) or not isinstance(labels, torch.Tensor):
        raise _wrong_boxes(sample)
    if labels.ndim != 1 or boxes.shape != (len(labels), 4):
        raise _wrong_boxes(sample)
    return boxes.to(torch.float32), labels.to(torch.int64)


def _wrong_boxes(sample: Sample) -> ArgumentError:
    return ArgumentError(
        f"transform= must leave boxes a tensor (n, 4) and box_labels one (n,); found {_said(sample.boxes)} and "
        f"{_said(sample.box_labels)} for {sample}"
    )


def globally_seeded(draw: int) -> AbstractContextManager[None]:
    """The generators of random, numpy and torch's CPU begin at a draw, and are put back after.

    For code that runs alone in its process, as a DataLoader's worker does; threads share these generators.
    """
    return borrowed.seeded([], seeds.generator(draw, 0, "augment"))
