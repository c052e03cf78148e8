"""Shards: files that hold runs of rows, and the record of a build or an export of them.

    build.py         build_shards: Parquet shards of a source, in a folder or behind a URL
    task.py          one shard, made of its description where the engine runs
    writer.py        which rows a shard holds; rows into a Parquet file
    rows.py schema.py stats.py     raw rows, their features, what is counted of them
    foreign_rows.py  rows of others as rows of this project
    store.py         where shards are put
    state.py partial.py            what is finished, so that it can be resumed
    manifest.py      multiview_cifar.json, which stands beside finished shards

It may import `planning`, `engines`, `batches`, `options` and what is below them.
"""
