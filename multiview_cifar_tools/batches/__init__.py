"""From the rows of a dataset to batches of arrays and tensors.

    reader.py        BatchReader: any rows as a batch of NumPy arrays
    indices.py       which samples an index selects
    views.py         which views of which rows are read
    columns.py       the images of rows, from the buffers of an Arrow column
    view_columns.py  numbers, names and labels of each view
    decode.py        one image file as an array; the layout of flat PNGs
    resizing.py      images of another size or mode while they are read
    seeds.py         seeds that follow from (seed, epoch, sample_id) alone
    augment.py       augmentations with a seed an image
    augmenter.py     which of them change which image column
    samplers.py      which samples make each batch: by class, in episodes, by size
    adapters.py      what all adapters to frameworks share
    pytorch.py tensorflow.py jax.py     an adapter a framework

It may import `multiview_cifar`, `errors` and the helpers below all packages, such as `flat_png`; no
other package. A framework is imported by its own adapter alone.
"""
