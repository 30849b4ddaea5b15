"""The cache on disk. Nothing here knows of batches, devices or models.

layout.py   names and documents          plan.py     what is missing (pure)
shard.py    one shard, written, opened   commit.py   making files appear whole
gather.py   reading records, verified    publish.py  replacing tables and manifest together
tables.py   samples and boxes            run.py      films -> shards, on threads
cache.py    open_cache and Cache         job.py      build: which steps, and their order
verify.py   checking                     proof.py    checking against the films themselves
repair.py   making again what is damaged
"""
