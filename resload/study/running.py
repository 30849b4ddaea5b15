"""The study: films into caches, networks one after another, and what they said kept as they end."""

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from resload.errors import ArgumentError
from resload.geometry import Geometry, as_fit
from resload.geometry.placing import PLACES
from resload.masks.table import MaskTable
from resload.size import Native, as_size
from resload.store.cache import Cache
from resload.study import examples, grid, lesions, models
from resload.study.films import Films, fit_words, prepared, recipe_of, resolved
from resload.study.folder import Folder
from resload.study.recipes import caches_of
from resload.study.results import Study, opened
from resload.study.settings import Factory, Settings
from resload.study.tasks import Truth, task_of
from resload.study.told import told, with_masks
from resload.study.training import Training
from resload.study.work import Work

if TYPE_CHECKING:
    from resload.catalog import Catalog


def run(data: "Cache | Catalog", folder: str | os.PathLike[str], *, progress: bool = True, **settings: Any) -> Study:
    """Train and test a network for every point of a grid, and open the study.

        found = resload.study.run(cache, "nodules", sizes=(64, 128, 256, 512), targets=["nodule"], control=True)
        found.write_report()

    May be stopped at any moment and run again: networks that are finished are kept, one under way goes on from one of
    its epochs, and the numbers are the same. Run again with more sizes, seeds, models or test sizes, it trains those
    that are missing; other targets are another study. Several processes, each with a device of its own, may run one
    study at once.

    Args:
        data: a cache that stores the sizes; or a catalog, whose caches are built in the folder, one for each kernel and
            fit, from one decode of each film.
        folder: of this study; made if it is not there.
        progress: show bars, with the time that is left, on a terminal.
        settings: see `Settings`; `sizes` is needed.

    Raises ArgumentError for what cannot be asked, or is not what the folder's study was begun with; StudyError for a
    folder that is damaged and a network whose loss is not a number; and what reading the films raises.
    """
    asked = Settings(**settings)
    place = Folder(folder)
    networks = models.factories(asked)
    catalog = None if isinstance(data, Cache) else data
    if isinstance(data, Cache):
        _check_recipe(data, asked)
        caches = {recipe_of(data): data}
    else:
        _check_films(data, asked)
        caches = caches_of(data, place.path, asked, progress)
    films = prepared(caches, asked)
    asked = resolved(asked, caches, films.targets)
    common = in_common(asked, films)
    place.begin({**common, "notes": list(films.notes)})
    new = _write_films(place, films, asked)
    examples.draw(place, films, again=new)
    truth = truth_of(films, catalog) if asked.task == "segmentation" else None
    _train(list(grid.runs(asked, networks)), place, films, asked, networks, common, truth, progress)
    return opened(folder)


def in_common(settings: Settings, films: Films) -> dict[str, Any]:
    """What every network of a study has in common, as plain values: of a study that goes on, the same."""
    names = ("task", "epochs", "batch_size", "batches", "lr", "lr_rule", "schedule", "weight_decay", "precision",
             "balanced", "channels", "columns", "any_size", "repeats")  # fmt: skip
    found: dict[str, Any] = {name: getattr(settings, name) for name in names}
    functions = {name: _called(getattr(settings, name)) for name in ("optimizer", "train_step", "predict", "transform")}
    meant = settings.largest if settings.at is None else as_size(settings.at)
    return {
        **found,
        **functions,
        "targets": list(films.targets),
        "columns": list(settings.columns),
        "at": str(meant),
        "reference": str(settings.compared_with),
        "margin": settings.allowed,
        "normalized_at": str(films.normalized_at),
        "normalization": list(films.normalization),
        "films": films.digest,
        "counts": {name: len(rows) for name, rows in films.rows.items()},
    }


def _called(function: Any) -> str | None:
    """What the user's function is called, which is all that can be compared of it."""
    if function is None:
        return None
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{getattr(function, '__module__', None) or type(function).__module__}.{name}"


def _check_recipe(cache: Cache, settings: Settings) -> None:
    kernel, fit = recipe_of(cache)
    fits = tuple(fit_words(as_fit(one)) for one in settings.fits)
    for name, there, wanted in (("kernels", kernel, tuple(settings.kernels)), ("fits", fit, fits)):
        if wanted and wanted != (there,):
            raise ArgumentError(
                f"{name}={list(wanted)}: {cache.path} was built with {there!r}; give the films (a Catalog), "
                "of which the study builds a cache for each"
            )


def _check_films(catalog: "Catalog", settings: Settings) -> None:
    """What would be refused after hours of building is refused before; films that cannot be read show later."""
    table, there = catalog.table, catalog.targets
    if settings.task == "segmentation":
        table, there = with_masks(table, catalog.masks)
    told(table, there, settings, readable=np.ones(len(catalog), bool), where=str(catalog.root))


def _write_films(place: Folder, films: Films, settings: Settings) -> bool:
    """What the folder keeps of the films: those of the test, how many each split has, and sizes of findings.

    Returns whether there are sizes that it did not keep before.
    """
    rows = films.rows["test"]
    table = films.any.table.iloc[rows]
    before = place.films() if place.has_films() else {}
    sizes = dict.fromkeys([*settings.ladder, *map(as_size, settings.test_sizes)])
    place.write_films(
        rows=rows,
        ids=table["id"].to_numpy(str),
        patients=films.patients[rows],
        truth=films.values[rows],
        targets=np.array(films.targets, str),
        **films.counts(),
        **lesions.measured(films, sizes, before),
    )
    return not {str(size) for size in sizes} <= set(before.get("shown_sizes", np.empty(0)).tolist())


def truth_of(films: Films, catalog: "Catalog | None") -> Truth:
    """Masks on the films' own pixels: from the catalog; else what the largest stored size tells of them."""
    cache = films.any
    if catalog is None or catalog.masks is None:
        return partial(_stored, cache)
    table = MaskTable(catalog.masks, catalog.table["id"].tolist(), catalog.root, cache.masks)
    place = {name: row for row, name in enumerate(catalog.table["id"].tolist())}
    return partial(_drawn, cache, table, place)


def _stored(cache: Cache, row: int) -> Any:
    rows = np.array([row])
    size = max((one for one in cache.sizes if not isinstance(one, Native)), key=lambda one: one.pixels)
    coverage = torch.from_numpy(cache.read_masks(rows, size)).float() / 255
    place = Geometry(size, cache.facts(rows, size)[:, PLACES.start :])
    return place.to_source(maps=coverage)[0].numpy() >= 0.5, cache.masks_known(rows)[0]


def _drawn(cache: Cache, table: MaskTable, place: Mapping[str, int], row: int) -> Any:
    film = cache.table.iloc[row]
    size = (int(film["height"]), int(film["width"]))
    masks, known = table.of(place[film["id"]], size)
    return np.stack([np.zeros(size, bool) if mask is None else mask for mask in masks]), known


def _train(
    asked: list[grid.Run],
    place: Folder,
    films: Films,
    settings: Settings,
    networks: Mapping[str, Factory],
    common: Mapping[str, Any],
    truth: Truth | None,
    progress: bool,
) -> None:
    """Every network that is missing, one after another; those that another process is at are left to it."""
    named = {run.name(_of_network(common, run)): run for run in asked}
    finished = place.finished()
    missing = {name: run for name, run in named.items() if not _has(finished.get(name), settings)}
    bar = tqdm(
        total=sum(_pixels(run, films, settings) for run in missing.values()) / 1e6,
        unit="Mpx",
        desc="study",
        disable=None if progress and missing else True,
        bar_format="{desc}: {percentage:3.1f} % |{bar:20}| {elapsed}<{remaining}{postfix}",
    )
    left = len(missing)

    def told(pixels: int, words: str) -> None:
        bar.update(pixels / 1e6)
        bar.set_postfix_str(f"{left} to go; {words}", refresh=False)

    with bar:
        for name, run in missing.items():
            with place.taken(name) as mine:
                if mine and not _has(place.finished().get(name), settings):
                    task = task_of(settings, films, run.targets, truth)
                    work = Work(run, name, films, settings, networks[run.arm.curve.model], task, place, told)
                    record, answers = Training(work).finish()
                    place.finish(record, answers)
            left -= 1


def _of_network(common: Mapping[str, Any], run: grid.Run) -> dict[str, Any]:
    """What of the common settings a network's weights and answers depend on: not how they are compared."""
    return {name: value for name, value in common.items() if name not in ("margin", "reference", "repeats", "counts")}


def _has(record: Mapping[str, Any] | None, settings: Settings) -> bool:
    """Whether a network is finished, and was tested at all sizes that are asked for now."""
    if record is None:
        return False
    wanted = [] if record["control"] else [str(as_size(size)) for size in settings.test_sizes]
    return all(size in record["tests"] for size in wanted)


def _pixels(run: grid.Run, films: Films, settings: Settings) -> int:
    budget = grid.budget(settings, run.arm.size, len(films.known("train", run.targets)))
    return budget.epochs * budget.steps * budget.batch_size * run.arm.size.pixels
