"""Training on many nodes, from Parquet shards that are fetched while they are read.

    order.py      the order of all rows in an epoch
    sampler.py    ElasticSampler, ElasticTables, ElasticBatches: the batches of a rank, and states
    index.py      which shards a split has
    cache.py      shards as mapped Arrow tables, in a local folder
    prefetch.py   the open shards of a pass
    pytorch.py    TorchElastic: tensors and worker processes

It may import `loading`, `formats`, `shards`, `batches` and what is below them. PyTorch is imported
by `pytorch` alone.
"""
