"""The manifest beside shards: their format and features, and what each of them holds."""

from __future__ import annotations

# Beside the shards that `export` writes: their format, features, and what each of them holds.
MANIFEST = "multiview_cifar.json"
