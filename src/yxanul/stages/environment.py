"""The machine and the versions a run was made with."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

from yxanul import __version__
from yxanul.base.machine import processor_name


def describe_environment() -> dict[str, Any]:
    """Return what someone needs to know to judge or repeat a run's figures."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "yxanul": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }
