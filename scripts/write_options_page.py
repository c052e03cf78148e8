"""docs/options.md: every option of the dataset, from the config class of the script.

`python scripts/write_options_page.py docs/options.md` writes it anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

from multiview_cifar_tools.cli.config_options import read_config_options

# Which options belong together, in the order in which a reader meets them.
GROUPS = {
    "What the names mean": "layout split_names",
    "Classes": "class_names other_classes label_column",
    "Views": "view_names on_missing_view num_views view_sampling seed",
    "Splits": "split_ratios split_by",
    "Metadata": "drop_metadata on_missing_metadata",
    "Unreadable files": "verify on_error pages",
    "Conversion": "mode value_range image_size resize scaled_decode encoding",
    "Where files are": "storage_options",
}
INTRODUCTION = """\
# Options

Each option is a keyword of `load_dataset`, `plan`, `check`, `publish` and `export`, and an option
of the command line: `image_size` is `--image-size`.

    load_dataset(data_dir="photos", image_size=(32, 32), mode="RGB", num_views=4)
"""
CONVERSION = """\

A conversion first turns each image as its EXIF orientation says. Further image columns are taken
for masks: they get the same geometry by nearest neighbour, keep their mode, and are PNG (TIFF for
32 bits, flat PNG where it is asked for).
"""


def page() -> str:
    """The whole page."""
    options, parts = read_config_options(), [INTRODUCTION]
    for title, names in GROUPS.items():
        parts.append(f"\n## {title}\n\n| option | default | meaning |\n|---|---|---|\n")
        for name in names.split():
            default = repr(options[name].default).replace("'", '"')
            text = options[name].help.replace("|", "\\|").replace("<", "&lt;")
            parts.append(f"| `{name}` | `{default}` | {text} |\n")
        if title == "Conversion":
            parts.append(CONVERSION)
    return "".join(parts)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
