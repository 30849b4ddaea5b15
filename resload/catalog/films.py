"""The catalog itself: a frozen table of films, and the ways to make one from another."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from resload import leakage
from resload.catalog import archive, folders, joining, matching, objects, reading, rules, saving
from resload.catalog.dividing import Divided
from resload.errors import ArgumentError, CatalogError
from resload.executors import open_executor


class Catalog(Divided):
    """A table of radiographs: where their pixels are, whose they are, and what is known of them.

        Catalog(table, targets=["nodule"], root="films/")

    Args:
        table: one row per radiograph, copied. `id` (unique) and `path` (below `root`, or absolute) are
            needed. These columns have a meaning where they exist: `patient`, `group` (exam), `slot` (which
            view of the exam), `split`, `frame_index`, `height`, `width`, `bits`, `spacing_y`, `spacing_x`
            (mm per pixel of the file). Others are kept as they are.
        targets: columns of numbers to learn; NaN is unknown. They become float32.
        boxes: `id`, `label`, `x`, `y`, `width`, `height`, in pixels of the file, from the upper left.
        masks: `id`, `label`, and `path` (a picture, or an array as .npy) or `rle` (run-lengths, and `rle_format`).
        root: the folder that relative paths start from.
        notes: sentences about what was left out while the table was made.

    A catalog is not changed: `select`, `split` and `scan` return another. It may be shared by threads.

    Raises:
        CatalogError: missing columns, missing or repeated ids, targets that are not numbers, no rows.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        *,
        targets: Sequence[str] = (),
        boxes: pd.DataFrame | None = None,
        masks: pd.DataFrame | None = None,
        root: str | Path = ".",
        notes: Iterable[str] = (),
    ) -> None:
        self._targets = rules.checked_targets(targets)
        self._table = rules.checked_table(table, self._targets)
        self._boxes = rules.checked_boxes(boxes, self._table["id"])
        self._masks = rules.checked_masks(masks, self._table["id"])
        self._root = Path(root)
        self._notes = tuple(notes)
        self._paths = self._table["path"].to_numpy(dtype=object)

    @property
    def table(self) -> pd.DataFrame:
        """The table, rows numbered from 0. Columns added to this frame do not reach the catalog."""
        return self._table.copy(deep=False)

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns to learn, in the order batches have them."""
        return self._targets

    @property
    def boxes(self) -> pd.DataFrame | None:
        """Boxes in pixels of the files, or None."""
        return self._boxes

    @property
    def masks(self) -> pd.DataFrame | None:
        """Masks by path or run-length, or None."""
        return self._masks

    @property
    def root(self) -> Path:
        """The folder that relative paths start from."""
        return self._root

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or could not be read while this catalog was made, a sentence each."""
        return self._notes

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        parts = [f"{len(self)} radiographs"]
        if "patient" in self._table.columns:
            parts.append(f"{self._table['patient'].nunique()} patients")
        parts.append(f"{len(self._targets)} targets")
        if "split" in self._table.columns:
            counts = self._table["split"].value_counts(sort=False)
            parts.append(", ".join(f"{name} {count}" for name, count in counts.items()))
        return f"<Catalog: {'; '.join(parts)}; root {self._root}>"

    def path(self, row: int) -> Path:
        """Where the pixels of one row are."""
        return self._root / str(self._paths[row])

    @classmethod
    def from_folder(
        cls, root: str | Path, *, classes: bool = True, threads: int | None = None, progress: bool = True
    ) -> "Catalog":
        """Every radiograph below a folder, in sorted order.

            films/train/nodule/a.png      split "train", nodule = 1.0, normal = 0.0, id "train/nodule/a"
            films/test/normal/b.dcm       split "test",  nodule = 0.0, normal = 1.0

        Files are told by their first bytes, not by their names; others are left out and counted in
        `notes`, hidden ones are not looked at. Folders named train, val (or valid, validation) and test are
        splits. The first other folder on the way to a film is its class, and each class a target; films in
        no class folder have NaN. Folders that are patients or exams rather than classes:
        `classes=False`. Where a single folder holds all films there is nothing to tell apart, and no target.

        `id` is the path below the root without its extension, or with it if that would repeat.

        Raises CatalogError if there is no such folder, or no radiograph in it.
        """
        found, notes = folders.found_in(Path(root), threads=threads, progress=progress)
        table, targets = folders.described(found, classes=classes)
        return cls(table, targets=targets, root=root, notes=notes)

    @classmethod
    def from_csv(
        cls,
        csv: str | Path,
        /,
        *,
        root: str | Path = ".",
        id: str | None = None,  # noqa: A002  the column it names is called so everywhere
        path: str = "path",
        targets: Sequence[str] = (),
        **columns: str,
    ) -> "Catalog":
        """A CSV (also compressed) whose columns have other names.

            Catalog.from_csv("labels.csv", root="films", path="Image", patient="PatientID", targets=["mass"])

        Args:
            csv: the file.
            root: the folder that paths in the CSV start from.
            id: the column with ids; without one, a column `id` if there is one, else ids are made of paths.
            path: the column with paths.
            targets: the columns to learn, which hold numbers or nothing.
            columns: `patient=`, `group=`, `slot=`, `split=`, `frame_index=`, `height=`, `width=`, `bits=`,
                `spacing_y=`, `spacing_x=`: what the CSV calls them.

        Columns that are not named are kept. Ids and paths are read as texts (`007` stays so), all others
        as pandas reads them.

        Raises CatalogError for a CSV that cannot be read or lacks a named column; it lists those there are.
        """
        table, notes = joining.from_csv(Path(csv), {"id": id, "path": path, **columns}, targets)
        return cls(table, targets=targets, root=root, notes=notes)

    @classmethod
    def from_dicom(
        cls,
        root: str | Path,
        *,
        tags: Sequence[str] = (),
        modalities: Sequence[str] = objects.MODALITIES,
        index: str | Path | None = None,
        threads: int | None = None,
        progress: bool = True,
    ) -> "Catalog":
        """The radiographs of a hospital's archive: whatever DICOM files lie below a folder, under whatever names.

            Catalog.from_dicom("archive", tags=["BodyPartExamined", "KVP"], index="archive.jsonl")

        Args:
            root: the folder; hidden files and folders are not looked at.
            tags: more attributes as columns, by keyword (PS3.6), those of a sequence's first item as
                `ViewCodeSequence.CodeMeaning`. Numbers become float64 where each file has a single one; of others,
                several values are joined by a backslash. Texts are read by Specific Character Set, and bytes that
                mean nothing in it become U+FFFD.
            modalities: those to take (by default CR, DX, MG, RG, PX and IO); a file without one is told by its SOP
                class.
            index: a file that keeps headers while they are read, so that an interrupted run goes on where it
                stopped, and a later one reads only what is new or has changed (by size and time). It holds patients'
                identifiers, and is made readable by its owner only.
            threads, progress: as for `scan`.

        One row per radiograph, and per frame of a file with several, in the order of their paths:

            id                          SOP Instance UID; `UID#3` for frame_index 3 of a file with several frames
            path, frame_index           frames count from 0
            patient, group              PatientID; StudyInstanceUID
            SOPInstanceUID, StudyInstanceUID, AccessionNumber, Modality, Manufacturer, BurnedInAnnotation,
            TransferSyntaxUID           as DICOM calls them
            ViewPosition                (0018,5101), else the meaning of View Code Sequence (0054,0220)
            laterality                  "L", "R" or "B": Image Laterality (0020,0062), else Laterality (0020,0060)
            intent                      Presentation Intent Type (0008,0068): "FOR PRESENTATION" or "FOR PROCESSING"
            height, width, bits, spacing_y, spacing_x, photometric, voi        as of `scan`, which need not follow

        What a file does not tell is missing. Left out, and counted in `notes` with the first paths of each: files that
        are no DICOM, DICOMDIRs, structured reports, presentation states, key objects, objects without an image,
        other modalities, images that are no radiograph, unreadable files with their reasons (among them native
        pixels that end early), identical copies, and files that claim another file's SOP Instance UID with different
        content. Secondary captures of these modalities are radiographs too.

        Raises ArgumentError for unknown keywords, CatalogError for no such folder, no radiograph in it, or an `index`
        that is another kind of file.
        """
        path = None if index is None else Path(index)
        table, notes = archive.table_of(Path(root), tags, modalities, path, threads=threads, progress=progress)
        return cls(table, root=root, notes=notes)

    def select(self, rows: object = None, *, split: str | Iterable[str] | None = None) -> "Catalog":
        """Some of the radiographs, with their boxes and masks.

            catalog.select([3, 1, 2])                      # rows, in this order
            catalog.select(catalog.table.age > 17)         # a mask
            catalog.select("view == 'PA'", split="train")  # a query in pandas' words

        Raises ArgumentError for rows that are not there or an unknown split, CatalogError if none is left.
        """
        kept = joining.chosen(self._table, rows)
        if split is not None:
            kept = kept[joining.in_splits(self._table, split)[kept]]
        if not len(kept):
            raise CatalogError(f"no radiograph is left of {len(self)}: nothing fits this selection")
        return self._with(self._table.iloc[kept])

    @classmethod
    def concat(cls, catalogs: "Iterable[Catalog] | Mapping[str, Catalog]") -> "Catalog":
        """Several catalogs as one; a target that one of them lacks is unknown (NaN) there.

            Catalog.concat([first, second])
            Catalog.concat({"nih": first, "padchest": second})   # ids and patients become "nih/..." etc.

        Equal patients (and groups) of a plain list are taken for the same person; of a mapping they are
        kept apart by its names, which the column `data_set` keeps. Data sets that are known to share films are named
        in `notes`. Paths of different roots start from their common folder afterwards.

        Raises CatalogError for repeated ids, ArgumentError for no catalogs.
        """
        named = list(catalogs.items()) if isinstance(catalogs, Mapping) else [("", c) for c in catalogs]
        if not named:
            raise ArgumentError("concat needs at least one catalog; found none")
        root = joining.common_root([catalog.root for _, catalog in named])
        parts = [joining.Part(name, c.root, c._table) for name, c in named]
        table = joining.tables(parts, root)
        return cls(
            table,
            targets=tuple(dict.fromkeys(t for _, c in named for t in c.targets)),
            boxes=joining.beside(parts, [c._boxes for _, c in named], root),
            masks=joining.beside(parts, [c._masks for _, c in named], root),
            root=root,
            notes=[*(note for _, catalog in named for note in catalog.notes), *joining.shared_films(table)],
        )

    def join(
        self,
        table: "pd.DataFrame | str | Path",
        on: str | Mapping[str, str],
        *,
        targets: Sequence[str] = (),
        how: str = "left",
    ) -> "Catalog":
        """The columns of a spreadsheet beside the films, by a key such as the accession number.

            catalog.join("reports.xlsx", on="AccessionNumber", targets=["Pneumothorax"])
            catalog.join(table, on={"patient": "PatID", "AccessionNumber": "Acc"})

        Args:
            table: a DataFrame, a CSV, or the first sheet of an xlsx or xls file (these need the extra `excel`).
            on: the column that both have; or {column of the catalog: column of the table}, one or several.
            targets: columns of the table to learn, which become float32 behind the catalog's own targets.
            how: `"left"` keeps every film, with missing values where no row fits; `"inner"` those with a row.

        Keys are compared as texts without blanks around them: `0123` is not `123`. Films of one key (several views of
        an exam) share its row; rows that are equal count as one. What did not match on either side, what was merged
        and what is shared is said in `notes`, and listed by `join_report`.

        Raises CatalogError for keys that a spreadsheet program has damaged (leading zeros lost, long numbers rounded),
        rows of one key that contradict each other, columns that both have, targets that are words, and a join that
        matches nothing; ArgumentError for a wrong `on` or `how`. Messages say what to write instead.
        """
        matching.check_how(how)
        match = matching.matched(self._table, table, on, rules.checked_targets(targets))
        notes = list(self._notes)
        for sentence in match.report.notes(match.name, dropped=how == "inner"):
            rules.say(notes, sentence)
        return self._with(
            matching.joined(self._table, match, how),
            notes=notes,
            targets=(*self._targets, *rules.checked_targets(targets)),
        )

    def join_report(self, table: "pd.DataFrame | str | Path", on: str | Mapping[str, str]) -> matching.JoinReport:
        """What `join` would match, and all that it would not, as lists. Raises as `join` does."""
        return matching.matched(self._table, table, on).report

    def scan(
        self,
        *,
        threads: int | None = None,
        progress: bool = True,
        duplicates: bool | pd.DataFrame = False,
        executor: object = None,
    ) -> "Catalog":
        """Read every header, and know sizes, depths and spacings before anything is built.

        Fills `height`, `width`, `frames`, `format` ("png", "jpeg", "tiff", "dicom"), `photometric` and `error`
        (the reason, for a file that cannot be read) from the files. `bits`, `spacing_y` and `spacing_x` that
        are there already stay: a data set's documentation knows better than its headers (PadChest's 16-bit
        files hold 10 or 12 bits); the others are filled. What is unknown is NaN.

        Threads read, `threads` of them; by default as many as the wait for the first files is worth. `progress` is a
        bar on stderr when that is a terminal.

        `duplicates=True` decodes the films as well, and fills the column `near_duplicates`: for a film that shows the
        same as another, the id of the first film of its cluster (see `resload.near_duplicates`, whose pairs may be
        passed instead, and then nothing is decoded). `split` and `folds` then keep an eye on them.

        `executor`: who reads, as for `resload.build`; threads of this process when None. (Duplicates are looked for by
        this process.)

        Raises CatalogError if not one file can be read.
        """
        paths = [self.path(row) for row in range(len(self))]
        with open_executor(executor) as workers:
            headers = reading.headers(paths, threads=threads, progress=progress, workers=workers)
        failed = headers["error"].notna()
        if failed.all():
            raise CatalogError(
                f"none of the {len(self)} files can be read. The first: {self.path(0)}: "
                f"{headers['error'].iloc[0]}. Check root={str(self.root)!r} and the column path"
            )
        notes = list(self._notes)
        if failed.any():
            rules.say(notes, f"{int(failed.sum())} of {len(self)} files cannot be read; see the column error")
        table = reading.filled(self._table, headers)
        if duplicates is False:
            return self._with(table, notes=notes)
        if duplicates is True:
            duplicates = leakage.near_duplicates(self._with(table), threads=threads, progress=progress)
        clusters = leakage.cluster_names(table["id"], duplicates)
        if clusters.notna().any():
            rules.say(
                notes,
                f"{clusters.notna().sum()} films are near-duplicates of others, in {clusters.nunique()} clusters; see "
                f"the column {leakage.COLUMN} and resload.near_duplicates",
            )
        return self._with(table.assign(**{leakage.COLUMN: rules.as_text(clusters)}), notes=notes)

    def save(self, folder: str | Path) -> None:
        """Keep the catalog in a folder (`catalog.json` and Parquet tables); an older one there is replaced.

        Relative roots are kept relative to the working directory, as they are here.

        Raises CatalogError if the folder holds something else, or a column cannot be kept exactly.
        """
        saving.save(
            Path(folder),
            {"table": self._table, "boxes": self._boxes, "masks": self._masks},
            {"targets": list(self._targets), "root": str(self._root), "notes": list(self._notes)},
        )

    @classmethod
    def load(cls, folder: str | Path, *, root: str | Path | None = None) -> "Catalog":
        """What `save` kept, to the type of every column; `root` says where the films are by now.

        Raises CatalogError if the folder holds no catalog, or one of a later resload.
        """
        table, beside, about = saving.load(Path(folder))
        try:
            return cls(
                table,
                boxes=beside["boxes"],
                masks=beside["masks"],
                targets=about["targets"],
                root=about["root"] if root is None else root,
                notes=about["notes"],
            )
        except CatalogError:
            raise
        except Exception as exc:  # columns of types that `save` never wrote break pandas in many ways
            raise CatalogError(f"{folder}: its tables are damaged ({type(exc).__name__}: {exc})") from exc

    def _with(
        self, table: pd.DataFrame, *, notes: Iterable[str] | None = None, targets: Sequence[str] | None = None
    ) -> "Catalog":
        """This catalog with another table; boxes and masks of films that left it go too."""
        beside: dict[str, Any] = {"boxes": self._boxes, "masks": self._masks}
        if len(table) != len(self):
            ids = table["id"]
            beside = {name: None if t is None else t[rules.among(t["id"], ids)] for name, t in beside.items()}
        return Catalog(
            table,
            targets=self._targets if targets is None else targets,
            root=self._root,
            notes=self._notes if notes is None else notes,
            **beside,
        )
