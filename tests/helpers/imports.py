"""What importing a module loads."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import sys, datasets
before = set(sys.modules)
import {module}
print(*({{"torch", "tensorflow", "jax"}} & (set(sys.modules) - before)))
"""


def frameworks_loaded_by(module, folder):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", CODE.format(module=module)]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    return done.stdout.split()
