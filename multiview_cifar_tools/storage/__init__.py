"""Where files are when they are no images in a local folder: in archives, behind URLs, or records.

    redaction.py     what may be shown of URLs and options
    regular_file.py  a local file, opened so that nothing can block
    source.py        what a place is: `FileSource`, its file system, `StorageError`
    members.py       what an archive may hold
    zip.py           .zip, by its directory
    tar.py           .tar by the places of its members; packed or remote, in one pass
    remote.py        folders behind URLs: list, check, read ahead; download an archive
    cifar.py         the official files of the CIFARs
    listing.py       what stands at a place, and the files in it
    reading.py       the bytes of the files

It imports the standard library and fsspec, and nothing of this project: under `datasets` 3.x the
loading script that calls it is another module than `multiview_cifar`, whose classes would exist
twice. So plain data goes in and out, and errors are StorageErrors.
"""
