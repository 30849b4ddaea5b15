"""The cache on disk. Nothing here knows of batches, devices or models.

layout.py    names, the manifest             plan.py       what is missing (pure)
documents.py Zarr's metadata                 commit.py     making files appear whole
shard.py     one shard, written, opened      publish.py    replacing tables and manifest together
packed.py    one shard of compressed records run.py        films -> shards, on threads
codecs.py    how those are compressed        job.py        which steps, and their order
arrays.py    either kind of shard            builder.py    build: its arguments
gather.py    reading records, verified       unchanged.py  whether sources are what they were
native.py    reading compressed records      identity.py   fingerprints
tables.py    samples and boxes               words.py      sizes, bytes, time in words
serving.py   any size: from which level      verify.py     checking
stored.py    pixels of any size              proof.py      checking against the films themselves
cache.py     open_cache and Cache            repair.py     making again what is damaged
rows.py      which rows, which targets       unfinished.py  what an unfinished build left, checked
sealed.py    documents with their own sum    unreadable.py  what to say of files that cannot be read
files.py     every call that writes          remote.py      object storage; a cache's place
alone.py     one build at a time             mirror.py      copies of shards on this machine
handle.py    one open shard                  guarded.py     opening what others may have made
claims.py    what a cache says of itself     descriptors.py  how many files are open
spread.py    a step on an executor's workers  parts.py       one row group as a task
present.py   arrays as they are now          made.py        what is stored of a film
marks.py     what a build has finished
"""
