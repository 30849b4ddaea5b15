"""The cache on disk.

layout.py   names and documents          shard.py   one shard
gather.py   reading, verified            tables.py  samples.parquet and boxes.parquet
plan.py     what is missing (pure)       commit.py  making files appear whole
job.py      running a build              cache.py   open_cache and Cache
verify.py   checking and repairing
"""
