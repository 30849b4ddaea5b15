"""The job of `build`: from a catalog to a complete cache, in steps that each end in one.

What there is to do follows from the cache alone, so running the same build again finishes what is missing:

    an unfinished build   -> finish it
    rows not yet stored   -> append them
    sizes not yet stored  -> add them
    other targets, splits -> write the tables again

A present cache stays readable all the while: the manifest is replaced last. No complete shard is touched.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import gt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resload.errors import CacheMismatchError, CatalogError, CorruptCacheError, DiskSpaceError
from resload.geometry import film_facts
from resload.geometry.placing import native_canvas
from resload.masks.table import MaskTable
from resload.pipeline import Pipeline
from resload.pipeline.engine import Engine
from resload.pipeline.recipe import CatalogFilms
from resload.regular import TooLong
from resload.size import NATIVE, Native, Size
from resload.store import layout, plan, pseudonyms, tables
from resload.store.codecs import body_bytes
from resload.store.commit import emptied, free_bytes, names_in, remove, sweep
from resload.store.identity import fingerprint, step_key
from resload.store.layout import Manifest
from resload.store.made import levels_recipe
from resload.store.marks import in_build, read_plan, read_rows, rows_file
from resload.store.present import levels, packed
from resload.store.pseudonyms import Plain
from resload.store.publish import publish, write, write_manifest
from resload.store.remote import Location, Url
from resload.store.run import Sources, run
from resload.store.spread import Crew, spread
from resload.store.unchanged import changed_masks, changed_sources
from resload.store.unfinished import all_finished, planned_ids
from resload.store.words import how_long, listed, megabytes

if TYPE_CHECKING:
    from resload.catalog import Catalog


_UNDER_WAY = 3
"""Row groups whose temporaries are there at once: one being made, one being finished, one that waits for it."""


@dataclass
class Job:
    """Brings the cache at a path up to date with a catalog and a recipe."""

    catalog: "Catalog"
    cache: Location
    recipe: Pipeline
    kept: tables.Kept
    names: Plain
    """How identifiers are stored. The catalog is under these names already."""
    shard_mb: float
    shuffle_seed: int
    on_error: str
    threads: int
    progress: bool
    engine: Engine
    """Of this process; not asked where there is a crew."""
    crew: Crew | None = None
    """Who makes films, where it is not this process."""

    @cached_property
    def films(self) -> CatalogFilms:
        """The catalog as plain lists, made once."""
        return CatalogFilms(self.catalog, self.names.seal)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels of the catalog's masks."""
        return () if self.catalog.masks is None else tuple(sorted(self.catalog.masks["label"].astype(str).unique()))

    def _mask_table(self, labels: tuple[str, ...]) -> MaskTable | None:
        """The catalog's masks by its rows, in the order of the cache's labels."""
        if not labels:
            return None
        unknown = sorted(set(self.labels) - set(labels))
        if self.catalog.masks is None or unknown:
            found = f"masks of {', '.join(unknown)} too" if unknown else "a catalog without masks"
            raise CacheMismatchError(
                f"{self.cache}: holds masks of {', '.join(labels)}; found {found}; give the same kinds of masks, or "
                "build to another path"
            )
        return MaskTable(self.catalog.masks, self.films.ids, self.catalog.root, labels)

    # -- which steps --

    def bring_up_to_date(self, check: str) -> None:
        """Take every step that is missing. check: how stored films are compared with their files."""
        worked = False
        if not (self.cache / layout.MANIFEST).exists():
            self._begin()
        present = layout.read_manifest(self.cache, partial=True)
        pseudonyms.check(self.cache, present, self.names)
        self._check_recipe(present)
        if present.state != "complete":
            ids = self._planned_ids(present)
            tables.from_catalog(self.catalog, self.kept, ids)  # refuses a catalog that lacks some of them
            present = self._take(plan.begin(present.with_state("complete")), ids, None)
            worked = True
        ids, known = self._stored(present)
        self._check_sources(present, ids, known, check)
        for step, all_ids in self._updates(present, ids):
            known = tables.read_samples(self.cache, present, levels=True)[0]
            present = self._take(step, all_ids, known)
            worked = True
        if not worked and not self._retarget(present):
            self._say(f"complete ({present.count} radiographs at {listed(present.sizes)}); nothing to do")
        sweep(self.cache)

    def _updates(self, present: Manifest, ids: list[str]) -> Iterator[tuple[plan.Step, list[str]]]:
        stored = set(ids)
        names = self.catalog.table["id"]
        new = [name for name in names if name not in stored]
        if new:
            self._check_new(present, new)
            order = plan.row_order(len(new), present.shuffle_seed, len(present.batches))
            ids = [*ids, *(new[i] for i in order)]
            grown = plan.append(present, len(new))
            present = grown.goal
            yield grown, ids
        if (widened := plan.widen(present, self._wanted(present), self.labels)) is not None:
            yield widened, ids

    def _wanted(self, present: Manifest) -> tuple[Size, ...]:
        """The ladder asked for, with the canvas of "native" known where it is to be added."""
        if Native(0, 0) not in self.recipe.sizes or Native(0, 0) in present.sizes:
            return self.recipe.sizes
        now = layout.read_manifest(self.cache)  # rows may just have been appended
        known = tables.read_samples(self.cache, now, ["height", "width"])[0]
        return (*self.recipe.sizes[:-1], native_canvas(film_facts(known)))

    @property
    def _scanning(self) -> dict[str, Any]:
        """How headers are read, where the catalog does not know what is asked."""
        if self.crew is None:
            return {"threads": self.threads, "progress": self.progress}
        return {"executor": self.crew.workers, "progress": self.progress}

    def _begin(self) -> None:
        """Decide everything that a cache keeps for life, and write it down before the first film."""
        catalog = self.catalog
        if self.recipe.dtype == "auto" and ("bits" not in catalog.table or catalog.table["bits"].isna().any()):
            catalog = catalog.scan(**self._scanning)
        recipe = self.recipe.without_canvas().resolve(catalog, **self._scanning)
        recipe.warn_of_distortion(film_facts(catalog.table))
        count = len(self.catalog)
        per_shard = plan.records_per_shard(count, recipe.sizes, recipe.dtype, self.shard_mb)
        settings = {name: value for name, value in recipe.settings().items() if name != "dtype"}
        goal = Manifest(
            sizes=recipe.sizes,
            masks=self.labels,
            pseudonyms=self.names.check,
            dtype=recipe.dtype,
            count=count,
            per_shard=per_shard,
            recipe=settings,
            shuffle_seed=self.shuffle_seed,
            batches=(count,),
            fingerprint="",
            state="building",
        )
        names = self.catalog.table["id"].tolist()
        ids = [names[i] for i in plan.row_order(count, self.shuffle_seed, 0)]
        self._check_room(plan.begin(goal))
        self._write_plan(goal, ids)
        write_manifest(self.cache, goal)

    def _check_recipe(self, present: Manifest) -> None:
        wanted = {name: value for name, value in self.recipe.settings().items() if name != "dtype"}
        for name, value in wanted.items():
            if present.recipe.get(name) != value:
                raise CacheMismatchError(
                    f"{self.cache}: built with {name}={present.recipe.get(name)!r}, asked for {value!r}; "
                    "build to another path, or ask for what is there"
                )
        if self.recipe.dtype not in ("auto", present.dtype):
            raise CacheMismatchError(
                f"{self.cache}: holds {present.dtype}, asked for {self.recipe.dtype}; build to another path"
            )

    def _check_new(self, present: Manifest, new: list[str]) -> None:
        """New films must fit into what is there: its depth, and its native canvas."""
        added = self.catalog.select(self.catalog.table["id"].isin(new))
        canvas = present.sizes[-1]
        recipe = replace(self.recipe, dtype="auto").with_sizes(NATIVE if isinstance(canvas, Native) else 1)
        found = recipe.resolve(added, **self._scanning)
        if isinstance(canvas, Native) and any(map(gt, found.sizes[-1], canvas)):
            largest, native = (f"{size.height} x {size.width}" for size in (found.sizes[-1], canvas))
            raise CacheMismatchError(
                f"{self.cache}: its native canvas is {native}, and the {len(new)} new films are up to {largest}; "
                "leave the larger ones out of the catalog, or build all of them to another path"
            )
        if present.dtype == "uint8" and found.dtype == "uint16":
            raise CacheMismatchError(
                f"{self.cache}: holds uint8, and some of the {len(new)} new films have more than 8 bits, which "
                "would be lost; build them to another path, or all of them with dtype='uint16'"
            )

    # -- what is there --

    def _stored(self, present: Manifest) -> tuple[list[str], pd.DataFrame]:
        known, _ = tables.read_samples(self.cache, present)
        return known["id"].tolist(), known

    def _check_sources(self, present: Manifest, ids: list[str], known: pd.DataFrame, check: str) -> None:
        """A stored film whose file is there must still be that file; one that is gone is not missed until needed."""
        tables.from_catalog(self.catalog, self.kept, ids)
        places = self._places(ids)
        changed = changed_sources(self.films, known, places, check)
        if self.catalog.masks is not None and present.masks:
            table = self._mask_table(present.masks)  # refuses labels that the cache does not have
            changed += changed_masks(table, known, places, check)
        if changed:
            raise CacheMismatchError(
                f"{len(changed)} sources differ from what {self.cache} was built from (first: {changed[0]}); restore "
                "them, or build to another path"
            )

    def _places(self, ids: Sequence[str]) -> NDArray[np.int64]:
        places = pd.Index(self.catalog.table["id"]).get_indexer(pd.Index(ids))
        return np.asarray(places, np.int64)

    # -- one step --

    def _take(self, step: plan.Step, ids: list[str], known: pd.DataFrame | None) -> Manifest:
        """Run a step to its end and make it the cache. What an interrupted run of the same step did is kept."""
        self._adopt(step, ids)
        done = set(all_finished(self.cache, step.goal, step.tasks, ids))
        left = step.without(done)
        self._announce(left, len(done))
        sources = Sources(
            films=self.films,
            recipe=replace(self.recipe, dtype=step.goal.dtype),
            places=self._places(ids),
            on_error=self.on_error,
            known=known,
            present={} if known is None else levels(self.cache, known),
            packed={} if known is None else packed(self.cache, known),
            masks=self._mask_table(step.goal.masks),
            engine=self.engine,
        )
        if self.crew is None:
            run(left, sources, self.cache, threads=self.threads + self.engine.waiting, progress=self.progress)
        else:
            key = step_key(step.goal, ids)
            spread(left, sources, self.cache, self.crew, key=key, progress=self.progress)
        return self._commit(step, ids, known)

    def _adopt(self, step: plan.Step, ids: list[str]) -> None:
        """Keep what an interrupted run of this very step left; sweep what any other left."""
        try:
            same = read_plan(self.cache, step.goal)[0] == step_key(step.goal, ids)
        except (FileNotFoundError, TooLong, ValueError, KeyError, TypeError):
            same = False
        if not same:
            emptied(self.cache)  # all of it, or this step would adopt row groups of another
        self._write_plan(step.goal, ids)
        for name in names_in(self.cache / layout.BUILD):
            if name.endswith(".part"):
                remove(self.cache / layout.BUILD / name)

    def _write_plan(self, goal: Manifest, ids: list[str]) -> None:
        document = json.dumps({"key": step_key(goal, ids), "ids": ids})
        write(self.cache, f"{layout.BUILD}/{layout.PLAN}", document.encode())

    def _planned_ids(self, present: Manifest) -> list[str]:
        """Of an unfinished first build. Where its plan is damaged they are planned again: what was built is kept if
        the plan's key still says that it is the same plan.
        """
        try:
            return planned_ids(self.cache, present)
        except CorruptCacheError as exc:
            names = self.catalog.table["id"].tolist()
            if len(names) != present.count:
                raise CacheMismatchError(
                    f"{exc} with the {present.count} radiographs that it began with (found {len(names)}), or delete "
                    f"{self.cache}"
                ) from exc
            return [names[i] for i in plan.row_order(present.count, present.shuffle_seed, 0)]

    def _commit(self, step: plan.Step, ids: list[str], known: pd.DataFrame | None) -> Manifest:
        """The tables, the levels' documents, then the manifest: only then is the step the cache."""
        results = self._results(step, ids, known)
        self._refuse_nothing(results)
        goal = fingerprint(step.goal.with_state("complete"), ids, results)
        present = layout.read_manifest(self.cache, partial=True)
        publish(self.cache, present, goal, self._tables(ids, results))
        sweep(self.cache)
        bad = int((results["status"] == "failed").sum())
        self._say(
            f"complete: {goal.count} radiographs at {listed(goal.sizes)}"
            + (f"; {bad} quarantined (cache.quarantine says why)" if bad else "")
        )
        return layout.read_manifest(self.cache)

    def _results(self, step: plan.Step, ids: list[str], known: pd.DataFrame | None) -> pd.DataFrame:
        of_group = in_build(self.cache, step.tasks, lambda task: read_rows(self.cache, task))
        named = {group: [record["id"] for record in records] for group, records in of_group.items()}
        gone = [
            task.group
            for task in step.tasks
            if named.get(task.group) != ids[task.rows.start + task.keep : task.rows.stop]
        ]
        if gone:
            raise CorruptCacheError(
                f"{rows_file(self.cache, gone[0])}: missing or damaged, though it was written; build again"
            )
        records = [record for task in step.tasks for record in of_group[task.group]]
        if step.kind != "widen" and any("status" not in record for record in records):
            raise CacheMismatchError(
                f"{self.cache / layout.BUILD}: what the build has recorded there is damaged; delete it"
            )
        if step.kind == "widen":
            assert known is not None
            new = [size for task in step.tasks[:1] for size in task.sizes]
            kept = known[[name for name in known if name not in tables.masks_frame(records)]]
            return pd.concat([kept, tables.masks_frame(records), tables.levels_frame(records, new)], axis=1)
        made = tables.results_frame(records, step.goal.arrays)
        if known is None:
            return made
        return pd.concat([known[made.columns], made], ignore_index=True)

    def _refuse_nothing(self, results: pd.DataFrame) -> None:
        if (results["status"] == "failed").all():
            raise CatalogError(
                f"none of the {len(results)} films could be read (the first: {results['reason'].iloc[0]}); "
                f"check that the paths below {self.catalog.root} are radiographs"
            )

    def _tables(self, ids: list[str], results: pd.DataFrame) -> dict[str, bytes]:
        columns = [name for name in map(str, results) if name in tables.RESULTS or tables.is_ours(name)]
        frame = pd.concat([tables.from_catalog(self.catalog, self.kept, ids), results[columns]], axis=1)
        files = {layout.SAMPLES: tables.as_parquet(frame, self.kept)}
        boxes = tables.boxes_of(self.catalog, ids)
        return files if boxes is None else {**files, layout.BOXES: tables.as_parquet(boxes)}

    def _retarget(self, present: Manifest) -> bool:
        """Write the tables of a complete cache again where the catalog now says otherwise."""
        known, _ = tables.read_samples(self.cache, present, levels=True)
        changed = publish(self.cache, present, present, self._tables(known["id"].tolist(), known))
        if changed:
            self._say("tables written again from the catalog; no pixel touched")
        return changed

    # -- files and words --

    def _check_room(self, step: plan.Step) -> None:
        for size in filter(layout.is_packed, step.goal.arrays):
            body_bytes(step.goal.record_shape(size), step.goal.record_dtype(size))  # refuses what no codec can take
        need, free = self._room(step), free_bytes(self.cache)
        if need > free:
            where = " in the folder for temporary files (TMPDIR)" if isinstance(self.cache, Url) else ""
            raise DiskSpaceError(
                f"{self.cache}: {megabytes(need)} are needed{where} and {megabytes(free)} are free; free some space, "
                "choose another disk, or fewer or smaller sizes"
            )

    def _room(self, step: plan.Step) -> int:
        """Bytes that the step takes of a disk: on object storage those of the row groups under way."""
        if not isinstance(self.cache, Url):
            return step.bytes()
        return max((replace(step, tasks=(task,)).bytes() for task in step.tasks), default=0) * _UNDER_WAY

    def _announce(self, step: plan.Step, done: int) -> None:
        self._check_room(step)
        if done:
            self._say(f"{done} row groups are there already")
        if self.progress and step.tasks:
            much = f"{step.films} films -> {megabytes(step.bytes())} in {step.files()} files"
            self._say(f"{much}, {self._by_whom(step)}")

    def _by_whom(self, step: plan.Step) -> str:
        """And how long it takes, unless others do it: this process decodes nothing then."""
        if self.crew is not None:
            return f"by {self.crew.workers.words}"
        recipe = levels_recipe(replace(self.recipe, dtype=step.goal.dtype), step.tasks[0].sizes)
        return f"about {how_long(recipe, self.films, step.films, self.threads, self.engine)}"

    def _say(self, words: str) -> None:
        if self.progress:
            sys.stderr.write(f"{self.cache.name}: {words}\n")
