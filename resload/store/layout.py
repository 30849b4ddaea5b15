"""The cache on disk: names and metadata documents. docs/reference/format.md shows one whole.

    nih.zarr/
      zarr.json                       the manifest: attributes["resload"]; written last
      images/zarr.json
      images/512x512/zarr.json        array (N, H, W), uint8 or uint16
      images/512x512/c/<g>/0/0        shard g: records g*S .. g*S+S-1, back to back, then the index
      images/native/zarr.json         only with sizes="native": array (N, H, W) of the largest height and width
      images/native/c/<g>/0/0         its shards: compressed records (`packed.py`)
      masks/zarr.json                 only when the catalog has masks
      masks/512x512/zarr.json         array (N, K, H, W) uint8, coverage
      masks/512x512/c/<g>/0/0/0       its shards: compressed records
      samples.parquet                 N rows, in row order
      boxes.parquet                   only when the catalog has boxes
      .build/                         only while a build is unfinished

Everything outside `.build/` is standard Zarr v3 (zarr-specs v3.0: core, and the `sharding_indexed`, `bytes` and
`crc32c` codecs) beside standard Parquet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from resload.errors import CorruptCacheError, IncompleteCacheError, NewerFormatError, NotACacheError
from resload.size import Native, Size, as_ladder
from resload.store import claims, guarded, sealed
from resload.store.remote import Location

FORMAT = 1
"""Version of this layout. A reader refuses a larger one."""

MANIFEST = "zarr.json"
SAMPLES = "samples.parquet"
BOXES = "boxes.parquet"
BUILD = ".build"
LEASE = "lease.json"
"""In `.build/`, where a folder cannot be locked: who builds (`alone.py`)."""
PLAN = "plan.json"
"""In `.build/`: the ids in row order, and a key that names the step they were planned for."""
ATTRIBUTES = frozenset((
    "format", "state", "sizes", "native", "masks", "dtype", "count", "per_shard", "recipe", "pseudonyms",
    "shuffle_seed", "batches", "fingerprint", "tables", "sum",
))  # fmt: skip
"""All that the manifest of this format may say."""
COPY = "restore the file from a copy of the cache, or build the cache anew"
"""What there is to do about damage that no source can mend."""
CRC_BYTES = 4
MISSING = 2**64 - 1
"""Both numbers of an absent record in a shard's index (zarr sharding specification)."""


class Masks(Size):
    """The masks of one level, beside the level itself: `str` is "masks_512x512", as in the table's columns."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"masks_{self.height}x{self.width}"

    @property
    def level(self) -> Size:
        """The level whose masks they are."""
        return Size(*self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Masks) and tuple(self) == tuple(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(("masks", *self))


def level_folder(size: Size) -> str:
    """`images/512x512`, `images/native`, `masks/512x512`."""
    return f"masks/{size.level}" if isinstance(size, Masks) else f"images/{size}"


def shard_path(size: Size, group: int) -> str:
    """`images/512x512/c/3/0/0`, relative to the cache."""
    return f"{level_folder(size)}/c/{group}/0/0" + "/0" * isinstance(size, Masks)


def is_packed(size: Size) -> bool:
    """Whether an array's records are compressed."""
    return isinstance(size, Native | Masks)


def record_bytes(size: Size, dtype: str) -> int:
    """Bytes from one record's beginning to the next: the pixels and their checksum."""
    return size.pixels * item_bytes(dtype) + CRC_BYTES


def index_bytes(per_shard: int) -> int:
    """Bytes of a shard's index: (offset, length) as two uint64 for every record, and its checksum."""
    return per_shard * 16 + CRC_BYTES


def item_bytes(dtype: str) -> int:
    """1 for uint8, 2 for uint16."""
    return {"uint8": 1, "uint16": 2}[dtype]


@dataclass(frozen=True)
class Manifest:
    """What `attributes["resload"]` of the root document says."""

    sizes: tuple[Size, ...]
    """The ladder, ascending."""
    dtype: str
    """"uint8" or "uint16", the same at every level."""
    count: int
    """N: how many radiographs, failed ones included."""
    per_shard: int
    """S: records in a shard; the last shard may hold fewer."""
    recipe: Mapping[str, Any]
    """The resolved pipeline without its sizes."""
    shuffle_seed: int
    batches: tuple[int, ...]
    """How many rows each build added; each batch of rows is shuffled among itself."""
    fingerprint: str
    """Hash of what pixels depend on: recipe, format, ids and source hashes."""
    state: str
    """"complete", or "building"."""
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name of each table and the sum of its bytes; two sums while one is being replaced by another."""
    masks: tuple[str, ...] = ()
    """The labels of the masks, in the order of the masks' second axis; none where there are no masks."""
    pseudonyms: str = ""
    """A check value of the key under which identifiers are hashed; empty where they are not (`pseudonyms.py`)."""
    summed: bool = field(default=True, compare=False)
    """Whether its document holds a sum of itself, as all that are written now do."""

    @property
    def arrays(self) -> tuple[Size, ...]:
        """Every array of the cache: the ladder, and the masks of each of its levels."""
        levels = [size for size in self.sizes if not isinstance(size, Native)]
        return (*self.sizes, *(Masks(*size) for size in levels)) if self.masks else self.sizes

    def record_shape(self, size: Size) -> tuple[int, ...]:
        """Of one record of an array: (H, W), or (K, H, W)."""
        return (len(self.masks), *size) if isinstance(size, Masks) else tuple(size)

    def record_dtype(self, size: Size) -> str:
        """Of an array's records."""
        return "uint8" if isinstance(size, Masks) else self.dtype

    @property
    def groups(self) -> int:
        """How many row groups (shards per level) there are."""
        return -(-self.count // self.per_shard)

    def rows_of(self, group: int) -> range:
        """The rows of one row group."""
        return range(group * self.per_shard, min((group + 1) * self.per_shard, self.count))

    def with_state(self, state: str) -> "Manifest":
        """The same manifest in another state."""
        return replace(self, state=state)

    def attributes(self) -> dict[str, Any]:
        """As it stands in zarr.json."""
        return {
            "format": FORMAT,
            "state": self.state,
            "sizes": [list(size) for size in self.sizes if not isinstance(size, Native)],
            **({"native": list(self.sizes[-1])} if Native(0, 0) in self.sizes else {}),
            **({"masks": list(self.masks)} if self.masks else {}),
            "dtype": self.dtype,
            "count": self.count,
            "per_shard": self.per_shard,
            "recipe": dict(self.recipe),
            **({"pseudonyms": self.pseudonyms} if self.pseudonyms else {}),
            "shuffle_seed": self.shuffle_seed,
            "batches": list(self.batches),
            "fingerprint": self.fingerprint,
            "tables": {name: list(sums) for name, sums in sorted(self.tables.items())},
        }


def read_manifest(cache: Location, *, partial: bool = False) -> Manifest:
    """The manifest of the cache at a path, verified by the sum in it (older caches have none).

    Raises NotACacheError, CorruptCacheError, NewerFormatError, IncompleteCacheError unless `partial`, CacheError when
    it cannot be read.
    """
    data = guarded.manifest(cache, MANIFEST, beside=BUILD)
    found = _attributes(cache / MANIFEST, data)
    try:
        manifest = _parsed(found)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as exc:
        raise CorruptCacheError(f"{cache / MANIFEST}: the manifest is damaged ({exc!r}); {COPY}") from exc
    if manifest.state != "complete" and not partial:
        raise IncompleteCacheError(
            f"{cache}: its build has not finished; run the same build again to complete it, "
            "or open it with partial=True to look at what is there"
        )
    return manifest


def _attributes(path: Location, data: bytes) -> Mapping[str, Any]:
    """`attributes["resload"]` of the root document. Its sum comes before its version: it is made alike in all."""
    try:
        document = guarded.parsed(data)
    except ValueError as exc:
        raise CorruptCacheError(f"{path}: the manifest is damaged: it is not JSON ({exc}); {COPY}") from exc
    try:
        found = document["attributes"]["resload"]
        summed = sealed.SUM in found
    except (KeyError, TypeError) as exc:
        raise NotACacheError(f"{path}: a Zarr group, but not one that resload wrote") from exc
    if summed and not (isinstance(found, dict) and sealed.holds(document, found)):
        raise CorruptCacheError(f"{path}: the manifest is damaged: it differs from the sum in it; {COPY}")
    try:
        version, unknown = int(found["format"]), sorted(set(found) - ATTRIBUTES)
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise NotACacheError(f"{path}: a Zarr group, but not one that resload wrote") from exc
    if version > FORMAT:
        raise NewerFormatError(
            f"{path.parent}: written in format {version}; this resload reads up to {FORMAT}: pip install -U resload"
        )
    if unknown:
        raise CorruptCacheError(
            f"{path}: the manifest is damaged, or of a later resload: format {FORMAT} has no {', '.join(unknown)}; "
            f"pip install -U resload, or {COPY}"
        )
    return found  # type: ignore[no-any-return]  # an object, or its "format" would not have been found


def _parsed(found: Mapping[str, Any]) -> Manifest:
    claims.check_manifest(found)
    canvas = [Native(*map(int, found["native"]))] if "native" in found else []
    return Manifest(
        sizes=as_ladder([*found["sizes"], *canvas]),
        masks=tuple(map(str, found.get("masks", ()))),
        dtype=found["dtype"],
        count=int(found["count"]),
        per_shard=int(found["per_shard"]),
        recipe=dict(found["recipe"]),
        pseudonyms=str(found.get("pseudonyms", "")),
        shuffle_seed=int(found["shuffle_seed"]),
        batches=tuple(int(n) for n in found["batches"]),
        fingerprint=str(found["fingerprint"]),
        state=str(found["state"]),
        tables={str(name): tuple(map(str, sums)) for name, sums in found["tables"].items()},
        summed=sealed.SUM in found,
    )
