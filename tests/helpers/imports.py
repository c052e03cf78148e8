"""What importing a module loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys

CODE = """
import importlib, json, sys, datasets
loaded = {}
for module in sys.argv[1:]:
    before = {*sys.modules}
    importlib.import_module(module)
    loaded[module] = sorted({"torch", "tensorflow", "jax"} & ({*sys.modules} - before))
print(json.dumps(loaded))
"""


def frameworks_loaded_by(*modules, folder):
    """The frameworks that each module loads, as they are imported one after the other."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", CODE, *modules]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    return json.loads(done.stdout)
