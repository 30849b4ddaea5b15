"""The Zarr v3 metadata documents of a cache (zarr-specs v3.0: core, and the codecs that `layout.py` names)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from resload.size import Native, Size
from resload.store import sealed
from resload.store.codecs import MASKS, Codec, native
from resload.store.layout import MANIFEST, Manifest, Masks, is_packed, level_folder


def codec_of(manifest: Manifest, size: Size) -> Codec:
    """How the records of a packed array are compressed."""
    return MASKS if isinstance(size, Masks) else native(manifest.dtype)


def array_document(manifest: Manifest, size: Size) -> dict[str, Any]:
    """The zarr.json of one level, or of its masks."""
    shape = (manifest.count, *manifest.record_shape(size))
    which = str(size) if isinstance(size, Native) else ""
    names = ["radiograph", f"y_{which or size.height}", f"x_{which or size.width}"]
    if isinstance(size, Masks):
        names.insert(1, "label")
    if not is_packed(size):
        return _sharded(shape, manifest.dtype, manifest.per_shard, names)
    codec = codec_of(manifest, size).document()
    return packed_document(shape, manifest.record_dtype(size), per_shard=manifest.per_shard, codec=codec, names=names)


def packed_document(
    shape: Sequence[int], dtype: str, *, per_shard: int, codec: Mapping[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    """The zarr.json of an array of compressed records (`packed.py`).

    shape: (N, H, W) or (N, K, H, W). codec: `Codec.document()` of the writer's codec. names: of the dimensions, such
    as radiograph, y_native, x_native, or radiograph, label, y_512, x_512.
    """
    return _sharded(shape, dtype, per_shard, names, codec)


def _sharded(
    shape: Sequence[int], dtype: str, per_shard: int, names: Sequence[str], *packed: Mapping[str, Any]
) -> dict[str, Any]:
    """An array whose shards hold `per_shard` records, each with its checksum behind it."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    pixels = little if dtype == "uint16" else {"name": "bytes"}
    crc = {"name": "crc32c"}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [per_shard, *shape[1:]]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [1, *shape[1:]],
                    "codecs": [pixels, *map(dict, packed), crc],
                    "index_codecs": [little, crc],
                    "index_location": "end",
                },
            }
        ],
        "dimension_names": list(names),
        "attributes": {},
        "storage_transformers": [],
    }


def _group(attributes: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    inline = {"kind": "inline", "must_understand": False, "metadata": dict(metadata)}
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": dict(attributes),
        "consolidated_metadata": inline,
    }


def group_documents(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Folder -> zarr.json of the groups `images` and, where there are masks, `masks`."""
    groups: dict[str, dict[str, Any]] = {"images": {}}
    for size in manifest.arrays:
        group, name = level_folder(size).split("/")
        groups.setdefault(group, {})[name] = array_document(manifest, size)
    return {group: _group({}, arrays) for group, arrays in groups.items()}


def root_document(manifest: Manifest) -> dict[str, Any]:
    """The root zarr.json: everything below inline, so that one read opens the cache; with the sum of itself."""
    arrays = {level_folder(size): array_document(manifest, size) for size in manifest.arrays}
    groups: dict[str, Any] = {group: _group({}, {}) for group in group_documents(manifest)}
    attributes = manifest.attributes()
    document = _group({"resload": attributes}, {**groups, **arrays})
    return sealed.sealed(document, attributes) if manifest.summed else document


def all_documents(manifest: Manifest) -> dict[str, bytes]:
    """Name -> bytes of every document of a cache, the root's last."""
    found = {f"{level_folder(size)}/{MANIFEST}": array_document(manifest, size) for size in manifest.arrays}
    found |= {f"{group}/{MANIFEST}": document for group, document in group_documents(manifest).items()}
    return {name: as_json(document) for name, document in {**found, MANIFEST: root_document(manifest)}.items()}


def as_json(document: Mapping[str, Any]) -> bytes:
    """A document as it is written: stable, readable, one newline at the end."""
    return (json.dumps(document, indent=1, ensure_ascii=True) + "\n").encode()
