"""The catalog: a table with one row per radiograph, and what belongs beside it.

catalog   the class that everything else of resload takes
  ├── rules     what makes a table a catalog, and the sentence for each table that is not one
  ├── folders   a tree of files -> such a table; ids from paths
  ├── reading   a little of many files at once: their kind, their headers
  ├── joining   several catalogs -> one table and one root
  ├── archive   a hospital's DICOM files -> a table: objects (what they are), copies, ledger (what was read before)
  ├── matching  films and the rows of a spreadsheet; spreadsheets (read, with keys as texts)
  └── saving    a catalog on disk, and back without a difference

The readers here open many files but decode none; pixels are the business of other rooms.
"""

from resload.catalog.films import Catalog

__all__ = ["Catalog"]
