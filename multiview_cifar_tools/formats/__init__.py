"""The shapes in which grouped images lie on disks, beside the folders that `multiview_cifar` reads.

A format is a module: its function `read` makes a Reading of files, its class `Writer` makes a shard
of rows. Both speak in raw rows, and so does whatever stands between them:

    {"images": [{"bytes": b"...", "path": None}, None], "label": 0, "sample_id": "cat/0001",
     "view_names": ["front", "left"], ...}

with the columns of README, "The row": a view that is missing is None, further image columns look
like `images`, and all others hold their plain values. Nothing here is decoded unless a format holds
pixels.
"""
