"""`yxanul` in a process of its own, as a person calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

LOG_TAIL = 3000


def yxanul(*arguments: str) -> dict[str, Any]:
    """Run a verb and return what it says with --json; a failure ends the study's job."""
    command = [sys.executable, "-m", "yxanul", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-LOG_TAIL:]}")
    return json.loads(done.stdout)
