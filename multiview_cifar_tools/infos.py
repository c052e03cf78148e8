"""dataset_infos.json: features, split sizes and checksums of the canonical configs.

`python -m multiview_cifar_tools.infos dataset_infos.json` writes it anew from a build. Only named
configs belong into it: `datasets` 3.x would hold any folder of a user's against the split sizes of
the config "default".
"""

from __future__ import annotations

import argparse
import json
import tempfile
from typing import Any

import multiview_cifar

CANONICAL = ("shapes",)


def infos() -> dict[str, Any]:
    """Build every canonical config in a temporary folder; its info, as `datasets` 3.6 reads it."""
    made = {}
    for name in CANONICAL:
        with tempfile.TemporaryDirectory() as cache_dir:
            builder = multiview_cifar.MultiviewCifar(cache_dir, config_name=name)
            builder._record_infos = True  # 3.x: checksums
            builder._record_checksums = True  # 4.x and later
            builder.download_and_prepare()
            with open(f"{builder.cache_dir}/dataset_info.json", encoding="utf-8") as file:
                made[name] = _as_sequences(json.load(file))
    return made


def _as_sequences(info: Any) -> Any:
    """Lists under the name that every version of `datasets` reads: 3.x knows no `List`."""
    if isinstance(info, list):
        return [_as_sequences(value) for value in info]
    if not isinstance(info, dict):
        return info
    kind = {"_type": "Sequence"} if info.get("_type") == "List" else {}
    return {key: _as_sequences(value) for key, value in info.items()} | kind


def main() -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(description="Write dataset_infos.json anew.")
    parser.add_argument("path")
    with open(parser.parse_args().path, "w", encoding="utf-8") as file:
        json.dump(infos(), file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
