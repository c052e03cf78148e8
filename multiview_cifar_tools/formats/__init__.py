"""The formats in which grouped images are stored, beside the folders that `multiview_cifar` reads.

A format is a module: its function `read` makes a FormatReader of files, its class `Writer` writes a
shard of rows, both in raw rows (`shards.rows`). Nothing is decoded here unless a format holds
pixels.

    base.py builder.py        readers and writers in general; a reader's rows as datasets
    shard_files.py labels.py  finding shards and their splits; names of labels
    array_reader.py array_writer.py pixels.py     for formats that hold arrays
    row_json.py image_bytes.py                    columns as JSON; bytes that may be an image
    image_folder.py webdataset_tars.py hdf5_files.py tfrecords.py numpy_arrays.py
    parquet_files.py cifar_records.py             a module a format

It may import `shards`, `batches` and what is below them. TensorFlow and h5py are imported inside
functions.
"""
